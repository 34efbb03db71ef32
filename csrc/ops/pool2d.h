// Max and average pooling over the planes of dense arrays, NCHW or, where the name ends in _last, NHWC.
#pragma once

#include "pool_shape.h"

namespace convnet {

// NaN wins; of equal values the first in row-major order. `indices` (flat positions in the input plane) may be null.
template <class T>
void max_pool2d(const Pool2dShape& shape, const T* x, T* y, std::int64_t* indices);

// Throws std::invalid_argument for an index outside its plane; nothing is ever written outside, and dx is then worth
// nothing.
template <class T>
void max_pool2d_backward(const Pool2dShape& shape, const T* dy, const std::int64_t* indices, T* dx);

// The mean over a window clipped to the padded extent, or to the input where padding does not count.
template <class T>
void avg_pool2d(const Pool2dShape& shape, bool count_include_pad, const T* x, T* y);
template <class T>
void avg_pool2d_backward(const Pool2dShape& shape, bool count_include_pad, const T* dy, T* dx);

// The same for planes whose columns hold `pixel` elements each, channels that lie last, in strips in the first-level
// cache. False, and nothing done, where these do not serve.
template <class T>
bool max_pool2d_strips(const Pool2dShape& shape, std::int64_t pixel, const T* x, T* y, std::int64_t* indices);
template <class T>
bool avg_pool2d_strips(const Pool2dShape& shape, std::int64_t pixel, bool count_include_pad, const T* x, T* y);

// The same values and indices.
template <class T>
void max_pool2d_last(const Pool2dShape& shape, const T* x, T* y, std::int64_t* indices);
template <class T>
void max_pool2d_backward_last(const Pool2dShape& shape, const T* dy, const std::int64_t* indices, T* dx);
template <class T>
void avg_pool2d_last(const Pool2dShape& shape, bool count_include_pad, const T* x, T* y);
template <class T>
void avg_pool2d_backward_last(const Pool2dShape& shape, bool count_include_pad, const T* dy, T* dx);

}  // namespace convnet
