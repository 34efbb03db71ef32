// Winograd's F(4x4, 3x3), float32 only: see kernels/winograd.h for the arithmetic. For a block of tiles the input is
// transformed to v[point][term][tile]; each point's product with the transformed weights is a matrix product whose
// rows are tiles and whose columns, a chunk at a time, are output channels; the chunk's products are then transformed
// back. Any number of tiles fills the registers that way, so small maps lose nothing; the smallest share registers with
// the weights' transform.
//
// Larger kernels, of any step, are sums of 3x3 grids of taps: a term is a channel as one of the grids reads it, so that
// all grids share the products' sums and the transform back. Strided inputs pass a band, split by phase.
//
// Every output's arithmetic is the same wherever its tile lies in a block, so a batch's images may share blocks. A NaN
// or an infinity reaches all 16 outputs of a tile that reads it, a grid's positions without a tap included.
#include <algorithm>
#include <optional>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "band.h"
#include "correlation.h"
#include "division.h"
#include "winograd_tiles.h"

namespace convnet {
namespace {

// Of the second-level cache, for a block's transformed input, and what it may be at most
constexpr std::int64_t kInputBytes = 1 << 20, kMostInputBytes = 7 << 20;
constexpr std::int64_t kFewTiles = 24, kManyTiles = 56;  // a block's, where that allows them: it reads all weights
// An image of few tiles needs each weight so seldom that reading 36 points takes longer than making them of nine
// weights. Measured by plan: 1.9 times faster for 4 tiles (7x7; a batch of eight 0.8), 1.2 for 6, 0.95 for 9; a single
// call, which packs them first, gains 1.4 to 3 (the batch 1.2).
constexpr std::int64_t kFewTilesAnImage = 9;
constexpr std::int64_t kRowTerms = 64;      // at once: their nine weights stay in the first-level cache
constexpr std::int64_t kPackedAtOnce = 16;  // channels
// Summed before they meet the earlier ones: bounds the rounding error. Each is one of direct's nine terms or, where
// several grids overlap, of as few as five.
constexpr std::int64_t kTermsInRegisters = 128, kTermsOfGrids = 64;

// How the work is cut: blocks of tiles, counted through all images.
struct Blocking {
  WinogradTiles tiles;
  std::int64_t blocks;
  std::int64_t chunk_runs;  // of a block's chunks: too few blocks are shared out by them

  std::int64_t begin(std::int64_t block) const { return tiles.count * block / blocks; }
  std::int64_t most_tiles() const { return ceil_div(tiles.count, blocks); }
};

Blocking choose_blocking(const Correlation& p, std::int64_t terms, std::int64_t chunks, int threads) {
  Blocking b{WinogradTiles(p), 0, 1};
  const std::int64_t tile_bytes = kWinogradPoints * terms * std::int64_t(sizeof(float));
  const std::int64_t few = std::clamp<std::int64_t>(kMostInputBytes / tile_bytes, 1, kFewTiles);
  b.blocks = ceil_div(b.tiles.count, std::clamp(kInputBytes / tile_bytes, few, kManyTiles));
  // A multiple of the threads, so that none waits for the last block.
  if (b.blocks < 8 * threads) {
    const std::int64_t up = ceil_div(b.blocks, threads) * threads, down = up - threads;
    if (up * few <= b.tiles.count)
      b.blocks = up;
    else if (down > 0 && ceil_div(b.tiles.count, down) * tile_bytes <= kMostInputBytes)
      b.blocks = down;
  }
  b.chunk_runs = b.blocks * p.groups >= threads ? 1 : std::min<std::int64_t>(chunks, 2 * threads);
  return b;
}

std::int64_t tiles_of_image(const Correlation& p) {
  const WinogradTiles tiles(p);
  return tiles.rows * tiles.columns;
}

// The height of equal panels of so many tiles
std::int64_t panel_height(std::int64_t tiles, std::int64_t most) { return ceil_div(tiles, ceil_div(tiles, most)); }

// Whether the weights are transformed in registers each time they are used.
bool in_registers(std::int64_t tiles) { return kernels<float>().winograd_row[0][1] && tiles <= kFewTilesAnImage; }

// Whether the input passes a band, which splits it by phase and has tiles in lanes whatever the layout: few channels
// would fill too little of a vector.
bool through_band(const Correlation& p) {
  const std::int64_t lanes = kernels<float>().lanes;
  return p.step_h > 1 || p.step_w > 1 || (p.channels_last && 4 * p.c < 3 * ceil_div(p.c, lanes) * lanes);
}

// The vectors of output channels in a chunk: whichever fill more registers with the sums of an image's tiles.
std::int64_t choose_chunk_vectors(std::int64_t tiles, bool channels_in_lanes) {
  const Kernels<float>& kernel = kernels<float>();
  if (in_registers(tiles)) return 1;
  if (channels_in_lanes || kernel.most_product_rows[3] == 0) return 2;
  const auto sums = [&](std::int64_t vectors) {
    return vectors * panel_height(tiles, kernel.most_product_rows[vectors]);
  };
  return sums(3) > sums(2) ? 3 : 2;
}

// Where grids begin along an axis, from the first tap on: in each phase at every third tap, the last one where three
// are left. Two taps read one position more than they need, after them or else before, which a band has.
std::vector<std::int64_t> grid_starts(const TapExtent& taps, std::int64_t step) {
  std::vector<std::int64_t> starts;
  for (std::int64_t phase = 0; phase < step; ++phase) {
    const std::int64_t in_phase = ceil_div(taps.count - phase, step);
    const bool before = floor_div(taps.first + phase, step) + 2 > floor_div(taps.first + taps.count - 1, step);
    if (in_phase == 2) starts.push_back(before ? phase - step : phase);
    for (std::int64_t tap = 0; in_phase > 2 && tap < in_phase; tap += 3)
      starts.push_back(phase + step * std::min(tap, in_phase - 3));
  }
  return starts;
}

// Where along an axis outputs read a lone input a channel
struct LonePlace {
  std::int64_t output, input;
};

std::vector<LonePlace> lone_places(const TapExtent& taps, std::int64_t out, std::int64_t step, std::int64_t in) {
  std::vector<LonePlace> places;
  for (std::int64_t i = 0; i < out; ++i) {
    const std::int64_t first = i * step + taps.first, begin = std::max<std::int64_t>(0, first);
    if (std::min(in, first + taps.count) - begin == 1) places.push_back({i, begin});
  }
  return places;
}

// Corners whose outputs read a lone input a channel, as those of the input gradient of an unpadded convolution: their
// small sums would be rounded as all the tile's. Each is a correlation of one output and one tap.
std::vector<OutputPhase> lone_corners(const Correlation& p) {
  const TapExtent rows = tap_extent(p, &Tap::row), columns = tap_extent(p, &Tap::column);
  std::vector<OutputPhase> corners;
  for (const LonePlace& row : lone_places(rows, p.out_h, p.step_h, p.in_h))
    for (const LonePlace& column : lone_places(columns, p.out_w, p.step_w, p.in_w)) {
      Correlation corner = p;
      corner.out_h = corner.out_w = 1;
      const std::int64_t tap = (row.input - row.output * p.step_h - rows.first) * columns.count + column.input -
                               column.output * p.step_w - columns.first;
      corner.taps = {{row.input, column.input, p.taps[std::size_t(tap)].source}};
      corners.push_back({corner, row.output * p.y_row + column.output * p.y_column});
    }
  return corners;
}

class Winograd final : public PackedCorrelation<float> {
 public:
  Winograd(const Correlation& problem, const Weights<float>& weights, std::int64_t tiles)  // of images together
      : problem_(problem),
        grids_(winograd_grids(problem_)),
        terms_(std::int64_t(grids_.size()) * problem.c),
        lanes_(kernels<float>().lanes),
        vectors_(ceil_div(problem.k, lanes_)),
        channels_in_lanes_(problem.channels_last && !through_band(problem)),
        in_registers_(in_registers(tiles)),
        most_chunk_vectors_(choose_chunk_vectors(tiles, channels_in_lanes_)),
        chunks_(ceil_div(vectors_, most_chunk_vectors_)),
        packed_(weights.data ? packed_size() : 0) {
    if (through_band(problem)) {
      const std::int64_t columns = kWinogradOutputs * std::min(lanes_ - 1, WinogradTiles(problem).columns);  // of a run
      band_.emplace(problem, kWinogradOutputs, columns, false);
    }
    for (const OutputPhase& corner : lone_corners(problem))
      corners_.push_back({pack_channels_in_lanes<float>({{corner.problem, 0}}, weights), corner.first});
    if (weights.data) pack_weights(weights);
  }

  void run(const float* x, const float* bias, bool relu, float* y) const override {
    const double work = this->work();
    const Blocking blocking = choose_blocking(problem_, terms_, chunks_, work == 0 ? 1 : num_threads());
    const Call call{x, bias, relu, y, blocking, v_point(blocking), m_point(blocking)};
    const std::int64_t v_size = this->v_size(blocking), workspace_size = this->workspace_size(blocking);
    const std::uint64_t number = new_call();
    parallel_for(problem_.groups * blocking.blocks * blocking.chunk_runs, work, [&](std::int64_t unit) {
      const std::int64_t run = unit % blocking.chunk_runs, block = unit / blocking.chunk_runs % blocking.blocks,
                         group = unit / blocking.chunk_runs / blocking.blocks;
      const std::int64_t begin = blocking.begin(block), end = blocking.begin(block + 1);
      float* const v = thread_workspace<float>(std::size_t(workspace_size));
      if (!workspace_holds(number, unit / blocking.chunk_runs)) {
        if (in_registers_)
          transform_parts(call, group, begin, end - begin, v, v + v_size);
        else
          transform_input(call, group, begin, end, v, v + v_size);
      }
      const std::vector<WinogradRun> runs = winograd_runs(problem_, grids_[0], blocking.tiles, begin, end);
      for (std::int64_t chunk = chunks_ * run / blocking.chunk_runs; chunk < chunks_ * (run + 1) / blocking.chunk_runs;
           ++chunk)
        multiply_chunk(call, group, runs, chunk, v, v + v_size);
    });
    for (const Corner& corner : corners_) corner.sum->run(x, bias, relu, y + corner.first);
  }

  Explanation explain() const override {
    const double work = this->work();
    const Blocking blocking = choose_blocking(problem_, terms_, chunks_, work == 0 ? 1 : num_threads());
    const std::int64_t vectors = ceil_div(vectors_, chunks_), most = in_registers_ ? kMostRowTiles : most_rows(vectors);
    const int threads = threads_for(problem_.groups * blocking.blocks * blocking.chunk_runs, work);
    std::int64_t packed_bytes = std::int64_t(packed_size() * sizeof(float));
    for (const Corner& corner : corners_) packed_bytes += corner.sum->explain().packed_bytes;
    return {"winograd", panel_height(blocking.most_tiles(), most), vectors * lanes_, packed_bytes,
            threads * workspace_size(blocking) * std::int64_t(sizeof(float))};
  }

 private:
  // Multiply-adds
  double work() const {
    return double(kWinogradPoints * problem_.groups * WinogradTiles(problem_).count) * double(terms_ * problem_.k);
  }

  std::int64_t most_rows(std::int64_t vectors) const {
    const Kernels<float>& kernel = kernels<float>();
    return channels_in_lanes_ ? kernel.most_rows[vectors] : kernel.most_product_rows[vectors];
  }
  // From point to point: a vector more than needed, or all 36 would fall into a few of the cache's sets.
  std::int64_t v_point(const Blocking& b) const {
    if (in_registers_) return v_tile() * kMostRowTiles + lanes_;
    return (channels_in_lanes_ ? v_tile() : terms_) * b.most_tiles() + lanes_;
  }
  std::int64_t m_point(const Blocking& b) const { return (b.most_tiles() * most_chunk_vectors_ + 1) * lanes_; }
  std::int64_t v_size(const Blocking& b) const {
    const std::int64_t parts = in_registers_ ? parts_of(b.most_tiles()) + channels_in_lanes_ : 1;
    return parts * v_point(b) * kWinogradPoints + lanes_;
  }
  std::int64_t m_size(const Blocking& b) const { return m_point(b) * kWinogradPoints; }
  std::int64_t workspace_size(const Blocking& b) const {
    // The products follow the bands, which are no longer needed by then.
    return v_size(b) + std::max(m_size(b), most_runs(b) * band_size());
  }
  std::int64_t band_size() const { return band_ ? band_->size<float>(problem_.c) : 0; }  // of a run
  std::int64_t most_runs(const Blocking& b) const {
    const std::int64_t columns = b.tiles.columns;
    return std::min(b.most_tiles(), (b.most_tiles() / columns + 2) * ceil_div(columns, lanes_ - 1));
  }
  // Channels in lanes: from tile to tile, an odd number of vectors for the cache's sets; a grid fills whole ones.
  std::int64_t v_tile() const {
    return (ceil_div(terms_ - problem_.c + ceil_div(problem_.c, lanes_) * lanes_, lanes_) | 1) * lanes_;
  }
  std::size_t packed_size() const { return std::size_t(problem_.groups * weights_begin(chunks_)); }
  static std::int64_t tiles_of(const std::vector<WinogradRun>& runs) { return runs.back().tile + runs.back().tiles; }
  // In registers, a block's tiles are transformed and multiplied in parts that leave room for the weights' transform.
  static std::int64_t parts_of(std::int64_t tiles) { return ceil_div(tiles, std::int64_t{kMostRowTiles}); }

  struct Corner {
    std::unique_ptr<PackedCorrelation<float>> sum;
    std::int64_t first;
  };

  struct Call {
    const float* x;
    const float* bias;
    bool relu;
    float* y;
    Blocking blocking;
    std::int64_t v_point, m_point;
  };

  std::int64_t chunk_begin(std::int64_t chunk) const { return vectors_ * chunk / chunks_; }
  // A chunk's weights: u[point][term][output channel], a vector more from point to point for the cache's sets; or,
  // to be transformed in registers, [term][nine weights][output channel].
  std::int64_t u_plane(std::int64_t vectors) const { return in_registers_ ? lanes_ : (terms_ * vectors + 1) * lanes_; }
  std::int64_t u_channel(std::int64_t vectors) const { return (in_registers_ ? 9 : vectors) * lanes_; }
  std::int64_t weights_begin(std::int64_t chunk) const {
    return in_registers_ ? 9 * lanes_ * terms_ * chunk
                         : kWinogradPoints * lanes_ * (terms_ * chunk_begin(chunk) + chunk);
  }

  void pack_weights(const Weights<float>& weights) {
    const std::int64_t steps = ceil_div(problem_.c, kPackedAtOnce);
    const bool by_step = weights.k_stride == 1;  // shared out as they follow in memory
    const std::int64_t outer = by_step ? steps : chunks_, inner = by_step ? chunks_ : steps;
    const double work = double(problem_.groups * problem_.k * terms_ * 100);
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
    for (const Tap& tap : problem_.taps)
      for (std::int64_t i = c; i < std::min(c + kPackedAtOnce, problem_.c); ++i)
        fetch(weights.data + group * weights.group_stride + i * weights.c_stride + tap.source, problem_.k);
  }

  // A chunk's weights of kPackedAtOnce channels, or as many as there are from c on
  void pack_channels(const Weights<float>& weights, std::int64_t group, std::int64_t chunk, std::int64_t c) const {
    const Kernels<float>& kernel = kernels<float>();
    const std::int64_t taps = std::int64_t(problem_.taps.size());
    const std::int64_t begin = chunk_begin(chunk), vectors = chunk_begin(chunk + 1) - begin;
    const std::int64_t channels = std::min(kPackedAtOnce, problem_.c - c), turned = taps * lanes_;
    // All weights of each channel, output channels in lanes; zero past the last one
    float* const all = thread_workspace<float>(std::size_t(vectors * channels * turned));
    for (std::int64_t v = 0; v < vectors; ++v) {
      const float* const from =
          weights.data + group * weights.group_stride + (begin + v) * lanes_ * weights.k_stride + c * weights.c_stride;
      float* const to = all + v * channels * turned;
      const std::int64_t count = std::min(lanes_, problem_.k - (begin + v) * lanes_);
      if (count < lanes_) std::fill_n(to, channels * turned, 0.0f);
      pack_terms(problem_, weights, from, channels, count, lanes_, TermOrder::channels_outermost, to);
    }
    float* u = packed_.data() + group * weights_begin(chunks_) + weights_begin(chunk) + c * u_channel(vectors);
    for (const WinogradGrid& grid : grids_) {
      kernel.winograd_weights(
          {all, channels, vectors, taps, grid.tap, in_registers_, u, u_plane(vectors), u_channel(vectors)});
      u += problem_.c * u_channel(vectors);
    }
  }

  // The tiles [begin, end) as v[point][term][tile] or, channels in lanes, v[point][tile][term]
  void transform_input(const Call& call, std::int64_t group, std::int64_t begin, std::int64_t end, float* v,
                       float* bands) const {
    const Kernels<float>& kernel = kernels<float>();
    const Correlation& p = problem_;
    const float* const x = call.x + group * p.c * p.x_plane;
    if (band_) return transform_bands(call, x, begin, end, v, bands);
    for (const WinogradGrid& grid : grids_) {
      const std::vector<WinogradRun> runs = winograd_runs(p, grid, call.blocking.tiles, begin, end);
      const std::int64_t run_count = std::int64_t(runs.size());
      if (channels_in_lanes_) {
        kernel.winograd_input_last(
            {x, p.c, p.x_plane, p.x_row, p.x_column, runs.data(), run_count, v, call.v_point, v_tile()});
        v += p.c;
      } else {
        kernel.winograd_input({x, p.c, p.x_plane, p.x_row, runs.data(), run_count, v, call.v_point, end - begin});
        v += p.c * (end - begin);
      }
    }
  }

  void transform_bands(const Call& call, const float* x, std::int64_t begin, std::int64_t end, float* v,
                       float* bands) const {
    const Correlation& p = problem_;
    const WinogradTiles& tiles = call.blocking.tiles;
    std::vector<WinogradRun> runs = winograd_runs(p, grids_[0], tiles, begin, end);
    const std::int64_t run_count = std::int64_t(runs.size());
    for (std::int64_t r = 0; r < run_count; ++r) {
      WinogradRun& run = runs[std::size_t(r)];
      const std::int64_t row = (begin + run.tile) / tiles.columns, column = (begin + run.tile) % tiles.columns;
      fill_band(p, *band_, x + row / tiles.rows * p.x_image, row % tiles.rows * kWinogradOutputs,
                column * kWinogradOutputs, bands + r * band_size());
      run.row_begin = run.column_begin = 0;
      run.row_end = 6;
      run.column_end = int(kWinogradOutputs * run.tiles + 2);
    }
    for (const WinogradGrid& grid : grids_) {
      const std::int64_t offset = band_->offset(p, grid.row, grid.column);
      for (std::int64_t r = 0; r < run_count; ++r) runs[std::size_t(r)].x = r * band_size() + offset;
      kernels<float>().winograd_input(
          {bands, p.c, band_->channel_stride, band_->pitch, runs.data(), run_count, v, call.v_point, end - begin});
      v += p.c * (end - begin);
    }
  }

  // Part by part as v[point][term][tile], whatever the layout
  void transform_parts(const Call& call, std::int64_t group, std::int64_t begin, std::int64_t tiles, float* v,
                       float* bands) const {
    const std::int64_t parts = parts_of(tiles), size = kWinogradPoints * call.v_point;
    for (std::int64_t part = 0; part < parts; ++part, v += size) {
      const std::int64_t first = begin + tiles * part / parts, end = begin + tiles * (part + 1) / parts;
      if (!channels_in_lanes_) {
        transform_input(call, group, first, end, v, bands);
        continue;
      }
      float* const last = v + (parts - part) * size;  // [point][tile][term]
      transform_input(call, group, first, end, last, bands);
      for (std::int64_t point = 0; point < kWinogradPoints; ++point)
        kernels<float>().transpose(last + point * call.v_point, v_tile(), end - first, terms_, v + point * call.v_point,
                                   end - first);
    }
  }

  void multiply(const Call& call, std::int64_t tiles, std::int64_t vectors, const float* u, const float* v,
                float* m) const {
    const Kernels<float>& kernel = kernels<float>();
    const std::int64_t panels = ceil_div(tiles, most_rows(vectors)),
                       steps = ceil_div(terms_, terms_ > problem_.c ? kTermsOfGrids : kTermsInRegisters);
    const std::int64_t width = vectors * lanes_, no_offset = 0;
    for (std::int64_t point = 0; point < kWinogradPoints; ++point, u += lanes_)
      for (std::int64_t step = 0; step < steps; ++step) {
        const std::int64_t term = terms_ * step / steps, terms = terms_ * (step + 1) / steps - term;
        for (std::int64_t panel = 0; panel < panels; ++panel) {
          const std::int64_t first = tiles * panel / panels, rows = tiles * (panel + 1) / panels - first;
          float* const sums = m + point * call.m_point + first * width;
          const float* const ahead = u + terms * width * (panels + panel) / panels;
          const float* const from = v + point * call.v_point;
          if (channels_in_lanes_)
            kernel.rows_product[rows][vectors]({from + first * v_tile() + term, v_tile(), &no_offset, 1, terms, u, sums,
                                                width, term > 0, nullptr, false, ahead, width / panels, u, 0});
          else
            kernel.product[rows][vectors](
                {from + term * tiles + first, tiles, u, terms, sums, term > 0, nullptr, false, ahead, width / panels});
        }
        u += terms * width;
      }
  }

  void multiply_parts(const Call& call, std::int64_t tiles, const float* weights, const float* v, float* m) const {
    const Kernels<float>& kernel = kernels<float>();
    const std::int64_t parts = parts_of(tiles);
    for (std::int64_t term = 0; term < terms_; term += kRowTerms) {
      const std::int64_t terms = std::min(kRowTerms, terms_ - term);
      const float* const next = weights + 9 * lanes_ * terms;
      for (std::int64_t part = 0; part < parts; ++part) {
        const std::int64_t first = tiles * part / parts, count = tiles * (part + 1) / parts - first;
        const float* from = v + part * kWinogradPoints * call.v_point + term * count;
        float* sums = m + first * lanes_;
        for (std::int64_t row = 0; row < 6; ++row, from += 6 * call.v_point, sums += 6 * call.m_point)
          kernel.winograd_row[row][count]({weights, from, call.v_point, terms, sums, call.m_point, term > 0,
                                           part == 0 ? next + row * terms * lanes_ * 3 / 2 : weights});
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
  std::vector<WinogradGrid> grids_;
  std::int64_t terms_;
  std::int64_t lanes_, vectors_;  // of output channels
  bool channels_in_lanes_, in_registers_;
  std::optional<BandLayout> band_;  // of a run
  std::int64_t most_chunk_vectors_, chunks_;
  Scratch<float> packed_;
  std::vector<Corner> corners_;
};

}  // namespace

std::vector<WinogradGrid> winograd_grids(const Correlation& p) {
  const TapExtent rows = tap_extent(p, &Tap::row), columns = tap_extent(p, &Tap::column);
  if (rows.count <= 2 * p.step_h || columns.count <= 2 * p.step_w ||
      rows.count * columns.count != std::int64_t(p.taps.size()))
    return {};
  std::vector<std::int64_t> tap_at(p.taps.size(), -1);  // by row and column
  for (std::size_t t = 0; t < p.taps.size(); ++t)
    tap_at[std::size_t((p.taps[t].row - rows.first) * columns.count + p.taps[t].column - columns.first)] =
        std::int64_t(t);
  std::vector<WinogradGrid> grids;
  for (const std::int64_t row : grid_starts(rows, p.step_h))
    for (const std::int64_t column : grid_starts(columns, p.step_w)) {
      WinogradGrid grid{rows.first + row, columns.first + column, {}};
      for (std::int64_t i = 0; i < 9; ++i) {
        const std::int64_t r = row + i / 3 * p.step_h, q = column + i % 3 * p.step_w;
        grid.tap[i] = -1;
        if (0 <= r && r < rows.count && 0 <= q && q < columns.count)  // each tap in the first grid that has it
          std::swap(grid.tap[i], tap_at[std::size_t(r * columns.count + q)]);
      }
      grids.push_back(grid);
    }
  return grids;
}

// Half of direct's products at most: not of 4x4 kernels
bool few_products(const Correlation& p, std::int64_t grids) {
  return kWinogradOutputs * kWinogradOutputs * std::int64_t(p.taps.size()) >= 2 * kWinogradPoints * grids;
}

// Of a kernel's positions along an axis, those inside the image for the first or the last output, whichever has fewer
std::int64_t fewest_inside(const TapExtent& taps, std::int64_t out, std::int64_t step, std::int64_t in) {
  return std::min(taps.count + taps.first, in - (out - 1) * step - taps.first);
}

bool every_output_finds(const Correlation& p, std::int64_t rows, std::int64_t columns) {
  return fewest_inside(tap_extent(p, &Tap::row), p.out_h, p.step_h, p.in_h) >= rows &&
         fewest_inside(tap_extent(p, &Tap::column), p.out_w, p.step_w, p.in_w) >= columns;
}

bool little_padding(const Correlation& p) {
  return every_output_finds(p, ceil_div(tap_extent(p, &Tap::row).count, 2),
                            ceil_div(tap_extent(p, &Tap::column).count, 2));
}

WinogradTiles::WinogradTiles(const Correlation& p)
    : rows(ceil_div(p.out_h, kWinogradOutputs)),
      columns(ceil_div(p.out_w, kWinogradOutputs)),
      count(p.images * rows * columns) {}

std::vector<WinogradRun> winograd_runs(const Correlation& p, const WinogradGrid& grid, const WinogradTiles& tiles,
                                       std::int64_t begin, std::int64_t end) {
  const std::int64_t lanes = kernels<float>().lanes;
  std::vector<WinogradRun> runs;
  for (std::int64_t at = begin; at < end;) {
    const std::int64_t i = at / tiles.columns % tiles.rows, image = at / tiles.columns / tiles.rows;
    const std::int64_t j = at % tiles.columns, left = std::min(tiles.columns - j, end - at);
    const std::int64_t count = ceil_div(left, ceil_div(left, lanes - 1));
    const std::int64_t row = grid.row + kWinogradOutputs * i, column = grid.column + kWinogradOutputs * j;
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
  return (p.y_column == 1 || p.channels_last) && !winograd_grids(p).empty();
}

// Measured against direct with two threads, weights packed already: direct's time over this one's at 56x56 is 1.3 for
// 8 channels, 1.5 for 16->16, 2.0 for 16->32, 2.3 for 32->32, 3.0 for 128->128; at 14x14 and one image 1.05 for 32->32,
// 1.35 for 64->64, 1.6 for 128->128, and more in batches; at 7x7 1.0 to 1.2 for 64->64, 1.5 for 128->128 and 1.6 for
// 192->192 with the weights transformed in registers, else 0.9 to 1.2 up to 128->128. With 8 or 12 channels of either
// side 1.1 to 1.6 from 256 weights on, 0.7 to 1.2 below; with 8 outputs, which share the input's transformation too
// little, 0.6 to 1.1.
//
// Kernels of several grids, weights packed in the call: at 28x28 5x5 1.2 to 1.5, 9x9 1.3 to 2, 7x7 0.95 to 1.3, at
// 56x56 1.1 to 1.7, 1.8 to 2.1, 1.1 to 1.3; strided ones, 5x5 and 7x7 by two and 11x11 by four, 1.0 to 1.4 for 64
// output channels at 28x28, 1.0 to 1.7 for 32 or 64 at 56x56. 5x5 at 12x12 to 20x20 0.96 to 1.8 and 1.1 to 1.9 in
// batches, 7x7 at 20x20 0.8 to 1.5 and 1.3 to 1.6; but dx of more output channels than inputs, whose weights are packed
// against their order, 0.5 to 0.8 and 1.0 to 1.4. With a few terms, 9x9 on one channel or 5x5 on three, 0.8 to 1.0 at
// 28x28, 1.0 to 1.2 at 56x56.
bool winograd_pays(const Correlation& p, std::int64_t together) {
  const std::int64_t outputs = p.out_h * p.out_w, tiles = tiles_of_image(p) * together,
                     work = p.c * p.k * outputs * together;
  const bool full_tiles = 2 * outputs >= kWinogradOutputs * kWinogradOutputs * tiles_of_image(p);
  if (p.k < 12 || !full_tiles) return false;
  const std::int64_t grids = std::int64_t(winograd_grids(p).size());
  if (!few_products(p, grids)) return false;
  // With more padding, up to all but one of the kernel's rows and columns, corners are packed and summed apart:
  // measured 1.2 to 2.6 times faster than direct at 16x16 and more, 0.6 at 9x9.
  if (!little_padding(p) && (grids > 1 || p.c < 32 || outputs < 196 || !every_output_finds(p, 1, 1))) return false;
  if (grids > 1) {
    if (p.k < 16) return false;
    const bool some_terms = grids * p.c >= 27 || (p.reduction() >= 75 && p.k >= 32 && tiles >= 196);
    if (through_band(p)) return some_terms && tiles >= 49 && tiles * p.k >= 49 * 64;
    const std::int64_t least_tiles = p.k < p.c ? 49 : std::int64_t(p.taps.size()) < 6 * grids ? 25 : 9;
    return some_terms && tiles >= least_tiles && tiles * p.k >= 9 * 48;
  }
  if (std::min(p.c, p.k) < 16 && (p.c < 8 || p.c * p.k < 256)) return false;
  // Groups together repay what one would not: measured with 4 to 32 of them 1.3 to 1.7 (one image of four groups 0.85)
  // for 16->16 and 24->24 channels at 14x14, with 16 and more 1.1 to 1.9 for 32->32 and 48->48 at 7x7; 0.5 to 1.1 at
  // 10x10.
  if (p.groups >= 4 && tiles >= 16 && work >= 50'000) return true;
  if (p.groups >= 16 && tiles >= 4 && tiles < 9 && p.c * p.k >= 32 * 32) return true;
  return work >= (tiles >= 16 ? 50'000 : 200'000) &&
         (tiles >= 9 || p.c * p.k >= (in_registers(tiles) ? 64 * 64 : 128 * 128));
}

std::unique_ptr<PackedCorrelation<float>> pack_winograd(const Correlation& problem, const Weights<float>& weights,
                                                        std::int64_t together) {
  return std::make_unique<Winograd>(problem, weights, tiles_of_image(problem) * together);
}

}  // namespace convnet
