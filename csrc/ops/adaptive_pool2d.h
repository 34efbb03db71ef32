// Pooling into a given number of windows: along an axis of `in` elements, window i of `out` covers
// [floor(i·in / out), ceil((i + 1)·in / out)). One window is the global pool.
#pragma once

#include "window.h"

namespace convnet {

struct AdaptivePool2dShape {
  // x (n, c, h, w), y (n, c, o_h, o_w)
  std::int64_t n, c, h, w, o_h, o_w;

  // Throws std::invalid_argument with the sizes.
  AdaptivePool2dShape(const Shape4& x, const Pair& output, const char* op);

  std::int64_t in_plane() const { return h * w; }
  std::int64_t out_plane() const { return o_h * o_w; }
  std::int64_t planes() const { return n * c; }
  Shape4 x() const { return {n, c, h, w}; }
  Shape4 y() const { return {n, c, o_h, o_w}; }
};

// NaN wins; of equal values the first in row-major order.
template <class T>
void adaptive_max_pool2d(const AdaptivePool2dShape& shape, const T* x, T* y, std::int64_t* indices);
// Throws std::invalid_argument for an index outside its plane.
template <class T>
void adaptive_max_pool2d_backward(const AdaptivePool2dShape& shape, const T* dy, const std::int64_t* indices, T* dx);

template <class T>
void adaptive_avg_pool2d(const AdaptivePool2dShape& shape, const T* x, T* y);
template <class T>
void adaptive_avg_pool2d_backward(const AdaptivePool2dShape& shape, const T* dy, T* dx);

}  // namespace convnet
