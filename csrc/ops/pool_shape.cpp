#include "pool_shape.h"

#include "message.h"

namespace convnet {
namespace {

std::int64_t output_size(const Window& window, bool ceil_mode, const char* op, const char* axis) {
  check_window(window, op, axis);
  require(window.pad_before < window.extent() && window.pad_after < window.extent(), op, ": padding (", axis, ") (",
          window.pad_before, ", ", window.pad_after, ") must be smaller than the kernel's extent ", window.extent());
  const std::int64_t slack = window.padded() - window.extent();
  require(slack >= 0, op, ": kernel of extent ", window.extent(), " is larger than the padded ", axis, " ",
          window.padded());
  std::int64_t out = slack / window.stride + 1;
  if (ceil_mode && slack % window.stride != 0 && out * window.stride < window.in + window.pad_before) ++out;
  // Without dilation every window now holds an element; with it all of a window's taps may fall on padding.
  for (std::int64_t o = 0; window.dilation > 1 && o < out; ++o) {
    const std::int64_t start = o * window.stride - window.pad_before;
    const std::int64_t first =
        start >= 0 ? start : start + (-start + window.dilation - 1) / window.dilation * window.dilation;
    require(first < window.in && first <= start + window.extent() - 1, op, ": window ", o, " along the ", axis,
            " holds no element of the input (size ", window.in, ", kernel ", window.kernel, ", stride ", window.stride,
            ", padding (", window.pad_before, ", ", window.pad_after, "), dilation ", window.dilation, ")");
  }
  return out;
}

}  // namespace

Pool2dShape::Pool2dShape(const Shape4& x, const Pair& kernel, const Pair& stride, const Padding& padding,
                         const Pair& dilation, bool ceil_mode, const char* op)
    : n(x[0]),
      c(x[1]),
      h(x[2]),
      w(x[3]),
      k_h(kernel[0]),
      k_w(kernel[1]),
      stride_h(stride[0]),
      stride_w(stride[1]),
      pad_top(padding[0]),
      pad_bottom(padding[1]),
      pad_left(padding[2]),
      pad_right(padding[3]),
      dilation_h(dilation[0]),
      dilation_w(dilation[1]),
      o_h(output_size({h, k_h, stride_h, pad_top, pad_bottom, dilation_h}, ceil_mode, op, "height")),
      o_w(output_size({w, k_w, stride_w, pad_left, pad_right, dilation_w}, ceil_mode, op, "width")) {
  checked_size(x, op, "x");
  checked_size(y(), op, "the output");
}

}  // namespace convnet
