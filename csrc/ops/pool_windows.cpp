#include "pool_windows.h"

#include <algorithm>

#include "message.h"

namespace convnet {
namespace {

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

}  // namespace

Windows::Windows(const Pool2dShape& s)
    : rows(spans(s.o_h, s.h, s.k_h, s.stride_h, s.pad_top, s.pad_bottom, s.dilation_h)),
      columns(spans(s.o_w, s.w, s.k_w, s.stride_w, s.pad_left, s.pad_right, s.dilation_w)) {}

Columns::Columns(const Pool2dShape& s, const Windows& windows)
    : row_step(std::min(s.dilation_h, s.h) * s.w), column_step(std::min(s.dilation_w, s.w)) {
  for (const Span& span : windows.columns) {
    first.push_back(span.start);
    taps.push_back(span.inside);
  }
}

template <class T>
std::vector<T> counts(const std::vector<Span>& axis, bool count_include_pad) {
  std::vector<T> result;
  for (const Span& span : axis) result.push_back(T(count_include_pad ? span.padded : span.inside));
  return result;
}
template std::vector<float> counts(const std::vector<Span>&, bool);
template std::vector<double> counts(const std::vector<Span>&, bool);

double pool_work(const Pool2dShape& s) {
  return double(s.planes()) * (2.0 * double(s.in_plane()) + double(s.out_plane()) * double(s.k_h * s.k_w));
}

void refuse_index(const Pool2dShape& s, std::int64_t index) {
  throw std::invalid_argument(
      message("max_pool2d_backward: index ", index, " is outside its plane of ", s.h, " x ", s.w, " elements"));
}

}  // namespace convnet
