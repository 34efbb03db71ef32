// Channels in lanes: what arrays that lie channels last ask for, and planes turned to lie so.
#pragma once

#include "kernels.h"
#include "tile.h"
#include "vec.h"
#include "winograd.h"

namespace convnet {
namespace {

template <class T, int R, int V>
void rows_product(const RowsProduct<T>& t) {
  constexpr int L = kLanes<T>;
  constexpr int pointers = (R + 2) / 3;  // one serves three rows: what an address can add
  constexpr int turn = kTermsATurn<R, V>;
  Vec<T> sum[R][V] = {};
  const T* u = t.u;
  const T *ahead = t.ahead, *soon = t.soon;
  const std::int64_t row = t.v_row, ahead_step = turn * t.ahead_step, soon_step = turn * t.soon_step;
  for (std::int64_t s = 0; s < t.segments; ++s) {
    const T* v[pointers];
#pragma GCC unroll 8
    for (int a = 0; a < pointers; ++a) v[a] = t.v + t.offset[s] + 3 * a * row;
    const auto add_term = [&](int k) {
      Vec<T> columns[V];
#pragma GCC unroll 4
      for (int j = 0; j < V; ++j) columns[j] = load(u + (k * V + j) * L);
#pragma GCC unroll 16
      for (int i = 0; i < R; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < V; ++j) sum[i][j] += v[i / 3][i % 3 * row + k] * columns[j];
    };
    std::int64_t term = 0;
    for (; term + turn <= t.terms; term += turn, u += turn * V * L, ahead += ahead_step, soon += soon_step) {
      fetch_ahead<turn * V>(ahead, ahead_step);
      __builtin_prefetch(soon, 0, 2);
      add_term(0);
      if constexpr (turn == 2) add_term(1);
#pragma GCC unroll 8
      for (int a = 0; a < pointers; ++a) v[a] += turn;
    }
    if (turn == 2 && term < t.terms) {
      add_term(0);
      u += V * L;
    }
  }
  finish_product<T>(sum, t.add, t.bias, t.relu, t.m, t.m_row);
}

template <class T, int R, int V>
void add_rows_products(Kernels<T>& table) {
  if constexpr (R <= tallest<V>()) {
    table.rows_product[R][V] = rows_product<T, R, V>;
    add_rows_products<T, R + 1, V>(table);
  }
}

// P outputs of one vector of channels: each weight is loaded once for all of them.
template <class T, int P>
__attribute__((noinline)) void depthwise_last_outputs(const DepthwiseLast<T>& d, std::int64_t j, std::int64_t c,
                                                      std::int64_t n) {
  Vec<T> sum[P] = {};
  const T* weight = d.weight + c;
  const std::int64_t step = d.step, at = j * step + c;
  for (std::int64_t t = 0; t < d.taps; ++t, weight += d.weight_tap) {
    const T* from[3];  // each serves three outputs: what an address can add
#pragma GCC unroll 3
    for (int a = 0; a < 3; ++a) from[a] = d.tap[t] + at + 3 * a * step;
    const Vec<T> w = load(weight);
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) sum[i] += w * load(from[i / 3] + i % 3 * step);
  }
  const Vec<T> bias = d.bias ? load_upto(d.bias + c, n) : Vec<T>{};
  T* const y = d.y + j * d.y_column + c;
#pragma GCC unroll 8
  for (int i = 0; i < P; ++i) {
    const Vec<T> value = sum[i] + bias;
    store_upto(y + i * d.y_column, d.relu ? positive_part<T>(value) : value, n);
  }
}

template <class T>
void depthwise_last(const DepthwiseLast<T>& given) {
  constexpr std::int64_t L = kLanes<T>;
  const DepthwiseLast<T> d = given;  // its own copy: no store can change it
  const std::int64_t n = d.channels < L ? d.channels : L;
  // The last vector overlaps the one before it rather than hold fewer channels.
  const auto vectors = [&](auto&& outputs) {
    for (std::int64_t c = 0; c + L < d.channels; c += L) outputs(c);
    outputs(d.channels - n);
  };
  std::int64_t j = 0;
  for (; j + 8 <= d.columns; j += 8) vectors([&](std::int64_t c) { depthwise_last_outputs<T, 8>(d, j, c, n); });
  for (; j + 3 <= d.columns; j += 3) vectors([&](std::int64_t c) { depthwise_last_outputs<T, 3>(d, j, c, n); });
  for (; j < d.columns; ++j) vectors([&](std::int64_t c) { depthwise_last_outputs<T, 1>(d, j, c, n); });
}

// R rows of outputs of one vector of channels, column by column of the input: each load serves all the outputs it
// meets, whose sums are in registers.
template <class T, int K, int R>
__attribute__((noinline)) void depthwise_last_grid_rows(const DepthwiseLastGrid<T>& d, std::int64_t i, std::int64_t j,
                                                        std::int64_t end, std::int64_t c, std::int64_t n) {
  constexpr int rows = R + K - 1;
  const T* row[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) row[r] = d.row[i + r] + c;
  Vec<T> weight[K * K];
#pragma GCC unroll 25
  for (int t = 0; t < K * K; ++t) weight[t] = load(d.weight + t * d.weight_tap + c);
  const Vec<T> bias = d.bias ? load_upto(d.bias + c, n) : Vec<T>{};
  Vec<T> sum[K][R] = {};  // of the outputs K - 1, ..., 0 columns back
  T* y = d.y + i * d.y_row + (j - (K - 1)) * d.y_column + c;
  for (std::int64_t q = j; q < end + K - 1; ++q, y += d.y_column) {
    const std::int64_t at = d.first_column + q;
    const bool inside = 0 <= at && at < d.in_w;
    Vec<T> values[rows] = {};
    if (inside)
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) values[r] = load(row[r] + at * d.x_column);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const Vec<T> value = in_register<T>(values[r]);
#pragma GCC unroll 8
      for (int o = 0; o < R; ++o)
        if (0 <= r - o && r - o < K)
#pragma GCC unroll 8
          for (int k = 0; k < K; ++k) sum[k][o] += weight[(r - o) * K + K - 1 - k] * value;
    }
    if (q >= j + K - 1)
#pragma GCC unroll 8
      for (int o = 0; o < R; ++o) {
        const Vec<T> value = sum[0][o] + bias;
        store_upto(y + o * d.y_row, d.relu ? positive_part<T>(value) : value, n);
      }
#pragma GCC unroll 8
    for (int o = 0; o < R; ++o) {
#pragma GCC unroll 8
      for (int k = 0; k + 1 < K; ++k) sum[k][o] = sum[k + 1][o];
      sum[K - 1][o] = Vec<T>{};
    }
  }
}

// Calls some(j, end, c, n) for blocks of columns of n channels from c on.
template <class T, class Some>
inline void for_columns_of_channels(const DepthwiseLastGrid<T>& d, Some&& some) {
  constexpr std::int64_t L = kLanes<T>, most_columns = 32;  // for all channels: pages in their order
  const std::int64_t n = d.channels < L ? d.channels : L;
  for (std::int64_t j = 0; j < d.columns; j += most_columns) {
    const std::int64_t end = j + most_columns < d.columns ? j + most_columns : d.columns;
    for (std::int64_t c = 0; c + L < d.channels; c += L) some(j, end, c, n);
    some(j, end, d.channels - n, n);  // overlaps those before rather than hold fewer
  }
}

template <class T, int K, int R>
void depthwise_last_grid(const DepthwiseLastGrid<T>& given) {
  const DepthwiseLastGrid<T> d = given;  // its own copy: no store can change it
  // The last rows overlap those before rather than be fewer.
  for (std::int64_t i = 0; i < d.rows; i += R) {
    if (d.rows < R)
      for (; i < d.rows; ++i)
        for_columns_of_channels<T>(d, [&](std::int64_t j, std::int64_t end, std::int64_t c, std::int64_t n) {
          depthwise_last_grid_rows<T, K, 1>(d, i, j, end, c, n);
        });
    else
      for_columns_of_channels<T>(d, [&](std::int64_t j, std::int64_t end, std::int64_t c, std::int64_t n) {
        depthwise_last_grid_rows<T, K, R>(d, i + R <= d.rows ? i : d.rows - R, j, end, c, n);
      });
  }
}

template <class T>
void turn_planes(const TurnedPlanes<T>& t) {
  constexpr std::int64_t L = kLanes<T>;
  if (t.x_plane == 1 || t.count < L) {
    T few[L * L];
    if (t.x_plane > 1) transpose_squares(t.x, t.x_plane, L, t.count, few, L);
    const T* x = t.x_plane > 1 ? few : t.x;
    const std::int64_t column = t.x_plane > 1 ? L : t.x_column;
    for (std::int64_t i = 0; i < t.count; ++i, x += column) store(t.y + t.place[i], load(x));
    return;
  }
  for (std::int64_t at = 0; at < t.count; at += L) {
    const std::int64_t i = at + L <= t.count ? at : t.count - L;
    const std::int64_t* const place = t.place + i;
    Vec<T> square[L];
    for_square_rows<T>(t.x + i, t.x_plane, [&](int c, const T* from) { square[c] = load(from); });
    transpose_square<T>(square);
#pragma GCC unroll 16
    for (int j = 0; j < L; ++j) store(t.y + place[j], square[j]);
  }
}

// P outputs at a time.
template <class T, int P>
void depthwise_lanes_rows(const DepthwiseLanes<T>& given) {
  constexpr std::int64_t L = kLanes<T>;
  const DepthwiseLanes<T> d = given;  // its own copy: no store can change it
  const Vec<T> bias = load(d.bias);
  T* wanted = d.wanted;
  const T* ahead = d.ahead;
  for (std::int64_t i = 0; i < d.rows; ++i)
    for (std::int64_t at = 0; at < d.columns; at += P) {
      const std::int64_t j = at + P <= d.columns ? at : d.columns - P;
      const T* const x = d.x + i * d.x_row + j * L;
      Vec<T> sum[P];
#pragma GCC unroll 14
      for (int k = 0; k < P; ++k) sum[k] = bias;
      for (std::int64_t t = 0; t < d.taps; ++t) {
        const T* const from = x + d.tap_offset[t];
        const Vec<T> weight = load(d.weight + t * L);
#pragma GCC unroll 14
        for (int k = 0; k < P; ++k) sum[k] += weight * load(from + k * L);
      }
      T* y = d.y + i * d.y_row + j * d.y_column;
#pragma GCC unroll 14
      for (int k = 0; k < P; ++k, y += d.y_column) {
        in_one_register(y);
        store(y, sum[k]);
      }
#pragma GCC unroll 1
      for (int k = 0; k < P; ++k, wanted += d.wanted_step, ahead += d.ahead_step) {
        __builtin_prefetch(wanted, 1, 3);
        __builtin_prefetch(ahead, 0, 2);
      }
    }
}

// Whether a row falls into so many tiles of P outputs, or fewer; the last of them overlaps the one before it.
template <class T, int P>
bool depthwise_lanes_in_tiles(const DepthwiseLanes<T>& d, std::int64_t tiles) {
  if (P * tiles < d.columns || P > d.columns) return false;
  depthwise_lanes_rows<T, P>(d);
  return true;
}

// As few tiles as can be, the shortest of these.
template <class T, int... P>
void depthwise_lanes_by(const DepthwiseLanes<T>& d) {
  std::int64_t tiles = (d.columns + kMostLanesTile - 1) / kMostLanesTile;
  while (!(depthwise_lanes_in_tiles<T, P>(d, tiles) || ...)) ++tiles;
}

template <class T>
void depthwise_lanes(const DepthwiseLanes<T>& d) {
  depthwise_lanes_by<T, 1, 2, 3, 4, 6, 7, 8, 10, 12, 14>(d);
}

// The sums of so many taps stay in registers while the outputs go by; of n channels, or of a whole vector.
template <class T, int TAPS, bool Whole>
__attribute__((noinline)) void depthwise_last_gradient_of(const DepthwiseLastGradient<T>& g, std::int64_t first,
                                                          std::int64_t c, std::int64_t n) {
  if (Whole) n = kLanes<T>;
  Vec<T> sum[TAPS];
  const T* x[TAPS];
#pragma GCC unroll 9
  for (int t = 0; t < TAPS; ++t) {
    sum[t] = load(g.sum + (first + t) * g.sum_tap + c);
    x[t] = g.tap[first + t] + c;
  }
  for (std::int64_t i = 0; i < g.rows; ++i) {
    const T* dy = g.dy + i * g.dy_row + c;
    for (std::int64_t at = i * g.x_row, end = at + g.columns * g.step; at < end; at += g.step, dy += g.dy_column) {
      const Vec<T> value = load_upto(dy, n);
#pragma GCC unroll 9
      for (int t = 0; t < TAPS; ++t) sum[t] += value * load_upto(x[t] + at, n);
    }
  }
#pragma GCC unroll 9
  for (int t = 0; t < TAPS; ++t) store(g.sum + (first + t) * g.sum_tap + c, sum[t]);
}

template <class T, bool Whole>
void depthwise_last_gradient_of_all(const DepthwiseLastGradient<T>& g, std::int64_t c, std::int64_t n) {
  std::int64_t t = 0;
  for (; t + 9 <= g.taps; t += 9) depthwise_last_gradient_of<T, 9, Whole>(g, t, c, n);
  for (; t + 4 <= g.taps; t += 4) depthwise_last_gradient_of<T, 4, Whole>(g, t, c, n);
  for (; t < g.taps; ++t) depthwise_last_gradient_of<T, 1, Whole>(g, t, c, n);
}

template <class T>
void depthwise_last_gradient(const DepthwiseLastGradient<T>& g) {
  for_vectors<T>(g.channels, [&](std::int64_t c, std::int64_t n) {
    n == kLanes<T> ? depthwise_last_gradient_of_all<T, true>(g, c, n)
                   : depthwise_last_gradient_of_all<T, false>(g, c, n);
  });
}

// Size: of a tile along an axis, 6 for inputs and 4 for outputs.
template <int Size>
void winograd_last(const WinogradTurned<float>& t) {
  for (std::int64_t r = 0; r < t.run_count; ++r) {
    const WinogradRun& run = t.runs[r];
    const int row_begin = Size == 6 ? run.row_begin : 0, row_end = Size == 6 ? run.row_end : run.rows;
    const int column_begin = Size == 6 ? run.column_begin : 0, column_end = Size == 6 ? run.column_end : run.columns;
    for (int tile = 0; tile < run.tiles; ++tile)
      for_vectors<float>(t.channels, [&](std::int64_t c, std::int64_t n) {
        const float* x = t.x + (Size == 6 ? run.x : run.y) + 4 * tile * t.x_column + c;
        float* v = t.v + (run.tile + tile) * t.v_tile + c;
        Vec<float> down[6][Size];
        for (int j = 0; j < Size; ++j) {  // not unrolled: the vectors are in memory anyway
          Vec<float> d[Size], points[6];
          const bool inside = 4 * tile + j >= column_begin && 4 * tile + j < column_end;
#pragma GCC unroll 6
          for (int i = 0; i < Size; ++i)
            d[i] =
                inside && i >= row_begin && i < row_end ? load_upto(x + i * t.x_row + j * t.x_column, n) : Vec<float>{};
          winograd_points<Size>(d, points);
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) down[i][j] = points[i];
        }
        for (int i = 0; i < 6; ++i) {
          Vec<float> points[6];
          winograd_points<Size>(down[i], points);
#pragma GCC unroll 6
          for (int j = 0; j < 6; ++j, v += t.v_point) store(v, points[j]);
        }
      });
  }
}

inline void winograd_output_last(const WinogradOutputLast<float>& t) {
  for_vectors<float>(t.channels, [&](std::int64_t k, std::int64_t n) {
    const Vec<float> bias = t.bias ? load_upto(t.bias + k, n) : Vec<float>{};
    for (std::int64_t r = 0; r < t.run_count; ++r) {
      const WinogradRun& run = t.runs[r];
      for (int tile = 0; tile < run.tiles; ++tile) {
        const float* m = t.m + (run.tile + tile) * t.m_tile + k;
        Vec<float> down[4][6];
        for (int j = 0; j < 6; ++j) {
          Vec<float> points[6], outputs[4];
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) points[i] = load(m + (6 * i + j) * t.m_point);
          winograd_output_points(points, outputs);
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) down[i][j] = outputs[i];
        }
        float* y = t.y + run.y + 4 * tile * t.y_column + k;
        const int columns = run.columns - 4 * tile;
        for (int i = 0; i < run.rows; ++i, y += t.y_row) {
          Vec<float> outputs[4];
          winograd_output_points(down[i], outputs);
#pragma GCC unroll 4
          for (int j = 0; j < 4; ++j) {
            const Vec<float> value = outputs[j] + bias;
            if (j < columns) store_upto(y + j * t.y_column, t.relu ? positive_part<float>(value) : value, n);
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace convnet
