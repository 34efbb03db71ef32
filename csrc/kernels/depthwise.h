// One plane filtered by one kernel: rows of outputs, columns in lanes, each load used by all the output rows it meets.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace convnet {
namespace {

// y[r][i] = x[r][i·step]
template <class T>
void gather_rows(const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t columns, std::int64_t step, T* y, std::int64_t y_row) {
  for (std::int64_t r = 0; r < rows; ++r, x += x_row, y += y_row) {
    if (step == 1)
      for_vectors<T>(columns, [&](std::int64_t i, std::int64_t n) { store_upto(y + i, load_upto(x + i, n), n); });
    else if (step == 2)
      for_vectors<T>(columns, [&](std::int64_t i, std::int64_t n) {
        const T* from = x + 2 * i;
        if (i + kLanes<T> < columns) {
          store(y + i, evens<T>(load(from), load(from + kLanes<T>)));
        } else {  // reads nothing behind the last element
          const std::int64_t high = 2 * n - 1 - kLanes<T>;
          const Vec<T> low = load_upto(from, high >= 0 ? kLanes<T> : 2 * n - 1);
          store_upto(y + i, evens<T>(low, high > 0 ? load_first(from + kLanes<T>, high) : Vec<T>{}), n);
        }
      });
    else
      for (std::int64_t i = 0; i < columns; ++i) y[i] = x[i * step];
  }
}

template <class T, int R>
inline void depthwise_store(const Depthwise<T>& d, Vec<T> (&sum)[R], T* y, std::int64_t count) {
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r, y += d.y_row) {
    Vec<T> value = sum[r] + d.bias;
    if (d.relu) value = positive_part<T>(value);
    if (d.y_column == 1) {
      store_upto(y, value, count);
    } else {
      T lanes[kLanes<T>];
      store(lanes, value);
      for (std::int64_t i = 0; i < count; ++i) y[i * d.y_column] = lanes[i];
    }
  }
}

// Any taps: a load for each product.
template <class T>
struct AnyTaps {
  template <int R>
  static void rows(const Depthwise<T>& d, const T* x, T* y) {
    for_vectors<T>(d.columns, [&](std::int64_t i, std::int64_t n) {
      Vec<T> sum[R] = {};
      for (std::int64_t t = 0; t < d.taps; ++t) {
        const T* from = x + i + d.tap_offset[t];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r, from += d.x_row) sum[r] += d.weight[t] * load(from);
      }
      depthwise_store<T, R>(d, sum, y + i * d.y_column, n);
    });
  }
};

// KH x KW taps in row-major order whose rows lie as far apart as x's; outputs are STEP such rows apart.
template <class T, int KH, int KW, int STEP>
struct GridTaps {
  template <int R>
  static void rows(const Depthwise<T>& d, const T* x, T* y) {
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
          const Vec<T> value = load(column[q] + row * pitch + i);
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r)
            if (row >= r * STEP && row - r * STEP < KH) sum[r] += weight[(row - r * STEP) * KW + q] * value;
        }
      depthwise_store<T, R>(d, sum, y + i * d.y_column, n);
    });
  }
};

template <class T, class Taps>
void depthwise(const Depthwise<T>& d) {
  const T* x = d.x;
  T* y = d.y;
  std::int64_t rows = d.rows;
  for (; rows >= 4; rows -= 4, x += 4 * d.x_row, y += 4 * d.y_row) Taps::template rows<4>(d, x, y);
  if (rows == 3) Taps::template rows<3>(d, x, y);
  if (rows == 2) Taps::template rows<2>(d, x, y);
  if (rows == 1) Taps::template rows<1>(d, x, y);
}

}  // namespace
}  // namespace convnet
