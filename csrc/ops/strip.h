// Planes that are filtered or pooled one by one, cut into strips: the input rows of a few output rows, copied, padded
// and split by column phase, into the first-level cache. There each tap is a plain offset. Images with few channels,
// these last, are planes whose columns hold several elements each: pixels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "correlation.h"
#include "division.h"

namespace convnet {

constexpr std::int64_t kStripBytes = 24 << 10;   // of the first-level cache, for one strip
constexpr std::int64_t kStripColumns = 1024;     // of outputs, at most
constexpr std::int64_t kUnitOutputs = 32 << 10;  // small planes are handed to threads several at a time;
constexpr std::int64_t kStripOverhead = 512;     // each strip counts so many outputs more

// Which outputs a strip serves.
struct StripPlace {
  std::int64_t plane;  // image · groups + group
  std::int64_t row, column, rows, columns;
};

// A row of the strip holds one run of columns for each phase (residue class of columns modulo the step) that a tap
// reads; within a run the outputs' columns have unit stride.
struct StripLayout {
  std::int64_t pixel;             // elements of a column
  std::int64_t repeat;            // of each element of the image's
  std::int64_t block_h, block_w;  // outputs of a strip
  std::int64_t first_row;         // of the input that output row 0 reads
  std::int64_t first_column;      // of every run, in steps
  std::int64_t rows;              // for block_h outputs
  std::int64_t run, pitch;        // from phase to phase; from row to row
  std::vector<std::int64_t> phases;
  std::vector<std::int64_t> tap_offset;
  // Where the rows are reductions of some of the input's, see RowSplit; by output row
  RowReduction reduction = RowReduction::none;
  std::vector<std::int64_t> reduced_first, reduced_count;
  std::int64_t reduced_row;
  std::int64_t row_room;     // behind the strip, for a row of the image whose elements are repeated
  std::int64_t output_room;  // behind that, for a strip's outputs

  std::int64_t strip_size() const { return rows * pitch; }
  std::int64_t strips(const Correlation& p) const {
    return ceil_div(p.out_h, block_h) * ceil_div(p.out_w, block_w);
  }  // of a plane
  StripPlace place(const Correlation& p, std::int64_t plane, std::int64_t strip) const {
    const std::int64_t down = ceil_div(p.out_h, block_h), row = strip % down * block_h, column = strip / down * block_w;
    return {plane, row, column, std::min(block_h, p.out_h - row), std::min(block_w, p.out_w - column)};
  }
};

// A strip reaches from the first tap to the last: far-flung taps (a dilation of hundreds) would make it large.
inline bool strips_serve(const Correlation& p, std::int64_t pixel = 1) {
  constexpr std::int64_t most = 1 << 17;
  const std::int64_t width =
      std::min(p.out_w, ceil_div(kStripColumns, pixel)) * std::min<std::int64_t>(p.step_w, std::int64_t(p.taps.size()));
  return double(tap_extent(p, &Tap::row).count) * double(tap_extent(p, &Tap::column).count + width) * double(pixel) <=
         most;
}

template <class T>
StripLayout lay_out_strips(const Correlation& p, std::int64_t pixel = 1, std::int64_t repeat = 1) {
  const std::int64_t lanes = kernels<T>().lanes;
  StripLayout s{};
  s.pixel = pixel;
  s.repeat = repeat;
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
  const std::int64_t extent = last_row - s.first_row + 1;
  // As many columns of pixels as leave room for four rows of outputs
  std::int64_t most_columns = kStripColumns;
  if (pixel > 1)
    most_columns = std::clamp<std::int64_t>(
        kStripBytes / std::int64_t(sizeof(T)) / (3 * p.step_h + extent) / std::int64_t(s.phases.size()) / pixel -
            (last_column - s.first_column),
        16, ceil_div(kStripColumns, pixel));
  s.block_w = ceil_div(p.out_w, ceil_div(p.out_w, most_columns));
  // Column 0 of the image on a vector's boundary: most copies are then aligned.
  if (pixel == 1) s.first_column = floor_div(s.first_column, lanes) * lanes;
  s.run = ceil_div(ceil_div(s.block_w * pixel, lanes) * lanes + (last_column - s.first_column) * pixel, lanes) * lanes;
  s.pitch = s.run * std::int64_t(s.phases.size());
  for (const Tap& tap : p.taps) {
    const std::int64_t column = floor_div(tap.column, p.step_w);
    const std::int64_t phase =
        std::find(s.phases.begin(), s.phases.end(), tap.column - column * p.step_w) - s.phases.begin();
    s.tap_offset.push_back((tap.row - s.first_row) * s.pitch + phase * s.run + (column - s.first_column) * pixel);
  }
  const std::int64_t most_rows = kStripBytes / std::int64_t(sizeof(T)) / s.pitch;
  s.block_h = std::clamp<std::int64_t>((most_rows - extent) / p.step_h + 1, 1, p.out_h);
  if (s.block_h < p.out_h) s.block_h = std::min(p.out_h, std::max<std::int64_t>(4, s.block_h / 4 * 4));
  s.rows = (s.block_h - 1) * p.step_h + extent;
  s.row_room = repeat > 1 ? p.in_w * pixel : 0;
  s.output_room = s.block_h * s.block_w * pixel;
  return s;
}

// Through `row` where elements are repeated: of so many columns.
template <class T>
void split_into_strip(const StripLayout& s, const RowSplit<T>& split, std::int64_t x_columns, T* row) {
  const Kernels<T>& kernel = kernels<T>();
  if (s.repeat == 1) return kernel.split_rows[int(s.reduction)](split);
  const std::int64_t count = x_columns * s.pixel / s.repeat;
  RowSplit<T> one = split;
  one.x = row;
  one.rows = 1;
  for (std::int64_t i = 0; i < split.rows; ++i) {
    const T* const from = split.x + i * split.x_row;
    kernel.repeat(from, count, s.repeat, split.step == 1 ? split.phase[0] + i * s.pitch : row);
    if (split.step == 1) continue;
    for (int f = 0; f < 2; ++f) one.phase[f] = split.phase[f] ? split.phase[f] + i * s.pitch : nullptr;
    kernel.split_rows[int(s.reduction)](one);
  }
}

// Copies what the outputs at `at` read. `padded_for`, -1 at first, is the column whose padding the strip holds.
template <class T>
void fill_strip(const Correlation& p, const StripLayout& s, const T* x, const StripPlace& at, T padding,
                std::int64_t& padded_for, T* out) {
  if (padded_for != at.column) std::fill_n(out, s.strip_size(), padding);
  padded_for = at.column;
  const std::int64_t x_pixel = s.pixel / s.repeat, x_row = p.in_w * x_pixel;
  const T* const plane = x + at.plane * p.in_h * x_row;
  const std::int64_t rows = s.rows - (s.block_h - at.rows) * p.step_h, first = at.row * p.step_h + s.first_row;
  const bool reduced = s.reduction != RowReduction::none;
  const std::int64_t begin = reduced ? 0 : std::clamp<std::int64_t>(-first, 0, rows);
  const std::int64_t end = reduced ? rows : std::clamp<std::int64_t>(p.in_h - first, begin, rows);
  std::fill_n(out, begin * s.pitch, padding);
  std::fill_n(out + end * s.pitch, (rows - end) * s.pitch, padding);
  if (begin == end) return;
  RowSplit<T> split{};
  split.x_row = x_row;
  split.rows = end - begin;
  if (reduced) {
    split.first = s.reduced_first.data() + at.row;
    split.count = s.reduced_count.data() + at.row;
    split.reduced_row = s.reduced_row;
  }
  split.step = p.step_w;
  split.pixel = s.pixel;
  split.y_row = s.pitch;
  const T* const from = reduced ? plane : plane + (first + begin) * x_row;
  const std::int64_t start = s.first_column + at.column;  // in steps
  const std::int64_t room = s.run / s.pixel;
  T* const to = out + begin * s.pitch;
  if (p.step_w <= 2) {  // all phases at once
    const std::int64_t left = std::max<std::int64_t>(0, -start);
    split.x = from + (start + left) * p.step_w * x_pixel;
    split.columns = std::min((room - left) * p.step_w, p.in_w - (start + left) * p.step_w);
    for (std::size_t f = 0; f < s.phases.size(); ++f)
      split.phase[s.phases[f]] = to + std::int64_t(f) * s.run + left * s.pixel;
    if (split.columns > 0) split_into_strip(s, split, split.columns, out + s.strip_size());
    return;
  }
  for (std::size_t f = 0; f < s.phases.size(); ++f) {
    const std::int64_t column = start * p.step_w + s.phases[f];
    const std::int64_t left = column < 0 ? ceil_div(-column, p.step_w) : 0;
    split.x = from + (column + left * p.step_w) * x_pixel;
    split.columns = std::min(room, ceil_div(std::max<std::int64_t>(0, p.in_w - column), p.step_w)) - left;
    split.phase[0] = to + std::int64_t(f) * s.run + left * s.pixel;
    split.fetch = f == 0;
    if (split.columns > 0) split_into_strip(s, split, (split.columns - 1) * p.step_w + 1, out + s.strip_size());
  }
}

// Strips are handed to threads so many at a time; a few units are as many for each thread.
inline std::int64_t strip_units(const Correlation& p, const StripLayout& s, std::int64_t strips) {
  constexpr std::int64_t few = 4;
  const std::int64_t units = strips * (s.block_h * s.block_w * s.pixel * p.k + kStripOverhead) / kUnitOutputs;
  return std::clamp<std::int64_t>(ceil_div(units, few) * few, 1, std::max<std::int64_t>(1, strips));
}

// Elements of a strip and its outputs.
inline std::int64_t strip_workspace(const StripLayout& s) { return s.strip_size() + s.row_room + s.output_room; }

// Calls body(place) for every strip of every input plane, from several threads.
template <class Body>
void for_strip_places(const Correlation& p, const StripLayout& s, double work, Body&& body) {
  const std::int64_t strips = p.images * p.groups * s.strips(p), units = strip_units(p, s, strips);
  parallel_for(units, work, [&](std::int64_t unit) {
    for (std::int64_t i = strips * unit / units; i < strips * (unit + 1) / units; ++i)
      body(s.place(p, i / s.strips(p), i % s.strips(p)));
  });
}

// Calls body(strip, place, more) for every strip of every input plane, from several threads; `more` has room for the
// strip's outputs.
template <class T, class Body>
void for_strips(const Correlation& p, const StripLayout& s, const T* x, T padding, double work, Body&& body) {
  const std::int64_t strips = p.images * p.groups * s.strips(p), units = strip_units(p, s, strips);
  parallel_for(units, work, [&](std::int64_t unit) {
    T* const strip = thread_workspace<T>(std::size_t(strip_workspace(s)));
    std::int64_t padded_for = -1;
    for (std::int64_t i = strips * unit / units; i < strips * (unit + 1) / units; ++i) {
      const StripPlace at = s.place(p, i / s.strips(p), i % s.strips(p));
      fill_strip(p, s, x, at, padding, padded_for, strip);
      body(static_cast<const T*>(strip), at, strip + s.strip_size() + s.row_room);
    }
  });
}

}  // namespace convnet
