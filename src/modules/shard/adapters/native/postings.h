// Sums of posting lists, as KeywordScorer defines them: the same operations in the same order, so that this and the
// JavaScript give the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "ids.h"

namespace spector {

/** The pages of an arena of posting lists (PostingLists); their memory belongs to the caller. */
struct PostingPages {
  std::vector<const uint32_t*> pages;
  std::vector<size_t> slots;
};

/** One list: the address of its first chunk and its postings. */
struct Chain {
  uint32_t head;
  uint32_t count;
};

/** The documents of a keyword index by ordinal. */
struct Texts {
  const uint32_t* lengths;
  const uint32_t* labels;
  size_t count;
};

/** A set of labels as bits; all of them when `words` is null. */
struct Allowed {
  const uint32_t* words;
  size_t count;
};

/** What a gathering found: window after window by ordinal ascending, within one as the lists bring it. */
struct Gathered {
  std::vector<uint32_t> ordinals;
  std::vector<double> sums;
  /** Documents met, those not kept included. */
  size_t matched = 0;
};

/** Columns of the best documents, best first. */
struct RankedTexts {
  uint32_t* labels;
  double* scores;
  /** Terms in each text. */
  uint32_t* lengths;
  /** Row-major: document x term. */
  uint32_t* frequencies;
  size_t terms;
  /** By list: its term. */
  const uint32_t* termOf;
};

/** How many were ranked, and the score that no other exceeds. */
struct Best {
  size_t count;
  double leftOut;
};

/** Sums lists; keeps its working memory from one call to the next. */
class PostingSums {
 public:
  PostingPages pages;

  /**
   * Adds what each list gives to its documents, in the order of the lists, and keeps those whose sum is within `rest` of
   * the k-th best.
   * @throws std::exception when a list leaves the pages or names a document there is not
   */
  const Gathered& gather(const Chain* chains, const double* weights, size_t lists, double average, const Texts& texts,
                         const Allowed& allowed, size_t k, double rest) {
    return gatherFrom(-std::numeric_limits<double>::infinity(), chains, weights, lists, average, texts, allowed, k, rest);
  }

  /**
   * Gathers and writes the `k` best by score, ties by id, of those that score `least` or more, with all an answer says of
   * them; there is room for as many as the lists have postings, if that is less.
   * @return how many there are, and the score that no other exceeds (−∞ when there is none)
   * @throws std::exception as `gather`, and when two of equal score cannot be told apart by the ids
   */
  Best rank(const Chain* chains, const double* weights, size_t lists, double average, const Texts& texts,
            const Allowed& allowed, size_t k, double least, const Ids& ids, const RankedTexts& into);

  /** Frequencies of ordinals (ascending) in each list, list by list; 0 where it lacks one. */
  void frequencies(const Chain* chains, size_t lists, const uint32_t* ordinals, size_t count, uint32_t* into) const;

 private:
  /** As `gather`; of those below `least` none is kept. */
  const Gathered& gatherFrom(double least, const Chain* chains, const double* weights, size_t lists, double average,
                             const Texts& texts, const Allowed& allowed, size_t k, double rest);
  void prepareNorms(double average);
  /** Takes the window's sums that may be kept, and leaves it empty. */
  void take(uint32_t first, size_t met);
  /** Drops what is not within `rest` of the `k`-th best so far. */
  void drop(size_t k, double rest);

  std::vector<double> window_;
  std::vector<uint32_t> met_;
  std::vector<double> norms_;
  double normsAverage_ = 0;
  /** Room to find the k-th best sum. */
  std::vector<double> best_;
  /** Sums below are not kept. */
  double least_ = 0;
  /** The greatest sum a window had that was not. */
  double dropped_ = 0;
  Gathered gathered_;
  std::vector<Scored> ranked_;
  /** Of ranked documents: ordinals ascending with their rows, and the frequencies of one list. */
  std::vector<uint64_t> rows_;
  std::vector<uint32_t> ordinals_;
  std::vector<uint32_t> column_;
};

}  // namespace spector
