// The gradient for the weights by the adjoint of Winograd's F(4x4, 3x3), float32 only and at unit step: tiles of x and
// of dy are transformed with channels in lanes, each point's product sums over the tiles, and the 36 sums of a pair of
// channels are transformed to its nine weights, or those of one of a larger kernel's 3x3 grids.
//
//   dw = Gᵀ [ sum over tiles of (Bᵀ x B) · (A dy Aᵀ) ] G
//
// A unit of work owns a grid, some input channels, some output channels and a slice of the tiles; it transforms blocks
// of tiles in its own cache. The slices, fixed by the shape, are added in their order.
#include <algorithm>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "correlation.h"
#include "division.h"
#include "winograd_tiles.h"

namespace convnet {
namespace {

constexpr std::int64_t kChunkVectors = 2;                // of output channels, in a product
constexpr std::int64_t kSumBytes = 640 << 10;            // of a unit's sums, where a chunk's are no more
constexpr std::int64_t kBlockBytes = 768 << 10;          // of the transformed tiles of a block
constexpr std::int64_t kFewTiles = 16, kManyTiles = 64;  // in a block
constexpr std::int64_t kUnits = 8, kSliceBytes = 8 << 20;

struct Cut {
  WinogradTiles tiles;
  std::int64_t lanes, vectors;      // of output channels
  std::int64_t k_groups, c_groups;  // of a unit's output and input channels
  std::int64_t units;               // of a slice
  std::int64_t slices, block;       // of tiles
  std::int64_t v_tile, v_point, d_point, m_point;

  Cut(const Correlation& p, std::int64_t grids)
      : tiles(p), lanes(kernels<float>().lanes), vectors(ceil_div(p.k, lanes)) {
    const auto bytes = [&](std::int64_t values) { return kWinogradPoints * values * std::int64_t(sizeof(float)); };
    c_groups = ceil_div(p.c, kSumBytes / bytes(kChunkVectors * lanes));
    const std::int64_t c = ceil_div(p.c, c_groups);
    k_groups = ceil_div(vectors, std::max(kChunkVectors, kSumBytes / bytes(c * lanes)));
    const std::int64_t k = ceil_div(vectors, k_groups) * lanes;
    units = grids * p.groups * k_groups * c_groups;
    block = std::clamp(kBlockBytes / bytes(c + k), kFewTiles, kManyTiles);
    slices = std::clamp<std::int64_t>(std::min(tiles.count / kFewTiles, kSliceBytes / (units * bytes(c * k))), 1,
                                      ceil_div(kUnits, units));
    // From point to point a vector more than needed, or all 36 would fall into a few of the cache's sets.
    v_tile = ceil_div(c, lanes) * lanes;
    v_point = block * v_tile + lanes;
    d_point = block * k + lanes;
    m_point = c * k + lanes;
  }
};

// What a unit owns: of a grid and a group, input channels [c_begin, c_end) and vectors of output channels.
struct Unit {
  std::size_t grid;
  std::int64_t group, c_begin, c_end, vector_begin, vector_end;

  Unit(const Correlation& p, const Cut& cut, std::int64_t unit) {
    const std::int64_t c = unit % cut.c_groups, k = unit / cut.c_groups % cut.k_groups;
    group = unit / cut.c_groups / cut.k_groups % p.groups;
    grid = std::size_t(unit / cut.c_groups / cut.k_groups / p.groups);
    c_begin = p.c * c / cut.c_groups;
    c_end = p.c * (c + 1) / cut.c_groups;
    vector_begin = cut.vectors * k / cut.k_groups;
    vector_end = cut.vectors * (k + 1) / cut.k_groups;
  }
  std::int64_t channels() const { return c_end - c_begin; }
};

}  // namespace

bool winograd_weight_gradient_serves(const Correlation& p) {
  return p.step_h == 1 && p.step_w == 1 && winograd_serves(p);
}

// Measured against the direct gradient. The sums, 36 for nine weights, cost as much as some 16 tiles. 5x5 kernels,
// whose four grids make as many sums of 25 weights: 0.6 to 0.9 for 16->32, 0.9 to 1.5 for 24->64 and 32->128 from 100
// tiles on, 0.7 to 1.3 with fewer, 1.2 to 1.7 for 48->128 and 64->192. 7x7, of nine grids: 0.8 to 1.3 for these.
bool winograd_weight_gradient_pays(const Correlation& p) {
  const std::int64_t channels = std::min(p.c, p.k);
  if (channels < 16) return false;
  const WinogradTiles tiles(p);
  const std::int64_t grids = std::int64_t(winograd_grids(p).size()), taps = std::int64_t(p.taps.size());
  const bool one_grid = taps == 9, full_grids = taps > 6 * grids;
  const std::int64_t least_channels = one_grid ? 16 : full_grids ? 24 : 48;
  const std::int64_t least_tiles = one_grid ? 16 : !full_grids ? 49 : channels < 48 ? 100 : 25;
  return channels >= least_channels && tiles.count >= least_tiles &&
         2 * p.out_h * p.out_w >= kWinogradOutputs * kWinogradOutputs * tiles.rows * tiles.columns &&
         few_products(p, grids);
}

void winograd_weight_gradient(const Correlation& p, const float* dy, const float* x, float* dw) {
  const Kernels<float>& kernel = kernels<float>();
  const std::vector<WinogradGrid> grids = winograd_grids(p);
  const Cut cut(p, std::int64_t(grids.size()));
  const auto turn_input = p.channels_last ? kernel.winograd_input_last : kernel.winograd_turned_input;
  const auto turn_gradient = p.channels_last ? kernel.winograd_gradient_last : kernel.winograd_turned_gradient;
  const std::int64_t taps = std::int64_t(p.taps.size());
  const std::int64_t sum_size = kWinogradPoints * cut.m_point;
  const bool share = cut.slices > 1;
  const Scratch<float> shared(std::size_t(share ? cut.slices * cut.units * sum_size : 0));
  // dw from the sums of a unit's slices, for `count` of its input channels from the first-th
  const auto finish = [&](const Unit& own, const float* sums, std::int64_t first, std::int64_t count) {
    for (std::int64_t chunk = own.vector_begin; chunk < own.vector_end; chunk += kChunkVectors) {
      const std::int64_t vectors = std::min(kChunkVectors, own.vector_end - chunk), width = vectors * cut.lanes;
      const float* m = sums + (chunk - own.vector_begin) * cut.lanes * own.channels() + first * width;
      for (std::int64_t i = 0; i < count * vectors; ++i) {
        const std::int64_t c = own.c_begin + first + i / vectors, k = (chunk + i % vectors) * cut.lanes;
        // (groups·k, c, taps), or channels last (taps, c, groups·k)
        float* const to = p.channels_last ? dw + c * p.groups * p.k + own.group * p.k + k
                                          : dw + ((own.group * p.k + k) * p.c + c) * taps;
        kernel.winograd_weight_gradient({m + i * cut.lanes, cut.m_point, cut.slices, cut.units * sum_size,
                                         std::min(cut.lanes, p.k - k), grids[own.grid].tap, to,
                                         p.channels_last ? 1 : p.c * taps, p.channels_last ? p.c * p.groups * p.k : 1});
      }
    }
  };
  parallel_for(cut.slices * cut.units, p.macs() / 4, [&](std::int64_t at) {
    const std::int64_t slice = at / cut.units;
    const Unit own(p, cut, at % cut.units);
    float* const v =
        thread_workspace<float>(std::size_t(kWinogradPoints * (cut.v_point + cut.d_point) + (share ? 0 : sum_size)));
    float* const d = v + kWinogradPoints * cut.v_point;
    float* const sums = share ? shared.data() + at * sum_size : d + kWinogradPoints * cut.d_point;
    const std::int64_t panels = ceil_div(own.channels(), kernel.most_rows[kChunkVectors]);
    const std::int64_t tile_begin = cut.tiles.count * slice / cut.slices,
                       tile_end = cut.tiles.count * (slice + 1) / cut.slices;
    const std::int64_t blocks = ceil_div(tile_end - tile_begin, cut.block);
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t begin = tile_begin + (tile_end - tile_begin) * block / blocks;
      const std::int64_t end = tile_begin + (tile_end - tile_begin) * (block + 1) / blocks, tiles = end - begin;
      const std::vector<WinogradRun> runs = winograd_runs(p, grids[own.grid], cut.tiles, begin, end);
      const std::int64_t run_count = std::int64_t(runs.size());
      const float* const inputs = x + (own.group * p.c + own.c_begin) * p.x_plane;
      turn_input(
          {inputs, own.channels(), p.x_plane, p.x_row, p.x_column, runs.data(), run_count, v, cut.v_point, cut.v_tile});
      for (std::int64_t chunk = own.vector_begin; chunk < own.vector_end; chunk += kChunkVectors) {
        const std::int64_t vectors = std::min(kChunkVectors, own.vector_end - chunk), width = vectors * cut.lanes;
        const std::int64_t before = (chunk - own.vector_begin) * cut.lanes, k = chunk * cut.lanes;
        const float* u = d + before * tiles;
        const float* const gradients = dy + (own.group * p.k + k) * p.y_plane;
        const std::int64_t count = std::min(width, p.k - k);
        turn_gradient({gradients, count, p.y_plane, p.y_row, p.y_column, runs.data(), run_count, d + before * tiles,
                       cut.d_point, width});
        float* m = sums + before * own.channels();
        for (std::int64_t point = 0; point < kWinogradPoints; ++point, u += cut.d_point, m += cut.m_point)
          for (std::int64_t panel = 0; panel < panels; ++panel) {
            const std::int64_t c = own.channels() * panel / panels, rows = own.channels() * (panel + 1) / panels - c;
            kernel.product[rows][vectors](
                {v + point * cut.v_point + c, cut.v_tile, u, tiles, m + c * width, block > 0, nullptr, false, u, 0});
          }
      }
    }
    if (!share) finish(own, sums, 0, own.channels());
  });
  if (!share) return;
  constexpr std::int64_t pieces = 8;  // of a unit's input channels
  parallel_for(cut.units * pieces, double(p.groups * p.c * p.k * kWinogradPoints * cut.slices), [&](std::int64_t at) {
    const Unit own(p, cut, at / pieces);
    const std::int64_t first = own.channels() * (at % pieces) / pieces;
    finish(own, shared.data() + at / pieces * sum_size, first, own.channels() * (at % pieces + 1) / pieces - first);
  });
}

}  // namespace convnet
