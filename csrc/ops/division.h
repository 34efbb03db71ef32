// Division of sizes, rounded up or down, and what it tells of places a step apart.
#pragma once

#include <algorithm>
#include <cstdint>

namespace convnet {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
inline std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// The part of `count` places start, start + step, ... that falls on [0, size): [begin, end).
struct Real {
  std::int64_t begin, end;
  Real(std::int64_t start, std::int64_t step, std::int64_t size, std::int64_t count)
      : begin(std::clamp<std::int64_t>(ceil_div(std::max<std::int64_t>(0, -start), step), 0, count)),
        end(std::clamp<std::int64_t>(floor_div(size - start + step - 1, step), begin, count)) {}
};

}  // namespace convnet
