// The direct algorithm: a tile's columns are output positions, its rows output channels, its terms channels and taps.
// The input of a block of positions is copied once, padded, into a band; there each tap is a plain offset.
#include <algorithm>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "band.h"
#include "correlation.h"
#include "division.h"

namespace convnet {
namespace {

// Of the second-level cache, for the input of one block. Less where blocks lose nothing at their edges and are many.
constexpr std::int64_t kBandBytes = 640 << 10, kOneTapBandBytes = 256 << 10;
constexpr std::int64_t kTermsInRegisters = 512;  // summed before they meet the earlier ones: bounds the rounding error

std::int64_t channels_in_registers(const Correlation& p) {
  return std::max<std::int64_t>(1, kTermsInRegisters / std::int64_t(p.taps.size()));
}

// How the work is cut: panels of `rows` output channels, tiles of `vectors` vectors of positions, blocks of
// block_h x block_w positions whose input band stays in the second-level cache.
struct Blocking {
  int vectors;
  std::int64_t panels;
  std::int64_t block_h, block_w;
  bool by_rows;  // a tile ends with its row, or runs on to the next one

  std::int64_t panel_begin(std::int64_t panel, std::int64_t k) const { return k * panel / panels; }
};

// All tiles of one block for one panel of output channels.
template <class T>
void run_panel(const Correlation& p, const Blocking& blocking, const BandLayout& layout,
               const std::vector<std::int64_t>& term_offset, const T* band, const T* packed, std::int64_t rows,
               const T* bias, bool relu, std::int64_t block_h, std::int64_t block_w, T* tile_sums, T* y) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t tile_width = blocking.vectors * kernel.lanes;
  const std::int64_t taps = std::int64_t(p.taps.size());
  const std::int64_t channels_a_step = channels_in_registers(p);
  const bool dense = p.y_column == 1 && layout.pitch == block_w && p.y_row == block_w;
  const std::int64_t rows_a_run = blocking.by_rows && !dense ? 1 : block_h;
  const std::int64_t positions = (rows_a_run - 1) * layout.pitch + block_w;  // of a run
  for (std::int64_t top = 0; top < block_h; top += rows_a_run)
    for (std::int64_t first = 0; first < positions; first += tile_width) {
      const std::int64_t count = std::min(tile_width, positions - first);
      const std::int64_t width = ceil_div(count, kernel.lanes) * kernel.lanes;
      const std::int64_t row = first / layout.pitch, column = first % layout.pitch;
      const bool in_place = dense ? width == count : p.y_column == 1 && column + width <= block_w;
      Tile<T> tile{};
      tile.a = packed;
      tile.b = band + top * layout.pitch + first;
      tile.channels = 1;
      tile.tap_offset = term_offset.data();
      tile.c = in_place ? y + (top + row) * p.y_row + column : tile_sums;
      tile.c_stride = in_place ? p.y_plane : width;
      for (std::int64_t c = 0; c < p.c; c += channels_a_step) {
        const std::int64_t channels = std::min(channels_a_step, p.c - c);
        tile.taps = channels * taps;
        tile.add = c > 0;
        if (c + channels == p.c) {
          tile.bias = bias;
          tile.relu = relu;
        }
        kernel.tile[rows][width / kernel.lanes](tile);
        tile.a += channels * taps * rows;
        tile.b += channels * layout.channel_stride;
      }
      if (!in_place)
        kernel.place({tile_sums, width, int(rows), first, count, layout.pitch, block_w, y + top * p.y_row, p.y_plane,
                      p.y_row, p.y_column});
    }
}

template <class T>
Blocking choose_blocking(const Correlation& p) {
  const Kernels<T>& kernel = kernels<T>();
  Blocking b{};
  const std::int64_t vectors = ceil_div(p.out_h * p.out_w, kernel.lanes);
  b.vectors = int(std::min(tile_vectors<T>(p.k), vectors));
  b.panels = ceil_div(p.k, kernel.most_rows[b.vectors]);
  // Whole lines of the cache are then stored straight from the registers: 1.1 to 1.3 times faster with a few channels.
  const auto whole_lines = [&](std::int64_t values) { return values % kernel.lanes == 0; };
  b.by_rows = p.y_column == 1 && whole_lines(p.out_w) && whole_lines(p.y_row) && whole_lines(p.y_plane);
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
  const std::int64_t most_bytes = p.taps.size() == 1 && bytes() > kBandBytes ? kOneTapBandBytes : kBandBytes;
  while (bytes() > most_bytes && halve()) {
  }
  const auto blocks = [&] { return p.images * p.groups * ceil_div(p.out_h, b.block_h) * ceil_div(p.out_w, b.block_w); };
  while (blocks() < 8 && b.block_h * b.block_w >= 12 * tile && halve()) {
  }
  return b;
}

template <class T>
void pack_weights(const Correlation& p, const Blocking& blocking, const Weights<T>& weights, T* packed) {
  parallel_for(p.groups * blocking.panels, double(p.groups * p.k * p.reduction()), [&](std::int64_t unit) {
    const std::int64_t group = unit / blocking.panels, panel = unit % blocking.panels;
    const std::int64_t begin = blocking.panel_begin(panel, p.k), end = blocking.panel_begin(panel + 1, p.k);
    pack_terms(p, weights, weights.data + group * weights.group_stride + begin * weights.k_stride, p.c, end - begin,
               end - begin, TermOrder::channels_outermost, packed + (group * p.k + begin) * p.reduction());
  });
}

// The blocks of all images and groups, and the room they take.
template <class T>
struct Cut {
  std::int64_t blocks_h, blocks_w, blocks;
  std::int64_t runs;  // of a block's panels: too few blocks are shared out by them
  BandLayout layout;
  std::int64_t band_size;
  std::vector<std::int64_t> term_offset;

  Cut(const Correlation& p, const Blocking& blocking)
      : blocks_h(ceil_div(p.out_h, blocking.block_h)),
        blocks_w(ceil_div(p.out_w, blocking.block_w)),
        blocks(blocks_h * blocks_w * p.images * p.groups),
        layout(p, blocking.block_h, blocking.block_w, blocks_w == 1),
        band_size(layout.template size<T>(p.c)) {
    const std::int64_t taps = std::int64_t(p.taps.size());
    for (std::int64_t c = 0; c < std::min(p.c, channels_in_registers(p)); ++c)
      for (std::int64_t t = 0; t < taps; ++t) term_offset.push_back(c * layout.channel_stride + layout.tap_offset[t]);
    const int threads = threads_for(blocks * blocking.panels, p.macs());
    runs = threads == 1
               ? 1
               : std::clamp<std::int64_t>(ceil_div(4 * threads, std::max<std::int64_t>(blocks, 1)), 1, blocking.panels);
  }

  std::int64_t sums_size() const { return kMostRows * kMostVectors * kernels<T>().lanes; }
  std::int64_t workspace_size() const { return sums_size() + band_size; }  // of a thread
};

template <class T>
void correlate(const Correlation& p, const Blocking& blocking, const T* x, const T* packed, const T* bias, bool relu,
               T* y) {
  const Cut<T> cut(p, blocking);
  const std::uint64_t call = new_call();
  parallel_for(cut.blocks * cut.runs, p.macs(), [&](std::int64_t unit) {
    const std::int64_t run = unit % cut.runs, block = unit / cut.runs;
    const std::int64_t row0 = block / cut.blocks_w % cut.blocks_h * blocking.block_h;
    const std::int64_t column0 = block % cut.blocks_w * blocking.block_w;
    const std::int64_t plane = block / (cut.blocks_w * cut.blocks_h);  // of images and groups
    const std::int64_t group = plane % p.groups, image = plane / p.groups;
    const std::int64_t block_h = std::min(blocking.block_h, p.out_h - row0);
    const std::int64_t block_w = std::min(blocking.block_w, p.out_w - column0);
    T* const tile_sums = thread_workspace<T>(std::size_t(cut.workspace_size()));
    T* const band = tile_sums + cut.sums_size();
    if (!workspace_holds(call, block))
      fill_band(p, cut.layout, x + image * p.x_image + group * p.c * p.x_plane, row0, column0, band);
    T* const to = y + image * p.y_image + row0 * p.y_row + column0 * p.y_column;
    for (std::int64_t panel = blocking.panels * run / cut.runs; panel < blocking.panels * (run + 1) / cut.runs;
         ++panel) {
      const std::int64_t begin = blocking.panel_begin(panel, p.k), rows = blocking.panel_begin(panel + 1, p.k) - begin;
      const std::int64_t k = group * p.k + begin;
      run_panel(p, blocking, cut.layout, cut.term_offset, band, packed + k * p.reduction(), rows,
                bias ? bias + k : nullptr, relu, block_h, block_w, tile_sums, to + k * p.y_plane);
    }
  });
}

template <class T>
class Direct final : public PackedCorrelation<T> {
 public:
  Direct(const Correlation& problem, const Weights<T>& weights)
      : problem_(problem), blocking_(choose_blocking<T>(problem)), packed_(weights.data ? packed_size(problem) : 0) {
    if (weights.data) pack_weights(problem_, blocking_, weights, packed_.data());
  }
  void run(const T* x, const T* bias, bool relu, T* y) const override {
    correlate(problem_, blocking_, x, packed_.data(), bias, relu, y);
  }
  Explanation explain() const override {
    const Cut<T> cut(problem_, blocking_);
    const std::int64_t workspace = threads_for(cut.blocks * cut.runs, problem_.macs()) * cut.workspace_size();
    return {"direct", ceil_div(problem_.k, blocking_.panels), blocking_.vectors * kernels<T>().lanes,
            std::int64_t(packed_size(problem_) * sizeof(T)), workspace * std::int64_t(sizeof(T))};
  }

 private:
  static std::size_t packed_size(const Correlation& p) { return std::size_t(p.groups * p.k * p.reduction()); }

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
