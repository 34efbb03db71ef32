// One plane filtered by one kernel: rows of outputs, columns in lanes, each load used by all the output rows it meets.
#pragma once

#include "kernels.h"
#include "strip.h"
#include "vec.h"

namespace convnet {
namespace {

template <class T, int R>
inline void depthwise_store(Vec<T> (&sum)[R], Vec<T> bias, bool relu, T* y, std::int64_t y_row, std::int64_t count) {
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    Vec<T> value = sum[r] + bias;
    if (relu) value = positive_part<T>(value);
    store_upto(y + r * y_row, value, count);
  }
}

// Calls body(i, count) for vectors `step` apart; COMPACT has one body for whole and partial vectors.
template <class T, bool COMPACT, class Body>
inline void for_vectors_of_rows(std::int64_t first, std::int64_t columns, std::int64_t step, Body&& body) {
  std::int64_t i = first;
  if constexpr (!COMPACT)
    for (; i + kLanes<T> <= columns; i += step) body(i, std::int64_t{kLanes<T>});
  for (; i < columns; i += step) body(i, columns - i < kLanes<T> ? columns - i : std::int64_t{kLanes<T>});
}

// Calls body(i, count, channel) for the vectors of a row, the first lane of each being of that channel.
template <class T, bool COMPACT, class Body>
inline void for_pixels(std::int64_t columns, std::int64_t pixel, Body&& body) {
  const std::int64_t step = kLanes<T> % pixel;
  std::int64_t channel = 0;
  for_vectors_of_rows<T, COMPACT>(0, columns, kLanes<T>, [&](std::int64_t i, std::int64_t n) {
    body(i, n, channel);
    channel += step;
    if (channel >= pixel) channel -= pixel;
  });
}

// Any taps: a load for each product.
template <class T>
struct AnyTaps {
  template <int R>
  __attribute__((noinline)) static void rows(const Depthwise<T>& d, const T* x, T* y) {
    // Copies: what stays in registers while y is written.
    const bool lone = d.pixel == 1, relu = d.relu;
    const std::int64_t y_row = d.y_row;
    const Vec<T> bias = Vec<T>{} + *d.bias;
    for_pixels<T, false>(d.columns, d.pixel, [&](std::int64_t i, std::int64_t n, std::int64_t channel) {
      Vec<T> sum[R] = {};
      for (std::int64_t t = 0; lone && t < d.taps; ++t) {
        const T* from = x + i + d.tap_offset[t];
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r, from += d.x_row) sum[r] += d.weight[t] * load(from);
      }
      for (std::int64_t t = 0; !lone && t < d.taps; ++t) {
        const T* from = x + i + d.tap_offset[t];
        const Vec<T> weight = load(d.weight + t * kPixelVectors * kLanes<T> + channel);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r, from += d.x_row) sum[r] += weight * load(from);
      }
      depthwise_store<T, R>(sum, lone ? bias : load(d.bias + channel), relu, y + i, y_row, n);
    });
  }
};

// Taps of rows that are neighbours, column by column: each load meets all of four outputs that it serves. Of pixels
// with several channels as any taps.
template <class T>
struct ColumnTaps {
  template <int R>
  static void rows(const Depthwise<T>& d, const T* x, T* y) {
    if (d.pixel > 1) return AnyTaps<T>::template rows<R>(d, x, y);
    std::int64_t i = 0;
    for (; d.columns - i > kLanes<T>; i += 2 * kLanes<T>) vectors<2>(d, x + i, y + i, d.columns - i);
    if (i < d.columns) vectors<1>(d, x + i, y + i, d.columns - i);
  }

  // Of up to `columns` columns, four rows of V vectors.
  template <int V>
  __attribute__((noinline)) static void vectors(const Depthwise<T>& d, const T* x, T* y, std::int64_t columns) {
    constexpr std::int64_t L = kLanes<T>;
    const std::int64_t tap_columns = d.tap_columns;
    Vec<T> sum[V][4] = {};
    for (std::int64_t q = 0; q < tap_columns; ++q) {
      std::int64_t t = q;
      for (; t + 3 * tap_columns < d.taps; t += 4 * tap_columns) add<V, 4>(d, x, t, sum);
      if (t + 2 * tap_columns < d.taps)
        add<V, 3>(d, x, t, sum);
      else if (t + tap_columns < d.taps)
        add<V, 2>(d, x, t, sum);
      else if (t < d.taps)
        add<V, 1>(d, x, t, sum);
    }
    const Vec<T> bias = Vec<T>{} + *d.bias;
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      const std::int64_t left = columns - v * L;
      depthwise_store<T, 4>(sum[v], bias, d.relu, y + v * L, d.y_row, left < L ? left : L);
    }
  }

  // H taps from the t-th on, one below the other.
  template <int V, int H>
  static void add(const Depthwise<T>& d, const T* x, std::int64_t t, Vec<T> (&sum)[V][4]) {
    const T* from = x + d.tap_offset[t];
    Vec<T> tap[H];
#pragma GCC unroll 4
    for (int h = 0; h < H; ++h) tap[h] = in_register<T>(d.weight[t + h * d.tap_columns] - Vec<T>{});
#pragma GCC unroll 7
    for (int row = 0; row < H + 3; ++row, from += d.x_row)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        const Vec<T> value = in_register<T>(load(from + v * kLanes<T>));
#pragma GCC unroll 4
        for (int r = 0; r < 4; ++r)
          if (row >= r && row - r < H) sum[v][r] += tap[row - r] * value;
      }
  }
};

// A lone channel's weights stay in registers where these are many, in a kernel of its own.
template <int R>
constexpr bool kHeld = kRegisters >= 32 && R == 4;

template <class T, int TAPS, bool HELD>
struct GridWeights {
  Vec<T> tap[TAPS], bias;
  GridWeights(const T* weight, const T* given_bias, std::int64_t) : bias(Vec<T>{} + *given_bias) {
#pragma GCC unroll 25
    for (int t = 0; t < TAPS; ++t) tap[t] = Vec<T>{} + weight[t];
  }
  Vec<T> of_tap(int t, std::int64_t) const { return tap[t]; }
  Vec<T> of_bias(std::int64_t) const { return bias; }
};

// In memory, as pixels have them: those of a lone channel in every lane.
template <class T, int TAPS>
struct GridWeights<T, TAPS, false> {
  static constexpr int width = kPixelVectors * kLanes<T>;
  alignas(kVectorBytes) T lone[(TAPS + 1) * width];
  const T *weight = lone, *bias = lone + TAPS * width;

  GridWeights(const T* given_weight, const T* given_bias, std::int64_t pixel) {
    if (pixel > 1) {
      weight = given_weight;
      bias = given_bias;
      return;
    }
#pragma GCC unroll 25
    for (int t = 0; t < TAPS; ++t) store(lone + t * width, Vec<T>{} + given_weight[t]);
    store(lone + TAPS * width, Vec<T>{} + *given_bias);
  }
  Vec<T> of_tap(int t, std::int64_t channel) const { return in_register<T>(load(weight + t * width + channel)); }
  Vec<T> of_bias(std::int64_t channel) const { return load(bias + channel); }
};

// Column q of KH x KW taps: each load meets all the outputs, STEP rows apart, that it serves.
template <class T, int KH, int KW, int STEP, int R, class Weights, class Load>
inline void add_column(int q, const Weights& weights, std::int64_t channel, Vec<T> (&sum)[R], Load&& load_row) {
  Vec<T> down[KH];
#pragma GCC unroll 5
  for (int t = 0; t < KH; ++t) down[t] = weights.of_tap(t * KW + q, channel);
#pragma GCC unroll 11
  for (int row = 0; row < (R - 1) * STEP + KH; ++row) {
    const Vec<T> value = in_register<T>(load_row(row));
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
      if (row >= r * STEP && row - r * STEP < KH) sum[r] += down[row - r * STEP] * value;
  }
}

// KH x KW taps in row-major order whose rows lie as far apart as x's; outputs are STEP such rows apart. Terms are added
// column by column.
template <class T, int KH, int KW, int STEP>
struct GridTaps {
  template <int R>
  static void rows(const Depthwise<T>& d, const T* x, T* y) {
    if constexpr (kHeld<R> && STEP == 1)  // the others gain nothing
      if (d.pixel == 1) return rows_of<R, true>(d, x, y);
    rows_of<R, false>(d, x, y);
  }

  template <int R, bool HELD>
  static void rows_of(const Depthwise<T>& d, const T* x, T* y) {
    // Copies: what stays in registers while y is written.
    const bool relu = d.relu;
    const std::int64_t y_row = d.y_row;
    const std::int64_t pitch = d.x_row / STEP;
    const GridWeights<T, KH * KW, HELD> weights(d.weight, d.bias, d.pixel);
    const T* column[KW];
#pragma GCC unroll 5
    for (int q = 0; q < KW; ++q) column[q] = x + d.tap_offset[q];
    for_pixels<T, false>(d.columns, HELD ? 1 : d.pixel, [&](std::int64_t i, std::int64_t n, std::int64_t channel) {
      Vec<T> sum[R] = {};
#pragma GCC unroll 5
      for (int q = 0; q < KW; ++q)
        add_column<T, KH, KW, STEP>(q, weights, channel, sum,
                                    [&](int row) { return load(column[q] + row * pitch + i); });
      depthwise_store<T, R>(sum, weights.of_bias(channel), relu, y + i, y_row, n);
    });
  }
};

// Calls four(row) for rows four at a time, the last of which overlap those before, or one(row) for fewer.
template <class Four, class One>
inline void for_rows_by_four(std::int64_t rows, Four&& four, One&& one) {
  if (rows < 4)
    for (std::int64_t row = 0; row < rows; ++row) one(row);
  else
    for (std::int64_t row = 0; row < rows; row += 4) four(row + 4 <= rows ? row : rows - 4);
}

template <class T, class Taps>
void depthwise(const Depthwise<T>& d) {
  for_rows_by_four(
      d.rows, [&](std::int64_t row) { Taps::template rows<4>(d, d.x + row * d.x_row, d.y + row * d.y_row); },
      [&](std::int64_t row) { AnyTaps<T>::template rows<1>(d, d.x + row * d.x_row, d.y + row * d.y_row); });
}

// Of a row of so many values, those from column `at` on, zero outside the row.
template <class T, bool EDGE>
inline Vec<T> load_row(const T* row, std::int64_t at, std::int64_t columns) {
  if constexpr (!EDGE) return load(row + at);
  constexpr std::int64_t L = kLanes<T>;
  const std::int64_t begin = at < 0 ? -at : 0, end = columns - at;
  return load_between<T>(row + at, int(begin < L ? begin : L), int(end < 0 ? 0 : end < L ? end : L));
}

template <class T, int K, int STEP, int R, bool EDGE, class Weights>
inline void depthwise_image_vector(const T* const (&row)[(R - 1) * STEP + K], std::int64_t at, std::int64_t in_w,
                                   std::int64_t pixel, std::int64_t channel, const Weights& weights, Vec<T> (&sum)[R]) {
  if constexpr (STEP == 1) {
#pragma GCC unroll 5
    for (int q = 0; q < K; ++q)
      add_column<T, K, K, STEP>(q, weights, channel, sum,
                                [&](int i) { return load_row<T, EDGE>(row[i], at + q * pixel, in_w); });
    return;
  }
#pragma GCC unroll 11
  for (int i = 0; i < (R - 1) * STEP + K; ++i) {
    Vec<T> value[K];
#pragma GCC unroll 3
    for (int q = 0; q < K; q += 2) {
      const Vec<T> a = load_row<T, EDGE>(row[i], at + q, in_w), b = load_row<T, EDGE>(row[i], at + q + kLanes<T>, in_w);
      value[q] = evens<T>(a, b);
      if (q + 1 < K) value[q + 1] = odds<T>(a, b);
    }
#pragma GCC unroll 5
    for (int q = 0; q < K; ++q) {
      const Vec<T> one = in_register<T>(value[q]);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r)
        if (i >= r * STEP && i - r * STEP < K) sum[r] += weights.of_tap((i - r * STEP) * K + q, channel) * one;
    }
  }
}

template <class T, int K, int STEP, int R, bool HELD>
inline void depthwise_image_rows_of(const DepthwiseImage<T>& d, std::int64_t first) {
  constexpr std::int64_t L = kLanes<T>;
  constexpr int ROWS = (R - 1) * STEP + K;
  // Copies: what stays in registers while y is written.
  const bool relu = d.relu;
  const std::int64_t y_row = d.y_row, pixel = HELD ? 1 : d.pixel, in_w = d.in_w * pixel;
  T* const y = d.y + first * y_row;
  const GridWeights<T, K * K, HELD> weights(d.weight, d.bias, pixel);
  const T* row[ROWS];
#pragma GCC unroll 11
  for (int i = 0; i < ROWS; ++i) {
    const std::int64_t from = d.first_row + first * STEP + i;
    row[i] = from >= 0 && from < d.in_h ? d.x + from * in_w : d.zeros;
  }
  for_pixels<T, R == 1>(d.columns * pixel, pixel, [&](std::int64_t j, std::int64_t n, std::int64_t channel) {
    const std::int64_t at = d.first_column * pixel + j * STEP;
    Vec<T> sum[R] = {};
    if (R > 1 && at >= 0 && at + (K - 1) * pixel + STEP * L <= in_w) {
#pragma GCC unroll 4
      for (int r = 0; r < R * STEP; ++r)
        __builtin_prefetch(reinterpret_cast<const char*>(row[ROWS - 1 - r] + at) + kAhead);
      depthwise_image_vector<T, K, STEP, R, false>(row, at, in_w, pixel, channel, weights, sum);
    } else {
      depthwise_image_vector<T, K, STEP, R, true>(row, at, in_w, pixel, channel, weights, sum);
    }
    depthwise_store<T, R>(sum, weights.of_bias(channel), relu, y + j, y_row, n);
  });
}

template <class T, int K, int STEP, int R>
inline void depthwise_image_rows(const DepthwiseImage<T>& d, std::int64_t first) {
  if constexpr (STEP == 2)
    depthwise_image_rows_of<T, K, STEP, R, true>(d, first);
  else if (kHeld<R> && d.pixel == 1)
    depthwise_image_rows_of<T, K, STEP, R, kHeld<R>>(d, first);
  else
    depthwise_image_rows_of<T, K, STEP, R, false>(d, first);
}

template <class T, int K, int STEP>
void depthwise_image(const DepthwiseImage<T>& d) {
  for_rows_by_four(
      d.rows, [&](std::int64_t row) { depthwise_image_rows<T, K, STEP, 4>(d, row); },
      [&](std::int64_t row) { depthwise_image_rows<T, K, STEP, 1>(d, row); });
}

// The gradients of some taps from rows of dy: sums of so many taps stay in registers while the outputs go by. Lanes
// past the last column must not be multiplied at all, for x may be infinite there.
template <class T, int TAPS>
void gradient_of_taps(const DepthwiseGradient<T>& g, std::int64_t first) {
  Vec<T> sum[TAPS];
  const T* x[TAPS];
#pragma GCC unroll 8
  for (int t = 0; t < TAPS; ++t) {
    sum[t] = load(g.sum + (first + t) * kLanes<T>);
    x[t] = g.x + g.tap_offset[first + t];
  }
  for (std::int64_t r = 0; r < g.rows; ++r)
    for_vectors_of_rows<T, false>(g.first, g.columns, g.step, [&](std::int64_t i, std::int64_t n) {
      const Vec<T> dy = load_upto(g.dy + r * g.dy_row + i, n);
#pragma GCC unroll 8
      for (int t = 0; t < TAPS; ++t) {
        const Vec<T> value = load(x[t] + r * g.x_row + i);
        sum[t] += dy * (n == kLanes<T> ? value : keep_first<T>(value, n));
      }
    });
#pragma GCC unroll 8
  for (int t = 0; t < TAPS; ++t) store(g.sum + (first + t) * kLanes<T>, sum[t]);
}

template <class T>
void gradient_of_any_taps(const DepthwiseGradient<T>& g) {
  std::int64_t t = 0;
  for (; t + 8 <= g.taps; t += 8) gradient_of_taps<T, 8>(g, t);
  if (g.taps - t >= 4) {
    gradient_of_taps<T, 4>(g, t);
    t += 4;
  }
  for (; t < g.taps; ++t) gradient_of_taps<T, 1>(g, t);
}

// Some columns of a grid's taps, from R rows of dy.
template <class T, int KH, int COLUMNS, int STEP, int R>
inline void gradient_of_column_rows(const DepthwiseGradient<T>& g, std::int64_t first,
                                    const T* const (&column)[COLUMNS], Vec<T> (&sum)[KH][COLUMNS]) {
  const std::int64_t pitch = g.x_row / STEP, dy_row = g.dy_row;
  const T* const dy_first = g.dy + first * dy_row;
  const T* from[COLUMNS];
#pragma GCC unroll 5
  for (int q = 0; q < COLUMNS; ++q) from[q] = column[q] + first * g.x_row;
  for_vectors_of_rows<T, false>(g.first, g.columns, g.step, [&](std::int64_t i, std::int64_t n) {
    Vec<T> dy[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) dy[r] = load_upto(dy_first + r * dy_row + i, n);
#pragma GCC unroll 11
    for (int row = 0; row < (R - 1) * STEP + KH; ++row)
#pragma GCC unroll 5
      for (int q = 0; q < COLUMNS; ++q) {
        Vec<T> value = in_register<T>(load(from[q] + row * pitch + i));
        if (n != kLanes<T>) value = keep_first<T>(value, n);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
          if (row >= r * STEP && row - r * STEP < KH) sum[row - r * STEP][q] += dy[r] * value;
      }
  });
}

template <class T, int KH, int KW, int COLUMNS, int STEP>
inline void gradient_of_columns(const DepthwiseGradient<T>& g, int first) {
  Vec<T> sum[KH][COLUMNS];
  const T* column[COLUMNS];
  T* const to = g.sum + first * kLanes<T>;
#pragma GCC unroll 5
  for (int q = 0; q < COLUMNS; ++q) {
    column[q] = g.x + g.tap_offset[first + q];
#pragma GCC unroll 5
    for (int t = 0; t < KH; ++t) sum[t][q] = load(to + (t * KW + q) * kLanes<T>);
  }
  std::int64_t row = 0;
  for (; row + 4 <= g.rows; row += 4) gradient_of_column_rows<T, KH, COLUMNS, STEP, 4>(g, row, column, sum);
  for (; row < g.rows; ++row) gradient_of_column_rows<T, KH, COLUMNS, STEP, 1>(g, row, column, sum);
#pragma GCC unroll 5
  for (int q = 0; q < COLUMNS; ++q)
#pragma GCC unroll 5
    for (int t = 0; t < KH; ++t) store(to + (t * KW + q) * kLanes<T>, sum[t][q]);
}

// As many columns at once as the registers have room for, beside four rows of dy.
template <class T, int KH, int KW, int STEP>
void gradient_of_grid(const DepthwiseGradient<T>& g) {
  constexpr int columns = KH * KW + 5 <= kRegisters ? KW : 2;
  int q = 0;
  for (; q + columns <= KW; q += columns) gradient_of_columns<T, KH, KW, columns, STEP>(g, q);
  if constexpr (KW % columns != 0) gradient_of_columns<T, KH, KW, KW % columns, STEP>(g, q);
}

}  // namespace
}  // namespace convnet
