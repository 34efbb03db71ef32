// Vectors of the width this translation unit is compiled for, in GCC's and Clang's vector extensions.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace convnet {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kRegisters = 16;
#else
constexpr int kVectorBytes = 16;
#if defined(__aarch64__)
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif
#endif

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  typedef float type __attribute__((vector_size(kVectorBytes)));
  typedef float loose __attribute__((vector_size(kVectorBytes), aligned(4), may_alias));
};
template <>
struct VecOf<double> {
  typedef double type __attribute__((vector_size(kVectorBytes)));
  typedef double loose __attribute__((vector_size(kVectorBytes), aligned(8), may_alias));
};

// Integers of a lane's size: comparisons yield them, and positions in a plane are counted in them.
template <class T>
struct IntOf;
template <>
struct IntOf<float> {
  typedef std::int32_t type __attribute__((vector_size(kVectorBytes)));
};
template <>
struct IntOf<double> {
  typedef std::int64_t type __attribute__((vector_size(kVectorBytes)));
};

template <class T>
using IntVec = typename IntOf<T>::type;

template <class T>
using Vec = typename VecOf<T>::type;

template <class T>
constexpr int kLanes = kVectorBytes / int(sizeof(T));

template <class T>
inline Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename VecOf<T>::loose*>(p);
}

template <class T>
inline void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename VecOf<T>::loose*>(p) = v;
}

// 0, 1, 2, ...
template <class T>
inline IntVec<T> lane_numbers() {
  IntVec<T> numbers = {};
#pragma GCC unroll 16
  for (int i = 0; i < kLanes<T>; ++i) numbers[i] = i;
  return numbers;
}

// Zero in all but the first `count` lanes.
template <class T>
inline Vec<T> keep_first(Vec<T> v, std::int64_t count) {
  return lane_numbers<T>() < static_cast<decltype(+IntVec<T>{}[0])>(count) ? v : Vec<T>{};
}

// The first `count` lanes, 0 < count <= lanes; the others are zero, and not read.
template <class T>
inline Vec<T> load_first(const T* p, std::int64_t count) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return _mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), p);
  else
    return _mm512_maskz_loadu_pd(__mmask8((1u << count) - 1), p);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return _mm256_maskload_ps(p, reinterpret_cast<__m256i>(lane_numbers<float>() < std::int32_t(count)));
  else
    return _mm256_maskload_pd(p, reinterpret_cast<__m256i>(lane_numbers<double>() < count));
#else
  T lanes[kLanes<T>] = {};
  __builtin_memcpy(lanes, p, std::size_t(count) * sizeof(T));
  return load(lanes);
#endif
}

template <class T>
inline void store_first(T* p, Vec<T> v, std::int64_t count) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    _mm512_mask_storeu_ps(p, __mmask16((1u << count) - 1), v);
  else
    _mm512_mask_storeu_pd(p, __mmask8((1u << count) - 1), v);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    _mm256_maskstore_ps(p, reinterpret_cast<__m256i>(lane_numbers<float>() < std::int32_t(count)), v);
  else
    _mm256_maskstore_pd(p, reinterpret_cast<__m256i>(lane_numbers<double>() < count), v);
#else
  T lanes[kLanes<T>];
  store(lanes, v);
  __builtin_memcpy(p, lanes, std::size_t(count) * sizeof(T));
#endif
}

// Lanes [begin, end) of p, within 0 and lanes; the others are zero, and not read.
template <class T>
#if !defined(__AVX2__)
__attribute__((noinline))
#endif
inline Vec<T> load_between(const T* p, int begin, int end) {
#if defined(__AVX512F__)
  const unsigned wanted = ((1u << end) - 1) & ~((1u << begin) - 1);
  if constexpr (sizeof(T) == 4)
    return _mm512_maskz_loadu_ps(__mmask16(wanted), p);
  else
    return _mm512_maskz_loadu_pd(__mmask8(wanted), p);
#elif defined(__AVX2__)
  const IntVec<T> lane = lane_numbers<T>();
  const __m256i wanted = reinterpret_cast<__m256i>((lane >= begin) & (lane < end));
  if constexpr (sizeof(T) == 4)
    return _mm256_maskload_ps(p, wanted);
  else
    return _mm256_maskload_pd(p, wanted);
#else
  T lanes[kLanes<T>] = {};
  for (int i = begin; i < end; ++i) lanes[i] = p[i];
  return load(lanes);
#endif
}

// The lane numbers 0, 1, ... of a vector of T, to be spelled out in a shuffle.
template <int... Lane>
struct LaneList {};
template <int N, int... Lane>
struct LanesUpTo : LanesUpTo<N - 1, N - 1, Lane...> {};
template <int... Lane>
struct LanesUpTo<0, Lane...> {
  using type = LaneList<Lane...>;
};
template <class T>
using Lanes = typename LanesUpTo<kLanes<T>>::type;

template <int First, class V, int... Lane>
inline V every_second(V a, V b, LaneList<Lane...>) {
  return __builtin_shufflevector(a, b, (2 * Lane + First)...);
}

// The lanes of a then b that stand at even (odd) places.
template <class T>
inline Vec<T> evens(Vec<T> a, Vec<T> b) {
  return every_second<0>(a, b, Lanes<T>{});
}
template <class T>
inline Vec<T> odds(Vec<T> a, Vec<T> b) {
  return every_second<1>(a, b, Lanes<T>{});
}

#if defined(__AVX2__)
// Of the lanes of a then b, those that are numbered.
template <class T>
inline Vec<T> picked(Vec<T> a, Vec<T> b, IntVec<T> number) {
#if !defined(__AVX512F__)
  IntVec<T> words = number;  // of 32 bits
  if constexpr (sizeof(T) == 8) words = 2 * number * 0x100000001 + 0x100000000;
  const auto words_of = [&](Vec<T> v) {
    return reinterpret_cast<Vec<T>>(
        _mm256_permutevar8x32_epi32(reinterpret_cast<__m256i>(v), reinterpret_cast<__m256i>(words)));
  };
  return number < kLanes<T> ? words_of(a) : words_of(b);
#else
  if constexpr (sizeof(T) == 4)
    return _mm512_permutex2var_ps(a, reinterpret_cast<__m512i>(number), b);
  else
    return _mm512_permutex2var_pd(a, reinterpret_cast<__m512i>(number), b);
#endif
}
#endif

// Lanes First, First + 1, ... of a and b in turn.
template <int First, class V, int... Lane>
inline V in_turn(V a, V b, LaneList<Lane...>) {
  return __builtin_shufflevector(a, b, (First + Lane / 2 + (Lane % 2 ? int(sizeof...(Lane)) : 0))...);
}

// Two halves of a vector.
template <class Half, int... Lane>
inline auto joined(Half low, Half high, LaneList<Lane...>) {
  return __builtin_shufflevector(low, high, Lane...);
}

// p[2·i] = v[i] for i < count; what stands between stays, and is not written.
template <class T>
inline void store_every_second(T* p, Vec<T> v, std::int64_t count) {
#if defined(__AVX2__)
  constexpr int L = kLanes<T>;
  const Vec<T> low = in_turn<0>(v, v, Lanes<T>{}), high = in_turn<L / 2>(v, v, Lanes<T>{});
#if defined(__AVX512F__)
  const std::uint64_t wanted = 0x55555555u & ((std::uint64_t{1} << 2 * count) - 1);
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, __mmask16(wanted), low);
    _mm512_mask_storeu_ps(p + L, __mmask16(wanted >> L), high);
  } else {
    _mm512_mask_storeu_pd(p, __mmask8(wanted), low);
    _mm512_mask_storeu_pd(p + L, __mmask8(wanted >> L), high);
  }
#else
  const IntVec<T> lane = lane_numbers<T>();
  const int end = int(2 * count);
  const __m256i first = reinterpret_cast<__m256i>(((lane & 1) == 0) & (lane < end));
  const __m256i second = reinterpret_cast<__m256i>(((lane & 1) == 0) & (lane < end - L));
  if constexpr (sizeof(T) == 4) {
    _mm256_maskstore_ps(p, first, low);
    _mm256_maskstore_ps(p + L, second, high);
  } else {
    _mm256_maskstore_pd(p, first, low);
    _mm256_maskstore_pd(p + L, second, high);
  }
#endif
#else
  T lanes[kLanes<T>];
  store(lanes, v);
  for (std::int64_t i = 0; i < count; ++i) p[2 * i] = lanes[i];
#endif
}

// The next lane of each of v; zero after the last one of every Count.
template <int Count, class V, int... Lane>
inline V next_lanes(V v, LaneList<Lane...>) {
  return __builtin_shufflevector(v, V{}, ((Lane + 1) % Count == 0 ? int(sizeof...(Lane)) : Lane + 1)...);
}

// One step of a transposition: swaps the odd blocks of D lanes of a with the even ones of b.
template <int D, class V, int... Lane>
inline void swap_blocks(V& a, V& b, LaneList<Lane...>) {
  constexpr int L = sizeof...(Lane);
  const V low = __builtin_shufflevector(a, b, (Lane & D ? L + Lane - D : Lane)...);
  b = __builtin_shufflevector(a, b, (Lane & D ? L + Lane : Lane + D)...);
  a = low;
}

// Rows become columns, of a square of P x P values or of several side by side in P vectors.
template <class T, int P = kLanes<T>, int D = 1>
inline void transpose_square(Vec<T>* v) {
  if constexpr (D < P) {
#pragma GCC unroll 16
    for (int i = 0; i < P; ++i)
      if ((i & D) == 0) swap_blocks<D>(v[i], v[i + D], Lanes<T>{});
    transpose_square<T, P, 2 * D>(v);
  }
}

// A few values, as they lie in memory
template <class T, int P>
struct FewOf {
  typedef T type __attribute__((vector_size(P * sizeof(T)), aligned(sizeof(T)), may_alias));
};
template <class T, int P>
using Few = typename FewOf<T, P>::type;

// Lanes First, First + 1, ... of v.
template <class FewLanes, int First, class V, int... Lane>
inline FewLanes few_lanes(V v, LaneList<Lane...>) {
  return __builtin_shufflevector(v, v, (First + Lane)...);
}

// N lanes, P of them at each of x, x + step, ...
template <class T, int P, int N>
inline Few<T, N> load_fews(const T* x, std::int64_t step) {
  if constexpr (N == P)
    return *reinterpret_cast<const Few<T, P>*>(x);
  else
    return joined(load_fews<T, P, N / 2>(x, step), load_fews<T, P, N / 2>(x + N / 2 / P * step, step),
                  typename LanesUpTo<N>::type{});
}

// b, the Part-th of some vectors, in those lanes that hold an S-th value of them all, else a.
template <int S, int Part, class V, int... Lane>
inline V join_every(V a, V b, LaneList<Lane...>) {
  constexpr int L = sizeof...(Lane);
  return __builtin_shufflevector(a, b, ((Lane + Part * L) % S == 0 ? L + Lane : Lane)...);
}

template <int S, class V, int... Lane>
inline V in_order(V v, LaneList<Lane...>) {
  return __builtin_shufflevector(v, v, (Lane * S % int(sizeof...(Lane)))...);
}

// Every third value of three vectors: they stand in different lanes.
template <class T>
inline Vec<T> load_thirds(const T* p) {
  constexpr int L = kLanes<T>;
  const Lanes<T> lanes;
  return in_order<3>(join_every<3, 2>(join_every<3, 1>(load(p), load(p + L), lanes), load(p + 2 * L), lanes), lanes);
}

// Every fourth of `size` values, of four vectors at most; what is past them is zero, and not read.
template <class T>
inline Vec<T> load_fourths(const T* p, std::int64_t size) {
  constexpr int L = kLanes<T>;
  const auto part = [&](int i) {
    const std::int64_t left = size - i * L;
    return left >= L ? load(p + i * L) : left > 0 ? load_first(p + i * L, left) : Vec<T>{};
  };
  return evens<T>(evens<T>(part(0), part(1)), evens<T>(part(2), part(3)));
}

// Runs body(i, load, store) over [0, count) a vector at a time, the last one partial.
template <class T, class Body>
inline void for_vectors(std::int64_t count, Body&& body) {
  std::int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) body(i, std::int64_t{kLanes<T>});
  if (i < count) body(i, count - i);
}

template <class T>
inline Vec<T> load_upto(const T* p, std::int64_t count) {
  return count == kLanes<T> ? load(p) : load_first(p, count);
}

template <class T>
inline void store_upto(T* p, Vec<T> v, std::int64_t count) {
  if (count == kLanes<T>)
    store(p, v);
  else
    store_first(p, v, count);
}

// A value with several uses, loaded once: the compiler would rather load it again at each.
template <class T>
inline Vec<T> in_register(Vec<T> v) {
#if defined(__x86_64__)
  asm("" : "+v"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
  return v;
}

// An address that others are reckoned from rather than each kept.
template <class P>
inline void in_one_register(P& p) {
  asm("" : "+r"(p));
}

template <class T>
inline Vec<T> square_root(Vec<T> v) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4)
    return _mm512_maskz_sqrt_ps(__mmask16(-1), v);  // the plain one makes GCC 12 warn of its own header
  else
    return _mm512_maskz_sqrt_pd(__mmask8(-1), v);
#elif defined(__AVX2__)
  if constexpr (sizeof(T) == 4)
    return _mm256_sqrt_ps(v);
  else
    return _mm256_sqrt_pd(v);
#else
  T lanes[kLanes<T>];
  store(lanes, v);
  for (int i = 0; i < kLanes<T>; ++i)
    lanes[i] = sizeof(T) == 4 ? T(__builtin_sqrtf(float(lanes[i]))) : T(__builtin_sqrt(lanes[i]));
  return load(lanes);
#endif
}

// Zero where v <= 0; NaN stays.
template <class T>
inline Vec<T> positive_part(Vec<T> v) {
  return v <= 0 ? Vec<T>{} : v;
}

}  // namespace
}  // namespace convnet
