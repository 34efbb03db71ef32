// The micro-kernel: a tile of R rows by V vectors held in registers while the terms go by.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace convnet {
namespace {

template <class T, int R, int V>
void tile(const Tile<T>& t) {
  constexpr int L = kLanes<T>;
  Vec<T> sum[R][V] = {};
  const T* a = t.a;
  const T* channel = t.b;
  const std::int64_t taps = t.taps;
  const std::int64_t* const tap_offset = t.tap_offset;
  for (std::int64_t p = 0; p < t.channels; ++p, channel += t.channel_stride) {
#pragma GCC unroll 2
    for (std::int64_t k = 0; k < taps; ++k, a += R) {
      const T* b = channel + tap_offset[k];
      Vec<T> columns[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) columns[v] = load(b + v * L);
#pragma GCC unroll 24
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v] += a[r] * columns[v];
    }
  }
  T* c = t.c;
#pragma GCC unroll 24
  for (int r = 0; r < R; ++r, c += t.c_stride)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      Vec<T> value = sum[r][v];
      if (t.add) value += load(c + v * L);
      if (t.bias) value += t.bias[r];
      if (t.relu) value = positive_part<T>(value);
      store(c + v * L, value);
    }
}

// The tallest tile of V vectors whose sums, columns and one broadcast fit into the registers.
template <int V>
constexpr int tallest() {
  const int rows = (kRegisters - V - 1) / V;
  return rows < kMostRows ? rows : kMostRows;
}

template <class T, int R, int V>
void add_tiles(Kernels<T>& table) {
  if constexpr (R <= tallest<V>()) {
    table.tile[R][V] = tile<T, R, V>;
    add_tiles<T, R + 1, V>(table);
  }
}

template <class T>
void place(const Placement<T>& p) {
  std::int64_t at = p.first, done = 0;
  while (done < p.count) {
    const std::int64_t row = at / p.pitch, column = at % p.pitch;
    const std::int64_t run = p.pitch - column < p.count - done ? p.pitch - column : p.count - done;
    const std::int64_t real = p.columns - column < run ? p.columns - column : run;
    if (real > 0) {
      const T* c = p.c + done;
      T* y = p.y + row * p.y_row + column * p.y_column;
      for (int r = 0; r < p.rows; ++r, c += p.c_stride, y += p.y_plane) {
        if (p.y_column == 1)
          for_vectors<T>(real, [&](std::int64_t i, std::int64_t n) { store_upto(y + i, load(c + i), n); });
        else if (p.y_column == 2)
          for_vectors<T>(
              real, [&](std::int64_t i, std::int64_t n) { store_every_second<T>(y + 2 * i, load_upto(c + i, n), n); });
        else
          for (std::int64_t i = 0; i < real; ++i) y[i * p.y_column] = c[i];
      }
    }
    at += run;
    done += run;
  }
}

}  // namespace
}  // namespace convnet
