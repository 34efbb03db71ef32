#include "pool2d.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "pool_windows.h"
#include "strip.h"

namespace convnet {
namespace {

// The plane's windows as the taps of a correlation; a tap's source is its distance from the window's first.
Correlation windows_as_taps(const Pool2dShape& s) {
  Correlation p{};
  p.images = s.planes();
  p.groups = p.c = p.k = 1;
  p.in_h = s.h;
  p.in_w = s.w;
  p.out_h = s.o_h;
  p.out_w = s.o_w;
  p.step_h = s.stride_h;
  p.step_w = s.stride_w;
  // Without taps where the strips would not do: windows far larger than the plane, planes whose positions do not fit a
  // lane.
  constexpr std::int64_t most_taps = 1 << 14;
  if (s.k_h > most_taps || s.k_w > most_taps || s.k_h * s.k_w > most_taps || s.in_plane() > 1 << 30) return p;
  for (std::int64_t r = 0; r < s.k_h; ++r)
    for (std::int64_t q = 0; q < s.k_w; ++q)
      p.taps.push_back(
          {r * s.dilation_h - s.pad_top, q * s.dilation_w - s.pad_left, r * s.dilation_h * s.w + q * s.dilation_w});
  return p;
}

// The same in two steps: the rows of each window are reduced on their way into the strip, and one row of taps is left.
template <class T>
StripLayout lay_out_reduced(const Pool2dShape& s, const Windows& windows, RowReduction reduction, std::int64_t pixel,
                            Correlation& p) {
  p.taps.erase(p.taps.begin() + s.k_w, p.taps.end());
  for (Tap& tap : p.taps) tap.row = 0;
  p.step_h = 1;
  StripLayout layout = lay_out_strips<T>(p, pixel);
  layout.reduction = reduction;
  layout.reduced_row = s.dilation_h * s.w * pixel;
  for (const Span& rows : windows.rows) {
    layout.reduced_first.push_back(rows.start);
    layout.reduced_count.push_back(rows.inside);
  }
  return layout;
}

// The kernel's call for one strip, but for what counts or indices need.
template <class T>
Pool<T> pool_strip(const Pool2dShape& s, const Correlation& p, const StripLayout& layout, const T* strip,
                   const StripPlace& at, T* y) {
  Pool<T> pool{};
  pool.x = strip;
  pool.x_row = p.step_h * layout.pitch;
  pool.taps = std::int64_t(p.taps.size());
  pool.tap_offset = layout.tap_offset.data();
  pool.rows = at.rows;
  pool.columns = at.columns * layout.pixel;
  pool.y = y;
  pool.y_row = s.o_w * layout.pixel;
  return pool;
}

template <class Visit>
void for_outputs(const Pool2dShape& s, Visit&& visit) {
  parallel_for(s.planes(), double(s.planes()) * double(s.out_plane()) * double(s.in_plane()), [&](std::int64_t plane) {
    std::int64_t out = plane * s.out_plane();
    for (std::size_t i = 0; i < std::size_t(s.o_h); ++i)
      for (std::size_t j = 0; j < std::size_t(s.o_w); ++j) visit(plane, i, j, out++);
  });
}

}  // namespace

template <class T>
bool max_pool2d_strips(const Pool2dShape& s, std::int64_t pixel, const T* x, T* y, std::int64_t* indices) {
  Correlation p = windows_as_taps(s);
  if (p.taps.empty() || !strips_serve(p, pixel)) return false;
  const Windows windows(s);
  const StripLayout layout =
      indices ? lay_out_strips<T>(p, pixel) : lay_out_reduced<T>(s, windows, RowReduction::greatest, pixel, p);
  std::vector<std::int64_t> tap_place;
  for (const Tap& tap : p.taps) tap_place.push_back(tap.source);
  // The kernel reads on to a whole vector.
  std::vector<LaneInt<T>> column_place(std::size_t(layout.block_w * pixel + kernels<T>().lanes));
  for (std::int64_t i = 0; i < layout.block_w * pixel; ++i)
    column_place[std::size_t(i)] = LaneInt<T>(i / pixel * s.stride_w);
  for_strips(p, layout, x, -std::numeric_limits<T>::infinity(), double(pixel) * pool_work(s),
             [&](const T* strip, const StripPlace& at, T*) {
               const std::int64_t first = (at.plane * s.out_plane() + at.row * s.o_w + at.column) * pixel;
               Pool<T> pool = pool_strip(s, p, layout, strip, at, y + first);
               if (indices) pool.indices = indices + first;
               pool.origin = (at.row * s.stride_h - s.pad_top) * s.w + at.column * s.stride_w - s.pad_left;
               pool.row_place = s.stride_h * s.w;
               pool.column_place = column_place.data();
               pool.tap_place = tap_place.data();
               if (kernels<T>().max_pool(pool)) return;
               const T* const plane = x + at.plane * s.in_plane() * pixel;
               for (std::int64_t i = at.row; i < at.row + at.rows; ++i)
                 for (std::int64_t j = at.column * pixel; j < (at.column + at.columns) * pixel; ++j) {
                   const std::int64_t out = (at.plane * s.o_h + i) * s.o_w * pixel + j;
                   if (!(y[out] > -std::numeric_limits<T>::infinity()))
                     indices[out] = place_of_maximum(s, windows.rows[std::size_t(i)],
                                                     windows.columns[std::size_t(j / pixel)], plane + j % pixel, pixel);
                 }
             });
  return true;
}

template <class T>
void max_pool2d(const Pool2dShape& s, const T* x, T* y, std::int64_t* indices) {
  if (s.planes() == 0 || max_pool2d_strips(s, 1, x, y, indices)) return;
  const Windows windows(s);
  for_outputs(s, [&](std::int64_t plane, std::size_t i, std::size_t j, std::int64_t out) {
    const T* const from = x + plane * s.in_plane();
    const std::int64_t best = place_of_maximum(s, windows.rows[i], windows.columns[j], from);
    y[out] = from[best];
    if (indices) indices[out] = best;
  });
}

template <class T>
void max_pool2d_backward(const Pool2dShape& s, const T* dy, const std::int64_t* indices, T* dx) {
  // In multiply-adds; a scattered element costs about eight (measured).
  const double scatter_work = 8.0 * double(s.planes()) * double(s.in_plane() + s.out_plane());
  const std::int64_t run = std::max<std::int64_t>(1, kUnitOutputs / (s.in_plane() + s.out_plane()));
  parallel_for(ceil_div(s.planes(), run), scatter_work, [&](std::int64_t unit) {
    const std::int64_t first = unit * run, planes = std::min(run, s.planes() - first);
    const std::int64_t *const begin = indices + first * s.out_plane(), *const end = begin + planes * s.out_plane();
    const T* const from = dy + first * s.out_plane();
    T* const to = dx + first * s.in_plane();
    if (kernels<T>().scatter(from, begin, planes, s.out_plane(), s.in_plane(), to)) return;
    const std::int64_t bad = *std::find_if(begin, end, [&](std::int64_t i) { return i < 0 || i >= s.in_plane(); });
    refuse_index(s, bad);
  });
}

template <class T>
bool avg_pool2d_strips(const Pool2dShape& s, std::int64_t pixel, bool count_include_pad, const T* x, T* y) {
  Correlation p = windows_as_taps(s);
  if (p.taps.empty() || !strips_serve(p, pixel)) return false;
  const Windows windows(s);
  const std::vector<T> row_count = counts<T>(windows.rows, count_include_pad);
  std::vector<T> column_count;
  for (T count : counts<T>(windows.columns, count_include_pad))
    column_count.insert(column_count.end(), std::size_t(pixel), count);
  const StripLayout layout = lay_out_reduced<T>(s, windows, RowReduction::sum, pixel, p);
  for_strips(p, layout, x, T(0), double(pixel) * pool_work(s), [&](const T* strip, const StripPlace& at, T*) {
    const std::int64_t first = (at.plane * s.out_plane() + at.row * s.o_w + at.column) * pixel;
    Pool<T> pool = pool_strip(s, p, layout, strip, at, y + first);
    pool.row_count = row_count.data() + at.row;
    pool.column_count = column_count.data() + at.column * pixel;
    kernels<T>().average_pool(pool);
  });
  return true;
}

template <class T>
void avg_pool2d(const Pool2dShape& s, bool count_include_pad, const T* x, T* y) {
  if (s.planes() == 0) return;
  if (s.k_h == s.h && s.k_w == s.w && s.dilation_h == 1 && s.dilation_w == 1 && s.out_plane() == 1 && s.pad_top == 0 &&
      s.pad_left == 0) {  // the whole plane
    parallel_for(s.planes(), pool_work(s), [&](std::int64_t plane) {
      y[plane] = kernels<T>().sum(x + plane * s.in_plane(), s.in_plane()) / (T(s.h) * T(s.w));
    });
    return;
  }
  if (avg_pool2d_strips(s, 1, count_include_pad, x, y)) return;
  const Windows windows(s);
  const std::vector<T> row_count = counts<T>(windows.rows, count_include_pad),
                       column_count = counts<T>(windows.columns, count_include_pad);
  for_outputs(s, [&](std::int64_t plane, std::size_t i, std::size_t j, std::int64_t out) {
    T sum = 0;
    for_taps(s, windows.rows[i], windows.columns[j],
             [&](std::int64_t place) { sum += x[plane * s.in_plane() + place]; });
    y[out] = sum / (row_count[i] * column_count[j]);
  });
}

namespace {

// Windows side by side that cover the plane: each share is repeated along its row, and the row for each of the
// window's.
template <class T>
void spread_over_tiles(const Pool2dShape& s, const T* dy, T* dx) {
  const Kernels<T>& kernel = kernels<T>();
  const T count = T(s.k_h) * T(s.k_w);
  const std::int64_t run = std::max<std::int64_t>(1, kUnitOutputs / s.in_plane());
  parallel_for(ceil_div(s.planes(), run), pool_work(s), [&](std::int64_t unit) {
    const std::int64_t first = unit * run, rows = std::min(run, s.planes() - first) * s.o_h;
    T* const shares = thread_workspace<T>(std::size_t(run * s.o_h * (s.o_w + s.w)));
    T* const spread = shares + run * s.out_plane();
    const T* const from = dy + first * s.out_plane();
    for (std::int64_t j = 0; j < rows * s.o_w; ++j) shares[j] = from[j] / count;
    kernel.repeat(shares, rows * s.o_w, s.k_w, spread);
    for (std::int64_t r = 0; r < s.k_h; ++r)
      kernel.copy_rows(spread, s.w, rows, s.w, dx + first * s.in_plane() + r * s.w, s.k_h * s.w);
  });
}

}  // namespace

template <class T>
void avg_pool2d_backward(const Pool2dShape& s, bool count_include_pad, const T* dy, T* dx) {
  if (windows_tile(s)) return spread_over_tiles(s, dy, dx);
  const Windows windows(s);
  const std::vector<T> row_count = counts<T>(windows.rows, count_include_pad),
                       column_count = counts<T>(windows.columns, count_include_pad);
  parallel_for(s.planes(), pool_work(s), [&](std::int64_t plane) {
    T* const shares = thread_workspace<T>(std::size_t(s.o_w + s.w));  // of one output row
    T* const spread = shares + s.o_w;                                 // over the input columns
    T* const to = dx + plane * s.in_plane();
    std::fill_n(to, s.in_plane(), T(0));
    for (std::int64_t i = 0; i < s.o_h; ++i) {
      const T* const from = dy + (plane * s.o_h + i) * s.o_w;
      for (std::int64_t j = 0; j < s.o_w; ++j)
        shares[j] = from[j] / (row_count[std::size_t(i)] * column_count[std::size_t(j)]);
      std::fill_n(spread, s.w, T(0));
      for (std::int64_t q = 0; q < s.k_w; ++q) {
        const std::int64_t start = q * s.dilation_w - s.pad_left;
        const std::int64_t first = start < 0 ? ceil_div(-start, s.stride_w) : 0;
        const std::int64_t last = std::min(s.o_w, start < s.w ? ceil_div(s.w - start, s.stride_w) : 0);
        if (s.stride_w == 1 && first < last)
          kernels<T>().axpby(T(1), shares + first, T(1), spread + start + first, last - first, spread + start + first);
        else
          for (std::int64_t j = first; j < last; ++j) spread[start + j * s.stride_w] += shares[j];
      }
      const Span& span = windows.rows[std::size_t(i)];
      for (std::int64_t r = 0, row = span.start; r < span.inside; ++r, row += s.dilation_h)
        kernels<T>().axpby(T(1), spread, T(1), to + row * s.w, s.w, to + row * s.w);
    }
  });
}

#define CONVNET_INSTANTIATE(T)                                                                    \
  template bool max_pool2d_strips(const Pool2dShape&, std::int64_t, const T*, T*, std::int64_t*); \
  template bool avg_pool2d_strips(const Pool2dShape&, std::int64_t, bool, const T*, T*);          \
  template void max_pool2d(const Pool2dShape&, const T*, T*, std::int64_t*);                      \
  template void max_pool2d_backward(const Pool2dShape&, const T*, const std::int64_t*, T*);       \
  template void avg_pool2d(const Pool2dShape&, bool, const T*, T*);                               \
  template void avg_pool2d_backward(const Pool2dShape&, bool, const T*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
