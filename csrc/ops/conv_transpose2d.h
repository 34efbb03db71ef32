// Transposed convolution: the input gradient of a convolution, as an operation of its own. x takes dy's place there, y
// takes dx's, and the weight (c_in, c_out/groups, k_h, k_w) is that convolution's.
#pragma once

#include "conv_shape.h"

namespace convnet {

// The convolution whose input gradient this is, for x (n, c_in, h, w): its x() is this operation's y, its y() this
// operation's x. `output_padding` adds rows and columns at the end of y and must be below the stride. Throws
// std::invalid_argument with the sizes.
Conv2dShape conv_transpose2d_shape(const Shape4& x, const Shape4& weight, const Pair& stride, const Padding& padding,
                                   const Pair& output_padding, const Pair& dilation, std::int64_t groups,
                                   const char* op);

template <class T>
void conv_transpose2d(const Conv2dShape& shape, const T* x, const T* weight, const T* bias, T* y);
template <class T>
void conv_transpose2d_backward_bias(const Conv2dShape& shape, const T* dy, T* db);

}  // namespace convnet
