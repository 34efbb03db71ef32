// Steps of optimizers. kernels.h has their formulas, python/convnet/optim.py the same in NumPy.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace convnet {
namespace {

// What is kept from step to step shrinks by a factor a step where no gradient comes, and would end among the
// subnormals, which many processors take a hundred times as long over. Four times the smallest normal number is zero
// here: a step made of less moves no parameter that is one.
template <class T>
inline Vec<T> kept(Vec<T> v) {
  constexpr T least = sizeof(T) == 4 ? T(0x1p-124) : T(0x1p-1020);
  return (v < least) & (v > -least) ? Vec<T>{} : v;  // NaN stays
}

template <class T>
inline void move(T* param, Vec<T> value, T rate, Vec<T> direction, std::int64_t n) {
  store_upto(param, value - rate * direction, n);
}

// velocity = momentum·velocity + g
template <class T>
inline Vec<T> gathered(T* velocity, T momentum, Vec<T> g, std::int64_t n) {
  const Vec<T> sum = kept<T>(momentum * load_upto(velocity, n) + g);
  store_upto(velocity, sum, n);
  return sum;
}

// mean = beta·mean + rest·value
template <class T>
inline Vec<T> averaged(T* mean, T beta, T rest, Vec<T> value, std::int64_t n) {
  return gathered<T>(mean, beta, rest * value, n);
}

template <class T>
void sgd_step(const SgdStep<T>& s, std::int64_t count) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    const Vec<T> param = load_upto(s.param + i, n);
    Vec<T> g = load_upto(s.grad + i, n);
    if (s.weight_decay != 0) g += s.weight_decay * param;
    if (s.velocity) {
      const Vec<T> velocity = gathered<T>(s.velocity + i, s.momentum, g, n);
      g = s.nesterov ? g + s.momentum * velocity : velocity;
    }
    move<T>(s.param + i, param, s.rate, g, n);
  });
}

template <class T>
void adam_step(const AdamStep<T>& s, std::int64_t count) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    const Vec<T> g = load_upto(s.grad + i, n);
    const Vec<T> m = averaged<T>(s.m + i, s.beta1, s.rest1, g, n);
    const Vec<T> v = averaged<T>(s.v + i, s.beta2, s.rest2, g * g, n);
    const Vec<T> denominator = square_root<T>(v) * s.root_scale + s.eps;
    move<T>(s.param + i, s.shrink * load_upto(s.param + i, n), s.rate, m / denominator, n);
  });
}

template <class T>
void rmsprop_step(const RmspropStep<T>& s, std::int64_t count) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    const Vec<T> param = load_upto(s.param + i, n);
    Vec<T> g = load_upto(s.grad + i, n);
    if (s.weight_decay != 0) g += s.weight_decay * param;
    const Vec<T> v = averaged<T>(s.v + i, s.rho, s.rest, g * g, n);
    Vec<T> direction = g / (square_root<T>(v) + s.eps);
    if (s.velocity) direction = gathered<T>(s.velocity + i, s.momentum, direction, n);
    move<T>(s.param + i, param, s.rate, direction, n);
  });
}

}  // namespace
}  // namespace convnet
