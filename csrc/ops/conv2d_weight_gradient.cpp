// The gradient for the weights: dw[k, c, t] = sum over images and output positions of dy[k, i, j] · x[c, place of tap
// t].
//
// The positions are the terms of a product, so both operands are turned: dy to (position, k), x to (position, c) with
// channels in lanes, once for all taps (a tap is an offset). The images are summed in fixed slices, and the slices in
// their order: the result does not depend on the number of threads.
#include <algorithm>
#include <type_traits>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "conv2d.h"
#include "correlation.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kBlockBytes = 768 << 10;  // of the second-level cache, for both operands of a block of rows

struct Geometry {
  std::int64_t width;    // of the turned image: the channels, to whole vectors
  std::int64_t image_w;  // columns of the padded input
  std::int64_t block_h;  // output rows of a block
  std::int64_t slices, panels, panel_runs;
  int vectors;

  std::int64_t partial_size(const Conv2dShape& s) const { return s.c_out * s.taps() * width; }
  std::int64_t panel_begin(const Conv2dShape& s, std::int64_t panel) const { return s.c_out_group() * panel / panels; }
  std::int64_t rows_of_block(const Conv2dShape& s, std::int64_t h) const {
    return (h - 1) * s.stride_h + (s.k_h - 1) * s.dilation_h + 1;
  }
};

// Some panels of a group, summed over some images: what a thread does at once.
struct Share {
  std::int64_t slice, group, first_panel, last_panel, first_image, last_image;

  Share(const Conv2dShape& s, const Geometry& g, std::int64_t unit)
      : slice(unit / g.panel_runs / s.groups),
        group(unit / g.panel_runs % s.groups),
        first_panel(g.panels * (unit % g.panel_runs) / g.panel_runs),
        last_panel(g.panels * (unit % g.panel_runs + 1) / g.panel_runs),
        first_image(s.n * slice / g.slices),
        last_image(s.n * (slice + 1) / g.slices) {}
};
std::int64_t shares(const Conv2dShape& s, const Geometry& g) { return g.slices * s.groups * g.panel_runs; }

template <class T>
Geometry geometry(const Conv2dShape& s) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t lanes = kernel.lanes;
  Geometry g{};
  const std::int64_t column_vectors = ceil_div(s.c_in_group(), lanes);
  g.width = column_vectors * lanes;
  g.image_w = s.w + s.pad_left + s.pad_right;
  g.vectors = int(gradient_vectors<T>(column_vectors));
  g.panels = ceil_div(s.c_out_group(), kernel.most_rows[g.vectors]);
  g.block_h = s.o_h;
  const auto bytes = [&] {
    return (g.rows_of_block(s, g.block_h) * g.image_w * g.width + g.block_h * s.o_w * s.c_out_group()) *
           std::int64_t(sizeof(T));
  };
  while (g.block_h > 1 && bytes() > kBlockBytes) g.block_h = ceil_div(g.block_h, 2);
  g.slices = gradient_slices(s.n, g.partial_size(s) * std::int64_t(sizeof(T)));
  g.panel_runs = std::min(g.panels, ceil_div(4, g.slices * s.groups));
  return g;
}

// `count` columns of some channels' planes to (column, channel), `width` apart.
template <class T>
void turn(const T* from, bool channels_last, std::int64_t plane, std::int64_t column, std::int64_t channels,
          std::int64_t count, T* out, std::int64_t width) {
  if (channels_last)
    kernels<T>().copy_rows(from, column, count, channels, out, width);
  else
    kernels<T>().transpose(from, plane, channels, count, out, width);
}

// Turns what output rows [row0, row0 + h) read of one image's group; padding at both sides, and lanes beyond the
// channels, are zero in `out` already and never written to.
template <class T>
void turn_input(const Correlation& p, const Conv2dShape& s, const Geometry& g, const T* x, std::int64_t row0,
                std::int64_t h, T* out) {
  for (std::int64_t i = 0; i < g.rows_of_block(s, h); ++i, out += g.image_w * g.width) {
    const std::int64_t row = row0 * s.stride_h - s.pad_top + i;
    if (row < 0 || row >= s.h)
      std::fill_n(out, g.image_w * g.width, T(0));
    else
      turn(x + row * p.x_row, p.channels_last, p.x_plane, p.x_column, p.c, s.w, out + s.pad_left * g.width, g.width);
  }
}

}  // namespace

std::int64_t gradient_slices(std::int64_t blocks, std::int64_t partial_bytes) {
  constexpr std::int64_t all_bytes = 6 << 20, most = 16;
  const std::int64_t slices = std::clamp<std::int64_t>(all_bytes / partial_bytes, 1, std::min(most, blocks));
  return ceil_div(blocks, ceil_div(blocks, slices));
}

template <class T>
std::int64_t gradient_vectors(std::int64_t vectors) {
  return vectors % 3 == 0 && kernels<T>().most_rows[3] >= 8 ? 3 : std::min<std::int64_t>(2, vectors);
}

namespace {

// The slices' sums in their order, to dw.
template <class T>
void add_slices(const Correlation& p, const Conv2dShape& s, const Geometry& g, T* sums, T* dw) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t width = g.width, taps = s.taps(), outputs = s.c_out * s.reduction();
  const std::int64_t at_once = p.channels_last ? kernel.lanes : 1,
                     units = ceil_div(p.k, at_once);  // of output channels
  parallel_for(p.groups * units, double(g.slices * outputs), [&](std::int64_t unit) {
    const std::int64_t in_group = unit % units * at_once, k = unit / units * p.k + in_group;
    const std::int64_t count = std::min(at_once, p.k - in_group), size = taps * width;
    T* const first = sums + k * size;
    for (std::int64_t slice = 1; slice < g.slices; ++slice)
      kernel.axpby(T(1), first, T(1), first + slice * g.partial_size(s), count * size, first);
    if (!p.channels_last) return kernel.transpose(first, width, taps, p.c, dw + k * s.reduction(), taps);
    for (std::int64_t t = 0; t < taps; ++t)
      kernel.transpose(first + t * width, size, count, p.c, dw + t * p.c * s.c_out + k, s.c_out);
  });
}

// Without what meets the zeros around x, of unit steps: an image is turned whole, dy once for each column of taps,
// which all meet it in the same columns. dy must be finite.
template <class T>
void weight_gradient_inside(const Correlation& p, const Conv2dShape& s, const T* dy, const T* x, T* dw) {
  const Kernels<T>& kernel = kernels<T>();
  const Geometry g = geometry<T>(s);
  const std::int64_t lanes = kernel.lanes, width = g.width, taps = s.taps(), x_row = s.w * width;
  const std::int64_t turned_size = s.h * x_row, partial = g.partial_size(s);
  std::vector<std::int64_t> position_offset;
  for (std::int64_t j = 0; j < s.o_w; ++j) position_offset.push_back(j * width);
  const Scratch<T> sums(std::size_t(g.slices * partial));
  const std::uint64_t call = new_call();
  parallel_for(shares(s, g), p.macs() * share_inside(p), [&](std::int64_t unit) {
    const Share share(s, g, unit);
    T* const turned = thread_workspace<T>(std::size_t(turned_size + s.out_plane() * kMostRows));
    T* const terms = turned + turned_size;
    const bool lone = share.last_image - share.first_image == 1;
    const bool turned_before = workspace_holds(call, unit / g.panel_runs) && lone;
    if (!turned_before) std::fill_n(turned, turned_size, T(0));  // lanes beyond the channels
    T* const of_group = sums.data() + share.slice * partial + share.group * p.k * taps * width;
    std::fill(of_group + g.panel_begin(s, share.first_panel) * taps * width,
              of_group + g.panel_begin(s, share.last_panel) * taps * width, T(0));
    for (std::int64_t n = share.first_image; n < share.last_image; ++n) {
      const T* const image = x + n * p.x_image + share.group * p.c * p.x_plane;
      for (std::int64_t i = 0; i < s.h && !turned_before; ++i)
        turn(image + i * p.x_row, p.channels_last, p.x_plane, p.x_column, p.c, s.w, turned + i * x_row, width);
      for (std::int64_t panel = share.first_panel; panel < share.last_panel; ++panel)
        for (std::int64_t q = 0; q < s.k_w; ++q) {
          const std::int64_t begin = g.panel_begin(s, panel), rows = g.panel_begin(s, panel + 1) - begin;
          const std::int64_t column = p.taps[std::size_t(q)].column;
          const Real columns(column, 1, s.w, s.o_w);
          const std::int64_t wide = columns.end - columns.begin;
          if (wide == 0) continue;
          const T* const from =
              dy + n * p.y_image + (share.group * p.k + begin) * p.y_plane + columns.begin * p.y_column;
          for (std::int64_t i = 0; i < s.o_h; ++i)
            turn(from + i * p.y_row, p.channels_last, p.y_plane, p.y_column, rows, wide, terms + i * wide * rows, rows);
          for (std::int64_t t = q; t < taps; t += s.k_w) {
            const std::int64_t row = p.taps[std::size_t(t)].row;
            const Real inside(row, 1, s.h, s.o_h);
            if (inside.begin == inside.end) continue;
            const T* const tap = turned + (inside.begin + row) * x_row + (columns.begin + column) * width;
            for (std::int64_t v = 0; v < width; v += g.vectors * lanes) {
              const std::int64_t vectors = std::min<std::int64_t>(g.vectors, (width - v) / lanes);
              kernel.tile[rows][vectors]({terms + inside.begin * wide * rows, tap + v, inside.end - inside.begin, x_row,
                                          wide, position_offset.data(), of_group + (begin * taps + t) * width + v,
                                          taps * width, true, nullptr, false});
            }
          }
        }
    }
  });
  add_slices(p, s, g, sums.data(), dw);
}

// Whether there are such zeros, and what is not finite in dy would not go missing with them.
template <class T>
bool zeros_go_unseen(const Correlation& p, const Conv2dShape& s, const T* dy) {
  constexpr std::int64_t most_bytes = 4 << 20;  // of a turned image
  constexpr std::int64_t least_positions = 64;  // few terms an image leave the sums to be added up: measured 0.8
  const std::int64_t width = ceil_div(p.c, kernels<T>().lanes) * kernels<T>().lanes;
  if (!leaves_zeros_out<T>(p) || s.out_plane() < least_positions) return false;
  if (s.in_plane() * width * std::int64_t(sizeof(T)) > most_bytes) return false;
  return all_finite(dy, s.n, s.c_out * s.out_plane());
}

}  // namespace

template <class T>
void conv2d_backward_weight(const Conv2dShape& shape, Algorithm asked, const T* dy, const T* x, T* dw) {
  const Conv2dShape s = shape.laid_down();
  const std::int64_t outputs = s.c_out * s.reduction();
  if (outputs == 0) return;
  if (s.n == 0) {
    std::fill_n(dw, outputs, T(0));
    return;
  }
  const Correlation p = forward_correlation(s);
  if (depthwise_gradient_pays<T>(p)) return depthwise_weight_gradient(p, dy, x, dw);
  if constexpr (std::is_same_v<T, float>) {
    if (winograd_weight_gradient_serves(p) &&
        (asked == Algorithm::winograd || (asked == Algorithm::automatic && winograd_weight_gradient_pays(p))))
      return winograd_weight_gradient(p, dy, x, dw);
    if (asked == Algorithm::automatic && dilated_weight_gradient_pays(p)) return dilated_weight_gradient(p, dy, x, dw);
  }
  if (pointwise_weight_gradient_pays<T>(p)) return pointwise_weight_gradient(p, dy, x, dw);
  if (few_channels<T>(p)) return few_channels_weight_gradient(p, dy, x, dw);
  if (zeros_go_unseen(p, s, dy)) return weight_gradient_inside(p, s, dy, x, dw);
  const Kernels<T>& kernel = kernels<T>();
  const Geometry g = geometry<T>(s);
  const std::int64_t lanes = kernel.lanes, width = g.width, taps = s.taps();
  std::vector<std::int64_t> position_offset;  // of the positions of one output row
  for (std::int64_t j = 0; j < s.o_w; ++j) position_offset.push_back(j * s.stride_w * width);

  const std::int64_t partial = g.partial_size(s);
  const Scratch<T> sums(std::size_t(g.slices * partial));
  parallel_for(shares(s, g), s.macs(), [&](std::int64_t unit) {
    const Share share(s, g, unit);
    const std::int64_t k0 = g.panel_begin(s, share.first_panel), k1 = g.panel_begin(s, share.last_panel);
    const std::int64_t turned_size = g.rows_of_block(s, g.block_h) * g.image_w * width;
    T* const turned = thread_workspace<T>(std::size_t(turned_size + g.block_h * s.o_w * (k1 - k0)));
    T* const packed = turned + turned_size;
    std::fill_n(turned, turned_size, T(0));
    bool add = false;
    for (std::int64_t n = share.first_image; n < share.last_image; ++n)
      for (std::int64_t row0 = 0; row0 < s.o_h; row0 += g.block_h, add = true) {
        const std::int64_t h = std::min(g.block_h, s.o_h - row0), positions = h * s.o_w;
        turn_input(p, s, g, x + n * p.x_image + share.group * p.c * p.x_plane, row0, h, turned);
        for (std::int64_t panel = share.first_panel; panel < share.last_panel; ++panel) {
          const std::int64_t begin = g.panel_begin(s, panel), rows = g.panel_begin(s, panel + 1) - begin;
          const T* const from = dy + n * p.y_image + (share.group * p.k + begin) * p.y_plane + row0 * p.y_row;
          T* const terms = packed + (begin - k0) * positions;
          turn(from, p.channels_last, p.y_plane, p.y_column, rows, positions, terms, rows);
          for (std::int64_t t = 0; t < taps; ++t) {
            const T* tap = turned + (t / s.k_w * s.dilation_h * g.image_w + t % s.k_w * s.dilation_w) * width;
            for (std::int64_t v = 0; v < width; v += g.vectors * lanes) {
              const std::int64_t vectors = std::min<std::int64_t>(g.vectors, (width - v) / lanes);
              T* c = sums.data() + share.slice * partial + ((share.group * p.k + begin) * taps + t) * width + v;
              kernel.tile[rows][vectors]({terms, tap + v, h, s.stride_h * g.image_w * width, s.o_w,
                                          position_offset.data(), c, taps * width, add, nullptr, false});
            }
          }
        }
      }
  });
  add_slices(p, s, g, sums.data(), dw);
}

template std::int64_t gradient_vectors<float>(std::int64_t);
template std::int64_t gradient_vectors<double>(std::int64_t);
template void conv2d_backward_weight(const Conv2dShape&, Algorithm, const float*, const float*, float*);
template void conv2d_backward_weight(const Conv2dShape&, Algorithm, const double*, const double*, double*);

}  // namespace convnet
