// Pooling of images with channels last: channels in lanes, every tap of a window a load as it stands.
#pragma once

#include "kernels.h"
#include "pool.h"
#include "strip.h"
#include "vec.h"

namespace convnet {
namespace {

// Each kind pools V vectors of channels, `step` channels apart, or with V = 1 the first `n` lanes of one, under window
// j; from[tap] may be read to `m` lanes.
struct LastGreatest {
  template <class T, int V>
  static inline void pool(const PoolLast<T>& p, std::int64_t j, const T* from, std::int64_t m, std::int64_t c,
                          std::int64_t n, std::int64_t step) {
    Vec<T> best[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) best[v] = Vec<T>{} - static_cast<T>(__builtin_huge_val());
    for (std::int64_t q = 0; q < p.columns[j]; ++q, from += p.x_column) {
      const T* tap = from;
      Vec<T> column[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) column[v] = load_upto(tap + v * step, m);
      for (std::int64_t r = 1; r < p.rows; ++r) {
        tap += p.x_row;
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) column[v] = Greater::of<T>(column[v], load_upto(tap + v * step, m));
      }
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) best[v] = Greater::of<T>(best[v], column[v]);
    }
    T* const y = p.y + j * p.pixel + c;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store_upto(y + v * step, best[v], n);
  }
};

struct LastPlace {
  template <class T, int V>
  static inline void pool(const PoolLast<T>& p, std::int64_t j, const T* from, std::int64_t m, std::int64_t c,
                          std::int64_t n, std::int64_t step) {
    using Int = decltype(+IntVec<T>{}[0]);
    Vec<T> best[V];
    IntVec<T> place[V] = {};
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) best[v] = Vec<T>{} - static_cast<T>(__builtin_huge_val());
    std::int64_t row_place = 0;
    for (std::int64_t r = 0; r < p.rows; ++r, from += p.x_row, row_place += p.row_place) {
      const T* tap = from;
      IntVec<T> here = IntVec<T>{} + static_cast<Int>(row_place);
      for (std::int64_t q = 0; q < p.columns[j]; ++q, tap += p.x_column, here += static_cast<Int>(p.column_place))
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          const Vec<T> value = load_upto(tap + v * step, m);
          // The first NaN stays as well: nothing replaces a NaN, and whatever is not at most `best` replaces that.
          const IntVec<T> kept = (value <= best[v]) | (best[v] != best[v]);
          best[v] = kept ? best[v] : value;
          place[v] = kept ? place[v] : here;
        }
    }
    const std::int64_t out = j * p.pixel + c;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      store_upto(p.y + out + v * step, best[v], n);
      store_wide<T>(p.indices + out + v * step, place[v], p.origin + p.first[j], n);
    }
  }
};

struct LastAverage {
  template <class T, int V>
  static inline void pool(const PoolLast<T>& p, std::int64_t j, const T* from, std::int64_t m, std::int64_t c,
                          std::int64_t n, std::int64_t step) {
    Vec<T> sum[V] = {};
    for (std::int64_t q = 0; q < p.columns[j]; ++q, from += p.x_column) {
      const T* tap = from;
      Vec<T> column[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) column[v] = load_upto(tap + v * step, m);
      for (std::int64_t r = 1; r < p.rows; ++r) {
        tap += p.x_row;
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) column[v] += load_upto(tap + v * step, m);
      }
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[v] += column[v];
    }
    T* const y = p.y + j * p.pixel + c;
    const T count = p.column_count[j] * p.row_count;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store_upto(y + v * step, sum[v] / count, n);
  }
};

template <class T, class Kind>
void pool_last(const PoolLast<T>& given) {
  constexpr std::int64_t L = kLanes<T>;
  const PoolLast<T> p = given;  // its own copy: no store can change it
  for (std::int64_t j = 0; j < p.outputs; ++j) {
    const std::int64_t first = p.first[j] * p.pixel;
    const T* const from = p.x + first;
    std::int64_t c = 0;
    for (; c + 4 * L <= p.channels; c += 4 * L) Kind::template pool<T, 4>(p, j, from + c, L, c, L, L);
    for (; c + 2 * L <= p.channels; c += L) Kind::template pool<T, 1>(p, j, from + c, L, c, L, L);
    // Vectors at the end overlap rather than hold fewer channels.
    const std::int64_t n = p.channels - c;
    if (n == 0) continue;
    if (n > L) {
      Kind::template pool<T, 2>(p, j, from + c, L, c, L, n - L);
    } else if (p.channels >= L) {
      c = p.channels - L;
      Kind::template pool<T, 1>(p, j, from + c, L, c, L, L);
    } else {
      const std::int64_t last = first + (p.rows - 1) * p.x_row + (p.columns[j] - 1) * p.x_column;
      Kind::template pool<T, 1>(p, j, from, last + L <= p.readable ? L : n, 0, n, L);
    }
  }
}

// Each index less `origin`, of a lane's size: what does not fit is collected in `high`.
template <class T>
inline IntVec<T> load_narrow(const std::int64_t* from, std::int64_t origin, std::int64_t count, IntVec<double>& high) {
  typedef double Bits;  // a lane of 64 bits, whatever it holds
  const Bits* const bits = reinterpret_cast<const Bits*>(from);
  const IntVec<double> lanes = lane_numbers<double>();
  if constexpr (sizeof(T) == 4) {
    typedef std::int32_t Half __attribute__((vector_size(kVectorBytes / 2)));
    Half half[2] = {};
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const std::int64_t n = count - h * kLanes<double>;
      if (n <= 0) break;
      const std::int64_t some = n < kLanes<double> ? n : kLanes<double>;
      IntVec<double> wide = reinterpret_cast<IntVec<double>>(load_upto(bits + h * kLanes<double>, some)) - origin;
      if (some < kLanes<double>) wide = lanes < some ? wide : IntVec<double>{};
      high |= wide;
      half[h] = __builtin_convertvector(wide, Half);
    }
    return reinterpret_cast<IntVec<T>>(joined(half[0], half[1], Lanes<T>{}));
  } else {
    return reinterpret_cast<IntVec<T>>(load_upto(bits, count)) - origin;
  }
}

template <class T>
bool unpool_last(const UnpoolLast<T>& given) {
  using Int = decltype(+IntVec<T>{}[0]);
  const UnpoolLast<T> p = given;
  IntVec<double> high = {};
  IntVec<T> lost = {};
  for (std::int64_t j = 0; j < p.outputs; ++j) {
    const std::int64_t out = j * p.channels;
    T* const to = p.dx + p.first[j] * p.channels;
    for_vectors<T>(p.channels, [&](std::int64_t c, std::int64_t n) {
      const IntVec<T> place = load_narrow<T>(p.indices + out + c, p.origin + p.first[j], n, high);
      const Vec<T> flow = load_upto(p.dy + out + c, n);
      IntVec<T> met = {};
      std::int64_t row_place = 0;
      for (std::int64_t r = 0; r < p.rows; ++r, row_place += p.row_place) {
        IntVec<T> here = IntVec<T>{} + static_cast<Int>(row_place);
        T* tap = to + c + r * p.x_row;
        const bool wanted = p.begin <= r && r < p.end;
        for (std::int64_t q = 0; q < p.columns[j]; ++q, tap += p.x_column, here += static_cast<Int>(p.column_place)) {
          met |= place == here;
          if (wanted) store_upto(tap, load_upto<T>(tap, n) + (place == here ? flow : Vec<T>{}), n);
        }
      }
      if (n < kLanes<T>) met |= lane_numbers<T>() >= static_cast<Int>(n);
      lost |= ~met;
    });
  }
  std::int64_t lanes[kLanes<double>], any = 0;
  __builtin_memcpy(lanes, &high, sizeof lanes);
  for (std::int64_t lane : lanes) any |= lane;
  std::int64_t missed[kLanes<double>];
  __builtin_memcpy(missed, &lost, sizeof missed);
  std::int64_t miss = 0;
  for (std::int64_t lane : missed) miss |= lane;
  return any >> 31 == 0 && miss == 0;
}

template <class T>
bool scatter_last(const ScatterLast<T>& given) {
  const ScatterLast<T> p = given;
  if (!all_inside(p.indices, p.outputs * p.channels, p.first, p.size)) return false;
  const auto add_where = [&](auto&& wanted) {
    const T* dy = p.dy;
    const std::int64_t* index = p.indices;
    if (p.channels <= 3) {  // one after the other, each over some outputs: a loop over them would end at every pixel
      constexpr std::int64_t some = 128;
      for (std::int64_t left = p.outputs; left > 0; left -= some)
        for (std::int64_t i = 0, count = left < some ? left : some; i < p.channels; ++i) {
          const T* from = dy + (p.outputs - left) * p.channels + i;
          const std::int64_t* at = index + (p.outputs - left) * p.channels + i;
#pragma GCC unroll 4
          for (std::int64_t j = 0; j < count; ++j, from += p.channels, at += p.channels)
            if (wanted(*at)) p.dx[*at * p.channels + i] += *from;
        }
      return;
    }
    for (std::int64_t i = 0; i < p.outputs; ++i, dy += p.channels, index += p.channels)
#pragma GCC unroll 4
      for (std::int64_t c = 0; c < p.channels; ++c)
        if (wanted(index[c])) p.dx[index[c] * p.channels + c] += dy[c];
  };
  if (p.begin <= p.first && p.first + p.size <= p.end)
    add_where([](std::int64_t) { return true; });
  else
    add_where([&](std::int64_t index) { return p.begin <= index && index < p.end; });
  return true;
}

template <class T>
void spread_last(const SpreadLast<T>& given) {
  const SpreadLast<T> p = given;
  const Vec<T> nothing = in_register<T>(Vec<T>{});
  for_vectors<T>(p.size, [&](std::int64_t i, std::int64_t n) { store_upto(p.spread + i, nothing, n); });
  const auto window = [&](std::int64_t j) {
    const T count = p.row_count * p.column_count[j];
    for_vectors<T>(p.channels, [&](std::int64_t c, std::int64_t n) {
      const Vec<T> share = load_upto(p.dy + j * p.channels + c, n) / count;
      T* tap = p.spread + p.first[j] * p.channels + c;
      for (std::int64_t q = 0; q < p.columns[j]; ++q, tap += p.x_column)
        store_upto(tap, load_upto<T>(tap, n) + share, n);
    });
  };
  // Of sums the terms stand in the order of the taps: from the last window to the first.
  std::int64_t j = p.outputs - 1;
  for (; j >= p.end; --j) window(j);
  if (p.begin < p.end) {  // windows that are whole, tap by tap: neighbours would each wait for the one before
    const std::int64_t step = p.end - p.begin > 1 ? p.first[p.begin + 1] - p.first[p.begin] : 1;
    const T count = p.row_count * p.column_count[p.begin];
    const T* const dy = p.dy + p.begin * p.channels;
    for_vectors<T>((p.end - p.begin) * p.channels,
                   [&](std::int64_t i, std::int64_t n) { store_upto(p.shares + i, load_upto(dy + i, n) / count, n); });
    T* tap = p.spread + p.first[p.begin] * p.channels;
    for (std::int64_t q = 0; q < p.columns[p.begin]; ++q, tap += p.x_column) {
      if (step == 1)
        for_vectors<T>((p.end - p.begin) * p.channels, [&](std::int64_t i, std::int64_t n) {
          store_upto(tap + i, load_upto<T>(tap + i, n) + load_upto<T>(p.shares + i, n), n);
        });
      else
        for (std::int64_t i = 0; i < p.end - p.begin; ++i)
          for (std::int64_t c = 0; c < p.channels; ++c) tap[i * step * p.channels + c] += p.shares[i * p.channels + c];
    }
    j = p.begin - 1;
  }
  for (; j >= 0; --j) window(j);
}

}  // namespace
}  // namespace convnet
