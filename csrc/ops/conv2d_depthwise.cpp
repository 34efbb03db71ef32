// Depthwise: one input channel a group, so each output plane is one input plane under one filter, and memory sets the
// pace. The input comes in strips in which each tap is a plain offset (strip.h); a vector holds columns of one output
// row. Where channels lie last a vector holds these, and the input is read where it lies; a few channels are pixels,
// the columns of a single plane.
#include <algorithm>
#include <numeric>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "band.h"
#include "correlation.h"
#include "strip.h"

namespace convnet {
namespace {

constexpr std::int64_t kLastStripBytes = 640 << 10;  // of the second-level cache, for a strip of channels last
constexpr std::int64_t kMostLastVectors = 8;         // of channels, in a strip
constexpr std::int64_t kMostPixel = 32;              // of any vectors' channels

// Taps of the first row.
std::int64_t tap_columns(const Correlation& p) {
  const auto below = [&](const Tap& tap) { return tap.row > p.taps[0].row; };
  return std::find_if(p.taps.begin(), p.taps.end(), below) - p.taps.begin();
}

DepthwiseTaps taps_kind(const Correlation& p) {
  const auto grid = [&](std::int64_t size) {
    if (std::int64_t(p.taps.size()) != size * size) return false;
    for (std::int64_t t = 0; t < size * size; ++t) {
      const Tap& tap = p.taps[std::size_t(t)];
      if (tap.row != p.taps[0].row + t / size || tap.column != p.taps[0].column + t % size) return false;
    }
    return true;
  };
  if (p.step_h <= 2 && grid(3)) return p.step_h == 1 ? DepthwiseTaps::grid3x3 : DepthwiseTaps::grid3x3_step2;
  if (p.step_h <= 2 && grid(5)) return p.step_h == 1 ? DepthwiseTaps::grid5x5 : DepthwiseTaps::grid5x5_step2;
  const std::size_t columns = std::size_t(tap_columns(p)), rows = p.taps.size() / columns;
  bool in_columns = p.step_h == 1 && p.taps.size() == rows * columns && rows > 2;
  for (std::size_t t = columns; in_columns && t < p.taps.size(); ++t)
    in_columns = p.taps[t].row == p.taps[t - columns].row + 1 && p.taps[t].column == p.taps[t - columns].column;
  return in_columns ? DepthwiseTaps::columns : DepthwiseTaps::any;
}

// Channels last: blocks of outputs of some channels. The taps read x where it lies, and zeros in the padding; channels
// that have several outputs each are first copied into a strip with their padding.
template <class T>
class LastBlocks {
 public:
  LastBlocks(const Correlation& problem, std::int64_t most_channels, std::int64_t most_outputs,
             std::int64_t most_columns = INT64_MAX)
      : p(problem),
        channels(p.groups * p.k),
        lanes_(kernels<T>().lanes),
        copied_(p.k > 1),
        chunk_(chunk_of(most_channels)),
        rows_(tap_extent(p, &Tap::row)),
        columns_(tap_extent(p, &Tap::column)),
        block_w_(std::min({p.out_w, most_columns, copied_ ? std::int64_t{256} : INT64_MAX})),
        block_h_(std::clamp<std::int64_t>(most_outputs / block_w_, 1, p.out_h)),
        strip_columns_((block_w_ - 1) * p.step_w + columns_.count),
        whole_(columns_.first, p.step_w, p.in_w - columns_.count + 1, p.out_w),
        zeros_(std::size_t(copied_ ? 0 : p.in_w * p.x_column + lanes_)) {
    if (!copied_) std::fill_n(zeros_.data(), p.in_w * p.x_column + lanes_, T(0));
    if (copied_)
      block_h_ = std::clamp<std::int64_t>(
          (kLastStripBytes / std::int64_t(sizeof(T)) / (strip_columns_ * chunk_) - rows_.count) / p.step_h + 1, 1,
          block_h_);
  }

  struct Place {
    std::int64_t image, channel, channels, row, column, rows, columns;
  };
  // Outputs side by side in a row of a block, as the kernels take them
  struct Run {
    std::int64_t row, column, columns;
    const T* const* tap;
  };

  std::int64_t padded(std::int64_t count) const { return ceil_div(count, lanes_) * lanes_; }
  std::int64_t chunk() const { return chunk_; }
  std::int64_t chunks() const { return ceil_div(channels, chunk_); }
  std::int64_t blocks() const { return p.images * ceil_div(p.out_h, block_h_) * ceil_div(p.out_w, block_w_); }
  std::int64_t strip_size() const {  // with what a vector reads too much
    return copied_ ? ((block_h_ - 1) * p.step_h + rows_.count) * strip_columns_ * chunk_ + lanes_ : 0;
  }

  Place place(std::int64_t chunk, std::int64_t block) const {
    const std::int64_t across = ceil_div(p.out_w, block_w_), down = ceil_div(p.out_h, block_h_);
    const std::int64_t row = block / across % down * block_h_, column = block % across * block_w_;
    const std::int64_t channel = chunk * chunk_;
    return {block / across / down,
            channel,
            std::min(chunk_, channels - channel),
            row,
            column,
            std::min(block_h_, p.out_h - row),
            std::min(block_w_, p.out_w - column)};
  }

  // Where the outputs of a block read: x, or the strip, which is filled first.
  const T* input(const T* x, const Place& at, T* strip) const {
    if (!copied_) return x + at.image * p.x_image + at.channel;
    fill(x, at, strip);
    return strip;
  }
  std::int64_t x_column() const { return copied_ ? chunk_ : p.x_column; }
  std::int64_t in_w() const { return copied_ ? strip_columns_ : p.in_w; }
  std::int64_t first_column() const { return copied_ ? 0 : columns_.first; }

  // The rows of the input, from the first that a block's outputs read on; of those outside the image zeros.
  std::vector<const T*> rows(const T* input, const Place& at) const {
    std::vector<const T*> row(std::size_t((at.rows - 1) * p.step_h + rows_.count));
    const std::int64_t first = at.row * p.step_h + rows_.first;
    for (std::int64_t i = 0; i < std::int64_t(row.size()); ++i)
      row[std::size_t(i)] = copied_                                ? input + i * strip_columns_ * chunk_
                            : first + i >= 0 && first + i < p.in_h ? input + (first + i) * p.x_row
                                                                   : zeros_.data();
    return row;
  }

  // Calls body(run) for the outputs of a block, together where no tap falls beside the image.
  template <class Body>
  void for_runs(const T* input, const Place& at, Body&& body) const {
    const std::vector<const T*> row = rows(input, at);
    std::vector<const T*> tap(p.taps.size());
    for (std::int64_t i = 0; i < at.rows; ++i) {
      const std::int64_t first = copied_ ? 0 : at.column, last = first + at.columns;
      const auto run = [&](std::int64_t column, std::int64_t columns) {
        for (std::size_t t = 0; t < tap.size(); ++t) {
          const std::int64_t q = first_column() + column * p.step_w + p.taps[t].column - columns_.first;
          tap[t] = 0 <= q && q < in_w() ? row[std::size_t(i * p.step_h + p.taps[t].row - rows_.first)] + q * x_column()
                                        : zeros_.data();
        }
        body(Run{i, column - first, columns, tap.data()});
      };
      if (copied_) {
        run(0, at.columns);
        continue;
      }
      const std::int64_t whole = std::clamp(whole_.begin, first, last), whole_end = std::clamp(whole_.end, whole, last);
      for (std::int64_t column = first; column < whole; ++column) run(column, 1);
      if (whole < whole_end) run(whole, whole_end - whole);
      for (std::int64_t column = whole_end; column < last; ++column) run(column, 1);
    }
  }

  const Correlation p;
  const std::int64_t channels;  // of outputs

 private:
  // Chunks are as long as one another, of whole vectors of input channels.
  std::int64_t chunk_of(std::int64_t most_channels) const {
    const std::int64_t vectors = ceil_div(channels, lanes_ * p.k), chunks = ceil_div(channels, most_channels);
    return std::min(padded(channels), ceil_div(vectors, chunks) * lanes_ * p.k);
  }
  // A strip is [row][column][channel].
  void fill(const T* x, const Place& at, T* strip) const {
    const std::int64_t row = at.row * p.step_h + rows_.first, column = at.column * p.step_w + columns_.first;
    const std::int64_t begin = std::clamp<std::int64_t>(-column, 0, strip_columns_),
                       end = std::clamp<std::int64_t>(p.in_w - column, begin, strip_columns_);
    const std::int64_t rows = (at.rows - 1) * p.step_h + rows_.count;
    for (std::int64_t i = 0; i < rows; ++i, strip += strip_columns_ * chunk_) {
      std::fill_n(strip, strip_columns_ * chunk_, T(0));
      if (row + i < 0 || row + i >= p.in_h) continue;
      const T* from = x + at.image * p.x_image + (row + i) * p.x_row + (column + begin) * p.x_column;
      // Each channel k times
      const bool whole = at.channels == chunk_ && at.channels == channels;
      const std::int64_t runs = whole ? 1 : end - begin, run = whole ? (end - begin) * p.x_column : at.channels / p.k;
      T* to = strip + begin * chunk_;
      for (std::int64_t j = 0; j < runs && run > 0; ++j, from += p.x_column, to += chunk_)
        kernels<T>().repeat(from + at.channel / p.k, run, p.k, to);
    }
  }

  std::int64_t lanes_;
  bool copied_;
  std::int64_t chunk_;
  TapExtent rows_, columns_;
  std::int64_t block_w_, block_h_, strip_columns_;
  Real whole_;        // columns of outputs whose taps are all in the image
  Scratch<T> zeros_;  // a row of the image
};

// Channels last that would leave part of a vector or two empty are columns of as many elements in one plane: pixels.
template <class T>
bool pixels_pay(const Correlation& p) {
  const std::int64_t channels = p.groups * p.k, lanes = kernels<T>().lanes;
  return p.channels_last && channels < 2 * lanes && (channels % lanes > 0 || p.k > 1);
}

// The planes under their filters: channels, or images of pixels.
Correlation planes_of(const Correlation& problem) {
  Correlation p = problem;
  if (p.channels_last) p.groups = p.k = 1;
  return p;
}

template <class T>
StripLayout lay_out_planes(const Correlation& problem) {
  return problem.channels_last ? lay_out_strips<T>(problem, problem.groups * problem.k, problem.k)
                               : lay_out_strips<T>(problem);
}

// A row of so many channels repeated, to the length of a tap's weights.
template <class T>
void repeat_pixel(std::int64_t pixel, T* row) {
  for (std::int64_t i = pixel; i < kPixelVectors * kernels<T>().lanes; ++i) row[i] = row[i - pixel];
}

// All channels' weights of a tap
template <class T>
void copy_tap(const Correlation& p, const Weights<T>& weights, const Tap& tap, T* to) {
  for (std::int64_t group = 0; group < p.groups; ++group)
    for (std::int64_t k = 0; k < p.k; ++k)
      *to++ = weights.data[group * weights.group_stride + k * weights.k_stride + tap.source];
}

// Each channel's weights of its taps, channel after channel
template <class T>
void copy_channels(const Correlation& p, const Weights<T>& weights, T* to) {
  for (std::int64_t channel = 0; channel < p.groups * p.k; ++channel) {
    const T* from = weights.data + channel / p.k * weights.group_stride + channel % p.k * weights.k_stride;
    for (const Tap& tap : p.taps) *to++ = from[tap.source];
  }
}

// The first of the outputs at `at` that belong to an output channel
template <class T>
T* outputs_of(const Correlation& p, const StripPlace& at, std::int64_t channel, T* y) {
  return y + at.plane / p.groups * p.y_image + channel * p.y_plane + at.row * p.y_row + at.column * p.y_column;
}

template <class T>
class DepthwiseLastCorrelation final : public PackedCorrelation<T> {
 public:
  DepthwiseLastCorrelation(const Correlation& problem, const Weights<T>& weights)
      : blocks_(problem, most_channels(problem),
                kUnitOutputs / std::min(most_channels(problem), problem.groups * problem.k)),
        grid_(blocks_.p.step_w == 1 ? kernels<T>().depthwise_last_grid[int(taps_kind(blocks_.p))] : nullptr),
        width_(blocks_.padded(blocks_.channels)),
        weight_(weights.data ? packed_size() : 0) {
    if (!weights.data) return;
    T* to = weight_.data();
    std::fill_n(to, packed_size(), T(0));
    const Correlation& p = blocks_.p;
    for (const Tap& tap : p.taps) {
      copy_tap(p, weights, tap, to);
      to += width_;
    }
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const Correlation& p = blocks_.p;
    const std::int64_t chunks = blocks_.chunks();
    parallel_for(blocks_.blocks() * chunks, p.macs(), [&](std::int64_t unit) {
      const auto at = blocks_.place(unit % chunks, unit / chunks);
      const T* const from = blocks_.input(x, at, thread_workspace<T>(std::size_t(blocks_.strip_size())));
      const T* const weight = weight_.data() + at.channel;
      const T* const some_bias = bias ? bias + at.channel : nullptr;
      T* const to = y + at.image * p.y_image + at.row * p.y_row + at.column * p.y_column + at.channel;
      if (grid_) {
        const std::vector<const T*> row = blocks_.rows(from, at);
        return grid_({row.data(), blocks_.x_column(), blocks_.in_w(), blocks_.first_column(), weight, width_, some_bias,
                      relu, at.rows, at.columns, at.channels, to, p.y_row, p.y_column});
      }
      blocks_.for_runs(from, at, [&](const auto& run) {
        kernels<T>().depthwise_last({run.tap, p.step_w * blocks_.x_column(), p.reduction(), weight, width_, some_bias,
                                     relu, run.columns, at.channels, to + run.row * p.y_row + run.column * p.y_column,
                                     p.y_column});
      });
    });
  }

  Explanation explain() const override {
    constexpr std::int64_t columns = 8;  // that a kernel takes at once
    const std::int64_t threads = threads_for(blocks_.blocks() * blocks_.chunks(), blocks_.p.macs());
    return {"depthwise", kernels<T>().lanes, columns, std::int64_t(packed_size() * sizeof(T)),
            threads * blocks_.strip_size() * std::int64_t(sizeof(T))};
  }

 private:
  // All of a pixel where it is read as it lies
  static std::int64_t most_channels(const Correlation& p) {
    return p.k == 1 ? ceil_div(p.groups, kernels<T>().lanes) * kernels<T>().lanes
                    : kMostLastVectors * kernels<T>().lanes * p.k;
  }
  std::size_t packed_size() const { return std::size_t(width_ * blocks_.p.reduction()); }

  LastBlocks<T> blocks_;
  void (*grid_)(const DepthwiseLastGrid<T>&);  // or null
  std::int64_t width_;                         // of the weights of a tap
  Scratch<T> weight_;
};

// A slice sums some blocks of one chunk of channels; slices are added in order.
template <class T>
void depthwise_last_weight_gradient(const Correlation& p, const T* dy, const T* x, T* dw) {
  // Of a block: what its sums of a few rows read stays in the first-level cache, and the rounding error is bounded.
  constexpr std::int64_t most_slices = 64, most_outputs = 512, most_columns = 16, most_bytes = 512;
  const Kernels<T>& kernel = kernels<T>();
  const LastBlocks<T> all(p, most_bytes / std::int64_t(sizeof(T)) * p.k, most_outputs, most_columns);
  const std::int64_t width = all.chunk();
  const std::int64_t blocks = all.blocks(), chunks = all.chunks(), taps = p.reduction();
  const std::int64_t slices = std::clamp<std::int64_t>(most_slices / chunks, 1, blocks), sums = taps * width;
  const Scratch<T> partial(std::size_t(chunks * slices * sums));
  parallel_for(chunks * slices, p.macs(), [&](std::int64_t unit) {
    const std::int64_t chunk = unit / slices, slice = unit % slices;
    T* const strip = thread_workspace<T>(std::size_t(all.strip_size() + sums));
    T* const of_block = strip + all.strip_size();
    T* const sum = partial.data() + unit * sums;
    std::fill_n(sum, sums, T(0));
    for (std::int64_t block = blocks * slice / slices; block < blocks * (slice + 1) / slices; ++block) {
      const auto at = all.place(chunk, block);
      const T* const from = dy + at.image * p.y_image + at.row * p.y_row + at.column * p.y_column + at.channel;
      std::fill_n(of_block, sums, T(0));
      all.for_runs(all.input(x, at, strip), at, [&](const auto& run) {
        kernel.depthwise_last_gradient({run.tap, 0, p.step_w * all.x_column(), taps,
                                        from + run.row * p.y_row + run.column * p.y_column, 0, p.y_column, 1,
                                        run.columns, at.channels, of_block, width});
      });
      kernel.axpby(T(1), sum, T(1), of_block, sums, sum);
    }
  });
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    T* const sum = partial.data() + chunk * slices * sums;
    for (std::int64_t slice = 1; slice < slices; ++slice) kernel.axpby(T(1), sum, T(1), sum + slice * sums, sums, sum);
    const std::int64_t first = chunk * all.chunk();
    kernel.copy_rows(sum, width, taps, std::min(all.chunk(), all.channels - first), dw + first, all.channels);
  }
}

template <class T>
class DepthwiseCorrelation final : public PackedCorrelation<T> {
 public:
  DepthwiseCorrelation(const Correlation& problem, const Weights<T>& weights)
      : p_(planes_of(problem)),
        layout_(lay_out_planes<T>(problem)),
        kind_(taps_kind(p_)),
        tap_columns_(tap_columns(p_)),
        from_image_(kernels<T>().depthwise_image[int(kind_)] && p_.step_w == p_.step_h &&
                    p_.y_column == layout_.pixel && layout_.repeat == 1 && (layout_.pixel == 1 || p_.step_w == 1)),
        weight_(weights.data ? packed_size() : 0),
        zeros_(std::size_t(from_image_ ? p_.in_w * layout_.pixel : 0)) {
    if (from_image_) std::fill_n(zeros_.data(), p_.in_w * layout_.pixel, T(0));
    if (!weights.data) return;
    T* to = weight_.data();
    if (layout_.pixel > 1) {
      for (const Tap& tap : p_.taps) {
        copy_tap(problem, weights, tap, to);
        repeat_pixel(layout_.pixel, to);
        to += kPixelVectors * kernels<T>().lanes;
      }
      return;
    }
    copy_channels(p_, weights, weight_.data());
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const std::int64_t pixel = layout_.pixel, channels = p_.groups * p_.k * pixel;
    std::vector<T> biases(std::size_t(pixel > 1 ? kPixelVectors * kernels<T>().lanes : channels));
    if (bias) std::copy_n(bias, channels, biases.data());
    if (pixel > 1) repeat_pixel(pixel, biases.data());
    if (from_image_) return run_from_image(x, biases.data(), relu, y);
    for_strips(p_, layout_, x, T(0), double(pixel) * p_.macs(), [&](const T* strip, const StripPlace& at, T* outputs) {
      for (std::int64_t k = 0; k < p_.k; ++k) {
        const std::int64_t channel = at.plane % p_.groups * p_.k + k, columns = at.columns * pixel;
        T* const to = outputs_of(p_, at, channel, y);
        const bool in_place = p_.y_column == pixel;
        kernels<T>().depthwise[int(kind_)]({strip, p_.step_h * layout_.pitch, p_.reduction(), layout_.tap_offset.data(),
                                            tap_columns_, weight_.data() + channel * p_.reduction(),
                                            biases.data() + channel, relu, at.rows, columns, in_place ? to : outputs,
                                            in_place ? p_.y_row : columns, pixel});
        if (in_place) continue;
        if (pixel == 1)
          kernels<T>().place(
              {outputs, at.columns, int(at.rows), 0, at.columns, at.columns, at.columns, to, p_.y_row, 0, p_.y_column});
        for (std::int64_t row = 0; pixel > 1 && row < at.rows; ++row)
          kernels<T>().copy_rows(outputs + row * columns, pixel, at.columns, pixel, to + row * p_.y_row, p_.y_column);
      }
    });
  }

  Explanation explain() const override {
    constexpr std::int64_t rows = 4;  // that a kernel takes at once
    const std::int64_t strips = p_.images * p_.groups * layout_.strips(p_);
    const std::int64_t threads = threads_for(strip_units(p_, layout_, strips), p_.macs());
    const std::int64_t workspace = from_image_ ? p_.in_w * layout_.pixel : threads * strip_workspace(layout_);
    return {"depthwise", std::min(rows, layout_.block_h), kernels<T>().lanes, std::int64_t(packed_size() * sizeof(T)),
            workspace * std::int64_t(sizeof(T))};
  }

 private:
  std::size_t packed_size() const {
    const std::int64_t a_tap = layout_.pixel > 1 ? kPixelVectors * kernels<T>().lanes : p_.groups * p_.k;
    return std::size_t(a_tap * p_.reduction());
  }

  void run_from_image(const T* x, const T* biases, bool relu, T* y) const {
    const std::int64_t pixel = layout_.pixel;
    for_strip_places(p_, layout_, double(pixel) * p_.macs(), [&](const StripPlace& at) {
      for (std::int64_t k = 0; k < p_.k; ++k) {
        const std::int64_t channel = at.plane % p_.groups * p_.k + k;
        T* const to = outputs_of(p_, at, channel, y);
        kernels<T>().depthwise_image[int(kind_)]({x + at.plane * p_.in_h * p_.in_w * pixel, p_.in_h, p_.in_w,
                                                  zeros_.data(), at.row * p_.step_h + p_.taps[0].row,
                                                  at.column * p_.step_w + p_.taps[0].column,
                                                  weight_.data() + channel * p_.reduction(), biases + channel, relu,
                                                  at.rows, at.columns, to, p_.y_row, pixel});
      }
    });
  }

  Correlation p_;
  StripLayout layout_;
  DepthwiseTaps kind_;
  std::int64_t tap_columns_;
  bool from_image_;  // without a copy
  Scratch<T> weight_, zeros_;
};

// Rows of y, of so many columns in all, from those of each phase.
template <class T>
void put_in_turn(const T* phase, std::int64_t from_phase, std::int64_t from_row, std::int64_t phases, std::int64_t rows,
                 std::int64_t columns, T* y, std::int64_t y_row) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t whole = columns / phases, rest = columns % phases;
  for (std::int64_t i = 0; i < rows; ++i, phase += from_row, y += y_row) {
    kernel.transpose(phase, from_phase, phases, whole, y, phases);
    for (std::int64_t j = 0; j < rest; ++j) y[whole * phases + j] = phase[j * from_phase + whole];
  }
}

// Phases of a strided input gradient: they read one strip, and those whose outputs take turns in a row are laid side by
// side first.
template <class T>
class DepthwisePhases final : public PackedCorrelation<T> {
 public:
  DepthwisePhases(const std::vector<OutputPhase>& phases, const Weights<T>& weights)
      : p_(all_phases(phases)),
        layout_(lay_out_strips<T>(p_)),
        weight_(weights.data ? std::size_t(p_.groups * p_.k * p_.reduction()) : 0) {
    layout_.output_room *= p_.y_column;
    for (const OutputPhase& phase : phases)
      phases_.push_back({phase.problem, phase.first, taps_kind(phase.problem), tap_columns(phase.problem)});
    if (weights.data) copy_channels(p_, weights, weight_.data());
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const Kernels<T>& kernel = kernels<T>();
    for_strips(p_, layout_, x, T(0), p_.macs(), [&](const T* strip, const StripPlace& at, T* outputs) {
      for (std::int64_t k = 0; k < p_.k; ++k) {
        const std::int64_t channel = at.plane % p_.groups * p_.k + k;
        const T* weight = weight_.data() + channel * p_.reduction();
        const T of_channel = bias ? bias[channel] : T(0);
        T* const to = outputs_of(p_, at, channel, y);
        const std::int64_t *tap_offset = layout_.tap_offset.data(), turns = p_.y_column, width = turns * at.columns;
        for (std::size_t i = 0; i < phases_.size(); i += std::size_t(turns)) {
          const Phase* const row = &phases_[i];
          const std::int64_t rows = std::min(at.rows, row->problem.out_h - at.row);
          std::int64_t columns = 0;  // of all that take turns
          for (std::int64_t turn = 0; turn < turns; ++turn) {
            const std::int64_t taps = row[turn].problem.reduction();
            const std::int64_t of_phase = std::min(at.columns, row[turn].problem.out_w - at.column);
            kernel.depthwise[int(row[turn].kind)]({strip, layout_.pitch, taps, tap_offset, row[turn].tap_columns,
                                                   weight, &of_channel, relu, rows, of_phase,
                                                   turns == 1 ? to + row->first : outputs + turn * at.columns,
                                                   turns == 1 ? p_.y_row : width, 1});
            weight += taps;
            tap_offset += taps;
            columns += of_phase;
          }
          if (turns > 1) put_in_turn(outputs, at.columns, width, turns, rows, columns, to + row->first, p_.y_row);
        }
      }
    });
  }

  Explanation explain() const override {
    constexpr std::int64_t rows = 4;  // that a kernel takes at once
    const std::int64_t strips = p_.images * p_.groups * layout_.strips(p_);
    const std::int64_t threads = threads_for(strip_units(p_, layout_, strips), p_.macs());
    const std::int64_t bytes = sizeof(T);
    return {"depthwise", std::min(rows, layout_.block_h), kernels<T>().lanes, p_.groups * p_.k * p_.reduction() * bytes,
            threads * strip_workspace(layout_) * bytes};
  }

 private:
  struct Phase {
    Correlation problem;
    std::int64_t first;
    DepthwiseTaps kind;
    std::int64_t tap_columns;
  };

  Correlation p_;  // all taps, phase by phase
  StripLayout layout_;
  std::vector<Phase> phases_;
  Scratch<T> weight_;
};

template <class T>
T sum_of_lanes(T* lane, std::int64_t lanes) {
  for (std::int64_t half = lanes / 2; half > 0; half /= 2)
    for (std::int64_t j = 0; j < half; ++j) lane[j] += lane[j + half];
  return lane[0];
}

// Channels last, several of each: the planes of a few rows are made in the cache, of x in a band.
template <class T>
void turned_weight_gradient(const Correlation& p, const T* dy, const T* x, T* dw) {
  constexpr std::int64_t block_outputs = 4096, most_slices = 64, most_sums = 1 << 17;
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t lanes = kernel.lanes, taps = std::int64_t(p.taps.size()), pairs = p.c * p.k;
  const std::int64_t block_h =
      std::clamp<std::int64_t>(block_outputs / p.out_w / 4 * 4, std::min<std::int64_t>(4, p.out_h), p.out_h);
  const std::int64_t down = ceil_div(p.out_h, block_h), blocks = p.images * down;
  const BandLayout band_layout(p, block_h, p.out_w, false);
  const DepthwiseTaps kind = p.step_h == 1 ? taps_kind(p) : DepthwiseTaps::any;  // a band's rows are split by the step
  const std::int64_t sums = pairs * taps * lanes;                                // of a slice of one group
  const std::int64_t slices = std::clamp<std::int64_t>(most_sums / sums, 1, std::min(most_slices, blocks));
  const Scratch<T> partial(std::size_t(p.groups * slices * sums));
  parallel_for(p.groups * slices, p.macs(), [&](std::int64_t unit) {
    const std::int64_t group = unit / slices, slice = unit % slices;
    const std::int64_t plane = block_h * p.out_w;
    T* const turned = thread_workspace<T>(std::size_t(p.k * plane + band_layout.template size<T>(p.c)));
    T* const band = turned + p.k * plane;
    T* const sum = partial.data() + unit * sums;
    std::fill_n(sum, sums, T(0));
    for (std::int64_t block = blocks * slice / slices; block < blocks * (slice + 1) / slices; ++block) {
      const std::int64_t image = block / down, row = block % down * block_h, h = std::min(block_h, p.out_h - row);
      fill_band(p, band_layout, x + image * p.x_image + group * p.c, row, 0, band);
      kernel.transpose(dy + image * p.y_image + row * p.y_row + group * p.k, p.y_column, h * p.out_w, p.k, turned,
                       plane);
      for (std::int64_t pair = 0; pair < pairs; ++pair)
        kernel.depthwise_gradient[int(kind)]({band + pair / p.k * band_layout.channel_stride, band_layout.pitch, taps,
                                              band_layout.tap_offset.data(), turned + pair % p.k * plane, p.out_w, h,
                                              p.out_w, 0, lanes, sum + pair * taps * lanes});
    }
  });
  for (std::int64_t group = 0; group < p.groups; ++group) {
    T* const sum = partial.data() + group * slices * sums;
    for (std::int64_t slice = 1; slice < slices; ++slice) kernel.axpby(T(1), sum, T(1), sum + slice * sums, sums, sum);
    for (std::int64_t i = 0; i < pairs * taps; ++i)
      dw[((i % taps * p.c + i / taps / p.k) * p.groups + group) * p.k + i / taps % p.k] =
          sum_of_lanes(sum + i * lanes, lanes);
  }
}

}  // namespace

// With more output channels to an input channel the direct engine's tiles share more loads (measured: from 6 on), but
// these would have to be turned where they lie last.
bool depthwise_serves(const Correlation& p) {
  // A lone channel's outputs as pixels: measured 1.1 to 1.5 times faster than direct, but 0.8 to 0.95 on AVX-512 in
  // wide images or where pixels do not fill its vectors.
  const std::int64_t lanes = kernels<float>().lanes;
  const bool pixels = p.channels_last && p.groups == 1 && (lanes < 16 || (p.out_w <= 128 && lanes % p.k == 0));
  const std::int64_t most = pixels ? 8 : 4;
  return p.c == 1 && p.k <= most && strips_serve(p, p.channels_last ? std::min(p.groups * p.k, kMostPixel) : 1);
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_depthwise(const Correlation& problem, const Weights<T>& weights) {
  if (depthwise_in_lanes_pays<T>({{problem, 0}})) return pack_depthwise_in_lanes<T>({{problem, 0}}, weights);
  if (problem.channels_last && !pixels_pay<T>(problem))
    return std::make_unique<DepthwiseLastCorrelation<T>>(problem, weights);
  return std::make_unique<DepthwiseCorrelation<T>>(problem, weights);
}

template <class T>
bool depthwise_phases_serve(const std::vector<OutputPhase>& phases) {
  constexpr std::int64_t most_turns = 4;
  const Correlation p = all_phases(phases);
  const bool long_rows = p.y_column <= 2 || p.out_w >= kernels<T>().lanes;  // for transpose's vectors
  return take_turns(phases) && p.y_column <= most_turns && long_rows && depthwise_serves(p);
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_depthwise_phases(const std::vector<OutputPhase>& phases,
                                                            const Weights<T>& weights) {
  return std::make_unique<DepthwisePhases<T>>(phases, weights);
}

// Measured against few_channels_weight_gradient: 1.2 to 1.8 times faster for 1->8 and 4->4 channels of 3x3, 1->6 and
// 3->6 of 5x5; 0.7 for 1->16, or outputs that lie last and fill their vectors.
template <class T>
bool depthwise_gradient_pays(const Correlation& p) {
  if (p.c == 1 && p.k <= 4 && depthwise_serves(p)) return true;
  return p.k <= 8 && p.c * p.k <= 18 && strips_serve(p) && !(p.channels_last && p.k % kernels<T>().lanes == 0);
}

template <class T>
void depthwise_weight_gradient(const Correlation& problem, const T* dy, const T* x, T* dw) {
  if (depthwise_in_lanes_gradient_pays<T>(problem)) return depthwise_in_lanes_weight_gradient(problem, dy, x, dw);
  if (problem.channels_last && !depthwise_serves(problem)) return turned_weight_gradient(problem, dy, x, dw);
  if (problem.channels_last && !pixels_pay<T>(problem)) return depthwise_last_weight_gradient(problem, dy, x, dw);
  // Each input channel is a group here, several of which meet the same dy.
  const std::int64_t channels = problem.c;
  Correlation p = planes_of(problem);
  p.groups *= channels;
  p.c = 1;
  const StripLayout s = lay_out_planes<T>(problem);
  const DepthwiseTaps kind = taps_kind(p);
  const std::int64_t lanes = kernels<T>().lanes, taps = p.reduction();
  // Vectors of one sum begin with the same channel of a pixel: they are so many apart.
  const std::int64_t turns = s.pixel / std::gcd(s.pixel, lanes), sums = p.k * turns * taps * lanes;  // of one group
  const std::int64_t strips = p.images * s.strips(p);
  // A slice sums some strips of one group; slices are added in order. Few groups are cut into more slices.
  constexpr std::int64_t most_slices = 64;
  const std::int64_t slices = std::clamp<std::int64_t>(most_slices / p.groups, 1, strips);
  const Scratch<T> partial(std::size_t(p.groups * slices * sums));
  const std::int64_t parts = p.groups * slices;
  const std::int64_t units = std::clamp<std::int64_t>(
      strips * p.groups * (s.block_h * s.block_w * s.pixel * p.k + kStripOverhead) / kUnitOutputs, 1, parts);
  parallel_for(units, double(s.pixel) * p.macs(), [&](std::int64_t unit) {
    T* const strip = thread_workspace<T>(std::size_t(s.strip_size() + s.row_room));
    std::int64_t padded_for = -1;
    for (std::int64_t part = parts * unit / units; part < parts * (unit + 1) / units; ++part) {
      const std::int64_t group = part / slices, slice = part % slices;
      T* const sum = partial.data() + part * sums;
      std::fill_n(sum, sums, T(0));
      for (std::int64_t i = strips * slice / slices; i < strips * (slice + 1) / slices; ++i) {
        const StripPlace at = s.place(p, i / s.strips(p) * p.groups + group, i % s.strips(p));
        fill_strip(p, s, x, at, T(0), padded_for, strip);
        for (std::int64_t k = 0; k < p.k; ++k)
          for (std::int64_t turn = 0; turn < turns; ++turn)
            kernels<T>().depthwise_gradient[int(kind)]({strip, p.step_h * s.pitch, taps, s.tap_offset.data(),
                                                        dy + at.plane / p.groups * p.y_image +
                                                            (group / channels * p.k + k) * p.y_plane +
                                                            at.row * p.y_row + at.column * p.y_column,
                                                        p.y_row, at.rows, at.columns * s.pixel, turn * lanes,
                                                        turns * lanes, sum + (k * turns + turn) * taps * lanes});
      }
    }
  });
  parallel_for(p.groups, double(p.groups * slices * sums), [&](std::int64_t group) {
    T* const sum = partial.data() + group * slices * sums;
    for (std::int64_t slice = 1; slice < slices; ++slice)
      kernels<T>().axpby(T(1), sum, T(1), sum + slice * sums, sums, sum);
    if (p.channels_last) {
      std::fill_n(dw, taps * s.pixel, T(0));
      for (std::int64_t i = 0; i < turns * taps; ++i)
        for (std::int64_t lane = 0; lane < lanes; ++lane)
          dw[i % taps * s.pixel + (i / taps * lanes + lane) % s.pixel] += sum[i * lanes + lane];
      return;
    }
    for (std::int64_t i = 0; i < p.k * taps; ++i) {
      dw[((group / channels * p.k + i / taps) * channels + group % channels) * taps + i % taps] =
          sum_of_lanes(sum + i * lanes, lanes);
    }
  });
}

template bool depthwise_gradient_pays<float>(const Correlation&);
template bool depthwise_gradient_pays<double>(const Correlation&);
template void depthwise_weight_gradient(const Correlation&, const float*, const float*, float*);
template void depthwise_weight_gradient(const Correlation&, const double*, const double*, double*);
template std::unique_ptr<PackedCorrelation<float>> pack_depthwise(const Correlation&, const Weights<float>&);
template std::unique_ptr<PackedCorrelation<double>> pack_depthwise(const Correlation&, const Weights<double>&);
template bool depthwise_phases_serve<float>(const std::vector<OutputPhase>&);
template bool depthwise_phases_serve<double>(const std::vector<OutputPhase>&);
template std::unique_ptr<PackedCorrelation<float>> pack_depthwise_phases(const std::vector<OutputPhase>&,
                                                                         const Weights<float>&);
template std::unique_ptr<PackedCorrelation<double>> pack_depthwise_phases(const std::vector<OutputPhase>&,
                                                                          const Weights<double>&);

}  // namespace convnet
