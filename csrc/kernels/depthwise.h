// One plane filtered by one kernel: rows of outputs, columns in lanes, each load used by all the output rows it meets.
#pragma once

#include "kernels.h"
#include "strip.h"
#include "vec.h"

namespace convnet {
namespace {

template <class T, int R>
inline void depthwise_store(Vec<T> (&sum)[R], T bias, bool relu, T* y, std::int64_t y_row, std::int64_t count) {
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    Vec<T> value = sum[r] + bias;
    if (relu) value = positive_part<T>(value);
    store_upto(y + r * y_row, value, count);
  }
}

// Any taps: a load for each product.
template <class T>
struct AnyTaps {
  template <int R>
  static void rows(const Depthwise<T>& d, const T* x, T* y) {
    // Copies: what stays in registers while y is written.
    const T bias = d.bias;
    const bool relu = d.relu;
    const std::int64_t y_row = d.y_row;
    for_vectors<T>(d.columns, [&](std::int64_t i, std::int64_t n) {
      Vec<T> sum[R] = {};
      for (std::int64_t t = 0; t < d.taps; ++t) {
        const T* from = x + i + d.tap_offset[t];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r, from += d.x_row) sum[r] += d.weight[t] * load(from);
      }
      depthwise_store<T, R>(sum, bias, relu, y + i, y_row, n);
    });
  }
};

// KH x KW taps in row-major order whose rows lie as far apart as x's; outputs are STEP such rows apart.
template <class T, int KH, int KW, int STEP>
struct GridTaps {
  template <int R>
  static void rows(const Depthwise<T>& d, const T* x, T* y) {
    // Copies: what stays in registers while y is written.
    const T bias = d.bias;
    const bool relu = d.relu;
    const std::int64_t y_row = d.y_row;
    const std::int64_t pitch = d.x_row / STEP;
    Vec<T> weight[KH * KW];
#pragma GCC unroll 25
    for (int t = 0; t < KH * KW; ++t) weight[t] = Vec<T>{} + d.weight[t];
    const T* column[KW];
#pragma GCC unroll 5
    for (int q = 0; q < KW; ++q) column[q] = x + d.tap_offset[q];
    for_vectors<T>(d.columns, [&](std::int64_t i, std::int64_t n) {
      Vec<T> sum[R] = {};
#pragma GCC unroll 11
      for (int row = 0; row < (R - 1) * STEP + KH; ++row)
#pragma GCC unroll 5
        for (int q = 0; q < KW; ++q) {
          const Vec<T> value = in_register<T>(load(column[q] + row * pitch + i));
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r)
            if (row >= r * STEP && row - r * STEP < KH) sum[r] += weight[(row - r * STEP) * KW + q] * value;
        }
      depthwise_store<T, R>(sum, bias, relu, y + i, y_row, n);
    });
  }
};

// Calls four(row) for rows four at a time, the last of which overlap those before, or one(row) for fewer.
template <class Four, class One>
inline void for_rows_by_four(std::int64_t rows, Four&& four, One&& one) {
  if (rows < 4)
    for (std::int64_t row = 0; row < rows; ++row) one(row);
  else
    for (std::int64_t row = 0; row < rows; row += 4) four(row + 4 <= rows ? row : rows - 4);
}

template <class T, class Taps>
void depthwise(const Depthwise<T>& d) {
  for_rows_by_four(
      d.rows, [&](std::int64_t row) { Taps::template rows<4>(d, d.x + row * d.x_row, d.y + row * d.y_row); },
      [&](std::int64_t row) { Taps::template rows<1>(d, d.x + row * d.x_row, d.y + row * d.y_row); });
}

// Of a row of so many values, those from column `at` on, zero outside the row.
template <class T, bool EDGE>
inline Vec<T> load_row(const T* row, std::int64_t at, std::int64_t columns) {
  if constexpr (!EDGE) return load(row + at);
  constexpr std::int64_t L = kLanes<T>;
  const std::int64_t begin = at < 0 ? -at : 0, end = columns - at;
  return load_between<T>(row + at, int(begin < L ? begin : L), int(end < 0 ? 0 : end < L ? end : L));
}

template <class T, int K, int STEP, int R, bool EDGE>
inline void depthwise_image_vector(const T* const (&row)[(R - 1) * STEP + K], std::int64_t at, std::int64_t in_w,
                                   const Vec<T> (&weight)[K * K], Vec<T> (&sum)[R]) {
#pragma GCC unroll 11
  for (int i = 0; i < (R - 1) * STEP + K; ++i) {
    Vec<T> value[K];
    if constexpr (STEP == 1) {
#pragma GCC unroll 5
      for (int q = 0; q < K; ++q) value[q] = load_row<T, EDGE>(row[i], at + q, in_w);
    } else {
#pragma GCC unroll 3
      for (int q = 0; q < K; q += 2) {
        const Vec<T> a = load_row<T, EDGE>(row[i], at + q, in_w),
                     b = load_row<T, EDGE>(row[i], at + q + kLanes<T>, in_w);
        value[q] = evens<T>(a, b);
        if (q + 1 < K) value[q + 1] = odds<T>(a, b);
      }
    }
#pragma GCC unroll 5
    for (int q = 0; q < K; ++q) {
      const Vec<T> one = in_register<T>(value[q]);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
        if (i >= r * STEP && i - r * STEP < K) sum[r] += weight[(i - r * STEP) * K + q] * one;
    }
  }
}

template <class T, int K, int STEP, int R>
inline void depthwise_image_rows(const DepthwiseImage<T>& d, std::int64_t first) {
  constexpr std::int64_t L = kLanes<T>;
  constexpr int ROWS = (R - 1) * STEP + K;
  // Copies: what stays in registers while y is written.
  const T bias = d.bias;
  const bool relu = d.relu;
  const std::int64_t y_row = d.y_row, in_w = d.in_w;
  T* const y = d.y + first * y_row;
  Vec<T> weight[K * K];
#pragma GCC unroll 25
  for (int t = 0; t < K * K; ++t) weight[t] = Vec<T>{} + d.weight[t];
  const T* row[ROWS];
#pragma GCC unroll 11
  for (int i = 0; i < ROWS; ++i) {
    const std::int64_t from = d.first_row + first * STEP + i;
    row[i] = from >= 0 && from < d.in_h ? d.x + from * in_w : d.zeros;
  }
  for_vectors<T>(d.columns, [&](std::int64_t j, std::int64_t n) {
    const std::int64_t at = d.first_column + j * STEP;
    Vec<T> sum[R] = {};
    if (at >= 0 && at + K - 1 + STEP * L <= in_w) {
#pragma GCC unroll 4
      for (int r = 0; r < R * STEP; ++r)
        __builtin_prefetch(reinterpret_cast<const char*>(row[ROWS - 1 - r] + at) + kAhead);
      depthwise_image_vector<T, K, STEP, R, false>(row, at, in_w, weight, sum);
    } else {
      depthwise_image_vector<T, K, STEP, R, true>(row, at, in_w, weight, sum);
    }
    depthwise_store<T, R>(sum, bias, relu, y + j, y_row, n);
  });
}

template <class T, int K, int STEP>
void depthwise_image(const DepthwiseImage<T>& d) {
  for_rows_by_four(
      d.rows, [&](std::int64_t row) { depthwise_image_rows<T, K, STEP, 4>(d, row); },
      [&](std::int64_t row) { depthwise_image_rows<T, K, STEP, 1>(d, row); });
}

// The gradients of some taps from rows of dy: sums of so many taps stay in registers while the outputs go by. Lanes
// past the last column must not be multiplied at all, for x may be infinite there.
template <class T, int TAPS>
void gradient_of_taps(const DepthwiseGradient<T>& g, std::int64_t first) {
  Vec<T> sum[TAPS];
  const T* x[TAPS];
#pragma GCC unroll 8
  for (int t = 0; t < TAPS; ++t) {
    sum[t] = load(g.sum + (first + t) * kLanes<T>);
    x[t] = g.x + g.tap_offset[first + t];
  }
  for (std::int64_t r = 0; r < g.rows; ++r)
    for_vectors<T>(g.columns, [&](std::int64_t i, std::int64_t n) {
      const Vec<T> dy = load_upto(g.dy + r * g.dy_row + i, n);
#pragma GCC unroll 8
      for (int t = 0; t < TAPS; ++t) {
        const Vec<T> value = load(x[t] + r * g.x_row + i);
        sum[t] += dy * (n == kLanes<T> ? value : keep_first<T>(value, n));
      }
    });
#pragma GCC unroll 8
  for (int t = 0; t < TAPS; ++t) store(g.sum + (first + t) * kLanes<T>, sum[t]);
}

template <class T>
void gradient_of_any_taps(const DepthwiseGradient<T>& g) {
  std::int64_t t = 0;
  for (; t + 8 <= g.taps; t += 8) gradient_of_taps<T, 8>(g, t);
  if (g.taps - t >= 4) {
    gradient_of_taps<T, 4>(g, t);
    t += 4;
  }
  for (; t < g.taps; ++t) gradient_of_taps<T, 1>(g, t);
}

template <class T, int KH, int KW, int STEP, int R>
inline void gradient_of_grid_rows(const DepthwiseGradient<T>& g, std::int64_t first, Vec<T> (&sum)[KH * KW]) {
  const std::int64_t pitch = g.x_row / STEP;
  const T* column[KW];
#pragma GCC unroll 5
  for (int q = 0; q < KW; ++q) column[q] = g.x + first * g.x_row + g.tap_offset[q];
  for_vectors<T>(g.columns, [&](std::int64_t i, std::int64_t n) {
    Vec<T> dy[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) dy[r] = load_upto(g.dy + (first + r) * g.dy_row + i, n);
#pragma GCC unroll 11
    for (int row = 0; row < (R - 1) * STEP + KH; ++row)
#pragma GCC unroll 5
      for (int q = 0; q < KW; ++q) {
        Vec<T> value = in_register<T>(load(column[q] + row * pitch + i));
        if (n != kLanes<T>) value = keep_first<T>(value, n);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
          if (row >= r * STEP && row - r * STEP < KH) sum[(row - r * STEP) * KW + q] += dy[r] * value;
      }
  });
}

template <class T, int KH, int KW, int STEP>
void gradient_of_grid(const DepthwiseGradient<T>& g) {
  Vec<T> sum[KH * KW];
#pragma GCC unroll 25
  for (int t = 0; t < KH * KW; ++t) sum[t] = load(g.sum + t * kLanes<T>);
  std::int64_t row = 0;
  for (; row + 4 <= g.rows; row += 4) gradient_of_grid_rows<T, KH, KW, STEP, 4>(g, row, sum);
  for (; row < g.rows; ++row) gradient_of_grid_rows<T, KH, KW, STEP, 1>(g, row, sum);
#pragma GCC unroll 25
  for (int t = 0; t < KH * KW; ++t) store(g.sum + t * kLanes<T>, sum[t]);
}

}  // namespace
}  // namespace convnet
