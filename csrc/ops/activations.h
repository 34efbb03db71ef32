// Elementwise operations and the classification loss.
#pragma once

#include <cstdint>

namespace convnet {

template <class T>
void relu(const T* x, std::int64_t count, T* y);
template <class T>
void relu_backward(const T* dy, const T* x, std::int64_t count, T* dx);

// y = alpha·y + beta·c; c may be null.
template <class T>
void scale_and_add(std::int64_t count, T alpha, T beta, const T* c, T* y);

// The mean over rows of -log softmax(logits)[label], and its gradient (softmax - one-hot) / n. Throws
// std::invalid_argument for a label outside [0, classes).
template <class T>
double softmax_cross_entropy(std::int64_t n, std::int64_t classes, const T* logits, const std::int64_t* labels,
                             T* dlogits);

}  // namespace convnet
