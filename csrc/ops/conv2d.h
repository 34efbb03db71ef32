// Entry points of the 2-D convolution. Arrays are dense NCHW, weights (c_out, c_in/groups, k_h, k_w); both channels
// last where the shape says so.
#pragma once

#include <memory>

#include "conv_shape.h"
#include "correlation.h"

namespace convnet {

enum class Algorithm { automatic, direct, gemm, winograd, depthwise, reference };

// Throws std::invalid_argument for a name that is none of these.
Algorithm algorithm_named(const char* name);
const char* algorithm_name(Algorithm algorithm);

// Throws std::invalid_argument where `asked` cannot serve the shape. `weight` is not kept; null
// makes one that only explains.
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_conv2d(const Conv2dShape& shape, Algorithm asked, const T* weight);

// The same of any correlation.
template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_correlation(Correlation problem, Algorithm asked, const Weights<T>& weights);

template <class T>
void conv2d(const Conv2dShape& shape, Algorithm asked, const T* x, const T* weight, const T* bias, bool relu, T* y);

template <class T>
void conv2d_backward_input(const Conv2dShape& shape, Algorithm asked, const T* dy, const T* weight, T* dx);
template <class T>
void conv2d_backward_weight(const Conv2dShape& shape, Algorithm asked, const T* dy, const T* x, T* dw);
template <class T>
void conv2d_backward_bias(const Conv2dShape& shape, const T* dy, T* db);

// The gradient for x through the windows of dy's positions, which lie side by side or, at unit stride, overlap.
bool windows_pay(const Conv2dShape& shape);
template <class T>
void backward_input_of_windows(const Conv2dShape& shape, Algorithm asked, const T* dy, const T* weight, T* dx);
template <class T>
bool overlapping_windows_pay(const Conv2dShape& shape, const Correlation& gradient);  // whether they beat direct
template <class T>
void backward_input_of_overlapping_windows(const Conv2dShape& shape, Algorithm asked, const T* dy, const T* weight,
                                           T* dx);

// The definition, loop by loop (conv2d_reference.cpp).
template <class T>
void conv2d_reference(const Conv2dShape& shape, const T* x, const T* weight, const T* bias, bool relu, T* y);

}  // namespace convnet
