// What the doors share: array types, checks, and the split of work over threads.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "dispatch.h"
#include "parallel.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace carryline {

template <class T, int N> using Array = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
// Rows may lie apart; the values of a row are neighbours.
template <class T> using Rows = nb::ndarray<T, nb::ndim<2>, nb::device::cpu>;
template <class T> using Maybe = std::optional<T>;
using Starts = Array<const int64_t, 1>;
using Index = Array<const int32_t, 1>;

// An array that owns its values.
template <class T> using Owned = nb::ndarray<nb::numpy, T, nb::ndim<1>>;
template <class T> Owned<T> owned(std::vector<T> values) {
  auto* kept = new std::vector<T>(std::move(values));
  nb::capsule owner(kept, [](void* at) noexcept { delete static_cast<std::vector<T>*>(at); });
  return Owned<T>(kept->data(), {kept->size()}, owner);
}

// Other Python threads run while this lives. A daemon thread that asks for the lock again when the
// interpreter has ended is ended by Python up to 3.13, with pthread_exit, which unwinds its stack; but
// functions that may not throw stand there, and the whole process would be aborted. So it is caught and
// waits for the end of the process here, as threads do from Python 3.14 on.
class WithoutLock {
  PyThreadState* const state = PyEval_SaveThread();

 public:
  WithoutLock() = default;
  WithoutLock(const WithoutLock&) = delete;
  WithoutLock& operator=(const WithoutLock&) = delete;
  ~WithoutLock() {
    try {
      PyEval_RestoreThread(state);
    } catch (...) {
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }
};

inline void require(bool holds, const char* rule) {
  if (!holds) throw std::invalid_argument(rule);
}

template <class A> auto data(const Maybe<A>& array) { return array ? array->data() : nullptr; }

template <class T, int N> bool shaped(const Array<T, N>& a, const size_t (&shape)[N]) {
  for (int i = 0; i < N; ++i)
    if (a.shape(size_t(i)) != shape[i]) return false;
  return true;
}
template <class T, int N> bool shaped(const Maybe<Array<T, N>>& a, const size_t (&shape)[N]) {
  return a && shaped(*a, shape);
}

template <class T> void check_rows(const Rows<T>& a) {
  require(a.shape(0) == 0 || a.shape(1) <= 1 || a.stride(1) == 1, "values of a row must be neighbours in memory");
}

inline void check_index(const Maybe<Index>& index, size_t tokens, size_t rows) {
  if (!index) return;
  require(index->shape(0) == tokens, "the index must have a row for every token");
  const int32_t* row = index->data();
  bool fits = true;
  for (size_t i = 0; i < tokens; ++i) fits &= row[i] >= 0 && size_t(row[i]) < rows;
  require(fits, "a row of the index is out of range");
}

inline void check_starts(const Starts& starts, size_t texts, size_t tokens) {
  require(starts.shape(0) >= 1 && starts(0) == 0, "starts must begin with 0");
  int64_t before = int64_t(texts);
  for (size_t t = 0; t + 1 < starts.shape(0); ++t) {
    const int64_t active = starts(t + 1) - starts(t);
    require(active >= 0 && active <= before, "no step may have more texts than the one before");
    before = active;
  }
  require(starts(starts.shape(0) - 1) == int64_t(tokens), "starts must end at the number of tokens");
}

// offsets [items + 1] from 0, never falling, to `end`.
inline void check_offsets(const Starts& offsets, size_t end) {
  require(offsets.shape(0) >= 1 && offsets(0) == 0, "offsets must begin with 0");
  for (size_t i = 0; i + 1 < offsets.shape(0); ++i) require(offsets(i) <= offsets(i + 1), "offsets must never fall");
  require(offsets(offsets.shape(0) - 1) == int64_t(end), "offsets must end with the number of entries");
}

// Products too small to be worth a second thread: some 0.02 ms of work.
inline int threads_worth(int threads, double multiplications) {
  return std::max(1, std::min(threads, int(multiplications / 1e6)));
}

// The kernels in use; throws for what is not there.
template <class T> const Kernels<T>& chosen(bool brief) {
  require(!brief || sizeof(T) == sizeof(float), "products of bfloat16 are for single precision");
  return kernels<T>(brief);
}

inline auto own(const char* name) { return nb::arg(name).noconvert(); }
inline auto none(const char* name) { return nb::arg(name).noconvert().none(); }

template <class T> using Each = std::vector<nb::ndarray<T, nb::c_contig, nb::device::cpu>>;

// Packs a matrix a direction. size(rows, columns): of a packed one; pack(matrix, rows, columns, to).
template <class T, class Size, class Pack>
void pack_each(const Each<const T>& matrices, const Array<T, 2>& packed, int threads, const Size& size, const Pack& pack) {
  require(!matrices.empty() && packed.shape(0) == matrices.size(), "packed must have a row for each matrix");
  for (const auto& matrix : matrices) {
    require(matrix.ndim() == 2 && matrix.shape(0) == matrices[0].shape(0) && matrix.shape(1) == matrices[0].shape(1),
            "matrices must be of one shape");
    require(int64_t(packed.shape(1)) == size(int64_t(matrix.shape(0)), int64_t(matrix.shape(1))), "packed has the wrong size");
  }
  const WithoutLock unlocked;
  const int64_t rows = int64_t(matrices[0].shape(0)), columns = int64_t(matrices[0].shape(1));
  threads = threads_worth(threads, 100 * double(packed.size()));
  parallel(int64_t(matrices.size()), threads, [&](int64_t i) {
    pack(matrices[size_t(i)].data(), rows, columns, packed.data() + size_t(i) * packed.shape(1));
  });
}

template <class T> void define_recurrence(nb::module_& m);
template <class T> void define_adam(nb::module_& m);
void define_vectors(nb::module_& m);
void define_ngrams(nb::module_& m);
void define_linear(nb::module_& m);

}  // namespace carryline
