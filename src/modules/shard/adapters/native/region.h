// Memory for rows, which grows without copying where the system can.
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

/** Aligned to 64 bytes at least. Rows that were never written take no memory worth mentioning; they read as zeros. */
template <typename T>
class Region {
 public:
  Region() = default;
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region() { give(memory_, bytes_); }

  T* data() { return static_cast<T*>(memory_); }
  const T* data() const { return static_cast<const T*>(memory_); }

  /** Makes room for `count` elements and keeps those there are. Throws std::bad_alloc. */
  void reserve(size_t count) {
    const size_t step = count * sizeof(T) < HUGE ? PAGE : HUGE;
    const size_t wanted = (count * sizeof(T) + step - 1) / step * step;
    if (wanted <= bytes_) return;
    memory_ = moved(wanted);
    bytes_ = wanted;
  }

 private:
  static constexpr size_t PAGE = 4096;
  /**
   * A walk touches hundreds of rows far apart: with small pages each costs a walk of the page table, too. From this size
   * on a region is aligned to, and made of, huge pages.
   */
  static constexpr size_t HUGE = 2u << 20;

#ifdef __linux__
  void* moved(size_t wanted) {
    if (wanted < HUGE) {
      void* memory = map(wanted, PROT_READ | PROT_WRITE);
      copyInto(memory);
      return memory;
    }
    // Address space with an aligned start in it; what is left over on both sides goes back.
    char* start = static_cast<char*>(map(wanted + HUGE, PROT_NONE));
    char* aligned = start + (HUGE - reinterpret_cast<uintptr_t>(start) % HUGE) % HUGE;
    give(start, static_cast<size_t>(aligned - start));
    give(aligned + wanted, static_cast<size_t>(start + HUGE - aligned));
    if (bytes_ >= HUGE) {
      if (mremap(memory_, bytes_, wanted, MREMAP_MAYMOVE | MREMAP_FIXED, aligned) == MAP_FAILED) throw std::bad_alloc();
      madvise(aligned, wanted, MADV_HUGEPAGE);
    } else {
      if (mprotect(aligned, wanted, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
      madvise(aligned, wanted, MADV_HUGEPAGE);
      copyInto(aligned);
    }
    return aligned;
  }

  static void* map(size_t bytes, int protection) {
    void* memory = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    return memory;
  }

  static void give(void* memory, size_t bytes) {
    if (bytes > 0) munmap(memory, bytes);
  }
#else
  void* moved(size_t wanted) {
    void* memory = std::aligned_alloc(PAGE, wanted);
    if (memory == nullptr) throw std::bad_alloc();
    std::memset(memory, 0, wanted);
    copyInto(memory);
    return memory;
  }

  static void give(void* memory, size_t) { std::free(memory); }
#endif

  void copyInto(void* memory) {
    if (memory_ == nullptr) return;
    std::memcpy(memory, memory_, bytes_);
    give(memory_, bytes_);
  }

  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace spector
