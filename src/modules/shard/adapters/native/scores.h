// Similarities in double precision, as VectorPages defines them: the same operations in the same order, so that this and
// the JavaScript give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "ids.h"

namespace spector {

enum class Similarity : uint32_t { COSINE = 1, DOT = 2, EUCLIDEAN = 3 };

/** The pages of a collection; their memory belongs to the caller and stays where it is. */
struct Pages {
  Similarity similarity;
  size_t dimensions;
  /** Vectors a page. */
  size_t size;
  std::vector<const float*> vectors;
  std::vector<const double*> norms;
};

/** Scores of `count` labels, each of which has a vector in the pages. */
void scores(const Pages& pages, const double* query, double norm, const uint32_t* labels, size_t count, double* into);

/**
 * Writes the `k` best of `count` labels by score, ties by id, best first; there is room for as many.
 * @return how many there are
 */
size_t best(const Pages& pages, const double* query, double norm, const uint32_t* labels, size_t count, size_t k,
            const Ids& ids, uint32_t* items, double* scoresOfItems);

}  // namespace spector
