#include "adaptive_pool2d.h"

#include <algorithm>
#include <cmath>

#include "../kernels/kernels.h"
#include "../runtime/parallel.h"
#include "message.h"

namespace convnet {
namespace {

struct Span {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

Span span(std::int64_t i, std::int64_t in, std::int64_t out) { return {i * in / out, ((i + 1) * in + out - 1) / out}; }

// Calls visit(plane, output position, rows, columns) for every window.
template <class Visit>
void for_windows(const AdaptivePool2dShape& s, Visit&& visit) {
  parallel_for(s.planes(), double(s.planes()) * double(std::max(s.in_plane(), s.out_plane())), [&](std::int64_t plane) {
    for (std::int64_t i = 0; i < s.o_h; ++i)
      for (std::int64_t j = 0; j < s.o_w; ++j)
        visit(plane, plane * s.out_plane() + i * s.o_w + j, span(i, s.h, s.o_h), span(j, s.w, s.o_w));
  });
}

}  // namespace

AdaptivePool2dShape::AdaptivePool2dShape(const Shape4& x, const Pair& output, const char* op)
    : n(x[0]), c(x[1]), h(x[2]), w(x[3]), o_h(output[0]), o_w(output[1]) {
  constexpr std::int64_t most = std::int64_t{1} << 31;  // keeps i·in exact
  checked_size(x, op, "x");
  require(h >= 1 && w >= 1, op, ": x must hold at least one element a plane, got ", x);
  for (std::int64_t extent : {h, w}) require(extent <= most, op, ": x ", x, " is too large");
  for (std::int64_t extent : output)
    require(extent >= 1 && extent <= most, op, ": output_size must be at least 1 and at most ", most, ", got ", output);
  checked_size(y(), op, "the output");
}

template <class T>
void adaptive_max_pool2d(const AdaptivePool2dShape& s, const T* x, T* y, std::int64_t* indices) {
  for_windows(s, [&](std::int64_t plane, std::int64_t out, Span rows, Span columns) {
    const T* from = x + plane * s.in_plane();
    std::int64_t best = rows.begin * s.w + columns.begin;
    for (std::int64_t row = rows.begin; row < rows.end; ++row)
      for (std::int64_t place = row * s.w + columns.begin; place < row * s.w + columns.end; ++place)
        if (from[place] > from[best] || (std::isnan(from[place]) && !std::isnan(from[best]))) best = place;
    y[out] = from[best];
    if (indices) indices[out] = best;
  });
}

template <class T>
void adaptive_max_pool2d_backward(const AdaptivePool2dShape& s, const T* dy, const std::int64_t* indices, T* dx) {
  const std::int64_t outputs = s.planes() * s.out_plane();
  for (std::int64_t i = 0; i < outputs; ++i)
    require(indices[i] >= 0 && indices[i] < s.in_plane(), "adaptive_max_pool2d_backward: index ", indices[i],
            " is outside its plane of ", s.h, " x ", s.w, " elements");
  parallel_for(s.planes(), double(s.planes()) * double(s.in_plane() + s.out_plane()), [&](std::int64_t plane) {
    T* to = dx + plane * s.in_plane();
    std::fill_n(to, s.in_plane(), T(0));
    for (std::int64_t i = plane * s.out_plane(); i < (plane + 1) * s.out_plane(); ++i) to[indices[i]] += dy[i];
  });
}

template <class T>
void adaptive_avg_pool2d(const AdaptivePool2dShape& s, const T* x, T* y) {
  for_windows(s, [&](std::int64_t plane, std::int64_t out, Span rows, Span columns) {
    const T* from = x + plane * s.in_plane() + rows.begin * s.w + columns.begin;
    T total = 0;
    if (columns.size() == s.w)  // whole rows: one stretch
      total = kernels<T>().sum(from, rows.size() * s.w);
    else
      for (std::int64_t row = 0; row < rows.size(); ++row, from += s.w)
        for (std::int64_t column = 0; column < columns.size(); ++column) total += from[column];
    y[out] = total / T(rows.size() * columns.size());
  });
}

template <class T>
void adaptive_avg_pool2d_backward(const AdaptivePool2dShape& s, const T* dy, T* dx) {
  std::fill_n(dx, s.planes() * s.in_plane(), T(0));
  for_windows(s, [&](std::int64_t plane, std::int64_t out, Span rows, Span columns) {
    T* to = dx + plane * s.in_plane() + rows.begin * s.w + columns.begin;
    const T share = dy[out] / T(rows.size() * columns.size());
    for (std::int64_t row = 0; row < rows.size(); ++row, to += s.w)
      for (std::int64_t column = 0; column < columns.size(); ++column) to[column] += share;
  });
}

#define CONVNET_INSTANTIATE(T)                                                                               \
  template void adaptive_max_pool2d(const AdaptivePool2dShape&, const T*, T*, std::int64_t*);                \
  template void adaptive_max_pool2d_backward(const AdaptivePool2dShape&, const T*, const std::int64_t*, T*); \
  template void adaptive_avg_pool2d(const AdaptivePool2dShape&, const T*, T*);                               \
  template void adaptive_avg_pool2d_backward(const AdaptivePool2dShape&, const T*, T*);
CONVNET_INSTANTIATE(float)
CONVNET_INSTANTIATE(double)
#undef CONVNET_INSTANTIATE

}  // namespace convnet
