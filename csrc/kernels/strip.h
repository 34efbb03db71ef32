// Rows of a plane on their way into a strip: reduced to one row each where asked, and split by column phase.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace convnet {
namespace {

constexpr int kAhead = 4096;  // bytes: planes follow one another, but the processor's own prefetch stops at each page

struct Only {
  template <class T>
  static Vec<T> of(Vec<T>, Vec<T> b) {
    return b;
  }
};

struct Sum {
  template <class V>
  static V lanes(V a, V b) {
    return a + b;
  }
  template <class T>
  static Vec<T> of(Vec<T> a, Vec<T> b) {
    return lanes(a, b);
  }
};

// The greater; NaN wins.
struct Greater {
  template <class V>
  static V lanes(V a, V b) {
    const V greater = b > a ? b : a;
    return b != b ? b : greater;
  }
  template <class T>
  static Vec<T> of(Vec<T> a, Vec<T> b) {
    return lanes(a, b);
  }
};

template <class T, class Reduce>
inline Vec<T> reduce(const T* x, std::int64_t step, std::int64_t rows, std::int64_t count) {
  Vec<T> value = load_upto(x, count);
  for (std::int64_t r = 1; r < rows; ++r) value = Reduce::template of<T>(value, load_upto(x + r * step, count));
  return value;
}

template <class T, class Reduce>
void split_rows(const RowSplit<T>& s) {
  constexpr std::int64_t L = kLanes<T>;
  for (std::int64_t i = 0; i < s.rows; ++i) {
    const T* x = s.x + (s.first ? s.first[i] : i) * s.x_row;
    const std::int64_t rows = s.count ? s.count[i] : 1, step = s.reduced_row;
    const auto column = [&](std::int64_t j, std::int64_t n) {
      __builtin_prefetch(reinterpret_cast<const char*>(x + j) + kAhead);
      return reduce<T, Reduce>(x + j, step, rows, n);
    };
    if (s.step == 1) {
      T* const y = s.phase[0] + i * s.y_row;
      for_vectors<T>(s.columns, [&](std::int64_t j, std::int64_t n) { store_upto(y + j, column(j, n), n); });
    } else if (s.step == 2) {
      T* const even = s.phase[0] ? s.phase[0] + i * s.y_row : nullptr;
      T* const odd = s.phase[1] ? s.phase[1] + i * s.y_row : nullptr;
      std::int64_t j = 0;
      for (; j + 2 * L <= s.columns; j += 2 * L) {
        const Vec<T> a = column(j, L), b = column(j + L, L);
        if (even) store(even + j / 2, evens<T>(a, b));
        if (odd) store(odd + j / 2, odds<T>(a, b));
      }
      if (const std::int64_t n = s.columns - j; n > 0) {
        const Vec<T> a = column(j, n < L ? n : L), b = n > L ? column(j + L, n - L) : Vec<T>{};
        if (even) store_first(even + j / 2, evens<T>(a, b), (n + 1) / 2);
        if (odd && n > 1) store_first(odd + j / 2, odds<T>(a, b), n / 2);
      }
    } else {
      T* const y = s.phase[0] + i * s.y_row;
      for (std::int64_t j = 0; j < s.columns; ++j) y[j] = column(j * s.step, 1)[0];
    }
  }
}

}  // namespace
}  // namespace convnet
