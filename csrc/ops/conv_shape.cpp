#include "conv_shape.h"

#include <algorithm>
#include <utility>

#include "message.h"

namespace convnet {

std::int64_t checked_size(const Shape4& shape, const char* op, const char* array) {
  std::int64_t size = 1, padded = 8;  // `padded` takes a zero for a one: NumPy limits the strides of empty arrays too
  bool fits = true;
  for (std::int64_t extent : shape) {
    fits = fits && extent >= 0 && !__builtin_mul_overflow(padded, std::max<std::int64_t>(extent, 1), &padded);
    size = fits ? size * extent : 0;
  }
  require(fits, op, ": ", array, " ", shape, " is too large");
  return size;
}

void check_window(const Window& window, const char* op, const char* axis) {
  constexpr std::int64_t most = std::int64_t{1} << 31;  // keeps every sum and product below exact
  auto check = [&](std::int64_t value, std::int64_t least, const char* name) {
    require(value >= least, op, ": ", name, " (", axis, ") must be at least ", least, ", got ", value);
    require(value <= most, op, ": ", name, " (", axis, ") must be at most ", most, ", got ", value);
  };
  check(window.in, 0, "input size");
  check(window.kernel, 1, "kernel size");
  check(window.stride, 1, "stride");
  check(window.dilation, 1, "dilation");
  check(window.pad_before, 0, "padding");
  check(window.pad_after, 0, "padding");
}

Conv2dShape::Conv2dShape(const Shape4& x, const Shape4& weight, const Pair& stride, const Padding& padding,
                         const Pair& dilation, std::int64_t groups_, const char* op)
    : n(x[0]),
      c_in(x[1]),
      h(x[2]),
      w(x[3]),
      c_out(weight[0]),
      k_h(weight[2]),
      k_w(weight[3]),
      stride_h(stride[0]),
      stride_w(stride[1]),
      pad_top(padding[0]),
      pad_bottom(padding[1]),
      pad_left(padding[2]),
      pad_right(padding[3]),
      dilation_h(dilation[0]),
      dilation_w(dilation[1]),
      groups(groups_),
      o_h(0),
      o_w(0) {
  const Window rows{h, k_h, stride_h, pad_top, pad_bottom, dilation_h};
  const Window columns{w, k_w, stride_w, pad_left, pad_right, dilation_w};
  check_window(rows, op, "height");
  check_window(columns, op, "width");
  require(groups >= 1, op, ": groups must be at least 1, got ", groups);
  require(c_in % groups == 0 && c_out % groups == 0, op, ": groups = ", groups, " must divide the ", c_in,
          " input channels and the ", c_out, " output channels; x ", x, ", weight ", weight);
  require(weight[1] == c_in / groups || groups > 1, op, ": x has ", c_in, " channels but weight expects ", weight[1],
          "; x ", x, ", weight ", weight);
  require(weight[1] == c_in / groups, op, ": x has ", c_in, " channels but weight expects ", weight[1] * groups, " (",
          weight[1], " in each of ", groups, " groups); x ", x, ", weight ", weight);
  require(rows.extent() <= rows.padded() && columns.extent() <= columns.padded(), op, ": kernel of extent (",
          rows.extent(), ", ", columns.extent(), ") is larger than the padded input (", rows.padded(), ", ",
          columns.padded(), "); x ", x, ", weight ", weight);
  o_h = (rows.padded() - rows.extent()) / stride_h + 1;
  o_w = (columns.padded() - columns.extent()) / stride_w + 1;
  checked_size(x, op, "x");
  checked_size(weight, op, "weight");
  checked_size(y(), op, "the output");
}

Conv2dShape Conv2dShape::laid_down() const {
  Conv2dShape s = *this;
  if (w > 1 || k_w > 1 || pad_left > 0 || pad_right > 0) return s;
  std::swap(s.h, s.w);
  std::swap(s.k_h, s.k_w);
  std::swap(s.o_h, s.o_w);
  std::swap(s.stride_h, s.stride_w);
  std::swap(s.dilation_h, s.dilation_w);
  std::swap(s.pad_top, s.pad_left);
  std::swap(s.pad_bottom, s.pad_right);
  return s;
}

}  // namespace convnet
