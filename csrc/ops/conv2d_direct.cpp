// The direct algorithm: a tile's columns are output positions, its rows output channels, its terms channels and taps.
// The input of a block of positions is copied once, padded, into a band; there each tap is a plain offset.
#include <algorithm>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "correlation.h"

namespace convnet {
namespace {

constexpr std::int64_t kBandBytes = 640 << 10;   // of the second-level cache, for the input of one block
constexpr std::int64_t kTermsInRegisters = 512;  // summed before they meet the earlier ones: bounds the rounding error

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// How the work is cut: panels of `rows` output channels, tiles of `vectors` vectors of positions, blocks of
// block_h x block_w positions whose input band stays in the second-level cache.
struct Blocking {
  int vectors;
  std::int64_t panels;
  std::int64_t block_h, block_w;
  std::int64_t panel_runs;  // the panels are shared out in so many runs

  std::int64_t panel_begin(std::int64_t panel, std::int64_t k) const { return k * panel / panels; }
};

// The part of `count` places start, start + step, ... that falls on [0, size): [begin, end).
struct Real {
  std::int64_t begin, end;
  Real(std::int64_t start, std::int64_t step, std::int64_t size, std::int64_t count)
      : begin(std::clamp<std::int64_t>(ceil_div(std::max<std::int64_t>(0, -start), step), 0, count)),
        end(std::clamp<std::int64_t>(floor_div(size - start + step - 1, step), begin, count)) {}
};

// The rows (or columns) of the input that a tap reads are those of one residue class modulo the step: its phase.
// Within a phase the reads have unit stride. A band holds, for each channel and each phase in use, the rows and
// columns that a block of outputs reads, padding included; a tap is then a plain offset into the band.
struct Phase {
  std::int64_t row, column;
};

struct BandLayout {
  std::vector<Phase> phases;
  std::vector<std::int64_t> tap_offset;
  std::int64_t first_row, first_column;  // of every phase's plane, in steps, relative to the block
  std::int64_t rows, columns;            // of a plane; rows may share the zeros between them, see pitch
  std::int64_t pitch;
  std::int64_t channel_stride;

  BandLayout(const Correlation& p, std::int64_t block_h, std::int64_t block_w, bool whole_rows) {
    std::int64_t last_row = 0, last_column = 0;
    first_row = first_column = INT64_MAX;
    std::vector<std::size_t> phase_of_tap;
    for (const Tap& tap : p.taps) {
      const std::int64_t row = floor_div(tap.row, p.step_h), column = floor_div(tap.column, p.step_w);
      const Phase phase{tap.row - row * p.step_h, tap.column - column * p.step_w};
      const auto same = [&](const Phase& f) { return f.row == phase.row && f.column == phase.column; };
      const auto found = std::find_if(phases.begin(), phases.end(), same);
      phase_of_tap.push_back(std::size_t(found - phases.begin()));
      if (found == phases.end()) phases.push_back(phase);
      first_row = std::min(first_row, row);
      first_column = std::min(first_column, column);
      last_row = std::max(last_row, row);
      last_column = std::max(last_column, column);
    }
    rows = block_h + last_row - first_row;
    columns = block_w + last_column - first_column;
    pitch = columns - (whole_rows ? shared_zeros(p) : 0);
    const std::int64_t plane = rows * pitch;
    // An odd number of cache lines from channel to channel spreads the channels over the cache's sets.
    constexpr std::int64_t line = 16;
    channel_stride = ceil_div(std::int64_t(phases.size()) * plane, line) * line;
    if (channel_stride / line % 2 == 0) channel_stride += line;
    for (std::size_t t = 0; t < p.taps.size(); ++t)
      tap_offset.push_back(std::int64_t(phase_of_tap[t]) * plane +
                           (floor_div(p.taps[t].row, p.step_h) - first_row) * pitch +
                           floor_div(p.taps[t].column, p.step_w) - first_column);
  }

  // The zeros that end a row may serve as those that begin the next one.
  std::int64_t shared_zeros(const Correlation& p) const {
    std::int64_t shared = columns;
    for (const Phase& phase : phases) {
      const std::int64_t leading =
          std::max<std::int64_t>(0, ceil_div(-(first_column * p.step_w + phase.column), p.step_w));
      const std::int64_t real_end =
          ceil_div(p.in_w - phase.column, p.step_w) - first_column;  // first column past the image
      const std::int64_t trailing = std::max<std::int64_t>(0, columns - real_end);
      shared = std::min({shared, leading, trailing});
    }
    return std::min(shared, columns - 1);
  }

  // With what the last tile reads past the last position.
  template <class T>
  std::int64_t size(std::int64_t channels) const {
    return channels * channel_stride + columns + kMostVectors * kernels<T>().lanes;
  }
};

// Copies the part of one group's input that the block at (row0, column0) reads.
template <class T>
void fill_band(const Correlation& p, const BandLayout& band, const T* x, std::int64_t row0, std::int64_t column0,
               T* out) {
  const Kernels<T>& kernel = kernels<T>();
  for (std::int64_t c = 0; c < p.c; ++c) {
    T* plane = out + c * band.channel_stride;
    for (const Phase& phase : band.phases) {
      const std::int64_t row_start = (band.first_row + row0) * p.step_h + phase.row;
      const std::int64_t column_start = (band.first_column + column0) * p.step_w + phase.column;
      const Real rows(row_start, p.step_h, p.in_h, band.rows), columns(column_start, p.step_w, p.in_w, band.columns);
      const T* from =
          x + (c * p.in_h + row_start + rows.begin * p.step_h) * p.in_w + column_start + columns.begin * p.step_w;
      std::fill_n(plane, rows.begin * band.pitch, T(0));
      kernel.pad_rows({from, p.step_h * p.in_w, p.step_w, rows.end - rows.begin, columns.begin,
                       columns.end - columns.begin, band.columns - columns.end, plane + rows.begin * band.pitch,
                       band.pitch});
      std::fill(plane + rows.end * band.pitch, plane + (band.rows - 1) * band.pitch + band.columns, T(0));
      plane += band.rows * band.pitch;
    }
    // Lanes past the last position read on; what they find must be numbers, or subnormals would slow them down.
    T* const end = out + (c + 1) * band.channel_stride;
    std::fill(std::min(end, plane + band.columns - band.pitch), end, T(0));
  }
  std::fill_n(out + p.c * band.channel_stride, band.columns + kMostVectors * kernel.lanes, T(0));
}

// All tiles of one block for one panel of output channels.
template <class T>
void run_panel(const Correlation& p, const Blocking& blocking, const BandLayout& layout, const T* band,
               const T* packed, std::int64_t rows, const T* bias, bool relu, std::int64_t block_h, std::int64_t block_w,
               T* tile_sums, T* y) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t tile_width = blocking.vectors * kernel.lanes;
  const std::int64_t positions = (block_h - 1) * layout.pitch + block_w;
  const std::int64_t taps = std::int64_t(p.taps.size());
  const std::int64_t channels_a_step = std::max<std::int64_t>(1, kTermsInRegisters / taps);
  for (std::int64_t first = 0; first < positions; first += tile_width) {
    const std::int64_t count = std::min(tile_width, positions - first);
    const std::int64_t width = ceil_div(count, kernel.lanes) * kernel.lanes;
    const std::int64_t row = first / layout.pitch, column = first % layout.pitch;
    const bool in_place = p.y_column == 1 && column + width <= block_w;
    Tile<T> tile{};
    tile.a = packed;
    tile.b = band + first;
    tile.channel_stride = layout.channel_stride;
    tile.taps = taps;
    tile.tap_offset = layout.tap_offset.data();
    tile.c = in_place ? y + row * p.y_row + column : tile_sums;
    tile.c_stride = in_place ? p.y_plane : width;
    for (std::int64_t c = 0; c < p.c; c += channels_a_step) {
      tile.channels = std::min(channels_a_step, p.c - c);
      tile.add = c > 0;
      if (c + tile.channels == p.c) {
        tile.bias = bias;
        tile.relu = relu;
      }
      kernel.tile[rows][width / kernel.lanes](tile);
      tile.a += tile.channels * taps * rows;
      tile.b += tile.channels * layout.channel_stride;
    }
    if (!in_place)
      kernel.place({tile_sums, width, int(rows), first, count, layout.pitch, block_w, y, p.y_plane, p.y_row, p.y_column});
  }
}

template <class T>
Blocking choose_blocking(const Correlation& p) {
  const Kernels<T>& kernel = kernels<T>();
  Blocking b{};
  const std::int64_t vectors = ceil_div(p.out_h * p.out_w, kernel.lanes);
  b.vectors = int(std::min<std::int64_t>(2, vectors));
  b.panels = ceil_div(p.k, kernel.most_rows[b.vectors]);
  // Whole rows while a band of a few rows fits, else as many columns as do.
  b.block_w = p.out_w;
  b.block_h = p.out_h;
  const auto bytes = [&] {
    return BandLayout(p, b.block_h, b.block_w, b.block_w == p.out_w).template size<T>(p.c) * std::int64_t(sizeof(T));
  };
  const std::int64_t tile = b.vectors * kernel.lanes;
  const auto halve = [&] {
    if (b.block_h > 1 && (b.block_h * b.block_w > 4 * tile || b.block_w <= 2 * tile))
      b.block_h = ceil_div(b.block_h, 2);
    else if (b.block_w > tile)
      b.block_w = std::max(tile, ceil_div(b.block_w, 2 * tile) * tile);
    else
      return false;
    return true;
  };
  while (bytes() > kBandBytes && halve()) {
  }
  const auto blocks = [&] { return p.images * p.groups * ceil_div(p.out_h, b.block_h) * ceil_div(p.out_w, b.block_w); };
  while (blocks() < 8 && b.block_h * b.block_w >= 12 * tile && halve()) {
  }
  b.panel_runs = std::min(b.panels, ceil_div(4, std::max<std::int64_t>(blocks(), 1)));
  return b;
}

template <class T>
void pack_weights(const Correlation& p, const Blocking& blocking, const Weights<T>& weights, T* packed) {
  const std::int64_t taps = std::int64_t(p.taps.size());
  parallel_for(p.groups * blocking.panels, double(p.groups * p.k * p.reduction()), [&](std::int64_t unit) {
    const std::int64_t group = unit / blocking.panels, panel = unit % blocking.panels;
    const std::int64_t begin = blocking.panel_begin(panel, p.k), end = blocking.panel_begin(panel + 1, p.k);
    T* out = packed + (group * p.k + begin) * p.reduction();
    for (std::int64_t k = begin; k < end; ++k, ++out) {
      const T* row = weights.data + group * weights.group_stride + k * weights.k_stride;
      T* to = out;
      for (std::int64_t c = 0; c < p.c; ++c)
        for (std::int64_t t = 0; t < taps; ++t, to += end - begin)
          *to = row[c * weights.c_stride + p.taps[std::size_t(t)].source];
    }
  });
}

template <class T>
void correlate(const Correlation& p, const Blocking& blocking, const T* x, const T* packed, const T* bias, bool relu,
               T* y) {
  const std::int64_t blocks_h = ceil_div(p.out_h, blocking.block_h), blocks_w = ceil_div(p.out_w, blocking.block_w);
  const std::int64_t blocks = blocks_h * blocks_w * p.images * p.groups, runs = blocking.panel_runs;
  const BandLayout layout(p, blocking.block_h, blocking.block_w, blocks_w == 1);
  const std::int64_t band_size = layout.template size<T>(p.c);
  struct Block {
    std::int64_t row0, column0, plane;  // plane: of images and groups
  };
  const auto block_at = [&](std::int64_t block) {
    return Block{block / blocks_w % blocks_h * blocking.block_h, block % blocks_w * blocking.block_w,
                 block / (blocks_w * blocks_h)};
  };
  const auto fill = [&](const Block& block, T* band) {
    fill_band(p, layout, x + block.plane * p.c * p.in_h * p.in_w, block.row0, block.column0, band);
  };
  // Where several units share a block, its band is filled for all of them first.
  const bool shared = runs > 1;
  const Scratch<T> shared_bands(std::size_t(shared ? blocks * band_size : 0));
  if (shared)
    parallel_for(blocks, double(blocks * band_size),
                 [&](std::int64_t block) { fill(block_at(block), shared_bands.data() + block * band_size); });
  parallel_for(blocks * runs, p.macs(), [&](std::int64_t unit) {
    const Block block = block_at(unit / runs);
    const std::int64_t run = unit % runs, group = block.plane % p.groups, image = block.plane / p.groups;
    const std::int64_t block_h = std::min(blocking.block_h, p.out_h - block.row0);
    const std::int64_t block_w = std::min(blocking.block_w, p.out_w - block.column0);
    const std::int64_t sums_size = kMostRows * kMostVectors * kernels<T>().lanes;
    T* const tile_sums = thread_workspace<T>(std::size_t(sums_size + (shared ? 0 : band_size)));
    T* const band = shared ? shared_bands.data() + unit / runs * band_size : tile_sums + sums_size;
    if (!shared) fill(block, band);
    T* const to = y + image * p.y_image + block.row0 * p.y_row + block.column0 * p.y_column;
    for (std::int64_t panel = blocking.panels * run / runs; panel < blocking.panels * (run + 1) / runs; ++panel) {
      const std::int64_t begin = blocking.panel_begin(panel, p.k), rows = blocking.panel_begin(panel + 1, p.k) - begin;
      const std::int64_t k = group * p.k + begin;
      run_panel(p, blocking, layout, band, packed + k * p.reduction(), rows, bias ? bias + k : nullptr, relu, block_h,
                block_w, tile_sums, to + k * p.y_plane);
    }
  });
}

template <class T>
class Direct final : public PackedCorrelation<T> {
 public:
  Direct(const Correlation& problem, const Weights<T>& weights)
      : problem_(problem),
        blocking_(choose_blocking<T>(problem)),
        packed_(std::size_t(problem.groups * problem.k * problem.reduction())) {
    pack_weights(problem_, blocking_, weights, packed_.data());
  }
  void run(const T* x, const T* bias, bool relu, T* y) const override {
    correlate(problem_, blocking_, x, packed_.data(), bias, relu, y);
  }

 private:
  Correlation problem_;
  Blocking blocking_;
  Scratch<T> packed_;
};

}  // namespace

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_direct(const Correlation& problem, const Weights<T>& weights) {
  return std::make_unique<Direct<T>>(problem, weights);
}

template std::unique_ptr<PackedCorrelation<float>> pack_direct(const Correlation&, const Weights<float>&);
template std::unique_ptr<PackedCorrelation<double>> pack_direct(const Correlation&, const Weights<double>&);

}  // namespace convnet
