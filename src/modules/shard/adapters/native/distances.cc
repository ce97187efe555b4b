#include "distances.h"

#include <limits>

namespace spector {

namespace {

/** Overflowing sums of float32 may cancel to NaN, which has no place in an order. */
inline float ordered(float distance) {
  return distance == distance ? distance : std::numeric_limits<float>::infinity();
}

}  // namespace

// Every row has a multiple of 64 bytes, zeros behind the vector: no loop has a remainder.

FOR_EACH_CPU
void fixedPointDistances(const int16_t* query, const int16_t* vectors, size_t stride, const uint32_t* ids, size_t count,
                         float* into) {
  for (size_t at = 0; at < count; at++) {
    const int16_t* vector = vectors + ids[at] * stride;
    int32_t sum = 0;
    for (size_t block = 0; block < stride; block += 32) {
      for (size_t i = 0; i < 32; i++) sum += int32_t{query[block + i]} * int32_t{vector[block + i]};
    }
    into[at] = static_cast<float>(-sum);
  }
}

FOR_EACH_CPU
void innerProductDistances(const float* query, const float* vectors, size_t stride, const uint32_t* ids, size_t count,
                           float* into) {
  for (size_t at = 0; at < count; at++) {
    const float* vector = vectors + ids[at] * stride;
    float lanes[16] = {};
    for (size_t block = 0; block < stride; block += 16) {
      for (size_t i = 0; i < 16; i++) lanes[i] += query[block + i] * vector[block + i];
    }
    float sum = 0;
    for (size_t i = 0; i < 16; i++) sum += lanes[i];
    into[at] = ordered(-sum);
  }
}

FOR_EACH_CPU
void euclideanDistances(const float* query, const float* vectors, size_t stride, const uint32_t* ids, size_t count,
                        float* into) {
  for (size_t at = 0; at < count; at++) {
    const float* vector = vectors + ids[at] * stride;
    float lanes[16] = {};
    for (size_t block = 0; block < stride; block += 16) {
      for (size_t i = 0; i < 16; i++) {
        const float difference = query[block + i] - vector[block + i];
        lanes[i] += difference * difference;
      }
    }
    float sum = 0;
    for (size_t i = 0; i < 16; i++) sum += lanes[i];
    into[at] = ordered(sum);
  }
}

void FixedPoint::distances(const Element* query, const Element* vectors, size_t stride, const uint32_t* ids,
                           size_t count, float* into) {
  fixedPointDistances(query, vectors, stride, ids, count, into);
}

void InnerProduct::distances(const Element* query, const Element* vectors, size_t stride, const uint32_t* ids,
                             size_t count, float* into) {
  innerProductDistances(query, vectors, stride, ids, count, into);
}

void Euclidean::distances(const Element* query, const Element* vectors, size_t stride, const uint32_t* ids,
                          size_t count, float* into) {
  euclideanDistances(query, vectors, stride, ids, count, into);
}

}  // namespace spector
