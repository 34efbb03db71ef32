// A validated 2-D pooling.
#pragma once

#include "window.h"

namespace convnet {

struct Pool2dShape {
  // x (n, c, h, w), y (n, c, o_h, o_w)
  std::int64_t n, c, h, w;
  std::int64_t k_h, k_w;
  std::int64_t stride_h, stride_w;
  std::int64_t pad_top, pad_bottom, pad_left, pad_right;
  std::int64_t dilation_h, dilation_w;
  std::int64_t o_h, o_w;

  // Throws std::invalid_argument with the sizes. With ceil_mode a partial last window counts, unless it starts in
  // the padding after the input (PyTorch's rule).
  Pool2dShape(const Shape4& x, const Pair& kernel, const Pair& stride, const Padding& padding, const Pair& dilation,
              bool ceil_mode, const char* op);

  std::int64_t in_plane() const { return h * w; }
  std::int64_t out_plane() const { return o_h * o_w; }
  std::int64_t planes() const { return n * c; }
  Shape4 x() const { return {n, c, h, w}; }
  Shape4 y() const { return {n, c, o_h, o_w}; }
};

}  // namespace convnet
