// The windows of a pooling, clipped to the input.
#pragma once

#include <cmath>
#include <vector>

#include "pool_shape.h"

namespace convnet {

// The taps [begin, end) of one window that fall on the input, the first one's place, and what an average divides by.
struct Span {
  std::int64_t begin, end, start;
  std::int64_t inside, padded;  // taps on the input; taps on the padded extent
};

struct Windows {
  std::vector<Span> rows, columns;
  explicit Windows(const Pool2dShape& s);
};

// Where the windows of an output row begin, how many columns they hold, and how far apart their taps are.
struct Columns {
  std::vector<std::int64_t> first, taps;
  std::int64_t row_step, column_step;  // in pixels; nothing is as far away as the dilation of a lone tap may be
  Columns(const Pool2dShape& s, const Windows& windows);
};

// Calls tap(place in the plane) for the window's elements in row-major order.
template <class Tap>
void for_taps(const Pool2dShape& s, const Span& rows, const Span& columns, Tap&& tap) {
  for (std::int64_t r = 0, row = rows.start; r < rows.inside; ++r, row += s.dilation_h)
    for (std::int64_t q = 0, column = columns.start; q < columns.inside; ++q, column += s.dilation_w)
      tap(row * s.w + column);
}

// The definition, for one output; the plane's elements are `pixel` apart.
template <class T>
std::int64_t place_of_maximum(const Pool2dShape& s, const Span& rows, const Span& columns, const T* plane,
                              std::int64_t pixel = 1) {
  std::int64_t best = rows.start * s.w + columns.start;
  for_taps(s, rows, columns, [&](std::int64_t place) {
    if (plane[place * pixel] > plane[best * pixel] ||
        (std::isnan(plane[place * pixel]) && !std::isnan(plane[best * pixel])))
      best = place;
  });
  return best;
}

// What an average divides by, along one axis.
template <class T>
std::vector<T> counts(const std::vector<Span>& axis, bool count_include_pad);

// In multiply-adds: moving an element from or to memory costs about as much as two (measured).
double pool_work(const Pool2dShape& s);

[[noreturn]] void refuse_index(const Pool2dShape& s, std::int64_t index);

}  // namespace convnet
