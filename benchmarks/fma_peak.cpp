// The processor's peak of multiply-adds: as many independent sums as hide their latency, all in registers. Compiled by
// test_algorithms.py with -DWIDTH (bytes of a vector) and the instruction set's flags.
#include <chrono>

typedef float Vec __attribute__((vector_size(WIDTH)));
constexpr int kSums = WIDTH == 64 ? 24 : 12;

// GFLOP/s of one thread, over some `milliseconds`.
extern "C" double fma_peak(double milliseconds) {
  using Clock = std::chrono::steady_clock;
  Vec sum[kSums] = {}, a = {}, b = {};
  const auto start = Clock::now();
  double seconds = 0;
  long rounds = 0;
  while (seconds * 1e3 < milliseconds) {
    for (int i = 0; i < 20000; ++i) {
      asm volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 24
      for (int j = 0; j < kSums; ++j) {
        sum[j] += a * b;
        asm volatile("" : "+v"(sum[j]));
      }
    }
    rounds += 20000;
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return 2.0 * (WIDTH / sizeof(float)) * kSums * double(rounds) / seconds / 1e9;
}
