#include "conv2d.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "division.h"
#include "message.h"

namespace convnet {
namespace {

// A single tap that reads the image as it lies needs no rows: the plane is one long row.
void flatten(Correlation& p) {
  const bool as_it_lies = reads_every_position(p) && p.y_column == (p.channels_last ? p.groups * p.k : 1) &&
                          p.y_row == p.out_w * p.y_column;
  if (!as_it_lies) return;
  p.in_w = p.out_w = p.in_h * p.in_w;
  p.in_h = p.out_h = 1;
  p.x_row = p.in_w * p.x_column;
  p.y_row = p.out_w * p.y_column;
}

// The algorithm for a correlation, from one image's geometry alone: never from the batch or the threads.
template <class T>
Algorithm choose(const Correlation& p) {
  if (depthwise_serves(p)) return Algorithm::depthwise;
  if (std::is_same_v<T, float> && winograd_serves(p) && winograd_pays(p)) return Algorithm::winograd;
  if (gemm_pays<T>(p) || (pointwise_serves(p) && pointwise_pays<T>(p))) return Algorithm::gemm;
  return Algorithm::direct;
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack(const Correlation& p, Algorithm asked, const Weights<T>& weights) {
  if constexpr (std::is_same_v<T, float>)
    if (asked == Algorithm::automatic && dilated_pays(p)) return pack_dilated(p, weights);
  switch (asked == Algorithm::automatic ? choose<T>(p) : asked) {
    case Algorithm::winograd:
      if constexpr (std::is_same_v<T, float>) {
        require(
            winograd_serves(p),
            "conv2d: algorithm 'winograd' needs dilation 1 and a kernel of more than twice the stride, as 3x3 at 1");
        return pack_winograd(p, weights);
      } else {
        throw std::invalid_argument("conv2d: algorithm 'winograd' needs float32 arrays, got float64");
      }
    case Algorithm::depthwise:
      require(depthwise_serves(p),
              "conv2d: algorithm 'depthwise' needs one input channel and at most 4 output channels a group");
      return pack_depthwise(p, weights);
    case Algorithm::gemm:
      return pointwise_serves(p) && !gemm_pays<T>(p) ? pack_pointwise(p, weights) : pack_gemm(p, weights);
    default:
      if (parts_pay<T>(p)) return pack_in_parts(p, weights);
      return channels_in_lanes_pays<T>({{p, 0}}) ? pack_channels_in_lanes<T>({{p, 0}}, weights)
                                                 : pack_direct(p, weights);
  }
}

// Phases of the input gradient whose outputs stand side by side in a row: where a few channels lie last, a position's
// columns follow one another, as the channels of one correlation. A weight is zero where its tap does not reach the
// column. The columns of a last position that is not whole are another.
template <class T>
void run_side_by_side(const Conv2dShape& s, const std::vector<OutputPhase>& row, const Weights<T>& weights, const T* dy,
                      T* dx) {
  const std::int64_t whole = s.w / s.stride_w;
  for (const std::int64_t position : {std::int64_t{0}, whole}) {
    Correlation p = row.front().problem;
    const std::int64_t columns = position == 0 ? s.stride_w : s.w % s.stride_w;
    if (columns == 0) break;
    p.images = s.n;
    p.k = columns * s.c_in;
    p.out_w = position == 0 ? whole : 1;
    p.taps.clear();
    std::vector<T> packed;  // [tap][dy's channel][column][dx's channel]
    for (std::int64_t column = 0; column < columns; ++column)
      for (Tap tap : row[std::size_t(column)].problem.taps) {
        tap.column += position;
        const auto found = std::find_if(p.taps.begin(), p.taps.end(), [&](const Tap& other) {
          return other.row == tap.row && other.column == tap.column;
        });
        const std::int64_t at = (found - p.taps.begin()) * p.c * p.k;
        if (found == p.taps.end()) {
          p.taps.push_back({tap.row, tap.column, at});
          packed.resize(std::size_t(at + p.c * p.k));
        }
        for (std::int64_t c = 0; c < p.c; ++c)
          for (std::int64_t k = 0; k < s.c_in; ++k)
            packed[std::size_t(at + c * p.k + column * s.c_in + k)] =
                weights.data[c * weights.c_stride + k * weights.k_stride + tap.source];
      }
    if (p.out_w == 1) {  // a row is better: that of the image on its side
      std::swap(p.in_h, p.in_w);
      std::swap(p.out_h, p.out_w);
      std::swap(p.x_row, p.x_column);
      std::swap(p.y_row, p.y_column);
      for (Tap& tap : p.taps) std::swap(tap.row, tap.column);
    }
    std::sort(p.taps.begin(), p.taps.end(),
              [](const Tap& a, const Tap& b) { return a.row != b.row ? a.row < b.row : a.column < b.column; });
    pack<T>(p, Algorithm::direct, {packed.data(), 0, 1, p.k})
        ->run(dy, nullptr, false, dx + row.front().first + position * s.stride_w * s.c_in);
  }
}

template <class T>
class Reference final : public PackedCorrelation<T> {
 public:
  Reference(const Conv2dShape& shape, const T* weight)
      : shape_(shape), weight_(weight ? std::size_t(shape.c_out * shape.reduction()) : 0) {
    if (weight) std::copy_n(weight, shape.c_out * shape.reduction(), weight_.data());
  }
  void run(const T* x, const T* bias, bool relu, T* y) const override {
    conv2d_reference(shape_, x, weight_.data(), bias, relu, y);
  }
  Explanation explain() const override {
    return {"reference", 1, 1, shape_.c_out * shape_.reduction() * std::int64_t(sizeof(T)), 0};
  }

 private:
  Conv2dShape shape_;
  Scratch<T> weight_;
};

constexpr struct {
  const char* name;
  Algorithm algorithm;
} kNames[] = {{"auto", Algorithm::automatic},      {"direct", Algorithm::direct},
              {"gemm", Algorithm::gemm},           {"winograd", Algorithm::winograd},
              {"depthwise", Algorithm::depthwise}, {"reference", Algorithm::reference}};

}  // namespace

Algorithm algorithm_named(const char* name) {
  for (const auto& entry : kNames)
    if (std::strcmp(entry.name, name) == 0) return entry.algorithm;
  throw std::invalid_argument(
      message("conv2d: algorithm must be 'auto', 'direct', 'gemm', 'winograd' or 'reference', got '", name, "'"));
}

const char* algorithm_name(Algorithm algorithm) { return kNames[int(algorithm)].name; }

bool one_tap_inside(const Correlation& p) {
  const auto inside = [](std::int64_t first, std::int64_t count, std::int64_t step, std::int64_t size) {
    return first >= 0 && first + (count - 1) * step < size;
  };
  return p.taps.size() == 1 && inside(p.taps[0].row, p.out_h, p.step_h, p.in_h) &&
         inside(p.taps[0].column, p.out_w, p.step_w, p.in_w);
}

bool reads_every_position(const Correlation& p) {
  return one_tap_inside(p) && p.step_h == 1 && p.step_w == 1 && p.in_h == p.out_h && p.in_w == p.out_w;
}

double share_inside(const Correlation& p) {
  double inside = 0;
  for (const Tap& tap : p.taps) {
    const Real rows(tap.row, p.step_h, p.in_h, p.out_h), columns(tap.column, p.step_w, p.in_w, p.out_w);
    inside += double(rows.end - rows.begin) * double(columns.end - columns.begin);
  }
  return inside / (double(p.out_h * p.out_w) * double(p.taps.size()));
}

template <class T>
bool leaves_zeros_out(const Correlation& p) {
  if (p.step_h > 1 || p.step_w > 1 || share_inside(p) >= kLeastInside) return false;
  return !std::is_same_v<T, float> || p.out_h < 4 || p.out_w < 4 || !winograd_serves(p);
}

template <class T>
bool all_finite(const T* rows, std::int64_t count, std::int64_t size) {
  std::vector<char> finite(std::size_t(count), true);
  parallel_for(count, double(count * size), [&](std::int64_t row) {
    const T* const values = rows + row * size;
    finite[std::size_t(row)] = std::isfinite(kernels<T>().dot(values, values, T(0), size));
  });
  return std::find(finite.begin(), finite.end(), false) == finite.end();
}

TapExtent tap_extent(const Correlation& p, std::int64_t Tap::* place) {
  const auto [least, most] = std::minmax_element(p.taps.begin(), p.taps.end(),
                                                 [=](const Tap& a, const Tap& b) { return a.*place < b.*place; });
  return {(*least).*place, (*most).*place - (*least).*place + 1};
}

Correlation all_phases(const std::vector<OutputPhase>& phases) {
  Correlation all = phases.front().problem;
  all.taps.clear();
  for (const OutputPhase& phase : phases) {
    all.taps.insert(all.taps.end(), phase.problem.taps.begin(), phase.problem.taps.end());
    all.out_h = std::max(all.out_h, phase.problem.out_h);
    all.out_w = std::max(all.out_w, phase.problem.out_w);
  }
  return all;
}

bool take_turns(const std::vector<OutputPhase>& phases) {
  const Correlation& p = phases.front().problem;
  if (p.channels_last || std::int64_t(phases.size()) % p.y_column != 0) return false;
  for (std::size_t i = 0; i < phases.size(); ++i) {
    const std::size_t turn = i % std::size_t(p.y_column);
    const bool next = phases[i].first == phases[i - turn].first + std::int64_t(turn);
    if (!next || phases[i].column != std::int64_t(turn)) return false;  // in a narrow map a row's end may be next, too
  }
  return true;
}

Correlation forward_correlation(const Conv2dShape& s) {
  Correlation p{};
  p.images = s.n;
  p.groups = s.groups;
  p.c = s.c_in_group();
  p.k = s.c_out_group();
  p.in_h = s.h;
  p.in_w = s.w;
  p.out_h = s.o_h;
  p.out_w = s.o_w;
  p.step_h = s.stride_h;
  p.step_w = s.stride_w;
  p.padding_counts = true;
  for (std::int64_t r = 0; r < s.k_h; ++r)
    for (std::int64_t q = 0; q < s.k_w; ++q)
      p.taps.push_back({r * s.dilation_h - s.pad_top, q * s.dilation_w - s.pad_left, (r * s.k_w + q) * s.tap_stride()});
  p.lay_out(s.channels_last);
  return p;
}

template <class T>
void pack_terms(const Correlation& p, const Weights<T>& weights, const T* from, std::int64_t channels,
                std::int64_t count, std::int64_t width, TermOrder order, T* u) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t taps = std::int64_t(p.taps.size());
  const bool taps_first = order == TermOrder::taps_outermost;
  const std::int64_t tap_step = taps_first ? channels * width : width, channel_step = taps_first ? width : taps * width;
  if (weights.k_stride == 1 || weights.c_stride == 1) {
    for (std::int64_t t = 0; t < taps; ++t, u += tap_step) {
      const T* const tap = from + p.taps[std::size_t(t)].source;
      if (weights.k_stride == 1)
        kernel.copy_rows(tap, weights.c_stride, channels, count, u, channel_step);
      else
        kernel.transpose(tap, weights.k_stride, count, channels, u, channel_step);
    }
    return;
  }
  // Else a channel's taps follow one another, in this order or in its reverse, or some of them are wanted.
  std::int64_t first = p.taps[0].source, last = first;
  bool forward = true, backward = true;
  for (std::int64_t t = 0; t < taps; ++t) {
    const std::int64_t source = p.taps[std::size_t(t)].source;
    forward = forward && source == p.taps[0].source + t;
    backward = backward && source == p.taps[0].source - t;
    first = std::min(first, source);
    last = std::max(last, source);
  }
  const bool together = forward && weights.c_stride == taps;  // and the channels as well
  if (together && (!taps_first || taps == 1))
    return kernel.transpose(from, weights.k_stride, count, channels * taps, u, width);
  if (!together && (forward || backward)) {
    for (std::int64_t c = 0; c < channels; ++c)
      kernel.transpose(from + c * weights.c_stride + first, weights.k_stride, count, taps,
                       u + c * channel_step + (forward ? 0 : (taps - 1) * tap_step), forward ? tap_step : -tap_step);
    return;
  }
  constexpr std::int64_t most_bytes = 16 << 10;  // of the first-level cache
  const std::int64_t span = last - first + 1, bytes = span * width * std::int64_t(sizeof(T));
  const std::int64_t at_once = together ? std::clamp<std::int64_t>(most_bytes / bytes, 1, channels) : 1;
  const Scratch<T> turned(std::size_t(at_once * span * width));
  for (std::int64_t c = 0; c < channels; c += at_once) {
    const std::int64_t some = std::min(at_once, channels - c);
    kernel.transpose(from + c * weights.c_stride + first, weights.k_stride, count, some * span, turned.data(), width);
    for (std::int64_t t = 0; t < taps; ++t)
      kernel.copy_rows(turned.data() + (p.taps[std::size_t(t)].source - first) * width, span * width, some, count,
                       u + t * tap_step + c * channel_step, channel_step);
  }
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_correlation(Correlation p, Algorithm asked, const Weights<T>& weights) {
  flatten(p);
  return pack(p, asked, weights);
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_conv2d(const Conv2dShape& shape, Algorithm asked, const T* weight) {
  const Conv2dShape s = shape.laid_down();
  // Without terms there is nothing to pack, and the definition gives the bias; without outputs there is nothing to do.
  if (asked == Algorithm::reference || s.macs() == 0) return std::make_unique<Reference<T>>(s, weight);
  return pack_correlation<T>(
      forward_correlation(s), asked,
      {weight, s.c_out_group() * s.weight_c_out_stride(), s.weight_c_out_stride(), s.weight_c_in_stride()});
}

template <class T>
void conv2d(const Conv2dShape& s, Algorithm asked, const T* x, const T* weight, const T* bias, bool relu, T* y) {
  pack_conv2d(s, asked, weight)->run(x, bias, relu, y);
}

template <class T>
void conv2d_backward_input(const Conv2dShape& shape, Algorithm asked, const T* dy, const T* weight, T* dx) {
  const Conv2dShape s = shape.laid_down();
  const bool direct = asked == Algorithm::automatic || asked == Algorithm::direct;
  if (direct && windows_pay(s)) return backward_input_of_windows(s, asked, dy, weight, dx);
  // Input row i·stride_h + f, phase f, meets the taps r with f + pad_top - r·dilation_h a multiple of stride_h, at dy's
  // row i + that multiple: within a phase the gradient is a correlation of unit step with dy.
  Correlation p{};
  // Few multiplications an element, depthwise or most phases zero: image by image, so that each phase finds dx in the
  // cache. More (measured: 7x7, step 2) are better off with the blocks of the whole batch.
  const bool by_image =
      (s.stride_h > 1 || s.stride_w > 1) && (s.c_out_group() == 1 || s.taps() < s.stride_h * s.stride_w);
  p.images = by_image ? 1 : s.n;
  p.groups = s.groups;
  p.c = s.c_out_group();
  p.k = s.c_in_group();
  p.in_h = s.o_h;
  p.in_w = s.o_w;
  p.step_h = p.step_w = 1;
  const std::int64_t dx_image = s.c_in * s.in_plane(), dx_column = s.channels_last ? s.c_in : 1;
  if (p.c == 0) std::fill_n(dx, s.n * dx_image, T(0));
  if (p.c == 0 || p.k == 0 || s.n == 0) return;
  std::vector<OutputPhase> phases;
  bool unreached = false;  // some phase has no taps
  const auto clear_unreached = [&](std::int64_t images, T* to) {
    if (!unreached) return;
    parallel_for(images * s.c_in, double(images * dx_image),
                 [&](std::int64_t plane) { std::fill_n(to + plane * s.in_plane(), s.in_plane(), T(0)); });
  };
  for (std::int64_t row_phase = 0; row_phase < std::min(s.stride_h, s.h); ++row_phase)
    for (std::int64_t column_phase = 0; column_phase < std::min(s.stride_w, s.w); ++column_phase) {
      p.out_h = (s.h - row_phase + s.stride_h - 1) / s.stride_h;
      p.out_w = (s.w - column_phase + s.stride_w - 1) / s.stride_w;
      p.lay_out(s.channels_last);
      p.y_image = dx_image;
      p.y_plane = s.channels_last ? 1 : s.in_plane();
      p.y_row = s.w * s.stride_h * dx_column;
      p.y_column = s.stride_w * dx_column;
      p.taps.clear();
      for (std::int64_t r = s.k_h - 1; r >= 0; --r)
        for (std::int64_t q = s.k_w - 1; q >= 0; --q) {
          const std::int64_t row = row_phase + s.pad_top - r * s.dilation_h;
          const std::int64_t column = column_phase + s.pad_left - q * s.dilation_w;
          if (row % s.stride_h == 0 && column % s.stride_w == 0)
            p.taps.push_back({row / s.stride_h, column / s.stride_w, (r * s.k_w + q) * s.tap_stride()});
        }
      if (p.taps.empty())
        unreached = true;
      else
        phases.push_back({p, (row_phase * s.w + column_phase) * dx_column, column_phase});
    }
  const Weights<T> turned = {weight, s.c_out_group() * s.weight_c_out_stride(), s.weight_c_in_stride(),
                             s.weight_c_out_stride()};
  if (phases.size() == 1 && direct && choose<T>(p) == Algorithm::direct && overlapping_windows_pay<T>(s, p))
    return backward_input_of_overlapping_windows(s, asked, dy, weight, dx);
  if (phases.size() > 1 && direct) {
    const auto pack_together = depthwise_in_lanes_pays<T>(phases)  ? pack_depthwise_in_lanes<T>
                               : channels_in_lanes_pays<T>(phases) ? pack_channels_in_lanes<T>
                               : depthwise_phases_serve<T>(phases) ? pack_depthwise_phases<T>
                                                                   : nullptr;
    if (pack_together) {
      for (OutputPhase& phase : phases) phase.problem.images = s.n;
      clear_unreached(s.n, dx);
      return pack_together(phases, turned)->run(dy, nullptr, false, dx);
    }
  }
  if (direct && s.channels_last && s.groups == 1 && s.stride_w > 1 && s.stride_w <= s.w && !unreached &&
      s.stride_w * s.c_in < 2 * kernels<T>().lanes) {
    for (auto row = phases.begin(); row != phases.end(); row += s.stride_w)
      run_side_by_side(s, {row, row + s.stride_w}, turned, dy, dx);
    return;
  }
  // Winograd may serve a strided convolution, but not all phases of its gradient.
  const bool winograd = std::is_same_v<T, float> && asked == Algorithm::winograd;
  const auto forward_only = [&](const Correlation& phase) {
    return winograd && winograd_serves(forward_correlation(s)) && !winograd_serves(phase);
  };
  std::vector<std::unique_ptr<PackedCorrelation<T>>> gradients;
  double macs = 0;
  for (OutputPhase& phase : phases) {
    gradients.push_back(
        pack_correlation(phase.problem, forward_only(phase.problem) ? Algorithm::direct : asked, turned));
    macs += phase.problem.macs() * double(s.n / phase.problem.images);
  }
  const auto run = [&](std::int64_t image) {
    T* const to = dx + image * dx_image;
    clear_unreached(p.images, to);
    for (std::size_t i = 0; i < phases.size(); ++i)
      gradients[i]->run(dy + image * s.c_out * s.out_plane(), nullptr, false, to + phases[i].first);
  };
  if (by_image)
    share_out(s.n, macs + 2.0 * double(s.n * dx_image), run);
  else
    run(0);
}

// Channels last, in the order in which kernels().sum adds a plane: a lane's positions, then the lanes.
template <class T>
void sum_positions(const Conv2dShape& s, const T* dy, T* db) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t at_once = kernel.lanes * s.c_out, image = s.c_out * s.out_plane();
  const Scratch<T> sums(std::size_t(s.n * at_once));
  parallel_for(s.n, double(s.n * image), [&](std::int64_t n) {
    T* const sum = sums.data() + n * at_once;
    std::fill_n(sum, at_once, T(0));
    for (std::int64_t first = 0; first < image; first += at_once)
      kernel.axpby(T(1), sum, T(1), dy + n * image + first, std::min(at_once, image - first), sum);
    for (std::int64_t lane = 1; lane < kernel.lanes; ++lane)
      kernel.axpby(T(1), sum, T(1), sum + lane * s.c_out, s.c_out, sum);
  });
  std::fill_n(db, s.c_out, T(0));
  for (std::int64_t n = 0; n < s.n; ++n) kernel.axpby(T(1), db, T(1), sums.data() + n * at_once, s.c_out, db);
}

template <class T>
void conv2d_backward_bias(const Conv2dShape& s, const T* dy, T* db) {
  if (s.channels_last) return sum_positions(s, dy, db);
  parallel_for(s.c_out, double(s.n * s.c_out * s.out_plane()), [&](std::int64_t k) {
    db[k] = 0;
    for (std::int64_t n = 0; n < s.n; ++n)
      db[k] += kernels<T>().sum(dy + (n * s.c_out + k) * s.out_plane(), s.out_plane());
  });
}

#define CONVNET_INSTANTIATE(T)                                                                                        \
  template bool leaves_zeros_out<T>(const Correlation&);                                                              \
  template bool all_finite(const T*, std::int64_t, std::int64_t);                                                     \
  template void pack_terms(const Correlation&, const Weights<T>&, const T*, std::int64_t, std::int64_t, std::int64_t, \
                           TermOrder, T*);                                                                            \
  template std::unique_ptr<PackedCorrelation<T>> pack_correlation(Correlation, Algorithm, const Weights<T>&);         \
  template std::unique_ptr<PackedCorrelation<T>> pack_conv2d(const Conv2dShape&, Algorithm, const T*);                \
  template void conv2d(const Conv2dShape&, Algorithm, const T*, const T*, const T*, bool, T*);                        \
  template void conv2d_backward_input(const Conv2dShape&, Algorithm, const T*, const T*, T*);                         \
  template void conv2d_backward_bias(const Conv2dShape&, const T*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
