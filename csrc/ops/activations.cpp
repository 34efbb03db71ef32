#include "activations.h"

#include <algorithm>
#include <cmath>

#include "../kernels/kernels.h"
#include "../runtime/parallel.h"
#include "blocks.h"
#include "message.h"

namespace convnet {
namespace {

// Calls row(its first element) for each row.
template <class Row>
void for_rows(std::int64_t rows, std::int64_t columns, Row&& row) {
  if (columns == 0) return;
  const std::int64_t rows_a_unit = std::max<std::int64_t>(1, kElements / columns);
  parallel_for((rows + rows_a_unit - 1) / rows_a_unit, double(rows) * double(columns) * 8, [&](std::int64_t unit) {
    const std::int64_t end = std::min(rows, (unit + 1) * rows_a_unit);
    for (std::int64_t i = unit * rows_a_unit; i < end; ++i) row(i * columns);
  });
}

}  // namespace

template <class T>
void relu(const T* x, std::int64_t count, T* y) {
  for_blocks(count, 1, [&](std::int64_t first, std::int64_t n) { kernels<T>().relu(x + first, n, y + first); });
}

template <class T>
void relu_backward(const T* dy, const T* x, std::int64_t count, T* dx) {
  for_blocks(count, 1, [&](std::int64_t first, std::int64_t n) {
    kernels<T>().relu_backward(dy + first, x + first, n, dx + first);
  });
}

template <class T>
void scale_and_add(std::int64_t count, T alpha, T beta, const T* c, T* y) {
  for_blocks(count, 1, [&](std::int64_t first, std::int64_t n) {
    kernels<T>().axpby(alpha, y + first, c ? beta : T(0), c ? c + first : y + first, n, y + first);
  });
}

template <class T>
void leaky_relu(const T* x, T slope, std::int64_t count, T* y) {
  for_blocks(count, 1,
             [&](std::int64_t first, std::int64_t n) { kernels<T>().leaky_relu(x + first, slope, n, y + first); });
}

template <class T>
void leaky_relu_backward(const T* dy, const T* y, T slope, std::int64_t count, T* dx) {
  for_blocks(count, 1, [&](std::int64_t first, std::int64_t n) {
    kernels<T>().leaky_relu_backward(dy + first, y + first, slope, n, dx + first);
  });
}

template <class T>
void sigmoid(const T* x, std::int64_t count, T* y) {
  for_blocks(count, 1, [&](std::int64_t first, std::int64_t n) { kernels<T>().sigmoid(x + first, n, y + first); });
}

template <class T>
void sigmoid_backward(const T* dy, const T* y, std::int64_t count, T* dx) {
  for_blocks(count, 1, [&](std::int64_t first, std::int64_t n) {
    kernels<T>().sigmoid_backward(dy + first, y + first, n, dx + first);
  });
}

template <class T>
void tanh(const T* x, std::int64_t count, T* y) {
  for_blocks(count, 1, [&](std::int64_t first, std::int64_t n) { kernels<T>().tanh(x + first, n, y + first); });
}

template <class T>
void tanh_backward(const T* dy, const T* y, std::int64_t count, T* dx) {
  for_blocks(count, 1, [&](std::int64_t first, std::int64_t n) {
    kernels<T>().tanh_backward(dy + first, y + first, n, dx + first);
  });
}

template <class T>
void softmax(std::int64_t rows, std::int64_t columns, const T* x, T* y) {
  const auto& k = kernels<T>();
  for_rows(rows, columns, [&](std::int64_t at) {
    const T total = k.exp_sum(x + at, k.largest(x + at, columns), columns, y + at);
    k.normalize(y + at, T(0), T(1) / total, T(0), columns, y + at);
  });
}

template <class T>
void softmax_backward(std::int64_t rows, std::int64_t columns, const T* dy, const T* y, T* dx) {
  const auto& k = kernels<T>();
  for_rows(rows, columns, [&](std::int64_t at) {
    k.softmax_backward(dy + at, y + at, k.dot(dy + at, y + at, T(0), columns), columns, dx + at);
  });
}

template <class T>
void log_softmax(std::int64_t rows, std::int64_t columns, const T* x, T* y) {
  const auto& k = kernels<T>();
  for_rows(rows, columns, [&](std::int64_t at) {
    const T most = k.largest(x + at, columns);
    const T log_sum = std::log(k.exp_sum(x + at, most, columns, y + at));
    k.normalize(x + at, most, T(1), -log_sum, columns, y + at);
  });
}

template <class T>
void log_softmax_backward(std::int64_t rows, std::int64_t columns, const T* dy, const T* y, T* dx) {
  const auto& k = kernels<T>();
  for_rows(rows, columns, [&](std::int64_t at) {
    k.log_softmax_backward(dy + at, y + at, k.sum(dy + at, columns), columns, dx + at);
  });
}

template <class T>
double softmax_cross_entropy(std::int64_t n, std::int64_t classes, double smoothing, const T* logits,
                             const std::int64_t* labels, T* dlogits) {
  for (std::int64_t i = 0; i < n; ++i)
    require(labels[i] >= 0 && labels[i] < classes, "softmax_cross_entropy: label ", labels[i], " at row ", i,
            " is not a class number from 0 to ", classes - 1);
  const auto& k = kernels<T>();
  const T share = T(smoothing / double(std::max<std::int64_t>(classes, 1)) / double(std::max<std::int64_t>(n, 1)));
  double loss = 0;
  for (std::int64_t i = 0; i < n; ++i, logits += classes, dlogits += classes) {
    // log-sum-exp from the largest logit, so that no exponential overflows
    const T most = k.largest(logits, classes);
    const T total = k.exp_sum(logits, most, classes, dlogits);
    const double log_sum = double(std::log(total));
    loss += (1 - smoothing) * (log_sum - (double(logits[labels[i]]) - double(most)));
    if (smoothing != 0) {
      double distance = 0;
      for (std::int64_t c = 0; c < classes; ++c) distance += double(logits[c]) - double(most);
      loss += smoothing * (log_sum - distance / double(classes));
    }
    k.normalize(dlogits, T(0), T(1) / (total * T(n)), -share, classes, dlogits);
    dlogits[labels[i]] -= T((1 - smoothing) / double(n));
  }
  return n ? loss / double(n) : 0.0;
}

#define CONVNET_INSTANTIATE(T)                                                            \
  template void relu(const T*, std::int64_t, T*);                                         \
  template void relu_backward(const T*, const T*, std::int64_t, T*);                      \
  template void leaky_relu(const T*, T, std::int64_t, T*);                                \
  template void leaky_relu_backward(const T*, const T*, T, std::int64_t, T*);             \
  template void sigmoid(const T*, std::int64_t, T*);                                      \
  template void sigmoid_backward(const T*, const T*, std::int64_t, T*);                   \
  template void tanh(const T*, std::int64_t, T*);                                         \
  template void tanh_backward(const T*, const T*, std::int64_t, T*);                      \
  template void softmax(std::int64_t, std::int64_t, const T*, T*);                        \
  template void softmax_backward(std::int64_t, std::int64_t, const T*, const T*, T*);     \
  template void log_softmax(std::int64_t, std::int64_t, const T*, T*);                    \
  template void log_softmax_backward(std::int64_t, std::int64_t, const T*, const T*, T*); \
  template void scale_and_add(std::int64_t, T, T, const T*, T*);                          \
  template double softmax_cross_entropy(std::int64_t, std::int64_t, double, const T*, const std::int64_t*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
