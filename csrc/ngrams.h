// N-grams of texts as numbers (keys), and the features that a model knows of them.
//
// A key is a hash of 64 bits of what is written, the same on every machine: two n-grams of a million
// share one with a chance of 3e-8.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace carryline {

// The finalizer of SplitMix64 (Steele et al. 2014): every bit of the input moves every bit of the output.
inline uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

constexpr uint64_t seed_of_words = 0x9e3779b97f4a7c15u, seed_of_characters = 0xd1b54a32d192ed03u;

inline uint64_t key_of(const uint8_t* bytes, int64_t size, uint64_t seed) {
  uint64_t key = seed + uint64_t(size);
  for (int64_t i = 0; i < size; ++i) key = (key ^ bytes[i]) * 0x100000001b3u;  // FNV-1a's step
  return mixed(key);
}

inline uint64_t key_of_pair(uint64_t one, uint64_t other) { return mixed(one * 3 + mixed(other) + 1); }

// Appends the keys of all n-grams of `shortest` to `longest` characters of a word with a blank before and
// after it. characters: scratch, where each of them begins.
inline void character_keys(const uint8_t* word, int64_t size, int shortest, int longest, std::vector<uint8_t>& padded,
                           std::vector<int64_t>& characters, std::vector<uint64_t>& keys) {
  padded.assign(1, ' ');
  padded.insert(padded.end(), word, word + size);
  padded.push_back(' ');
  characters.clear();
  for (size_t i = 0; i < padded.size(); ++i)
    if ((padded[i] & 0xc0) != 0x80) characters.push_back(int64_t(i));
  characters.push_back(int64_t(padded.size()));
  const int64_t count = int64_t(characters.size()) - 1;
  for (int64_t first = 0; first < count; ++first)
    for (int64_t n = shortest; n <= longest && first + n <= count; ++n) {
      const int64_t begin = characters[size_t(first)], end = characters[size_t(first + n)];
      keys.push_back(key_of(padded.data() + begin, end - begin, seed_of_characters));
    }
}

// Keys by open addressing: slot -> number of the key, -1 for none. The number of slots is a power of two,
// at least twice that of keys.
struct Slots {
  const uint64_t* keys;
  const int32_t* slots;
  uint64_t mask;

  int32_t find(uint64_t key) const {
    for (uint64_t at = key & mask;; at = (at + 1) & mask) {
      const int32_t number = slots[at];
      if (number < 0 || keys[number] == key) return number;
    }
  }
};

}  // namespace carryline
