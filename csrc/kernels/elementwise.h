// Rows of numbers, one output for one or two inputs.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace convnet {
namespace {

template <class T>
inline void zero(T* y, std::int64_t count) {
  if (count > 0) for_vectors<T>(count, [&](std::int64_t j, std::int64_t n) { store_upto(y + j, Vec<T>{}, n); });
}

// y[i] = x[i·step]; reads nothing behind the last element.
template <class T>
[[gnu::always_inline]] inline void gather_row(const T* x, std::int64_t columns, std::int64_t step, T* y) {
  if (step == 1) {
    for_vectors<T>(columns, [&](std::int64_t i, std::int64_t n) { store_upto(y + i, load_upto(x + i, n), n); });
  } else if (step == 2) {
    for_vectors<T>(columns, [&](std::int64_t i, std::int64_t n) {
      const T* from = x + 2 * i;
      if (i + kLanes<T> < columns) {
        store(y + i, evens<T>(load(from), load(from + kLanes<T>)));
      } else {
        const std::int64_t high = 2 * n - 1 - kLanes<T>;
        const Vec<T> low = load_upto(from, high >= 0 ? kLanes<T> : 2 * n - 1);
        store_upto(y + i, evens<T>(low, high > 0 ? load_first(from + kLanes<T>, high) : Vec<T>{}), n);
      }
    });
  } else {
    constexpr int L = kLanes<T>;
    std::int64_t i = 0;
    if (step == 3)
      for (; i + L < columns; i += L) store(y + i, load_thirds(x + 3 * i));
    if (step == 4) {
      for (; i + L < columns; i += L) store(y + i, load_fourths(x + 4 * i, 4 * L));
      if (const std::int64_t left = columns - i; left > L / 2) {  // fewer are as fast one by one
        store_upto(y + i, load_fourths(x + 4 * i, 4 * left - 3), left);
        i = columns;
      }
    }
    for (; i < columns; ++i) y[i] = x[i * step];
  }
}

template <class T>
void copy_rows(const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t columns, T* y, std::int64_t y_row) {
  for (; rows > 0; --rows, x += x_row, y += y_row) gather_row(x, columns, 1, y);
}

// The left zeros share a vector with the first values, the right ones with the last: half the stores of short rows.
template <class T>
inline void pad_dense_rows(const PaddedRows<T>& p) {
  constexpr int L = kLanes<T>;
  const std::int64_t end = p.left + p.columns, width = end + p.right, last = (end - 1) / L * L;
  const std::int64_t whole = p.left > 0 || last == 0 ? L : 0;  // where vectors begin that hold values alone
  const std::int64_t first_end = end < L ? end : L, first_width = width < L ? width : L;
  const std::int64_t last_width = width - last < L ? width - last : L;
  const T* x = p.x - p.left;
  T* y = p.y;
  for (std::int64_t i = 0; i < p.rows; ++i, x += p.x_stride, y += p.y_stride) {
    if (whole > 0) store_upto(y, load_between(x, int(p.left), int(first_end)), first_width);
    std::int64_t j = whole;
    for (; j < last; j += L) store(y + j, load(x + j));
    if (j == last) store_upto(y + j, load_first(x + j, end - j), last_width);
    if (width > last + L) zero(y + last + L, width - last - L);
  }
}

template <class T>
void pad_rows(const PaddedRows<T>& p) {
  if (p.step == 1 && p.left < kLanes<T> && p.columns > 0) return pad_dense_rows(p);
  const T* x = p.x;
  T* y = p.y;
  for (std::int64_t i = 0; i < p.rows; ++i, x += p.x_stride, y += p.y_stride) {
    zero(y, p.left);
    gather_row(x, p.columns, p.step, y + p.left);
    zero(y + p.left + p.columns, p.right);
  }
}

// Columns First, First + 1, ... of those in P vectors, P values of each; what is too much is written again with the
// next.
template <class T, int P, int First = 0>
inline void store_interleaved(const Vec<T>* v, std::int64_t rows, T* y) {
  if constexpr (First < kLanes<T>) {
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i)
      if (First + i + 1 < kLanes<T>)
        *reinterpret_cast<Few<T, P>*>(y + (First + i) * rows) =
            few_lanes<Few<T, P>, First>(v[i], typename LanesUpTo<P>::type{});
    store_interleaved<T, P, First + P>(v, rows, y);
  }
}

// y[j·rows + i] = x[i·x_stride + j] for P / 2 < rows <= P and at least a vector of columns, the last of which overlap.
template <class T, int P>
__attribute__((noinline)) void interleave(const T* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns,
                                          T* y) {
  constexpr int L = kLanes<T>;
  for (std::int64_t at = 0; at < columns; at += L) {
    const std::int64_t j = at + L <= columns ? at : columns - L;
    Vec<T> v[P];
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i) v[i] = i < rows ? load(x + i * x_stride + j) : Vec<T>{};
    transpose_square<T, P>(v);
    store_interleaved<T, P>(v, rows, y + j * rows);
    T last[L];
    store(last, v[P - 1]);
    for (std::int64_t i = 0; i < rows; ++i) y[(j + L - 1) * rows + i] = last[L - P + i];
  }
}

// y[2·j] = a[j] and y[2·j + 1] = b[j] for j < columns.
template <class T>
__attribute__((noinline)) void interleave_two(const T* a, const T* b, std::int64_t columns, T* y) {
  constexpr std::int64_t L = kLanes<T>;
  for_vectors<T>(columns, [&](std::int64_t j, std::int64_t n) {
    const Vec<T> even = load_upto(a + j, n), odd = load_upto(b + j, n);
    store_upto(y + 2 * j, in_turn<0>(even, odd, Lanes<T>{}), 2 * n < L ? 2 * n : L);
    if (2 * n > L) store_upto(y + 2 * j + L, in_turn<L / 2>(even, odd, Lanes<T>{}), 2 * n - L);
  });
}

// y[j·y_stride + i] = x[i·x_stride + j] for P / 2 <= columns <= P and more than a vector of rows, the last of which
// overlap. P values are read of each row: with what follows it, of the last ones with what goes before.
template <class T, int P>
__attribute__((noinline)) void deinterleave(const T* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns,
                                            T* y, std::int64_t y_stride) {
  constexpr int L = kLanes<T>;
  for (std::int64_t at = 0; at < rows; at += L) {
    const bool last = at + L >= rows;
    const std::int64_t i = last ? rows - L : at, before = last ? P - columns : 0;
    Vec<T> v[P];
#pragma GCC unroll 8
    for (int j = 0; j < P; ++j) v[j] = load_fews<T, P, L>(x + (i + j) * x_stride - before, P * x_stride);
    transpose_square<T, P>(v);
#pragma GCC unroll 8
    for (int j = 0; j < P; ++j)
      if (before <= j && j < before + columns) store(y + (j - before) * y_stride + i, v[j]);
  }
}

// Calls row(i, p) for the rows of a square, `stride` apart from p on: a pointer for each would not stay in registers.
template <class T, class P, class Row>
inline void for_square_rows(P p, std::int64_t stride, Row&& row) {
  constexpr int L = kLanes<T>, some = L < 4 ? L : 4;
#pragma GCC unroll 4
  for (int i = 0; i < L; i += some, p += some * stride) {
    in_one_register(p);
#pragma GCC unroll 4
    for (int k = 0; k < some; ++k) row(i + k, p + k * stride);
  }
}

// y[j·y_stride + i] = x[i·x_stride + j]: squares of lanes x lanes through registers, the last of which overlap; partly
// filled ones where there are fewer rows or columns.
template <class T>
__attribute__((noinline)) void transpose_squares(const T* x, std::int64_t x_stride, std::int64_t rows,
                                                 std::int64_t columns, T* y, std::int64_t y_stride) {
  constexpr int L = kLanes<T>;
  const std::int64_t height = rows < L ? rows : L, width = columns < L ? columns : L;
  const bool whole = height == L && width == L;
  for (std::int64_t down = 0; down < rows; down += L)
    for (std::int64_t across = 0; across < columns; across += L) {
      const std::int64_t i = down + height <= rows ? down : rows - height;
      const std::int64_t j = across + width <= columns ? across : columns - width;
      const T* const from = x + i * x_stride + j;
      T* const to = y + j * y_stride + i;
      Vec<T> square[L];
      if (whole) {
        for_square_rows<T>(from, x_stride, [&](int r, const T* p) { square[r] = load(p); });
        transpose_square<T>(square);
        for_square_rows<T>(to, y_stride, [&](int r, T* p) { store(p, square[r]); });
      } else {
#pragma GCC unroll 16
        for (int r = 0; r < L; ++r) square[r] = r < height ? load_upto(from + r * x_stride, width) : Vec<T>{};
        transpose_square<T>(square);
#pragma GCC unroll 16
        for (int r = 0; r < L; ++r)
          if (r < width) store_upto(to + r * y_stride, square[r], height);
      }
    }
}

template <class T>
void transpose(const T* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns, T* y,
               std::int64_t y_stride) {
  constexpr int L = kLanes<T>;
  if (rows == 2 && y_stride == 2) return interleave_two(x, x + x_stride, columns, y);
  if (columns == 1) {
    for (std::int64_t i = 0; i < rows; ++i) y[i] = x[i * x_stride];
    return;
  }
  if constexpr (L >= 4) {
    if (2 < rows && rows <= 4 && rows == y_stride && columns >= L)
      return interleave<T, 4>(x, x_stride, rows, columns, y);
    if (1 < columns && columns <= 4 && columns <= x_stride && rows > L)
      return deinterleave<T, 4>(x, x_stride, rows, columns, y, y_stride);
  }
  if constexpr (L >= 8) {
    if (4 < rows && rows <= 8 && rows == y_stride && columns >= L)
      return interleave<T, 8>(x, x_stride, rows, columns, y);
    if (4 < columns && columns <= 8 && columns <= x_stride && rows > L)
      return deinterleave<T, 8>(x, x_stride, rows, columns, y, y_stride);
  }
  transpose_squares(x, x_stride, rows, columns, y, y_stride);
}

// A vector of y at a time, that of every row in a column of vectors: what is in the image of the vectors that it adds
// is the same in all of them.
template <class T>
void sum_windows(const WindowSum<T>& s) {
  constexpr std::int64_t L = kLanes<T>;
  const std::int64_t x_plane = s.x_h * s.x_w, window = s.k_h * s.k_w * x_plane;
  for (std::int64_t j = 0; j < s.y_w; j += L) {
    int begin[kMostWindowColumns], end[kMostWindowColumns];
    for (std::int64_t q = 0; q < s.k_w; ++q) {
      const std::int64_t column = j + s.pad_left - q, left = s.x_w - column;
      begin[q] = int(column >= 0 ? 0 : -column < L ? -column : L);
      end[q] = int(left < begin[q] ? begin[q] : left < L ? left : L);
    }
    const std::int64_t count = s.y_w - j < L ? s.y_w - j : L;
    for (std::int64_t c = 0; c < s.planes; ++c)
      for (std::int64_t i = 0; i < s.y_h; ++i) {
        Vec<T> sum = {};
        for (std::int64_t r = 0; r < s.k_h; ++r) {
          const std::int64_t row = i + s.pad_top - r;
          if (row < 0 || row >= s.x_h) continue;
          const T* x = s.x + c * window + r * s.k_w * x_plane + row * s.x_w + j + s.pad_left;
          for (std::int64_t q = 0; q < s.k_w; ++q, x += x_plane - 1) sum += load_between(x, begin[q], end[q]);
        }
        store_upto(s.y + (c * s.y_h + i) * s.y_w + j, sum, count);
      }
  }
}

template <class T>
T sum(const T* x, std::int64_t count) {
  Vec<T> partial = {};
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) { partial += load_upto(x + i, n); });
  T lanes[kLanes<T>];
  store(lanes, partial);
  T total = 0;
  for (int i = 0; i < kLanes<T>; ++i) total += lanes[i];
  return total;
}

template <class T>
void relu(const T* x, std::int64_t count, T* y) {
  for_vectors<T>(count,
                 [&](std::int64_t i, std::int64_t n) { store_upto(y + i, positive_part<T>(load_upto(x + i, n)), n); });
}

template <class T>
void relu_backward(const T* dy, const T* x, std::int64_t count, T* dx) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    store_upto(dx + i, load_upto(x + i, n) <= 0 ? Vec<T>{} : load_upto(dy + i, n), n);
  });
}

template <class T>
void axpby(T a, const T* x, T b, const T* y, std::int64_t count, T* z) {
  for_vectors<T>(count, [&](std::int64_t i, std::int64_t n) {
    store_upto(z + i, a * load_upto(x + i, n) + b * load_upto(y + i, n), n);
  });
}

}  // namespace
}  // namespace convnet
