// Rows of numbers, one output for one or two inputs.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace convnet {
namespace {

template <class T>
inline void zero(T* y, std::int64_t count) {
  if (count > 0) for_vectors<T>(count, [&](std::int64_t j, std::int64_t n) { store_upto(y + j, Vec<T>{}, n); });
}

// y[i] = x[i·step]; reads nothing behind the last element.
template <class T>
inline void gather_row(const T* x, std::int64_t columns, std::int64_t step, T* y) {
  if (step == 1) {
    for_vectors<T>(columns, [&](std::int64_t i, std::int64_t n) { store_upto(y + i, load_upto(x + i, n), n); });
  } else if (step == 2) {
    for_vectors<T>(columns, [&](std::int64_t i, std::int64_t n) {
      const T* from = x + 2 * i;
      if (i + kLanes<T> < columns) {
        store(y + i, evens<T>(load(from), load(from + kLanes<T>)));
      } else {
        const std::int64_t high = 2 * n - 1 - kLanes<T>;
        const Vec<T> low = load_upto(from, high >= 0 ? kLanes<T> : 2 * n - 1);
        store_upto(y + i, evens<T>(low, high > 0 ? load_first(from + kLanes<T>, high) : Vec<T>{}), n);
      }
    });
  } else {
    std::int64_t i = 0;
    if (step == 4) {
      constexpr int L = kLanes<T>;
      for (; i + L < columns; i += L) {
        const T* from = x + 4 * i;
        store(y + i, evens<T>(evens<T>(load(from), load(from + L)), evens<T>(load(from + 2 * L), load(from + 3 * L))));
      }
    }
    for (; i < columns; ++i) y[i] = x[i * step];
  }
}

template <class T>
void copy_rows(const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t columns, T* y, std::int64_t y_row) {
  for (; rows > 0; --rows, x += x_row, y += y_row) gather_row(x, columns, 1, y);
}

template <class T>
void pad_rows(const PaddedRows<T>& p) {
  const T* x = p.x;
  T* y = p.y;
  for (std::int64_t i = 0; i < p.rows; ++i, x += p.x_stride, y += p.y_stride) {
    zero(y, p.left);
    gather_row(x, p.columns, p.step, y + p.left);
    zero(y + p.left + p.columns, p.right);
  }
}

// y[j][i] = x[i·x_stride + j]: squares of lanes x lanes through registers, those at the edges partly filled.
template <class T>
void transpose(const T* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns, T* y,
               std::int64_t y_stride) {
  constexpr int L = kLanes<T>;
  for (std::int64_t i0 = 0; i0 < rows; i0 += L)
    for (std::int64_t j0 = 0; j0 < columns; j0 += L) {
      const std::int64_t height = rows - i0 < L ? rows - i0 : L, width = columns - j0 < L ? columns - j0 : L;
      const T* from = x + i0 * x_stride + j0;
      T* to = y + j0 * y_stride + i0;
      Vec<T> square[L];
      if (height == L && width == L) {
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) square[i] = load(from + i * x_stride);
        transpose_square<T>(square);
#pragma GCC unroll 16
        for (int j = 0; j < L; ++j) store(to + j * y_stride, square[j]);
      } else {
#pragma GCC unroll 16
        for (int i = 0; i < L; ++i) square[i] = i < height ? load_upto(from + i * x_stride, width) : Vec<T>{};
        transpose_square<T>(square);
#pragma GCC unroll 16
        for (int j = 0; j < L; ++j)
          if (j < width) store_upto(to + j * y_stride, square[j], height);
      }
    }
}

template <class T>
T sum(const T* x, std::int64_t count) {
  Vec<T> partial = {};
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) { partial += load_upto(x + i, n); });
  T lanes[kLanes<T>];
  store(lanes, partial);
  T total = 0;
  for (int i = 0; i < kLanes<T>; ++i) total += lanes[i];
  return total;
}

template <class T>
void relu(const T* x, std::int64_t count, T* y) {
  for_vectors<T>(count,
                 [&](std::int64_t i, std::int64_t n) { store_upto(y + i, positive_part<T>(load_upto(x + i, n)), n); });
}

template <class T>
void relu_backward(const T* dy, const T* x, std::int64_t count, T* dx) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    store_upto(dx + i, load_upto(x + i, n) <= 0 ? Vec<T>{} : load_upto(dy + i, n), n);
  });
}

template <class T>
void axpby(T a, const T* x, T b, const T* y, std::int64_t count, T* z) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    store_upto(z + i, a * load_upto(x + i, n) + b * load_upto(y + i, n), n);
  });
}

}  // namespace
}  // namespace convnet
