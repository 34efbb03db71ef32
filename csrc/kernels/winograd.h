// Winograd's F(4x4, 3x3): a tile of 4x4 outputs from 6x6 inputs by 36 products a channel instead of 144. With
// polynomials evaluated at the points 0, ±√½, ±√2 and infinity, whose rounding errors are half those of 0, ±1, ±2:
//
//   output = Aᵀ [ (G weights Gᵀ) · (Bᵀ input B) ] A, the products summed over the channels
#pragma once

#include "elementwise.h"
#include "kernels.h"
#include "vec.h"

namespace convnet {
namespace {

// Bᵀ along one axis.
inline void winograd_input_points(const Vec<float>* d, Vec<float>* v) {
  constexpr float a = 0.70710678118654752f, b = 1.41421356237309505f;
  v[0] = d[4] + (d[0] - 2.5f * d[2]);
  v[5] = d[5] + (d[1] - 2.5f * d[3]);
  const Vec<float> even_a = d[4] - 2.0f * d[2], odd_a = d[3] - 2.0f * d[1];
  v[1] = even_a + a * odd_a;
  v[2] = even_a - a * odd_a;
  const Vec<float> even_b = d[4] - 0.5f * d[2], odd_b = d[3] - 0.5f * d[1];
  v[3] = even_b + b * odd_b;
  v[4] = even_b - b * odd_b;
}

// Aᵀ along one axis, with the scale of G's rows.
inline void winograd_output_points(const Vec<float>* m, Vec<float>* y) {
  constexpr float a = 0.70710678118654752f, b = 1.41421356237309505f;
  constexpr float scale_a = -2.0f / 3, scale_b = 1.0f / 6;
  const Vec<float> sum_a = m[1] + m[2], difference_a = m[1] - m[2];
  const Vec<float> sum_b = m[3] + m[4], difference_b = m[3] - m[4];
  y[0] = m[0] + scale_a * sum_a + scale_b * sum_b;
  y[1] = scale_a * a * difference_a + scale_b * b * difference_b;
  y[2] = 0.5f * scale_a * sum_a + 2.0f * scale_b * sum_b;
  y[3] = 2.0f * m[5] + 0.5f * scale_a * a * difference_a + 2.0f * scale_b * b * difference_b;
}

// N equal parts of a vector, to as many places.
template <int N, int Part = 0>
inline void store_parts(Vec<float> v, float* const* to, std::int64_t offset) {
  using Lanes = Few<float, kLanes<float> / N>;
  if constexpr (Part < N) {
    *reinterpret_cast<Lanes*>(to[Part] + offset) =
        few_lanes<Lanes, Part * kLanes<float> / N>(v, typename LanesUpTo<kLanes<float> / N>::type{});
    store_parts<N, Part + 1>(v, to, offset);
  }
}

// One channel of N runs, which have as many lanes each: the columns of the image are the lanes of the pass along the
// rows' axis; every fourth one then is a lane of the other pass. Lanes past a run's tiles are overwritten by what comes
// next, of the next run or channel.
template <int N>
inline void winograd_input_runs(const WinogradInput<float>& t, const WinogradRun* runs, const float* x, float* v) {
  constexpr int L = kLanes<float>, own = L / N;
  alignas(64) static constexpr float zeros[4 * L] = {};
  const float* row[N][6];
  float* tile[N];
#pragma GCC unroll 4
  for (int r = 0; r < N; ++r) {
    tile[r] = v + runs[r].tile;
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i)
      row[r][i] = i >= runs[r].row_begin && i < runs[r].row_end ? x + runs[r].x + i * t.x_row : zeros;
  }
  Vec<float> down[6][4];
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    const WinogradRun& run = runs[q * N / 4];
    const int offset = q * L % (4 * own), begin = run.column_begin - offset, end = run.column_end - offset;
    const int first = begin < 0 ? 0 : begin > L ? L : begin, last = end < first ? first : end > L ? L : end;
    Vec<float> d[6], points[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) d[i] = load_between(row[q * N / 4][i] + offset, first, last);
    winograd_input_points(d, points);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) down[i][q] = points[i];
  }
  const std::int64_t v_point = t.v_point;
  std::int64_t point = 0;
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    const Lanes<float> lanes;
    const Vec<float> even0 = evens<float>(down[i][0], down[i][1]), even1 = evens<float>(down[i][2], down[i][3]);
    const Vec<float> odd0 = odds<float>(down[i][0], down[i][1]), odd1 = odds<float>(down[i][2], down[i][3]);
    Vec<float> d[6], points[6];
    d[0] = evens<float>(even0, even1);
    d[1] = evens<float>(odd0, odd1);
    d[2] = odds<float>(even0, even1);
    d[3] = odds<float>(odd0, odd1);
    d[4] = next_lanes<own>(d[0], lanes);
    d[5] = next_lanes<own>(d[1], lanes);
    winograd_input_points(d, points);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j, point += v_point) store_parts<N>(points[j], tile, point);
  }
}

// Whether all runs fit into such a part of the lanes, without an input past it.
inline bool winograd_runs_fit(const WinogradInput<float>& t, int lanes) {
  for (std::int64_t r = 0; r < t.run_count; ++r)
    if (t.runs[r].tiles > lanes || t.runs[r].column_end > 4 * lanes) return false;
  return true;
}

inline void winograd_input(const WinogradInput<float>& t) {
  constexpr int L = kLanes<float>;
  const bool two = winograd_runs_fit(t, L / 2), four = winograd_runs_fit(t, L / 4);
  for (std::int64_t c = 0; c < t.channels; ++c) {
    const float* x = t.x + c * t.x_plane;
    float* v = t.v + c * t.v_channel;
    for (std::int64_t r = 0; r < t.run_count;) {  // parts of less than four lanes are not worth while
      const std::int64_t left = t.run_count - r;
      if constexpr (L >= 16)
        if (four && left >= 4) {
          winograd_input_runs<4>(t, t.runs + r, x, v);
          r += 4;
          continue;
        }
      if constexpr (L >= 8)
        if (two && left >= 2) {
          winograd_input_runs<2>(t, t.runs + r, x, v);
          r += 2;
          continue;
        }
      winograd_input_runs<1>(t, t.runs + r++, x, v);
    }
  }
}

// Lanes are channels up to the finished 4x4 outputs; as many tiles as fill a vector of columns are then transposed.
inline void winograd_output(const WinogradOutput<float>& t) {
  constexpr int L = kLanes<float>;
  constexpr int tiles_at_once = L / 4;
  for (std::int64_t k = 0; k < t.channels; k += L) {
    const int channels = t.channels - k < L ? int(t.channels - k) : L;
    const Vec<float> bias = t.bias ? load_upto(t.bias + k, channels) : Vec<float>{};
    for (std::int64_t r = 0; r < t.run_count; ++r) {
      const WinogradRun& run = t.runs[r];
      for (int first = 0; first < run.tiles; first += tiles_at_once) {
        Vec<float> pixel[4][L];  // by row and column
        const int tiles = run.tiles - first < tiles_at_once ? run.tiles - first : tiles_at_once;
        for (int tile = 0; tile < tiles; ++tile) {
          const float* m = t.m + (run.tile + first + tile) * t.m_tile + k;
          Vec<float> down[4][6];
#pragma GCC unroll 6
          for (int j = 0; j < 6; ++j) {
            Vec<float> points[6], outputs[4];
#pragma GCC unroll 6
            for (int i = 0; i < 6; ++i) points[i] = load(m + (6 * i + j) * t.m_point);
            winograd_output_points(points, outputs);
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) down[i][j] = outputs[i];
          }
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) {
            Vec<float> outputs[4];
            winograd_output_points(down[i], outputs);
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) {
              const Vec<float> y = outputs[j] + bias;
              pixel[i][4 * tile + j] = t.relu ? positive_part<float>(y) : y;
            }
          }
        }
        const int left = run.columns - 4 * first, columns = left < L ? left : L;
        float* y = t.y + k * t.y_plane + run.y + 4 * first;
        for (int i = 0; i < run.rows; ++i, y += t.y_row) {
          Vec<float> planes[L];
#pragma GCC unroll 16
          for (int j = 0; j < L; ++j) planes[j] = pixel[i][j];
          transpose_square<float>(planes);
          if (channels == L && columns == L) {
#pragma GCC unroll 16
            for (int j = 0; j < L; ++j) store(y + j * t.y_plane, planes[j]);
          } else {
            alignas(64) float plane[L][L];
#pragma GCC unroll 16
            for (int j = 0; j < L; ++j) store(plane[j], planes[j]);
            for (int j = 0; j < channels; ++j) store_upto(y + j * t.y_plane, load(plane[j]), columns);
          }
        }
      }
    }
  }
}

// G along one axis but for its scale, which stands in Aᵀ, of weights that are scaled by 1, √½ and ½: then the points'
// coordinates are ±1 and ±2.
inline Vec<float> winograd_weight_point(int point, Vec<float> first, Vec<float> second, Vec<float> third) {
  switch (point) {
    case 0:
      return first;
    case 1:
      return first + third + second;
    case 2:
      return first + third - second;
    case 3:
      return first + 4.0f * third + 2.0f * second;
    case 4:
      return first + 4.0f * third - 2.0f * second;
    default:
      return third;
  }
}

inline void winograd_weights(const WinogradWeights<float>& t) {
  constexpr int L = kLanes<float>;
  constexpr float scale[3] = {1.0f, 0.70710678118654752f, 0.5f};
  const std::int64_t u_plane = t.u_plane;
  for (std::int64_t c = 0; c < t.channels; ++c)
    for (std::int64_t v = 0; v < t.vectors; ++v) {
      const float* const weights = t.weights + (v * t.channels + c) * t.taps * L;
      Vec<float> g[3][3];
#pragma GCC unroll 3
      for (int i = 0; i < 3; ++i)
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j) {
          const std::int64_t tap = t.tap[3 * i + j];
          g[i][j] = tap < 0 ? Vec<float>{} : scale[i] * scale[j] * load(weights + tap * L);
        }
      float* u = t.u + c * t.u_channel + v * L;
      if (t.scaled_only) {
#pragma GCC unroll 9
        for (int i = 0; i < 9; ++i, u += u_plane) store(u, g[i / 3][i % 3]);
        continue;
      }
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) {
        Vec<float> row[3];
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j) row[j] = winograd_weight_point(i, g[0][j], g[1][j], g[2][j]);
#pragma GCC unroll 6
        for (int j = 0; j < 6; ++j, u += u_plane) store(u, winograd_weight_point(j, row[0], row[1], row[2]));
      }
    }
}

// The products of a row of points: the weights are transformed in registers, where the sums of few tiles leave room.
template <int Row, int Tiles>
void winograd_row(const WinogradRow<float>& t) {
  constexpr int L = kLanes<float>;
  Vec<float> sum[6][Tiles] = {};
  const float* v[6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) v[j] = t.v + j * t.v_point;
  const float* weights = t.weights;
  const float* ahead = t.ahead;
  for (std::int64_t c = 0; c < t.channels; ++c, weights += 9 * L, ahead += 3 * L / 2) {
    __builtin_prefetch(ahead, 0, 2);
    __builtin_prefetch(ahead + L, 0, 2);
    Vec<float> g[3];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j)
      if constexpr (Row == 0)
        g[j] = load(weights + j * L);
      else if constexpr (Row == 5)
        g[j] = load(weights + (6 + j) * L);
      else
        g[j] =
            winograd_weight_point(Row, load(weights + j * L), load(weights + (3 + j) * L), load(weights + (6 + j) * L));
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
      const Vec<float> u = winograd_weight_point(j, g[0], g[1], g[2]);
#pragma GCC unroll 4
      for (int i = 0; i < Tiles; ++i) sum[j][i] += in_register<float>(v[j][c * Tiles + i] - Vec<float>{}) * u;
    }
  }
  const std::int64_t m_point = t.m_point;
  if (t.add) {
    const float* m = t.m;
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j, m += m_point)
#pragma GCC unroll 4
      for (int i = 0; i < Tiles; ++i) sum[j][i] += load(m + i * L);
  }
  float* m = t.m;
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j, m += m_point)
#pragma GCC unroll 4
    for (int i = 0; i < Tiles; ++i) store(m + i * L, sum[j][i]);
}

template <int Row, int Tiles>
void add_winograd_rows(Kernels<float>& table) {
  table.winograd_row[Row][Tiles] = winograd_row<Row, Tiles>;
  if constexpr (Tiles < kMostRowTiles)
    add_winograd_rows<Row, Tiles + 1>(table);
  else if constexpr (Row < 5)
    add_winograd_rows<Row + 1, 1>(table);
}

// A along one axis, the adjoint of Aᵀ.
inline void winograd_gradient_points(const Vec<float>* y, Vec<float>* m) {
  constexpr float a = 0.70710678118654752f, b = 1.41421356237309505f;
  const Vec<float> even_a = y[0] + 0.5f * y[2], odd_a = a * (y[1] + 0.5f * y[3]);
  const Vec<float> even_b = y[0] + 2.0f * y[2], odd_b = b * (y[1] + 2.0f * y[3]);
  m[0] = y[0];
  m[1] = even_a + odd_a;
  m[2] = even_a - odd_a;
  m[3] = even_b + odd_b;
  m[4] = even_b - odd_b;
  m[5] = y[3];
}

template <int Size>
inline void winograd_points(const Vec<float>* d, Vec<float>* v) {
  if constexpr (Size == 6)
    winograd_input_points(d, v);
  else
    winograd_gradient_points(d, v);
}

// Squares of lanes x lanes, channels by columns, are turned; then both passes work on whole vectors of channels.
// Size: of a tile along an axis, 6 for inputs and 4 for outputs.
template <int Size>
void winograd_turned(const WinogradTurned<float>& t) {
  constexpr int L = kLanes<float>;
  constexpr int tiles_at_once = L < Size ? 1 : (L - Size) / 4 + 1;
  constexpr int columns = 4 * (tiles_at_once - 1) + Size, squares = (columns + L - 1) / L;
  for (std::int64_t c = 0; c < t.channels; c += L) {
    const int height = t.channels - c < L ? int(t.channels - c) : L;
    for (std::int64_t r = 0; r < t.run_count; ++r) {
      const WinogradRun& run = t.runs[r];
      const int row_begin = Size == 6 ? run.row_begin : 0, row_end = Size == 6 ? run.row_end : run.rows;
      for (int first = 0; first < run.tiles; first += tiles_at_once) {
        const int column_begin = Size == 6 ? run.column_begin - 4 * first : 0;
        const int column_end = (Size == 6 ? run.column_end : run.columns) - 4 * first;
        const float* x = t.x + c * t.x_plane + (Size == 6 ? run.x : run.y) + 4 * first;
        Vec<float> pixel[Size][squares * L];
        for (int i = 0; i < Size; ++i, x += t.x_row)
          for (int s = 0; s < squares; ++s) {
            const int from = column_begin - s * L, to = column_end - s * L;
            const int begin = from < 0 ? 0 : from > L ? L : from, end = to < begin ? begin : to > L ? L : to;
            Vec<float> square[L];
            if (i < row_begin || i >= row_end || begin == end) {
#pragma GCC unroll 16
              for (int l = 0; l < L; ++l) square[l] = Vec<float>{};
            } else {
              const float* row = x + s * L;
              if (begin == 0 && end == L && height == L) {
#pragma GCC unroll 16
                for (int l = 0; l < L; ++l) square[l] = load(row + l * t.x_plane);
              } else {
#pragma GCC unroll 16
                for (int l = 0; l < L; ++l)
                  square[l] = l < height ? load_between(row + l * t.x_plane, begin, end) : Vec<float>{};
              }
              transpose_square<float>(square);
            }
#pragma GCC unroll 16
            for (int l = 0; l < L; ++l) pixel[i][s * L + l] = square[l];
          }
        Vec<float> down[6][columns];
        for (int j = 0; j < columns; ++j) {
          Vec<float> d[Size], points[6];
#pragma GCC unroll 6
          for (int i = 0; i < Size; ++i) d[i] = pixel[i][j];
          winograd_points<Size>(d, points);
#pragma GCC unroll 6
          for (int i = 0; i < 6; ++i) down[i][j] = points[i];
        }
        const int tiles = run.tiles - first < tiles_at_once ? run.tiles - first : tiles_at_once;
        for (int tile = 0; tile < tiles; ++tile) {
          float* v = t.v + (run.tile + first + tile) * t.v_tile + c;
          for (int i = 0; i < 6; ++i) {
            Vec<float> points[6];
            winograd_points<Size>(down[i] + 4 * tile, points);
#pragma GCC unroll 6
            for (int j = 0; j < 6; ++j, v += t.v_point) store(v, points[j]);
          }
        }
      }
    }
  }
}

// Gᵀ along one axis, with its scale.
inline void winograd_weight_gradient_points(const Vec<float>* u, Vec<float>* g) {
  constexpr float a = 0.70710678118654752f, b = 1.41421356237309505f;
  const Vec<float> sum_a = u[1] + u[2], difference_a = u[1] - u[2];
  const Vec<float> sum_b = u[3] + u[4], difference_b = u[3] - u[4];
  g[0] = u[0] - (2.0f / 3) * sum_a + (1.0f / 6) * sum_b;
  g[1] = (b / 6) * difference_b - (2.0f / 3 * a) * difference_a;
  g[2] = u[5] + (1.0f / 3) * (sum_b - sum_a);
}

inline void winograd_weight_gradient(const WinogradWeightGradient<float>& t) {
  constexpr int L = kLanes<float>;
  Vec<float> down[3][6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    Vec<float> u[6], g[3];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) {
      const float* m = t.m + (6 * i + j) * t.m_point;
      u[i] = load(m);
      for (std::int64_t part = 1; part < t.parts; ++part) u[i] += load(m + part * t.m_part);
    }
    winograd_weight_gradient_points(u, g);
#pragma GCC unroll 3
    for (int i = 0; i < 3; ++i) down[i][j] = g[i];
  }
  alignas(64) float nine[9 * L];
#pragma GCC unroll 3
  for (int i = 0; i < 3; ++i) {
    Vec<float> g[3];
    winograd_weight_gradient_points(down[i], g);
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) store(nine + (3 * i + j) * L, g[j]);
  }
  bool in_order = t.tap_stride == 1;
  for (int i = 0; i < 9; ++i) in_order = in_order && t.tap[i] == i;
  if (in_order && t.k_stride != 1) return transpose(nine, L, 9, t.count, t.dw, t.k_stride);
  for (int i = 0; i < 9; ++i) {
    if (t.tap[i] < 0) continue;
    float* const dw = t.dw + t.tap[i] * t.tap_stride;
    if (t.k_stride == 1)
      store_upto(dw, load(nine + i * L), t.count);
    else
      for (std::int64_t lane = 0; lane < t.count; ++lane) dw[lane * t.k_stride] = nine[i * L + lane];
  }
}

}  // namespace
}  // namespace convnet
