// Pooling windows: outputs of a row in lanes, four rows at a time, tap by tap.
#pragma once

#include "kernels.h"
#include "strip.h"
#include "vec.h"

namespace convnet {
namespace {

// Integers of a lane's size as 64 bits.
template <class T>
inline void store_wide(std::int64_t* to, IntVec<T> v, std::int64_t add, std::int64_t count) {
  if constexpr (sizeof(T) == 4) {
    typedef std::int32_t Half __attribute__((vector_size(kVectorBytes / 2)));
    typedef double Bits;  // a lane of 64 bits, whatever it holds
    Half half[2];
    __builtin_memcpy(half, &v, sizeof v);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const std::int64_t n = count - h * kLanes<double>;
      if (n <= 0) break;
      const IntVec<double> wide = __builtin_convertvector(half[h], IntVec<double>) + add;
      store_upto<Bits>(reinterpret_cast<Bits*>(to) + h * kLanes<double>, reinterpret_cast<Vec<double>>(wide),
                       n < kLanes<double> ? n : kLanes<double>);
    }
  } else {
    store_upto<double>(reinterpret_cast<double*>(to), reinterpret_cast<Vec<double>>(v + add), count);
  }
}

template <class T, int R>
inline IntVec<T> max_pool_rows(const Pool<T>& p, const T* x, std::int64_t row) {
  const T lowest = -__builtin_huge_val();
  const std::int64_t* const tap_offset = p.tap_offset;
  IntVec<T> ordinary = ~IntVec<T>{};
  for_vectors<T>(p.columns, [&](std::int64_t i, std::int64_t n) {
    Vec<T> best[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) best[r] = Vec<T>{} + lowest;
    for (std::int64_t t = 0; t < p.taps; ++t) {
      const T* from = x + i + tap_offset[t];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r, from += p.x_row) best[r] = Greater::of<T>(best[r], load(from));
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) store_upto(p.y + (row + r) * p.y_row + i, best[r], n);
    if (!p.indices) return;
    // The taps from the last to the first: the first that equals the maximum stays.
    IntVec<T> place[R] = {};
    for (std::int64_t t = p.taps - 1; t >= 0; --t) {
      const T* from = x + i + tap_offset[t];
      const IntVec<T> here = IntVec<T>{} + static_cast<LaneInt<T>>(p.tap_place[t]);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r, from += p.x_row) place[r] = load(from) == best[r] ? here : place[r];
    }
    IntVec<T> columns;
    __builtin_memcpy(&columns, p.column_place + i, sizeof columns);
    const IntVec<T> real = lane_numbers<T>() < static_cast<LaneInt<T>>(n);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      ordinary &= (best[r] > lowest) | ~real;
      store_wide<T>(p.indices + (row + r) * p.y_row + i, place[r] + columns, p.origin + (row + r) * p.row_place, n);
    }
  });
  return ordinary;
}

template <class T>
bool max_pool(const Pool<T>& p) {
  IntVec<T> ordinary = ~IntVec<T>{};
  const T* x = p.x;
  std::int64_t row = 0;
  for (; row + 4 <= p.rows; row += 4, x += 4 * p.x_row) ordinary &= max_pool_rows<T, 4>(p, x, row);
  for (; row < p.rows; ++row, x += p.x_row) ordinary &= max_pool_rows<T, 1>(p, x, row);
  bool all = true;
  for (int i = 0; i < kLanes<T>; ++i) all &= ordinary[i] != 0;
  return all;
}

template <class T, int R>
inline void average_pool_rows(const Pool<T>& p, const T* x, std::int64_t row) {
  for_vectors<T>(p.columns, [&](std::int64_t i, std::int64_t n) {
    Vec<T> sum[R] = {};
    for (std::int64_t t = 0; t < p.taps; ++t) {
      const T* from = x + i + p.tap_offset[t];
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r, from += p.x_row) sum[r] += load(from);
    }
    const Vec<T> count = load_upto(p.column_count + i, n);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) store_upto(p.y + (row + r) * p.y_row + i, sum[r] / (count * p.row_count[row + r]), n);
  });
}

template <class T>
void average_pool(const Pool<T>& p) {
  const T* x = p.x;
  std::int64_t row = 0;
  for (; row + 4 <= p.rows; row += 4, x += 4 * p.x_row) average_pool_rows<T, 4>(p, x, row);
  for (; row < p.rows; ++row, x += p.x_row) average_pool_rows<T, 1>(p, x, row);
}

// Whether all of them are in [first, first + size).
inline bool all_inside(const std::int64_t* index, std::int64_t count, std::int64_t first, std::int64_t size) {
  typedef std::uint64_t Indices __attribute__((vector_size(kVectorBytes)));
  constexpr std::int64_t L = kLanes<double>;
  Indices outside = {};
  std::int64_t i = 0;
  for (; i + L <= count; i += L) {
    Indices some;
    __builtin_memcpy(&some, index + i, sizeof some);
    some -= std::uint64_t(first);
    outside |= some | (std::uint64_t(size) - 1 - some);  // the top bit tells
  }
  for (; i < count; ++i)
    if (index[i] < first || index[i] - first >= size) return false;
  std::uint64_t lanes[L], any = 0;
  __builtin_memcpy(lanes, &outside, sizeof lanes);
#pragma GCC unroll 8
  for (int lane = 0; lane < L; ++lane) any |= lanes[lane];
  return any >> 63 == 0;
}

template <class T>
bool scatter(const T* x, const std::int64_t* index, std::int64_t planes, std::int64_t count, std::int64_t size, T* y) {
  const Vec<T> nothing = in_register<T>(Vec<T>{});          // or the compiler would call memset
  const std::int64_t most = count < 256 ? 512 / count : 1;  // small planes are checked several at a time
  while (planes > 0) {
    std::int64_t some = planes < most ? planes : most;
    if (!all_inside(index, some * count, 0, size)) return false;
    for (planes -= some; some > 0; --some, x += count, index += count, y += size) {
      for_vectors<T>(size, [&](std::int64_t j, std::int64_t n) { store_upto(y + j, nothing, n); });
#pragma GCC unroll 4
      for (std::int64_t i = 0; i < count; ++i) y[index[i]] += x[i];
    }
  }
  return true;
}

}  // namespace
}  // namespace convnet
