// Elementwise operations and the classification loss.
#pragma once

#include <cstdint>

namespace convnet {

template <class T>
void relu(const T* x, std::int64_t count, T* y);
template <class T>
void relu_backward(const T* dy, const T* x, std::int64_t count, T* dx);

// The backwards of these take y, the output.
template <class T>
void leaky_relu(const T* x, T slope, std::int64_t count, T* y);
template <class T>
void leaky_relu_backward(const T* dy, const T* y, T slope, std::int64_t count, T* dx);
template <class T>
void sigmoid(const T* x, std::int64_t count, T* y);
template <class T>
void sigmoid_backward(const T* dy, const T* y, std::int64_t count, T* dx);
template <class T>
void tanh(const T* x, std::int64_t count, T* y);
template <class T>
void tanh_backward(const T* dy, const T* y, std::int64_t count, T* dx);

// Over each of `rows` rows.
template <class T>
void softmax(std::int64_t rows, std::int64_t columns, const T* x, T* y);
template <class T>
void softmax_backward(std::int64_t rows, std::int64_t columns, const T* dy, const T* y, T* dx);
template <class T>
void log_softmax(std::int64_t rows, std::int64_t columns, const T* x, T* y);
template <class T>
void log_softmax_backward(std::int64_t rows, std::int64_t columns, const T* dy, const T* y, T* dx);

// y = alpha·y + beta·c; c may be null.
template <class T>
void scale_and_add(std::int64_t count, T alpha, T beta, const T* c, T* y);

// The mean over rows of -sum(target · log softmax(logits)), and its gradient (softmax - target) / n; a target is
// 1 - smoothing at the row's label, with `smoothing` shared out over all classes. Throws std::invalid_argument for a
// label outside [0, classes).
template <class T>
double softmax_cross_entropy(std::int64_t n, std::int64_t classes, double smoothing, const T* logits,
                             const std::int64_t* labels, T* dlogits);

}  // namespace convnet
