#include <algorithm>
#include <atomic>
#include <limits>

#include "../kernels/kernels.h"
#include "../runtime/memory.h"
#include "../runtime/parallel.h"
#include "pool2d.h"
#include "pool_windows.h"
#include "strip.h"

namespace convnet {
namespace {

// Places are counted in lanes, from the window's first pixel on.
bool places_fit(const Pool2dShape& s) { return s.in_plane() <= 1 << 30; }

template <class T>
PoolLast<T> pool_row(const Pool2dShape& s, const Columns& columns) {
  PoolLast<T> row{};
  row.x_row = columns.row_step * s.c;
  row.x_column = columns.column_step * s.c;
  row.first = columns.first.data();
  row.columns = columns.taps.data();
  row.outputs = s.o_w;
  row.pixel = s.c;
  row.row_place = columns.row_step;
  row.column_place = columns.column_step;
  return row;
}

// Calls body(row of outputs, kernel's call) for every row of outputs, or for blocks of channels of it where there are
// few, from several threads.
template <class T, class Body>
void for_rows(const Pool2dShape& s, const Windows& windows, const T* x, T* y, Body&& body) {
  const std::int64_t rows = s.n * s.o_h;
  if (rows == 0 || s.c == 0) return;
  const std::int64_t block = rows < 16 ? std::min<std::int64_t>(s.c, 4 * kernels<T>().lanes) : s.c;
  const std::int64_t blocks = ceil_div(s.c, block), run = std::max<std::int64_t>(1, (16 << 10) / (s.o_w * block));
  const std::int64_t parts = rows * blocks;
  const Columns columns(s, windows);
  const PoolLast<T> any = pool_row<T>(s, columns);
  parallel_for(ceil_div(parts, run), pool_work(s), [&](std::int64_t unit) {
    for (std::int64_t part = unit * run; part < std::min(parts, (unit + 1) * run); ++part) {
      const std::int64_t row = blocks == 1 ? part : part / blocks, channel = (part - row * blocks) * block;
      const std::int64_t image = row / s.o_h, i = row - image * s.o_h;
      const Span& span = windows.rows[std::size_t(i)];
      const std::int64_t start = (image * s.h + span.start) * s.w * s.c + channel;
      PoolLast<T> call = any;
      call.x = x + start;
      call.readable = s.planes() * s.in_plane() - start;
      call.rows = span.inside;
      call.channels = std::min(block, s.c - channel);
      call.y = y + row * s.o_w * s.c + channel;
      call.origin = span.start * s.w;
      body(std::size_t(i), row * s.o_w * s.c + channel, call);
    }
  });
}

// Where the channels do not fill a vector, lanes hold columns and channels as they lie: an image is one plane whose
// columns hold as many elements.
template <class T>
bool few_channels(const Pool2dShape& s) {
  return 0 < s.planes() && s.c < kernels<T>().lanes;
}
Pool2dShape as_plane(Pool2dShape s) {
  s.c = 1;
  return s;
}

// Gradients go by bands of rows of dx: calls body(image, first row, end) for each, from several threads.
template <class Body>
void for_bands(const Pool2dShape& s, double work, Body&& body) {
  constexpr std::int64_t units = 8;
  const std::int64_t least = std::min(s.h, 4 * std::min(s.h, (s.k_h - 1) * s.dilation_h + 1));
  const std::int64_t bands = s.n == 0 || s.h == 0 ? 1 : std::clamp<std::int64_t>(units / s.n, 1, s.h / least);
  parallel_for(s.n * bands, work, [&](std::int64_t unit) {
    const std::int64_t band = unit % bands;
    body(unit / bands, s.h * band / bands, s.h * (band + 1) / bands);
  });
}

// Calls body(output row, window, taps [begin, end) in the band) for the windows that reach into rows [first, last) of
// dx, and clears these rows of `row` elements before they are first added to.
template <class T, class Body>
void for_windows_of_band(const Pool2dShape& s, const Windows& windows, std::int64_t first, std::int64_t last, T* dx,
                         Body&& body) {
  const std::int64_t row = s.w * s.c;
  std::int64_t clear = first;
  for (std::size_t i = 0; i < windows.rows.size(); ++i) {
    const Span& span = windows.rows[i];
    const std::int64_t begin = std::clamp<std::int64_t>(ceil_div(first - span.start, s.dilation_h), 0, span.inside);
    const std::int64_t end = std::clamp<std::int64_t>(ceil_div(last - span.start, s.dilation_h), 0, span.inside);
    if (begin >= end) continue;
    const std::int64_t until = std::max(clear, span.start + (end - 1) * s.dilation_h + 1);
    std::fill_n(dx + clear * row, (until - clear) * row, T(0));
    clear = until;
    body(i, span, begin, end);
  }
  std::fill_n(dx + clear * row, (last - clear) * row, T(0));
}

// The definition: an index may be anywhere in its plane.
template <class T>
void scatter_images(const Pool2dShape& s, const T* dy, const std::int64_t* indices, T* dx) {
  parallel_for(s.n, 4 * pool_work(s), [&](std::int64_t image) {
    const std::int64_t outputs = s.c * s.out_plane(), inputs = s.c * s.in_plane();
    const std::int64_t* const begin = indices + image * outputs;
    T* const to = dx + image * inputs;
    std::fill_n(to, inputs, T(0));
    if (kernels<T>().scatter_last(
            {dy + image * outputs, begin, s.out_plane(), s.c, 0, s.in_plane(), 0, s.in_plane(), to}))
      return;
    refuse_index(s, *std::find_if(begin, begin + outputs, [&](std::int64_t i) { return i < 0 || i >= s.in_plane(); }));
  });
}

// The same by bands, as long as each index is in one of the windows beside its own.
template <class T>
void scatter_bands(const Pool2dShape& s, const T* dy, const std::int64_t* indices, T* dx) {
  constexpr std::int64_t some_outputs = 1024;
  const Windows windows(s);
  std::atomic<bool> elsewhere{false};
  for_bands(s, 4 * pool_work(s), [&](std::int64_t image, std::int64_t first, std::int64_t last) {
    const std::int64_t row = s.o_w * s.c, begins = image * s.o_h * row;
    T* const to = dx + image * s.c * s.in_plane();
    const auto start = [&](std::int64_t i) { return windows.rows[std::size_t(i)].start; };
    const auto end = [&](std::int64_t i) {
      return start(i) + (windows.rows[std::size_t(i)].inside - 1) * s.dilation_h + 1;
    };
    std::int64_t i = 0, cleared = first;
    const auto clear = [&](std::int64_t until) {
      if (until > cleared) std::fill_n(to + cleared * s.w * s.c, (until - cleared) * s.w * s.c, T(0));
      cleared = std::max(cleared, until);
    };
    while (i < s.o_h && end(i) <= first) ++i;
    // Some rows at a time, whose part of dx is cleared just before
    for (std::int64_t until = i; i < s.o_h && start(i) < last; i = until) {
      while (until < s.o_h && start(until) < last && (until - i) * row < some_outputs) ++until;
      clear(std::min(last, end(until - 1)));
      const std::int64_t place = start(i) * s.w;
      if (!kernels<T>().scatter_last({dy + begins + i * row, indices + begins + i * row, (until - i) * s.o_w, s.c,
                                      place, end(until - 1) * s.w - place, first * s.w, last * s.w, to}))
        elsewhere = true;
    }
    clear(last);
  });
  if (elsewhere) scatter_images(s, dy, indices, dx);
}

}  // namespace

template <class T>
void max_pool2d_last(const Pool2dShape& s, const T* x, T* y, std::int64_t* indices) {
  if (few_channels<T>(s) && max_pool2d_strips(as_plane(s), s.c, x, y, indices)) return;
  const Windows windows(s);
  if (indices && !places_fit(s)) {
    parallel_for(s.planes(), pool_work(s), [&](std::int64_t plane) {
      const std::int64_t image = plane / s.c, channel = plane % s.c;
      const T* const from = x + image * s.c * s.in_plane() + channel;
      std::int64_t out = image * s.c * s.out_plane() + channel;
      for (const Span& rows : windows.rows)
        for (const Span& columns : windows.columns) {
          indices[out] = place_of_maximum(s, rows, columns, from, s.c);
          y[out] = from[indices[out] * s.c];
          out += s.c;
        }
    });
    return;
  }
  const LastKind kind = indices ? LastKind::place : LastKind::greatest;
  for_rows(s, windows, x, y, [&](std::size_t, std::int64_t first, PoolLast<T>& row) {
    if (indices) row.indices = indices + first;
    kernels<T>().pool_last[int(kind)](row);
  });
}

template <class T>
void avg_pool2d_last(const Pool2dShape& s, bool count_include_pad, const T* x, T* y) {
  if (few_channels<T>(s) && avg_pool2d_strips(as_plane(s), s.c, count_include_pad, x, y)) return;
  const Windows windows(s);
  const std::vector<T> row_count = counts<T>(windows.rows, count_include_pad),
                       column_count = counts<T>(windows.columns, count_include_pad);
  for_rows(s, windows, x, y, [&](std::size_t i, std::int64_t, PoolLast<T>& row) {
    row.row_count = row_count[i];
    row.column_count = column_count.data();
    kernels<T>().pool_last[int(LastKind::average)](row);
  });
}

template <class T>
void max_pool2d_backward_last(const Pool2dShape& s, const T* dy, const std::int64_t* indices, T* dx) {
  // With many taps, or vectors that are mostly empty, a scattered element is cheaper than all comparisons (measured).
  const std::int64_t lanes = kernels<T>().lanes, most_taps = lanes;
  const bool mostly_empty = s.c < 32 && s.c % lanes != 0;
  if (!places_fit(s) || s.k_h * s.k_w > most_taps || mostly_empty)
    return s.dilation_h == 1 ? scatter_bands(s, dy, indices, dx) : scatter_images(s, dy, indices, dx);
  const Windows windows(s);
  const Columns columns(s, windows);
  std::atomic<bool> elsewhere{false};  // an index that is not in its window
  for_bands(s, pool_work(s), [&](std::int64_t image, std::int64_t first, std::int64_t last) {
    const std::int64_t row = s.o_w * s.c, begins = image * s.o_h * row;
    T* const to = dx + image * s.c * s.in_plane();
    for_windows_of_band(s, windows, first, last, to,
                        [&](std::size_t i, const Span& span, std::int64_t begin, std::int64_t end) {
                          UnpoolLast<T> call{};
                          call.dy = dy + begins + std::int64_t(i) * row;
                          call.indices = indices + begins + std::int64_t(i) * row;
                          call.rows = span.inside;
                          call.begin = begin;
                          call.end = end;
                          call.x_row = columns.row_step * s.c;
                          call.x_column = columns.column_step * s.c;
                          call.first = columns.first.data();
                          call.columns = columns.taps.data();
                          call.outputs = s.o_w;
                          call.channels = s.c;
                          call.origin = span.start * s.w;
                          call.row_place = columns.row_step;
                          call.column_place = columns.column_step;
                          call.dx = to + span.start * s.w * s.c;
                          if (!kernels<T>().unpool_last(call)) elsewhere = true;
                        });
  });
  if (elsewhere) scatter_images(s, dy, indices, dx);
}

template <class T>
void avg_pool2d_backward_last(const Pool2dShape& s, bool count_include_pad, const T* dy, T* dx) {
  const Windows windows(s);
  const Columns columns(s, windows);
  const std::vector<T> row_count = counts<T>(windows.rows, count_include_pad),
                       column_count = counts<T>(windows.columns, count_include_pad);
  // With fewer channels than lanes
  std::int64_t whole_begin = 0, whole_end = 0;
  if (few_channels<T>(s)) {
    const auto whole = [&](const Span& span) { return span.inside == s.k_w; };
    const auto begin = std::find_if(windows.columns.begin(), windows.columns.end(), whole);
    whole_begin = begin - windows.columns.begin();
    whole_end = std::find_if_not(begin, windows.columns.end(), whole) - windows.columns.begin();
  }
  const std::int64_t shares = (whole_end - whole_begin) * s.c;
  for_bands(s, pool_work(s), [&](std::int64_t image, std::int64_t first, std::int64_t last) {
    const std::int64_t size = s.w * s.c;
    T* const spread = thread_workspace<T>(std::size_t(size + shares));
    T* const to = dx + image * s.h * size;
    for_windows_of_band(s, windows, first, last, to,
                        [&](std::size_t i, const Span& span, std::int64_t begin, std::int64_t end) {
                          SpreadLast<T> call{};
                          call.dy = dy + (image * s.o_h + std::int64_t(i)) * s.o_w * s.c;
                          call.row_count = row_count[i];
                          call.column_count = column_count.data();
                          call.first = columns.first.data();
                          call.columns = columns.taps.data();
                          call.x_column = columns.column_step * s.c;
                          call.outputs = s.o_w;
                          call.channels = s.c;
                          call.size = size;
                          call.begin = whole_begin;
                          call.end = whole_end;
                          call.shares = spread + size;
                          call.spread = spread;
                          kernels<T>().spread_last(call);
                          for (std::int64_t r = begin; r < end; ++r) {
                            T* const row = to + (span.start + r * s.dilation_h) * size;
                            kernels<T>().axpby(T(1), spread, T(1), row, size, row);
                          }
                        });
  });
}

#define CONVNET_INSTANTIATE(T)                                                                   \
  template void max_pool2d_last(const Pool2dShape&, const T*, T*, std::int64_t*);                \
  template void max_pool2d_backward_last(const Pool2dShape&, const T*, const std::int64_t*, T*); \
  template void avg_pool2d_last(const Pool2dShape&, bool, const T*, T*);                         \
  template void avg_pool2d_backward_last(const Pool2dShape&, bool, const T*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
