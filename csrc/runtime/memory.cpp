#include "memory.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace convnet {
namespace {

// A block begins with a header that holds its size class and keeps the alignment of what follows.
constexpr std::size_t kHeader = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kLarge = std::size_t{512} << 10;  // from here on a block gets huge pages of its own
constexpr std::size_t kMostKept = std::size_t{256} << 20;
constexpr int kClasses = 4 * 48;

// Four classes to an octave, so at most a fifth of a block is unused.
struct SizeClass {
  int index;
  std::size_t bytes;
};

SizeClass size_class(std::size_t bytes) {
  std::size_t octave = 256;
  for (int e = 0; e < kClasses / 4; ++e, octave *= 2)
    for (std::size_t quarter = 1; quarter <= 4; ++quarter)
      if (const std::size_t size = octave + quarter * (octave / 4); bytes <= size)
        return {4 * e + int(quarter) - 1, size};
  throw std::bad_alloc();
}

struct Cache {
  std::mutex lock;
  std::array<std::vector<void*>, kClasses> blocks;
  std::size_t kept = 0;
};

// Never destroyed: arrays may outlive the module.
Cache& cache() {
  static Cache* const cache = new Cache;
  return *cache;
}

}  // namespace

void* acquire_block(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::ptrdiff_t>::max() - kHugePage) throw std::bad_alloc();
  const bool large = bytes >= kLarge;
  const SizeClass wanted = size_class(kHeader + (large ? std::max(bytes, kHugePage - kHeader) : bytes));
  {
    std::lock_guard guard(cache().lock);
    auto& free_blocks = cache().blocks[std::size_t(wanted.index)];
    if (!free_blocks.empty()) {
      void* block = free_blocks.back();
      free_blocks.pop_back();
      cache().kept -= wanted.bytes;
      return block;
    }
  }
  const std::size_t alignment = large ? kHugePage : 64;
  const std::size_t total = (wanted.bytes + alignment - 1) / alignment * alignment;
  void* base = std::aligned_alloc(alignment, total);
  if (!base) throw std::bad_alloc();
#ifdef __linux__
  if (large) madvise(base, total, MADV_HUGEPAGE);
#endif
  *static_cast<int*>(base) = wanted.index;
  return static_cast<char*>(base) + kHeader;
}

void release_block(void* block) noexcept {
  if (!block) return;
  void* base = static_cast<char*>(block) - kHeader;
  const int index = *static_cast<int*>(base);
  const std::size_t octave = std::size_t{256} << (index / 4);
  const std::size_t bytes = octave + std::size_t(index % 4 + 1) * (octave / 4);
  {
    std::lock_guard guard(cache().lock);
    if (cache().kept + bytes <= kMostKept) {
      try {
        cache().blocks[std::size_t(index)].push_back(block);
        cache().kept += bytes;
        return;
      } catch (const std::bad_alloc&) {
      }
    }
  }
  std::free(base);
}

std::uint64_t new_call() {
  static std::atomic<std::uint64_t> calls{0};
  return ++calls;
}

bool workspace_holds(std::uint64_t call, std::int64_t thing) {
  thread_local std::uint64_t held_call = 0;
  thread_local std::int64_t held_thing = 0;
  const bool holds = held_call == call && held_thing == thing;
  held_call = call;
  held_thing = thing;
  return holds;
}

void* thread_workspace_bytes(std::size_t bytes) {
  struct Workspace {
    void* block = nullptr;
    std::size_t bytes = 0;
    ~Workspace() { release_block(block); }
  };
  thread_local Workspace workspace;
  if (bytes > workspace.bytes) {
    release_block(workspace.block);
    workspace.block = nullptr;
    workspace.bytes = 0;
    workspace.block = acquire_block(bytes);
    workspace.bytes = bytes;
  }
  return workspace.block;
}

}  // namespace convnet
