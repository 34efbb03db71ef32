// Memory for outputs and for working storage.
#pragma once

#include <cstddef>
#include <cstdint>

namespace convnet {

// A block of at least `bytes`, 64-byte aligned; throws std::bad_alloc. Blocks given back are kept, up to a cap, for
// the next caller: a fresh multi-megabyte block costs a page fault every 4 KiB, often more than the convolution.
void* acquire_block(std::size_t bytes);
void release_block(void* block) noexcept;

// Working storage of the calling operation, given back at the end of the scope.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::size_t count) : data_(static_cast<T*>(acquire_block(count * sizeof(T)))) {}
  ~Scratch() { release_block(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T* data() const { return data_; }
  T& operator[](std::size_t i) const { return data_[i]; }

 private:
  T* data_;
};

// The calling thread's own working storage, kept from call to call so that it stays in its core's cache. The next
// request on the same thread may move or overwrite it.
void* thread_workspace_bytes(std::size_t bytes);
template <class T>
T* thread_workspace(std::size_t count) {
  return static_cast<T*>(thread_workspace_bytes(count * sizeof(T)));
}

// What a thread prepares in its workspace for one unit of work serves its next units too. A call takes a number of its
// own, and workspace_holds tells whether the calling thread's last answer was for the same call and thing. Threads
// prepare a thing twice rather than share it: fetching what another core has just written costs more.
std::uint64_t new_call();
bool workspace_holds(std::uint64_t call, std::int64_t thing);

// Asks for `count` values in their order, before they are read a line here and a line there.
template <class T>
void fetch(const T* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 64 / std::int64_t(sizeof(T))) __builtin_prefetch(from + i, 0, 2);
}

}  // namespace convnet
