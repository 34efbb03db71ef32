#include "conv_transpose2d.h"

#include "../kernels/kernels.h"
#include "../runtime/parallel.h"
#include "conv2d.h"
#include "message.h"

namespace convnet {
namespace {

std::int64_t output_size(const Window& window, std::int64_t output_padding, const char* op, const char* axis) {
  check_window(window, op, axis);
  require(output_padding >= 0 && output_padding < window.stride, op, ": output_padding (", axis,
          ") must be at least 0 and below the stride ", window.stride, ", got ", output_padding);
  require(window.in >= 1, op, ": the ", axis, " of x must be at least 1, got ", window.in);
  // Below 2^62 + 2^62: check_window keeps every factor below 2^31.
  const std::int64_t full = (window.in - 1) * window.stride + window.extent() + output_padding;
  const std::int64_t out = full - window.pad_before - window.pad_after;
  require(out >= 1, op, ": padding (", axis, ") (", window.pad_before, ", ", window.pad_after,
          ") leaves nothing of an output of ", full);
  return out;
}

}  // namespace

Conv2dShape conv_transpose2d_shape(const Shape4& x, const Shape4& weight, const Pair& stride, const Padding& padding,
                                   const Pair& output_padding, const Pair& dilation, std::int64_t groups,
                                   const char* op) {
  require(groups >= 1, op, ": groups must be at least 1, got ", groups);
  require(x[1] == weight[0], op, ": x has ", x[1], " channels but weight expects ", weight[0], "; x ", x, ", weight ",
          weight);
  require(x[1] % groups == 0, op, ": groups = ", groups, " must divide the ", x[1], " input channels; x ", x,
          ", weight ", weight);
  checked_size(x, op, "x");
  checked_size(weight, op, "weight");
  checked_size({weight[1], groups, 1, 1}, op, "the output");
  const Shape4 y = {
      x[0], weight[1] * groups,
      output_size({x[2], weight[2], stride[0], padding[0], padding[1], dilation[0]}, output_padding[0], op, "height"),
      output_size({x[3], weight[3], stride[1], padding[2], padding[3], dilation[1]}, output_padding[1], op, "width")};
  checked_size(y, op, "the output");
  return Conv2dShape(y, weight, stride, padding, dilation, groups, op);
}

template <class T>
void conv_transpose2d(const Conv2dShape& s, const T* x, const T* weight, const T* bias, T* y) {
  conv2d_backward_input(s, Algorithm::automatic, x, weight, y);
  if (!bias) return;
  parallel_for(s.n * s.c_in, double(s.n * s.c_in) * double(s.in_plane()), [&](std::int64_t plane) {
    T* const to = y + plane * s.in_plane();
    kernels<T>().normalize(to, T(0), T(1), bias[plane % s.c_in], s.in_plane(), to);
  });
}

template <class T>
void conv_transpose2d_backward_bias(const Conv2dShape& s, const T* dy, T* db) {
  parallel_for(s.c_in, double(s.n * s.c_in) * double(s.in_plane()), [&](std::int64_t k) {
    db[k] = 0;
    for (std::int64_t n = 0; n < s.n; ++n)
      db[k] += kernels<T>().sum(dy + (n * s.c_in + k) * s.in_plane(), s.in_plane());
  });
}

#define CONVNET_INSTANTIATE(T)                                                          \
  template void conv_transpose2d(const Conv2dShape&, const T*, const T*, const T*, T*); \
  template void conv_transpose2d_backward_bias(const Conv2dShape&, const T*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
