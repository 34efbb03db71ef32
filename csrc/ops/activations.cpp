#include "activations.h"

#include <algorithm>
#include <cmath>

#include "../kernels/kernels.h"
#include "../runtime/parallel.h"
#include "message.h"

namespace convnet {
namespace {

constexpr std::int64_t kElements = 32 << 10;  // of one unit of work

template <class Block>
void for_blocks(std::int64_t count, Block&& block) {
  parallel_for((count + kElements - 1) / kElements, double(count),
               [&](std::int64_t unit) { block(unit * kElements, std::min(kElements, count - unit * kElements)); });
}

}  // namespace

template <class T>
void relu(const T* x, std::int64_t count, T* y) {
  for_blocks(count, [&](std::int64_t first, std::int64_t n) { kernels<T>().relu(x + first, n, y + first); });
}

template <class T>
void relu_backward(const T* dy, const T* x, std::int64_t count, T* dx) {
  for_blocks(count, [&](std::int64_t first, std::int64_t n) {
    kernels<T>().relu_backward(dy + first, x + first, n, dx + first);
  });
}

template <class T>
void scale_and_add(std::int64_t count, T alpha, T beta, const T* c, T* y) {
  for_blocks(count, [&](std::int64_t first, std::int64_t n) {
    kernels<T>().axpby(alpha, y + first, c ? beta : T(0), c ? c + first : y + first, n, y + first);
  });
}

template <class T>
double softmax_cross_entropy(std::int64_t n, std::int64_t classes, const T* logits, const std::int64_t* labels,
                             T* dlogits) {
  for (std::int64_t i = 0; i < n; ++i)
    require(labels[i] >= 0 && labels[i] < classes, "softmax_cross_entropy: label ", labels[i], " at row ", i,
            " is not a class number from 0 to ", classes - 1);
  double loss = 0;
  for (std::int64_t i = 0; i < n; ++i, logits += classes, dlogits += classes) {
    // log-sum-exp from the largest logit, so that no exponential overflows
    const T largest = *std::max_element(logits, logits + classes);
    T total = 0;
    for (std::int64_t c = 0; c < classes; ++c) total += dlogits[c] = std::exp(logits[c] - largest);
    loss += double(std::log(total)) - (double(logits[labels[i]]) - double(largest));
    const T scale = T(1) / (total * T(n));
    for (std::int64_t c = 0; c < classes; ++c) dlogits[c] *= scale;
    dlogits[labels[i]] -= T(1) / T(n);
  }
  return n ? loss / double(n) : 0.0;
}

#define CONVNET_INSTANTIATE(T)                                       \
  template void relu(const T*, std::int64_t, T*);                    \
  template void relu_backward(const T*, const T*, std::int64_t, T*); \
  template void scale_and_add(std::int64_t, T, T, const T*, T*);     \
  template double softmax_cross_entropy(std::int64_t, std::int64_t, const T*, const std::int64_t*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
