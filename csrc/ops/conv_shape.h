// A validated 2-D convolution: the only way into a convolution operation.
#pragma once

#include "window.h"

namespace convnet {

struct Conv2dShape {
  // x (n, c_in, h, w), weight (c_out, c_in/groups, k_h, k_w), y (n, c_out, o_h, o_w)
  std::int64_t n, c_in, h, w;
  std::int64_t c_out, k_h, k_w;
  std::int64_t stride_h, stride_w;
  std::int64_t pad_top, pad_bottom, pad_left, pad_right;
  std::int64_t dilation_h, dilation_w;
  std::int64_t groups;
  std::int64_t o_h, o_w;
  // Arrays in memory: channels after the pixels, x (n, h, w, c_in) and weight (k_h, k_w, c_in/groups, c_out)
  bool channels_last = false;

  // Throws std::invalid_argument with the sizes; `op` opens the message.
  Conv2dShape(const Shape4& x, const Shape4& weight, const Pair& stride, const Padding& padding, const Pair& dilation,
              std::int64_t groups, const char* op = "conv2d");

  std::int64_t c_in_group() const { return c_in / groups; }
  std::int64_t c_out_group() const { return c_out / groups; }
  std::int64_t taps() const { return k_h * k_w; }
  std::int64_t reduction() const { return c_in_group() * taps(); }  // terms of one output
  std::int64_t in_plane() const { return h * w; }
  std::int64_t out_plane() const { return o_h * o_w; }
  // From weight to weight
  std::int64_t weight_c_out_stride() const { return channels_last ? 1 : reduction(); }
  std::int64_t weight_c_in_stride() const { return channels_last ? c_out : taps(); }
  std::int64_t tap_stride() const { return channels_last ? c_in_group() * c_out : 1; }
  Shape4 x() const { return {n, c_in, h, w}; }
  Shape4 weight() const { return {c_out, c_in_group(), k_h, k_w}; }
  Shape4 y() const { return {n, c_out, o_h, o_w}; }
  // Multiply-adds, padding counted (FLOPs are twice that); a double, for the product may pass 2^63.
  double macs() const { return double(n) * double(c_out) * double(out_plane()) * double(reduction()); }
  // The same, or a column of pixels under a column of weights as the row that its arrays are as well.
  Conv2dShape laid_down() const;
};

}  // namespace convnet
