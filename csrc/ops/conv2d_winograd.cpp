// Winograd's F(4x4, 3x3), float32 only: see kernels/winograd.h for the arithmetic. For a block of tiles the input is
// transformed to v[point][channel][tile]; each point's product with the transformed weights is a matrix product whose
// rows are tiles and whose columns, a chunk at a time, are output channels; the chunk's products are then transformed
// back. Any number of tiles fills the registers that way, so small maps lose nothing; the smallest share registers with
// the weights' transform.
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
// An image of few tiles needs each weight so seldom that reading 36 points takes longer than making them of nine
// weights. Measured by plan: 1.9 times faster for 4 tiles (7x7; a batch of eight 0.8), 1.2 for 6, 0.95 for 9; a single
// call, which packs them first, gains 1.4 to 3 (the batch 1.2).
constexpr std::int64_t kFewTilesAnImage = 9;
constexpr std::int64_t kRowChannels = 64;   // at once: their nine weights stay in the first-level cache
constexpr std::int64_t kPackedAtOnce = 16;  // channels
constexpr double kSerialWork = 1.5e6;       // multiply-adds below which sharing the work costs more than it saves
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

// Whether the weights are transformed in registers each time they are used.
bool in_registers(const Correlation& p) {
  return kernels<float>().winograd_row[0][1] && tiles_an_image(p) <= kFewTilesAnImage;
}

// The vectors of output channels in a chunk: whichever fill more registers with the sums of an image's tiles.
std::int64_t choose_chunk_vectors(const Correlation& p) {
  const Kernels<float>& kernel = kernels<float>();
  if (in_registers(p)) return 1;
  if (p.channels_last || kernel.most_product_rows[3] == 0) return 2;
  const auto sums = [&](std::int64_t vectors) {
    return vectors * panel_height(tiles_an_image(p), kernel.most_product_rows[vectors]);
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
        in_registers_(in_registers(problem)),
        most_chunk_vectors_(choose_chunk_vectors(problem)),
        chunks_(ceil_div(vectors_, most_chunk_vectors_)),
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
      float* const v = thread_workspace<float>(std::size_t(v_size + m_size));
      const std::vector<WinogradRun> runs =
          winograd_runs(problem_, grid_[0], blocking.tiles, blocking.begin(block), blocking.begin(block + 1));
      if (!workspace_holds(number, unit / blocking.chunk_runs)) {
        if (in_registers_)
          transform_parts(call, group, blocking.begin(block), tiles_of(runs), v);
        else
          transform_input(call, group, runs, v);
      }
      for (std::int64_t chunk = chunks_ * run / blocking.chunk_runs; chunk < chunks_ * (run + 1) / blocking.chunk_runs;
           ++chunk)
        multiply_chunk(call, group, runs, chunk, v, v + v_size);
    });
  }

  Explanation explain() const override {
    const double work = this->work();
    const Blocking blocking = choose_blocking(problem_, chunks_, work == 0 ? 1 : num_threads());
    const std::int64_t v = v_size(blocking), m = m_size(blocking), tiles = blocking.most_tiles();
    const std::int64_t vectors = ceil_div(vectors_, chunks_);
    const std::int64_t workspace = threads_for(problem_.groups * blocking.blocks * blocking.chunk_runs, work) * (v + m);
    return {"winograd", panel_height(tiles, in_registers_ ? kMostRowTiles : most_rows(vectors)), vectors * lanes_,
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
    if (in_registers_) return v_tile() * kMostRowTiles + lanes_;
    return (problem_.channels_last ? v_tile() : problem_.c) * b.most_tiles() + lanes_;
  }
  std::int64_t m_point(const Blocking& b) const { return (b.most_tiles() * most_chunk_vectors_ + 1) * lanes_; }
  std::int64_t v_size(const Blocking& b) const {
    const std::int64_t parts = in_registers_ ? parts_of(b.most_tiles()) + problem_.channels_last : 1;
    return parts * v_point(b) * kWinogradPoints + lanes_;
  }
  std::int64_t m_size(const Blocking& b) const { return m_point(b) * kWinogradPoints; }
  // Channels last: from tile to tile, an odd number of vectors for the cache's sets
  std::int64_t v_tile() const { return (ceil_div(problem_.c, lanes_) | 1) * lanes_; }
  std::size_t packed_size() const { return std::size_t(problem_.groups * weights_begin(chunks_)); }
  static std::int64_t tiles_of(const std::vector<WinogradRun>& runs) { return runs.back().tile + runs.back().tiles; }
  // In registers, a block's tiles are transformed and multiplied in parts that leave room for the weights' transform.
  static std::int64_t parts_of(std::int64_t tiles) { return ceil_div(tiles, std::int64_t{kMostRowTiles}); }

  struct Call {
    const float* x;
    const float* bias;
    bool relu;
    float* y;
    Blocking blocking;
    std::int64_t v_point, m_point;
  };

  std::int64_t chunk_begin(std::int64_t chunk) const { return vectors_ * chunk / chunks_; }
  // A chunk's weights: u[point][channel][output channel], a vector more from point to point for the cache's sets; or,
  // to be transformed in registers, [channel][nine weights][output channel].
  std::int64_t u_plane(std::int64_t vectors) const {
    return in_registers_ ? lanes_ : (problem_.c * vectors + 1) * lanes_;
  }
  std::int64_t u_channel(std::int64_t vectors) const { return (in_registers_ ? 9 : vectors) * lanes_; }
  std::int64_t weights_begin(std::int64_t chunk) const {
    return in_registers_ ? 9 * lanes_ * problem_.c * chunk
                         : kWinogradPoints * lanes_ * (problem_.c * chunk_begin(chunk) + chunk);
  }

  void pack_weights(const Weights<float>& weights) {
    const std::int64_t steps = ceil_div(problem_.c, kPackedAtOnce);
    const bool by_step = weights.k_stride == 1;  // shared out as they follow in memory
    const std::int64_t outer = by_step ? steps : chunks_, inner = by_step ? chunks_ : steps;
    const double work = double(problem_.groups * problem_.k * problem_.c * 100);
    parallel_for(problem_.groups * outer, work, [&](std::int64_t unit) {
      const std::int64_t group = unit / outer, at = unit % outer;
      if (by_step) fetch_step(weights, group, at * kPackedAtOnce);
      for (std::int64_t i = 0; i < inner; ++i)
        pack_channels(weights, group, by_step ? i : at, (by_step ? at : i) * kPackedAtOnce);
    });
  }

  // What a step reads of weights whose output channels follow one another, in their order: a chunk takes a line or two
  // of each row.
  void fetch_step(const Weights<float>& weights, std::int64_t group, std::int64_t c) const {
    for (const Tap& tap : grid_)
      for (std::int64_t i = c; i < std::min(c + kPackedAtOnce, problem_.c); ++i)
        fetch(weights.data + group * weights.group_stride + i * weights.c_stride + tap.source, problem_.k);
  }

  // A chunk's weights of kPackedAtOnce channels, or as many as there are from c on
  void pack_channels(const Weights<float>& weights, std::int64_t group, std::int64_t chunk, std::int64_t c) const {
    constexpr std::int64_t in_order[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    std::int64_t source[9];
    for (std::size_t i = 0; i < 9; ++i) source[i] = grid_[i].source;
    const Kernels<float>& kernel = kernels<float>();
    const std::int64_t begin = chunk_begin(chunk), vectors = chunk_begin(chunk + 1) - begin;
    const std::int64_t channels = std::min(kPackedAtOnce, problem_.c - c), turned = 9 * lanes_;
    // Nine weights of each channel, output channels in lanes; zero past the last one
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
    kernel.winograd_weights(
        {all, channels, vectors, problem_.channels_last ? in_order : source, in_registers_,
         packed_.data() + group * weights_begin(chunks_) + weights_begin(chunk) + c * u_channel(vectors),
         u_plane(vectors), u_channel(vectors)});
  }

  void transform_input(const Call& call, std::int64_t group, const std::vector<WinogradRun>& runs, float* v) const {
    const Kernels<float>& kernel = kernels<float>();
    const Correlation& p = problem_;
    const float* const x = call.x + group * p.c * p.x_plane;
    if (p.channels_last)
      kernel.winograd_input_last(
          {x, p.c, p.x_plane, p.x_row, p.x_column, runs.data(), std::int64_t(runs.size()), v, call.v_point, v_tile()});
    else
      kernel.winograd_input(
          {x, p.c, p.x_plane, p.x_row, runs.data(), std::int64_t(runs.size()), v, call.v_point, tiles_of(runs)});
  }

  // Part by part as v[point][channel][tile], whatever the layout
  void transform_parts(const Call& call, std::int64_t group, std::int64_t begin, std::int64_t tiles, float* v) const {
    const std::int64_t parts = parts_of(tiles), size = kWinogradPoints * call.v_point;
    for (std::int64_t part = 0; part < parts; ++part, v += size) {
      const std::vector<WinogradRun> runs = winograd_runs(
          problem_, grid_[0], call.blocking.tiles, begin + tiles * part / parts, begin + tiles * (part + 1) / parts);
      if (!problem_.channels_last) {
        transform_input(call, group, runs, v);
        continue;
      }
      float* const last = v + (parts - part) * size;  // [point][tile][channel]
      transform_input(call, group, runs, last);
      for (std::int64_t point = 0; point < kWinogradPoints; ++point)
        kernels<float>().transpose(last + point * call.v_point, v_tile(), tiles_of(runs), problem_.c,
                                   v + point * call.v_point, tiles_of(runs));
    }
  }

  void multiply(const Call& call, std::int64_t tiles, std::int64_t vectors, const float* u, const float* v,
                float* m) const {
    const Kernels<float>& kernel = kernels<float>();
    const Correlation& p = problem_;
    const std::int64_t panels = ceil_div(tiles, most_rows(vectors)), width = vectors * lanes_, no_offset = 0;
    for (std::int64_t point = 0; point < kWinogradPoints; ++point, u += lanes_)
      for (std::int64_t c = 0; c < p.c; c += kTermsInRegisters) {
        const std::int64_t channels = std::min(kTermsInRegisters, p.c - c);
        for (std::int64_t panel = 0; panel < panels; ++panel) {
          const std::int64_t first = tiles * panel / panels, rows = tiles * (panel + 1) / panels - first;
          float* const sums = m + point * call.m_point + first * width;
          const float* const ahead = u + channels * width * (panels + panel) / panels;
          const float* const from = v + point * call.v_point;
          if (p.channels_last)
            kernel.rows_product[rows][vectors]({from + first * v_tile() + c, v_tile(), &no_offset, 1, channels, u, sums,
                                                c > 0, nullptr, false, ahead, width / panels});
          else
            kernel.product[rows][vectors](
                {from + c * tiles + first, tiles, u, channels, sums, c > 0, nullptr, false, ahead, width / panels});
        }
        u += channels * width;
      }
  }

  void multiply_parts(const Call& call, std::int64_t tiles, const float* weights, const float* v, float* m) const {
    const Kernels<float>& kernel = kernels<float>();
    const std::int64_t parts = parts_of(tiles);
    for (std::int64_t c = 0; c < problem_.c; c += kRowChannels) {
      const std::int64_t channels = std::min(kRowChannels, problem_.c - c);
      const float* const next = weights + 9 * lanes_ * channels;
      for (std::int64_t part = 0; part < parts; ++part) {
        const std::int64_t first = tiles * part / parts, count = tiles * (part + 1) / parts - first;
        const float* from = v + part * kWinogradPoints * call.v_point + c * count;
        float* sums = m + first * lanes_;
        for (std::int64_t row = 0; row < 6; ++row, from += 6 * call.v_point, sums += 6 * call.m_point)
          kernel.winograd_row[row][count]({weights, from, call.v_point, channels, sums, call.m_point, c > 0,
                                           part == 0 ? next + row * channels * lanes_ * 3 / 2 : weights});
      }
      weights = next;
    }
  }

  void multiply_chunk(const Call& call, std::int64_t group, const std::vector<WinogradRun>& runs, std::int64_t chunk,
                      const float* v, float* m) const {
    const Kernels<float>& kernel = kernels<float>();
    const Correlation& p = problem_;
    const std::int64_t begin = chunk_begin(chunk), vectors = chunk_begin(chunk + 1) - begin, width = vectors * lanes_;
    const float* const u = packed_.data() + group * weights_begin(chunks_) + weights_begin(chunk);
    if (in_registers_)
      multiply_parts(call, tiles_of(runs), u, v, m);
    else
      multiply(call, tiles_of(runs), vectors, u, v, m);
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
  bool in_registers_;
  std::int64_t most_chunk_vectors_, chunks_;
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
// 1.35 for 64->64, 1.6 for 128->128, and more in batches; at 7x7 1.0 to 1.2 for 64->64, 1.5 for 128->128 and 1.6 for
// 192->192 with the weights transformed in registers, else 0.9 to 1.2 up to 128->128. Below 32 output channels the
// input's transformation is shared by too few.
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
         (tiles.rows * tiles.columns >= 9 || p.c * p.k >= (in_registers(p) ? 64 * 64 : 128 * 128));
}

std::unique_ptr<PackedCorrelation<float>> pack_winograd(const Correlation& problem, const Weights<float>& weights) {
  return std::make_unique<Winograd>(problem, weights);
}

}  // namespace convnet
