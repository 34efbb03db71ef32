#include "pool2d.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "../runtime/parallel.h"
#include "message.h"

namespace convnet {
namespace {

// The taps [begin, end) of one window that fall on the input, the first one's place, and what an average divides by.
struct Span {
  std::int64_t begin, end, start;
  std::int64_t inside, padded;  // taps on the input; taps on the padded extent
};

std::vector<Span> spans(std::int64_t out, std::int64_t in, std::int64_t kernel, std::int64_t stride,
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
  std::int64_t divisor(std::size_t i, std::size_t j, bool count_include_pad) const {
    return count_include_pad ? rows[i].padded * columns[j].padded : rows[i].inside * columns[j].inside;
  }
};

template <class Visit>
void for_planes(const Pool2dShape& s, Visit&& visit) {
  parallel_for(s.planes(), double(s.planes()) * double(s.out_plane()) * double(s.k_h * s.k_w), [&](std::int64_t plane) {
    for (std::size_t i = 0; i < std::size_t(s.o_h); ++i)
      for (std::size_t j = 0; j < std::size_t(s.o_w); ++j) visit(plane, i, j);
  });
}

// Calls tap(place in the plane) for the window's elements in row-major order.
template <class Tap>
void for_taps(const Pool2dShape& s, const Span& rows, const Span& columns, Tap&& tap) {
  for (std::int64_t r = 0, row = rows.start; r < rows.inside; ++r, row += s.dilation_h)
    for (std::int64_t q = 0, column = columns.start; q < columns.inside; ++q, column += s.dilation_w)
      tap(row * s.w + column);
}

}  // namespace

template <class T>
void max_pool2d(const Pool2dShape& s, const T* x, T* y, std::int64_t* indices) {
  const Windows windows(s);
  for_planes(s, [&](std::int64_t plane, std::size_t i, std::size_t j) {
    const T* from = x + plane * s.in_plane();
    std::int64_t best = windows.rows[i].start * s.w + windows.columns[j].start;
    for_taps(s, windows.rows[i], windows.columns[j], [&](std::int64_t place) {
      if (from[place] > from[best] || (std::isnan(from[place]) && !std::isnan(from[best]))) best = place;
    });
    const std::int64_t out = plane * s.out_plane() + std::int64_t(i) * s.o_w + std::int64_t(j);
    y[out] = from[best];
    if (indices) indices[out] = best;
  });
}

template <class T>
void max_pool2d_backward(const Pool2dShape& s, const T* dy, const std::int64_t* indices, T* dx) {
  const std::int64_t outputs = s.planes() * s.out_plane();
  for (std::int64_t i = 0; i < outputs; ++i)
    require(indices[i] >= 0 && indices[i] < s.in_plane(), "max_pool2d_backward: index ", indices[i],
            " is outside its plane of ", s.h, " x ", s.w, " elements");
  parallel_for(s.planes(), double(s.planes()) * double(s.in_plane() + s.out_plane()), [&](std::int64_t plane) {
    T* to = dx + plane * s.in_plane();
    std::fill_n(to, s.in_plane(), T(0));
    for (std::int64_t i = plane * s.out_plane(); i < (plane + 1) * s.out_plane(); ++i) to[indices[i]] += dy[i];
  });
}

template <class T>
void avg_pool2d(const Pool2dShape& s, bool count_include_pad, const T* x, T* y) {
  const Windows windows(s);
  for_planes(s, [&](std::int64_t plane, std::size_t i, std::size_t j) {
    const T* from = x + plane * s.in_plane();
    T sum = 0;
    for_taps(s, windows.rows[i], windows.columns[j], [&](std::int64_t place) { sum += from[place]; });
    y[plane * s.out_plane() + std::int64_t(i) * s.o_w + std::int64_t(j)] =
        sum / T(windows.divisor(i, j, count_include_pad));
  });
}

template <class T>
void avg_pool2d_backward(const Pool2dShape& s, bool count_include_pad, const T* dy, T* dx) {
  const Windows windows(s);
  std::fill_n(dx, s.planes() * s.in_plane(), T(0));
  for_planes(s, [&](std::int64_t plane, std::size_t i, std::size_t j) {
    T* to = dx + plane * s.in_plane();
    const T share = dy[plane * s.out_plane() + std::int64_t(i) * s.o_w + std::int64_t(j)] /
                    T(windows.divisor(i, j, count_include_pad));
    for_taps(s, windows.rows[i], windows.columns[j], [&](std::int64_t place) { to[place] += share; });
  });
}

#define CONVNET_INSTANTIATE(T)                                                              \
  template void max_pool2d(const Pool2dShape&, const T*, T*, std::int64_t*);                \
  template void max_pool2d_backward(const Pool2dShape&, const T*, const std::int64_t*, T*); \
  template void avg_pool2d(const Pool2dShape&, bool, const T*, T*);                         \
  template void avg_pool2d_backward(const Pool2dShape&, bool, const T*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
