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

// Kernel, stride, dilation at least 1, padding at least 0, and no sum beyond 2^62; `axis` is "height" or "width".
void check_window(const Window& window, const char* op, const char* axis);

}  // namespace convnet
