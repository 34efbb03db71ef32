// The direct algorithm for arrays that lie channels last: a tile's columns are output channels, its rows output
// positions side by side, its terms taps and channels as they follow one another in memory. Where a tap may fall into
// the padding, or is read more than once, a block's input is copied into a strip with its zeros; else it is read where
// it lies.
#include <algorithm>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "correlation.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kInputBytes = 256 << 10;  // of the second-level cache, for a block's input, and for its sums
constexpr std::int64_t kMostInputBytes = 8 << 20;
constexpr std::int64_t kChunkVectors = 2;        // of output channels, in a tile
constexpr std::int64_t kChunksAtOnce = 8;        // whose outputs are written together: whole pages, not lines of many
constexpr std::int64_t kTermsInRegisters = 256;  // summed before they meet the earlier ones: a chunk's stay in L1

// Terms that are summed in registers.
struct Step {
  std::int64_t first;            // term
  std::int64_t segments, terms;  // of each segment
  std::int64_t first_segment;
};

template <class T>
class ChannelsLast final : public PackedCorrelation<T> {
 public:
  ChannelsLast(const Correlation& problem, const Weights<T>& weights)
      : p_(in_reading_order(problem)),
        lanes_(kernels<T>().lanes),
        vectors_(ceil_div(p_.k, lanes_)),
        chunks_(ceil_div(vectors_, kChunkVectors)),
        most_rows_(std::min(kMostProductRows, kernels<T>().most_rows[kChunkVectors])),
        packed_(weights.data ? packed_size() : 0) {
    cut_input();
    cut_terms();
    if (weights.data) pack_weights(weights);
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const std::int64_t blocks = this->blocks(), runs = chunk_runs();
    const std::uint64_t call = new_call();
    parallel_for(blocks * runs, p_.macs(), [&](std::int64_t unit) {
      const std::int64_t run = unit % runs, block = unit / runs;
      const std::int64_t column0 = block % blocks_w_ * block_w_, row0 = block / blocks_w_ % blocks_h_ * block_h_;
      const std::int64_t plane = block / blocks_w_ / blocks_h_, group = plane % p_.groups, image = plane / p_.groups;
      const std::int64_t h = std::min(block_h_, p_.out_h - row0), w = std::min(block_w_, p_.out_w - column0);
      T* const sums = thread_workspace<T>(std::size_t(workspace_size()));
      T* const strip = sums + sums_size();
      const T* from = x + image * p_.x_image + group * p_.c;
      if (copied_) {
        if (!workspace_holds(call, block)) fill_strip(from, row0, column0, h, w, strip);
        from = strip;
      } else {
        from +=
            (row0 * p_.step_h + p_.taps[0].row) * p_.x_row + (column0 * p_.step_w + p_.taps[0].column) * p_.x_column;
      }
      T* const to = y + image * p_.y_image + group * p_.k + row0 * p_.y_row + column0 * p_.y_column;
      const std::int64_t begin = chunks_ * run / runs, end = chunks_ * (run + 1) / runs;
      for (std::int64_t first = begin; first < end; first += kChunksAtOnce) {
        const std::int64_t last = std::min(end, first + kChunksAtOnce);
        for (std::int64_t chunk = first; chunk < last; ++chunk)
          multiply_chunk(from, group, h, w, chunk, bias, relu, sums, sums + chunk_room(chunk - first, h * w));
        write(sums, h, w, first, last, to);
      }
    });
  }

  Explanation explain() const override {
    const std::int64_t workspace = threads_for(blocks() * chunk_runs(), p_.macs()) * workspace_size();
    return {"direct", std::min(most_rows_, p_.out_w), ceil_div(vectors_, chunks_) * lanes_,
            std::int64_t(packed_size() * sizeof(T)), workspace * std::int64_t(sizeof(T))};
  }

  static bool serves(const Correlation& p) {
    const auto [first_row, rows] = tap_extent(p, &Tap::row);
    const auto [first_column, columns] = tap_extent(p, &Tap::column);
    return p.channels_last &&
           double(rows) * (double(columns) + double(p.step_w) * 64) * double(p.c) * sizeof(T) < double(kMostInputBytes);
  }

 private:
  std::size_t packed_size() const { return std::size_t(p_.groups * vectors_ * lanes_ * p_.reduction()); }
  std::int64_t blocks() const { return p_.images * p_.groups * blocks_h_ * blocks_w_; }
  std::int64_t chunk_begin(std::int64_t chunk) const { return std::min(vectors_, chunk * kChunkVectors); }
  std::int64_t chunk_runs() const {
    const std::int64_t threads = threads_for(blocks() * chunks_, p_.macs());
    return threads == 1 ? 1 : std::clamp<std::int64_t>(2 * threads / std::max<std::int64_t>(1, blocks()), 1, chunks_);
  }
  // A chunk's bias, then the sums of a few chunks
  std::int64_t sums_size() const {
    return (block_h_ * block_w_ * std::min(chunks_, kChunksAtOnce) + 1) * kChunkVectors * lanes_;
  }
  std::int64_t strip_row() const { return ((block_w_ - 1) * p_.step_w + columns_.count) * p_.c; }
  std::int64_t strip_size() const { return ((block_h_ - 1) * p_.step_h + rows_.count) * strip_row(); }
  std::int64_t workspace_size() const { return sums_size() + (copied_ ? strip_size() : 0); }

  void cut_input() {
    rows_ = tap_extent(p_, &Tap::row);
    columns_ = tap_extent(p_, &Tap::column);
    const bool inside = rows_.first >= 0 && columns_.first >= 0 &&
                        (p_.out_h - 1) * p_.step_h + rows_.first + rows_.count <= p_.in_h &&
                        (p_.out_w - 1) * p_.step_w + columns_.first + columns_.count <= p_.in_w;
    copied_ = p_.taps.size() > 1 || !inside;
    block_h_ = p_.out_h;
    block_w_ = p_.out_w;
    const auto halve = [&] {
      if (block_h_ > 1)
        block_h_ = ceil_div(block_h_, 2);
      else if (block_w_ > 4 * most_rows_)
        block_w_ = ceil_div(block_w_, 2 * most_rows_) * most_rows_;
      else
        return false;
      return true;
    };
    const auto bytes = [&] { return std::max(strip_size(), sums_size()) * std::int64_t(sizeof(T)); };
    const auto count = [&] {
      return p_.images * p_.groups * ceil_div(p_.out_h, block_h_) * ceil_div(p_.out_w, block_w_);
    };
    while ((bytes() > kInputBytes || (count() < 8 && block_h_ * block_w_ >= 256)) && halve()) {
    }
    blocks_h_ = ceil_div(p_.out_h, block_h_);
    blocks_w_ = ceil_div(p_.out_w, block_w_);
  }

  // Taps side by side in a strip are one segment; a segment of many channels is cut into several steps.
  void cut_terms() {
    const std::int64_t taps = std::int64_t(p_.taps.size());
    std::int64_t together = 1;
    const auto side_by_side = [&](std::int64_t count) {
      for (std::int64_t t = 0; t < taps; ++t)
        if (t % count && (p_.taps[t].row != p_.taps[t - 1].row || p_.taps[t].column != p_.taps[t - 1].column + 1))
          return false;
      return taps % count == 0;
    };
    for (std::int64_t count = 2; copied_ && count <= taps && count * p_.c <= kTermsInRegisters; ++count)
      if (side_by_side(count)) together = count;
    const std::int64_t length = together * p_.c, parts = ceil_div(length, kTermsInRegisters);
    for (std::int64_t t = 0; t < taps; t += together)
      for (std::int64_t part = 0; part < parts; ++part) offset_.push_back(tap_offset(t) + length * part / parts);
    if (parts > 1) {
      for (std::int64_t t = 0; t < taps; ++t)
        for (std::int64_t part = 0; part < parts; ++part) {
          const std::int64_t first = length * part / parts;
          steps_.push_back({t * length + first, 1, length * (part + 1) / parts - first, t * parts + part});
        }
      return;
    }
    const std::int64_t segments = taps / together, steps = ceil_div(segments * length, kTermsInRegisters);
    const std::int64_t cuts = std::min(steps, segments);
    for (std::int64_t cut = 0; cut < cuts; ++cut) {
      const std::int64_t first = segments * cut / cuts;
      steps_.push_back({first * length, segments * (cut + 1) / cuts - first, length, first});
    }
  }

  std::int64_t tap_offset(std::int64_t t) const {
    if (!copied_) return 0;  // the block begins there
    return (p_.taps[t].row - rows_.first) * strip_row() + (p_.taps[t].column - columns_.first) * p_.c;
  }

  // u[tap][channel][output channel] of a chunk, zero past the last one
  void pack_weights(const Weights<T>& weights) {
    const Kernels<T>& kernel = kernels<T>();
    parallel_for(p_.groups * chunks_, double(packed_size()), [&](std::int64_t unit) {
      const std::int64_t group = unit / chunks_, chunk = unit % chunks_;
      const std::int64_t first = chunk_begin(chunk) * lanes_, width = chunk_begin(chunk + 1) * lanes_ - first;
      const std::int64_t count = std::min(width, p_.k - first);
      const T* const from = weights.data + group * weights.group_stride + first * weights.k_stride;
      T* u = packed_.data() + (group * vectors_ * lanes_ + first) * p_.reduction();
      if (count < width) std::fill_n(u, width * p_.reduction(), T(0));
      for (const Tap& tap : p_.taps) {
        if (weights.k_stride == 1)
          kernel.copy_rows(from + tap.source, weights.c_stride, p_.c, count, u, width);
        else
          kernel.transpose(from + tap.source, weights.k_stride, count, p_.c, u, width);
        u += p_.c * width;
      }
    });
  }

  // Of h rows of w outputs.
  void fill_strip(const T* x, std::int64_t row0, std::int64_t column0, std::int64_t h, std::int64_t w, T* strip) const {
    const std::int64_t row = row0 * p_.step_h + rows_.first, column = column0 * p_.step_w + columns_.first;
    const std::int64_t columns = (w - 1) * p_.step_w + columns_.count;
    const std::int64_t begin = std::clamp<std::int64_t>(-column, 0, columns),
                       end = std::clamp<std::int64_t>(p_.in_w - column, begin, columns);
    const bool whole = p_.x_column == p_.c;
    for (std::int64_t i = 0; i < (h - 1) * p_.step_h + rows_.count; ++i, strip += strip_row()) {
      if (row + i < 0 || row + i >= p_.in_h || begin == end) {
        std::fill_n(strip, columns * p_.c, T(0));
        continue;
      }
      const T* const from = x + (row + i) * p_.x_row + (column + begin) * p_.x_column;
      std::fill_n(strip, begin * p_.c, T(0));
      kernels<T>().copy_rows(from, p_.x_column, whole ? 1 : end - begin, whole ? (end - begin) * p_.c : p_.c,
                             strip + begin * p_.c, p_.c);
      std::fill(strip + end * p_.c, strip + columns * p_.c, T(0));
    }
  }

  void multiply_chunk(const T* x, std::int64_t group, std::int64_t h, std::int64_t w, std::int64_t chunk, const T* bias,
                      bool relu, T* padded_bias, T* sums) const {
    const Kernels<T>& kernel = kernels<T>();
    const std::int64_t vectors = chunk_begin(chunk + 1) - chunk_begin(chunk), width = vectors * lanes_;
    const std::int64_t k = chunk_begin(chunk) * lanes_, count = std::min(width, p_.k - k);
    const T* const u = packed_.data() + (group * vectors_ * lanes_ + k) * p_.reduction();
    if (bias) {
      std::copy_n(bias + group * p_.k + k, count, padded_bias);
      std::fill(padded_bias + count, padded_bias + width, T(0));
    }
    const std::int64_t x_row = copied_ ? strip_row() : p_.x_row, x_column = copied_ ? p_.c : p_.x_column;
    const std::int64_t panels = ceil_div(w, most_rows_), all = h * panels;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const Step& step = steps_[i];
      const bool last = i + 1 == steps_.size();
      RowsProduct<T> product{};
      product.v_row = p_.step_w * x_column;
      product.offset = offset_.data() + step.first_segment;
      product.segments = step.segments;
      product.terms = step.terms;
      product.u = u + step.first * width;
      product.add = i > 0;
      product.bias = bias && last ? padded_bias : nullptr;
      product.relu = relu && last;
      product.ahead_step = width / all;
      const std::int64_t size = step.segments * step.terms * width;
      for (std::int64_t row = 0, at = 0; row < h; ++row)
        for (std::int64_t panel = 0; panel < panels; ++panel, ++at) {
          const std::int64_t first = w * panel / panels, rows = w * (panel + 1) / panels - first;
          product.v = x + row * p_.step_h * x_row + first * product.v_row;
          product.m = sums + (row * w + first) * width;
          product.ahead = product.u + size * (all + at) / all;
          kernel.rows_product[rows][vectors](product);
        }
    }
  }

  // The chunks' sums to y, position after position.
  void write(const T* sums, std::int64_t h, std::int64_t w, std::int64_t first, std::int64_t last, T* y) const {
    const std::int64_t width = kChunkVectors * lanes_, k = first * width, count = std::min(p_.k, last * width) - k;
    const std::int64_t whole = count / width, rest = count - whole * width;
    const std::int64_t rest_width = (chunk_begin(last) - chunk_begin(last - 1)) * lanes_;
    const T* const rest_sums = sums + chunk_room(whole, h * w);
    sums += width;
    for (std::int64_t row = 0, at = 0; row < h; ++row) {
      T* to = y + row * p_.y_row + k;
      if (!whole) {  // one chunk: positions as they follow one another
        kernels<T>().copy_rows(rest_sums + at * rest_width, rest_width, w, rest, to, p_.y_column);
        at += w;
        continue;
      }
      for (std::int64_t column = 0; column < w; ++column, ++at, to += p_.y_column) {
        if (whole) kernels<T>().copy_rows(sums + at * width, h * w * width, whole, width, to, width);
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
  std::int64_t most_rows_;
  TapExtent rows_, columns_;
  bool copied_;
  std::int64_t block_h_, block_w_, blocks_h_, blocks_w_;
  std::vector<std::int64_t> offset_;  // of each segment
  std::vector<Step> steps_;
  Scratch<T> packed_;
};

}  // namespace

template <class T>
bool channels_last_serves(const Correlation& problem) {
  return ChannelsLast<T>::serves(problem);
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_channels_last(const Correlation& problem, const Weights<T>& weights) {
  return std::make_unique<ChannelsLast<T>>(problem, weights);
}

template bool channels_last_serves<float>(const Correlation&);
template bool channels_last_serves<double>(const Correlation&);
template std::unique_ptr<PackedCorrelation<float>> pack_channels_last(const Correlation&, const Weights<float>&);
template std::unique_ptr<PackedCorrelation<double>> pack_channels_last(const Correlation&, const Weights<double>&);

}  // namespace convnet
