// The gradient for the weights: dw[k, c, t] = sum over images and output positions of dy[k, i, j] · x[c, place of tap
// t].
//
// The positions are the terms of a product, so both operands are turned: dy to (position, k), x to (position, c) with
// channels in lanes, once for all taps (a tap is an offset). Where the channels do not fill a vector, channel and tap
// together fill the lanes instead. The images are summed in fixed slices, and the slices in their order: the result
// does not depend on the number of threads.
#include <algorithm>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "band.h"
#include "conv2d.h"
#include "correlation.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kBlockBytes = 512 << 10;  // of the second-level cache, for both operands of a block of rows
constexpr std::int64_t kSliceBytes = 6 << 20;    // for the partial sums of all slices
constexpr std::int64_t kMostSlices = 16;

struct Geometry {
  bool gathered;                // lanes are (channel, tap), else channels
  std::int64_t taps, columns;   // taps apart, and lanes' worth of columns: c or c·taps
  std::int64_t padded_columns;  // to whole vectors
  std::int64_t image_w;         // columns of the turned image: of the padded input, or of outputs where gathered
  std::int64_t block_h;         // output rows of a block
  std::int64_t slices, panels, panel_runs;
  int vectors;

  std::int64_t partial_size(const Conv2dShape& s) const { return s.c_out * taps * padded_columns; }
  std::int64_t rows_of_block(const Conv2dShape& s, std::int64_t h) const {
    return gathered ? h : (h - 1) * s.stride_h + (s.k_h - 1) * s.dilation_h + 1;
  }
};

template <class T>
Geometry geometry(const Conv2dShape& s) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t lanes = kernel.lanes;
  Geometry g{};
  const std::int64_t separate = ceil_div(s.c_in_group(), lanes) * s.taps(), together = ceil_div(s.reduction(), lanes);
  // Long strides and wide padding: most of the padded image is never read.
  const double padded_area = double(s.h + s.pad_top + s.pad_bottom) * double(s.w + s.pad_left + s.pad_right);
  g.gathered = 2 * together <= separate || padded_area > double(s.out_plane()) * double(s.taps());
  g.taps = g.gathered ? 1 : s.taps();
  g.columns = g.gathered ? s.reduction() : s.c_in_group();
  g.padded_columns = ceil_div(g.columns, lanes) * lanes;
  g.image_w = g.gathered ? s.o_w : s.w + s.pad_left + s.pad_right;
  const std::int64_t column_vectors = g.padded_columns / lanes;
  g.vectors = int(column_vectors % 3 == 0 && kernel.most_rows[3] >= 8 ? 3 : std::min<std::int64_t>(2, column_vectors));
  g.panels = ceil_div(s.c_out_group(), kernel.most_rows[g.vectors]);
  g.block_h = s.o_h;
  const auto bytes = [&] {
    return (g.rows_of_block(s, g.block_h) * g.image_w * g.padded_columns + g.block_h * s.o_w * s.c_out_group()) *
           std::int64_t(sizeof(T));
  };
  while (g.block_h > 1 && bytes() > kBlockBytes) g.block_h = ceil_div(g.block_h, 2);
  g.slices =
      std::clamp<std::int64_t>(kSliceBytes / std::max<std::int64_t>(1, g.partial_size(s) * std::int64_t(sizeof(T))), 1,
                               std::min(kMostSlices, s.n));
  g.panel_runs = std::min(g.panels, ceil_div(4, g.slices * s.groups));
  return g;
}

// The turned input of a block of output rows.
template <class T>
class TurnedInput {
 public:
  TurnedInput(const Conv2dShape& shape, const Geometry& geometry)
      : s_(shape), g_(geometry), p_(forward_correlation(shape)), band_(p_, g_.block_h, s_.o_w, true) {
    if (!g_.gathered) return;
    const std::int64_t taps = s_.taps(), rows = s_.reduction();
    for (std::int64_t i = 0; i < rows; ++i) {  // in the order of the weights
      const std::int64_t c = p_.channels_last ? i % p_.c : i / taps, t = p_.channels_last ? i / p_.c : i % taps;
      row_offset_.push_back(c * band_.channel_stride + band_.tap_offset[std::size_t(t)]);
    }
  }

  std::int64_t size() const { return g_.rows_of_block(s_, g_.block_h) * g_.image_w * g_.padded_columns; }
  std::int64_t workspace() const { return size() + (g_.gathered ? band_.template size<T>(p_.c) : 0); }

  // Lanes beyond the channels stay zero, whatever blocks are filled in afterwards.
  void clear(T* out) const { std::fill_n(out, size(), T(0)); }

  // Output rows [row0, row0 + h) of one image's group.
  void fill(const T* x, std::int64_t row0, std::int64_t h, T* out) const {
    const std::int64_t width = g_.padded_columns;
    if (g_.gathered) {
      T* const band = out + size();
      fill_band(p_, band_, x, row0, 0, band);
      for (std::int64_t i = 0; i < h; ++i, out += s_.o_w * width)
        kernels<T>().transpose_rows(band + i * band_.pitch, row_offset_.data(), g_.columns, s_.o_w, out, width);
      return;
    }
    for (std::int64_t i = 0; i < g_.rows_of_block(s_, h); ++i, out += g_.image_w * width) {
      const std::int64_t row = row0 * s_.stride_h - s_.pad_top + i;
      if (row < 0 || row >= s_.h)
        std::fill_n(out, g_.image_w * width, T(0));
      else if (p_.channels_last)  // the padding at both sides is never written to
        kernels<T>().copy_rows(x + row * p_.x_row, p_.x_column, s_.w, p_.c, out + s_.pad_left * width, width);
      else
        kernels<T>().transpose(x + row * p_.x_row, p_.x_plane, p_.c, s_.w, out + s_.pad_left * width, width);
    }
  }

 private:
  const Conv2dShape& s_;
  const Geometry& g_;
  Correlation p_;
  BandLayout band_;
  std::vector<std::int64_t> row_offset_;  // in the band, of each (channel, tap)
};

}  // namespace

template <class T>
void conv2d_backward_weight(const Conv2dShape& s, const T* dy, const T* x, T* dw) {
  const std::int64_t outputs = s.c_out * s.reduction();
  if (outputs == 0) return;
  if (s.n == 0) {
    std::fill_n(dw, outputs, T(0));
    return;
  }
  const Correlation p = forward_correlation(s);
  if (depthwise_serves(p)) return depthwise_weight_gradient(p, dy, x, dw);
  const Kernels<T>& kernel = kernels<T>();
  const Geometry g = geometry<T>(s);
  const TurnedInput<T> input(s, g);
  const std::int64_t lanes = kernel.lanes, width = g.padded_columns;
  const std::int64_t step_h = g.gathered ? 1 : s.stride_h, step_w = g.gathered ? 1 : s.stride_w;
  std::vector<std::int64_t> position_offset;  // of the positions of one output row
  for (std::int64_t j = 0; j < s.o_w; ++j) position_offset.push_back(j * step_w * width);

  const std::int64_t partial = g.partial_size(s);
  const Scratch<T> sums(std::size_t(g.slices * partial));
  const auto panel_begin = [&](std::int64_t panel) { return s.c_out_group() * panel / g.panels; };
  parallel_for(g.slices * s.groups * g.panel_runs, s.macs(), [&](std::int64_t unit) {
    const std::int64_t run = unit % g.panel_runs, group = unit / g.panel_runs % s.groups,
                       slice = unit / g.panel_runs / s.groups;
    const std::int64_t panel0 = g.panels * run / g.panel_runs, panel1 = g.panels * (run + 1) / g.panel_runs;
    const std::int64_t k0 = panel_begin(panel0), k1 = panel_begin(panel1);
    T* const turned = thread_workspace<T>(std::size_t(input.workspace() + g.block_h * s.o_w * (k1 - k0)));
    T* const packed = turned + input.workspace();
    input.clear(turned);
    bool add = false;
    for (std::int64_t n = s.n * slice / g.slices; n < s.n * (slice + 1) / g.slices; ++n)
      for (std::int64_t row0 = 0; row0 < s.o_h; row0 += g.block_h, add = true) {
        const std::int64_t h = std::min(g.block_h, s.o_h - row0), positions = h * s.o_w;
        input.fill(x + n * p.x_image + group * p.c * p.x_plane, row0, h, turned);
        for (std::int64_t panel = panel0; panel < panel1; ++panel) {
          const std::int64_t begin = panel_begin(panel), rows = panel_begin(panel + 1) - begin;
          const T* const from = dy + n * p.y_image + (group * p.k + begin) * p.y_plane + row0 * p.y_row;
          T* const terms = packed + (begin - k0) * positions;
          if (p.channels_last)
            kernel.copy_rows(from, p.y_column, positions, rows, terms, rows);
          else
            kernel.transpose(from, p.y_plane, rows, positions, terms, rows);
          for (std::int64_t t = 0; t < g.taps; ++t) {
            const T* tap = turned + (t / s.k_w * s.dilation_h * g.image_w + t % s.k_w * s.dilation_w) * width;
            for (std::int64_t v = 0; v < width; v += g.vectors * lanes) {
              const std::int64_t vectors = std::min<std::int64_t>(g.vectors, (width - v) / lanes);
              T* c = sums.data() + slice * partial + ((group * s.c_out_group() + begin) * g.taps + t) * width + v;
              kernel.tile[rows][vectors]({terms, tap + v, h, step_h * g.image_w * width, s.o_w, position_offset.data(),
                                          c, g.taps * width, add, nullptr, false});
            }
          }
        }
      }
  });
  const std::int64_t at_once = s.channels_last ? lanes : 1, units = ceil_div(p.k, at_once);  // of output channels
  parallel_for(p.groups * units, double(g.slices * outputs), [&](std::int64_t unit) {
    const std::int64_t in_group = unit % units * at_once, k = unit / units * p.k + in_group;
    const std::int64_t count = std::min(at_once, p.k - in_group), size = g.taps * width;
    T* const first = sums.data() + k * size;
    for (std::int64_t slice = 1; slice < g.slices; ++slice)
      kernel.axpby(T(1), first, T(1), first + slice * partial, count * size, first);
    if (!s.channels_last) return kernel.transpose(first, width, g.taps, g.columns, dw + k * s.reduction(), g.taps);
    for (std::int64_t t = 0; t < g.taps; ++t)
      kernel.transpose(first + t * width, size, count, g.columns, dw + t * g.columns * s.c_out + k, s.c_out);
  });
}

template void conv2d_backward_weight(const Conv2dShape&, const float*, const float*, float*);
template void conv2d_backward_weight(const Conv2dShape&, const double*, const double*, double*);

}  // namespace convnet
