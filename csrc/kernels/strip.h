// Rows of a plane on their way into a strip: reduced to one row each where asked, and split by column phase.
#pragma once

#include <type_traits>

#include "elementwise.h"
#include "kernels.h"
#include "vec.h"

namespace convnet {
namespace {

constexpr int kAhead = 4096;  // bytes: planes follow one another, but the processor's own prefetch stops at each page

struct Only {
  template <class T>
  static Vec<T> of(Vec<T>, Vec<T> b) {
    return b;
  }
};

struct Sum {
  template <class V>
  static V lanes(V a, V b) {
    return a + b;
  }
  template <class T>
  static Vec<T> of(Vec<T> a, Vec<T> b) {
    return lanes(a, b);
  }
};

// The greater; NaN wins.
struct Greater {
  template <class V>
  static V lanes(V a, V b) {
    const V greater = b > a ? b : a;
    return b != b ? b : greater;
  }
  template <class T>
  static Vec<T> of(Vec<T> a, Vec<T> b) {
    return lanes(a, b);
  }
};

template <class T, class Reduce>
inline Vec<T> reduce(const T* x, std::int64_t step, std::int64_t rows, std::int64_t count) {
  Vec<T> value = load_upto(x, count);
  for (std::int64_t r = 1; r < rows; ++r) value = Reduce::template of<T>(value, load_upto(x + r * step, count));
  return value;
}

// One row of pixels: the even ones to one place, the odd ones to another, either of which may be null.
template <class T, class Column>
inline void split_pixels(std::int64_t columns, std::int64_t pixel, T* even, T* odd, Column&& column) {
  constexpr std::int64_t L = kLanes<T>;
  std::int64_t j = 0;
#if defined(__AVX2__)
  if (const std::int64_t some = L / pixel; some > 1) {  // that fill most of a vector
    IntVec<T> evens = lane_numbers<T>();
    for (std::int64_t i = pixel; i < L; i += pixel)
      evens += lane_numbers<T>() < LaneInt<T>(i) ? IntVec<T>{} : IntVec<T>{} + LaneInt<T>(pixel);
    const IntVec<T> odds = evens + LaneInt<T>(pixel);
    // What a whole vector writes too much is written again: the pixels after it.
    for (; columns - j >= 2 * some + 2 && (columns - j) * pixel >= 2 * L; j += 2 * some) {
      const Vec<T> a = column(j * pixel, L), b = column(j * pixel + L, L);
      if (even) store(even + j / 2 * pixel, picked<T>(a, b, evens));
      if (odd) store(odd + j / 2 * pixel, picked<T>(a, b, odds));
    }
    for (; j < columns; j += 2 * some) {
      const std::int64_t pixels = columns - j < 2 * some ? columns - j : 2 * some, rest = (columns - j) * pixel;
      const Vec<T> a = column(j * pixel, rest < L ? rest : L);
      const Vec<T> b = rest > L ? column(j * pixel + L, rest < 2 * L ? rest - L : L) : Vec<T>{};
      if (even) store_first(even + j / 2 * pixel, picked<T>(a, b, evens), (pixels + 1) / 2 * pixel);
      if (odd && pixels > 1) store_first(odd + j / 2 * pixel, picked<T>(a, b, odds), pixels / 2 * pixel);
    }
    return;
  }
#endif
  for (; pixel <= L && (columns - j) * pixel >= 3 * L; j += 2) {
    if (even) store(even + j / 2 * pixel, column(j * pixel, L));
    if (odd) store(odd + j / 2 * pixel, column((j + 1) * pixel, L));
  }
  for (; j < columns; ++j)
    if (T* const to = j % 2 ? odd : even)
      for_vectors<T>(pixel, [&](std::int64_t c, std::int64_t n) {
        store_upto(to + j / 2 * pixel + c, column(j * pixel + c, n), n);
      });
}

template <class T>
void repeat(const T* x, std::int64_t count, std::int64_t times, T* y) {
  std::int64_t done = 0;
#if defined(__AVX2__)
  constexpr std::int64_t L = kLanes<T>;
  if (count >= L) {
    for (std::int64_t first = 0; first < times * L; first += L) {
      IntVec<T> number = IntVec<T>{} + LaneInt<T>(first / times);
      for (std::int64_t i = times - first % times; i < L; i += times)
        number += lane_numbers<T>() < LaneInt<T>(i) ? IntVec<T>{} : IntVec<T>{} + LaneInt<T>(1);
      for (std::int64_t i = 0; i < count; i += L) {  // the last vector overlaps the one before
        const std::int64_t at = i + L <= count ? i : count - L;
        const Vec<T> v = load(x + at);
        store(y + at * times + first, picked<T>(v, v, number));
      }
    }
    done = count;
  }
#endif
  for (; done < count; ++done)
    for (std::int64_t i = 0; i < times; ++i) y[done * times + i] = x[done];
}

template <class T, class Reduce>
void split_rows(const RowSplit<T>& s) {
  constexpr std::int64_t L = kLanes<T>;
  const auto for_rows = [&](auto&& body) {
    for (std::int64_t i = 0; i < s.rows; ++i) {
      const T* x = s.x + (s.first ? s.first[i] : i) * s.x_row;
      const std::int64_t rows = s.count ? s.count[i] : 1, step = s.reduced_row;
      body(i * s.y_row, [&](std::int64_t j, std::int64_t n) {
        __builtin_prefetch(reinterpret_cast<const char*>(x + j) + kAhead);
        return reduce<T, Reduce>(x + j, step, rows, n);
      });
    }
  };
  if (s.step == 1) {
    for_rows([&](std::int64_t at, auto&& column) {
      T* const y = s.phase[0] + at;
      for_vectors<T>(s.columns * s.pixel, [&](std::int64_t j, std::int64_t n) { store_upto(y + j, column(j, n), n); });
    });
  } else if (s.step == 2 && s.pixel > 1) {
    for_rows([&](std::int64_t at, auto&& column) {
      split_pixels<T>(s.columns, s.pixel, s.phase[0] ? s.phase[0] + at : nullptr,
                      s.phase[1] ? s.phase[1] + at : nullptr, column);
    });
  } else if (s.step == 2) {
    for_rows([&](std::int64_t at, auto&& column) {
      T* const even = s.phase[0] ? s.phase[0] + at : nullptr;
      T* const odd = s.phase[1] ? s.phase[1] + at : nullptr;
      std::int64_t j = 0;
      for (; j + 2 * L <= s.columns; j += 2 * L) {
        const Vec<T> a = column(j, L), b = column(j + L, L);
        if (even) store(even + j / 2, evens<T>(a, b));
        if (odd) store(odd + j / 2, odds<T>(a, b));
      }
      if (const std::int64_t n = s.columns - j; n > 0) {
        const Vec<T> a = column(j, n < L ? n : L), b = n > L ? column(j + L, n - L) : Vec<T>{};
        if (even) store_first(even + j / 2, evens<T>(a, b), (n + 1) / 2);
        if (odd && n > 1) store_first(odd + j / 2, odds<T>(a, b), n / 2);
      }
    });
  } else if (s.pixel > 1) {
    for_rows([&](std::int64_t at, auto&& column) {
      T* const y = s.phase[0] + at;
      for (std::int64_t j = 0; j < s.columns; ++j)
        for_vectors<T>(s.pixel, [&](std::int64_t c, std::int64_t n) {
          store_upto(y + j * s.pixel + c, column(j * s.step * s.pixel + c, n), n);
        });
    });
  } else if constexpr (std::is_same_v<Reduce, Only>) {
    constexpr std::int64_t line = 64 / sizeof(T);
    for (std::int64_t i = 0; i < s.rows; ++i) {
      const T* const x = s.x + i * s.x_row;
      for (std::int64_t j = 0; s.fetch && j < s.columns * s.step; j += line)
        __builtin_prefetch(reinterpret_cast<const char*>(x + j) + kAhead);
      gather_row(x, s.columns, s.step, s.phase[0] + i * s.y_row);
    }
  } else {
    for_rows([&](std::int64_t at, auto&& column) {
      T* y = s.phase[0] + at;
      std::int64_t wanted = 0;  // the next column of interest
      for_vectors<T>((s.columns - 1) * s.step + 1, [&](std::int64_t j, std::int64_t n) {
        T lanes[L];
        store(lanes, column(j, n));
        for (; wanted < j + n; wanted += s.step) *y++ = lanes[wanted - j];
      });
    });
  }
}

}  // namespace
}  // namespace convnet
