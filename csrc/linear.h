// The linear part: rows of a sparse matrix times a dense one, bags of word vectors, and the sums of products
// that L-BFGS is made of.
#pragma once

#include "kernels.h"
#include "vectors.h"

namespace carryline::CARRYLINE_ISA {

template <class T> inline Vec<T> gathered(const T* from, const int32_t* ids) {
  Vec<T> x;
  for (int i = 0; i < lanes<T>; ++i) x[i] = from[ids[i]];
  return x;
}
#if defined(__AVX512F__)
inline FloatVector gathered(const float* from, const int32_t* ids) {
  return _mm512_i32gather_ps(_mm512_loadu_si512(ids), from, 4);
}
#elif defined(__AVX2__)
inline FloatVector gathered(const float* from, const int32_t* ids) {
  return _mm256_i32gather_ps(from, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(ids)), 4);
}
#endif

template <class T> inline Vec<T> widened(const float* values) {
  if constexpr (sizeof(T) == sizeof(float)) return load(values);
  Vec<T> x;
  for (int i = 0; i < lanes<T>; ++i) x[i] = T(values[i]);
  return x;
}

// One column: a sum for each lane, two vectors of them, for a sum waits for the one before it.
template <class T> inline T sparse_sum(const float* values, const int32_t* ids, int64_t count, const T* dense) {
  T rest = 0;
  int64_t i = 0;
  Vec<T> sum[2]{};
  for (; i + 2 * lanes<T> <= count; i += 2 * lanes<T>)
    for (int j = 0; j < 2; ++j)
      sum[j] = fma(widened<T>(values + i + j * lanes<T>), gathered(dense, ids + i + j * lanes<T>), sum[j]);
  for (; i + lanes<T> <= count; i += lanes<T>) sum[0] = fma(widened<T>(values + i), gathered(dense, ids + i), sum[0]);
  const int64_t whole = i;
  for (; i < count; ++i) rest += T(values[i]) * dense[ids[i]];
  return whole ? sum_of_lanes<T>(sum[0] + sum[1]) + rest : rest;
}

// The lanes of a row's last vector, which may end with its array.
template <class T> struct Tail {
  int64_t count;
  explicit Tail(int64_t n) : count(n) {}
  Vec<T> operator()(const T* from) const { return load(from, count); }
};
#if defined(__AVX512F__)
template <> struct Tail<float> {
  __mmask16 mask;
  explicit Tail(int64_t n) : mask(__mmask16((1u << n) - 1)) {}
  Vec<float> operator()(const float* from) const { return _mm512_maskz_loadu_ps(mask, from); }
};
#elif defined(__AVX2__)
template <> struct Tail<float> {
  __m256i mask;
  explicit Tail(int64_t n) : mask(_mm256_cmpgt_epi32(_mm256_set1_epi32(int(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))) {}
  Vec<float> operator()(const float* from) const { return _mm256_maskload_ps(from, mask); }
};
#endif

// N vectors of columns, the last of `last` values: the sum of the entries' rows in their order.
template <int N, class T>
inline void sparse_columns(const float* values, const int32_t* ids, int64_t count, const T* dense, int64_t columns,
                           int64_t last, T* out) {
  constexpr int64_t ahead = 8;  // entries: their rows lie anywhere, no prefetcher finds them
  const Tail<T> tail(last);
  Vec<T> sum[N]{};
  for (int64_t i = 0; i < count; ++i) {
    if (i + ahead < count)
      for (int64_t j = 0; j < N * lanes<T>; j += 64 / int64_t(sizeof(T)))
        __builtin_prefetch(dense + int64_t(ids[i + ahead]) * columns + j);
    const T* row = dense + int64_t(ids[i]) * columns;
    const Vec<T> value = broadcast(T(values[i]));
#pragma GCC unroll 8
    for (int j = 0; j + 1 < N; ++j) sum[j] = fma(value, load(row + j * lanes<T>), sum[j]);
    sum[N - 1] = fma(value, tail(row + (N - 1) * lanes<T>), sum[N - 1]);
  }
#pragma GCC unroll 8
  for (int j = 0; j + 1 < N; ++j) store(out + j * lanes<T>, sum[j]);
  store(out + (N - 1) * lanes<T>, sum[N - 1], last);
}

// Calls f with the constant that `number`, 1 to N, is.
template <int N, class F> inline void once_with(int64_t number, const F& f) {
  if constexpr (N == 1) f(std::integral_constant<int, 1>());
  else if (number == N) f(std::integral_constant<int, N>());
  else once_with<N - 1>(number, f);
}

// Rows `begin` to `end`: each the sum of its entries' rows of `dense`.
template <class T> void sparse_rows(const SparseArgs<T>& a, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* values = a.values + a.offsets[row];
    const int32_t* ids = a.ids + a.offsets[row];
    const int64_t count = a.offsets[row + 1] - a.offsets[row];
    T* out = a.out + row * a.columns;
    if (a.columns == 1) {
      *out = sparse_sum(values, ids, count, a.dense);
      continue;
    }
    for (int64_t first = 0; first < a.columns; first += 8 * lanes<T>) {
      const int64_t left = a.columns - first < 8 * lanes<T> ? a.columns - first : 8 * lanes<T>;
      const int64_t vectors = (left + lanes<T> - 1) / lanes<T>, last = left - (vectors - 1) * lanes<T>;
      once_with<8>(vectors, [&](auto n) {
        sparse_columns<decltype(n)::value>(values, ids, count, a.dense + first, a.columns, last, out + first);
      });
    }
  }
}

// Mean by weight, mean, largest and smallest of each value, side by side; N vectors of columns at once, so
// that all sums stay in registers while the words pass.
template <int N, class T> inline void bag_columns(const BagArgs<T>& a, int64_t first, int64_t last, T weights) {
  const Tail<T> tail(last);
  Vec<T> weighted[N]{}, sum[N]{}, largest[N]{}, smallest[N]{};
  for (int64_t i = 0; i < a.count; ++i) {
    const T* row = a.matrix + int64_t(a.ids[i]) * a.width + first;
    const Vec<T> share = broadcast(a.weight[a.ids[i]]);
#pragma GCC unroll 4
    for (int j = 0; j < N; ++j) {
      const Vec<T> x = j + 1 < N ? load(row + j * lanes<T>) : tail(row + j * lanes<T>);
      weighted[j] = fma(share, x, weighted[j]);
      sum[j] += x;
      largest[j] = i == 0 ? x : (x > largest[j] ? x : largest[j]);
      smallest[j] = i == 0 ? x : (x < smallest[j] ? x : smallest[j]);
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < N; ++j) {
    T* to = a.out + first + j * lanes<T>;
    const int64_t n = j + 1 < N ? lanes<T> : last;
    store(to, weighted[j] / weights, n), store(to + a.width, sum[j] / T(a.count), n);
    store(to + 2 * a.width, largest[j], n), store(to + 3 * a.width, smallest[j], n);
  }
}

template <class T> void bag(const BagArgs<T>& a) {
  constexpr int most = registers == 32 ? 4 : 2;
  if (a.count == 0) {
    for (int64_t i = 0; i < 4 * a.width; ++i) a.out[i] = T(0);
    return;
  }
  T weights = 0;
  for (int64_t i = 0; i < a.count; ++i) weights += a.weight[a.ids[i]];
  for (int64_t first = 0; first < a.width; first += most * lanes<T>) {
    const int64_t left = a.width - first < most * lanes<T> ? a.width - first : most * lanes<T>;
    const int64_t vectors = (left + lanes<T> - 1) / lanes<T>, last = left - (vectors - 1) * lanes<T>;
    once_with<most>(vectors, [&](auto n) { bag_columns<decltype(n)::value>(a, first, last, weights); });
  }
}

// The sum of products in double precision, by sixteen sums.
template <class T> double dot(const T* one, const T* other, int64_t count) {
  double sums[16] = {};
  int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (int j = 0; j < 16; ++j) sums[j] += double(one[i + j]) * double(other[i + j]);
  for (; i < count; ++i) sums[i % 16] += double(one[i]) * double(other[i]);
  for (int half = 8; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) sums[j] += sums[j + half];
  return sums[0];
}

// out = the sum of factors[k] vectors[k], in their order.
template <class T>
void combine(const double* factors, const T* const* vectors, int64_t number, int64_t begin, int64_t end, T* out) {
  for (int64_t i = begin; i < end; ++i) out[i] = T(factors[0]) * vectors[0][i];
  for (int64_t k = 1; k < number; ++k) {
    const T factor = T(factors[k]), *from = vectors[k];
    for (int64_t i = begin; i < end; ++i) out[i] += factor * from[i];
  }
}

}  // namespace carryline::CARRYLINE_ISA
