// Depthwise: one input channel a group, so each output plane is one input plane under one filter, and memory sets the
// pace. The input comes in strips in which each tap is a plain offset (strip.h); a vector holds columns of one output
// row.
#include <algorithm>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "correlation.h"
#include "strip.h"

namespace convnet {
namespace {

constexpr std::int64_t kLastStripBytes = 640 << 10;  // of the second-level cache, for a strip of channels last

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
  return DepthwiseTaps::any;
}

// Channels last: blocks of outputs of some channels, whose input is copied into a strip with its padding.
template <class T>
class LastStrips {
 public:
  LastStrips(const Correlation& problem)
      : p(problem),
        channels(p.groups * p.k),
        lanes_(kernels<T>().lanes),
        chunk_(std::min(padded(channels), most_chunk())) {
    const auto [first_row, rows] = tap_extent(p, &Tap::row);
    const auto [first_column, columns] = tap_extent(p, &Tap::column);
    first_row_ = first_row;
    first_column_ = first_column;
    extent_h_ = rows;
    block_w_ = std::min<std::int64_t>(p.out_w, 256);
    strip_columns_ = (block_w_ - 1) * p.step_w + columns;
    const std::int64_t fit = kLastStripBytes / std::int64_t(sizeof(T)) / (strip_columns_ * chunk_);
    block_h_ = std::clamp<std::int64_t>((fit - extent_h_) / p.step_h + 1, 1, p.out_h);
    for (const Tap& tap : p.taps)
      tap_offset_.push_back(((tap.row - first_row) * strip_columns_ + tap.column - first_column) * lanes_);
  }

  struct Place {
    std::int64_t image, channel, channels, row, column, rows, columns;
  };

  std::int64_t padded(std::int64_t count) const { return ceil_div(count, lanes_) * lanes_; }
  std::int64_t chunk() const { return chunk_; }
  std::int64_t chunks() const { return ceil_div(channels, chunk_); }
  std::int64_t blocks() const { return p.images * ceil_div(p.out_h, block_h_) * ceil_div(p.out_w, block_w_); }
  std::int64_t size() const { return ((block_h_ - 1) * p.step_h + extent_h_) * strip_columns_ * chunk_; }
  // A strip is [vector of channels][row][column][channel].
  std::int64_t x_vector() const { return size() / chunk_ * lanes_; }
  std::int64_t x_row() const { return p.step_h * strip_columns_ * lanes_; }
  std::int64_t x_column() const { return p.step_w * lanes_; }
  const std::int64_t* tap_offset() const { return tap_offset_.data(); }

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

  void fill(const T* x, const Place& at, T* strip) const {
    const std::int64_t row = at.row * p.step_h + first_row_, column = at.column * p.step_w + first_column_;
    const std::int64_t begin = std::clamp<std::int64_t>(-column, 0, strip_columns_),
                       end = std::clamp<std::int64_t>(p.in_w - column, begin, strip_columns_);
    const std::int64_t rows = (at.rows - 1) * p.step_h + extent_h_, vectors = at.channels / lanes_;
    const std::int64_t rest = at.channels - vectors * lanes_, width = strip_columns_ * lanes_;
    for (std::int64_t i = 0; i < rows; ++i, strip += width) {
      const bool outside = row + i < 0 || row + i >= p.in_h;
      for (std::int64_t v = 0; v < ceil_div(at.channels, lanes_); ++v) {
        T* const to = strip + v * x_vector();
        if (outside || v == vectors || p.k > 1) {  // lanes past the last channel are read too
          std::fill_n(to, width, T(0));
        } else {
          std::fill_n(to, begin * lanes_, T(0));
          std::fill(to + end * lanes_, to + width, T(0));
        }
      }
      if (outside) continue;
      const T* from = x + at.image * p.x_image + (row + i) * p.x_row + (column + begin) * p.x_column;
      if (p.k == 1) from += at.channel;
      for (std::int64_t j = begin; j < end; ++j, from += p.x_column) {
        T* const to = strip + j * lanes_;
        if (p.k > 1) {
          for (std::int64_t q = 0; q < at.channels; ++q)
            to[q / lanes_ * x_vector() + q % lanes_] = from[(at.channel + q) / p.k];
          continue;
        }
        kernels<T>().copy_rows(from, lanes_, vectors, lanes_, to, x_vector());
        if (rest) kernels<T>().copy_rows(from + vectors * lanes_, 0, 1, rest, to + vectors * x_vector(), 0);
      }
    }
  }

  const Correlation p;
  const std::int64_t channels;  // of outputs

 private:
  std::int64_t most_chunk() const { return 8 * lanes_; }
  std::int64_t lanes_, chunk_;
  std::int64_t first_row_, first_column_, extent_h_;
  std::int64_t block_h_, block_w_, strip_columns_;
  std::vector<std::int64_t> tap_offset_;
};

template <class T>
class DepthwiseLastCorrelation final : public PackedCorrelation<T> {
 public:
  DepthwiseLastCorrelation(const Correlation& problem, const Weights<T>& weights)
      : strips_(in_reading_order(problem)), weight_(weights.data ? packed_size() : 0) {
    if (!weights.data) return;
    T* to = weight_.data();
    std::fill_n(to, packed_size(), T(0));
    const Correlation& p = strips_.p;
    for (const Tap& tap : p.taps) {
      for (std::int64_t channel = 0; channel < strips_.channels; ++channel)
        to[channel] =
            weights.data[channel / p.k * weights.group_stride + channel % p.k * weights.k_stride + tap.source];
      to += strips_.padded(strips_.channels);
    }
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const Correlation& p = strips_.p;
    const std::int64_t chunks = strips_.chunks();
    parallel_for(strips_.blocks() * chunks, p.macs(), [&](std::int64_t unit) {
      const auto at = strips_.place(unit % chunks, unit / chunks);
      T* const strip = thread_workspace<T>(std::size_t(strips_.size()));
      strips_.fill(x, at, strip);
      kernels<T>().depthwise_last({strip, strips_.x_vector(), strips_.x_row(), strips_.x_column(), p.reduction(),
                                   strips_.tap_offset(), weight_.data() + at.channel, strips_.padded(strips_.channels),
                                   bias ? bias + at.channel : nullptr, relu, at.rows, at.columns, at.channels,
                                   y + at.image * p.y_image + at.row * p.y_row + at.column * p.y_column + at.channel,
                                   p.y_row, p.y_column});
    });
  }

  Explanation explain() const override {
    constexpr std::int64_t columns = 8;  // that a kernel takes at once
    const std::int64_t threads = threads_for(strips_.blocks() * strips_.chunks(), strips_.p.macs());
    return {"depthwise", kernels<T>().lanes, columns, std::int64_t(packed_size() * sizeof(T)),
            threads * strips_.size() * std::int64_t(sizeof(T))};
  }

 private:
  std::size_t packed_size() const { return std::size_t(strips_.padded(strips_.channels) * strips_.p.reduction()); }

  LastStrips<T> strips_;
  Scratch<T> weight_;
};

// A slice sums some blocks of one chunk of channels; slices are added in order.
template <class T>
void depthwise_last_weight_gradient(const Correlation& p, const T* dy, const T* x, T* dw) {
  constexpr std::int64_t most_slices = 64;
  const LastStrips<T> strips(p);
  const std::int64_t blocks = strips.blocks(), chunks = strips.chunks(), taps = p.reduction();
  const std::int64_t slices = std::clamp<std::int64_t>(most_slices / chunks, 1, blocks), sums = taps * strips.chunk();
  const Scratch<T> partial(std::size_t(chunks * slices * sums));
  const Kernels<T>& kernel = kernels<T>();
  parallel_for(chunks * slices, p.macs(), [&](std::int64_t unit) {
    const std::int64_t chunk = unit / slices, slice = unit % slices;
    T* const strip = thread_workspace<T>(std::size_t(strips.size() + sums));
    T* const of_block = strip + strips.size();
    T* const sum = partial.data() + unit * sums;
    std::fill_n(sum, sums, T(0));
    for (std::int64_t block = blocks * slice / slices; block < blocks * (slice + 1) / slices; ++block) {
      const auto at = strips.place(chunk, block);
      strips.fill(x, at, strip);
      std::fill_n(of_block, sums, T(0));
      kernel.depthwise_last_gradient(
          {strip, strips.x_vector(), strips.x_row(), strips.x_column(), taps, strips.tap_offset(),
           dy + at.image * p.y_image + at.row * p.y_row + at.column * p.y_column + at.channel, p.y_row, p.y_column,
           at.rows, at.columns, at.channels, of_block, strips.chunk()});
      kernel.axpby(T(1), sum, T(1), of_block, sums, sum);
    }
  });
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    T* const sum = partial.data() + chunk * slices * sums;
    for (std::int64_t slice = 1; slice < slices; ++slice) kernel.axpby(T(1), sum, T(1), sum + slice * sums, sums, sum);
    const std::int64_t first = chunk * strips.chunk();
    kernel.copy_rows(sum, strips.chunk(), taps, std::min(strips.chunk(), strips.channels - first), dw + first,
                     strips.channels);
  }
}

template <class T>
class DepthwiseCorrelation final : public PackedCorrelation<T> {
 public:
  DepthwiseCorrelation(const Correlation& problem, const Weights<T>& weights)
      : p_(in_reading_order(problem)),
        layout_(lay_out_strips<T>(p_)),
        kind_(taps_kind(p_)),
        from_image_(kernels<T>().depthwise_image[int(kind_)] && p_.step_w == p_.step_h && p_.y_column == 1),
        weight_(weights.data ? packed_size() : 0),
        zeros_(std::size_t(from_image_ ? p_.in_w : 0)) {
    if (from_image_) std::fill_n(zeros_.data(), p_.in_w, T(0));
    if (!weights.data) return;
    T* to = weight_.data();
    for (std::int64_t channel = 0; channel < p_.groups * p_.k; ++channel) {
      const T* from = weights.data + channel / p_.k * weights.group_stride + channel % p_.k * weights.k_stride;
      for (const Tap& tap : p_.taps) *to++ = from[tap.source];
    }
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    if (from_image_) return run_from_image(x, bias, relu, y);
    for_strips(p_, layout_, x, T(0), p_.macs(), [&](const T* strip, const StripPlace& at, T* outputs) {
      for (std::int64_t k = 0; k < p_.k; ++k) {
        const std::int64_t channel = at.plane % p_.groups * p_.k + k;
        T* const to =
            y + at.plane / p_.groups * p_.y_image + channel * p_.y_plane + at.row * p_.y_row + at.column * p_.y_column;
        const bool in_place = p_.y_column == 1;
        kernels<T>().depthwise[int(kind_)]({strip, p_.step_h * layout_.pitch, p_.reduction(), layout_.tap_offset.data(),
                                            weight_.data() + channel * p_.reduction(), bias ? bias[channel] : T(0),
                                            relu, at.rows, at.columns, in_place ? to : outputs,
                                            in_place ? p_.y_row : at.columns});
        if (!in_place)
          kernels<T>().place(
              {outputs, at.columns, int(at.rows), 0, at.columns, at.columns, at.columns, to, p_.y_row, 0, p_.y_column});
      }
    });
  }

  Explanation explain() const override {
    constexpr std::int64_t rows = 4;  // that a kernel takes at once
    const std::int64_t strips = p_.images * p_.groups * layout_.strips(p_);
    const std::int64_t threads = threads_for(strip_units(p_, layout_, strips), p_.macs());
    const std::int64_t workspace = from_image_ ? p_.in_w : threads * strip_workspace(layout_);
    return {"depthwise", std::min(rows, layout_.block_h), kernels<T>().lanes, std::int64_t(packed_size() * sizeof(T)),
            workspace * std::int64_t(sizeof(T))};
  }

 private:
  std::size_t packed_size() const { return std::size_t(p_.groups * p_.k * p_.reduction()); }

  void run_from_image(const T* x, const T* bias, bool relu, T* y) const {
    for_strip_places(p_, layout_, p_.macs(), [&](const StripPlace& at) {
      for (std::int64_t k = 0; k < p_.k; ++k) {
        const std::int64_t channel = at.plane % p_.groups * p_.k + k;
        T* const to = y + at.plane / p_.groups * p_.y_image + channel * p_.y_plane + at.row * p_.y_row + at.column;
        kernels<T>().depthwise_image[int(kind_)](
            {x + at.plane * p_.in_h * p_.in_w, p_.in_h, p_.in_w, zeros_.data(), at.row * p_.step_h + p_.taps[0].row,
             at.column * p_.step_w + p_.taps[0].column, weight_.data() + channel * p_.reduction(),
             bias ? bias[channel] : T(0), relu, at.rows, at.columns, to, p_.y_row});
      }
    });
  }

  Correlation p_;
  StripLayout layout_;
  DepthwiseTaps kind_;
  bool from_image_;  // without a copy
  Scratch<T> weight_, zeros_;
};

}  // namespace

// With more output channels to an input channel the direct engine's tiles share more loads (measured: from 6 on).
bool depthwise_serves(const Correlation& p) { return p.c == 1 && p.k <= 4 && strips_serve(p); }

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_depthwise(const Correlation& problem, const Weights<T>& weights) {
  if (problem.channels_last) return std::make_unique<DepthwiseLastCorrelation<T>>(problem, weights);
  return std::make_unique<DepthwiseCorrelation<T>>(problem, weights);
}

// Measured against few_channels_weight_gradient: 1.2 to 1.8 times faster for 1->8 and 4->4 channels of 3x3, 1->6 and
// 3->6 of 5x5; 0.7 for 1->16.
bool depthwise_gradient_pays(const Correlation& p) {
  return depthwise_serves(p) || (p.k <= 8 && p.c * p.k <= 18 && !p.channels_last && strips_serve(p));
}

template <class T>
void depthwise_weight_gradient(const Correlation& problem, const T* dy, const T* x, T* dw) {
  if (problem.channels_last) return depthwise_last_weight_gradient(problem, dy, x, dw);
  // Each input channel is a group here, several of which meet the same dy.
  const std::int64_t channels = problem.c;
  Correlation p = problem;
  p.groups *= channels;
  p.c = 1;
  const StripLayout s = lay_out_strips<T>(p);
  const DepthwiseTaps kind = taps_kind(p);
  const std::int64_t lanes = kernels<T>().lanes, taps = p.reduction(), sums = p.k * taps * lanes;  // of one group
  const std::int64_t strips = p.images * s.strips(p);
  // A slice sums some strips of one group; slices are added in order. Few groups are cut into more slices.
  constexpr std::int64_t most_slices = 64;
  const std::int64_t slices = std::clamp<std::int64_t>(most_slices / p.groups, 1, strips);
  const Scratch<T> partial(std::size_t(p.groups * slices * sums));
  const std::int64_t parts = p.groups * slices;
  const std::int64_t units = std::clamp<std::int64_t>(
      strips * p.groups * (s.block_h * s.block_w * p.k + kStripOverhead) / kUnitOutputs, 1, parts);
  parallel_for(units, p.macs(), [&](std::int64_t unit) {
    T* const strip = thread_workspace<T>(std::size_t(s.rows * s.pitch));
    std::int64_t padded_for = -1;
    for (std::int64_t part = parts * unit / units; part < parts * (unit + 1) / units; ++part) {
      const std::int64_t group = part / slices, slice = part % slices;
      T* const sum = partial.data() + part * sums;
      std::fill_n(sum, sums, T(0));
      for (std::int64_t i = strips * slice / slices; i < strips * (slice + 1) / slices; ++i) {
        const StripPlace at = s.place(p, i / s.strips(p) * p.groups + group, i % s.strips(p));
        fill_strip(p, s, x, at, T(0), padded_for, strip);
        for (std::int64_t k = 0; k < p.k; ++k)
          kernels<T>().depthwise_gradient[int(kind)]({strip, p.step_h * s.pitch, taps, s.tap_offset.data(),
                                                      dy + at.plane / p.groups * p.y_image +
                                                          (group / channels * p.k + k) * p.y_plane + at.row * p.y_row +
                                                          at.column,
                                                      p.y_row, at.rows, at.columns, sum + k * taps * lanes});
      }
    }
  });
  parallel_for(p.groups, double(p.groups * slices * sums), [&](std::int64_t group) {
    T* const sum = partial.data() + group * slices * sums;
    for (std::int64_t slice = 1; slice < slices; ++slice)
      kernels<T>().axpby(T(1), sum, T(1), sum + slice * sums, sums, sum);
    for (std::int64_t i = 0; i < p.k * taps; ++i) {
      T* const lane = sum + i * lanes;
      for (std::int64_t half = lanes / 2; half > 0; half /= 2)
        for (std::int64_t j = 0; j < half; ++j) lane[j] += lane[j + half];
      dw[((group / channels * p.k + i / taps) * channels + group % channels) * taps + i % taps] = lane[0];
    }
  });
}

template void depthwise_weight_gradient(const Correlation&, const float*, const float*, float*);
template void depthwise_weight_gradient(const Correlation&, const double*, const double*, double*);
template std::unique_ptr<PackedCorrelation<float>> pack_depthwise(const Correlation&, const Weights<float>&);
template std::unique_ptr<PackedCorrelation<double>> pack_depthwise(const Correlation&, const Weights<double>&);

}  // namespace convnet
