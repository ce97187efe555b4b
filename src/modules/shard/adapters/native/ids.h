// Who labels are, in the memory of a LabelTable: their order, and what an answer says of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spector {

/** LabelRecords: what is known of one label. */
struct Record {
  double offset;
  double ms;
  uint32_t idStart;
  uint32_t idLength;
  uint32_t hash;
  uint32_t counter;
};
static_assert(sizeof(Record) == 32, "a record is eight words");

/** The columns of a LabelTable; their memory belongs to the caller. */
struct Ids {
  /** By label, see IdKeys. */
  const double* keys;
  size_t keyCount;
  const Record* records;
  size_t recordCount;
  const uint8_t* texts;
  size_t textBytes;

  /** @throws std::exception when the label is not in the columns, or its id not in the texts */
  const Record& record(uint32_t label) const;

  /** Whether the id of `a` goes before that of `b`. @throws std::exception as `record` */
  bool before(uint32_t a, uint32_t b) const;
};

/** `place` is the caller's. */
struct Scored {
  double score;
  uint32_t label;
  uint32_t place;
};

/** Leaves the `k` best by score, ties by id, best first: what TopK gives. */
void keepBest(std::vector<Scored>& all, size_t k, const Ids& ids);

/**
 * Writes a leg of an answer (ShardSearchAnswer) to `into`, unless it has less than the room it takes.
 * @return the bytes it takes
 */
size_t writeLeg(const Ids& ids, const uint32_t* labels, const double* scores, size_t count, uint8_t* into, size_t room);

}  // namespace spector
