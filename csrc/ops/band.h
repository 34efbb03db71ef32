// The band: the input that a block of outputs reads, copied once with its padding, where each tap is a plain offset.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../kernels/kernels.h"
#include "correlation.h"
#include "division.h"

namespace convnet {

// The rows (or columns) of the input that a tap reads are those of one residue class modulo the step: its phase.
// Within a phase the reads have unit stride. A band holds, for each channel and each phase in use, the rows and
// columns that a block of outputs reads, padding included; a tap is then a plain offset into the band.
struct Phase {
  std::int64_t row, column;
};

struct BandLayout {
  std::vector<Phase> phases;
  std::vector<std::int64_t> tap_offset;
  std::int64_t first_row, first_column;  // of every phase's plane, in steps, relative to the block
  std::int64_t rows, columns;            // of a plane; rows may share the zeros between them, see pitch
  std::int64_t pitch;
  std::int64_t channel_stride;

  BandLayout(const Correlation& p, std::int64_t block_h, std::int64_t block_w, bool whole_rows) {
    std::int64_t last_row = 0, last_column = 0;
    first_row = first_column = INT64_MAX;
    for (const Tap& tap : p.taps) {
      const std::int64_t row = floor_div(tap.row, p.step_h), column = floor_div(tap.column, p.step_w);
      const Phase phase{tap.row - row * p.step_h, tap.column - column * p.step_w};
      if (index_of(phase) == std::int64_t(phases.size())) phases.push_back(phase);
      first_row = std::min(first_row, row);
      first_column = std::min(first_column, column);
      last_row = std::max(last_row, row);
      last_column = std::max(last_column, column);
    }
    rows = block_h + last_row - first_row;
    columns = block_w + last_column - first_column;
    pitch = columns - (whole_rows ? shared_zeros(p) : 0);
    const std::int64_t plane = rows * pitch;
    // An odd number of cache lines from channel to channel spreads the channels over the cache's sets.
    constexpr std::int64_t line = 16;
    channel_stride = ceil_div(std::int64_t(phases.size()) * plane, line) * line;
    if (channel_stride / line % 2 == 0) channel_stride += line;
    for (const Tap& tap : p.taps) tap_offset.push_back(offset(p, tap.row, tap.column));
  }

  std::int64_t index_of(const Phase& phase) const {
    const auto same = [&](const Phase& f) { return f.row == phase.row && f.column == phase.column; };
    return std::find_if(phases.begin(), phases.end(), same) - phases.begin();
  }

  // Where the block's first output finds what output (0, 0) reads at this place of the input
  std::int64_t offset(const Correlation& p, std::int64_t row, std::int64_t column) const {
    const std::int64_t i = floor_div(row, p.step_h), j = floor_div(column, p.step_w);
    return (index_of({row - i * p.step_h, column - j * p.step_w}) * rows + i - first_row) * pitch + j - first_column;
  }

  // The zeros that end a row may serve as those that begin the next one.
  std::int64_t shared_zeros(const Correlation& p) const {
    std::int64_t shared = columns;
    for (const Phase& phase : phases) {
      const std::int64_t leading =
          std::max<std::int64_t>(0, ceil_div(-(first_column * p.step_w + phase.column), p.step_w));
      const std::int64_t real_end =
          ceil_div(p.in_w - phase.column, p.step_w) - first_column;  // first column past the image
      const std::int64_t trailing = std::max<std::int64_t>(0, columns - real_end);
      shared = std::min({shared, leading, trailing});
    }
    return std::min(shared, columns - 1);
  }

  // With what the last tile reads past the last position.
  template <class T>
  std::int64_t size(std::int64_t channels) const {
    return channels * channel_stride + columns + kMostVectors * kernels<T>().lanes;
  }
};

// What a plane copies of real rows and columns, `step` apart, with the zeros that make `width` columns of each row.
template <class T>
PaddedRows<T> padded_rows(const T* x, std::int64_t x_stride, std::int64_t step, const Real& rows, const Real& columns,
                          std::int64_t width, std::int64_t pitch) {
  return {
      x,       x_stride, step, rows.end - rows.begin, columns.begin, columns.end - columns.begin, width - columns.end,
      nullptr, pitch};
}

// Copies it to the plane [to, end), with zeros in the rows above and below.
template <class T>
void fill_plane(PaddedRows<T> copy, std::int64_t above, T* to, T* end) {
  copy.y = to + above * copy.y_stride;
  std::fill(to, copy.y, T(0));
  kernels<T>().pad_rows(copy);
  std::fill(std::min(end, copy.y + copy.rows * copy.y_stride), end, T(0));
}

// Copies the part of one group's input that the block at (row0, column0) reads.
template <class T>
void fill_band(const Correlation& p, const BandLayout& band, const T* x, std::int64_t row0, std::int64_t column0,
               T* out) {
  const Kernels<T>& kernel = kernels<T>();
  const std::int64_t plane = band.rows * band.pitch;
  const bool turned = p.x_column > 1;  // a lone channel lies as channels first do
  if (turned) std::fill_n(out, band.size<T>(p.c), T(0));
  for (std::size_t f = 0; f < band.phases.size(); ++f) {
    const std::int64_t row_start = (band.first_row + row0) * p.step_h + band.phases[f].row;
    const std::int64_t column_start = (band.first_column + column0) * p.step_w + band.phases[f].column;
    const Real rows(row_start, p.step_h, p.in_h, band.rows), columns(column_start, p.step_w, p.in_w, band.columns);
    const T* from =
        x + (row_start + rows.begin * p.step_h) * p.x_row + (column_start + columns.begin * p.step_w) * p.x_column;
    const std::int64_t x_stride = p.step_h * p.x_row;
    if (turned) {
      T* to = out + std::int64_t(f) * plane + rows.begin * band.pitch + columns.begin;
      for (std::int64_t row = rows.begin; row < rows.end; ++row, from += x_stride, to += band.pitch)
        kernel.transpose(from, p.step_w * p.x_column, columns.end - columns.begin, p.c, to, band.channel_stride);
      continue;
    }
    PaddedRows<T> copy = padded_rows(from, x_stride, p.step_w, rows, columns, band.columns, band.pitch);
    const bool last = f + 1 == band.phases.size();
    for (std::int64_t c = 0; c < p.c; ++c, copy.x += p.x_plane) {
      T* const to = out + c * band.channel_stride + std::int64_t(f) * plane;
      // Lanes past the last position read on; what they find must be numbers, or subnormals would slow them down.
      T* const end = last ? out + (c + 1) * band.channel_stride : to + (band.rows - 1) * band.pitch + band.columns;
      fill_plane(copy, rows.begin, to, end);
    }
  }
  if (!turned) std::fill_n(out + p.c * band.channel_stride, band.columns + kMostVectors * kernel.lanes, T(0));
}

// Vectors of positions in a tile: more of them for a few output channels, whose sums alone would not hide their
// latency.
template <class T>
std::int64_t tile_vectors(std::int64_t rows) {
  constexpr std::int64_t few_rows = 3;
  std::int64_t vectors = 2;
  while (rows <= few_rows && vectors < kMostVectors && rows <= kernels<T>().most_rows[vectors + 1]) ++vectors;
  return vectors;
}

// The packing of one tap's positions where it lies inside the image: as `x`, one group's input, has them.
template <class T>
PanelPacking<T> packing_as_it_lies(const Correlation& p, const T* x) {
  static constexpr std::int64_t no_offset = 0;
  PanelPacking<T> packing{};
  packing.x = x + p.taps[0].row * p.x_row + p.taps[0].column * p.x_column;
  packing.channels = p.c;
  packing.channel_stride = p.x_plane;
  packing.taps = 1;
  packing.tap_offset = &no_offset;
  packing.columns = p.out_w;
  packing.pitch = p.step_h * p.x_row;
  packing.step = p.step_w;
  return packing;
}

// The same of all taps, from a band.
template <class T>
PanelPacking<T> packing_of_band(const Correlation& p, const BandLayout& layout, const T* band) {
  PanelPacking<T> packing{};
  packing.x = band;
  packing.channels = p.c;
  packing.channel_stride = layout.channel_stride;
  packing.taps = std::int64_t(p.taps.size());
  packing.tap_offset = layout.tap_offset.data();
  packing.columns = p.out_w;
  packing.pitch = layout.pitch;
  packing.step = 1;
  return packing;
}

}  // namespace convnet
