// The tiles of Winograd's F(4x4, 3x3), shared by the convolution and the gradient for its weights.
#pragma once

#include <cstdint>
#include <vector>

#include "../kernels/kernels.h"
#include "correlation.h"

namespace convnet {

constexpr std::int64_t kWinogradOutputs = 4;  // a tile's, along an axis

// The taps in the order of the kernel's rows and columns; empty unless they are a full 3x3 grid of unit spacing.
std::vector<Tap> winograd_grid(const Correlation& problem);

// Tiles are counted row by row through all images.
struct WinogradTiles {
  std::int64_t rows, columns, count;
  explicit WinogradTiles(const Correlation& problem);
};

// Cuts the tiles [begin, end) into runs; their offsets in x and y are from the group's first plane of the first image.
std::vector<WinogradRun> winograd_runs(const Correlation& problem, const Tap& first_tap, const WinogradTiles& tiles,
                                       std::int64_t begin, std::int64_t end);

}  // namespace convnet
