#include "postings.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <stdexcept>

namespace spector {

namespace {

// PostingLists and SlotArena.
constexpr uint32_t FREQUENCY_BITS = 6;
constexpr uint32_t FREQUENCY_MASK = (1u << FREQUENCY_BITS) - 1;
constexpr uint32_t PAGE_BITS = 16;
constexpr uint32_t PAGE_MASK = (1u << PAGE_BITS) - 1;
constexpr size_t FIRST_CHUNK = 4;
constexpr size_t LAST_CHUNK = 1024;

// bm25.ts
constexpr double K1 = 1.2;
constexpr double B = 0.75;

/** Ordinals whose sums are made at once: 32 KiB of them, which stay in the processor's nearest cache. */
constexpr size_t WINDOW = 4096;
/** Texts of fewer terms have what depends on their length alone in a table. */
constexpr size_t NORMS = 512;
/** Postings looked ahead: the lengths of their texts are on their way from memory meanwhile. */
constexpr size_t AHEAD = 24;
/** Sums kept beyond twice those that must be, before what cannot be among the best is dropped. */
constexpr size_t SURPLUS = 256;

inline double lengthNorm(uint32_t length, double average) { return K1 * (1 - B + (B * length) / average); }

/** Reads a list chunk by chunk: after `next()` answered true, its postings are [at, end). */
class Cursor {
 public:
  const uint32_t* at = nullptr;
  const uint32_t* end = nullptr;

  Cursor(const PostingPages& pages, Chain chain) : pages_(pages), chunk_(chain.head), left_(chain.count) {}

  bool next() {
    if (left_ == 0) return false;
    const size_t page = chunk_ >> PAGE_BITS, slot = chunk_ & PAGE_MASK;
    const size_t taken = std::min<size_t>(left_, size_ - 1);
    if (chunk_ == 0 || page >= pages_.pages.size() || slot + taken >= pages_.slots[page])
      throw std::runtime_error("a posting list leaves its pages");
    at = pages_.pages[page] + slot + 1;
    end = at + taken;
    left_ -= static_cast<uint32_t>(taken);
    chunk_ = at[-1];
    size_ = std::min(size_ * 2, LAST_CHUNK);
    return true;
  }

 private:
  const PostingPages& pages_;
  uint32_t chunk_;
  size_t size_ = FIRST_CHUNK;
  uint32_t left_;
};

/** Adds a list to the window that begins with ordinal `first`. @return documents met so far */
template <bool FILTERED>
size_t addWindow(Cursor& cursor, double weight, double average, const double* norms, const Texts& texts,
                 const Allowed& allowed, uint32_t first, double* window, uint32_t* met, size_t count) {
  const uint64_t end = (static_cast<uint64_t>(first) + WINDOW) << FREQUENCY_BITS;
  const size_t slots = first < texts.count ? std::min<size_t>(WINDOW, texts.count - first) : 0;
  do {
    const uint32_t* at = cursor.at;
    for (; at < cursor.end; at++) {
      const uint32_t posting = *at;
      if (posting >= end) break;
      if (at + AHEAD < cursor.end) __builtin_prefetch(texts.lengths + (at[AHEAD] >> FREQUENCY_BITS));
      const uint32_t ordinal = posting >> FREQUENCY_BITS;
      const uint32_t slot = ordinal - first;
      if (slot >= slots) throw std::runtime_error("a posting out of order, or without a document");
      const double sum = window[slot];
      if (FILTERED && sum == 0) {
        const uint32_t label = texts.labels[ordinal];
        if ((label >> 5) >= allowed.count || ((allowed.words[label >> 5] >> (label & 31)) & 1) == 0) continue;
      }
      met[count] = slot;
      count += sum == 0;
      const uint32_t length = texts.lengths[ordinal];
      const double norm = length < NORMS ? norms[length] : lengthNorm(length, average);
      const double frequency = posting & FREQUENCY_MASK;
      window[slot] = sum + (weight * (frequency * (K1 + 1))) / (frequency + norm);
    }
    cursor.at = at;
    if (at < cursor.end) break;
  } while (cursor.next());
  return count;
}

}  // namespace

void PostingSums::prepareNorms(double average) {
  if (average == normsAverage_) return;
  norms_.resize(NORMS);
  for (size_t length = 0; length < NORMS; length++) norms_[length] = lengthNorm(static_cast<uint32_t>(length), average);
  normsAverage_ = average;
}

void PostingSums::take(uint32_t first, size_t met) {
  std::vector<uint32_t>& ordinals = gathered_.ordinals;
  std::vector<double>& sums = gathered_.sums;
  size_t kept = sums.size();
  ordinals.resize(kept + met);
  sums.resize(kept + met);
  for (size_t i = 0; i < met; i++) {
    const uint32_t slot = met_[i];
    const double sum = window_[slot];
    window_[slot] = 0;
    ordinals[kept] = first + slot;
    sums[kept] = sum;
    const bool keeps = sum >= least_;
    kept += keeps;
    dropped_ = std::max(dropped_, keeps ? -std::numeric_limits<double>::infinity() : sum);
  }
  ordinals.resize(kept);
  sums.resize(kept);
}

void PostingSums::drop(size_t k, double rest) {
  std::vector<uint32_t>& ordinals = gathered_.ordinals;
  std::vector<double>& sums = gathered_.sums;
  if (k > 0 && sums.size() >= k) {
    best_ = sums;
    const auto kth = best_.begin() + static_cast<ptrdiff_t>(k) - 1;
    std::nth_element(best_.begin(), kth, best_.end(), std::greater<double>());
    least_ = *kth - rest;
  }
  size_t kept = 0;
  for (size_t i = 0; i < sums.size(); i++) {
    ordinals[kept] = ordinals[i];
    sums[kept] = sums[i];
    kept += sums[i] >= least_;
  }
  ordinals.resize(kept);
  sums.resize(kept);
}

const Gathered& PostingSums::gatherFrom(double least, const Chain* chains, const double* weights, size_t lists,
                                        double average, const Texts& texts, const Allowed& allowed, size_t k,
                                        double rest) {
  // After an exception sums may be left in the window.
  if (window_.empty()) window_.assign(WINDOW, 0);
  // One more than there can be: what is written before it is known to count.
  met_.resize(WINDOW + 1);
  prepareNorms(average);
  least_ = k == 0 ? std::numeric_limits<double>::infinity() : least;
  dropped_ = -std::numeric_limits<double>::infinity();
  gathered_.ordinals.clear();
  gathered_.sums.clear();
  gathered_.matched = 0;
  size_t tooMany = 2 * std::min(k, texts.count) + SURPLUS;
  std::vector<Cursor> cursors;
  cursors.reserve(lists);
  for (size_t i = 0; i < lists; i++) {
    cursors.emplace_back(pages, chains[i]);
    cursors[i].next();
  }
  try {
    for (;;) {
      uint32_t lowest = std::numeric_limits<uint32_t>::max();
      bool more = false;
      for (const Cursor& cursor : cursors) {
        if (cursor.at == cursor.end) continue;
        more = true;
        lowest = std::min(lowest, *cursor.at);
      }
      if (!more) break;
      const uint32_t first = lowest >> FREQUENCY_BITS;
      size_t met = 0;
      for (size_t i = 0; i < lists; i++) {
        if (cursors[i].at == cursors[i].end) continue;
        met = allowed.words == nullptr
                  ? addWindow<false>(cursors[i], weights[i], average, norms_.data(), texts, allowed, first,
                                     window_.data(), met_.data(), met)
                  : addWindow<true>(cursors[i], weights[i], average, norms_.data(), texts, allowed, first,
                                    window_.data(), met_.data(), met);
      }
      gathered_.matched += met;
      take(first, met);
      if (gathered_.sums.size() < tooMany) continue;
      drop(k, rest);
      tooMany = 2 * gathered_.sums.size() + SURPLUS;
    }
  } catch (...) {
    window_.clear();
    throw;
  }
  drop(k, rest);
  return gathered_;
}

Best PostingSums::rank(const Chain* chains, const double* weights, size_t lists, double average, const Texts& texts,
                       const Allowed& allowed, size_t k, double least, const Ids& ids, const RankedTexts& into) {
  const Gathered& found = gatherFrom(least, chains, weights, lists, average, texts, allowed, k, 0);
  ranked_.clear();
  for (size_t i = 0; i < found.sums.size(); i++)
    ranked_.push_back({found.sums[i], texts.labels[found.ordinals[i]], found.ordinals[i]});
  keepBest(ranked_, k, ids);
  const size_t count = ranked_.size();
  rows_.clear();
  for (size_t row = 0; row < count; row++) {
    const Scored& one = ranked_[row];
    into.labels[row] = one.label;
    into.scores[row] = one.score;
    into.lengths[row] = texts.lengths[one.place];
    rows_.push_back(static_cast<uint64_t>(one.place) << 32 | row);
  }
  // Lists are looked up in ascending order.
  std::sort(rows_.begin(), rows_.end());
  ordinals_.resize(count);
  column_.resize(count);
  for (size_t i = 0; i < count; i++) ordinals_[i] = static_cast<uint32_t>(rows_[i] >> 32);
  std::fill(into.frequencies, into.frequencies + count * into.terms, 0);
  for (size_t list = 0; list < lists; list++) {
    frequencies(chains + list, 1, ordinals_.data(), count, column_.data());
    for (size_t i = 0; i < count; i++)
      into.frequencies[static_cast<uint32_t>(rows_[i]) * into.terms + into.termOf[list]] = column_[i];
  }
  if (count == found.matched) return {count, -std::numeric_limits<double>::infinity()};
  if (count < k) return {count, dropped_};
  return {count, k == 0 ? std::numeric_limits<double>::infinity() : into.scores[k - 1]};
}

void PostingSums::frequencies(const Chain* chains, size_t lists, const uint32_t* ordinals, size_t count,
                              uint32_t* into) const {
  for (size_t list = 0; list < lists; list++, into += count) {
    Cursor cursor(pages, chains[list]);
    bool more = cursor.next();
    for (size_t i = 0; i < count; i++) {
      const uint64_t target = static_cast<uint64_t>(ordinals[i]) << FREQUENCY_BITS;
      while (more && cursor.end[-1] < target) more = cursor.next();
      if (!more) {
        std::fill(into + i, into + count, 0);
        break;
      }
      // Steps of 1, 2, 4 ... and then by halves: near ones are found at once, far ones in logarithmic time.
      const uint32_t* low = cursor.at;
      const uint32_t* high = low;
      for (ptrdiff_t step = 1; *high < target; step *= 2) {
        low = high + 1;
        high = std::min(high + step, cursor.end - 1);
      }
      cursor.at = std::lower_bound(low, high, target, [](uint32_t posting, uint64_t wanted) { return posting < wanted; });
      const uint32_t posting = *cursor.at;
      into[i] = (posting >> FREQUENCY_BITS) == ordinals[i] ? posting & FREQUENCY_MASK : 0;
    }
  }
}

}  // namespace spector
