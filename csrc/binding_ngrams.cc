// The doors of the linear part: keys of n-grams, the features of texts, and bags of vectors.
#include <cmath>
#include <utility>

#include "arrays.h"
#include "ngrams.h"

namespace carryline {
namespace {

using Keys = Array<const uint64_t, 1>;
using Bytes = Array<const uint8_t, 1>;

nb::object word_keys(Bytes text, Starts offsets) {
  check_offsets(offsets, text.shape(0));
  std::vector<uint64_t> keys(offsets.shape(0) - 1);
  for (size_t i = 0; i < keys.size(); ++i)
    keys[i] = key_of(text.data() + offsets(i), offsets(i + 1) - offsets(i), seed_of_words);
  return nb::cast(owned(std::move(keys)));
}

nb::tuple character_keys_of(Bytes text, Starts offsets, int shortest, int longest) {
  check_offsets(offsets, text.shape(0));
  require(1 <= shortest && shortest <= longest, "1 <= shortest <= longest");
  std::vector<uint64_t> keys;
  std::vector<uint8_t> padded;
  std::vector<int64_t> characters, ends(1, 0);
  for (size_t i = 0; i + 1 < offsets.shape(0); ++i) {
    character_keys(text.data() + offsets(i), offsets(i + 1) - offsets(i), shortest, longest, padded, characters, keys);
    ends.push_back(int64_t(keys.size()));
  }
  return nb::make_tuple(owned(std::move(keys)), owned(std::move(ends)));
}

// Pieces of texts by their numbers, and what each piece has: that of piece i from own_offsets[i] on.
struct Pieces {
  const Index& numbers;
  const Starts &offsets, &own_offsets;

  void check(size_t own) const {
    check_offsets(offsets, numbers.shape(0));
    check_offsets(own_offsets, own);
    check_index(numbers, numbers.shape(0), own_offsets.shape(0) - 1);
  }
  int64_t texts() const { return int64_t(offsets.shape(0)) - 1; }
  // f(i) for all that the pieces of a text have.
  template <class F> void each(int64_t text, const F& f) const {
    for (int64_t i = offsets(size_t(text)); i < offsets(size_t(text) + 1); ++i) {
      const size_t piece = size_t(numbers(size_t(i)));
      for (int64_t j = own_offsets(piece); j < own_offsets(piece + 1); ++j) f(size_t(j));
    }
  }
  // f(key) for all words of a text and for each two neighbours, 0 being outside at both ends.
  template <class F> void each_pair(const Keys& words, int64_t text, const F& f) const {
    uint64_t before = 0;
    bool any = false;
    each(text, [&](size_t j) {
      f(words(j)), f(key_of_pair(before, words(j)));
      before = words(j), any = true;
    });
    if (any) f(key_of_pair(before, 0));
  }
};

nb::tuple spread(Index numbers, Starts offsets, Index own, Starts own_offsets) {
  const Pieces pieces{numbers, offsets, own_offsets};
  pieces.check(own.shape(0));
  std::vector<int32_t> values;
  std::vector<int64_t> ends(1, 0);
  for (int64_t text = 0; text < pieces.texts(); ++text) {
    pieces.each(text, [&](size_t j) { values.push_back(own(j)); });
    ends.push_back(int64_t(values.size()));
  }
  return nb::make_tuple(owned(std::move(values)), owned(std::move(ends)));
}

nb::tuple pair_keys(Index numbers, Starts offsets, Keys words, Starts own_offsets) {
  const Pieces pieces{numbers, offsets, own_offsets};
  pieces.check(words.shape(0));
  std::vector<uint64_t> keys;
  std::vector<int64_t> ends(1, 0);
  for (int64_t text = 0; text < pieces.texts(); ++text) {
    pieces.each_pair(words, text, [&](uint64_t key) { keys.push_back(key); });
    ends.push_back(int64_t(keys.size()));
  }
  return nb::make_tuple(owned(std::move(keys)), owned(std::move(ends)));
}

// In how many texts each id is that pieces have; a piece that comes again in a text is passed over.
nb::object text_counts(Index numbers, Starts offsets, Index own, Starts own_offsets, size_t features) {
  const Pieces pieces{numbers, offsets, own_offsets};
  pieces.check(own.shape(0));
  check_index(own, own.shape(0), features);
  std::vector<int64_t> counts(features, 0);
  std::vector<int32_t> last(features, -1), seen(own_offsets.shape(0) - 1, -1);
  for (int64_t text = 0; text < pieces.texts(); ++text)
    for (int64_t i = offsets(size_t(text)); i < offsets(size_t(text) + 1); ++i) {
      const size_t piece = size_t(numbers(size_t(i)));
      if (std::exchange(seen[piece], int32_t(text)) == int32_t(text)) continue;
      for (int64_t j = own_offsets(piece); j < own_offsets(piece + 1); ++j) {
        const size_t id = size_t(own(size_t(j)));
        counts[id] += std::exchange(last[id], int32_t(text)) != int32_t(text);
      }
    }
  return nb::cast(owned(std::move(counts)));
}

nb::object slots(Keys keys) {
  size_t size = 2;
  while (size < 2 * keys.shape(0)) size *= 2;
  std::vector<int32_t> slots(size, -1);
  for (size_t i = 0; i < keys.shape(0); ++i) {
    size_t at = keys(i) & (size - 1);
    for (; slots[at] >= 0; at = (at + 1) & (size - 1))
      require(keys(size_t(slots[at])) != keys(i), "no key may be there twice");
    slots[at] = int32_t(i);
  }
  return nb::cast(owned(std::move(slots)));
}

Slots checked_slots(const Keys& keys, const Index& slots) {
  const size_t size = slots.shape(0);
  require(size >= 2 && (size & (size - 1)) == 0 && size > keys.shape(0), "slots must be those of the keys");
  return {keys.data(), slots.data(), size - 1};
}

// The number of each wanted key, -1 for one that is not there.
nb::object find(Keys keys, Index slots, Keys wanted) {
  const Slots known = checked_slots(keys, slots);
  std::vector<int32_t> found(wanted.shape(0));
  for (size_t i = 0; i < found.size(); ++i) found[i] = known.find(wanted(i));
  return nb::cast(owned(std::move(found)));
}

// The different keys of texts, rising, and in how many texts each is.
nb::tuple document_counts(Keys keys, Starts offsets) {
  check_offsets(offsets, keys.shape(0));
  std::vector<uint64_t> all;
  std::vector<uint64_t> own;
  for (size_t text = 0; text + 1 < offsets.shape(0); ++text) {
    own.assign(keys.data() + offsets(text), keys.data() + offsets(text + 1));
    std::sort(own.begin(), own.end());
    all.insert(all.end(), own.begin(), std::unique(own.begin(), own.end()));
  }
  std::sort(all.begin(), all.end());
  std::vector<uint64_t> different;
  std::vector<int64_t> counts;
  for (const uint64_t key : all) {
    if (different.empty() || different.back() != key) different.push_back(key), counts.push_back(0);
    ++counts.back();
  }
  return nb::make_tuple(owned(std::move(different)), owned(std::move(counts)));
}

// Of each text the different ids, in the order in which they come, each with (1 + log count) scale[id],
// divided by their 2-norm. ids(text, f) calls f for each of a text, below 0 for none.
template <class Ids>
nb::tuple weighed(int64_t texts, double most, const Array<const float, 1>& scale, int threads, const Ids& ids) {
  const int64_t together = 64, parts = (texts + together - 1) / together;
  const size_t features = scale.shape(0);
  struct Part {
    std::vector<float> values;
    std::vector<int32_t> ids;
    std::vector<int64_t> sizes;
  };
  std::vector<Part> made(static_cast<size_t>(parts));
  std::vector<int64_t> ends(1, 0);
  std::vector<float> values;
  std::vector<int32_t> found;
  {
    const WithoutLock unlocked;
    double times[64];  // a logarithm takes as long as ten of what stands around it
    for (int n = 1; n < 64; ++n) times[n] = 1 + std::log(double(n));
    threads = threads_worth(threads, 100 * most);
    parallel(parts, threads, [&](int64_t part) {
      thread_local std::vector<int32_t> counts;
      counts.resize(std::max(counts.size(), features));
      Part& own = made[size_t(part)];
      for (int64_t text = part * together; text < std::min(texts, (part + 1) * together); ++text) {
        const size_t begin = own.ids.size();
        ids(text, [&](int32_t id) {
          if (id >= 0 && counts[size_t(id)]++ == 0) own.ids.push_back(id);
        });
        double squares = 0;
        for (size_t i = begin; i < own.ids.size(); ++i) {
          int32_t& count = counts[size_t(own.ids[i])];
          const double factor = count < 64 ? times[count] : 1 + std::log(double(count));
          const double value = factor * double(scale(size_t(own.ids[i])));
          squares += value * value, count = 0;
          own.values.push_back(float(value));
        }
        const float share = squares > 0 ? float(1 / std::sqrt(squares)) : 0.0f;
        for (size_t i = begin; i < own.ids.size(); ++i) own.values[i] *= share;
        own.sizes.push_back(int64_t(own.ids.size() - begin));
      }
    });
    size_t count = 0;
    for (const Part& own : made) count += own.ids.size();
    values.reserve(count), found.reserve(count);
    for (Part& own : made) {
      values.insert(values.end(), own.values.begin(), own.values.end());
      found.insert(found.end(), own.ids.begin(), own.ids.end());
      for (const int64_t size : own.sizes) ends.push_back(ends.back() + size);
      own = {};
    }
  }
  return nb::make_tuple(owned(std::move(values)), owned(std::move(found)), owned(std::move(ends)));
}

nb::tuple weigh(Index numbers, Starts offsets, Index own, Starts own_offsets, Array<const float, 1> scale, int threads) {
  const Pieces pieces{numbers, offsets, own_offsets};
  pieces.check(own.shape(0));
  bool fits = true;
  for (size_t i = 0; i < own.shape(0); ++i) fits &= own(i) < int64_t(scale.shape(0));
  require(fits, "an id must be below the number of features");
  return weighed(pieces.texts(), 8 * double(numbers.shape(0)), scale, threads, [&](int64_t text, const auto& f) {
    pieces.each(text, [&](size_t j) { f(own(j)); });
  });
}

// The same of words and pairs of them, which are looked up here.
nb::tuple weigh_pairs(Index numbers, Starts offsets, Keys words, Starts own_offsets, Keys keys, Index slots,
                      Array<const float, 1> scale, int threads) {
  const Pieces pieces{numbers, offsets, own_offsets};
  pieces.check(words.shape(0));
  const Slots known = checked_slots(keys, slots);
  require(scale.shape(0) == keys.shape(0), "every key needs its scale");
  return weighed(pieces.texts(), 2 * double(numbers.shape(0)), scale, threads, [&](int64_t text, const auto& f) {
    pieces.each_pair(words, text, [&](uint64_t key) { f(known.find(key)); });
  });
}

// Of each text's vectors (rows `ids` of matrix): their mean by weight, their plain mean, the largest and the
// smallest of each value, side by side; zeros for a text without any.
void bags(Array<const float, 2> matrix, Array<const float, 1> weight, Index ids, Starts offsets, Array<float, 2> out,
          int threads) {
  const int64_t texts = int64_t(offsets.shape(0)) - 1, width = int64_t(matrix.shape(1)), together = 16;
  check_offsets(offsets, ids.shape(0));
  check_index(ids, ids.shape(0), matrix.shape(0));
  require(weight.shape(0) == matrix.shape(0), "every row needs its weight");
  require(int64_t(out.shape(0)) == texts && int64_t(out.shape(1)) == 4 * width, "out must be [texts, 4 * width]");
  const WithoutLock unlocked;
  threads = threads_worth(threads, 4 * double(ids.shape(0)) * double(width));
  parallel((texts + together - 1) / together, threads, [&](int64_t part) {
    for (int64_t text = part * together; text < std::min(texts, (part + 1) * together); ++text) {
      const int64_t begin = offsets(size_t(text)), count = offsets(size_t(text) + 1) - begin;
      kernels<float>().bag({matrix.data(), weight.data(), width, ids.data() + begin, count, out.data() + text * 4 * width});
    }
  });
}

}  // namespace

void define_ngrams(nb::module_& m) {
  m.def("word_keys", &word_keys, own("text"), own("offsets"));
  m.def("character_keys", &character_keys_of, own("text"), own("offsets"), "shortest"_a, "longest"_a);
  m.def("spread", &spread, own("numbers"), own("offsets"), own("own"), own("own_offsets"));
  m.def("pair_keys", &pair_keys, own("numbers"), own("offsets"), own("words"), own("own_offsets"));
  m.def("text_counts", &text_counts, own("numbers"), own("offsets"), own("own"), own("own_offsets"), "features"_a);
  m.def("slots", &slots, own("keys"));
  m.def("find", &find, own("keys"), own("slots"), own("wanted"));
  m.def("document_counts", &document_counts, own("keys"), own("offsets"));
  m.def("weigh", &weigh, own("numbers"), own("offsets"), own("own"), own("own_offsets"), own("scale"), "threads"_a);
  m.def("weigh_pairs", &weigh_pairs, own("numbers"), own("offsets"), own("words"), own("own_offsets"), own("keys"),
        own("slots"), own("scale"), "threads"_a);
  m.def("bags", &bags, own("matrix"), own("weight"), own("ids"), own("offsets"), own("out"), "threads"_a);
}

}  // namespace carryline
