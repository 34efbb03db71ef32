// The one engine behind forward and input gradient: every output position sums, over channels and taps, a weight
// times the input at that position's place for the tap.
//
//   y[k, i, j] = bias[k] + sum over channels c and taps t of A[k, c, t] · x[c, i·step_h + t.row, j·step_w + t.column]
//
// with x zero outside its image. Forward has one tap for each kernel element; the input gradient of a strided
// convolution is one correlation for each output phase, with the taps that reach it.
#pragma once

#include <cstdint>
#include <vector>

namespace convnet {

struct Tap {
  std::int64_t row, column;  // where output (0, 0) reads; negative inside the padding
  std::int64_t source;       // of this tap's weight, from the first tap's
};

template <class T>
struct Weights {
  const T* data;
  std::int64_t group_stride, k_stride, c_stride;
};

struct Correlation {
  std::int64_t images, groups;
  std::int64_t c, in_h, in_w;    // input channels of a group
  std::int64_t k, out_h, out_w;  // output channels of a group
  std::int64_t step_h, step_w;
  std::vector<Tap> taps;
  // Where y's elements stand: the planes of one image, and a plane's rows and columns
  std::int64_t y_image, y_plane, y_row, y_column;

  std::int64_t reduction() const { return c * std::int64_t(taps.size()); }
  double macs() const { return double(images) * double(groups) * double(k) * double(out_h) * double(out_w) * double(reduction()); }
};

// How `correlate` cuts the work: panels of `rows` output channels, tiles of `vectors` vectors of positions, blocks of
// block_h × block_w positions whose input band stays in the second-level cache.
struct Blocking {
  int vectors;
  std::int64_t panels;
  std::int64_t block_h, block_w;
  std::int64_t panel_runs;  // the panels are shared out in so many runs

  std::int64_t panel_begin(std::int64_t panel, std::int64_t k) const { return k * panel / panels; }
};

template <class T>
Blocking choose_blocking(const Correlation& problem);

// groups·k·reduction values: panel by panel, term by term, row by row of the panel.
template <class T>
void pack_weights(const Correlation& problem, const Blocking& blocking, const Weights<T>& weights, T* packed);

// y must hold y_image elements an image; bias (groups·k) may be null.
template <class T>
void correlate(const Correlation& problem, const Blocking& blocking, const T* x, const T* packed, const T* bias, bool relu,
               T* y);

}  // namespace convnet
