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

// Aᵀ along one axis.
inline void winograd_output_points(const Vec<float>* m, Vec<float>* y) {
  constexpr float a = 0.70710678118654752f, b = 1.41421356237309505f;
  const Vec<float> sum_a = m[1] + m[2], difference_a = m[1] - m[2];
  const Vec<float> sum_b = m[3] + m[4], difference_b = m[3] - m[4];
  y[0] = m[0] + sum_a + sum_b;
  y[1] = a * difference_a + b * difference_b;
  y[2] = 0.5f * sum_a + 2.0f * sum_b;
  y[3] = m[5] + 0.5f * a * difference_a + 2.0f * b * difference_b;
}

// One run of one channel: the columns of the image are the lanes of the pass along the rows' axis; every fourth one
// then is a lane of the other pass.
template <bool whole>
inline void winograd_input_run(const WinogradInput<float>& t, const WinogradRun& run, const float* x, float* v) {
  constexpr int L = kLanes<float>;
  alignas(64) static constexpr float zeros[4 * L] = {};
  const float* row[6];
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) row[i] = i >= run.row_begin && i < run.row_end ? x + i * t.x_row : zeros;
  Vec<float> down[6][4];
#pragma GCC unroll 4
  for (int q = 0; q < 4; ++q) {
    const int begin = run.column_begin - q * L, end = run.column_end - q * L;
    const int first = begin < 0 ? 0 : begin > L ? L : begin, last = end < first ? first : end > L ? L : end;
    Vec<float> d[6], points[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) d[i] = load_between(row[i] + q * L, first, last);
    winograd_input_points(d, points);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) down[i][q] = points[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i, v += 6 * t.v_point) {
    const Lanes<float> lanes;
    const Vec<float> even0 = every_second<0>(down[i][0], down[i][1], lanes),
                     even1 = every_second<0>(down[i][2], down[i][3], lanes);
    const Vec<float> odd0 = every_second<1>(down[i][0], down[i][1], lanes),
                     odd1 = every_second<1>(down[i][2], down[i][3], lanes);
    Vec<float> d[6], points[6];
    d[0] = every_second<0>(even0, even1, lanes);
    d[1] = every_second<0>(odd0, odd1, lanes);
    d[2] = every_second<1>(even0, even1, lanes);
    d[3] = every_second<1>(odd0, odd1, lanes);
    d[4] = next_lanes(d[0], lanes);
    d[5] = next_lanes(d[1], lanes);
    winograd_input_points(d, points);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) {
      if constexpr (whole)
        store(v + j * t.v_point, points[j]);
      else
        store_first(v + j * t.v_point, points[j], run.lanes);
    }
  }
}

inline void winograd_input(const WinogradInput<float>& t) {
  for (std::int64_t c = 0; c < t.channels; ++c)
    for (std::int64_t r = 0; r < t.run_count; ++r) {
      const WinogradRun& run = t.runs[r];
      const float* x = t.x + c * t.x_plane + run.x;
      float* v = t.v + c * t.v_channel + run.tile;
      // Lanes past the run's tiles are overwritten by the next run's where there is one.
      if (run.lanes == kLanes<float>)
        winograd_input_run<true>(t, run, x, v);
      else
        winograd_input_run<false>(t, run, x, v);
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

// G along one axis.
inline void winograd_weight_points(const Vec<double>* g, Vec<double>* u) {
  constexpr double a = 0.70710678118654752440, b = 1.41421356237309504880;
  u[0] = g[0];
  u[5] = g[2];
  const Vec<double> even_a = (-2.0 / 3) * g[0] - (1.0 / 3) * g[2], odd_a = (-2.0 / 3 * a) * g[1];
  u[1] = even_a + odd_a;
  u[2] = even_a - odd_a;
  const Vec<double> even_b = (1.0 / 6) * g[0] + (1.0 / 3) * g[2], odd_b = (b / 6) * g[1];
  u[3] = even_b + odd_b;
  u[4] = even_b - odd_b;
}

// In double, rounded once.
inline void winograd_weights(const WinogradWeights<float>& t) {
  constexpr int L = kLanes<double>;
  typedef float Half __attribute__((vector_size(kVectorBytes / 2)));
  Vec<double> down[2][3][6];  // of either half of the lanes
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half)
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
      Vec<double> column[3];
#pragma GCC unroll 3
      for (int i = 0; i < 3; ++i) {
        Half lanes;
        __builtin_memcpy(&lanes, t.weights + t.source[3 * i + j] * 2 * L + half * L, sizeof lanes);
        column[i] = __builtin_convertvector(lanes, Vec<double>);
      }
      winograd_weight_points(column, down[half][j]);
    }
  float* u = t.u;
  for (int i = 0; i < 6; ++i) {
    Vec<double> points[2][6];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const Vec<double> row[3] = {down[half][0][i], down[half][1][i], down[half][2][i]};
      winograd_weight_points(row, points[half]);
    }
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j, u += t.u_point) {
      const Half low = __builtin_convertvector(points[0][j], Half), high = __builtin_convertvector(points[1][j], Half);
      store(u, joined<float>(low, high, Lanes<float>{}));
    }
  }
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

// Gᵀ along one axis.
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
  if (t.k_stride == 1)
    for (int i = 0; i < 9; ++i) store_upto(t.dw + i * t.tap_stride, load(nine + i * L), t.count);
  else
    transpose(nine, L, 9, t.count, t.dw, t.k_stride);
}

}  // namespace
}  // namespace convnet
