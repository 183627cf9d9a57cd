// Skip-gram on a stream of words: what is drawn, and how stretches of it are worked on side by side.
//
// The stream is cut into stretches, and `shards` of them are a round. Each is worked on from the weights
// as they were at the beginning of the round, on copies of the rows that it touches; then what they changed is
// added in the order of the shards. So the bits do not depend on the number of threads.
#include <algorithm>
#include <cstring>
#include <new>

#include "arrays.h"

namespace carryline {
namespace {

using Real = float;

// SplitMix64 (Steele et al. 2014) by place: the numbers of any place at once.
constexpr uint64_t golden = 0x9e3779b97f4a7c15;
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}
// A number below `count` from 32 random bits.
uint64_t below(uint64_t bits, uint64_t count) { return (bits & 0xffffffff) * count >> 32; }

struct Rule {
  uint64_t key;
  const uint32_t *keep, *chance;  // see training/vectors.py
  const int32_t* other;
  int64_t words, width, padded, window, negatives;
  double rate, fall, least;
};

// A part of the stream, the rows that it touches, and their copies. Row i < words is an input, words + i
// an output.
class Stretch {
 public:
  explicit Stretch(const Rule& r) : rule(r), slot(size_t(2 * r.words), -1) {}
  ~Stretch() { free(rows); }
  Stretch(const Stretch&) = delete;
  Stretch& operator=(const Stretch&) = delete;

  std::vector<int32_t> touched;
  double loss = 0;
  int64_t pairs = 0;

  const Real* copy(int32_t row) const { return slot[size_t(row)] < 0 ? nullptr : rows + slot[size_t(row)] * rule.padded; }

  // ids: of the words; below 0 a text ends. place: of the first.
  void train(const int32_t* ids, int64_t count, uint64_t place, Real* inputs, Real* outputs) {
    draw(ids, count, place);
    fetch(inputs, outputs);
    SkipGramArgs<Real> a{rows, rule.padded, input.data(), centres.data(), int64_t(centres.size()),
                         2 * rule.window, rule.negatives + 1, 0, 0};
    kernels<Real>().skip_gram(a);
    loss += a.loss, pairs += a.pairs;
  }
  void forget() {
    for (int32_t row : touched) slot[size_t(row)] = -1;
    touched.clear();
  }

 private:
  const Rule& rule;
  std::vector<int32_t> slot;  // [2 * words] place of a row among the copies; -1: it has none
  std::vector<int32_t> input, target;
  std::vector<SkipCentre> centres;
  Real* rows = nullptr;
  size_t room = 0;

  int32_t slot_of(int64_t row) {
    int32_t& at = slot[size_t(row)];
    if (at < 0) at = int32_t(touched.size()), touched.push_back(int32_t(row));
    return at;
  }

  void draw(const int32_t* ids, int64_t count, uint64_t place) {
    input.clear(), centres.clear();
    target.assign(size_t(count * (rule.negatives + 1)), 0);
    int32_t* next = target.data();
    size_t text = 0;  // its first word among those that are kept
    for (int64_t p = 0; p < count; ++p) {
      const int32_t id = ids[p];
      if (id < 0) end_text(text), text = centres.size();
      if (id < 0) continue;
      const uint64_t drawn = mixed(rule.key + (place + uint64_t(p)) * golden);
      if (uint32_t(drawn >> 32) > rule.keep[id]) continue;
      const double rate = std::max(rule.least, rule.rate - rule.fall * double(place + uint64_t(p)));
      const int32_t reach = 1 + int32_t(below(drawn, uint64_t(rule.window)));
      centres.push_back({-reach, reach, next, 1, float(rate)});
      input.push_back(slot_of(id));
      *next++ = slot_of(rule.words + id);
      for (uint64_t j = 1; j <= uint64_t(rule.negatives); ++j) {
        const uint64_t number = mixed(drawn + j * golden);
        const auto word = size_t(below(number >> 32, uint64_t(rule.words)));
        const int32_t negative = uint32_t(number) < rule.chance[word] ? int32_t(word) : rule.other[word];
        if (negative == id) continue;
        *next++ = slot_of(rule.words + negative);
        ++centres.back().targets;
      }
    }
    end_text(text);
  }
  // Windows end where the text does.
  void end_text(size_t first) {
    const auto begin = int32_t(first), end = int32_t(centres.size());
    for (int32_t i = begin; i < end; ++i) {
      SkipCentre& centre = centres[size_t(i)];
      centre.begin = std::max(begin, i + centre.begin);
      centre.end = std::min(end, i + centre.end + 1);
    }
  }
  void fetch(const Real* inputs, const Real* outputs) {
    const size_t wanted = touched.size() * size_t(rule.padded);
    if (wanted > room) {
      free(rows);
      room = 0;
      const size_t more = (wanted + wanted / 4) / 16 * 16;
      rows = static_cast<Real*>(aligned_alloc(64, more * sizeof(Real)));
      if (!rows) throw std::bad_alloc();
      room = more;
    }
    const auto source = [&](size_t i) {
      const int64_t row = touched[i];
      return row < rule.words ? inputs + row * rule.width : outputs + (row - rule.words) * rule.width;
    };
    for (size_t i = 0; i < touched.size(); ++i) {
      if (i + 4 < touched.size())
        for (int64_t k = 0; k < rule.width; k += 16) __builtin_prefetch(source(i + 4) + k);
      Real* to = rows + i * size_t(rule.padded);
      memcpy(to, source(i), size_t(rule.width) * sizeof(Real));
      std::fill(to + rule.width, to + rule.padded, Real(0));
    }
  }
};

// The rows that any of them touched, in the order in which they did.
std::vector<int32_t> all_touched(const std::vector<std::unique_ptr<Stretch>>& stretches, std::vector<bool>& seen) {
  std::vector<int32_t> rows;
  for (const auto& stretch : stretches)
    for (int32_t row : stretch->touched)
      if (!seen[size_t(row)]) seen[size_t(row)] = true, rows.push_back(row);
  for (int32_t row : rows) seen[size_t(row)] = false;
  return rows;
}

void merge(const std::vector<std::unique_ptr<Stretch>>& stretches, const std::vector<int32_t>& rows, const Rule& rule,
           Real* inputs, Real* outputs, int threads) {
  constexpr int64_t together = 256;
  const int64_t count = int64_t(rows.size());
  parallel((count + together - 1) / together, threads, [&](int64_t part) {
    std::vector<const Real*> copies(stretches.size());
    for (int64_t i = part * together; i < std::min(count, (part + 1) * together); ++i) {
      const int64_t row = rows[size_t(i)];
      MergeArgs<Real> a{row < rule.words ? inputs + row * rule.width : outputs + (row - rule.words) * rule.width,
                        rule.width, copies.data(), 0};
      for (const auto& stretch : stretches)
        if (const Real* copy = stretch->copy(int32_t(row))) copies[size_t(a.count++)] = copy;
      kernels<Real>().merge_row(a);
    }
  });
}

// See training/vectors.py. Gives the loss of some pairs, added up, and how many those are.
nb::tuple skip_gram(Array<Real, 2> inputs, Array<Real, 2> outputs, Index ids, uint64_t place, uint64_t key,
                    Array<const uint32_t, 1> keep, Array<const uint32_t, 1> chance, Index other, int64_t window,
                    int64_t negatives, double rate, double fall, double least, int64_t shards, int64_t stretch, int threads) {
  const size_t words = inputs.shape(0), width = inputs.shape(1);
  require(words >= 1 && words < size_t(1) << 30 && width >= 1, "there must be a word and a value of it");
  require(shaped(outputs, {words, width}), "outputs must be as inputs are");
  require(keep.shape(0) == words && chance.shape(0) == words && other.shape(0) == words, "every word needs its chances");
  require(window >= 1 && window <= 1024 && negatives >= 1 && negatives <= 1024, "window and negatives are 1 to 1024");
  require(shards >= 1 && shards <= 1024 && stretch >= 1 && stretch <= 1 << 20, "shards are 1 to 1024, a stretch 1 to 2^20 words");
  const int64_t count = int64_t(ids.shape(0));
  for (int64_t i = 0; i < count; ++i) require(ids(size_t(i)) < int32_t(words), "an id must be below the number of words");
  for (size_t i = 0; i < words; ++i) require(other(i) >= 0 && size_t(other(i)) < words, "the other word must be one");
  const Rule rule{key, keep.data(), chance.data(), other.data(), int64_t(words), int64_t(width),
                  (int64_t(width) + 15) / 16 * 16, window, negatives, rate, fall, least};
  double loss = 0;
  int64_t pairs = 0;
  {
    const WithoutLock unlocked;
    std::vector<std::unique_ptr<Stretch>> stretches;
    for (int64_t s = 0; s < shards; ++s) stretches.push_back(std::make_unique<Stretch>(rule));
    std::vector<bool> seen(2 * words);
    for (int64_t first = 0; first < count; first += shards * stretch) {
      parallel(shards, threads, [&](int64_t s) {
        const int64_t begin = std::min(count, first + s * stretch), end = std::min(count, begin + stretch);
        stretches[size_t(s)]->train(ids.data() + begin, end - begin, place + uint64_t(begin), inputs.data(), outputs.data());
      });
      merge(stretches, all_touched(stretches, seen), rule, inputs.data(), outputs.data(), threads);
      parallel(shards, threads, [&](int64_t s) { stretches[size_t(s)]->forget(); });
    }
    for (const auto& each : stretches) loss += each->loss, pairs += each->pairs;
  }
  return nb::make_tuple(loss, pairs);
}

}  // namespace

void define_vectors(nb::module_& m) {
  m.def("skip_gram", &skip_gram, own("inputs"), own("outputs"), own("ids"), "place"_a, "key"_a, own("keep"),
        own("chance"), own("other"), "window"_a, "negatives"_a, "rate"_a, "fall"_a, "least"_a, "shards"_a,
        "stretch"_a, "threads"_a);
}

}  // namespace carryline
