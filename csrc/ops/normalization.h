// Batch and local response normalisation of dense (n, channels, positions) arrays.
#pragma once

#include <cstdint>

namespace convnet {

struct Planes {
  std::int64_t n, channels, positions;
  std::int64_t at(std::int64_t image, std::int64_t channel) const { return (image * channels + channel) * positions; }
};

// Each channel's mean and biased variance; zeros where there is nothing to average.
template <class T>
void batch_statistics(const Planes& shape, const T* x, T* mean, T* var);

// y = (x - mean) / sqrt(var + eps) · gamma + beta, channel by channel
template <class T>
void batch_norm(const Planes& shape, const T* x, const T* gamma, const T* beta, const T* mean, const T* var, T eps,
                T* y);

// dgamma and dbeta, and dx: for constant mean and var, or, where they are those `of_batch`, through them as well.
template <class T>
void batch_norm_backward(const Planes& shape, const T* dy, const T* x, const T* gamma, const T* mean, const T* var,
                         T eps, bool of_batch, T* dx, T* dgamma, T* dbeta);

// y = x / (k + alpha/size · sum of x² over `size` channels, from size/2 before this one)^beta
struct LocalResponse {
  std::int64_t size;
  double alpha, beta, k;
};
template <class T>
void local_response_norm(const Planes& shape, const LocalResponse& how, const T* x, T* y);
template <class T>
void local_response_norm_backward(const Planes& shape, const LocalResponse& how, const T* dy, const T* x, T* dx);

}  // namespace convnet
