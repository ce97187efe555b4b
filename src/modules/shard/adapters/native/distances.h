// How far two vectors of a graph are apart: smaller is closer, never NaN.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

// One build serves every CPU of its family: the loader takes the widest version the CPU runs.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_CPU __attribute__((target_clones("arch=icelake-server", "arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_CPU
#endif

namespace spector {

inline size_t roundUp(size_t value, size_t step) { return (value + step - 1) / step * step; }

// A call of a function that does nothing but prefetch is dropped as one without an effect.
#define ALWAYS_INLINE __attribute__((always_inline)) inline

/** Fetches a whole vector into the cache while something else is computed. */
ALWAYS_INLINE void prefetch(const void* address, size_t bytes) {
  const char* at = static_cast<const char*>(address);
  for (size_t line = 0; line < bytes; line += 64) __builtin_prefetch(at + line);
}

/**
 * Unit vectors as 16-bit fixed point, for cosine: half the memory of float32 and half the time to read it. A component is
 * rounded by at most 2^-16, which moves a similarity by about 1e-5. By Cauchy-Schwarz no partial sum of products of two
 * such vectors leaves 32 bits.
 */
struct FixedPoint {
  using Element = int16_t;
  static constexpr uint32_t ID = 1;
  static constexpr float ONE = 32766.0f;

  static void encode(const float* vector, double norm, size_t dimensions, Element* into) {
    const double scale = norm > 0 ? ONE / norm : 0;
    for (size_t i = 0; i < dimensions; i++) into[i] = static_cast<Element>(std::lrint(vector[i] * scale));
  }
  static void distances(const Element* query, const Element* vectors, size_t stride, const uint32_t* ids, size_t count,
                        float* into);
};

/** The float32 numbers themselves, by inner product. */
struct InnerProduct {
  using Element = float;
  static constexpr uint32_t ID = 2;

  static void encode(const float* vector, double, size_t dimensions, Element* into) {
    std::memcpy(into, vector, dimensions * sizeof(Element));
  }
  static void distances(const Element* query, const Element* vectors, size_t stride, const uint32_t* ids, size_t count,
                        float* into);
};

/** The float32 numbers themselves, by squared Euclidean distance. */
struct Euclidean {
  using Element = float;
  static constexpr uint32_t ID = 3;

  static void encode(const float* vector, double, size_t dimensions, Element* into) {
    std::memcpy(into, vector, dimensions * sizeof(Element));
  }
  static void distances(const Element* query, const Element* vectors, size_t stride, const uint32_t* ids, size_t count,
                        float* into);
};

}  // namespace spector
