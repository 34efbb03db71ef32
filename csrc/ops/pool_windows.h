// The windows of a pooling, clipped to the input.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "message.h"
#include "pool_shape.h"

namespace convnet {

// The taps [begin, end) of one window that fall on the input, the first one's place, and what an average divides by.
struct Span {
  std::int64_t begin, end, start;
  std::int64_t inside, padded;  // taps on the input; taps on the padded extent
};

inline std::vector<Span> spans(std::int64_t out, std::int64_t in, std::int64_t kernel, std::int64_t stride,
                               std::int64_t pad_before, std::int64_t pad_after, std::int64_t dilation) {
  std::vector<Span> result;
  for (std::int64_t o = 0; o < out; ++o) {
    const std::int64_t start = o * stride - pad_before;
    const std::int64_t begin = start < 0 ? (-start + dilation - 1) / dilation : 0;
    const std::int64_t end = std::min(kernel, (in - start + dilation - 1) / dilation);
    const std::int64_t padded = std::min(kernel, (in + pad_after - start + dilation - 1) / dilation);
    result.push_back({begin, end, start + begin * dilation, end - begin, padded});
  }
  return result;
}

struct Windows {
  std::vector<Span> rows, columns;
  explicit Windows(const Pool2dShape& s)
      : rows(spans(s.o_h, s.h, s.k_h, s.stride_h, s.pad_top, s.pad_bottom, s.dilation_h)),
        columns(spans(s.o_w, s.w, s.k_w, s.stride_w, s.pad_left, s.pad_right, s.dilation_w)) {}
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
std::vector<T> counts(const std::vector<Span>& axis, bool count_include_pad) {
  std::vector<T> result;
  for (const Span& span : axis) result.push_back(T(count_include_pad ? span.padded : span.inside));
  return result;
}

// In multiply-adds: moving an element from or to memory costs about as much as two (measured).
inline double pool_work(const Pool2dShape& s) {
  return double(s.planes()) * (2.0 * double(s.in_plane()) + double(s.out_plane()) * double(s.k_h * s.k_w));
}

[[noreturn]] inline void refuse_index(const Pool2dShape& s, std::int64_t index) {
  throw std::invalid_argument(
      message("max_pool2d_backward: index ", index, " is outside its plane of ", s.h, " x ", s.w, " elements"));
}

}  // namespace convnet
