// The GEMM algorithm: a tile's columns are output channels, its rows output positions. A panel of positions is packed
// with its terms outermost, which serves every tap, step and padding alike, and multiplied with one chunk of output
// channels after the other; the sums are transposed into place. Where maps are small or channels many this reads the
// weights once, in their order and ahead of their use, and fills the registers whatever the size of the map.
#include <algorithm>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "band.h"
#include "correlation.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kChunkVectors = 2;        // of output channels, in a tile
constexpr std::int64_t kTermsInRegisters = 256;  // summed before they meet the earlier ones: a chunk's stay in L1
constexpr std::int64_t kPanelBytes = 640 << 10;  // of the second-level cache, for the packed positions of a block
constexpr std::int64_t kPackedAtOnce = 64;       // positions: more panels would fall into the same sets of the cache

// Panels of positions, counted through all images; none crosses from one image to the next.
struct Blocking {
  std::int64_t panels_an_image, panels;
  std::int64_t rows;        // positions of a panel; an image's last one may have fewer
  std::int64_t blocks;      // of panels
  std::int64_t chunk_runs;  // the chunks are shared out in so many runs

  std::int64_t block_begin(std::int64_t block) const { return panels * block / blocks; }
};

template <class T>
Blocking choose_blocking(const Correlation& p, std::int64_t chunks, int threads) {
  Blocking b{};
  const std::int64_t positions = p.out_h * p.out_w;
  const std::int64_t term_bytes = p.reduction() * std::int64_t(sizeof(T));
  b.panels_an_image = ceil_div(positions, kernels<T>().most_rows[kChunkVectors]);
  b.panels = p.images * b.panels_an_image;
  b.rows = ceil_div(positions, b.panels_an_image);
  b.blocks = std::min(b.panels, ceil_div(p.images * positions * term_bytes, kPanelBytes));
  b.chunk_runs = 1;
  if (threads == 1) return b;
  // As many blocks for each thread, or the chunks of a few blocks, whose positions each thread then packs for itself.
  if (b.blocks * p.groups >= threads)
    b.blocks = std::min(b.panels, ceil_div(b.blocks, threads) * threads);
  else
    b.chunk_runs = std::min(chunks, ceil_div(2 * threads, b.blocks * p.groups));
  return b;
}

// Images of a single position each are the positions of one that has its channels last. Not so a phase of dx, whose
// output has neighbours of other phases.
Correlation join_images(const Correlation& problem) {
  Correlation p = problem;
  if (!reads_every_position(p) || p.out_h * p.out_w > 1 || p.y_plane > 1) return p;
  p.channels_last = true;
  p.in_w = p.out_w = p.images;
  p.x_row = p.x_image * p.images;
  p.y_row = p.y_image * p.images;
  p.x_column = p.x_image;
  p.y_column = p.y_image;
  p.images = 1;
  return p;
}

template <class T>
class Gemm final : public PackedCorrelation<T> {
 public:
  Gemm(const Correlation& problem, const Weights<T>& weights)
      : problem_(join_images(problem)),
        lanes_(kernels<T>().lanes),
        vectors_(ceil_div(problem.k, lanes_)),
        chunks_(ceil_div(vectors_, kChunkVectors)),
        as_it_lies_(one_tap_inside(problem) &&
                    (!problem.channels_last || (problem.in_h == problem.out_h && problem.in_w == problem.out_w))),
        packed_(weights.data ? packed_size() : 0) {
    if (weights.data) pack_weights(weights);
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const Correlation& p = problem_;
    const Blocking b = choose_blocking<T>(p, chunks_, threads_for(p.groups * chunks_ * p.images * 4, p.macs()));
    const Room room(*this, b);
    const std::uint64_t call = new_call();
    parallel_for(p.groups * b.blocks * b.chunk_runs, p.macs(), [&](std::int64_t unit) {
      const std::int64_t run = unit % b.chunk_runs, block = unit / b.chunk_runs % b.blocks,
                         group = unit / b.chunk_runs / b.blocks;
      T* const panels = thread_workspace<T>(std::size_t(room.all()));
      T* const sums = panels + room.panels;
      if (!workspace_holds(call, unit / b.chunk_runs))
        pack_panels(b, x, group, b.block_begin(block), b.block_begin(block + 1), sums, panels);
      for (std::int64_t chunk = chunks_ * run / b.chunk_runs; chunk < chunks_ * (run + 1) / b.chunk_runs; ++chunk)
        multiply_chunk(b, panels, group, block, chunk, bias, relu, sums, sums + room.sums, y);
    });
  }

  Explanation explain() const override {
    const Correlation& p = problem_;
    const int threads = threads_for(p.groups * chunks_ * p.images * 4, p.macs());
    const Blocking b = choose_blocking<T>(p, chunks_, threads);
    const Room room(*this, b);
    const std::int64_t workspace = threads_for(p.groups * b.blocks * b.chunk_runs, p.macs()) * room.all();
    return {"gemm", b.rows, ceil_div(vectors_, chunks_) * lanes_, std::int64_t(packed_size() * sizeof(T)),
            workspace * std::int64_t(sizeof(T))};
  }

 private:
  std::int64_t chunk_begin(std::int64_t chunk) const { return vectors_ * chunk / chunks_; }
  std::size_t packed_size() const { return std::size_t(problem_.groups * vectors_ * lanes_ * problem_.reduction()); }
  std::int64_t positions() const { return problem_.out_h * problem_.out_w; }

  // Values that a block takes.
  struct Room {
    std::int64_t panels;  // packed
    std::int64_t band;
    std::int64_t sums;    // of a chunk, and its bias
    std::int64_t placed;  // the same transposed, where that is not yet y
    // The band is packed from before there are sums.
    std::int64_t all() const { return panels + std::max(band, sums + placed); }

    Room(const Gemm& g, const Blocking& b) {
      const Correlation& p = g.problem_;
      const std::int64_t most = ceil_div(b.panels, b.blocks) * b.rows;
      panels = most * p.reduction();
      band = g.as_it_lies_ ? 0 : g.layout(g.band_rows(std::min(most, g.positions()))).template size<T>(p.c);
      sums = (most + 1) * kChunkVectors * g.lanes_;
      placed = p.channels_last || g.dense() ? 0 : most * kChunkVectors * g.lanes_;
    }
  };

  bool dense() const { return problem_.y_column == 1 && problem_.y_row == problem_.out_w; }

  // Output rows that so many positions may lie in.
  std::int64_t band_rows(std::int64_t count) const {
    return std::min(problem_.out_h, ceil_div(count - 1, problem_.out_w) + 1);
  }
  BandLayout layout(std::int64_t rows) const { return BandLayout(problem_, rows, problem_.out_w, true); }

  // u[chunk][term][output channel], zero past the last channel.
  void pack_weights(const Weights<T>& weights) {
    const Correlation& p = problem_;
    parallel_for(p.groups * chunks_, double(packed_size()), [&](std::int64_t unit) {
      const std::int64_t group = unit / chunks_, chunk = unit % chunks_;
      const std::int64_t first = chunk_begin(chunk) * lanes_, width = chunk_begin(chunk + 1) * lanes_ - first;
      const std::int64_t count = std::min(width, p.k - first);
      const T* from = weights.data + group * weights.group_stride + first * weights.k_stride;
      T* const u = packed_.data() + (group * vectors_ * lanes_ + first) * p.reduction();
      if (count < width) std::fill_n(u, width * p.reduction(), T(0));
      pack_terms(p, weights, from, p.c, count, width, TermOrder::channels_outermost, u);
    });
  }

  // Where a panel of an image begins; past the last one, where the image ends.
  std::int64_t panel_begin(const Blocking& b, std::int64_t panel) const {
    return std::min(panel * b.rows, positions());
  }

  // Panels [begin, end), packed one after the other, terms outermost.
  void pack_panels(const Blocking& b, const T* x, std::int64_t group, std::int64_t begin, std::int64_t end, T* band,
                   T* packed) const {
    const Correlation& p = problem_;
    const std::int64_t panel_size = b.rows * p.reduction();
    while (begin < end) {
      const std::int64_t image = begin / b.panels_an_image, stop = std::min(end, (image + 1) * b.panels_an_image);
      const std::int64_t first = panel_begin(b, begin % b.panels_an_image);
      const std::int64_t last = panel_begin(b, stop - image * b.panels_an_image);
      const std::int64_t row0 = first / p.out_w;
      const T* from = x + image * p.x_image + group * p.c * p.x_plane;
      const BandLayout band_layout = layout(as_it_lies_ ? 1 : (last - 1) / p.out_w - row0 + 1);
      if (!as_it_lies_) fill_band(p, band_layout, from, row0, 0, band);
      PanelPacking<T> packing = as_it_lies_ ? packing_as_it_lies(p, from) : packing_of_band<T>(p, band_layout, band);
      packing.width = b.rows;
      const bool turned = as_it_lies_ && p.channels_last;
      const std::int64_t at_once = turned ? 1 : std::max<std::int64_t>(1, kPackedAtOnce / b.rows);
      for (std::int64_t panel = begin; panel < stop; panel += at_once) {
        const std::int64_t at = panel_begin(b, panel % b.panels_an_image);
        packing.first = as_it_lies_ ? at : at - row0 * p.out_w;
        packing.count = std::min(at_once * b.rows, last - at);
        packing.packed = packed + (panel - begin) * panel_size;
        if (turned)
          kernels<T>().transpose(from + at * p.x_column, p.x_column, packing.count, p.c, packing.packed, b.rows);
        else
          kernels<T>().pack_panels(packing);
      }
      packed += (stop - begin) * panel_size;
      begin = stop;
    }
  }

  void multiply_chunk(const Blocking& b, const T* panels, std::int64_t group, std::int64_t block, std::int64_t chunk,
                      const T* bias, bool relu, T* sums, T* placed, T* y) const {
    const Kernels<T>& kernel = kernels<T>();
    const Correlation& p = problem_;
    const std::int64_t vectors = chunk_begin(chunk + 1) - chunk_begin(chunk), width = vectors * lanes_;
    const std::int64_t k = chunk_begin(chunk) * lanes_, count = std::min(width, p.k - k), terms = p.reduction();
    const std::int64_t begin = b.block_begin(block), end = b.block_begin(block + 1);
    const T* u = packed_.data() + (group * vectors_ * lanes_ + k) * terms;
    T* const padded_bias = sums;
    if (bias) {
      std::copy_n(bias + group * p.k + k, count, padded_bias);
      std::fill(padded_bias + count, padded_bias + width, T(0));
    }
    sums += width;
    const std::int64_t steps = ceil_div(terms, kTermsInRegisters);
    for (std::int64_t step = 0; step < steps; ++step) {
      const std::int64_t first = terms * step / steps, step_terms = terms * (step + 1) / steps - first;
      Product<T> product{};
      product.u = u + first * width;
      product.terms = step_terms;
      product.add = step > 0;
      product.bias = bias && step + 1 == steps ? padded_bias : nullptr;
      product.relu = relu && step + 1 == steps;
      product.ahead_step = width / (end - begin);
      product.v_term = b.rows;
      for (std::int64_t panel = begin, at = 0; panel < end; ++panel) {
        const std::int64_t in_image = panel % b.panels_an_image;
        const std::int64_t rows = panel_begin(b, in_image + 1) - panel_begin(b, in_image);
        product.v = panels + ((panel - begin) * terms + first) * b.rows;
        product.m = sums + at * width;
        product.ahead = product.u + step_terms * width * (end - begin + panel - begin) / (end - begin);
        kernel.product[rows][vectors](product);
        at += rows;
      }
    }
    // The positions of one image after the other
    for (std::int64_t panel = begin; panel < end;) {
      const std::int64_t image = panel / b.panels_an_image, stop = std::min(end, (image + 1) * b.panels_an_image);
      const std::int64_t first = panel_begin(b, panel % b.panels_an_image);
      const std::int64_t n = panel_begin(b, stop - image * b.panels_an_image) - first;
      T* const to = y + image * p.y_image + (group * p.k + k) * p.y_plane;
      if (p.channels_last) {
        for (std::int64_t at = first; at < first + n;) {  // a row of y after the other
          const std::int64_t run = std::min(p.out_w - at % p.out_w, first + n - at);
          kernel.copy_rows(sums + (at - first) * width, width, run, count,
                           to + at / p.out_w * p.y_row + at % p.out_w * p.y_column, p.y_column);
          at += run;
        }
      } else if (dense()) {
        kernel.transpose(sums, width, n, count, to + first, p.y_plane);
      } else {
        kernel.transpose(sums, width, n, count, placed, n);
        kernel.place({placed, n, int(count), first, n, p.out_w, p.out_w, to, p.y_plane, p.y_row, p.y_column});
      }
      sums += n * width;
      panel = stop;
    }
  }

  Correlation problem_;
  std::int64_t lanes_, vectors_, chunks_;  // of output channels: lanes of a vector, vectors, chunks of vectors
  bool as_it_lies_;                        // what the positions read needs no padding
  Scratch<T> packed_;
};

}  // namespace

// Measured for a single tap against direct: 1.2 to 1.27 times faster at 7x7, 1.05 to 1.1 at 9x9 and 10x10, 0.92 to 1.0
// at 8x8, 12x12 and 14x14, whose positions fill direct's vectors; there 1.1 from a thousand channels on, and where the
// step would have direct copy first; 3 at 1x1, and up to 6 in batches, for any channels. 0.54 to 0.7 with 24 output
// channels or 28x28 positions. With more taps channels_in_lanes does as well or better, but for channels too few for
// it: 1.2 to 2 times faster than direct on small maps of many outputs.
template <class T>
bool gemm_pays(const Correlation& p) {
  const std::int64_t lanes = kernels<T>().lanes, positions = p.out_h * p.out_w;
  if (reads_every_position(p) && positions == 1) return true;
  if (p.taps.size() > 1 && p.c < kLeastInLanes && !p.channels_last)
    return p.k >= 128 && p.reduction() >= 8 && positions <= 64;
  if (p.taps.size() > 1 || p.k < 2 * lanes || p.c < 64 || positions > 256) return false;
  return 10 * ceil_div(positions, lanes) * lanes >= 11 * positions || (p.c >= 1024 && p.k >= 256) || p.step_w > 1;
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_gemm(const Correlation& problem, const Weights<T>& weights) {
  return std::make_unique<Gemm<T>>(problem, weights);
}

template bool gemm_pays<float>(const Correlation&);
template bool gemm_pays<double>(const Correlation&);
template std::unique_ptr<PackedCorrelation<float>> pack_gemm(const Correlation&, const Weights<float>&);
template std::unique_ptr<PackedCorrelation<double>> pack_gemm(const Correlation&, const Weights<double>&);

}  // namespace convnet
