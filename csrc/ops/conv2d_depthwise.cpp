// Depthwise: one input channel a group, so each output plane is one input plane under one filter, and memory sets the
// pace. A strip of rows is copied, padded and split by column phase, into the first-level cache; there each tap is a
// plain offset, and a vector holds columns of one output row.
#include <algorithm>
#include <cmath>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "correlation.h"

namespace convnet {
namespace {

constexpr std::int64_t kStripBytes = 24 << 10;    // of the first-level cache, for the padded input of one strip
constexpr std::int64_t kStripColumns = 1024;      // of outputs, at most
constexpr std::int64_t kUnitOutputs = 16 << 10;   // small planes are handed to threads several at a time

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// A row of the strip holds one run of columns for each phase (residue class of columns modulo the step) that a tap
// reads; within a run the outputs' columns have unit stride.
struct StripLayout {
  std::int64_t block_h, block_w;  // outputs of a strip
  std::int64_t first_row;         // of the input that output row 0 reads
  std::int64_t first_column;      // of every run, in steps
  std::int64_t rows;              // for block_h outputs
  std::int64_t run, pitch;        // from phase to phase; from row to row
  std::vector<std::int64_t> phases;
  std::vector<std::int64_t> tap_offset;

  std::int64_t rows_of(const Correlation& p, std::int64_t h) const { return rows - (block_h - h) * p.step_h; }
};

template <class T>
StripLayout lay_out(const Correlation& p) {
  const std::int64_t lanes = kernels<T>().lanes;
  StripLayout s{};
  s.block_w = std::min(p.out_w, kStripColumns);
  s.first_row = s.first_column = INT64_MAX;
  std::int64_t last_row = INT64_MIN, last_column = INT64_MIN;
  for (const Tap& tap : p.taps) {
    const std::int64_t column = floor_div(tap.column, p.step_w);
    const std::int64_t phase = tap.column - column * p.step_w;
    if (std::find(s.phases.begin(), s.phases.end(), phase) == s.phases.end()) s.phases.push_back(phase);
    s.first_row = std::min(s.first_row, tap.row);
    s.first_column = std::min(s.first_column, column);
    last_row = std::max(last_row, tap.row);
    last_column = std::max(last_column, column);
  }
  // Column 0 of the image on a vector's boundary: most copies are then aligned.
  s.first_column = floor_div(s.first_column, lanes) * lanes;
  s.run = ceil_div(ceil_div(s.block_w, lanes) * lanes + last_column - s.first_column, lanes) * lanes;
  s.pitch = s.run * std::int64_t(s.phases.size());
  for (const Tap& tap : p.taps) {
    const std::int64_t column = floor_div(tap.column, p.step_w);
    const std::int64_t phase = std::find(s.phases.begin(), s.phases.end(), tap.column - column * p.step_w) - s.phases.begin();
    s.tap_offset.push_back((tap.row - s.first_row) * s.pitch + phase * s.run + column - s.first_column);
  }
  const std::int64_t extent = last_row - s.first_row + 1;
  const std::int64_t most_rows = kStripBytes / std::int64_t(sizeof(T)) / s.pitch;
  s.block_h = std::clamp<std::int64_t>((most_rows - extent) / p.step_h + 1, 1, p.out_h);
  if (s.block_h < p.out_h) s.block_h = std::min(p.out_h, std::max<std::int64_t>(4, s.block_h / 4 * 4));
  s.rows = (s.block_h - 1) * p.step_h + extent;
  return s;
}

// Copies the rows that the outputs from (row0, column0) on read. Columns outside the image are zero already.
template <class T>
void fill_strip(const Correlation& p, const StripLayout& s, const T* plane, std::int64_t row0, std::int64_t rows, std::int64_t column0,
                T* out) {
  const std::int64_t first = row0 * p.step_h + s.first_row;
  const std::int64_t begin = std::clamp<std::int64_t>(-first, 0, rows), end = std::clamp<std::int64_t>(p.in_h - first, begin, rows);
  std::fill_n(out, begin * s.pitch, T(0));
  std::fill_n(out + end * s.pitch, (rows - end) * s.pitch, T(0));
  for (std::size_t f = 0; f < s.phases.size(); ++f) {
    const std::int64_t start = (s.first_column + column0) * p.step_w + s.phases[f];
    const std::int64_t left = start < 0 ? ceil_div(-start, p.step_w) : 0;
    const std::int64_t right = std::min(s.run, ceil_div(std::max<std::int64_t>(0, p.in_w - start), p.step_w));
    if (left < right && begin < end)
      kernels<T>().gather_rows(plane + (first + begin) * p.in_w + start + left * p.step_w, p.in_w, end - begin, right - left, p.step_w,
                               out + begin * s.pitch + std::int64_t(f) * s.run + left, s.pitch);
  }
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
  return DepthwiseTaps::any;
}

// The same taps from the top left corner on; the input gradient lists them from the bottom right.
Correlation in_reading_order(Correlation p) {
  std::sort(p.taps.begin(), p.taps.end(),
            [](const Tap& a, const Tap& b) { return a.row != b.row ? a.row < b.row : a.column < b.column; });
  return p;
}

// One plane by the definition: a tap outside the image is no term at all, where the strip's zeros would make a NaN of
// an infinite weight.
template <class T>
void correlate_plainly(const Correlation& p, const T* x, const T* weight, T bias, bool relu, T* y) {
  for (std::int64_t i = 0; i < p.out_h; ++i)
    for (std::int64_t j = 0; j < p.out_w; ++j) {
      T sum = 0;
      for (std::size_t t = 0; t < p.taps.size(); ++t) {
        const std::int64_t row = i * p.step_h + p.taps[t].row, column = j * p.step_w + p.taps[t].column;
        if (row >= 0 && row < p.in_h && column >= 0 && column < p.in_w) sum += x[row * p.in_w + column] * weight[t];
      }
      sum += bias;
      y[i * p.y_row + j * p.y_column] = relu && sum <= 0 ? T(0) : sum;
    }
}

template <class T>
class DepthwiseCorrelation final : public PackedCorrelation<T> {
 public:
  DepthwiseCorrelation(const Correlation& problem, const Weights<T>& weights)
      : p_(in_reading_order(problem)),
        layout_(lay_out<T>(p_)),
        kind_(taps_kind(p_)),
        weight_(std::size_t(p_.groups * p_.k * p_.reduction())) {
    T* to = weight_.data();
    for (std::int64_t channel = 0; channel < p_.groups * p_.k; ++channel) {
      const T* from = weights.data + channel / p_.k * weights.group_stride + channel % p_.k * weights.k_stride;
      for (const Tap& tap : p_.taps) *to++ = from[tap.source];
      if (!std::all_of(to - p_.taps.size(), to, [](T w) { return std::isfinite(w); })) infinite_.push_back(channel);
    }
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const std::int64_t blocks_h = ceil_div(p_.out_h, layout_.block_h), blocks_w = ceil_div(p_.out_w, layout_.block_w);
    const std::int64_t strips = p_.images * p_.groups * blocks_h * blocks_w;
    const std::int64_t units = std::min(strips, std::max<std::int64_t>(1, strips * layout_.block_h * layout_.block_w * p_.k / kUnitOutputs));
    parallel_for(units, p_.macs(), [&](std::int64_t unit) {
      T* const strip = thread_workspace<T>(std::size_t(layout_.rows * layout_.pitch));
      std::int64_t zeroed_for = -1;
      for (std::int64_t i = strips * unit / units; i < strips * (unit + 1) / units; ++i) {
        const std::int64_t column0 = i % blocks_w * layout_.block_w, row0 = i / blocks_w % blocks_h * layout_.block_h;
        const std::int64_t plane = i / (blocks_w * blocks_h);
        if (zeroed_for != column0) std::fill_n(strip, layout_.rows * layout_.pitch, T(0));
        zeroed_for = column0;
        const std::int64_t h = std::min(layout_.block_h, p_.out_h - row0), w = std::min(layout_.block_w, p_.out_w - column0);
        fill_strip(p_, layout_, x + plane * p_.in_h * p_.in_w, row0, layout_.rows_of(p_, h), column0, strip);
        for (std::int64_t k = 0; k < p_.k; ++k) {
          const std::int64_t channel = plane % p_.groups * p_.k + k;
          T* const to = y + plane / p_.groups * p_.y_image + channel * p_.y_plane + row0 * p_.y_row + column0 * p_.y_column;
          kernels<T>().depthwise[int(kind_)]({strip, p_.step_h * layout_.pitch, p_.reduction(), layout_.tap_offset.data(),
                                              weight_.data() + channel * p_.reduction(), bias ? bias[channel] : T(0), relu, h, w, to,
                                              p_.y_row, p_.y_column});
        }
      }
    });
    for (const std::int64_t channel : infinite_)
      for (std::int64_t n = 0; n < p_.images; ++n)
        correlate_plainly(p_, x + (n * p_.groups + channel / p_.k) * p_.in_h * p_.in_w, weight_.data() + channel * p_.reduction(),
                          bias ? bias[channel] : T(0), relu, y + n * p_.y_image + channel * p_.y_plane);
  }

 private:
  Correlation p_;
  StripLayout layout_;
  DepthwiseTaps kind_;
  Scratch<T> weight_;
  std::vector<std::int64_t> infinite_;  // output channels with a weight that is infinite or not a number
};

}  // namespace

bool depthwise_serves(const Correlation& p) { return p.c == 1; }

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_depthwise(const Correlation& problem, const Weights<T>& weights) {
  return std::make_unique<DepthwiseCorrelation<T>>(problem, weights);
}

template std::unique_ptr<PackedCorrelation<float>> pack_depthwise(const Correlation&, const Weights<float>&);
template std::unique_ptr<PackedCorrelation<double>> pack_depthwise(const Correlation&, const Weights<double>&);

}  // namespace convnet
