#include "optimizers.h"

#include "blocks.h"

namespace convnet {
namespace {

constexpr double kCost = 8;  // of an element: little arithmetic, much memory

template <class T>
T* from(T* p, std::int64_t first) {
  return p ? p + first : p;
}

}  // namespace

template <class T>
void sgd_step(const SgdStep<T>& step, std::int64_t count) {
  for_blocks(count, kCost, [&](std::int64_t first, std::int64_t n) {
    SgdStep<T> block = step;
    block.param += first;
    block.grad += first;
    block.velocity = from(block.velocity, first);
    kernels<T>().sgd_step(block, n);
  });
}

template <class T>
void adam_step(const AdamStep<T>& step, std::int64_t count) {
  for_blocks(count, kCost, [&](std::int64_t first, std::int64_t n) {
    AdamStep<T> block = step;
    block.param += first;
    block.grad += first;
    block.m += first;
    block.v += first;
    kernels<T>().adam_step(block, n);
  });
}

template <class T>
void rmsprop_step(const RmspropStep<T>& step, std::int64_t count) {
  for_blocks(count, kCost, [&](std::int64_t first, std::int64_t n) {
    RmspropStep<T> block = step;
    block.param += first;
    block.grad += first;
    block.v += first;
    block.velocity = from(block.velocity, first);
    kernels<T>().rmsprop_step(block, n);
  });
}

#define CONVNET_INSTANTIATE(T)                               \
  template void sgd_step(const SgdStep<T>&, std::int64_t);   \
  template void adam_step(const AdamStep<T>&, std::int64_t); \
  template void rmsprop_step(const RmspropStep<T>&, std::int64_t);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
