// The convolution as its definition reads: the oracle of every faster way. Start reading here.
//
//   y[n, k, i, j] = bias[k] + sum over c, r, s of x[n, c, i·stride + r·dilation − pad, j·stride + s·dilation − pad] · weight[k, c, r, s]
//
// with x zero outside the image, and c over the channels of k's group.
#include "conv2d.h"

namespace convnet {
namespace {

// Calls visit(y, x, weight) with the offsets of every product in the definition.
template <class Visit>
void for_each_product(const Conv2dShape& s, Visit&& visit) {
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t k = 0; k < s.c_out; ++k)
      for (std::int64_t i = 0; i < s.o_h; ++i)
        for (std::int64_t j = 0; j < s.o_w; ++j)
          for (std::int64_t c = 0; c < s.c_in_group(); ++c)
            for (std::int64_t r = 0; r < s.k_h; ++r)
              for (std::int64_t q = 0; q < s.k_w; ++q) {
                const std::int64_t row = i * s.stride_h + r * s.dilation_h - s.pad_top;
                const std::int64_t column = j * s.stride_w + q * s.dilation_w - s.pad_left;
                if (row < 0 || row >= s.h || column < 0 || column >= s.w) continue;
                const std::int64_t channel = k / s.c_out_group() * s.c_in_group() + c;
                visit(((n * s.c_out + k) * s.o_h + i) * s.o_w + j, ((n * s.c_in + channel) * s.h + row) * s.w + column,
                      ((k * s.c_in_group() + c) * s.k_h + r) * s.k_w + q);
              }
}

}  // namespace

template <class T>
void conv2d_reference(const Conv2dShape& s, const T* x, const T* weight, const T* bias, bool relu, T* y) {
  const std::int64_t outputs = s.n * s.c_out * s.out_plane();
  for (std::int64_t i = 0; i < outputs; ++i) y[i] = 0;
  for_each_product(s, [&](std::int64_t yi, std::int64_t xi, std::int64_t wi) { y[yi] += x[xi] * weight[wi]; });
  for (std::int64_t i = 0; i < outputs; ++i) {
    if (bias) y[i] += bias[i / s.out_plane() % s.c_out];
    if (relu && y[i] <= 0) y[i] = 0;
  }
}

template void conv2d_reference(const Conv2dShape&, const float*, const float*, const float*, bool, float*);
template void conv2d_reference(const Conv2dShape&, const double*, const double*, const double*, bool, double*);

}  // namespace convnet
