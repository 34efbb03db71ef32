// Rows of numbers, one output for one or two inputs.
#pragma once

#include "vec.h"

namespace convnet {
namespace {

template <class T>
void gather(const T* x, std::int64_t step, std::int64_t count, T* y) {
  if (step == 2) {  // a constant step lets the compiler load whole vectors and permute
    for (std::int64_t i = 0; i < count; ++i) y[i] = x[2 * i];
  } else {
    for (std::int64_t i = 0; i < count; ++i) y[i] = x[i * step];
  }
}

template <class T>
void transpose(const T* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns, T* y,
               std::int64_t y_stride) {
  constexpr std::int64_t block = 16;  // both sides of a block stay in the first-level cache
  for (std::int64_t i0 = 0; i0 < rows; i0 += block)
    for (std::int64_t j0 = 0; j0 < columns; j0 += block) {
      const std::int64_t i1 = i0 + block < rows ? i0 + block : rows;
      const std::int64_t j1 = j0 + block < columns ? j0 + block : columns;
      for (std::int64_t j = j0; j < j1; ++j)
        for (std::int64_t i = i0; i < i1; ++i) y[j * y_stride + i] = x[i * x_stride + j];
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
