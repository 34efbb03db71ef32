// Depthwise with channels in lanes, from a strip [row][column][channel] of as many whole planes as a vector has lanes,
// turned together. It beats rows of columns in lanes on small maps, which leave these vectors half empty. Phases of a
// strided gradient share the strip, and their outputs take their places among the others' as they come.
#include <algorithm>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "correlation.h"
#include "costs.h"
#include "division.h"

namespace convnet {
namespace {

constexpr std::int64_t kMostBytes = 256 << 10;  // of the second-level cache, for a strip and for its outputs

// Channels [first, first + lanes) in a strip. The last ones overlap those before rather than be fewer; [own, own +
// count) are written.
struct Chunk {
  std::int64_t first, own, count;
};

// Where a strip of so many channels holds what the outputs read. Columns of one residue class modulo the step are
// neighbours.
template <class T>
struct TurnedLayout {
  std::int64_t lanes, groups, chunks;
  TapExtent rows, columns;  // that an output reads
  std::int64_t height, width;
  std::int64_t run, pitch;  // elements from class to class, from row to row
  std::int64_t size;        // with room for what no output reads
  std::vector<std::int64_t> tap_offset;

  explicit TurnedLayout(const Correlation& p)
      : lanes(kernels<T>().lanes),
        groups(p.groups),
        chunks(ceil_div(p.groups, lanes)),
        rows(tap_extent(p, &Tap::row)),
        columns(tap_extent(p, &Tap::column)),
        height((p.out_h - 1) * p.step_h + rows.count),
        width((p.out_w - 1) * p.step_w + columns.count),
        run(ceil_div(width, p.step_w) * lanes),
        pitch(run * p.step_w),
        size(height * pitch + lanes) {
    for (const Tap& tap : p.taps) tap_offset.push_back(offset(p, tap.row - rows.first, tap.column - columns.first));
  }

  std::int64_t offset(const Correlation& p, std::int64_t row, std::int64_t column) const {
    return row * pitch + column % p.step_w * run + column / p.step_w * lanes;
  }

  // The places of the image's positions
  std::vector<std::int64_t> places(const Correlation& p) const {
    constexpr std::int64_t unread = -1;
    std::vector<std::int64_t> of_column, place;
    for (std::int64_t j = -columns.first; j < p.in_w - columns.first; ++j)
      of_column.push_back(0 <= j && j < width ? offset(p, 0, j) : unread);
    place.reserve(std::size_t(p.in_h * p.in_w));
    for (std::int64_t i = -rows.first; i < p.in_h - rows.first; ++i)
      for (const std::int64_t column : of_column)
        place.push_back(0 <= i && i < height && column != unread ? i * pitch + column : size - lanes);
    return place;
  }

  Chunk chunk(std::int64_t index) const {
    const std::int64_t own = index * lanes;
    return {std::min(own, groups - lanes), own, std::min(lanes, groups - own)};
  }

  // The chunk's own channels of `count` turned vectors, where they belong among all channels: as planes, or as they are
  void put_back(const T* turned, std::int64_t count, const Chunk& chunk, bool channels_last, T* to) const {
    turned += chunk.own - chunk.first;
    if (channels_last)
      kernels<T>().copy_rows(turned, lanes, count, chunk.count, to + chunk.own, groups);
    else
      kernels<T>().transpose(turned, lanes, count, chunk.count, to + chunk.own * count, count);
  }
};

template <class T>
class DepthwiseInLanes final : public PackedCorrelation<T> {
 public:
  DepthwiseInLanes(const std::vector<OutputPhase>& phases, const Weights<T>& weights)
      : p_(all_phases(phases)),
        layout_(p_),
        place_(layout_.places(p_)),
        y_positions_(p_.y_image / p_.groups),
        y_position_(p_.channels_last ? p_.groups : 1),
        weight_(weights.data ? packed_size() : 0) {
    for (const OutputPhase& phase : phases) {
      const Correlation& p = phase.problem;
      parts_.push_back({p.out_h, p.out_w, phase.first / y_position_, p.reduction()});
    }
    if (weights.data) pack_weights(weights);
  }

  void run(const T* x, const T* bias, bool relu, T* y) const override {
    const Kernels<T>& kernel = kernels<T>();
    const std::int64_t lanes = layout_.lanes, chunks = layout_.chunks;
    const std::uint64_t call = new_call();
    parallel_for(p_.images * chunks, p_.macs(), [&](std::int64_t unit) {
      const std::int64_t image = unit / chunks;
      const Chunk chunk = layout_.chunk(unit % chunks);
      T* const strip = thread_workspace<T>(std::size_t(workspace_size()));
      T* const sums = strip + layout_.size;
      T* const lane_bias = sums + y_positions_ * lanes;
      if (!workspace_holds(call, 0)) {  // what no unit writes
        std::fill_n(strip, layout_.size, T(0));
        if (parts_.size() > 1) std::fill_n(sums, y_positions_ * lanes, T(0));  // there may be phases without taps
        std::fill_n(lane_bias, lanes, T(0));
      }
      if (bias) std::copy_n(bias + chunk.first, lanes, lane_bias);
      kernel.turn_planes({x + image * p_.x_image + chunk.first * p_.x_plane, p_.x_plane, p_.x_column,
                          std::int64_t(place_.size()), place_.data(), strip});
      // Lines of y, and of the next unit's x where it follows
      T* wanted = y + image * p_.y_image + chunk.own * p_.y_plane;
      const T* ahead = x + image * p_.x_image + (chunk.first + lanes) * p_.x_plane;
      const std::int64_t wanted_step = p_.channels_last ? y_position_ : lanes;
      const std::int64_t ahead_step = p_.channels_last ? 0 : lanes * p_.x_plane / y_positions_;
      const T* weight = weight_.data() + unit % chunks * lanes * p_.reduction();
      const std::int64_t* tap_offset = layout_.tap_offset.data();
      for (const Part& part : parts_) {
        kernel.depthwise_lanes({strip, p_.step_h * layout_.pitch, part.taps, tap_offset, weight, lane_bias, part.out_h,
                                part.out_w, sums + part.first * lanes, p_.y_row / y_position_ * lanes,
                                p_.y_column / y_position_ * lanes, wanted, ahead, wanted_step, ahead_step});
        const std::int64_t done = part.out_h * part.out_w;
        wanted += done * wanted_step;
        ahead += done * ahead_step;
        weight += part.taps * lanes;
        tap_offset += part.taps;
      }
      if (relu) kernel.relu(sums, y_positions_ * lanes, sums);
      layout_.put_back(sums, y_positions_, chunk, p_.channels_last, y + image * p_.y_image);
    });
  }

  Explanation explain() const override {
    const std::int64_t bytes = sizeof(T), threads = threads_for(p_.images * layout_.chunks, p_.macs());
    return {"depthwise", layout_.lanes, std::min(kMostLanesTile, p_.out_w), std::int64_t(packed_size()) * bytes,
            threads * workspace_size() * bytes};
  }

 private:
  struct Part {
    std::int64_t out_h, out_w, first, taps;  // the place of the first output
  };

  std::size_t packed_size() const { return std::size_t(layout_.chunks * layout_.lanes * p_.reduction()); }
  std::int64_t workspace_size() const { return layout_.size + (y_positions_ + 1) * layout_.lanes; }

  // [chunk][tap][channel]
  void pack_weights(const Weights<T>& weights) {
    T* to = weight_.data();
    for (std::int64_t chunk = 0; chunk < layout_.chunks; ++chunk)
      for (const Tap& tap : p_.taps) {
        const T* from = weights.data + layout_.chunk(chunk).first * weights.group_stride + tap.source;
        for (std::int64_t c = 0; c < layout_.lanes; ++c, from += weights.group_stride) *to++ = *from;
      }
  }

  Correlation p_;  // all taps, phase by phase
  TurnedLayout<T> layout_;
  std::vector<std::int64_t> place_;
  std::int64_t y_positions_, y_position_;  // of a plane of y; elements from one to the next
  std::vector<Part> parts_;
  Scratch<T> weight_;
};

template <class T>
bool one_channel_each(const Correlation& p) {
  return p.c == 1 && p.k == 1 && p.groups >= kernels<T>().lanes;
}

template <class T>
bool fits(const Correlation& p) {
  const TurnedLayout<T> layout(p);
  return std::max(layout.size, p.y_image / p.groups * layout.lanes) * std::int64_t(sizeof(T)) <= kMostBytes;
}

// What an image's planes cost one by one, in rows of columns, and in chunks of as many as a vector has lanes, where
// channels lie first. Of 335 shapes, with 3x3 to 7x7 taps on maps of 4x4 to 56x56, the choice loses 1 to 2 % (AVX2: 2
// to 4 %) to always taking the faster, for y as for either gradient.
struct Costs {
  double planes = 0, lanes = 0;
};

// Of the sums of products with `taps` taps for some rows and columns of outputs; steps cost the planes shuffles.
template <class T>
Costs costs_of_sums(double taps, std::int64_t rows, std::int64_t columns, bool steps) {
  const std::int64_t lanes = kernels<T>().lanes, tiles = ceil_div(columns, kMostLanesTile);
  const double of_plane = taps <= 9 ? 200 : 500, blocks = double(ceil_div(rows, 4) * ceil_div(columns, lanes));
  const double of_tile = 1.5 * taps * std::max(4.0, double(columns) / double(tiles) / 2) + 25;
  return {of_plane + (steps ? 10.0 : 5.0) * taps * blocks, double(rows * tiles) * of_tile};
}

template <class T>
Costs costs_of_gradient(const Correlation& p) {
  const double taps = double(p.reduction()),
               blocks = double(ceil_div(p.out_h, 4) * ceil_div(p.out_w, kernels<T>().lanes));
  return {700 + (p.step_w > 1 ? 12 : 8) * taps * blocks, 700 + 1.3 * taps * double(p.out_h * p.out_w)};
}

template <class T>
bool lanes_beat_planes(const Correlation& p, const Costs& of_image) {
  const std::int64_t lanes = kernels<T>().lanes;
  const double turned =
      transpose_cycles(lanes, p.in_h * p.in_w, lanes) + transpose_cycles(lanes, p.y_image / p.groups, lanes);
  return double(ceil_div(p.groups, lanes)) * (of_image.lanes + turned) < double(p.groups) * of_image.planes;
}

}  // namespace

template <class T>
bool depthwise_in_lanes_pays(const std::vector<OutputPhase>& phases) {
  if (!one_channel_each<T>(phases.front().problem)) return false;
  const bool lone = phases.size() == 1;
  const Correlation p = all_phases(phases);
  if (!fits<T>(p) || (lone && p.out_h * p.out_w * p.groups < p.y_image)) return false;  // one of several phases
  if (p.channels_last) {
    // Against kernels that read channels where they lie: measured 1.0 to 1.4 times faster for 6x6 and 7x7, as fast for
    // 4x4 on small maps; 0.4 to 0.9 on larger ones, and where these kernels have 3x3 or 5x5 taps in registers.
    const std::int64_t taps = p.reduction();
    return lone && (taps > 25 || (9 < taps && taps < 25 && p.out_h * p.out_w <= 200));
  }
  if (p.step_w > 2) return true;  // strips gather most columns one by one: measured 0.85 to 15 times faster
  Costs costs;
  for (const auto& phase : phases) {
    const Correlation& part = phase.problem;
    const Costs some = costs_of_sums<T>(double(part.reduction()), part.out_h, part.out_w, !lone || p.step_w > 1);
    costs.planes += some.planes;
    costs.lanes += some.lanes;
  }
  return lanes_beat_planes<T>(p, costs);
}

template <class T>
bool depthwise_in_lanes_gradient_pays(const Correlation& p) {
  if (!one_channel_each<T>(p) || !fits<T>(p)) return false;
  // Read where they lie: measured 1.2 to 4 times faster, but 0.3 to 1.0 for 3x3 on larger maps
  if (p.channels_last) return p.taps.size() > 9 || p.out_h * p.out_w <= 64;
  return lanes_beat_planes<T>(p, costs_of_gradient<T>(p));
}

template <class T>
std::unique_ptr<PackedCorrelation<T>> pack_depthwise_in_lanes(const std::vector<OutputPhase>& phases,
                                                              const Weights<T>& weights) {
  return std::make_unique<DepthwiseInLanes<T>>(phases, weights);
}

// A slice sums some images of one chunk of channels, a few rows at a time, which bounds the rounding error; slices are
// added in order.
template <class T>
void depthwise_in_lanes_weight_gradient(const Correlation& p, const T* dy, const T* x, T* dw) {
  constexpr std::int64_t most_slices = 64, most_outputs = 512;
  const Kernels<T>& kernel = kernels<T>();
  const TurnedLayout<T> layout(p);
  const std::int64_t lanes = layout.lanes, taps = p.reduction(), sums = taps * lanes;
  const std::int64_t slices = std::clamp<std::int64_t>(most_slices / layout.chunks, 1, p.images);
  const std::int64_t outputs = p.out_h * p.out_w, workspace = layout.size + outputs * lanes + sums;
  const std::int64_t rows_at_once = std::clamp<std::int64_t>(most_outputs / p.out_w, 1, p.out_h);
  const std::int64_t x_row = p.step_h * layout.pitch;
  const std::vector<std::int64_t> place = layout.places(p);
  const Scratch<T> partial(std::size_t(layout.chunks * slices * sums));
  const std::uint64_t call = new_call();
  parallel_for(layout.chunks * slices, p.macs(), [&](std::int64_t unit) {
    const std::int64_t slice = unit % slices, first = layout.chunk(unit / slices).first;
    T* const strip = thread_workspace<T>(std::size_t(workspace));
    if (!workspace_holds(call, 0)) std::fill_n(strip, layout.size, T(0));
    T* const turned = strip + layout.size;
    T* const of_rows = turned + outputs * lanes;
    T* const sum = partial.data() + unit * sums;
    std::vector<const T*> tap(layout.tap_offset.size());
    std::fill_n(sum, sums, T(0));
    for (std::int64_t image = p.images * slice / slices; image < p.images * (slice + 1) / slices; ++image) {
      kernel.turn_planes(
          {x + image * p.x_image + first * p.x_plane, p.x_plane, p.x_column, p.in_h * p.in_w, place.data(), strip});
      const T* const from = dy + image * p.y_image + first * p.y_plane;
      if (p.channels_last)
        kernel.copy_rows(from, p.y_column, outputs, lanes, turned, lanes);
      else
        kernel.transpose(from, p.y_plane, lanes, outputs, turned, lanes);
      for (std::int64_t row = 0; row < p.out_h; row += rows_at_once) {
        for (std::size_t t = 0; t < tap.size(); ++t) tap[t] = strip + row * x_row + layout.tap_offset[t];
        std::fill_n(of_rows, sums, T(0));
        kernel.depthwise_last_gradient({tap.data(), x_row, lanes, taps, turned + row * p.out_w * lanes, p.out_w * lanes,
                                        lanes, std::min(rows_at_once, p.out_h - row), p.out_w, lanes, of_rows, lanes});
        kernel.axpby(T(1), sum, T(1), of_rows, sums, sum);
      }
    }
  });
  for (std::int64_t index = 0; index < layout.chunks; ++index) {
    T* const sum = partial.data() + index * slices * sums;
    for (std::int64_t slice = 1; slice < slices; ++slice) kernel.axpby(T(1), sum, T(1), sum + slice * sums, sums, sum);
    layout.put_back(sum, taps, layout.chunk(index), p.channels_last, dw);
  }
}

#define CONVNET_INSTANTIATE(T)                                                                            \
  template bool depthwise_in_lanes_pays<T>(const std::vector<OutputPhase>&);                              \
  template bool depthwise_in_lanes_gradient_pays<T>(const Correlation&);                                  \
  template std::unique_ptr<PackedCorrelation<T>> pack_depthwise_in_lanes(const std::vector<OutputPhase>&, \
                                                                         const Weights<T>&);              \
  template void depthwise_in_lanes_weight_gradient(const Correlation&, const T*, const T*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
