#include "normalization.h"

#include <algorithm>
#include <cmath>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"

namespace convnet {
namespace {

double elements(const Planes& s) { return double(s.n) * double(s.channels) * double(s.positions); }

// Sums over a channel's images in double: a plane's own sum is short enough for T.
template <class Plane>
double over_images(const Planes& s, std::int64_t channel, Plane&& plane) {
  double total = 0;
  for (std::int64_t image = 0; image < s.n; ++image) total += double(plane(s.at(image, channel)));
  return total;
}

constexpr std::int64_t kPositions = 512;  // of one unit: a channel's stretch and its neighbours' stay in cache

// Calls block(first element of channel 0, positions) over all images.
template <class Block>
void for_blocks(const Planes& s, double work, Block&& block) {
  const std::int64_t blocks = (s.positions + kPositions - 1) / kPositions;
  parallel_for(s.n * blocks, work, [&](std::int64_t unit) {
    const std::int64_t first = unit % blocks * kPositions;
    block(s.at(unit / blocks, 0) + first, std::min(kPositions, s.positions - first));
  });
}

struct Channels {
  std::int64_t begin, end;
};

// Those that channel c is normalised by.
Channels before_and_after(const Planes& s, std::int64_t size, std::int64_t c) {
  return {std::max<std::int64_t>(c - size / 2, 0), std::min(c + (size - 1) / 2 + 1, s.channels)};
}

// Those that channel c takes part in normalising.
Channels reached(const Planes& s, std::int64_t size, std::int64_t c) {
  return {std::max<std::int64_t>(c - (size - 1) / 2, 0), std::min(c + size / 2 + 1, s.channels)};
}

// base^-beta; the usual beta by square roots, an order of magnitude faster
template <class T>
void negative_power(T* base, double beta, std::int64_t count) {
  if (beta == 0.75) {
    for (std::int64_t i = 0; i < count; ++i) {
      const T root = std::sqrt(base[i]);
      base[i] = T(1) / (root * std::sqrt(root));
    }
  } else {
    for (std::int64_t i = 0; i < count; ++i) base[i] = std::pow(base[i], T(-beta));
  }
}

// k + alpha/size · sum of squares around channel c, at `count` positions
template <class T>
void response(const Planes& s, const LocalResponse& how, std::int64_t c, const T* x, std::int64_t count, T* sum) {
  std::fill_n(sum, count, T(0));
  const Channels window = before_and_after(s, how.size, c);
  for (std::int64_t d = window.begin; d < window.end; ++d) {
    const T* from = x + d * s.positions;
    for (std::int64_t i = 0; i < count; ++i) sum[i] += from[i] * from[i];
  }
  const T alpha = T(how.alpha / double(how.size)), k = T(how.k);
  for (std::int64_t i = 0; i < count; ++i) sum[i] = k + alpha * sum[i];
}

}  // namespace

template <class T>
void batch_statistics(const Planes& s, const T* x, T* mean, T* var) {
  const double count = std::max(double(s.n) * double(s.positions), 1.0);
  parallel_for(s.channels, 2 * elements(s), [&](std::int64_t c) {
    mean[c] = T(over_images(s, c, [&](std::int64_t at) { return kernels<T>().sum(x + at, s.positions); }) / count);
    const auto spread = [&](std::int64_t at) { return kernels<T>().squared_distance(x + at, mean[c], s.positions); };
    var[c] = T(over_images(s, c, spread) / count);
  });
}

template <class T>
void batch_norm(const Planes& s, const T* x, const T* gamma, const T* beta, const T* mean, const T* var, T eps, T* y) {
  parallel_for(s.n * s.channels, elements(s), [&](std::int64_t plane) {
    const std::int64_t c = plane % s.channels, at = plane * s.positions;
    kernels<T>().normalize(x + at, mean[c], gamma[c] / std::sqrt(var[c] + eps), beta[c], s.positions, y + at);
  });
}

template <class T>
void batch_norm_backward(const Planes& s, const T* dy, const T* x, const T* gamma, const T* mean, const T* var, T eps,
                         bool of_batch, T* dx, T* dgamma, T* dbeta) {
  const auto& k = kernels<T>();
  const double count = double(s.n) * double(s.positions);
  parallel_for(s.channels, 4 * elements(s), [&](std::int64_t c) {
    const T inverse = T(1) / std::sqrt(var[c] + eps);
    const double total = over_images(s, c, [&](std::int64_t at) { return k.sum(dy + at, s.positions); });
    const double product =
        over_images(s, c, [&](std::int64_t at) { return k.dot(dy + at, x + at, mean[c], s.positions); });
    dbeta[c] = T(total);
    dgamma[c] = T(product) * inverse;
    // Through the batch's mean and variance dy loses its mean and its part along x - mean.
    const T scale = gamma[c] * inverse;
    const T slope = of_batch ? T(-product / count) * inverse * inverse * scale : T(0);
    const T shift = of_batch ? T(-total / count) * scale : T(0);
    for (std::int64_t image = 0; image < s.n; ++image) {
      const std::int64_t at = s.at(image, c);
      if (of_batch)
        k.normalize_backward(dy + at, scale, x + at, mean[c], slope, shift, s.positions, dx + at);
      else
        k.normalize(dy + at, T(0), scale, T(0), s.positions, dx + at);
    }
  });
}

template <class T>
void local_response_norm(const Planes& s, const LocalResponse& how, const T* x, T* y) {
  for_blocks(s, elements(s) * double(std::min(how.size, s.channels) + 8), [&](std::int64_t first, std::int64_t count) {
    for (std::int64_t c = 0; c < s.channels; ++c) {
      T scale[kPositions];
      response(s, how, c, x + first, count, scale);
      negative_power(scale, how.beta, count);
      for (std::int64_t i = 0, at = first + c * s.positions; i < count; ++i) y[at + i] = x[at + i] * scale[i];
    }
  });
}

template <class T>
void local_response_norm_backward(const Planes& s, const LocalResponse& how, const T* dy, const T* x, T* dx) {
  // With r = k + alpha/size · sum: dx = dy·r^-beta - 2·alpha/size·beta · x · sum over the channels reached of
  // dy·x·r^(-beta-1).
  const T factor = T(2 * how.alpha / double(how.size) * how.beta);
  const double work = elements(s) * double(2 * std::min(how.size, s.channels) + 16);
  for_blocks(s, work, [&](std::int64_t first, std::int64_t count) {
    const Scratch<T> share(std::size_t(s.channels * count));
    for (std::int64_t c = 0; c < s.channels; ++c) {
      T base[kPositions], scale[kPositions];
      response(s, how, c, x + first, count, base);
      std::copy_n(base, count, scale);
      negative_power(scale, how.beta, count);
      const std::int64_t at = first + c * s.positions;
      T* const shared = share.data() + c * count;
      for (std::int64_t i = 0; i < count; ++i) {
        dx[at + i] = dy[at + i] * scale[i];
        shared[i] = dx[at + i] * x[at + i] / base[i];
      }
    }
    for (std::int64_t c = 0; c < s.channels; ++c) {
      T sum[kPositions] = {};
      const Channels window = reached(s, how.size, c);
      for (std::int64_t d = window.begin; d < window.end; ++d)
        for (std::int64_t i = 0; i < count; ++i) sum[i] += share[std::size_t(d * count + i)];
      const std::int64_t at = first + c * s.positions;
      for (std::int64_t i = 0; i < count; ++i) dx[at + i] -= factor * x[at + i] * sum[i];
    }
  });
}

#define CONVNET_INSTANTIATE(T)                                                                                        \
  template void batch_statistics(const Planes&, const T*, T*, T*);                                                    \
  template void batch_norm(const Planes&, const T*, const T*, const T*, const T*, const T*, T, T*);                   \
  template void batch_norm_backward(const Planes&, const T*, const T*, const T*, const T*, const T*, T, bool, T*, T*, \
                                    T*);                                                                              \
  template void local_response_norm(const Planes&, const LocalResponse&, const T*, T*);                               \
  template void local_response_norm_backward(const Planes&, const LocalResponse&, const T*, const T*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
