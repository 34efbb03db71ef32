// Winograd's F(4x4, 3x3), float32 only: see kernels/winograd.h for the arithmetic. For a block of tiles the input is
// transformed to v[point][channel][tile]; each point's product with the transformed weights is a matrix product whose
// rows are tiles and whose columns, a chunk at a time, are output channels; the chunk's products are then transformed
// back. Any number of tiles fills the registers that way, so small maps lose nothing.
//
// Every output's arithmetic is the same wherever its tile lies in a block, so a batch's images may share blocks. A NaN
// or an infinity reaches all 16 outputs of a tile that reads it.
#include <algorithm>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "correlation.h"
#include "division.h"
#include "winograd_tiles.h"

namespace convnet {
namespace {

constexpr std::int64_t kInputBytes = 1 << 20;            // of the second-level cache, for a block's transformed input
constexpr std::int64_t kFewTiles = 24, kManyTiles = 56;  // a block's, where that allows them: it reads all weights
// An image of few tiles needs each weight so seldom that reading the 36 points of nine takes longer than making half of
// them. Measured: 1.5 times faster for 4 tiles (7x7), 1.1 for 6, 0.9 to 1.0 for 9, where packing for one call counts
// more: 1.2 to 1.9.
constexpr std::int64_t kRowsOnlyTiles = 9;
constexpr std::int64_t kRowsOnlyChannels = 32;  // at once: what is made of their weights stays in the first-level cache
constexpr std::int64_t kPackedAtOnce = 16;      // channels
constexpr double kSerialWork = 1.5e6;           // multiply-adds below which sharing the work costs more than it saves
constexpr std::int64_t kTermsInRegisters =
    128;  // channels summed before they meet the earlier ones: bounds the rounding error

// How the work is cut: blocks of tiles, counted through all images.
struct Blocking {
  WinogradTiles tiles;
  std::int64_t blocks;
  std::int64_t chunk_runs;  // of a block's chunks: too few blocks are shared out by them

  std::int64_t begin(std::int64_t block) const { return tiles.count * block / blocks; }
  std::int64_t most_tiles() const { return ceil_div(tiles.count, blocks); }
};

Blocking choose_blocking(const Correlation& p, std::int64_t chunks, int threads) {
  Blocking b{WinogradTiles(p), 0, 1};
  const std::int64_t fit = kInputBytes / (kWinogradPoints * p.c * std::int64_t(sizeof(float)));
  b.blocks = ceil_div(b.tiles.count, std::clamp(fit, kFewTiles, kManyTiles));
  // A multiple of the threads, so that none waits for the last block.
  if (b.blocks < 8 * threads) {
    const std::int64_t up = ceil_div(b.blocks, threads) * threads, down = up - threads;
    if (up * kFewTiles <= b.tiles.count)
      b.blocks = up;
    else if (down > 0)
      b.blocks = down;
  }
  b.chunk_runs = b.blocks * p.groups >= threads ? 1 : std::min<std::int64_t>(chunks, 2 * threads);
  return b;
}

std::int64_t tiles_an_image(const Correlation& p) {
  const WinogradTiles tiles(p);
  return tiles.rows * tiles.columns;
}

// The height of equal panels of so many tiles
std::int64_t panel_height(std::int64_t tiles, std::int64_t most) { return ceil_div(tiles, ceil_div(tiles, most)); }

// The vectors of output channels in a chunk: whichever fill more registers with the sums of an image's tiles.
std::int64_t choose_chunk_vectors(const Correlation& p) {
  const Kernels<float>& kernel = kernels<float>();
  const std::int64_t tiles = tiles_an_image(p);
  if (p.channels_last || tiles <= kRowsOnlyTiles || kernel.most_product_rows[3] == 0) return 2;
  const auto sums = [&](std::int64_t vectors) {
    return vectors * panel_height(tiles, kernel.most_product_rows[vectors]);
  };
  return sums(3) > sums(2) ? 3 : 2;
}

class Winograd final : public PackedCorrelation<float> {
 public:
  Winograd(const Correlation& problem, const Weights<float>& weights)
      : problem_(problem),
        grid_(winograd_grid(problem)),
        lanes_(kernels<float>().lanes),
        vectors_(ceil_div(problem.k, lanes_)),
        rows_only_(tiles_an_image(problem) <= kRowsOnlyTiles),
        most_chunk_vectors_(choose_chunk_vectors(problem)),
        chunks_(ceil_div(vectors_, most_chunk_vectors_)),
        planes_(rows_only_ ? kWinogradPoints / 2 : kWinogradPoints),
        block_(rows_only_ ? kRowsOnlyChannels : problem.c),
        packed_(weights.data ? packed_size() : 0) {
    if (weights.data) pack_weights(weights);
  }

  void run(const float* x, const float* bias, bool relu, float* y) const override {
    const double work = this->work();
    const Blocking blocking = choose_blocking(problem_, chunks_, work == 0 ? 1 : num_threads());
    const Call call{x, bias, relu, y, blocking, v_point(blocking), m_point(blocking)};
    const std::int64_t v_size = this->v_size(blocking), m_size = this->m_size(blocking);
    const std::uint64_t number = new_call();
    parallel_for(problem_.groups * blocking.blocks * blocking.chunk_runs, work, [&](std::int64_t unit) {
      const std::int64_t run = unit % blocking.chunk_runs, block = unit / blocking.chunk_runs % blocking.blocks,
                         group = unit / blocking.chunk_runs / blocking.blocks;
      float* const v = thread_workspace<float>(std::size_t(v_size + m_size + u_size()));
      const std::vector<WinogradRun> runs =
          winograd_runs(problem_, grid_[0], blocking.tiles, blocking.begin(block), blocking.begin(block + 1));
      if (!workspace_holds(number, unit / blocking.chunk_runs)) transform_input(call, group, runs, v);
      for (std::int64_t chunk = chunks_ * run / blocking.chunk_runs; chunk < chunks_ * (run + 1) / blocking.chunk_runs;
           ++chunk)
        multiply_chunk(call, group, runs, chunk, v, v + v_size, v + v_size + m_size);
    });
  }

  Explanation explain() const override {
    const double work = this->work();
    const Blocking blocking = choose_blocking(problem_, chunks_, work == 0 ? 1 : num_threads());
    const std::int64_t v = v_size(blocking), m = m_size(blocking), tiles = blocking.most_tiles();
    const std::int64_t vectors = ceil_div(vectors_, chunks_);
    const std::int64_t workspace =
        threads_for(problem_.groups * blocking.blocks * blocking.chunk_runs, work) * (v + m + u_size());
    return {"winograd", panel_height(tiles, most_rows(vectors)), vectors * lanes_,
            std::int64_t(packed_size() * sizeof(float)), workspace * std::int64_t(sizeof(float))};
  }

 private:
  // Multiply-adds, or 0 where they are too few to share.
  double work() const {
    const double macs =
        double(kWinogradPoints * problem_.groups * WinogradTiles(problem_).count) * double(problem_.c * problem_.k);
    return macs < kSerialWork ? 0 : macs;
  }

  std::int64_t most_rows(std::int64_t vectors) const {
    const Kernels<float>& kernel = kernels<float>();
    return problem_.channels_last ? std::min(kMostProductRows, kernel.most_rows[vectors])
                                  : kernel.most_product_rows[vectors];
  }
  // From point to point: a vector more than needed, or all 36 would fall into a few of the cache's sets.
  std::int64_t v_point(const Blocking& b) const {
    return (problem_.channels_last ? v_tile() : problem_.c) * b.most_tiles() + lanes_;
  }
  std::int64_t m_point(const Blocking& b) const { return (b.most_tiles() * most_chunk_vectors_ + 1) * lanes_; }
  std::int64_t v_size(const Blocking& b) const { return v_point(b) * kWinogradPoints + lanes_; }
  std::int64_t m_size(const Blocking& b) const { return m_point(b) * kWinogradPoints; }
  // Points 1 to 4 of a row of the weights' transform
  std::int64_t u_size() const { return rows_only_ ? 4 * plane_size(block_, most_chunk_vectors_) : 0; }
  // Channels last: from tile to tile, an odd number of vectors for the cache's sets
  std::int64_t v_tile() const { return (ceil_div(problem_.c, lanes_) | 1) * lanes_; }
  std::size_t packed_size() const { return std::size_t(problem_.groups * weights_begin(chunks_)); }

  struct Call {
    const float* x;
    const float* bias;
    bool relu;
    float* y;
    Blocking blocking;
    std::int64_t v_point, m_point;
  };

  std::int64_t chunk_begin(std::int64_t chunk) const { return vectors_ * chunk / chunks_; }
  // A chunk's weights: [block of channels][plane][channel][output channel], a vector more from plane to plane for the
  // cache's sets. The planes are the points, or rows of three.
  std::int64_t plane_size(std::int64_t channels, std::int64_t vectors) const {
    return (channels * vectors + 1) * lanes_;
  }
  std::int64_t weights_begin(std::int64_t chunk) const {
    return planes_ * lanes_ * (problem_.c * chunk_begin(chunk) + chunk * ceil_div(problem_.c, block_));
  }

  void pack_weights(const Weights<float>& weights) {
    const double work = double(problem_.groups * problem_.k * problem_.c * 100);
    parallel_for(problem_.groups * chunks_, work, [&](std::int64_t unit) {
      const std::int64_t group = unit / chunks_, chunk = unit % chunks_;
      const std::int64_t begin = chunk_begin(chunk), vectors = chunk_begin(chunk + 1) - begin;
      float* u = packed_.data() + group * weights_begin(chunks_) + weights_begin(chunk);
      for (std::int64_t first = 0; first < problem_.c; first += block_) {
        const std::int64_t end = std::min(first + block_, problem_.c), plane = plane_size(end - first, vectors);
        for (std::int64_t c = first; c < end; c += kPackedAtOnce)
          pack_channels(weights, group, begin, vectors, c, std::min(kPackedAtOnce, end - c),
                        u + (c - first) * vectors * lanes_, plane);
        u += planes_ * plane;
      }
    });
  }

  // The weights of some vectors of output channels and of up to kPackedAtOnce channels
  void pack_channels(const Weights<float>& weights, std::int64_t group, std::int64_t begin, std::int64_t vectors,
                     std::int64_t c, std::int64_t channels, float* u, std::int64_t plane) const {
    constexpr std::int64_t in_order[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    std::int64_t source[9];
    for (std::size_t i = 0; i < 9; ++i) source[i] = grid_[i].source;
    const Kernels<float>& kernel = kernels<float>();
    // Nine weights of each channel, output channels in lanes; zero past the last one
    const std::int64_t turned = 9 * lanes_;
    float* const all = thread_workspace<float>(std::size_t(vectors * channels * turned));
    for (std::int64_t v = 0; v < vectors; ++v) {
      const float* const from =
          weights.data + group * weights.group_stride + (begin + v) * lanes_ * weights.k_stride + c * weights.c_stride;
      float* const nine = all + v * channels * turned;
      const std::int64_t count = std::min(lanes_, problem_.k - (begin + v) * lanes_);
      if (count < lanes_) std::fill_n(nine, channels * turned, 0.0f);
      if (problem_.channels_last)
        for (std::int64_t i = 0; i < 9; ++i) {
          if (weights.k_stride == 1)
            kernel.copy_rows(from + source[i], weights.c_stride, channels, count, nine + i * lanes_, turned);
          else
            kernel.transpose(from + source[i], weights.k_stride, count, channels, nine + i * lanes_, turned);
        }
      else if (weights.c_stride == 9)
        kernel.transpose(from, weights.k_stride, count, channels * 9, nine, lanes_);
      else
        for (std::int64_t i = 0; i < channels; ++i)
          kernel.transpose(from + i * weights.c_stride, weights.k_stride, count, 9, nine + i * turned, lanes_);
    }
    kernel.winograd_weights({all, channels, vectors, problem_.channels_last ? in_order : source, rows_only_, u, plane});
  }

  void transform_input(const Call& call, std::int64_t group, const std::vector<WinogradRun>& runs, float* v) const {
    const Kernels<float>& kernel = kernels<float>();
    const Correlation& p = problem_;
    const std::int64_t tiles = runs.back().tile + runs.back().tiles;
    const float* const x = call.x + group * p.c * p.x_plane;
    if (p.channels_last)
      kernel.winograd_input_last(
          {x, p.c, p.x_plane, p.x_row, p.x_column, runs.data(), std::int64_t(runs.size()), v, call.v_point, v_tile()});
    else
      kernel.winograd_input(
          {x, p.c, p.x_plane, p.x_row, runs.data(), std::int64_t(runs.size()), v, call.v_point, tiles});
  }

  void multiply_chunk(const Call& call, std::int64_t group, const std::vector<WinogradRun>& runs, std::int64_t chunk,
                      const float* v, float* m, float* u) const {
    const Kernels<float>& kernel = kernels<float>();
    const Correlation& p = problem_;
    const std::int64_t tiles = runs.back().tile + runs.back().tiles;
    const std::int64_t begin = chunk_begin(chunk), vectors = chunk_begin(chunk + 1) - begin, width = vectors * lanes_;
    const std::int64_t panels = ceil_div(tiles, most_rows(vectors)), no_offset = 0;
    // One point's sums over some channels; meanwhile `fetched` values a channel are fetched from `ahead` on.
    const auto multiply = [&](std::int64_t point, std::int64_t c, std::int64_t channels, const float* weights,
                              const float* ahead, std::int64_t fetched) {
      const std::int64_t step = fetched / panels;
      for (std::int64_t panel = 0; panel < panels; ++panel, ahead += channels * step) {
        const std::int64_t first = tiles * panel / panels, rows = tiles * (panel + 1) / panels - first;
        float* const sums = m + point * call.m_point + first * width;
        const float* const from = v + point * call.v_point;
        if (p.channels_last)
          kernel.rows_product[rows][vectors]({from + first * v_tile() + c, v_tile(), &no_offset, 1, channels, weights,
                                              sums, c > 0, nullptr, false, ahead, step});
        else
          kernel.product[rows][vectors](
              {from + c * tiles + first, tiles, weights, channels, sums, c > 0, nullptr, false, ahead, step});
      }
    };
    const float* g = packed_.data() + group * weights_begin(chunks_) + weights_begin(chunk);
    if (rows_only_)
      for (std::int64_t c = 0; c < p.c; c += block_) {
        const std::int64_t channels = std::min(block_, p.c - c), plane = plane_size(channels, vectors);
        for (std::int64_t row = 0; row < 6; ++row, g += 3 * plane) {
          kernel.winograd_weight_columns({g, plane, channels * width, u});
          for (std::int64_t column = 0; column < 6; ++column)
            multiply(6 * row + column, c, channels,
                     column == 0   ? g
                     : column == 5 ? g + 2 * plane
                                   : u + (column - 1) * plane,
                     g + 3 * plane + column * plane / 2, width / 2);
        }
      }
    else
      for (std::int64_t point = 0; point < kWinogradPoints; ++point, g += lanes_)
        for (std::int64_t c = 0; c < p.c; c += kTermsInRegisters) {
          const std::int64_t channels = std::min(kTermsInRegisters, p.c - c);
          multiply(point, c, channels, g, g + channels * width, width);
          g += channels * width;
        }
    const std::int64_t k = group * p.k + begin * lanes_;
    const float* const bias = call.bias ? call.bias + k : nullptr;
    const std::int64_t channels = std::min(width, p.k - begin * lanes_);
    float* const y = call.y + k * p.y_plane;
    const std::int64_t run_count = std::int64_t(runs.size());
    if (p.channels_last)
      kernel.winograd_output_last(
          {m, call.m_point, width, runs.data(), run_count, bias, call.relu, channels, y, p.y_row, p.y_column});
    else
      kernel.winograd_output(
          {m, call.m_point, width, runs.data(), run_count, bias, call.relu, channels, y, p.y_plane, p.y_row});
  }

  Correlation problem_;
  std::vector<Tap> grid_;
  std::int64_t lanes_, vectors_;  // of output channels
  bool rows_only_;                // the weights are transformed along one axis, and along the other when they are used
  std::int64_t most_chunk_vectors_, chunks_;
  std::int64_t planes_, block_;  // of packed weights: a channel's values, and channels side by side
  Scratch<float> packed_;
};

}  // namespace

std::vector<Tap> winograd_grid(const Correlation& p) {
  if (p.taps.size() != 9) return {};
  const std::vector<Tap> grid = in_reading_order(p).taps;
  for (std::size_t i = 0; i < 9; ++i)
    if (grid[i].row != grid[0].row + std::int64_t(i / 3) || grid[i].column != grid[0].column + std::int64_t(i % 3))
      return {};
  return grid;
}

WinogradTiles::WinogradTiles(const Correlation& p)
    : rows(ceil_div(p.out_h, kWinogradOutputs)),
      columns(ceil_div(p.out_w, kWinogradOutputs)),
      count(p.images * rows * columns) {}

std::vector<WinogradRun> winograd_runs(const Correlation& p, const Tap& first_tap, const WinogradTiles& tiles,
                                       std::int64_t begin, std::int64_t end) {
  const std::int64_t lanes = kernels<float>().lanes;
  std::vector<WinogradRun> runs;
  for (std::int64_t at = begin; at < end;) {
    const std::int64_t i = at / tiles.columns % tiles.rows, image = at / tiles.columns / tiles.rows;
    const std::int64_t j = at % tiles.columns, left = std::min(tiles.columns - j, end - at);
    const std::int64_t count = ceil_div(left, ceil_div(left, lanes - 1));
    const std::int64_t row = first_tap.row + kWinogradOutputs * i, column = first_tap.column + kWinogradOutputs * j;
    WinogradRun run{};
    run.tile = at - begin;
    run.tiles = int(count);
    run.x = image * p.x_image + row * p.x_row + column * p.x_column;
    run.row_begin = int(std::clamp<std::int64_t>(-row, 0, 6));
    run.row_end = int(std::clamp<std::int64_t>(p.in_h - row, 0, 6));
    run.column_begin = int(std::clamp<std::int64_t>(-column, 0, 4 * lanes));
    run.column_end = int(std::clamp<std::int64_t>(p.in_w - column, 0, kWinogradOutputs * count + 2));
    run.y = image * p.y_image + kWinogradOutputs * i * p.y_row + kWinogradOutputs * j * p.y_column;
    run.rows = int(std::min(kWinogradOutputs, p.out_h - kWinogradOutputs * i));
    run.columns = int(std::min(kWinogradOutputs * count, p.out_w - kWinogradOutputs * j));
    runs.push_back(run);
    at += count;
  }
  return runs;
}

bool winograd_serves(const Correlation& p) {
  return p.step_h == 1 && p.step_w == 1 && (p.y_column == 1 || p.channels_last) && !winograd_grid(p).empty();
}

// Measured against direct with two threads, weights packed already: direct's time over this one's at 56x56 is 1.3 for
// 8 channels, 1.5 for 16->16, 2.0 for 16->32, 2.3 for 32->32, 3.0 for 128->128; at 14x14 and one image 1.05 for 32->32,
// 1.35 for 64->64, 1.6 for 128->128, and more in batches; at 7x7 and one image 0.9 for up to 64->64, 0.9 to 1.2 for
// more, and in batches 1.0 for 64->64, 1.4 for 128->128, 2.0 for 512->512. Below 32 output channels the input's
// transformation is shared by too few.
//
// Padding of two (the input gradient of an unpadded convolution) leaves corners that sum a single input a channel,
// whose error next to their small size is large: such shapes stay with direct.
bool winograd_pays(const Correlation& p) {
  const std::int64_t outputs = p.out_h * p.out_w;
  const WinogradTiles tiles(p);
  const std::int64_t computed = kWinogradOutputs * kWinogradOutputs * tiles.rows * tiles.columns;
  const Tap first = winograd_grid(p).front();
  const bool little_padding = first.row >= -1 && first.column >= -1 && p.out_h + first.row + 1 <= p.in_h &&
                              p.out_w + first.column + 1 <= p.in_w;
  return little_padding && p.c >= 16 && p.k >= 16 && 2 * outputs >= computed &&
         p.c * p.k * outputs >= (p.k < 32 ? 800'000 : 200'000) &&
         (tiles.rows * tiles.columns >= 9 || p.c * p.k >= 128 * 128);
}

std::unique_ptr<PackedCorrelation<float>> pack_winograd(const Correlation& problem, const Weights<float>& weights) {
  return std::make_unique<Winograd>(problem, weights);
}

}  // namespace convnet
