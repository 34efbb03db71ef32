// Steps of optimizers: parameters and what is kept beside them change in place, in one pass over the memory.
#pragma once

#include <cstdint>

#include "../kernels/kernels.h"

namespace convnet {

template <class T>
void sgd_step(const SgdStep<T>& step, std::int64_t count);
template <class T>
void adam_step(const AdamStep<T>& step, std::int64_t count);
template <class T>
void rmsprop_step(const RmspropStep<T>& step, std::int64_t count);

}  // namespace convnet
