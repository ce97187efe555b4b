// A navigable small world graph over vectors (HNSW; Malkov & Yashunin 2018), for one thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <queue>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "distances.h"
#include "region.h"

namespace spector {

/** A set of labels as bits; labels beyond are absent. */
struct LabelSet {
  const uint32_t* words;
  size_t count;
  size_t size() const {
    size_t labels = 0;
    for (size_t word = 0; word < count; word++) labels += static_cast<size_t>(__builtin_popcount(words[word]));
    return labels;
  }
  bool has(uint32_t label) const { return (label >> 5) < count && (words[label >> 5] >> (label & 31) & 1) != 0; }
};

/** What a graph is, whatever its distance. */
class Graph {
 public:
  virtual ~Graph() = default;
  virtual void add(uint32_t label, const float* vector, double norm) = 0;
  virtual void markDead(uint32_t label) = 0;
  /**
   * A search is begun, goes on by steps, and is finished: several graphs that take turns wait for memory together. `allowed`
   * may be null, and must stay. Both return whether there is a step to come.
   */
  virtual bool begin(const float* query, double norm, size_t k, size_t ef, const LabelSet* allowed) = 0;
  virtual bool step() = 0;
  /** Nearest first, with their distances. Returns how many of at most `k` were written. */
  virtual size_t finish(uint32_t* labels, float* distances) = 0;
  virtual void save(const std::string& file) const = 0;
  virtual void load(const std::string& file) = 0;
  virtual size_t size() const = 0;
  virtual size_t dead() const = 0;
};

/**
 * Nodes are numbered in the order they came. On the ground layer a node has up to 2·m links, above up to m.
 *
 * Invariants: a row of links ends at its first NOBODY; nodes and labels correspond one to one; a dead node is walked
 * over, never found; all scratch memory is clean between calls.
 */
template <typename Distance>
class SmallWorld final : public Graph {
  using Element = typename Distance::Element;

 public:
  SmallWorld(size_t dimensions, size_t m, size_t efConstruction, size_t expected)
      : dimensions_(dimensions),
        stride_(roundUp(dimensions * sizeof(Element), ROW) / sizeof(Element)),
        m_(m),
        groundLinks_(roundUp(2 * m * sizeof(uint32_t), ROW) / sizeof(uint32_t)),
        efConstruction_(std::max(efConstruction, m)),
        levelScale_(1 / std::log(static_cast<double>(std::max<size_t>(m, 2)))) {
    query_.reserve(stride_);
    if (expected > 0) reserve(expected);
  }

  size_t size() const override { return size_; }
  size_t dead() const override { return dead_; }

  void add(uint32_t label, const float* vector, double norm) override {
    if (label < nodes_.size() && nodes_[label] != NOBODY) throw std::runtime_error("the label is in the graph already");
    if (size_ == capacity_) reserve(capacity_ + std::max<size_t>(1024, capacity_ / 8));
    if (label >= nodes_.size()) nodes_.resize(std::max<size_t>(label + 1, nodes_.size() + nodes_.size() / 2), NOBODY);
    const uint32_t node = static_cast<uint32_t>(size_);
    const unsigned level = drawLevel();
    // Everything that can fail is done before the node exists.
    if (level > 0) upper_.resize(upper_.size() + level * m_, NOBODY);
    Element* row = vectors_.data() + node * stride_;
    std::fill(row, row + stride_, Element{0});
    Distance::encode(vector, norm, dimensions_, row);
    std::fill(ground(node), ground(node) + groundLinks_, NOBODY);
    labels_[node] = label;
    levels_[node] = static_cast<uint8_t>(level);
    upperAt_[node] = level > 0 ? static_cast<uint32_t>(upper_.size() / m_ - level) : NOBODY;
    nodes_[label] = node;
    size_++;
    connect(node, row, level);
  }

  void markDead(uint32_t label) override {
    const uint32_t node = label < nodes_.size() ? nodes_[label] : NOBODY;
    if (node == NOBODY || isDead(node)) throw std::runtime_error("the label is not in the graph");
    deadBits_[node >> 5] |= 1u << (node & 31);
    dead_++;
  }

  bool begin(const float* query, double norm, size_t k, size_t ef, const LabelSet* allowed) override {
    pool_.clear();
    best_.clear();
    wanted_ = k;
    among_ = allowed != nullptr || dead_ > 0;
    if (size_ == 0 || k == 0) return false;
    Element* row = query_.data();
    std::fill(row, row + stride_, Element{0});
    Distance::encode(query, norm, dimensions_, row);
    const Candidate entry = descend(row, 0);
    ef = std::max(ef, k);
    if (allowed != nullptr) {
      const size_t matches = allowed->size();
      // A walk that keeps ef of the allowed meets ef / pass-rate nodes, each in the time SCANNED_PER_NODE rows are scanned.
      if (matches * matches <= SCANNED_PER_NODE * ef * size_) {
        scan(row, ef, *allowed);
        return false;
      }
    }
    if (among_) beginAmong(row, entry, ef, allowed);
    else beginWalk(row, entry, ef, groundOf());
    return sendOn();
  }

  bool step() override {
    if (among_) takeAmong();
    else take();
    return sendOn();
  }

  size_t finish(uint32_t* labels, float* distances) override {
    if (among_) std::sort(best_.begin(), best_.end());
    const std::vector<Candidate>& nearest = among_ ? best_ : pool_;
    const size_t found = std::min(wanted_, nearest.size());
    for (size_t i = 0; i < found; i++) {
      labels[i] = labels_[nearest[i].node & NODE];
      distances[i] = nearest[i].distance;
    }
    return found;
  }

  void save(const std::string& file) const override {
    File out(file, "wbx");
    const Header header = {MAGIC, FORMAT, Distance::ID, static_cast<uint32_t>(dimensions_), static_cast<uint32_t>(m_),
                           entry_, top_, 0, size_, dead_, upper_.size(), draws_};
    out.write(&header, 1);
    out.write(labels_.data(), size_);
    out.write(levels_.data(), size_);
    out.write(upperAt_.data(), size_);
    out.write(deadBits_.data(), (size_ + 31) / 32);
    out.write(upper_.data(), upper_.size());
    out.write(links_.data(), size_ * groundLinks_);
    out.write(vectors_.data(), size_ * stride_);
    out.close();
  }

  void load(const std::string& file) override {
    File in(file, "rb");
    Header header;
    in.read(&header, 1);
    if (header.magic != MAGIC || header.format != FORMAT || header.distance != Distance::ID ||
        header.dimensions != dimensions_ || header.m != m_ || header.size > NODE)
      throw std::runtime_error(file + " is not such a graph");
    reserve(header.size);
    size_ = header.size;
    dead_ = header.dead;
    entry_ = header.entry;
    top_ = header.top;
    in.read(labels_.data(), size_);
    in.read(levels_.data(), size_);
    in.read(upperAt_.data(), size_);
    in.read(deadBits_.data(), (size_ + 31) / 32);
    upper_.resize(header.upper);
    in.read(upper_.data(), upper_.size());
    in.read(links_.data(), size_ * groundLinks_);
    in.read(vectors_.data(), size_ * stride_);
    if (!in.atEnd()) throw std::runtime_error(file + " goes on behind its end");
    if (!holds()) throw std::runtime_error(file + " has links that lead nowhere");
    for (size_t node = 0; node < size_; node++) {
      if (labels_[node] >= nodes_.size()) nodes_.resize(std::max<size_t>(labels_[node] + 1, size_), NOBODY);
      nodes_[labels_[node]] = static_cast<uint32_t>(node);
    }
    for (; draws_ < header.draws; draws_++) random_();
  }

 private:
  static constexpr size_t ROW = 64;
  static constexpr uint32_t NOBODY = 0xffffffff;
  static constexpr uint32_t EXPANDED = 0x80000000;
  static constexpr uint32_t NODE = 0x7fffffff;
  static constexpr uint32_t MAGIC = 0x53505647;
  static constexpr uint32_t FORMAT = 1;
  static constexpr unsigned LEVEL_MAX = 31;
  static constexpr size_t SCAN_BATCH = 32;
  static constexpr size_t SCANNED_PER_NODE = 16;

  struct Candidate {
    float distance;
    uint32_t node;
    bool operator<(const Candidate& other) const {
      return distance < other.distance || (distance == other.distance && node < other.node);
    }
  };

  struct Header {
    uint32_t magic, format, distance, dimensions, m, entry, top, spare;
    uint64_t size, dead, upper, draws;
  };

  class File {
   public:
    File(const std::string& name, const char* mode) : name_(name), file_(std::fopen(name.c_str(), mode)) {
      if (file_ == nullptr) throw std::runtime_error(name + " cannot be opened");
    }
    ~File() {
      if (file_ != nullptr) std::fclose(file_);
    }
    template <typename T>
    void write(const T* values, size_t count) {
      if (std::fwrite(values, sizeof(T), count, file_) != count) throw std::runtime_error(name_ + " cannot be written");
    }
    template <typename T>
    void read(T* values, size_t count) {
      if (std::fread(values, sizeof(T), count, file_) != count) throw std::runtime_error(name_ + " ends early");
    }
    bool atEnd() { return std::fgetc(file_) == EOF; }
    void close() {
      const int failed = std::fclose(file_);
      file_ = nullptr;
      if (failed != 0) throw std::runtime_error(name_ + " cannot be written");
    }

   private:
    std::string name_;
    FILE* file_;
  };

  /** Whether every link leads to a node, on a layer it has: what is loaded may have come from another machine. */
  bool holds() const {
    const uint64_t rows = upper_.size() / m_;
    if (size_ > 0 && (entry_ >= size_ || levels_[entry_] != top_)) return false;
    for (size_t node = 0; node < size_; node++) {
      if (levels_[node] > 0 && uint64_t{upperAt_[node]} + levels_[node] > rows) return false;
      if (!leadTo(links_.data() + node * groundLinks_, groundLinks_, 0)) return false;
      for (unsigned level = 1; level <= levels_[node]; level++) {
        const uint32_t* links = upper_.data() + (size_t{upperAt_[node]} + level - 1) * m_;
        if (!leadTo(links, m_, level)) return false;
      }
    }
    return true;
  }

  bool leadTo(const uint32_t* links, size_t most, unsigned level) const {
    for (size_t i = 0; i < most && links[i] != NOBODY; i++) {
      if (links[i] >= size_ || levels_[links[i]] < level) return false;
    }
    return true;
  }

  /** Where the links of one layer are. */
  struct Layer {
    unsigned level;
    size_t links;
  };

  Layer groundOf() const { return {0, groundLinks_}; }
  uint32_t* ground(uint32_t node) { return links_.data() + size_t{node} * groundLinks_; }
  uint32_t* linksOf(uint32_t node, unsigned level) {
    return level == 0 ? ground(node) : upper_.data() + (size_t{upperAt_[node]} + level - 1) * m_;
  }
  size_t linksMax(unsigned level) const { return level == 0 ? 2 * m_ : m_; }
  const Element* vectorOf(uint32_t node) const { return vectors_.data() + size_t{node} * stride_; }
  bool isDead(uint32_t node) const { return (deadBits_[node >> 5] >> (node & 31) & 1) != 0; }

  void reserve(size_t capacity) {
    if (capacity > NODE) throw std::runtime_error("a graph has at most 2^31 vectors");
    vectors_.reserve(capacity * stride_);
    links_.reserve(capacity * groundLinks_);
    labels_.resize(capacity);
    levels_.resize(capacity);
    upperAt_.resize(capacity);
    deadBits_.resize((capacity + 31) / 32);
    visited_.resize((capacity + 31) / 32);
    capacity_ = capacity;
  }

  unsigned drawLevel() {
    draws_++;
    const double uniform = (static_cast<double>(random_()) + 1) / 4294967296.0;
    return std::min(static_cast<unsigned>(-std::log(uniform) * levelScale_), LEVEL_MAX);
  }

  float distance(const Element* query, uint32_t node) const {
    float result;
    Distance::distances(query, vectors_.data(), stride_, &node, 1, &result);
    return result;
  }

  /** Greedily from the top down to above `level`. */
  Candidate descend(const Element* query, unsigned level) {
    Candidate best = {distance(query, entry_), entry_};
    for (unsigned at = top_; at > level; at--) best = descendLayer(query, best, at);
    return best;
  }

  Candidate descendLayer(const Element* query, Candidate best, unsigned level) {
    for (bool closer = true; closer;) {
      closer = false;
      const uint32_t* links = linksOf(best.node, level);
      const size_t count = countLinks(links, m_);
      for (size_t i = 0; i < count; i++) prefetch(vectorOf(links[i]), stride_ * sizeof(Element));
      fresh_.resize(std::max(fresh_.size(), groundLinks_));
      far_.resize(std::max(far_.size(), groundLinks_));
      Distance::distances(query, vectors_.data(), stride_, links, count, far_.data());
      uint32_t next = best.node;
      for (size_t i = 0; i < count; i++) {
        if (far_[i] >= best.distance) continue;
        best.distance = far_[i];
        next = links[i];
        closer = true;
      }
      best.node = next;
    }
    return best;
  }

  static size_t countLinks(const uint32_t* links, size_t most) {
    size_t count = 0;
    while (count < most && links[count] != NOBODY) count++;
    return count;
  }

  bool visit(uint32_t node) {
    uint32_t& word = visited_[node >> 5];
    const bool first = (word >> (node & 31) & 1) == 0;
    word |= 1u << (node & 31);
    return first;
  }

  /** What every walk begins with: from `entry`, to keep `ef`. */
  void startFrom(const Element* query, Candidate entry, size_t ef, Layer layer) {
    asked_ = query;
    width_ = ef;
    layer_ = layer;
    std::fill(visited_.begin(), visited_.begin() + (size_ + 31) / 32, 0);
    fresh_.resize(std::max(fresh_.size(), groundLinks_));
    far_.resize(std::max(far_.size(), groundLinks_));
    visit(entry.node);
  }

  /** Expands the next node of the walk: its neighbours not visited yet are in `fresh_`, their vectors on their way. */
  bool sendOn() {
    const uint32_t node = among_ ? nextAmong() : next();
    if (node == NOBODY) return false;
    const uint32_t* links = linksOf(node, layer_.level);
    const size_t most = linksMax(layer_.level);
    uint32_t* fresh = fresh_.data();
    size_t count = 0;
    // Whether one was met before nobody can foresee: it is counted instead of branched on.
    for (size_t i = 0; i < most && links[i] != NOBODY; i++) {
      fresh[count] = links[i];
      count += visit(links[i]);
    }
    for (size_t i = 0; i < count; i++) prefetch(vectorOf(fresh[i]), stride_ * sizeof(Element));
    sent_ = count;
    return true;
  }

  /** How far what was sent for is, into `far_`. */
  void measure() { Distance::distances(asked_, vectors_.data(), stride_, fresh_.data(), sent_, far_.data()); }

  /** Most of those that get into a walk are expanded soon. */
  ALWAYS_INLINE void prefetchLinks(uint32_t node) {
    prefetch(linksOf(node, layer_.level), linksMax(layer_.level) * sizeof(uint32_t));
  }

  /** The `ef` nearest, dead ones too, into `pool_`, ascending; a node expanded carries EXPANDED. */
  void walk(const Element* query, Candidate entry, size_t ef, Layer layer) {
    among_ = false;
    beginWalk(query, entry, ef, layer);
    while (sendOn()) take();
  }

  void beginWalk(const Element* query, Candidate entry, size_t ef, Layer layer) {
    startFrom(query, entry, ef, layer);
    pool_.clear();
    pool_.reserve(ef + 1);
    pool_.push_back(entry);
    at_ = 0;
  }

  /** The nearest of the pool that was not expanded; NOBODY at the end. */
  uint32_t next() {
    while (at_ < pool_.size() && (pool_[at_].node & EXPANDED) != 0) at_++;
    if (at_ == pool_.size()) return NOBODY;
    const uint32_t node = pool_[at_].node;
    pool_[at_++].node = node | EXPANDED;
    return node;
  }

  /** Takes what was sent for into the pool, as far as it is near enough. */
  void take() {
    measure();
    for (size_t i = 0; i < sent_; i++) {
      if (pool_.size() == width_ && far_[i] >= pool_.back().distance) continue;
      if (pool_.size() == width_) pool_.pop_back();
      prefetchLinks(fresh_[i]);
      at_ = std::min(at_, insert({far_[i], fresh_[i]}));
    }
  }

  /** Into its place in `pool_`, which it returns. */
  size_t insert(Candidate candidate) {
    // Halved without a branch: each would be guessed wrong every other time.
    const Candidate* pool = pool_.data();
    size_t low = 0;
    for (size_t left = pool_.size(); left > 0;) {
      const size_t half = (left + 1) / 2;
      low += pool[low + half - 1].distance <= candidate.distance ? half : 0;
      left -= half;
    }
    pool_.insert(pool_.begin() + static_cast<std::ptrdiff_t>(low), candidate);
    return low;
  }

  bool accepts(uint32_t node, const LabelSet* allowed) const {
    return (allowed == nullptr || allowed->has(labels_[node])) && !isDead(node);
  }

  /** Into `best_`, a heap of at most `ef` with the farthest first, when it is near enough. */
  void keep(Candidate candidate, size_t ef) {
    if (best_.size() >= ef && candidate.distance >= best_.front().distance) return;
    best_.push_back(candidate);
    std::push_heap(best_.begin(), best_.end());
    if (best_.size() <= ef) return;
    std::pop_heap(best_.begin(), best_.end());
    best_.pop_back();
  }

  /** The `ef` nearest of those allowed, into `best_`, by looking at every one of them. */
  void scan(const Element* query, size_t ef, const LabelSet& allowed) {
    best_.clear();
    fresh_.resize(std::max(fresh_.size(), 2 * SCAN_BATCH));
    far_.resize(std::max(far_.size(), 2 * SCAN_BATCH));
    size_t count = 0;
    const auto flush = [&] {
      Distance::distances(query, vectors_.data(), stride_, fresh_.data(), count, far_.data());
      for (size_t i = 0; i < count; i++) keep({far_[i], fresh_[i]}, ef);
      count = 0;
    };
    const size_t words = std::min(allowed.count, (nodes_.size() + 31) / 32);
    for (size_t word = 0; word < words; word++) {
      for (uint32_t bits = allowed.words[word]; bits != 0; bits &= bits - 1) {
        const size_t label = word * 32 + static_cast<size_t>(__builtin_ctz(bits));
        const uint32_t node = label < nodes_.size() ? nodes_[label] : NOBODY;
        if (node == NOBODY || isDead(node)) continue;
        prefetch(vectorOf(node), stride_ * sizeof(Element));
        fresh_[count++] = node;
      }
      if (count >= SCAN_BATCH) flush();
    }
    flush();
  }

  /** A walk to the `ef` nearest that live and are allowed, which come into `best_`. Others are stepping stones. */
  void beginAmong(const Element* query, Candidate entry, size_t ef, const LabelSet* allowed) {
    startFrom(query, entry, ef, groundOf());
    allowed_ = allowed;
    open_.clear();
    open_.push_back(entry);
    if (accepts(entry.node, allowed)) best_.push_back(entry);
  }

  static bool isFarther(const Candidate& a, const Candidate& b) { return b < a; }

  /** The nearest that was met and not expanded; NOBODY at the end. */
  uint32_t nextAmong() {
    if (open_.empty()) return NOBODY;
    const Candidate next = open_.front();
    if (best_.size() >= width_ && next.distance > best_.front().distance) return NOBODY;
    std::pop_heap(open_.begin(), open_.end(), isFarther);
    open_.pop_back();
    return next.node;
  }

  /** As `take`, for such a walk. */
  void takeAmong() {
    measure();
    for (size_t i = 0; i < sent_; i++) {
      const Candidate candidate = {far_[i], fresh_[i]};
      if (best_.size() >= width_ && candidate.distance >= best_.front().distance) continue;
      prefetchLinks(candidate.node);
      open_.push_back(candidate);
      std::push_heap(open_.begin(), open_.end(), isFarther);
      if (accepts(candidate.node, allowed_)) keep(candidate, width_);
    }
  }

  void connect(uint32_t node, const Element* row, unsigned level) {
    if (size_ == 1) {
      entry_ = node;
      top_ = level;
      return;
    }
    Candidate entry = descend(row, level);
    for (unsigned at = std::min(level, top_) + 1; at-- > 0;) {
      walk(row, entry, efConstruction_, {at, linksMax(at)});
      for (Candidate& candidate : pool_) candidate.node &= NODE;
      entry = pool_.front();
      chosen_.assign(pool_.begin(), pool_.end());
      choose(m_);
      uint32_t* links = linksOf(node, at);
      for (size_t i = 0; i < chosen_.size(); i++) links[i] = chosen_[i].node;
      neighbours_.assign(chosen_.begin(), chosen_.end());
      for (const Candidate& neighbour : neighbours_) linkBack(neighbour, node, at);
    }
    if (level > top_) {
      top_ = level;
      entry_ = node;
    }
  }

  /** Links `from` to `node`, too; when it has no room, its links are chosen anew among all of them. */
  void linkBack(const Candidate& from, uint32_t node, unsigned level) {
    uint32_t* links = linksOf(from.node, level);
    const size_t most = linksMax(level);
    const size_t count = countLinks(links, most);
    if (count < most) {
      links[count] = node;
      return;
    }
    for (size_t i = 0; i < count; i++) prefetch(vectorOf(links[i]), stride_ * sizeof(Element));
    Distance::distances(vectorOf(from.node), vectors_.data(), stride_, links, count, far_.data());
    chosen_.clear();
    for (size_t i = 0; i < count; i++) chosen_.push_back({far_[i], links[i]});
    chosen_.push_back({from.distance, node});
    std::sort(chosen_.begin(), chosen_.end());
    choose(most);
    size_t at = 0;
    for (; at < chosen_.size(); at++) links[at] = chosen_[at].node;
    for (; at < most; at++) links[at] = NOBODY;
  }

  /**
   * Keeps of `chosen_`, ascending, at most `most`: each that is closer to the new node than to any kept before, so that
   * links lead in different directions (the paper's algorithm 4).
   */
  void choose(size_t most) {
    if (chosen_.size() <= most) return;
    kept_.clear();
    size_t kept = 0;
    for (size_t i = 0; i < chosen_.size() && kept < most; i++) {
      const Candidate candidate = chosen_[i];
      if (!isApart(candidate)) continue;
      kept_.push_back(candidate.node);
      chosen_[kept++] = candidate;
    }
    chosen_.resize(kept);
  }

  bool isApart(const Candidate& candidate) {
    const Element* row = vectorOf(candidate.node);
    for (size_t at = 0; at < kept_.size(); at += 4) {
      const size_t count = std::min<size_t>(4, kept_.size() - at);
      float distances[4];
      Distance::distances(row, vectors_.data(), stride_, kept_.data() + at, count, distances);
      for (size_t i = 0; i < count; i++) {
        if (distances[i] < candidate.distance) return false;
      }
    }
    return true;
  }

  const size_t dimensions_;
  /** Elements from one vector to the next. */
  const size_t stride_;
  const size_t m_;
  const size_t groundLinks_;
  const size_t efConstruction_;
  const double levelScale_;
  std::mt19937 random_{100};
  uint64_t draws_ = 0;

  size_t size_ = 0;
  size_t dead_ = 0;
  size_t capacity_ = 0;
  uint32_t entry_ = 0;
  uint32_t top_ = 0;
  Region<Element> vectors_;
  Region<uint32_t> links_;
  /** By node. */
  std::vector<uint32_t> labels_;
  std::vector<uint8_t> levels_;
  /** Row of its links on layer 1 in `upper_`; those of higher layers follow. */
  std::vector<uint32_t> upperAt_;
  std::vector<uint32_t> deadBits_;
  std::vector<uint32_t> upper_;
  /** By label. */
  std::vector<uint32_t> nodes_;

  // Scratch memory of one call.
  Region<Element> query_;
  std::vector<uint32_t> visited_;
  // Of a walk: what it is asked, the place in `pool_` it goes on from, and how many neighbours it has sent for.
  const Element* asked_ = nullptr;
  const LabelSet* allowed_ = nullptr;
  Layer layer_{};
  bool among_ = false;
  size_t wanted_ = 0;
  size_t width_ = 0;
  size_t at_ = 0;
  size_t sent_ = 0;
  std::vector<Candidate> pool_, open_, best_, chosen_, neighbours_;
  std::vector<uint32_t> fresh_, kept_;
  std::vector<float> far_;
};

}  // namespace spector
