#include "parallel.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

#ifdef CONVNET_OPENMP
#include <omp.h>
#else
#include <condition_variable>
#endif

namespace convnet {
namespace {

// Below this many multiply-adds starting threads costs more than it saves (measured: a region costs 2-5 us).
constexpr double kSerialWork = 4e5;
constexpr int kMostThreads = 1024;

int from_environment(const char* name) {
  const char* text = std::getenv(name);
  return text ? std::atoi(text) : 0;
}

// cgroup v2's "max 100000" or "50000 100000", v1's two files: the quota in whole processors, 0 if there is none.
int cgroup_quota() {
  auto read = [](const char* path, const char* format, long* a, long* b) {
    std::FILE* file = std::fopen(path, "r");
    if (!file) return 0;
    const int got = b ? std::fscanf(file, format, a, b) : std::fscanf(file, format, a);
    std::fclose(file);
    return got;
  };
  long quota = 0, period = 0;
  const bool found = read("/sys/fs/cgroup/cpu.max", "%ld %ld", &quota, &period) == 2 ||
                     (read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "%ld", &quota, nullptr) == 1 &&
                      read("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "%ld", &period, nullptr) == 1);
  return found && quota > 0 && period > 0 ? int(std::max(1L, (quota + period - 1) / period)) : 0;
}

int default_threads() {
  for (const char* name : {"CONVNET_NUM_THREADS", "OMP_NUM_THREADS"})
    if (int n = from_environment(name); n > 0) return std::min(n, kMostThreads);
  int n = int(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) n = CPU_COUNT(&set);
#endif
  if (int quota = cgroup_quota(); quota > 0) n = std::min(n, quota);
  return std::clamp(n, 1, kMostThreads);
}

std::atomic<int> chosen_threads{0};
thread_local bool in_region = false;
// OpenMP's and our own threads do not survive fork; the child runs serially.
std::atomic<bool> forked{false};
[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, [] { forked = true; });

// The units of one thread, [begin, end): the owner takes from the front, others from the back.
struct alignas(64) Run {
  std::mutex lock;
  std::int64_t begin = 0, end = 0;

  std::int64_t take(bool front) {
    std::lock_guard guard(lock);
    if (begin >= end) return -1;
    return front ? begin++ : --end;
  }
};

using Clock = std::chrono::steady_clock;

// Where another process takes a core, the end of a region waits for a thread that is not running: a time slice of the
// scheduler, many times the work. After such a wait calls stay on their own thread for a while.
constexpr auto kStall = std::chrono::milliseconds(4);
constexpr auto kAlone = std::chrono::milliseconds(10);
std::atomic<Clock::rep> alone_until{0};

struct Region {
  std::vector<Run> runs;
  detail::Body body;
  void* closure;
  std::mutex lock;
  std::exception_ptr error;
  std::atomic<bool> failed{false};
  Clock::time_point started = Clock::now(), caller_done = started;

  Region(int threads, std::int64_t units, detail::Body unit_body, void* unit_closure)
      : runs(std::size_t(threads)), body(unit_body), closure(unit_closure) {
    for (int t = 0; t < threads; ++t) {
      runs[std::size_t(t)].begin = units * t / threads;
      runs[std::size_t(t)].end = units * (t + 1) / threads;
    }
  }

  void work(int thread) {
    in_region = true;
    try {
      for (std::size_t i = 0; i < runs.size(); ++i) {
        Run& run = runs[(std::size_t(thread) + i) % runs.size()];
        for (std::int64_t unit; !failed && (unit = run.take(i == 0)) >= 0;) body(closure, unit);
      }
    } catch (...) {
      std::lock_guard guard(lock);
      if (!error) error = std::current_exception();
      failed = true;
    }
    in_region = false;
    if (thread == 0) caller_done = Clock::now();
  }

  // At the end, on the caller's thread.
  void notice_stall() const {
    const Clock::time_point now = Clock::now();
    if (now - caller_done > kStall && now - caller_done > 3 * (caller_done - started))
      alone_until = (now + kAlone).time_since_epoch().count();
  }
};

#ifdef CONVNET_OPENMP

void run_region(Region& region, int threads) {
#pragma omp parallel num_threads(threads)
  region.work(omp_get_thread_num() % int(region.runs.size()));
}

bool already_parallel() { return omp_in_parallel() != 0; }

#else

// Threads that wait for a region, do their share and wait again. One region at a time: a second caller meanwhile
// runs serially rather than queue.
class Pool {
 public:
  bool run(Region& region, int threads) {
    std::unique_lock owner(owned_, std::try_to_lock);
    if (!owner) return false;
    {
      std::lock_guard guard(lock_);
      while (int(threads_.size()) < threads - 1) {
        threads_.emplace_back([this, index = int(threads_.size()) + 1] { serve(index); });
      }
      region_ = &region;
      helpers_ = pending_ = threads - 1;
      ++generation_;
    }
    wake_.notify_all();
    region.work(0);
    std::unique_lock guard(lock_);
    done_.wait(guard, [this] { return pending_ == 0; });
    return true;
  }

 private:
  void serve(int index) {
    std::uint64_t seen = 0;
    std::unique_lock guard(lock_);
    for (;;) {
      wake_.wait(guard, [&] { return generation_ != seen && index <= helpers_; });
      seen = generation_;
      Region* region = region_;
      guard.unlock();
      region->work(index);
      guard.lock();
      if (--pending_ == 0) done_.notify_one();
    }
  }

  std::mutex owned_, lock_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  Region* region_ = nullptr;
  int helpers_ = 0, pending_ = 0;
  std::uint64_t generation_ = 0;
};

void run_region(Region& region, int threads) {
  static Pool* pool = new Pool;  // never destroyed: a forked child or late caller may still reach it
  if (!pool->run(region, threads)) {
    for (int t = 0; t < threads; ++t) region.work(t);
  }
}

bool already_parallel() { return false; }

#endif

}  // namespace

int num_threads() {
  int n = chosen_threads.load(std::memory_order_relaxed);
  if (n == 0) {
    static const int by_default = default_threads();
    n = by_default;
  }
  return n;
}

void set_num_threads(int n) {
  if (n < 1 || n > kMostThreads)
    throw std::invalid_argument("set_num_threads: expected 1 to " + std::to_string(kMostThreads) + " threads, got " +
                                std::to_string(n));
  chosen_threads = n;
}

int threads_for(std::int64_t units, double work) {
  if (work < kSerialWork || in_region || forked || already_parallel()) return 1;
  return int(std::clamp<std::int64_t>(units, 1, num_threads()));
}

const char* threading() {
#ifdef CONVNET_OPENMP
  return "openmp";
#else
  return "std::thread";
#endif
}

void detail::run_units(std::int64_t units, double work, Body body, void* closure) {
  const int threads = threads_for(units, work);
  if (threads == 1 || Clock::now().time_since_epoch().count() < alone_until) {
    for (std::int64_t unit = 0; unit < units; ++unit) body(closure, unit);
    return;
  }
  Region region(threads, units, body, closure);
  run_region(region, threads);
  region.notice_stall();
  if (region.error) std::rethrow_exception(region.error);
}

}  // namespace convnet
