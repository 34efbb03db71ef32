// The input gradient through the windows of dy's positions: one GEMM makes the products of each position with all
// weights, what its window of dx gets; windows that lie side by side are then put in their places, overlapping ones
// added. Unlike the correlation with dy, which meets the zeros around it, this multiplies no more than the forward
// pass.
#include <algorithm>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "conv2d.h"
#include "division.h"
#include "window.h"

namespace convnet {
namespace {

// Of each position's c channels with all weights, k of them: a 1x1 kernel's outputs.
Correlation products_of(std::int64_t images, std::int64_t groups, std::int64_t c, std::int64_t k, std::int64_t h,
                        std::int64_t w, bool channels_last) {
  Correlation p{};
  p.images = images;
  p.groups = groups;
  p.c = c;
  p.k = k;
  p.in_h = p.out_h = h;
  p.in_w = p.out_w = w;
  p.step_h = p.step_w = 1;
  p.taps = {{0, 0, 0}};
  p.lay_out(channels_last);
  return p;
}

// Of overlapping windows: so many channels of dx at a time, of one image or, on small maps, of several
template <class T>
struct WindowChunks {
  std::int64_t images, channels;
  std::int64_t bytes;  // of their windows

  explicit WindowChunks(const Conv2dShape& s) {
    constexpr std::int64_t least_positions = 64, least_products = 64, enough_bytes = 512 << 10;
    images = ceil_div(least_positions, s.out_plane());
    const std::int64_t of_a_channel = images * s.groups * s.taps() * s.out_plane() * std::int64_t(sizeof(T));
    const std::int64_t most = std::max(enough_bytes / of_a_channel, ceil_div(least_products, s.taps()));
    channels = ceil_div(s.c_in_group(), ceil_div(s.c_in_group(), most));  // chunks of about the same size
    bytes = channels * of_a_channel;
  }
};

}  // namespace

// Whether the kernel's windows lie side by side, as the patches of a vision transformer do, and are large enough for
// backward_input_of_windows. Measured: 20 times faster than phase by phase for 16x16, 4 for 4x4, 1.1 to 1.3 for 2x2 of
// few channels, 0.85 to 1.0 of many.
bool windows_pay(const Conv2dShape& s) {
  constexpr double least_work = 2e6;  // of an image
  const bool large = s.taps() > 4 || (s.taps() == 4 && s.c_out <= 64);
  return s.n > 0 && windows_tile(s) && large && s.groups == 1 && s.macs() >= least_work * double(s.n);
}

// For each position of dy the products with all weights, as a 1x1 kernel's outputs, take their places in dx: some rows
// of dy at a time, whose products stay in the second-level cache.
template <class T>
void backward_input_of_windows(const Conv2dShape& s, Algorithm asked, const T* dy, const T* weight, T* dx) {
  constexpr std::int64_t least_bytes = 256 << 10, most_bytes = 2 << 20;
  constexpr std::int64_t least_positions = 384, chunks_of_an_image = 8;
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t products_size = s.reduction(), row_size = s.o_w * products_size;
  // As many as make a GEMM fast, or as the weights are, which would else be read more often than the products
  const std::int64_t least_rows = ceil_div(least_positions, s.o_w);
  const std::int64_t bytes = products_size * std::max(least_positions, s.c_out) * std::int64_t(sizeof(T));
  const std::int64_t most_rows =
      std::max<std::int64_t>(1, std::clamp(bytes, least_bytes, most_bytes) / (row_size * std::int64_t(sizeof(T))));
  const std::int64_t wanted = std::min(std::max(ceil_div(s.o_h, chunks_of_an_image), least_rows), most_rows);
  const std::int64_t rows = ceil_div(s.o_h, ceil_div(s.o_h, wanted)), rest = s.o_h % rows;
  const std::int64_t chunks = ceil_div(s.o_h, rows);
  const auto pack_rows = [&](std::int64_t h) {
    Correlation p = products_of(1, 1, s.c_out, products_size, h, s.o_w, s.channels_last);
    if (!s.channels_last) p.x_plane = s.out_plane();
    const Weights<T> weights = {weight, 0, s.channels_last ? s.c_out : 1, s.channels_last ? 1 : p.k};
    return pack_correlation(p, asked, weights);
  };
  const std::unique_ptr<PackedCorrelation<T>> of_rows = pack_rows(rows), of_rest = rest ? pack_rows(rest) : nullptr;
  const std::int64_t dy_row = s.o_w * (s.channels_last ? s.c_out : 1);
  const auto run = [&](std::int64_t unit) {
    const std::int64_t image = unit / chunks, first = unit % chunks * rows, h = std::min(rows, s.o_h - first);
    const Scratch<T> windows(std::size_t(h * row_size));
    (h == rows ? of_rows : of_rest)
        ->run(dy + image * s.c_out * s.out_plane() + first * dy_row, nullptr, false, windows.data());
    T* const to = dx + image * s.c_in * s.in_plane();
    if (s.channels_last)
      return parallel_for(h * s.k_h, double(h * row_size), [&](std::int64_t row) {
        const std::int64_t i = row / s.k_h, r = row % s.k_h, window_row = s.k_w * s.c_in;
        kernel.copy_rows(windows.data() + i * row_size + r * window_row, products_size, s.o_w, window_row,
                         to + (first * s.k_h + row) * s.w * s.c_in, window_row);
      });
    parallel_for(s.c_in * h, double(h * row_size), [&](std::int64_t row) {  // plane by plane
      const std::int64_t c = row / h, i = row % h;
      for (std::int64_t r = 0; r < s.k_h; ++r)
        kernel.transpose(windows.data() + ((c * s.k_h + r) * s.k_w * h + i) * s.o_w, h * s.o_w, s.k_w, s.o_w,
                         to + c * s.in_plane() + ((first + i) * s.k_h + r) * s.w, s.k_w);
    });
  };
  share_out(s.n * chunks, s.macs(), run);
}

// Of unit stride. Estimated, but for the direct correlation's cycles, from 470 shapes drawn at random on AVX-512: the
// gradient is then 1.3 times faster in the mean, up to 15 times for large kernels on small maps; the choice loses 5 %
// to the faster of both.
template <class T>
bool overlapping_windows_pay(const Conv2dShape& s, const Correlation& gradient) {
  constexpr double cycles_a_product = 0.63, cycles_a_store = 7.9, cycles_an_addition = 1.7, gain = 0.85;
  constexpr std::int64_t most_bytes = 2 << 20, few_channels = 16, least_terms = 12;
  if (s.stride_h > 1 || s.stride_w > 1 || s.dilation_h > 1 || s.dilation_w > 1 || s.taps() == 1) return false;
  if (s.channels_last || s.k_w > kMostWindowColumns || s.c_out_group() < least_terms) return false;
  // Where no products are saved, few channels of dx alone leave direct's registers too empty.
  if (s.out_plane() >= s.in_plane() && s.c_in_group() > few_channels) return false;
  if (WindowChunks<T>(s).bytes > most_bytes) return false;
  const std::int64_t lanes = kernels<T>().lanes;
  const double windows = double(s.c_in_group() * s.taps()), vectors = windows * double(s.out_plane()) / double(lanes);
  const double cycles = vectors * (double(s.c_out_group()) * cycles_a_product + cycles_a_store) +
                        windows * double(s.h * ceil_div(s.w, lanes)) * cycles_an_addition;
  return cycles < gain * direct_cycles<T>(gradient);
}

template <class T>
void backward_input_of_overlapping_windows(const Conv2dShape& s, Algorithm asked, const T* dy, const T* weight, T* dx) {
  const WindowChunks<T> chunk(s);
  const std::int64_t chunks = ceil_div(s.c_in_group(), chunk.channels);
  const auto channels_of = [&](std::int64_t i) {
    return std::min(chunk.channels, s.c_in_group() - i * chunk.channels);
  };
  const auto pack_chunk = [&](std::int64_t images, std::int64_t i) {
    const Correlation p =
        products_of(images, s.groups, s.c_out_group(), channels_of(i) * s.taps(), s.o_h, s.o_w, false);
    const T* const from = weight + i * chunk.channels * s.taps();
    return pack_correlation<T>(p, asked, {from, s.c_out_group() * s.reduction(), 1, s.reduction()});
  };
  // `runs` times so many images
  const auto run = [&](std::int64_t runs, std::int64_t images, const T* first_dy, T* first_dx) {
    if (runs == 0 || images == 0) return;
    std::vector<std::unique_ptr<PackedCorrelation<T>>> packed;
    for (std::int64_t i = 0; i < chunks; ++i) packed.push_back(pack_chunk(images, i));
    share_out(runs * chunks, s.macs(), [&](std::int64_t unit) {
      const std::int64_t i = unit % chunks, image = unit / chunks * images, channels = channels_of(i);
      const std::int64_t size = channels * s.taps() * s.out_plane(), planes = images * s.groups;
      const Scratch<T> windows(std::size_t(planes * size));
      packed[std::size_t(i)]->run(first_dy + image * s.c_out * s.out_plane(), nullptr, false, windows.data());
      T* const to = first_dx + (image * s.c_in + i * chunk.channels) * s.in_plane();
      parallel_for(planes, double(planes * size), [&](std::int64_t group) {  // of all images
        kernels<T>().sum_windows({windows.data() + group * size, channels, s.k_h, s.k_w, s.o_h, s.o_w, s.pad_top,
                                  s.pad_left, s.h, s.w, to + group * s.c_in_group() * s.in_plane()});
      });
    });
  };
  const std::int64_t whole = s.n / chunk.images, rest = s.n % chunk.images, done = s.n - rest;
  run(whole, chunk.images, dy, dx);
  run(1, rest, dy + done * s.c_out * s.out_plane(), dx + done * s.c_in * s.in_plane());
}

#define CONVNET_INSTANTIATE(T)                                                                    \
  template void backward_input_of_windows(const Conv2dShape&, Algorithm, const T*, const T*, T*); \
  template bool overlapping_windows_pay<T>(const Conv2dShape&, const Correlation&);               \
  template void backward_input_of_overlapping_windows(const Conv2dShape&, Algorithm, const T*, const T*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
