#include "scores.h"

#include <cmath>

#include "distances.h"

namespace spector {

namespace {

/** Labels looked ahead: their vectors are on their way from memory meanwhile. */
constexpr size_t AHEAD = 4;

inline const float* vectorOf(const Pages& pages, uint32_t label) {
  return pages.vectors[label / pages.size] + (label % pages.size) * pages.dimensions;
}

inline double inOrder(const double* sums) {
  return sums[0] + sums[4] + (sums[1] + sums[5]) + (sums[2] + sums[6] + (sums[3] + sums[7]));
}

}  // namespace

// Built with -ffp-contract=off: a product is rounded before it is added.

FOR_EACH_CPU
void products(const Pages& pages, const double* query, const uint32_t* labels, size_t count, double* into) {
  const size_t dimensions = pages.dimensions;
  for (size_t at = 0; at < count; at++) {
    if (at + AHEAD < count) prefetch(vectorOf(pages, labels[at + AHEAD]), dimensions * sizeof(float));
    const float* vector = vectorOf(pages, labels[at]);
    double sums[8] = {};
    size_t i = 0;
    for (; i + 8 <= dimensions; i += 8) {
      for (size_t lane = 0; lane < 8; lane++) sums[lane] += query[i + lane] * static_cast<double>(vector[i + lane]);
    }
    for (; i < dimensions; i++) sums[0] += query[i] * static_cast<double>(vector[i]);
    into[at] = inOrder(sums);
  }
}

FOR_EACH_CPU
void squares(const Pages& pages, const double* query, const uint32_t* labels, size_t count, double* into) {
  const size_t dimensions = pages.dimensions;
  for (size_t at = 0; at < count; at++) {
    if (at + AHEAD < count) prefetch(vectorOf(pages, labels[at + AHEAD]), dimensions * sizeof(float));
    const float* vector = vectorOf(pages, labels[at]);
    double sums[8] = {};
    size_t i = 0;
    for (; i + 8 <= dimensions; i += 8) {
      for (size_t lane = 0; lane < 8; lane++) {
        const double difference = query[i + lane] - static_cast<double>(vector[i + lane]);
        sums[lane] += difference * difference;
      }
    }
    for (; i < dimensions; i++) {
      const double difference = query[i] - static_cast<double>(vector[i]);
      sums[0] += difference * difference;
    }
    into[at] = inOrder(sums);
  }
}

void scores(const Pages& pages, const double* query, double norm, const uint32_t* labels, size_t count, double* into) {
  if (pages.similarity == Similarity::EUCLIDEAN) {
    squares(pages, query, labels, count, into);
    for (size_t at = 0; at < count; at++) into[at] = 1 / (1 + std::sqrt(into[at]));
    return;
  }
  products(pages, query, labels, count, into);
  if (pages.similarity == Similarity::DOT) return;
  for (size_t at = 0; at < count; at++) {
    const double scale = norm * pages.norms[labels[at] / pages.size][labels[at] % pages.size];
    into[at] = scale > 0 ? into[at] / scale : 0;
  }
}

size_t best(const Pages& pages, const double* query, double norm, const uint32_t* labels, size_t count, size_t k,
            const Ids& ids, uint32_t* items, double* scoresOfItems) {
  std::vector<double> found(count);
  scores(pages, query, norm, labels, count, found.data());
  std::vector<Scored> all;
  all.reserve(count);
  for (size_t i = 0; i < count; i++) all.push_back({found[i], labels[i], 0});
  keepBest(all, k, ids);
  for (size_t i = 0; i < all.size(); i++) {
    items[i] = all[i].label;
    scoresOfItems[i] = all[i].score;
  }
  return all.size();
}

}  // namespace spector
