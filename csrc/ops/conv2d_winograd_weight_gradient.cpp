// The gradient for the weights by the adjoint of Winograd's F(4x4, 3x3), float32 only: tiles of x and of dy are
// transformed with channels in lanes, each point's product sums over the tiles, and the 36 sums of a pair of channels
// are transformed to its nine weights.
//
//   dw = Gᵀ [ sum over tiles of (Bᵀ x B) · (A dy Aᵀ) ] G
//
// A unit of work owns a group of output channels and a slice of the tiles; it transforms blocks of tiles in its own
// cache. The slices, fixed by the shape, are added in their order.
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
  std::int64_t lanes, vectors;  // of output channels
  std::int64_t channel_groups;  // of output channels
  std::int64_t slices;          // of tiles
  std::int64_t block;           // tiles
  std::int64_t v_tile, v_point, d_point, m_point;

  std::int64_t vector_begin(std::int64_t channel_group) const { return vectors * channel_group / channel_groups; }

  explicit Cut(const Correlation& p) : tiles(p), lanes(kernels<float>().lanes), vectors(ceil_div(p.k, lanes)) {
    const auto bytes = [&](std::int64_t values) { return kWinogradPoints * values * std::int64_t(sizeof(float)); };
    const std::int64_t fit = std::max(kChunkVectors, kSumBytes / bytes(p.c * lanes));
    channel_groups = ceil_div(vectors, fit);
    const std::int64_t most = ceil_div(vectors, channel_groups) * lanes;
    block = std::clamp(kBlockBytes / bytes(p.c + most), kFewTiles, kManyTiles);
    slices = std::clamp<std::int64_t>(
        kUnits / (channel_groups * p.groups), 1,
        std::max<std::int64_t>(
            1, std::min(tiles.count / kFewTiles, kSliceBytes / bytes(p.c * vectors * lanes * p.groups))));
    // From point to point a vector more than needed, or all 36 would fall into a few of the cache's sets.
    v_tile = ceil_div(p.c, lanes) * lanes;
    v_point = block * v_tile + lanes;
    d_point = block * most + lanes;
    m_point = p.c * most + lanes;
  }
};

}  // namespace

// Measured against the direct gradient. The sums, 36 for nine weights, cost as much as some 16 tiles.
bool winograd_weight_gradient_pays(const Correlation& p) {
  const WinogradTiles tiles(p);
  return p.c >= 16 && p.k >= 16 && tiles.count >= 16 &&
         2 * p.out_h * p.out_w >= kWinogradOutputs * kWinogradOutputs * tiles.rows * tiles.columns;
}

void winograd_weight_gradient(const Correlation& p, const float* dy, const float* x, float* dw) {
  const Kernels<float>& kernel = kernels<float>();
  const Cut cut(p);
  const Tap first_tap = winograd_grid(p).front();
  const std::int64_t sum_size = kWinogradPoints * cut.m_point;
  const std::int64_t units = p.groups * cut.channel_groups;  // of a slice
  const Scratch<float> shared(std::size_t(cut.slices > 1 ? cut.slices * units * sum_size : 0));
  // dw of a channel group from its slices' sums, for input channels [begin, end)
  const auto finish = [&](std::int64_t unit, const float* sums, std::int64_t part, std::int64_t begin,
                          std::int64_t end) {
    const std::int64_t group = unit / cut.channel_groups, channel_group = unit % cut.channel_groups;
    const std::int64_t first = cut.vector_begin(channel_group), last = cut.vector_begin(channel_group + 1);
    for (std::int64_t chunk = first; chunk < last; chunk += kChunkVectors) {
      const std::int64_t vectors = std::min(kChunkVectors, last - chunk), width = vectors * cut.lanes;
      for (std::int64_t c = begin; c < end; ++c)
        for (std::int64_t v = 0; v < vectors; ++v) {
          const std::int64_t k = (chunk + v) * cut.lanes;
          kernel.winograd_weight_gradient({sums + (chunk - first) * cut.lanes * p.c + c * width + v * cut.lanes,
                                           cut.m_point, cut.slices, part, std::min(cut.lanes, p.k - k),
                                           dw + ((group * p.k + k) * p.c + c) * 9, p.c * 9});
        }
    }
  };
  parallel_for(cut.slices * units, p.macs() / 4, [&](std::int64_t at) {
    const std::int64_t slice = at / units, unit = at % units;
    const std::int64_t group = unit / cut.channel_groups, channel_group = unit % cut.channel_groups;
    const std::int64_t first = cut.vector_begin(channel_group), last = cut.vector_begin(channel_group + 1);
    float* const v = thread_workspace<float>(
        std::size_t(kWinogradPoints * (cut.v_point + cut.d_point) + (cut.slices > 1 ? 0 : sum_size)));
    float* const d = v + kWinogradPoints * cut.v_point;
    float* const m =
        cut.slices > 1 ? shared.data() + (slice * units + unit) * sum_size : d + kWinogradPoints * cut.d_point;
    const std::int64_t panels = ceil_div(p.c, kernel.most_rows[kChunkVectors]);
    const std::int64_t tile_begin = cut.tiles.count * slice / cut.slices,
                       tile_end = cut.tiles.count * (slice + 1) / cut.slices;
    const std::int64_t blocks = ceil_div(tile_end - tile_begin, cut.block);
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t begin = tile_begin + (tile_end - tile_begin) * block / blocks;
      const std::int64_t end = tile_begin + (tile_end - tile_begin) * (block + 1) / blocks, tiles = end - begin;
      const std::vector<WinogradRun> runs = winograd_runs(p, first_tap, cut.tiles, begin, end);
      const std::int64_t run_count = std::int64_t(runs.size());
      kernel.winograd_turned_input({x + group * p.c * p.in_h * p.in_w, p.c, p.in_h * p.in_w, p.in_w, runs.data(),
                                    run_count, v, cut.v_point, cut.v_tile});
      for (std::int64_t chunk = first; chunk < last; chunk += kChunkVectors) {
        const std::int64_t width = std::min(kChunkVectors, last - chunk) * cut.lanes, k = chunk * cut.lanes;
        kernel.winograd_turned_gradient({dy + (group * p.k + k) * p.y_plane, std::min(width, p.k - k), p.y_plane,
                                         p.y_row, runs.data(), run_count, d + (chunk - first) * cut.lanes * cut.block,
                                         cut.d_point, width});
      }
      for (std::int64_t point = 0; point < kWinogradPoints; ++point)
        for (std::int64_t chunk = first; chunk < last; chunk += kChunkVectors) {
          const std::int64_t vectors = std::min(kChunkVectors, last - chunk), width = vectors * cut.lanes;
          const float* u = d + point * cut.d_point + (chunk - first) * cut.lanes * cut.block;
          for (std::int64_t panel = 0; panel < panels; ++panel) {
            const std::int64_t c = p.c * panel / panels, rows = p.c * (panel + 1) / panels - c;
            kernel.product[rows][vectors]({v + point * cut.v_point + c, cut.v_tile, u, tiles,
                                           m + point * cut.m_point + (chunk - first) * cut.lanes * p.c + c * width,
                                           block > 0, nullptr, false, u, 0});
          }
        }
    }
    if (cut.slices == 1) finish(unit, m, 0, 0, p.c);
  });
  if (cut.slices == 1) return;
  const std::int64_t pieces = std::min<std::int64_t>(p.c, 8);
  parallel_for(units * pieces, double(p.groups * p.c * p.k * 36 * cut.slices), [&](std::int64_t at) {
    const std::int64_t unit = at / pieces, piece = at % pieces;
    finish(unit, shared.data() + unit * sum_size, units * sum_size, p.c * piece / pieces, p.c * (piece + 1) / pieces);
  });
}

}  // namespace convnet
