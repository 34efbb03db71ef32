// The gradient for the weights where the input channels do not fill a vector, or most inputs are never read. dy is
// turned to (position, output channel); a tile's rows are the pairs of input channel and tap, each a row of the band,
// its columns output channels and its terms the positions. Blocks of output rows are summed in fixed slices, and the
// slices in their order.
#include <algorithm>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "band.h"
#include "correlation.h"
#include "costs.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kBlockPositions = 256;    // whose band is filled at once
constexpr std::int64_t kTurnedBytes = 12 << 10;  // of dy, turned at once, beside what a block reads
constexpr std::int64_t kMostSlices = 16;
constexpr std::int64_t kSliceBytes = 6 << 20;  // for the partial sums of all slices
constexpr std::int64_t kChunkVectors = 2;      // of output channels, in a tile
constexpr double kMostRowBytes = 2 << 20;      // of a block's rows, for speed to decide
constexpr std::int64_t kUnits = 8;             // at least, of work: too few slices are shared out by their chunks

// Of a chunk's rows
template <class T>
std::int64_t scattered_tiles(std::int64_t rows, std::int64_t vectors) {
  return ceil_div(rows, std::min(kMostScatteredRows, kernels<T>().most_rows[vectors]));
}

}  // namespace

// Against turning the input channels into lanes (conv2d_weight_gradient.cpp), for an image's group. Of 370 shapes the
// choice loses 3 % to always taking the faster; counting the lanes that stay empty lost 7 % (AVX2: 12 %).
template <class T>
bool few_channels(const Correlation& p) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t lanes = kernel.lanes, taps = std::int64_t(p.taps.size()), positions = p.out_h * p.out_w;
  const TapExtent tap_rows = tap_extent(p, &Tap::row), tap_columns = tap_extent(p, &Tap::column);
  const std::int64_t in_rows = (p.out_h - 1) * p.step_h + tap_rows.count,
                     in_columns = (p.out_w - 1) * p.step_w + tap_columns.count;

  // Taps far apart make the rows that a block reads large, copied here or turned: then as little as can be.
  const std::int64_t block_h = std::max<std::int64_t>(1, kBlockPositions / p.out_w);
  const double copied_rows = double((block_h - 1) * p.step_h + tap_rows.count);
  const double copied_size = copied_rows * double(in_columns) * double(p.c);
  const double turned_size = double(tap_rows.count) * double(p.in_w) * double(ceil_div(p.c, lanes) * lanes);
  if (std::max(copied_size, turned_size) * sizeof(T) > kMostRowBytes) return copied_size < turned_size;

  // A tile's rows are output channels, its columns input channels; each thread turns the input of its own.
  const std::int64_t vectors = ceil_div(p.c, lanes), at_once = gradient_vectors<T>(vectors);
  const std::int64_t panels = ceil_div(p.k, kernel.most_rows[at_once]);
  const double panel = double(p.k) / double(panels);
  const double turned_term = double(vectors / at_once) * term_cycles(panel, at_once) +
                             (vectors % at_once ? term_cycles(panel, vectors % at_once) : 0);
  const std::int64_t turns = std::min(panels, ceil_div(4, std::min<std::int64_t>(16, p.images) * p.groups));
  const double turned = double(taps * panels) * turned_term * double(positions + 3 * p.out_h) +
                        double(turns * in_rows) * transpose_cycles(p.c, p.in_w, lanes);

  // Here they are input channels with taps, and output channels; the rows' places take more registers than there are.
  const auto chunk_cycles = [&](std::int64_t chunk) {
    const std::int64_t tiles = scattered_tiles<T>(p.reduction(), chunk);
    const double rows = double(p.reduction()) / double(tiles), spilled = p.reduction() > 8 ? 1.6 : 1.1;
    return double(tiles) * (double(positions) * term_cycles(spilled * rows, chunk) +
                            2 * kTileCycles * double(ceil_div(positions, kBlockPositions)));  // sums are read, too
  };
  const std::int64_t output_vectors = ceil_div(p.k, lanes);
  const double again = copied_rows / double(block_h * p.step_h);
  const double copied = p.step_h * p.step_w <= taps
                            ? copy_cycles(double(in_rows) * again, double(in_columns), 1)
                            : double(std::min(p.step_h, tap_rows.count) * std::min(p.step_w, tap_columns.count)) *
                                  copy_cycles(double(p.out_h), double(p.out_w), p.step_w);
  const double in_rows_of_tile =
      double(output_vectors / 2) * chunk_cycles(2) + (output_vectors % 2 ? chunk_cycles(1) : 0) + double(p.c) * copied;
  return in_rows_of_tile < turned;
}

template <class T>
void few_channels_weight_gradient(const Correlation& p, const T* dy, const T* x, T* dw) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t lanes = kernel.lanes, vectors = ceil_div(p.k, lanes), rows = p.reduction();
  const std::int64_t block_h = std::clamp<std::int64_t>(kBlockPositions / p.out_w, 1, p.out_h);
  const std::int64_t blocks_an_image = ceil_div(p.out_h, block_h), blocks = p.images * blocks_an_image;
  // Positions are read one by one, so a band of unit step serves any step, and is copied faster than its phases are
  // split; unless most of it would never be read.
  Correlation band_of = p;
  if (p.step_h * p.step_w <= std::int64_t(p.taps.size())) band_of.step_h = band_of.step_w = 1;
  const std::int64_t step_h = p.step_h / band_of.step_h, step_w = p.step_w / band_of.step_w;
  const BandLayout band_layout(band_of, (block_h - 1) * step_h + 1, (p.out_w - 1) * step_w + 1, true);
  std::vector<std::int64_t> row_offset;
  for (std::int64_t c = 0; c < p.c; ++c)
    for (std::int64_t offset : band_layout.tap_offset) row_offset.push_back(c * band_layout.channel_stride + offset);

  const std::int64_t sum_size = rows * vectors * lanes;  // of one group's slice: chunk by chunk, (row, output channel)
  const std::int64_t slices = std::clamp<std::int64_t>(kSliceBytes / (p.groups * sum_size * std::int64_t(sizeof(T))), 1,
                                                       std::min(kMostSlices, blocks));
  const Scratch<T> sums(std::size_t(p.groups * slices * sum_size));
  const std::int64_t most_width = std::min(kChunkVectors, vectors) * lanes;
  const std::int64_t turned_h =
      std::clamp<std::int64_t>(kTurnedBytes / (most_width * p.out_w * std::int64_t(sizeof(T))), 1, block_h);
  const std::int64_t turned_size = turned_h * p.out_w * most_width;
  const std::int64_t chunks = ceil_div(vectors, kChunkVectors);
  const std::int64_t runs = std::clamp<std::int64_t>(ceil_div(kUnits, p.groups * slices), 1, chunks);
  parallel_for(p.groups * slices * runs, p.macs(), [&](std::int64_t unit) {
    const std::int64_t run = unit % runs, slice = unit / runs % slices, group = unit / runs / slices;
    const std::int64_t begin = blocks * slice / slices;
    const std::int64_t first_vector = chunks * run / runs * kChunkVectors,
                       end_vector = std::min(vectors, chunks * (run + 1) / runs * kChunkVectors);
    T* const turned = thread_workspace<T>(std::size_t(turned_size + band_layout.template size<T>(p.c)));
    T* const band = turned + turned_size;
    // Lanes past the last output channel keep what they hold, unused; subnormals would be slow.
    if (p.k % lanes != 0) std::fill_n(turned, turned_size, T(0));
    for (std::int64_t block = begin; block < blocks * (slice + 1) / slices; ++block) {
      const std::int64_t image = block / blocks_an_image, row0 = block % blocks_an_image * block_h;
      const std::int64_t h = std::min(block_h, p.out_h - row0);
      fill_band(band_of, band_layout, x + image * p.x_image + group * p.c * p.x_plane, row0 * step_h, 0, band);
      for (std::int64_t row = 0; row < h; row += turned_h) {
        T* m = sums.data() + (group * slices + slice) * sum_size + first_vector * lanes * rows;
        const std::int64_t some_h = std::min(turned_h, h - row);
        const std::int64_t band_row = step_h * band_layout.pitch;
        for (std::int64_t vector = first_vector; vector < end_vector; vector += kChunkVectors) {
          const std::int64_t chunk = std::min(kChunkVectors, vectors - vector), width = chunk * lanes;
          const std::int64_t k = vector * lanes, count = std::min(width, p.k - k);
          const T* const from = dy + image * p.y_image + (group * p.k + k) * p.y_plane + (row0 + row) * p.y_row;
          if (p.channels_last)
            kernel.copy_rows(from, p.y_column, some_h * p.out_w, count, turned, width);
          else
            kernel.transpose(from, p.y_plane, count, some_h * p.out_w, turned, width);
          const std::int64_t panels = scattered_tiles<T>(rows, chunk);
          for (std::int64_t panel = 0; panel < panels; ++panel) {
            const std::int64_t first = rows * panel / panels, some = rows * (panel + 1) / panels - first;
            kernel.scattered_product[some][chunk]({band + row * band_row, row_offset.data() + first, some_h, p.out_w,
                                                   band_row, step_w, turned, m, block > begin || row > 0});
            m += some * width;
          }
        }
      }
    }
  });
  parallel_for(p.groups * chunks, double(p.groups * slices * sum_size), [&](std::int64_t unit) {
    const std::int64_t group = unit / chunks, k = unit % chunks * kChunkVectors * lanes;
    const std::int64_t width = std::min(kChunkVectors * lanes, vectors * lanes - k);
    T* const m = sums.data() + group * slices * sum_size + rows * k;
    for (std::int64_t slice = 1; slice < slices; ++slice)
      kernel.axpby(T(1), m, T(1), m + slice * sum_size, rows * width, m);
    const std::int64_t count = std::min(width, p.k - k), taps = std::int64_t(p.taps.size());
    if (!p.channels_last) return kernel.transpose(m, width, rows, count, dw + (group * p.k + k) * rows, rows);
    for (std::int64_t c = 0; c < p.c; ++c)  // dw (taps, c, groups·k)
      kernel.copy_rows(m + c * taps * width, width, taps, count, dw + (c * p.groups + group) * p.k + k,
                       p.c * p.groups * p.k);
  });
}

template bool few_channels<float>(const Correlation&);
template bool few_channels<double>(const Correlation&);
template void few_channels_weight_gradient(const Correlation&, const float*, const float*, float*);
template void few_channels_weight_gradient(const Correlation&, const double*, const double*, double*);

}  // namespace convnet
