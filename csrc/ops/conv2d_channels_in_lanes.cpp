// The direct algorithm with channels in lanes: a tile's columns are output channels, its rows output positions side by
// side, its terms taps and channels as they follow one another where channels lie last. A block's input is copied into
// a strip with its zeros, channels last whatever the image's layout; an image that has its channels last is read where
// it lies if no tap falls into the padding and none is read more than once.
#include <algorithm>
#include <cmath>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "correlation.h"
#include "costs.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kInputBytes = 256 << 10;  // of the second-level cache, for a block's input, and for its sums
constexpr std::int64_t kInputOfManyWeights = 640 << 10;  // the input, where the weights it meets are as many
constexpr std::int64_t kLeastPositions = 192;            // in a block that is cut for the threads alone
constexpr double kLeastWork = 3e6;                       // multiply-adds of such a block of fewer positions
constexpr std::int64_t kMostInputBytes = 8 << 20;
constexpr std::int64_t kMostImageBytes = 4 << 20;  // whose zeros are left out: far-flung taps keep all of it at hand
constexpr std::int64_t kLeastImages = 4, kMostStripsBytes = 768 << 10;  // of a block of several images
constexpr std::int64_t kChunkVectors = 2;                               // of output channels, in a tile
constexpr std::int64_t kChunksAtOnce = 8;  // written together where channels lie last: whole pages, not lines of many
constexpr std::int64_t kTermsInRegisters = 256;  // summed before they meet the earlier ones: a chunk's stay in L1

// Terms that are summed in registers.
struct Step {
  std::int64_t first;            // term
  std::int64_t segments, terms;  // of each segment
  std::int64_t first_segment;
  std::int64_t row, column;  // of the first tap
};

// The rows of the input that taps read, for a run of rows of outputs from some first one on: of each step the same.
struct ReadRows {
  std::int64_t first, step;
  std::vector<std::int64_t> residues;  // of rows, from the first on, modulo the step
  std::int64_t extent;                 // read by a row of outputs, with those between that only others read

  explicit ReadRows(const Correlation& p) : first(tap_extent(p, &Tap::row).first), step(p.step_h), extent(0) {
    for (const Tap& tap : p.taps) residues.push_back((tap.row - first) % step);
    std::sort(residues.begin(), residues.end());
    residues.erase(std::unique(residues.begin(), residues.end()), residues.end());
    for (const Tap& tap : p.taps) extent = std::max(extent, place(tap.row) + 1);
  }
  std::int64_t of_a_step() const { return std::int64_t(residues.size()); }
  std::int64_t count(std::int64_t outputs) const { return (outputs - 1) * of_a_step() + extent; }
  // A row's place among those that are read, and the row at a place
  std::int64_t place(std::int64_t row) const {
    const auto residue = std::lower_bound(residues.begin(), residues.end(), (row - first) % step);
    return (row - first) / step * of_a_step() + (residue - residues.begin());
  }
  std::int64_t row(std::int64_t place) const {
    return first + place / of_a_step() * step + residues[std::size_t(place % of_a_step())];
  }
};

// A phase of the outputs and its terms. All phases read the same strips.
struct Part {
  Correlation problem;
  std::int64_t first;                // element of y
  std::int64_t terms_before;         // in p_
  std::vector<std::int64_t> offset;  // of each segment
  std::vector<Step> steps;
};

// What an image's group costs by the band and with channels in lanes, where channels lie first: products, copies of the
// input, and outputs that are not stored where they belong. Of 830 shapes, y and dx, the choice loses 2 % (AVX2: 3 %)
// to always taking the faster; a threshold on the channels lost 6 %.
template <class T>
struct Costs {
  double band, lanes;
  bool skips;  // the latter without what meets the zeros around x

  Costs(const Correlation& p, std::int64_t phases, bool in_turn) {  // p: all phases
    constexpr double gain = 0.9;
    const Kernels<T>& kernel = kernels<T>();
    const std::int64_t width = kernel.lanes, vectors = ceil_div(p.k, width), outputs = p.out_h * p.out_w;
    const double terms = double(p.reduction()) / double(phases);
    const TapExtent tap_columns = tap_extent(p, &Tap::column);
    const std::int64_t rows = ReadRows(p).count(p.out_h), columns = (p.out_w - 1) * p.step_w + tap_columns.count;
    const auto placed = [&](bool one_by_one) {
      return double(p.k * p.out_h) * (10 + double(p.out_w) * (one_by_one ? 1.2 : 0.2));
    };

    // A tile's rows are output channels, its columns positions, those between the image's rows included.
    const std::int64_t pitch = p.out_w + (tap_columns.count - 1) / p.step_w;
    const std::int64_t tile_vectors = std::min<std::int64_t>(2, ceil_div(outputs, width));
    const std::int64_t tiles = ceil_div((p.out_h - 1) * pitch + p.out_w, tile_vectors * width);
    const std::int64_t panels = ceil_div(p.k, kernel.most_rows[tile_vectors]);
    band = double(tiles * panels) * (terms * term_cycles(double(p.k) / double(panels), tile_vectors) + kTileCycles) +
           double(p.c * std::min(p.step_w, tap_columns.count)) *
               copy_cycles(double(rows), double(columns) / double(p.step_w), p.step_w) +
           kPhaseCycles;
    if (p.y_column > 1 || pitch > p.out_w) band += placed(p.y_column > 2);
    if (phases > 1) band += 2 * double(p.k) * terms;  // each phase reads all weights to pack its own
    band *= double(phases);
    // Measured: of 121 strided shapes the choice then loses 2 % instead of 4, of 130 dx 3.8 instead of 4.4.
    if (phases > 1 || (p.step_w > 1 && p.taps.size() >= 4)) band *= 1.2;

    // Here they are positions of one row, and channels.
    const auto products = [&](const Real& of_rows, const Real& of_columns, double some_terms) {
      const std::int64_t wide = of_columns.end - of_columns.begin;
      const std::int64_t runs = ceil_div(wide, kernel.most_rows[kChunkVectors]);
      if (runs == 0) return 0.0;
      const double run = double(wide) / double(runs);
      const double term = double(vectors / 2) * term_cycles(run, 2) + double(vectors % 2) * term_cycles(run, 1);
      const double sums = double(ceil_div(vectors, 2)) * std::ceil(some_terms / double(kTermsInRegisters));
      return double((of_rows.end - of_rows.begin) * runs) * (some_terms * term + sums * kTileCycles);
    };
    lanes = products(Real(0, 1, p.out_h, p.out_h), Real(0, 1, p.out_w, p.out_w), terms) +
            transpose_cycles(outputs, p.k, width);
    if (p.y_column > 1 && !in_turn) lanes += placed(p.y_column > 2);
    lanes = lanes * double(phases) + double(rows) * transpose_cycles(p.c, columns, width);
    skips = false;
    const std::int64_t image_bytes = p.c * p.in_h * p.in_w * std::int64_t(sizeof(T));
    if (phases > 1 || (!p.channels_last && image_bytes > kMostImageBytes) || !leaves_zeros_out<T>(p)) return;
    double without = transpose_cycles(outputs, p.k, width) + double(p.in_h) * transpose_cycles(p.c, p.in_w, width);
    for (const Tap& tap : p.taps)
      without += products(Real(tap.row, 1, p.in_h, p.out_h), Real(tap.column, 1, p.in_w, p.out_w), double(p.c));
    skips = without < gain * lanes;
    if (skips) lanes = without;
  }
};

template <class T>
class ChannelsInLanes final : public PackedCorrelation<T> {
 public:
  ChannelsInLanes(const std::vector<OutputPhase>& phases, const Weights<T>& weights)
      : p_(all_phases(phases)),
        lanes_(kernels<T>().lanes),
        vectors_(ceil_div(p_.k, lanes_)),
        chunks_(ceil_div(vectors_, kChunkVectors)),
        chunks_at_once_(p_.channels_last ? std::min(chunks_, kChunksAtOnce) : 1),
        turns_(take_turns(phases) ? std::size_t(p_.y_column) : 1),
        most_rows_(kernels<T>().most_rows[kChunkVectors]),
        rows_(p_),
        columns_(tap_extent(p_, &Tap::column)),
        packed_(weights.data ? packed_size() : 0) {
    skips_ = phases.size() == 1 && Costs<T>(p_, 1, false).skips;
    if (weights.data) pack_weights(weights);
    if (weights.data && skips_ && p_.padding_counts)
      skips_ = all_finite(packed_.data(), p_.groups * vectors_ * lanes_, p_.reduction());
    cut_input();
    std::int64_t terms = 0;
    for (const OutputPhase& phase : phases) {
      parts_.push_back({phase.problem, phase.first, terms, {}, {}});
      cut_terms(parts_.back());
      terms += phase.problem.reduction();
    }
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const std::int64_t blocks = this->blocks(), runs = chunk_runs();
    const std::uint64_t call = new_call();
    parallel_for(blocks * runs, p_.macs(), [&](std::int64_t unit) {
      const std::int64_t run = unit % runs, index = unit / runs;
      const Block b = block(index);
      const auto [image, images, group, row0, h, column0, w] = b;
      T* const sums = thread_workspace<T>(std::size_t(workspace_size()));
      T* const strip = sums + sums_size();
      const T* from = x + image * p_.x_image + group * p_.c * p_.x_plane;
      if (copied_) {
        if (!workspace_holds(call, index))
          for (std::int64_t i = 0; i < images; ++i)
            fill_strip(from + i * p_.x_image, row0, column0, h, w, strip + i * strip_size());
        from = strip;
      } else if (!skips_) {
        from +=
            (row0 * p_.step_h + p_.taps[0].row) * p_.x_row + (column0 * p_.step_w + p_.taps[0].column) * p_.x_column;
      }
      T* const to = y + image * p_.y_image + group * p_.k * p_.y_plane + row0 * p_.y_row + column0 * p_.y_column;
      const std::int64_t begin = chunks_ * run / runs, end = chunks_ * (run + 1) / runs;
      Soon soon{};
      if (runs == 1 && index + 1 < blocks) soon.input = input_rows(x, block(index + 1));
      for (std::int64_t first = begin; first < end; first += chunks_at_once_) {  // as the weights follow in memory
        const std::int64_t last = std::min(end, first + chunks_at_once_);
        for (std::size_t i = 0; i < parts_.size(); i += turns_) {
          soon.output = i ? Rows{} : output_rows(to, first, h);  // of all phases
          Outputs outputs{images, std::clamp<std::int64_t>(parts_[i].problem.out_h - row0, 0, h), 0};
          for (std::size_t turn = 0; turn < turns_; ++turn) outputs.columns += columns_of(parts_[i + turn], b);
          for (std::size_t turn = 0; turn < turns_; ++turn)
            for (std::int64_t chunk = first; chunk < last; ++chunk)
              multiply_chunk(parts_[i + turn], b, from, outputs, std::int64_t(turn), chunk, bias, relu, soon, sums,
                             sums + chunk_room(chunk - first, outputs.count()));
          for (std::int64_t of = 0; of < images; ++of) {
            T* const of_phase = to + of * p_.y_image + parts_[i].first;
            if (p_.channels_last)
              write(sums, outputs, of, first, last, of_phase);
            else
              write_planes(sums, outputs, of, first, of_phase);
          }
        }
      }
    });
  }

  Explanation explain() const override {
    const std::int64_t workspace = threads_for(blocks() * chunk_runs(), p_.macs()) * workspace_size();
    return {"direct", std::min(most_rows_, p_.out_w), ceil_div(vectors_, chunks_) * lanes_,
            std::int64_t(packed_size() * sizeof(T)), workspace * std::int64_t(sizeof(T))};
  }

  // Of what leaves zeros out, strips with them are made for the sake of weights that are not finite alone.
  static bool serves(const Correlation& p, bool skips) {
    const double most_bytes = double(skips ? 4 * kMostInputBytes : kMostInputBytes);
    const auto [first_row, rows] = tap_extent(p, &Tap::row);
    const auto [first_column, columns] = tap_extent(p, &Tap::column);
    return double(rows) * (double(columns) + double(p.step_w) * 64) * double(p.c) * sizeof(T) < most_bytes;
  }

 private:
  std::size_t packed_size() const { return std::size_t(p_.groups * vectors_ * lanes_ * p_.reduction()); }
  std::int64_t blocks() const { return ceil_div(p_.images, images_) * p_.groups * blocks_h_ * blocks_w_; }
  std::int64_t chunk_begin(std::int64_t chunk) const { return std::min(vectors_, chunk * kChunkVectors); }
  std::int64_t chunk_runs() const {
    const std::int64_t threads = threads_for(blocks() * chunks_, p_.macs());
    return threads == 1 ? 1 : std::clamp<std::int64_t>(2 * threads / std::max<std::int64_t>(1, blocks()), 1, chunks_);
  }
  // A chunk's bias, then the sums of a few chunks, or of one's phases that take turns, and the same turned
  std::int64_t sums_size() const {
    return chunk_room(p_.channels_last ? chunks_at_once_ : 2 * std::int64_t(turns_), images_ * block_h_ * block_w_);
  }
  std::int64_t strip_row() const { return (skips_ ? p_.in_w : (block_w_ - 1) * p_.step_w + columns_.count) * p_.c; }
  std::int64_t strip_size() const {
    const std::int64_t rows = rows_.count(block_h_);
    return (skips_ ? std::min(p_.in_h, rows) : rows) * strip_row();
  }
  std::int64_t workspace_size() const { return sums_size() + (copied_ ? images_ * strip_size() : 0); }

  // h rows and w columns of a group, of one image or a few.
  struct Block {
    std::int64_t image, images, group, row0, h, column0, w;
  };
  Block block(std::int64_t index) const {
    const std::int64_t column0 = index % blocks_w_ * block_w_, row = index / blocks_w_ % blocks_h_;
    const std::int64_t row0 = p_.out_h * row / blocks_h_, plane = index / blocks_w_ / blocks_h_;
    const std::int64_t image = plane / p_.groups * images_;
    return {image,
            std::min(images_, p_.images - image),
            plane % p_.groups,
            row0,
            p_.out_h * (row + 1) / blocks_h_ - row0,
            column0,
            std::min(block_w_, p_.out_w - column0)};
  }

  // Memory that is wanted soon: `count` rows of so many values.
  struct Rows {
    const T* row;
    std::int64_t count, stride, values;
  };
  // What a block's products fetch meanwhile, a row each: the outputs that their sums are to be written to, the input of
  // the next block. Measured: dx up to 1.14 times faster, whose outputs are the larger side, y 1.03 times.
  struct Soon {
    Rows output, input;
  };
  // A row for a product of so many terms, at most a line for two of them
  void fetch(Soon& soon, std::int64_t terms, RowsProduct<T>& product) const {
    Rows& rows = soon.output.count ? soon.output : soon.input;
    product.soon = rows.count ? rows.row : product.u;
    product.soon_step = rows.count ? std::min(ceil_div(rows.values, terms), lanes_ / 2) : 0;
    if (!rows.count) return;
    rows.row += rows.stride;
    --rows.count;
  }
  bool whole_rows() const { return copied_ && !p_.channels_last && blocks_w_ == 1 && images_ == 1; }
  Rows output_rows(const T* y, std::int64_t chunk, std::int64_t h) const {
    if (!whole_rows()) return {};
    return {y + chunk_begin(chunk) * lanes_ * p_.y_plane, channels_of(chunk), p_.y_plane, h * p_.y_row};
  }
  Rows input_rows(const T* x, const Block& b) const {
    if (!whole_rows()) return {};
    const std::int64_t row = b.row0 * p_.step_h, last = row + rows_.row(rows_.count(b.h) - 1);
    const std::int64_t top = std::clamp<std::int64_t>(row + rows_.first, 0, p_.in_h),
                       bottom = std::clamp<std::int64_t>(last + 1, 0, p_.in_h);
    return {x + b.image * p_.x_image + b.group * p_.c * p_.x_plane + top * p_.x_row, p_.c, p_.x_plane,
            (bottom - top) * p_.x_row};
  }

  std::int64_t columns_of(const Part& part, const Block& b) const {
    return std::clamp<std::int64_t>(part.problem.out_w - b.column0, 0, b.w);
  }
  // Of a block and a phase, or all that take turns in the same rows; the sums at a position are those of all images.
  struct Outputs {
    std::int64_t images, rows, columns;
    std::int64_t positions() const { return rows * columns; }
    std::int64_t count() const { return images * positions(); }
  };

  void cut_input() {
    copied_ = !p_.channels_last || !(skips_ || one_tap_inside(p_));
    const std::int64_t bytes_of_weights = p_.k * p_.reduction() * std::int64_t(sizeof(T));
    const std::int64_t most_input = std::clamp(bytes_of_weights, kInputBytes, kInputOfManyWeights) / sizeof(T);
    blocks_h_ = blocks_w_ = images_ = 1;
    block_h_ = p_.out_h;
    block_w_ = p_.out_w;
    images_ = images_together();
    if (images_ > 1) return;
    const auto planes = [&] { return p_.images * p_.groups * ceil_div(p_.out_w, block_w_); };
    const auto set_rows = [&](std::int64_t blocks) {
      blocks_h_ = std::min(p_.out_h, blocks);
      block_h_ = ceil_div(p_.out_h, blocks_h_);
    };
    const auto too_large = [&] {
      return strip_size() > most_input || sums_size() > kInputBytes / std::int64_t(sizeof(T));
    };
    set_rows(1);
    // Far-flung taps read much of the image for any row: each block would turn it again.
    if (skips_ && 2 * rows_.extent >= p_.in_h) return set_rows(ceil_div(4, planes() * chunks_));
    while (too_large()) {
      if (block_h_ > 1)
        set_rows(blocks_h_ + ceil_div(blocks_h_, 4));
      else if (block_w_ > 4 * most_rows_ && !skips_)
        block_w_ = ceil_div(block_w_, 2 * most_rows_) * most_rows_;
      else
        break;
    }
    if (planes() < 8) {
      // More blocks for the threads while each holds some work, and as many for each of two or four.
      const std::int64_t positions = p_.out_h * block_w_;
      std::int64_t blocks = std::max(blocks_h_, std::min(ceil_div(8, planes()), positions / kLeastPositions));
      // Few positions of many terms, where the chunks do not suffice either
      if (planes() * chunks_ * blocks < 4)
        blocks =
            std::clamp<std::int64_t>(std::int64_t(double(positions * p_.k * p_.reduction()) / kLeastWork), blocks, 4);
      set_rows(blocks);
      const std::int64_t threads = std::min<std::int64_t>(blocks_h_, blocks_h_ < 4 ? 2 : 4);
      set_rows(ceil_div(blocks_h_, threads) * threads);
    }
    blocks_w_ = ceil_div(p_.out_w, block_w_);
  }

  // On small maps the rows of a tile are images rather than the few positions of an output row, as long as there is
  // work for four threads. Measured in batches of 8 to 32: 1.7 times faster in the mean of maps up to 4x4.
  std::int64_t images_together() const {
    if (!copied_) return 1;
    const std::int64_t most = std::min(
        {most_rows_, kMostStripsBytes / (strip_size() * std::int64_t(sizeof(T))), p_.images * p_.groups * chunks_ / 4});
    if (most < kLeastImages || p_.images < kLeastImages) return 1;
    const std::int64_t images = ceil_div(p_.images, ceil_div(p_.images, most));
    return 2 * p_.out_w <= images ? images : 1;
  }

  // Taps side by side in a strip are one segment; a segment of many channels is cut into several steps.
  void cut_terms(Part& part) const {
    const std::vector<Tap>& tap = part.problem.taps;
    const std::int64_t taps = std::int64_t(tap.size());
    std::int64_t together = 1;
    const auto side_by_side = [&](std::int64_t count) {
      for (std::int64_t t = 0; t < taps; ++t)
        if (t % count && (tap[t].row != tap[t - 1].row || tap[t].column != tap[t - 1].column + 1)) return false;
      return taps % count == 0;
    };
    for (std::int64_t count = 2; copied_ && !skips_ && count <= taps && count * p_.c <= kTermsInRegisters; ++count)
      if (side_by_side(count)) together = count;
    const std::int64_t length = together * p_.c, parts = ceil_div(length, kTermsInRegisters);
    for (std::int64_t t = 0; t < taps; t += together)
      for (std::int64_t i = 0; i < parts; ++i) part.offset.push_back(tap_offset(tap[t]) + length * i / parts);
    if (parts > 1) {
      for (std::int64_t t = 0; t < taps; ++t)
        for (std::int64_t i = 0; i < parts; ++i) {
          const std::int64_t first = length * i / parts;
          part.steps.push_back(
              {t * length + first, 1, length * (i + 1) / parts - first, t * parts + i, tap[t].row, tap[t].column});
        }
      return;
    }
    const std::int64_t segments = taps / together, steps = ceil_div(segments * length, kTermsInRegisters);
    const std::int64_t cuts = skips_ ? segments : std::min(steps, segments);
    for (std::int64_t cut = 0; cut < cuts; ++cut) {
      const std::int64_t first = segments * cut / cuts;
      const Tap& at = tap[first * together];
      part.steps.push_back({first * length, segments * (cut + 1) / cuts - first, length, first, at.row, at.column});
    }
  }

  std::int64_t tap_offset(const Tap& tap) const {
    if (skips_)
      return copied_ ? tap.row * strip_row() + tap.column * p_.c : tap.row * p_.x_row + tap.column * p_.x_column;
    if (!copied_) return 0;  // the block begins there
    return rows_.place(tap.row) * strip_row() + (tap.column - columns_.first) * p_.c;
  }

  // Where a chunk's weights begin, of one group.
  std::int64_t weights_begin(std::int64_t group, std::int64_t chunk) const {
    return (group * vectors_ + chunk_begin(chunk)) * lanes_ * p_.reduction();
  }

  // u[tap][channel][output channel] of a chunk, all phases' taps one after another; zero past the last channel
  void pack_weights(const Weights<T>& weights) {
    parallel_for(p_.groups * chunks_, double(packed_size()), [&](std::int64_t unit) {
      const std::int64_t group = unit / chunks_, chunk = unit % chunks_;
      const std::int64_t first = chunk_begin(chunk) * lanes_, width = chunk_begin(chunk + 1) * lanes_ - first;
      const std::int64_t count = std::min(width, p_.k - first);
      const T* const from = weights.data + group * weights.group_stride + first * weights.k_stride;
      T* const u = packed_.data() + weights_begin(group, chunk);
      if (count < width) std::fill_n(u, width * p_.reduction(), T(0));
      pack_terms(p_, weights, from, p_.c, count, width, TermOrder::taps_outermost, u);
    });
  }

  // Where the input rows of a block begin and end that are in the image
  Real input_of(std::int64_t row0, std::int64_t h) const {
    const std::int64_t first = row0 + rows_.first;
    Real rows(first, 1, p_.in_h, rows_.count(h));
    rows.begin += first;
    rows.end += first;
    return rows;
  }

  // Of h rows of w outputs.
  void fill_strip(const T* x, std::int64_t row0, std::int64_t column0, std::int64_t h, std::int64_t w, T* strip) const {
    const std::int64_t column = skips_ ? 0 : column0 * p_.step_w + columns_.first,
                       columns = skips_ ? p_.in_w : (w - 1) * p_.step_w + columns_.count;
    const std::int64_t begin = std::clamp<std::int64_t>(-column, 0, columns),
                       end = std::clamp<std::int64_t>(p_.in_w - column, begin, columns);
    const Real inside = input_of(row0, h);
    const std::int64_t rows = skips_ ? inside.end - inside.begin : rows_.count(h);
    const auto in_image = [&](std::int64_t i) { return skips_ ? inside.begin + i : row0 * p_.step_h + rows_.row(i); };
    std::int64_t top = 0, bottom = begin == end ? 0 : rows;  // of those in the image
    while (bottom > top && in_image(bottom - 1) >= p_.in_h) --bottom;
    while (top < bottom && in_image(top) < 0) ++top;
    const std::int64_t left = begin * p_.c, right = (columns - end) * p_.c, columns_size = columns * p_.c;
    for (std::int64_t i = 0; i < rows; ++i) {
      T* const to = strip + i * strip_row();
      const bool real = i >= top && i < bottom;
      std::fill_n(to, real ? left : columns_size, T(0));
      if (real) std::fill_n(to + columns_size - right, right, T(0));
    }
    strip += left;
    x += (column + begin) * p_.x_column;
    if (p_.channels_last) {
      const bool whole = p_.x_column == p_.c;
      for (std::int64_t i = top; i < bottom; ++i)
        kernels<T>().copy_rows(x + in_image(i) * p_.x_row, p_.x_column, whole ? 1 : end - begin,
                               whole ? (end - begin) * p_.c : p_.c, strip + i * strip_row(), p_.c);
      return;
    }
    // A few channels' planes at a time, each read on from row to row
    for (std::int64_t c = 0; c < p_.c; c += lanes_)
      for (std::int64_t i = top; i < bottom; ++i)
        kernels<T>().transpose(x + c * p_.x_plane + in_image(i) * p_.x_row, p_.x_plane, std::min(lanes_, p_.c - c),
                               end - begin, strip + i * strip_row() + c, p_.c);
  }

  // The sums of the phase whose turn it is.
  void multiply_chunk(const Part& part, const Block& b, const T* x, const Outputs& o, std::int64_t turn,
                      std::int64_t chunk, const T* bias, bool relu, Soon& soon, T* padded_bias, T* sums) const {
    const Kernels<T>& kernel = kernels<T>();
    const std::int64_t vectors = chunk_begin(chunk + 1) - chunk_begin(chunk), width = vectors * lanes_;
    const std::int64_t k = chunk_begin(chunk) * lanes_, count = std::min(width, p_.k - k);
    const T* const u = packed_.data() + weights_begin(b.group, chunk) + part.terms_before * width;
    if (bias) {
      std::copy_n(bias + b.group * p_.k + k, count, padded_bias);
      std::fill(padded_bias + count, padded_bias + width, T(0));
    }
    const std::int64_t x_row = copied_ ? strip_row() : p_.x_row, x_column = copied_ ? p_.c : p_.x_column;
    const std::int64_t down = copied_ ? rows_.of_a_step() * x_row : p_.step_h * x_row;
    const std::int64_t w = columns_of(part, b), turns = std::int64_t(turns_);
    const bool together = images_ > 1;
    if (o.rows * w == 0) return;
    if (skips_) {
      std::fill_n(sums, o.count() * width, T(0));
      x += (b.row0 - (copied_ ? input_of(b.row0, b.h).begin : 0)) * x_row;
    }
    for (std::size_t i = 0; i < part.steps.size(); ++i) {
      const Step& step = part.steps[i];
      const bool last = i + 1 == part.steps.size() && !skips_;
      const Real rows = skips_ ? Real(b.row0 + step.row, 1, p_.in_h, o.rows) : Real(0, 1, o.rows, o.rows);
      const Real columns = skips_ ? Real(step.column, 1, p_.in_w, w) : Real(0, 1, w, w);
      // Runs of rows of a tile: the outputs of a row or, of several images, what is at a position.
      const std::int64_t wide = columns.end - columns.begin, of_rows = rows.end - rows.begin;
      const std::int64_t runs = together ? of_rows * wide : of_rows, in_run = together ? o.images : wide;
      const std::int64_t panels = ceil_div(in_run, most_rows_), all = runs * panels;
      if (all == 0) continue;
      RowsProduct<T> product{};
      product.v_row = together ? strip_size() : p_.step_w * x_column;
      product.offset = part.offset.data() + step.first_segment;
      product.segments = step.segments;
      product.terms = step.terms;
      product.u = u + step.first * width;
      product.m_row = together ? width : turns * width;
      product.add = i > 0 || skips_;
      product.bias = bias && last ? padded_bias : nullptr;
      product.relu = relu && last;
      product.ahead_step = width / all;
      const std::int64_t size = step.segments * step.terms * width;
      for (std::int64_t run = 0, at = 0; run < runs; ++run) {
        const std::int64_t row = rows.begin + (together ? run / wide : run);
        const std::int64_t column = columns.begin + (together ? run % wide : 0);
        const T* const from = x + row * down + column * p_.step_w * x_column;
        T* const to = sums + (row * o.columns + column * turns + turn) * o.images * width;
        for (std::int64_t panel = 0; panel < panels; ++panel, ++at) {
          const std::int64_t first = in_run * panel / panels, count_of = in_run * (panel + 1) / panels - first;
          product.v = from + first * product.v_row;
          product.m = to + first * product.m_row;
          product.ahead = product.u + size * (all + at) / all;
          fetch(soon, step.segments * step.terms, product);
          kernel.rows_product[count_of][vectors](product);
        }
      }
    }
    if (skips_ && (bias || relu)) finish(vectors, o.count(), bias ? padded_bias : nullptr, relu, u, sums);
  }

  // Sums of no further terms: the bias and what is left of relu.
  void finish(std::int64_t vectors, std::int64_t count, const T* bias, bool relu, const T* u, T* sums) const {
    RowsProduct<T> product{};
    product.u = product.ahead = product.soon = u;
    product.m_row = vectors * lanes_;
    product.add = true;
    product.bias = bias;
    product.relu = relu;
    for (std::int64_t at = 0; at < count; at += most_rows_) {
      product.m = sums + at * product.m_row;
      kernels<T>().rows_product[std::min(most_rows_, count - at)][vectors](product);
    }
  }

  std::int64_t channels_of(std::int64_t chunk) const {
    return std::min(p_.k, chunk_begin(chunk + 1) * lanes_) - chunk_begin(chunk) * lanes_;
  }

  // An image's sums of a chunk to the planes of y.
  void write_planes(T* sums, const Outputs& o, std::int64_t image, std::int64_t chunk, T* y) const {
    const Kernels<T>& kernel = kernels<T>();
    const std::int64_t positions = o.positions(), channels = channels_of(chunk);
    const std::int64_t width = (chunk_begin(chunk + 1) - chunk_begin(chunk)) * lanes_, apart = o.images * width;
    const T* const from = sums + chunk_room(0, positions) + image * width;
    y += chunk_begin(chunk) * lanes_ * p_.y_plane;
    const std::int64_t y_column = turns_ > 1 ? 1 : p_.y_column;
    if (y_column == 1 && p_.y_row == o.columns)
      return kernel.transpose(from, apart, positions, channels, y, p_.y_plane);
    if (y_column == 1 && o.columns >= lanes_) {
      for (std::int64_t row = 0; row < o.rows; ++row)
        kernel.transpose(from + row * o.columns * apart, apart, o.columns, channels, y + row * p_.y_row, p_.y_plane);
      return;
    }
    T* const turned = sums + chunk_room(std::int64_t(turns_), images_ * block_h_ * block_w_);
    kernel.transpose(from, apart, positions, channels, turned, positions);
    kernel.place(
        {turned, positions, int(channels), 0, positions, o.columns, o.columns, y, p_.y_plane, p_.y_row, y_column});
  }

  // An image's sums of chunks [first, last) to y, position after position.
  void write(const T* sums, const Outputs& o, std::int64_t image, std::int64_t first, std::int64_t last, T* y) const {
    const std::int64_t width = kChunkVectors * lanes_, k = first * width, count = std::min(p_.k, last * width) - k;
    const std::int64_t whole = count / width, rest = count - whole * width;
    const std::int64_t rest_width = (chunk_begin(last) - chunk_begin(last - 1)) * lanes_;
    const T* const rest_sums = sums + chunk_room(whole, o.count());
    sums += width;
    for (std::int64_t row = 0; row < o.rows; ++row) {
      T* to = y + row * p_.y_row + k;
      std::int64_t at = row * o.columns * o.images + image;
      if (!whole) {  // one chunk: positions as they follow one another
        kernels<T>().copy_rows(rest_sums + at * rest_width, o.images * rest_width, o.columns, rest, to, p_.y_column);
        continue;
      }
      for (std::int64_t column = 0; column < o.columns; ++column, at += o.images, to += p_.y_column) {
        kernels<T>().copy_rows(sums + at * width, o.count() * width, whole, width, to, width);
        if (rest) kernels<T>().copy_rows(rest_sums + at * rest_width, 0, 1, rest, to + whole * width, 0);
      }
    }
  }

  // Where a chunk's sums of so many positions begin, behind the bias
  std::int64_t chunk_room(std::int64_t chunk, std::int64_t positions) const {
    return (1 + chunk * positions) * kChunkVectors * lanes_;
  }

  Correlation p_;
  std::int64_t lanes_, vectors_, chunks_;  // of output channels: lanes of a vector, vectors, chunks of vectors
  std::int64_t chunks_at_once_;
  std::size_t turns_;  // phases that are written together
  std::int64_t most_rows_;
  ReadRows rows_;
  TapExtent columns_;
  bool copied_;
  bool skips_;           // taps leave out the zeros around x, of which there are many
  std::int64_t images_;  // of a block
  std::int64_t block_h_, block_w_, blocks_h_, blocks_w_;
  std::vector<Part> parts_;
  Scratch<T> packed_;
};

// Measured against the band. Channels last: faster where three quarters of the outputs' vectors are filled, or half of
// them and a lone tap, which is read where it lies. All phases at once are 1.0 to 1.2 times faster than one after the
// other.
template <class T>
bool pays(const Correlation& p, std::int64_t phases, const Costs<T>& costs) {
  if (!ChannelsInLanes<T>::serves(p, costs.skips)) return false;
  if (p.channels_last) {
    const std::int64_t lanes = kernels<T>().lanes, filled = ceil_div(p.k, lanes) * lanes;
    return p.taps.size() == 1 ? 2 * p.k > lanes : 4 * p.k > 3 * filled;
  }
  if (p.c < kLeastInLanes && phases == 1) return false;
  return costs.lanes < costs.band;
}

}  // namespace

template <class T>
bool channels_in_lanes_pays(const std::vector<OutputPhase>& phases) {
  const Correlation p = all_phases(phases);
  const std::int64_t count = std::int64_t(phases.size());
  return pays(p, count, Costs<T>(p, count, take_turns(phases)));
}

template <class T>
double direct_cycles(const Correlation& p) {
  const Costs<T> costs(p, 1, false);
  return pays(p, 1, costs) ? costs.lanes : costs.band;
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_channels_in_lanes(const std::vector<OutputPhase>& phases,
                                                             const Weights<T>& weights) {
  return std::make_unique<ChannelsInLanes<T>>(phases, weights);
}

#define CONVNET_INSTANTIATE(T)                                                                           \
  template bool channels_in_lanes_pays<T>(const std::vector<OutputPhase>&);                              \
  template double direct_cycles<T>(const Correlation&);                                                  \
  template std::unique_ptr<PackedCorrelation<T>> pack_channels_in_lanes(const std::vector<OutputPhase>&, \
                                                                        const Weights<T>&);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
