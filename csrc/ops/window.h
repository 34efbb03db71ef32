// A sliding window along one axis, and the arithmetic of sizes that cannot overflow unnoticed.
#pragma once

#include <array>
#include <cstdint>

namespace convnet {

using Shape4 = std::array<std::int64_t, 4>;
using Pair = std::array<std::int64_t, 2>;     // (h, w)
using Padding = std::array<std::int64_t, 4>;  // (top, bottom, left, right)

// The product of the sizes times 8 bytes must fit into 63 bits; throws std::invalid_argument that names the array.
std::int64_t checked_size(const Shape4& shape, const char* op, const char* array);

struct Window {
  std::int64_t in, kernel, stride, pad_before, pad_after, dilation;
  std::int64_t extent() const { return (kernel - 1) * dilation + 1; }
  std::int64_t padded() const { return in + pad_before + pad_after; }
};

// Whether windows lie side by side and cover the plane: each input is in one of them.
template <class Shape>
bool windows_tile(const Shape& s) {
  return s.k_h == s.stride_h && s.k_w == s.stride_w && s.h == s.o_h * s.k_h && s.w == s.o_w * s.k_w && s.pad_top == 0 &&
         s.pad_left == 0 && s.dilation_h == 1 && s.dilation_w == 1;
}

// Kernel, stride, dilation at least 1, padding at least 0, and no sum beyond 2^62; `axis` is "height" or "width".
void check_window(const Window& window, const char* op, const char* axis);

}  // namespace convnet
