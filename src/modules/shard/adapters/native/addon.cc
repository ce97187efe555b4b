// The graph, the scores, the sums and the legs of answers as functions of JavaScript (Node-API). The callers, in
// native-vector-index.ts, check what they pass; what is checked here is what would otherwise touch memory it must not.
#include <node_api.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "distances.h"
#include "graph.h"
#include "ids.h"
#include "postings.h"
#include "scores.h"

namespace {

using namespace spector;

napi_value fail(napi_env env, const char* message) {
  napi_throw_error(env, nullptr, message);
  return nullptr;
}

/** The arguments of a call. */
template <size_t N>
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = N;
    napi_get_cb_info(env, info, &count, values_, nullptr, nullptr);
  }

  double number(size_t at) const {
    double value = 0;
    napi_get_value_double(env_, values_[at], &value);
    return value;
  }

  size_t size(size_t at) const { return static_cast<size_t>(number(at)); }

  std::string text(size_t at) const {
    size_t length = 0;
    napi_get_value_string_utf8(env_, values_[at], nullptr, 0, &length);
    std::string value(length, '\0');
    napi_get_value_string_utf8(env_, values_[at], value.data(), length + 1, &length);
    return value;
  }

  template <typename T>
  T* external(size_t at) const {
    return externalIn<T>(values_[at]);
  }

  /** Null, and length 0, when it is no such typed array. */
  template <typename T>
  T* array(size_t at, napi_typedarray_type wanted, size_t* length) const {
    return arrayIn<T>(values_[at], wanted, length);
  }

  /** Elements of an argument that is an array. */
  size_t length(size_t at) const {
    uint32_t length = 0;
    napi_get_array_length(env_, values_[at], &length);
    return length;
  }

  template <typename T>
  T* external(size_t at, size_t element) const {
    return externalIn<T>(elementOf(at, element));
  }

  template <typename T>
  T* array(size_t at, size_t element, napi_typedarray_type wanted, size_t* length) const {
    return arrayIn<T>(elementOf(at, element), wanted, length);
  }

 private:
  napi_value elementOf(size_t at, size_t element) const {
    napi_value value = nullptr;
    napi_get_element(env_, values_[at], static_cast<uint32_t>(element), &value);
    return value;
  }

  template <typename T>
  T* externalIn(napi_value from) const {
    void* value = nullptr;
    napi_get_value_external(env_, from, &value);
    return static_cast<T*>(value);
  }

  template <typename T>
  T* arrayIn(napi_value from, napi_typedarray_type wanted, size_t* length) const {
    napi_typedarray_type type;
    void* data = nullptr;
    *length = 0;
    size_t found = 0;
    if (napi_get_typedarray_info(env_, from, &type, &found, &data, nullptr, nullptr) != napi_ok) return nullptr;
    if (type != wanted) return nullptr;
    *length = found;
    return static_cast<T*>(data);
  }

  napi_env env_;
  napi_value values_[N];
};

struct Holder {
  std::shared_ptr<Graph> graph;
  size_t dimensions;
};

template <typename T>
napi_value external(napi_env env, T* value) {
  napi_value result;
  napi_create_external(
      env, value, [](napi_env, void* data, void*) { delete static_cast<T*>(data); }, nullptr, &result);
  return result;
}

napi_value number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

/** create(similarity, dimensions, m, efConstruction, expected) */
napi_value create(napi_env env, napi_callback_info info) {
  Arguments<5> arguments(env, info);
  const size_t dimensions = arguments.size(1), m = arguments.size(2), ef = arguments.size(3);
  if (dimensions == 0 || m < 2) return fail(env, "a graph has dimensions, and at least two links a node");
  try {
    std::shared_ptr<Graph> graph;
    switch (static_cast<Similarity>(arguments.size(0))) {
      case Similarity::COSINE:
        graph = std::make_shared<SmallWorld<FixedPoint>>(dimensions, m, ef, arguments.size(4));
        break;
      case Similarity::DOT:
        graph = std::make_shared<SmallWorld<InnerProduct>>(dimensions, m, ef, arguments.size(4));
        break;
      case Similarity::EUCLIDEAN:
        graph = std::make_shared<SmallWorld<Euclidean>>(dimensions, m, ef, arguments.size(4));
        break;
      default:
        return fail(env, "no such similarity");
    }
    return external(env, new Holder{graph, dimensions});
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
}

/** The graph of a holder; throws when it was disposed. */
Graph& graphOf(const Holder* holder) {
  if (holder == nullptr || holder->graph == nullptr) throw std::runtime_error("the graph was disposed");
  return *holder->graph;
}

/** add(graph, label, vector, norm) */
napi_value add(napi_env env, napi_callback_info info) {
  Arguments<4> arguments(env, info);
  try {
    const Holder* holder = arguments.external<Holder>(0);
    Graph& graph = graphOf(holder);
    size_t length;
    const float* vector = arguments.array<float>(2, napi_float32_array, &length);
    if (length != holder->dimensions) return fail(env, "a vector of another dimension");
    graph.add(static_cast<uint32_t>(arguments.number(1)), vector, arguments.number(3));
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
  return nullptr;
}

/** markDead(graph, label) */
napi_value markDead(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  try {
    graphOf(arguments.external<Holder>(0)).markDead(static_cast<uint32_t>(arguments.number(1)));
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
  return nullptr;
}

/** Walks that take turns: while one waits for memory the others go on, and what all of them wait for fits the nearest cache. */
constexpr size_t SIDE_BY_SIDE = 4;

/** Steps them all to their ends; none is left. */
void takeTurns(std::vector<Graph*>& walking) {
  while (!walking.empty()) {
    const auto ended = [](Graph* graph) { return !graph->step(); };
    walking.erase(std::remove_if(walking.begin(), walking.end(), ended), walking.end());
  }
}

/**
 * search(graphs: […], query, norm, asked: [k, ef]…, allowed: [Uint32Array | undefined…], labels, distances, found: how many
 * each has): a graph's labels and distances follow those of the graphs before, which have room for k each
 */
napi_value search(napi_env env, napi_callback_info info) {
  Arguments<8> arguments(env, info);
  try {
    size_t length, asked, room, distanceRoom, counts;
    const float* query = arguments.array<float>(1, napi_float32_array, &length);
    const uint32_t* wanted = arguments.array<uint32_t>(3, napi_uint32_array, &asked);
    uint32_t* labels = arguments.array<uint32_t>(5, napi_uint32_array, &room);
    float* distances = arguments.array<float>(6, napi_float32_array, &distanceRoom);
    uint32_t* found = arguments.array<uint32_t>(7, napi_uint32_array, &counts);
    const size_t graphs = arguments.length(0);
    if (asked < 2 * graphs || counts < graphs) return fail(env, "not asked for every graph");
    // Walks read them to the end, in whatever order they take turns.
    std::vector<LabelSet> sets(graphs);
    std::vector<Graph*> walks(graphs);
    size_t most = 0;
    for (size_t i = 0; i < graphs; i++) {
      const Holder* holder = arguments.external<Holder>(0, i);
      walks[i] = &graphOf(holder);
      if (length != holder->dimensions) return fail(env, "a query of another dimension");
      sets[i].words = arguments.array<uint32_t>(4, i, napi_uint32_array, &sets[i].count);
      most += wanted[2 * i];
    }
    if (std::min(room, distanceRoom) < most) return fail(env, "no room for k labels");
    std::vector<Graph*> walking;
    for (size_t i = 0; i < graphs; i++) {
      const LabelSet* allowed = sets[i].words == nullptr ? nullptr : &sets[i];
      if (walks[i]->begin(query, arguments.number(2), wanted[2 * i], wanted[2 * i + 1], allowed))
        walking.push_back(walks[i]);
      if (walking.size() == SIDE_BY_SIDE || i + 1 == graphs) takeTurns(walking);
    }
    size_t at = 0;
    for (size_t i = 0; i < graphs; at += wanted[2 * i++])
      found[i] = static_cast<uint32_t>(walks[i]->finish(labels + at, distances + at));
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
  return nullptr;
}

/** sizes(graph) → [vectors, dead ones among them] */
napi_value sizes(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  try {
    const Graph& graph = graphOf(arguments.external<Holder>(0));
    napi_value result;
    napi_create_array_with_length(env, 2, &result);
    napi_set_element(env, result, 0, number(env, graph.size()));
    napi_set_element(env, result, 1, number(env, graph.dead()));
    return result;
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
}

/** load(graph, file): into an empty one */
napi_value load(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  try {
    graphOf(arguments.external<Holder>(0)).load(arguments.text(1));
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
  return nullptr;
}

/** A graph on its way to a file, in a thread of the pool. */
struct Saving {
  std::shared_ptr<Graph> graph;
  std::string file;
  std::string problem;
  napi_deferred deferred;
  napi_async_work work;
};

void performSave(napi_env, void* data) {
  Saving* saving = static_cast<Saving*>(data);
  try {
    saving->graph->save(saving->file);
  } catch (const std::exception& error) {
    saving->problem = error.what();
  }
}

void finishSave(napi_env env, napi_status, void* data) {
  std::unique_ptr<Saving> saving(static_cast<Saving*>(data));
  napi_value result;
  if (saving->problem.empty()) {
    napi_get_undefined(env, &result);
    napi_resolve_deferred(env, saving->deferred, result);
  } else {
    napi_value message;
    napi_create_string_utf8(env, saving->problem.c_str(), saving->problem.size(), &message);
    napi_create_error(env, nullptr, message, &result);
    napi_reject_deferred(env, saving->deferred, result);
  }
  napi_delete_async_work(env, saving->work);
}

/** save(graph, file) → Promise; the graph may be searched meanwhile, not changed */
napi_value save(napi_env env, napi_callback_info info) {
  Arguments<2> arguments(env, info);
  const Holder* holder = arguments.external<Holder>(0);
  if (holder == nullptr || holder->graph == nullptr) return fail(env, "the graph was disposed");
  auto saving = std::make_unique<Saving>();
  saving->graph = holder->graph;
  saving->file = arguments.text(1);
  napi_value promise, name;
  napi_create_promise(env, &saving->deferred, &promise);
  napi_create_string_utf8(env, "spector:save", NAPI_AUTO_LENGTH, &name);
  napi_create_async_work(env, nullptr, name, performSave, finishSave, saving.get(), &saving->work);
  napi_queue_async_work(env, saving->work);
  saving.release();
  return promise;
}

/** dispose(graph): its memory goes back at once */
napi_value dispose(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  if (Holder* holder = arguments.external<Holder>(0)) holder->graph.reset();
  return nullptr;
}

/** pages(similarity, dimensions, vectors a page) */
napi_value pages(napi_env env, napi_callback_info info) {
  Arguments<3> arguments(env, info);
  return external(
      env, new Pages{static_cast<Similarity>(arguments.size(0)), arguments.size(1), arguments.size(2), {}, {}});
}

/** addPage(pages, vectors, norms): the caller keeps both as long as the pages */
napi_value addPage(napi_env env, napi_callback_info info) {
  Arguments<3> arguments(env, info);
  Pages* pages = arguments.external<Pages>(0);
  size_t floats, norms;
  const float* vectors = arguments.array<float>(1, napi_float32_array, &floats);
  const double* lengths = arguments.array<double>(2, napi_float64_array, &norms);
  if (pages == nullptr || floats != pages->size * pages->dimensions || norms != pages->size)
    return fail(env, "a page of another size");
  pages->vectors.push_back(vectors);
  pages->norms.push_back(lengths);
  return nullptr;
}

/** scores(pages, query, norm, labels, count, into) */
napi_value scoresOf(napi_env env, napi_callback_info info) {
  Arguments<6> arguments(env, info);
  const Pages* pages = arguments.external<Pages>(0);
  size_t dimensions, room, labelled;
  const double* query = arguments.array<double>(1, napi_float64_array, &dimensions);
  const uint32_t* labels = arguments.array<uint32_t>(3, napi_uint32_array, &labelled);
  double* into = arguments.array<double>(5, napi_float64_array, &room);
  const size_t count = arguments.size(4);
  if (pages == nullptr || dimensions != pages->dimensions) return fail(env, "a query of another dimension");
  if (count > labelled || count > room) return fail(env, "no room for the scores");
  for (size_t at = 0; at < count; at++) {
    if (labels[at] / pages->size >= pages->vectors.size()) return fail(env, "a label without a page");
  }
  scores(*pages, query, arguments.number(2), labels, count, into);
  return nullptr;
}

/** The columns of a LabelTable at `at`, `at + 1` and `at + 2`: keys, records, texts. */
template <size_t N>
Ids idsOf(const Arguments<N>& arguments, size_t at) {
  Ids ids{};
  size_t words = 0;
  ids.keys = arguments.template array<double>(at, napi_float64_array, &ids.keyCount);
  ids.records =
      reinterpret_cast<const Record*>(arguments.template array<uint32_t>(at + 1, napi_uint32_array, &words));
  ids.recordCount = words / (sizeof(Record) / sizeof(uint32_t));
  ids.texts = arguments.template array<uint8_t>(at + 2, napi_uint8_array, &ids.textBytes);
  return ids;
}

/** best(pages, query, norm, labels, count, k, keys, records, texts, items, scores) → how many there are */
napi_value bestOf(napi_env env, napi_callback_info info) {
  Arguments<11> arguments(env, info);
  const Pages* pages = arguments.external<Pages>(0);
  size_t dimensions, labelled, room, scoreRoom;
  const double* query = arguments.array<double>(1, napi_float64_array, &dimensions);
  const uint32_t* labels = arguments.array<uint32_t>(3, napi_uint32_array, &labelled);
  const size_t count = arguments.size(4), k = arguments.size(5);
  uint32_t* items = arguments.array<uint32_t>(9, napi_uint32_array, &room);
  double* into = arguments.array<double>(10, napi_float64_array, &scoreRoom);
  if (pages == nullptr || dimensions != pages->dimensions) return fail(env, "a query of another dimension");
  if (count > labelled || std::min(count, k) > std::min(room, scoreRoom)) return fail(env, "no room for the best");
  for (size_t at = 0; at < count; at++) {
    if (labels[at] / pages->size >= pages->vectors.size()) return fail(env, "a label without a page");
  }
  try {
    return number(env,
                  best(*pages, query, arguments.number(2), labels, count, k, idsOf(arguments, 6), items, into));
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
}

/** writeLeg(records, texts, labels, scores, count, into, at) → the bytes it takes; nothing is written without that room */
napi_value writeLegOf(napi_env env, napi_callback_info info) {
  Arguments<7> arguments(env, info);
  Ids ids{};
  size_t words, labelled, scored, room;
  ids.records = reinterpret_cast<const Record*>(arguments.array<uint32_t>(0, napi_uint32_array, &words));
  ids.recordCount = words / (sizeof(Record) / sizeof(uint32_t));
  ids.texts = arguments.array<uint8_t>(1, napi_uint8_array, &ids.textBytes);
  const uint32_t* labels = arguments.array<uint32_t>(2, napi_uint32_array, &labelled);
  const double* scoreOf = arguments.array<double>(3, napi_float64_array, &scored);
  uint8_t* into = arguments.array<uint8_t>(5, napi_uint8_array, &room);
  const size_t count = arguments.size(4), at = arguments.size(6);
  if (count > labelled || count > scored || at > room) return fail(env, "no such candidates");
  try {
    return number(env, writeLeg(ids, labels, scoreOf, count, into + at, room - at));
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
}

/** postings() */
napi_value postings(napi_env env, napi_callback_info) { return external(env, new PostingSums()); }

/** setPage(postings, index, page): the caller keeps the page until another takes its place */
napi_value setPage(napi_env env, napi_callback_info info) {
  Arguments<3> arguments(env, info);
  PostingSums* sums = arguments.external<PostingSums>(0);
  size_t slots;
  const uint32_t* page = arguments.array<uint32_t>(2, napi_uint32_array, &slots);
  const size_t index = arguments.size(1);
  if (sums == nullptr || page == nullptr || index > sums->pages.pages.size()) return fail(env, "no place for a page");
  sums->pages.pages.resize(std::max(sums->pages.pages.size(), index + 1));
  sums->pages.slots.resize(sums->pages.pages.size());
  sums->pages.pages[index] = page;
  sums->pages.slots[index] = slots;
  return nullptr;
}

/** Heads and counts of lists, one after the other. */
const Chain* chainsOf(const uint32_t* chains) { return reinterpret_cast<const Chain*>(chains); }

/** Whether every posting of the lists adds something: a document is met by its sum, and once. */
bool addAll(const double* weights, size_t lists) {
  return std::all_of(weights, weights + lists, [](double weight) { return weight > 0; });
}

/**
 * gather(postings, chains: [head, count]…, weights, lists, average, lengths, labels, documents, allowed, k, rest, ordinals,
 * sums, outcome): outcome is [kept, matched]; nothing is written to `ordinals` and `sums` when they have no room
 */
napi_value gather(napi_env env, napi_callback_info info) {
  Arguments<14> arguments(env, info);
  PostingSums* postings = arguments.external<PostingSums>(0);
  size_t chained, weighed, lengths, labels, words, room, sumRoom, outcomes;
  const uint32_t* chains = arguments.array<uint32_t>(1, napi_uint32_array, &chained);
  const double* weights = arguments.array<double>(2, napi_float64_array, &weighed);
  const size_t lists = arguments.size(3);
  const uint32_t* lengthOf = arguments.array<uint32_t>(5, napi_uint32_array, &lengths);
  const uint32_t* labelOf = arguments.array<uint32_t>(6, napi_uint32_array, &labels);
  const size_t documents = arguments.size(7);
  const uint32_t* allowed = arguments.array<uint32_t>(8, napi_uint32_array, &words);
  uint32_t* ordinals = arguments.array<uint32_t>(11, napi_uint32_array, &room);
  double* sums = arguments.array<double>(12, napi_float64_array, &sumRoom);
  uint32_t* outcome = arguments.array<uint32_t>(13, napi_uint32_array, &outcomes);
  if (postings == nullptr || chained < 2 * lists || weighed < lists || outcomes < 2) return fail(env, "no such lists");
  if (documents > lengths || documents > labels) return fail(env, "no such documents");
  if (!addAll(weights, lists)) return fail(env, "a list without a weight");
  try {
    const Gathered& found =
        postings->gather(chainsOf(chains), weights, lists, arguments.number(4), {lengthOf, labelOf, documents},
                         {allowed, words}, arguments.size(9), arguments.number(10));
    outcome[0] = static_cast<uint32_t>(found.sums.size());
    outcome[1] = static_cast<uint32_t>(found.matched);
    if (found.sums.size() > std::min(room, sumRoom)) return nullptr;
    std::copy(found.ordinals.begin(), found.ordinals.end(), ordinals);
    std::copy(found.sums.begin(), found.sums.end(), sums);
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
  return nullptr;
}

/**
 * rank(postings, chains, weights, lists, average, lengths, labels, documents, allowed, k, least, keys, records, texts,
 * terms: of each list, termCount, into labels, scores, lengths, frequencies, found: [how many]) → the score that no other
 * exceeds
 */
napi_value rank(napi_env env, napi_callback_info info) {
  Arguments<21> arguments(env, info);
  PostingSums* postings = arguments.external<PostingSums>(0);
  size_t chained, weighed, lengths, labels, words, placed, labelRoom, scoreRoom, lengthRoom, frequencyRoom, outcomes;
  const uint32_t* chains = arguments.array<uint32_t>(1, napi_uint32_array, &chained);
  const double* weights = arguments.array<double>(2, napi_float64_array, &weighed);
  const size_t lists = arguments.size(3), documents = arguments.size(7), k = arguments.size(9);
  const uint32_t* lengthOf = arguments.array<uint32_t>(5, napi_uint32_array, &lengths);
  const uint32_t* labelOf = arguments.array<uint32_t>(6, napi_uint32_array, &labels);
  const uint32_t* allowed = arguments.array<uint32_t>(8, napi_uint32_array, &words);
  RankedTexts into{};
  into.termOf = arguments.array<uint32_t>(14, napi_uint32_array, &placed);
  into.terms = arguments.size(15);
  into.labels = arguments.array<uint32_t>(16, napi_uint32_array, &labelRoom);
  into.scores = arguments.array<double>(17, napi_float64_array, &scoreRoom);
  into.lengths = arguments.array<uint32_t>(18, napi_uint32_array, &lengthRoom);
  into.frequencies = arguments.array<uint32_t>(19, napi_uint32_array, &frequencyRoom);
  uint32_t* outcome = arguments.array<uint32_t>(20, napi_uint32_array, &outcomes);
  if (postings == nullptr || chained < 2 * lists || weighed < lists || placed < lists || outcomes < 1)
    return fail(env, "no such lists");
  for (size_t list = 0; list < lists; list++) {
    if (into.termOf[list] >= into.terms) return fail(env, "a list of no term");
  }
  if (documents > lengths || documents > labels) return fail(env, "no such documents");
  if (!addAll(weights, lists)) return fail(env, "a list without a weight");
  size_t most = 0;
  for (size_t list = 0; list < lists; list++) most += chainsOf(chains)[list].count;
  most = std::min(most, k);
  if (most > std::min({labelRoom, scoreRoom, lengthRoom}) || most * into.terms > frequencyRoom)
    return fail(env, "no room for the best");
  try {
    const Best best = postings->rank(chainsOf(chains), weights, lists, arguments.number(4),
                                     {lengthOf, labelOf, documents}, {allowed, words}, k, arguments.number(10),
                                     idsOf(arguments, 11), into);
    outcome[0] = static_cast<uint32_t>(best.count);
    return number(env, best.leftOut);
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
}

/** frequencies(postings, chains, lists, ordinals, count, into) */
napi_value frequencies(napi_env env, napi_callback_info info) {
  Arguments<6> arguments(env, info);
  const PostingSums* postings = arguments.external<PostingSums>(0);
  size_t chained, known, room;
  const uint32_t* chains = arguments.array<uint32_t>(1, napi_uint32_array, &chained);
  const size_t lists = arguments.size(2), count = arguments.size(4);
  const uint32_t* ordinals = arguments.array<uint32_t>(3, napi_uint32_array, &known);
  uint32_t* into = arguments.array<uint32_t>(5, napi_uint32_array, &room);
  if (postings == nullptr || chained < 2 * lists) return fail(env, "no such lists");
  if (count > known || count * lists > room) return fail(env, "no room for the frequencies");
  try {
    postings->frequencies(chainsOf(chains), lists, ordinals, count, into);
  } catch (const std::exception& error) {
    return fail(env, error.what());
  }
  return nullptr;
}

/** trim(): memory of this process that is free goes back to the system, as far as the C library can; takes milliseconds */
napi_value trim(napi_env, napi_callback_info) {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return nullptr;
}

}  // namespace

NAPI_MODULE_INIT() {
  const napi_property_descriptor functions[] = {
      {"create", nullptr, create, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"add", nullptr, add, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"markDead", nullptr, markDead, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"search", nullptr, search, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"sizes", nullptr, sizes, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"load", nullptr, load, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"save", nullptr, save, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"dispose", nullptr, dispose, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"pages", nullptr, pages, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"addPage", nullptr, addPage, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"trim", nullptr, trim, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"scores", nullptr, scoresOf, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"postings", nullptr, postings, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"setPage", nullptr, setPage, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"gather", nullptr, gather, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"best", nullptr, bestOf, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"writeLeg", nullptr, writeLegOf, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"rank", nullptr, rank, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"frequencies", nullptr, frequencies, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
  return exports;
}
