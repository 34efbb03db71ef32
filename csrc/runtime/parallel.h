// The one place that starts threads.
#pragma once

#include <cstdint>
#include <type_traits>

namespace convnet {

// Threads that a call may use: set_num_threads, else CONVNET_NUM_THREADS, OMP_NUM_THREADS, else the processors
// this process may run on, cut to the cgroup's quota.
int num_threads();
void set_num_threads(int n);

// Threads that parallel_for would share so many units and so much work among.
int threads_for(std::int64_t units, double work);

// "openmp" or "std::thread".
const char* threading();

namespace detail {
using Body = void (*)(void* closure, std::int64_t unit);
void run_units(std::int64_t units, double work, Body body, void* closure);
}  // namespace detail

// Calls body(unit) once for every unit in [0, units), from several threads; `work` is the whole call's cost in
// multiply-adds or a like measure. Each thread starts on a contiguous run of units and, when done, takes units from
// the end of another's run, so a thread whose core is stolen does not hold up the rest. Serial when the work is too
// small to share, inside another parallel region and in a forked child. The first exception is thrown again here.
template <class Function>
void parallel_for(std::int64_t units, double work, Function&& body) {
  using Closure = std::remove_reference_t<Function>;
  detail::run_units(
      units, work, [](void* closure, std::int64_t unit) { (*static_cast<Closure*>(closure))(unit); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// The same from this thread where the units are few: what one of them calls is shared instead.
template <class Function>
void share_out(std::int64_t units, double work, Function&& body) {
  if (units >= 2 * num_threads()) return parallel_for(units, work, body);
  for (std::int64_t unit = 0; unit < units; ++unit) body(unit);
}

}  // namespace convnet
