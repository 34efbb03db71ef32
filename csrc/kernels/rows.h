// Sums over rows, and rows that are shifted and scaled: what normalisation is made of.
#pragma once

#include "vec.h"

namespace convnet {
namespace {

// The sum of term(i) over whole vectors, and of its scalar form over the rest.
template <class T, class Vectors, class Rest>
inline T reduced_sum(std::int64_t count, Vectors&& vectors, Rest&& rest) {
  Vec<T> partial = {};
  std::int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) partial += vectors(i);
  T total = 0;
  for (int lane = 0; lane < kLanes<T>; ++lane) total += partial[lane];
  for (; i < count; ++i) total += rest(i);
  return total;
}

// Of a row that holds a NaN, any value.
template <class T>
T largest(const T* x, std::int64_t count) {
  T most = x[0];
  std::int64_t i = 0;
  if (count >= kLanes<T>) {
    Vec<T> best = load(x);
    for (; i + kLanes<T> <= count; i += kLanes<T>) {
      const Vec<T> next = load(x + i);
      best = next > best ? next : best;
    }
    for (int lane = 0; lane < kLanes<T>; ++lane) most = best[lane] > most ? best[lane] : most;
  }
  for (; i < count; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

template <class T>
T dot(const T* x, const T* y, T y_shift, std::int64_t count) {
  return reduced_sum<T>(
      count, [&](std::int64_t i) { return load(x + i) * (load(y + i) - y_shift); },
      [&](std::int64_t i) { return x[i] * (y[i] - y_shift); });
}

template <class T>
T squared_distance(const T* x, T from, std::int64_t count) {
  return reduced_sum<T>(
      count,
      [&](std::int64_t i) {
        const Vec<T> d = load(x + i) - from;
        return d * d;
      },
      [&](std::int64_t i) { return (x[i] - from) * (x[i] - from); });
}

template <class T>
void normalize(const T* x, T mean, T scale, T shift, std::int64_t count, T* y) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    store_upto(y + i, (load_upto(x + i, n) - mean) * scale + shift, n);
  });
}

template <class T>
void normalize_backward(const T* dy, T scale, const T* x, T mean, T slope, T shift, std::int64_t count, T* dx) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    store_upto(dx + i, load_upto(dy + i, n) * scale + ((load_upto(x + i, n) - mean) * slope + shift), n);
  });
}

template <class T>
void leaky_relu(const T* x, T slope, std::int64_t count, T* y) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    const Vec<T> value = load_upto(x + i, n);
    store_upto(y + i, value <= 0 ? value * slope : value, n);
  });
}

template <class T>
void leaky_relu_backward(const T* dy, const T* y, T slope, std::int64_t count, T* dx) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    const Vec<T> flow = load_upto(dy + i, n);
    store_upto(dx + i, load_upto(y + i, n) <= 0 ? flow * slope : flow, n);
  });
}

}  // namespace
}  // namespace convnet
