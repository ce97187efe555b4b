// Memory for rows of 64 bytes and multiples, which grows without copying where the system can.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace spector {

/** Rows that were never written take no memory; they read as zeros. */
template <typename T>
class Region {
 public:
  Region() = default;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region() { release(); }

  T* data() { return static_cast<T*>(memory_); }
  const T* data() const { return static_cast<const T*>(memory_); }

  /** Makes room for `count` elements and keeps those there are. Throws std::bad_alloc. */
  void reserve(size_t count) {
    const size_t wanted = (count * sizeof(T) + PAGE - 1) / PAGE * PAGE;
    if (wanted <= bytes_) return;
#ifdef __linux__
    void* moved = memory_ == nullptr
                      ? mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                      : mremap(memory_, bytes_, wanted, MREMAP_MAYMOVE);
    if (moved == MAP_FAILED) throw std::bad_alloc();
    // A walk touches hundreds of rows far apart: with small pages each costs a walk of the page table, too.
    if (wanted >= HUGE_FROM) madvise(moved, wanted, MADV_HUGEPAGE);
#else
    void* moved = std::aligned_alloc(PAGE, wanted);
    if (moved == nullptr) throw std::bad_alloc();
    if (memory_ != nullptr) std::memcpy(moved, memory_, bytes_);
    std::memset(static_cast<char*>(moved) + bytes_, 0, wanted - bytes_);
    std::free(memory_);
#endif
    memory_ = moved;
    bytes_ = wanted;
  }

 private:
  static constexpr size_t PAGE = 4096;
  /** Below this a huge page would mostly be waste. */
  static constexpr size_t HUGE_FROM = 8u << 20;

  void release() {
    if (memory_ == nullptr) return;
#ifdef __linux__
    munmap(memory_, bytes_);
#else
    std::free(memory_);
#endif
    memory_ = nullptr;
  }

  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace spector
