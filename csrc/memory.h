// Working memory of a kernel: whole cache lines, zero at first. Throws std::bad_alloc. (No std::
// templates here: compiled for several instruction sets, they would be merged into one.)
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace carryline::CARRYLINE_ISA {

template <class T> struct Buffer {
  T* at;

  explicit Buffer(int64_t count) {
    const size_t bytes = (size_t(count) * sizeof(T) + 127) / 64 * 64;
    at = static_cast<T*>(aligned_alloc(64, bytes));
    if (!at) throw std::bad_alloc();
    memset(at, 0, bytes);
  }
  ~Buffer() { free(at); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
};

}  // namespace carryline::CARRYLINE_ISA
