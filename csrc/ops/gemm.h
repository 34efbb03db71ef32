// Dense matrix products.
#pragma once

#include <cstdint>

namespace convnet {

// Element (i, j) is data[i·row_stride + j·column_stride]; one of the strides is 1.
template <class T>
struct Matrix {
  const T* data;
  std::int64_t row_stride, column_stride;
};

// c (m, n), dense = a (m, k) · b (k, n) [+ what c holds], then the positive part where `relu`. Each element's terms
// are added in a fixed order, whatever m, n and the number of threads.
template <class T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, const Matrix<T>& a, const Matrix<T>& b, bool add, bool relu,
          T* c);

// y (m, out) = x (m, in) · weight (in, out) + bias (out), bias may be null.
template <class T>
void dense(std::int64_t m, std::int64_t in, std::int64_t out, const T* x, const T* weight, const T* bias, bool relu,
           T* y);

// Null where a gradient is not wanted.
template <class T>
void dense_backward(std::int64_t m, std::int64_t in, std::int64_t out, const T* dy, const T* x, const T* weight, T* dx,
                    T* dw, T* db);

}  // namespace convnet
