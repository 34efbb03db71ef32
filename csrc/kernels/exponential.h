// exp and what is made of it, with vectors, to a few units in the last place: infinities, NaN and subnormals included.
#pragma once

#include "vec.h"

namespace convnet {
namespace {

template <class T>
struct Exponential;
template <>
struct Exponential<float> {
  typedef std::int32_t Bits __attribute__((vector_size(kVectorBytes)));
  static constexpr float highest = 89, lowest = -104;  // beyond these exp is infinite, or rounds to zero
  static constexpr float saturated = 10;               // where tanh is 1
  static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;  // few bits: n·ln2_high is exact
  static constexpr float rounder = 12582912;  // 1.5·2^23: adding it leaves an integer in the low bits
  static constexpr int mantissa = 23, bias = 127;
  static constexpr int degree = 7;
};
template <>
struct Exponential<double> {
  typedef std::int64_t Bits __attribute__((vector_size(kVectorBytes)));
  static constexpr double highest = 710, lowest = -746;
  static constexpr double saturated = 20;
  static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
  static constexpr double rounder = 6755399441055744;  // 1.5·2^52
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr int degree = 13;
};

template <class T>
inline Vec<T> splat(T value) {
  return Vec<T>{} + value;
}

// x = n·ln 2 + r with |r| <= ln 2 / 2, and e^r - 1 by its Taylor series, whose next term is below half a unit in the
// last place.
template <class T>
struct Reduced {
  typename Exponential<T>::Bits n;
  Vec<T> less_one;
};

template <class T>
inline Reduced<T> reduce(Vec<T> x) {
  using E = Exponential<T>;
  using Bits = typename E::Bits;
  const Vec<T> rounder = splat(E::rounder);
  const Vec<T> shifted = x * T(1.44269504088896340736) + rounder;
  const Vec<T> n = shifted - rounder;
  const Vec<T> r = (x - n * E::ln2_high) - n * E::ln2_low;
  constexpr double inverse_factorial[] = {
      1,         1,          1. / 2,      1. / 6,       1. / 24,       1. / 120,       1. / 720,
      1. / 5040, 1. / 40320, 1. / 362880, 1. / 3628800, 1. / 39916800, 1. / 479001600, 1. / 6227020800};
  Vec<T> series = splat(T(inverse_factorial[E::degree]));
#pragma GCC unroll 16
  for (int k = E::degree - 1; k >= 2; --k) series = series * r + T(inverse_factorial[k]);
  return {Bits(shifted) - Bits(rounder), r + r * r * series};
}

template <class T>
inline Vec<T> power_of_two(typename Exponential<T>::Bits n) {
  return Vec<T>((n + Exponential<T>::bias) << Exponential<T>::mantissa);
}

template <class T>
inline Vec<T> exp(Vec<T> x) {
  using E = Exponential<T>;
  x = x > E::highest ? splat(E::highest) : x;
  x = x < E::lowest ? splat(E::lowest) : x;
  const Reduced<T> reduced = reduce<T>(x);
  const auto half = reduced.n >> 1;  // in two steps: 2^n alone may lie outside the normal range
  return (T(1) + reduced.less_one) * power_of_two<T>(half) * power_of_two<T>(reduced.n - half);
}

template <class T>
inline Vec<T> sigmoid(Vec<T> x) {
  const Vec<T> small = exp<T>(x > 0 ? -x : x);  // from the side where nothing overflows
  return (x > 0 ? splat(T(1)) : small) / (T(1) + small);
}

// (e^2x - 1) / (e^2x + 1), with e^2x - 1 free of cancellation near zero.
template <class T>
inline Vec<T> tanh(Vec<T> x) {
  constexpr T saturated = Exponential<T>::saturated;
  x = x > saturated ? splat(saturated) : x;
  x = x < -saturated ? splat(-saturated) : x;
  const Reduced<T> reduced = reduce<T>(x + x);
  const Vec<T> scale = power_of_two<T>(reduced.n);
  const Vec<T> less_one = scale * reduced.less_one + (scale - T(1));
  return less_one / (less_one + T(2));
}

template <class T>
void sigmoid(const T* x, std::int64_t count, T* y) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) { store_upto(y + i, sigmoid<T>(load_upto(x + i, n)), n); });
}

template <class T>
void sigmoid_backward(const T* dy, const T* y, std::int64_t count, T* dx) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    const Vec<T> value = load_upto(y + i, n);
    store_upto(dx + i, load_upto(dy + i, n) * (value * (T(1) - value)), n);
  });
}

template <class T>
void tanh(const T* x, std::int64_t count, T* y) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) { store_upto(y + i, tanh<T>(load_upto(x + i, n)), n); });
}

template <class T>
void tanh_backward(const T* dy, const T* y, std::int64_t count, T* dx) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    const Vec<T> value = load_upto(y + i, n);
    store_upto(dx + i, load_upto(dy + i, n) * ((T(1) - value) * (T(1) + value)), n);
  });
}

template <class T>
T exp_sum(const T* x, T shift, std::int64_t count, T* y) {
  Vec<T> partial = {};
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    store_upto(y + i, exp<T>(load_upto(x + i, n) - shift), n);
    partial += load_upto(y + i, n);
  });
  T total = 0;
  for (int i = 0; i < kLanes<T>; ++i) total += partial[i];
  return total;
}

template <class T>
void softmax_backward(const T* dy, const T* y, T total, std::int64_t count, T* dx) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    store_upto(dx + i, load_upto(y + i, n) * (load_upto(dy + i, n) - total), n);
  });
}

template <class T>
void log_softmax_backward(const T* dy, const T* y, T total, std::int64_t count, T* dx) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    store_upto(dx + i, load_upto(dy + i, n) - exp<T>(load_upto(y + i, n)) * total, n);
  });
}

}  // namespace
}  // namespace convnet
