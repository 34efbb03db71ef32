// The convolution as its definition reads: the oracle of every faster way. Start reading here.
//
//   y[n, k, i, j] = bias[k] + sum over c, r, q of x[n, c, i·stride + r·dilation − pad, j·stride + q·dilation − pad] ·
//   weight[k, c, r, q]
//
// with c over the channels of k's group and x zero outside the image. That zero is multiplied like any number: an
// infinite weight over padding gives NaN, here and in every other algorithm.
#include "conv2d.h"
#include "correlation.h"

namespace convnet {

template <class T>
void conv2d_reference(const Conv2dShape& s, const T* x, const T* weight, const T* bias, bool relu, T* y) {
  const Correlation p = forward_correlation(s);
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t k = 0; k < s.c_out; ++k)
      for (std::int64_t i = 0; i < s.o_h; ++i)
        for (std::int64_t j = 0; j < s.o_w; ++j) {
          T sum = 0;
          for (std::int64_t c = 0; c < s.c_in_group(); ++c) {
            const T* plane = x + n * p.x_image + (k / p.k * p.c + c) * p.x_plane;
            const T* kernel = weight + k * s.weight_c_out_stride() + c * s.weight_c_in_stride();
            for (std::int64_t r = 0; r < s.k_h; ++r)
              for (std::int64_t q = 0; q < s.k_w; ++q) {
                const std::int64_t row = i * s.stride_h + r * s.dilation_h - s.pad_top;
                const std::int64_t column = j * s.stride_w + q * s.dilation_w - s.pad_left;
                const bool inside = row >= 0 && row < s.h && column >= 0 && column < s.w;
                sum += (inside ? plane[row * p.x_row + column * p.x_column] : T(0)) *
                       kernel[(r * s.k_w + q) * s.tap_stride()];
              }
          }
          if (bias) sum += bias[k];
          y[n * p.y_image + k * p.y_plane + i * p.y_row + j * p.y_column] = relu && sum <= 0 ? T(0) : sum;
        }
}

template void conv2d_reference(const Conv2dShape&, const float*, const float*, const float*, bool, float*);
template void conv2d_reference(const Conv2dShape&, const double*, const double*, const double*, bool, double*);

}  // namespace convnet
