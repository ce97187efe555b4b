#include "ids.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace spector {

namespace {

/** codeUnitRank of id-bytes.ts. */
inline int codeUnitRank(uint8_t byte) { return byte >= 0xee ? (byte >= 0xf0 ? byte - 2 : byte + 0x10) : byte; }

/** Puts values one after the other, wherever that is. */
class Column {
 public:
  explicit Column(uint8_t* at) : at_(at) {}

  template <typename T>
  void put(T value) {
    std::memcpy(at_, &value, sizeof(T));
    at_ += sizeof(T);
  }

 private:
  uint8_t* at_;
};

}  // namespace

const Record& Ids::record(uint32_t label) const {
  if (label >= recordCount) throw std::runtime_error("a label without a record");
  const Record& record = records[label];
  if (static_cast<size_t>(record.idStart) + record.idLength > textBytes)
    throw std::runtime_error("an id ends outside of the texts");
  return record;
}

bool Ids::before(uint32_t a, uint32_t b) const {
  if (a >= keyCount || b >= keyCount) throw std::runtime_error("a label without a key");
  if (keys[a] != keys[b]) return keys[a] < keys[b];
  const Record &first = record(a), &second = record(b);
  const uint8_t *textOfA = texts + first.idStart, *textOfB = texts + second.idStart;
  const size_t common = std::min(first.idLength, second.idLength);
  const auto [atA, atB] = std::mismatch(textOfA, textOfA + common, textOfB);
  if (atA != textOfA + common) return codeUnitRank(*atA) < codeUnitRank(*atB);
  return first.idLength < second.idLength;
}

void keepBest(std::vector<Scored>& all, size_t k, const Ids& ids) {
  const auto better = [&ids](const Scored& a, const Scored& b) {
    return a.score > b.score || (a.score == b.score && ids.before(a.label, b.label));
  };
  if (k < all.size()) {
    std::nth_element(all.begin(), all.begin() + static_cast<ptrdiff_t>(k), all.end(), better);
    all.resize(k);
  }
  std::sort(all.begin(), all.end(), better);
}

size_t writeLeg(const Ids& ids, const uint32_t* labels, const double* scores, size_t count, uint8_t* into, size_t room) {
  // Records lie anywhere in memory, and so do the texts they name: all are on their way before the first is waited for.
  for (size_t i = 0; i < count; i++) {
    if (labels[i] < ids.recordCount) __builtin_prefetch(ids.records + labels[i]);
  }
  size_t idBytes = 0;
  for (size_t i = 0; i < count; i++) {
    const Record& record = ids.record(labels[i]);
    __builtin_prefetch(ids.texts + record.idStart);
    idBytes += record.idLength;
  }
  const size_t columns = 8 + (8 + 8 + 8 + 4 + 4 + 2) * count;
  if (columns + idBytes > room) return columns + idBytes;
  Column head(into), scoreColumn(into + 8), offsets(into + 8 + 8 * count), times(into + 8 + 16 * count),
      hashes(into + 8 + 24 * count), ends(into + 8 + 28 * count), counters(into + 8 + 32 * count);
  uint8_t* const texts = into + columns;
  uint32_t end = 0;
  for (size_t i = 0; i < count; i++) {
    const Record& record = ids.records[labels[i]];
    scoreColumn.put(scores[i]);
    offsets.put(record.offset);
    times.put(record.ms);
    hashes.put(record.hash);
    std::memcpy(texts + end, ids.texts + record.idStart, record.idLength);
    end += record.idLength;
    ends.put(end);
    counters.put(static_cast<uint16_t>(record.counter));
  }
  head.put(static_cast<uint32_t>(count));
  head.put(end);
  return columns + idBytes;
}

}  // namespace spector
