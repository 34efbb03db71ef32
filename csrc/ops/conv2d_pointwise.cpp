// The GEMM algorithm for a single tap, a 1x1 kernel: a tile's columns are output positions, its rows output channels.
// The positions of a few tiles, which run on over the ends of rows, are packed tile by tile, the input channels
// outermost, and multiplied with one panel of output channels after the other. Every tile but an image's last is full
// and aligned, and is read as it follows in memory. All tiles together fetch the block that comes next. Where the image
// has no gaps, the first panel's tiles read it where it lies and pack what they read for the other panels: so neither
// the memory nor the packing takes time of its own (measured: 1.05 to 1.3 times faster). A few output channels would
// hardly repay even that: their tiles read the image where it lies, a few input channels at a time.
#include <algorithm>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "band.h"
#include "correlation.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kVectors = kStreamedVectors;  // of positions, in a tile
constexpr std::int64_t kChannelsInRegisters = 512;   // summed before they meet the earlier ones
constexpr std::int64_t kTilesBytes = 320 << 10;      // of the second-level cache, for the tiles packed at once
constexpr std::int64_t kLyingChannels = 32;          // where the image lies: whose lines the processor fetches ahead
constexpr std::int64_t kLyingPositions = 1024;       // whose sums stay in the cache meanwhile
constexpr std::int64_t kMostLyingRows = 28;          // output channels that read it; more than a panel of them,
constexpr std::int64_t kMostLyingBytes = 2 << 20;    // if it is no larger: measured 1.1 to 1.6 times faster, else 0.9

// Each position is read by its own output, and they follow one another.
bool lies_dense(const Correlation& p) { return reads_every_position(p) && p.x_row == p.in_w; }

// From the first channel on, and each position for its output, as it lies; y does too.
template <class T>
bool pointwise_lies(const Correlation& p) {
  const std::int64_t panel = kernels<T>().most_rows[kVectors];
  const std::int64_t image = p.c * p.in_h * p.in_w * std::int64_t(sizeof(T));
  return (p.k <= panel || (p.k <= kMostLyingRows && image <= kMostLyingBytes)) && lies_dense(p) && p.y_column == 1 &&
         p.y_row == p.out_w;
}

template <class T>
class Pointwise final : public PackedCorrelation<T> {
 public:
  Pointwise(const Correlation& problem, const Weights<T>& weights)
      : problem_(problem),
        lies_(pointwise_lies<T>(problem)),
        vectors_(lies_ ? tile_vectors<T>(problem.k) : kVectors),
        width_(vectors_ * kernels<T>().lanes),
        panels_(ceil_div(problem.k, kernels<T>().most_rows[vectors_])),
        fetches_(!lies_ && kernels<T>().streamed_tile[problem.k / panels_]),
        streams_(fetches_ && lies_dense(problem)),
        tiles_(ceil_div(positions(), width_)),
        step_(std::min(problem.c, kChannelsInRegisters)),
        tiles_at_once_(std::clamp<std::int64_t>(kTilesBytes / (step_ * width_ * std::int64_t(sizeof(T))), 1,
                                                kMostPositions / width_)),
        packed_(weights.data ? packed_size() : 0) {
    for (std::int64_t c = 0; c < step_; ++c) {
      channel_offset_.push_back(c * width_);
      lying_offset_.push_back(c * problem.x_plane);
    }
    if (weights.data) pack_weights(weights);
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const Correlation& p = problem_;
    const Cut cut = this->cut();
    parallel_for(cut.units(p), p.macs(), [&](std::int64_t unit) {
      const std::int64_t run = unit % cut.runs, index = unit / cut.runs;
      Block block = this->block(cut, index, x);
      const bool goes_on = cut.runs == 1 && unit + 1 < cut.units(p);
      const Block next = goes_on ? this->block(cut, index + 1, x) : Block{};
      Panels own{block.group, panels_ * run / cut.runs, panels_ * (run + 1) / cut.runs,
                 bias ? bias + block.group * p.k : nullptr, relu};
      T* const to = y + block.image * p.y_image + block.group * p.k * p.y_plane;
      if (lies_) {
        const std::int64_t whole = block.first + (block.end - block.first) / width_ * width_;
        for (; block.first < whole; block.first += kLyingPositions)
          multiply_lying(own, block.x, block.first, std::min(kLyingPositions, whole - block.first), to);
        block.first = whole;
      }
      if (block.first < block.end) multiply(own, block, next, to);
    });
  }

  Explanation explain() const override {
    const std::int64_t threads = threads_for(cut().units(problem_), problem_.macs());
    return {"gemm", ceil_div(problem_.k, panels_), width_, std::int64_t(packed_size() * sizeof(T)),
            threads * workspace_size() * std::int64_t(sizeof(T))};
  }

 private:
  std::int64_t panel_begin(std::int64_t panel) const { return problem_.k * panel / panels_; }
  std::int64_t positions() const { return problem_.out_h * problem_.out_w; }
  std::size_t packed_size() const { return std::size_t(problem_.groups * problem_.k * problem_.c); }
  // Packed tiles, and the sums of a tile that is not stored where it belongs, or of all such until the last step
  std::int64_t workspace_size() const {
    return step_ * tiles_at_once_ * width_ + (one_step() ? kMostRows : problem_.k * tiles_at_once_) * width_;
  }
  bool one_step() const { return problem_.c <= step_; }

  // An image's tiles are cut into blocks; too few of them are shared out by their panels, too.
  struct Cut {
    std::int64_t blocks, runs;
    std::int64_t units(const Correlation& p) const { return p.images * p.groups * blocks * runs; }
  };
  Cut cut() const {
    const Correlation& p = problem_;
    Cut cut{ceil_div(tiles_, tiles_at_once_), 1};
    if (p.images * p.groups < 8) cut.blocks = std::min(tiles_, ceil_div(cut.blocks, 8) * 8);  // as many for each thread
    const int threads = threads_for(cut.units(p) * panels_, p.macs());
    if (threads > 1) cut.runs = std::clamp<std::int64_t>(ceil_div(4 * threads, cut.units(p)), 1, panels_);
    return cut;
  }

  // Positions [first, end) of one image's group, x.
  struct Block {
    std::int64_t image, group, first, end;
    const T* x;
  };
  Block block(const Cut& cut, std::int64_t index, const T* x) const {
    const Correlation& p = problem_;
    const std::int64_t at = index % cut.blocks, plane = index / cut.blocks, group = plane % p.groups,
                       image = plane / p.groups;
    return {image, group, tiles_ * at / cut.blocks * width_,
            std::min(tiles_ * (at + 1) / cut.blocks * width_, positions()),
            x + image * p.x_image + group * p.c * p.x_plane};
  }

  // [panel][input channel][output channel]
  void pack_weights(const Weights<T>& weights) {
    const Correlation& p = problem_;
    parallel_for(p.groups * panels_, double(packed_size()), [&](std::int64_t unit) {
      const std::int64_t group = unit / panels_, begin = panel_begin(unit % panels_);
      const std::int64_t rows = panel_begin(unit % panels_ + 1) - begin;
      pack_terms(p, weights, weights.data + group * weights.group_stride + begin * weights.k_stride, p.c, rows, rows,
                 TermOrder::channels_outermost, packed_.data() + (group * p.k + begin) * p.c);
    });
  }

  struct Panels {
    std::int64_t group, begin, end;
    const T* bias;  // of the group
    bool relu;
  };

  // Calls body(k, rows) for each panel of output channels, for which the tile then adds the products with input
  // channels from c on.
  template <class Body>
  void for_panels(const Panels& own, std::int64_t c, bool last, Tile<T>& tile, Body&& body) const {
    tile.add = c > 0;
    tile.relu = own.relu && last;
    for (std::int64_t panel = own.begin; panel < own.end; ++panel) {
      const std::int64_t k = panel_begin(panel), rows = panel_begin(panel + 1) - k;
      tile.a = packed_.data() + (own.group * problem_.k + k) * problem_.c + c * rows;
      tile.bias = own.bias && last ? own.bias + k : nullptr;
      body(k, rows);
    }
  }

  // Whole tiles of positions [first, first + count) of one image's group, x and y.
  void multiply_lying(const Panels& own, const T* x, std::int64_t first, std::int64_t count, T* y) const {
    const Correlation& p = problem_;
    Tile<T> tile{};
    tile.channels = 1;
    tile.tap_offset = lying_offset_.data();
    tile.c_stride = p.y_plane;
    for (std::int64_t c = 0; c < p.c; c += kLyingChannels) {
      const bool last = c + kLyingChannels >= p.c;
      tile.taps = std::min(kLyingChannels, p.c - c);
      for_panels(own, c, last, tile, [&](std::int64_t k, std::int64_t rows) {
        for (std::int64_t at = first; at < first + count; at += width_) {
          tile.b = x + c * p.x_plane + at;
          tile.c = y + k * p.y_plane + at;
          kernels<T>().tile[rows][vectors_](tile);
        }
      });
    }
  }

  // What the tiles fetch ahead for those after them: so many rows of each of some input channels.
  struct Soon {
    const T* x;
    std::int64_t channels, rows, pitch, columns;
  };
  // Of a block, empty or not, from channel c on
  Soon soon(const Block& block, std::int64_t c) const {
    const Correlation& p = problem_;
    if (!fetches_ || block.first == block.end) return {};
    const std::int64_t channels = std::min(step_, p.c - c);
    const PanelPacking<T> reads = packing_as_it_lies(p, block.x + c * p.x_plane);
    if (streams_) return {reads.x + block.first, channels, 1, 0, block.end - block.first};
    const std::int64_t first_row = block.first / p.out_w, last_row = (block.end - 1) / p.out_w;
    return {reads.x + first_row * reads.pitch, channels, last_row - first_row + 1, reads.pitch,
            (p.out_w - 1) * reads.step + 1};
  }
  // Where the lines of so many of its channels stand, spread over the terms of a tile.
  void spread_lines(const Soon& soon, std::int64_t channels, std::int64_t terms, std::int64_t* offset) const {
    constexpr std::int64_t line = 64 / std::int64_t(sizeof(T));
    const std::int64_t lines = channels * soon.rows * ceil_div(soon.columns, line);
    std::int64_t channel = 0, row = 0, at = 0, due = 0;
    for (std::int64_t term = 0; term < terms; ++term) {
      offset[term] = channel * problem_.x_plane + row * soon.pitch + at;
      for (due += lines; due >= terms; due -= terms) {
        at += line;
        if (at < soon.columns) continue;
        at = 0;
        if (++row == soon.rows) row = 0, ++channel;
      }
    }
  }

  // `next` is the block that this thread takes afterwards, or empty.
  void multiply(const Panels& own, const Block& block, const Block& next, T* y) const {
    const Kernels<T>& kernel = kernels<T>();
    const Correlation& p = problem_;
    const std::int64_t first = block.first, count = block.end - first, whole = count / width_ * width_;
    T* const columns = thread_workspace<T>(std::size_t(workspace_size()));
    T* const sums = columns + step_ * tiles_at_once_ * width_;
    const std::int64_t k0 = panel_begin(own.begin), k1 = panel_begin(own.end);
    const bool dense = p.y_column == 1 && p.y_row == p.out_w;
    const auto in_place = [&](std::int64_t in_tile) { return dense && in_tile % kernel.lanes == 0; };
    const auto sums_of = [&](std::int64_t at, std::int64_t k) {
      return one_step() ? sums : sums + at * (k1 - k0) + (k - k0) * width_;
    };
    PanelPacking<T> packing = packing_as_it_lies(p, block.x);
    packing.first = streams_ ? first + whole : first;
    packing.count = streams_ ? count - whole : count;
    packing.width = width_;
    const T* const from = packing.x;
    const std::int64_t tiles = (own.end - own.begin) * ceil_div(count, width_);
    for (std::int64_t c = 0; c < p.c; c += step_) {
      const std::int64_t channels = std::min(step_, p.c - c);
      const bool last = c + channels == p.c;
      packing.x = from + c * p.x_plane;
      packing.channels = channels;
      packing.packed = columns + (streams_ ? whole * channels : 0);
      if (whole < count) std::fill_n(columns + whole * channels, channels * width_, T(0));
      kernel.pack_panels(packing);
      StreamedTile<T> tile{};
      tile.channels = 1;
      tile.taps = channels;
      const Soon soon = last ? this->soon(next, 0) : this->soon(block, c + step_);
      std::int64_t soon_offset[kChannelsInRegisters];
      if (soon.channels > 0) spread_lines(soon, ceil_div(soon.channels, tiles), channels, soon_offset);
      std::int64_t done = 0, fetched = 0;  // tiles; channels by them
      for_panels(own, c, last, tile, [&](std::int64_t k, std::int64_t rows) {
        for (std::int64_t at = 0; at < count; at += width_) {
          const std::int64_t in_tile = std::min(width_, count - at);
          const bool lies = streams_ && k == k0 && in_tile == width_;
          tile.b = lies ? packing.x + first + at : columns + at * channels;
          tile.tap_offset = (lies ? lying_offset_ : channel_offset_).data();
          tile.c = in_place(in_tile) ? y + k * p.y_plane + first + at : sums_of(at, k);
          tile.c_stride = in_place(in_tile) ? p.y_plane : width_;
          const std::int64_t channel = fetched;
          fetched = soon.channels * ++done / tiles;
          const bool fetches = in_tile == width_ && fetched > channel;
          if (lies || fetches) {
            tile.copy = lies && k1 > k0 + rows ? columns + at * channels : nullptr;
            tile.soon = fetches ? soon.x + channel * p.x_plane : tile.b;
            tile.soon_offset = fetches ? soon_offset : tile.tap_offset;
            kernel.streamed_tile[rows](tile);
          } else {
            kernel.tile[rows][ceil_div(in_tile, kernel.lanes)](tile);
          }
          if (last && !in_place(in_tile))
            kernel.place({tile.c, width_, int(rows), first + at, in_tile, p.out_w, p.out_w, y + k * p.y_plane,
                          p.y_plane, p.y_row, p.y_column});
        }
      });
    }
  }

  Correlation problem_;
  bool lies_;                                 // whole tiles read x as it lies
  std::int64_t vectors_;                      // of positions, in a tile
  std::int64_t width_;                        // of a tile, in positions
  std::int64_t panels_;                       // of output channels
  bool fetches_;                              // whole tiles fetch what those after them read
  bool streams_;                              // those of the first panel read x as it lies, and pack it for the others
  std::int64_t tiles_;                        // of an image
  std::int64_t step_;                         // input channels whose products are summed in registers
  std::int64_t tiles_at_once_;                // packed
  std::vector<std::int64_t> channel_offset_;  // in a packed tile
  std::vector<std::int64_t> lying_offset_;    // in the image
  Scratch<T> packed_;
};

}  // namespace

bool pointwise_serves(const Correlation& p) { return !p.channels_last && one_tap_inside(p); }

// Measured against direct: 1.05 to 1.2 times faster (AVX-512; 1.0 to 1.1 on AVX2) where the map fills its tiles, with a
// step, too, whose rows direct would copy first; 1.2 to 1.35 with 15 to 27 output channels, which fill more than a
// panel; 0.9 to 1.0 with a quarter of the positions. Where the image lies, 1.1 to 2 times from a single tile on.
template <class T>
bool pointwise_pays(const Correlation& p) {
  const std::int64_t width = kVectors * kernels<T>().lanes, positions = p.out_h * p.out_w;
  if (pointwise_lies<T>(p)) return positions >= width;
  return p.k >= 15 && (positions >= 12 * width || (positions % width == 0 && positions >= 8 * width));
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_pointwise(const Correlation& problem, const Weights<T>& weights) {
  return std::make_unique<Pointwise<T>>(problem, weights);
}

template bool pointwise_pays<float>(const Correlation&);
template bool pointwise_pays<double>(const Correlation&);
template std::unique_ptr<PackedCorrelation<float>> pack_pointwise(const Correlation&, const Weights<float>&);
template std::unique_ptr<PackedCorrelation<double>> pack_pointwise(const Correlation&, const Weights<double>&);

}  // namespace convnet
