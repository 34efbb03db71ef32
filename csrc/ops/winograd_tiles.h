// Kernels as 3x3 grids, and the tiles of Winograd's F(4x4, 3x3): shared by the convolution and the gradient for its
// weights.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels/kernels.h"
#include "correlation.h"

namespace convnet {

constexpr std::int64_t kWinogradOutputs = 4;  // a tile's, along an axis

// Taps of one phase of the step at three consecutive rows and columns of that phase. A larger kernel is a sum of such
// grids, each with channels of its own in the products.
struct WinogradGrid {
  std::int64_t row, column;  // of the input, where output (0, 0) reads the first
  std::int64_t tap[9];       // by row and column; -1 where there is none, or another grid has it
};
// Empty unless the taps are a rectangle of unit spacing with three or more in a phase, along both axes.
std::vector<WinogradGrid> winograd_grids(const Correlation& problem);
bool few_products(const Correlation& problem, std::int64_t grids);  // so that the transforms are worth while
// Every output finds half of the kernel's rows and columns in the image, or more: what it sums is no smaller than the
// rest of its tile by much.
bool little_padding(const Correlation& problem);

// Tiles are counted row by row through all images.
struct WinogradTiles {
  std::int64_t rows, columns, count;
  explicit WinogradTiles(const Correlation& problem);
};

// Cuts the tiles [begin, end) into runs; their offsets in x and y are from the group's first plane of the first image.
// Of inputs, what a grid reads at unit step.
std::vector<WinogradRun> winograd_runs(const Correlation& problem, const WinogradGrid& grid, const WinogradTiles& tiles,
                                       std::int64_t begin, std::int64_t end);

}  // namespace convnet
