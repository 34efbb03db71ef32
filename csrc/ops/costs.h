// Estimates, in cycles, by which algorithms for one shape are compared. They were fitted to shapes drawn at random (as
// benchmarks/shapes/random.txt has them), each computed either way: with the one function that asks for a comparison
// made to give either answer, on AVX-512 and AVX2. Only their ratios matter.
#pragma once

#include <algorithm>
#include <cstdint>

#include "division.h"

namespace convnet {

constexpr double kTileCycles = 60;    // to begin and to end a tile's sums
constexpr double kPhaseCycles = 600;  // of a pass of its own over the outputs

// A term of a tile: two multiply-adds a cycle, unless the sums are too few to hide their latency, or a single vector,
// whose multiply-adds wait for as many loads.
inline double term_cycles(double rows, std::int64_t vectors) {
  return std::max(4.0, rows * (vectors == 1 ? 0.65 : 0.5 * double(vectors)));
}

// `rows` rows copied, of a channel's every step-th column: a few columns at once, alternate ones by shuffles, others
// one by one.
inline double copy_cycles(double rows, double columns, std::int64_t step) {
  return rows * (8 + columns * (step == 1 ? 0.1 : step == 2 ? 0.25 : 2.5));
}

// A matrix transposed, in squares of the vectors' lanes.
inline double transpose_cycles(std::int64_t rows, std::int64_t columns, std::int64_t lanes) {
  return double(ceil_div(rows, lanes) * ceil_div(columns, lanes)) * double(lanes * (lanes / 2 + 1));
}

}  // namespace convnet
