// The micro-kernel: a tile of R rows by V vectors held in registers while the terms go by.
#pragma once

#include "elementwise.h"
#include "kernels.h"
#include "vec.h"

namespace convnet {
namespace {

// `each_term` is given the columns as they are read.
template <class T, int R, int V, class EachTerm>
[[gnu::always_inline]] inline void multiply_tile(const Tile<T>& t, EachTerm&& each_term) {
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
      each_term(columns);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v] += a[r] * columns[v];
    }
  }
  T* c = t.c;
  if (t.add) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += load(c + r * t.c_stride + v * L);
  }
  if (t.bias) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += t.bias[r];
  }
  if (t.relu) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] = positive_part<T>(sum[r][v]);
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r, c += t.c_stride)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(c + v * L, sum[r][v]);
}

template <class T, int R, int V>
void tile(const Tile<T>& t) {
  multiply_tile<T, R, V>(t, [](const auto&) {});
}

template <class T, int R>
void streamed_tile(const StreamedTile<T>& t) {
  constexpr int V = kStreamedVectors, L = kLanes<T>;
  const T* const soon = t.soon;
  const std::int64_t* at = t.soon_offset;
  T* copy = t.copy;
  multiply_tile<T, R, V>(t, [&](const Vec<T>(&columns)[V]) {
    __builtin_prefetch(soon + *at++, 0, 2);
    if (copy) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v, copy += L) store(copy, columns[v]);
    }
  });
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
    if constexpr (V == kStreamedVectors && 2 * R >= tallest<V>()) table.streamed_tile[R] = streamed_tile<T, R>;
    add_tiles<T, R + 1, V>(table);
  }
}

// The last store of a tile whose columns are output channels.
template <class T, int R, int V>
inline void finish_product(const Vec<T> (&sum)[R][V], bool add, const T* bias, bool relu, T* m,
                           std::int64_t m_row = V * kLanes<T>) {
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i, m += m_row)
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) {
      Vec<T> value = sum[i][j];
      if (add) value += load(m + j * kLanes<T>);
      if (bias) value += load(bias + j * kLanes<T>);
      if (relu) value = positive_part<T>(value);
      store(m + j * kLanes<T>, value);
    }
}

// The terms of a product that share a turn of its loop: two in the tiles in which the counting would take the
// multiply-adds' place, where that is measured to pay.
template <int R, int V>
constexpr int kTermsATurn = kVectorBytes == 64 && R * V >= 8 ? 2 : 1;

// Weights that are wanted soon, `step` values of them: what no cache holds of them is fetched ahead.
template <int Lines, class T>
inline void fetch_ahead(const T* ahead, std::int64_t step) {
  constexpr int L = kLanes<T>;
  __builtin_prefetch(ahead, 0, 2);
  if (step <= L) return;
#pragma GCC unroll 4
  for (int line = 1; line < Lines; ++line) __builtin_prefetch(ahead + line * L, 0, 2);
}

// The same with the columns' operand, the weights, dense and in order.
template <class T, int R, int V>
void product(const Product<T>& t) {
  constexpr int L = kLanes<T>;
  Vec<T> sum[R][V] = {};
  const T* v = t.v;
  const T* u = t.u;
  const auto add_term = [&] {
    Vec<T> columns[V];
#pragma GCC unroll 4
    for (int j = 0; j < V; ++j) columns[j] = load(u + j * L);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) sum[i][j] += v[i] * columns[j];
    v += t.v_term;
    u += V * L;
  };
  const T* ahead = t.ahead;
  constexpr int turn = kTermsATurn<R, V>;
  const std::int64_t ahead_step = turn * t.ahead_step;
  std::int64_t term = 0;
  for (; term + turn <= t.terms; term += turn, ahead += ahead_step) {
    fetch_ahead<turn * V>(ahead, ahead_step);
    add_term();
    if constexpr (turn == 2) add_term();
  }
  if (turn == 2 && term < t.terms) add_term();
  finish_product<T>(sum, t.add, t.bias, t.relu, t.m);
}

template <class T, int R, int V>
void scattered_product(const ScatteredProduct<T>& t) {
  constexpr int L = kLanes<T>;
  Vec<T> sum[R][V] = {};
  const T* row[R];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) row[i] = t.x + t.row_offset[i];
  const T* u = t.u;
  for (std::int64_t r = 0; r < t.rows; ++r)
    for (std::int64_t at = r * t.x_row, end = at + t.columns * t.step; at < end; at += t.step, u += V * L) {
      Vec<T> columns[V];
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) columns[j] = load(u + j * L);
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < V; ++j) sum[i][j] += row[i][at] * columns[j];
    }
  finish_product<T>(sum, t.add, static_cast<const T*>(nullptr), false, t.m);
}

// Three vectors leave registers for two terms a turn up to eight rows, with the registers of AVX-512.
template <int V>
constexpr int tallest_product() {
  return V < 3 ? tallest<V>() : kVectorBytes == 64 ? 8 : 0;
}

template <class T, int R, int V>
void add_products(Kernels<T>& table) {
  if constexpr (R <= tallest_product<V>()) {
    table.product[R][V] = product<T, R, V>;
    table.most_product_rows[V] = R;
    if constexpr (R <= kMostScatteredRows && V < 3) table.scattered_product[R][V] = scattered_product<T, R, V>;
    add_products<T, R + 1, V>(table);
  }
}

template <class T>
void pack_panels(const PanelPacking<T>& p) {
  // Positions that are neighbours in a row and in a panel
  struct Run {
    std::int64_t from, to, count;
  } runs[kMostPositions];
  int run_count = 0;
  const std::int64_t panel = p.channels * p.taps * p.width;
  for (std::int64_t i = 0; i < p.count;) {
    const std::int64_t row = (p.first + i) / p.columns, column = (p.first + i) % p.columns;
    std::int64_t count = p.columns - column;
    if (count > p.width - i % p.width) count = p.width - i % p.width;
    if (count > p.count - i) count = p.count - i;
    runs[run_count++] = {row * p.pitch + column * p.step, i / p.width * panel + i % p.width, count};
    i += count;
  }
  T* packed = p.packed;
  for (std::int64_t c = 0; c < p.channels; ++c)
    for (std::int64_t t = 0; t < p.taps; ++t, packed += p.width) {
      const T* x = p.x + c * p.channel_stride + p.tap_offset[t];
      for (int r = 0; r < run_count; ++r) gather_row(x + runs[r].from, runs[r].count, p.step, packed + runs[r].to);
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
      if (p.y_plane == 1 && p.rows > 1)
        transpose(c, p.c_stride, p.rows, real, y, p.y_column);
      else
        for (int r = 0; r < p.rows; ++r, c += p.c_stride, y += p.y_plane) {
          if (p.y_column == 1)
            for_vectors<T>(real, [&](std::int64_t i, std::int64_t n) { store_upto(y + i, load(c + i), n); });
          else if (p.y_column == 2)
            for_vectors<T>(real, [&](std::int64_t i, std::int64_t n) {
              store_every_second<T>(y + 2 * i, load_upto(c + i, n), n);
            });
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
