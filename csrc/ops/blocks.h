// Elementwise work, shared among threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../runtime/parallel.h"

namespace convnet {

constexpr std::int64_t kElements = 32 << 10;  // of one unit of work

// Calls block(first, n) for stretches of [0, count); `cost` is that of one element, in multiply-adds.
template <class Block>
void for_blocks(std::int64_t count, double cost, Block&& block) {
  parallel_for((count + kElements - 1) / kElements, double(count) * cost,
               [&](std::int64_t unit) { block(unit * kElements, std::min(kElements, count - unit * kElements)); });
}

}  // namespace convnet
