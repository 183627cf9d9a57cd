// The register tile every product is made of, and how weights are laid out for it.
//
// A tile holds rows x vectors accumulators and walks the inner dimension once, in order, one fused
// multiply-add an accumulator and step. The order of a sum is therefore the same for every tile
// shape, so a row's result does not depend on the rows beside it.
#pragma once

#include "vec.h"

namespace carryline::CARRYLINE_ISA {

constexpr int panel_vectors = 4;                          // vectors side by side in a panel
constexpr int accumulators = registers == 32 ? 24 : 12;  // leaves room for the operands

template <class T> constexpr int64_t blocks_of(int64_t units) { return (units + lanes<T> - 1) / lanes<T>; }

constexpr int rows_of_tile(int vectors) {
  const int rows = accumulators / vectors, most = accumulators / 3;
  return rows > most ? most : rows;
}

// Where an operand's values lie: x[r][k] is `row` and `step` values further on for each r and k;
// weight[m][k][n] is `block` and `step` values further on for each m and k.
template <class O> struct Left {
  const O* at;
  int64_t row, step;
};
template <class O> struct Right {
  const O* at;
  int64_t block, step;
};

// What a product may do beside: nothing.
struct Nothing {
  void operator()(int64_t) const {}
};
inline constexpr Nothing nothing;

// sum[m][r][n] += x[r][k] * weight[m][k][n] for all terms k; beside(k) is called with each of them.
// The shorter side of the tile stays in registers for a step, the longer one passes through one:
// 4 rows x 3 vectors held by rows took all 16 registers of AVX2 and ran at half the speed.
template <class O, int M, int R, int N, class Beside = const Nothing>
inline __attribute__((always_inline)) void multiply(Vec<typename SumOf<O>::type> (&sum)[M][R][N], Left<O> x,
                                                    Right<O> weight, int64_t inner, Beside& beside = nothing) {
  for (int64_t k = 0; k < inner; ++k) {
    beside(k);
    const O *left_k = x.at + k * x.step, *right_k = weight.at + k * weight.step;
    if constexpr (R <= N) {
      Vec<O> left[R];
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) left[r] = broadcast(left_k[r * x.row]);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) {
          const Vec<O> right = load(right_k + m * weight.block + n * lanes<O>);
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) sum[m][r][n] = fma(left[r], right, sum[m][r][n]);
        }
    } else {
      Vec<O> right[M][N];
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
        for (int n = 0; n < N; ++n) right[m][n] = load(right_k + m * weight.block + n * lanes<O>);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const Vec<O> left = broadcast(left_k[r * x.row]);
#pragma GCC unroll 4
        for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
          for (int n = 0; n < N; ++n) sum[m][r][n] = fma(left, right[m][n], sum[m][r][n]);
      }
    }
  }
}

// Calls work(rows, first) with `rows` a compile-time number: whole tiles first, then the rest.
template <int R> struct Rows { static constexpr int value = R; };
template <int R, class Work>
inline __attribute__((always_inline)) void rest_of_rows(int64_t rest, int64_t first, Work&& work) {
  if constexpr (R > 0) {
    if (rest == R) return work(Rows<R>{}, first);
    rest_of_rows<R - 1>(rest, first, work);
  }
}
template <int R, class Work> inline void tiles_of_rows(int64_t rows, Work&& work) {
  int64_t first = 0;
  for (; first + R <= rows; first += R) work(Rows<R>{}, first);
  rest_of_rows<R - 1>(rows - first, first, work);
}

// Calls work(block, values) for each vector of `units`; how many values it holds is known when
// compiling but for one that ends within.
template <int N> struct Values {
  constexpr operator int64_t() const { return N; }
};
template <class T, class Work>
inline __attribute__((always_inline)) void each_block(int64_t units, Work&& work) {
  const int64_t whole = units / lanes<T>;
  for (int64_t block = 0; block < whole; ++block) work(block, Values<lanes<T>>{});
  if (whole * lanes<T> < units) work(whole, units - whole * lanes<T>);
}

// Rows become columns: each round interleaves the first half of the rows with the second.
template <class T> inline void transpose(Vec<T> (&rows)[lanes<T>]) {
  constexpr int half = lanes<T> / 2;
  using Index = typename IndexOf<T>::type;
  Index low{}, high{};
  for (int i = 0; i < lanes<T>; ++i) low[i] = i / 2 + i % 2 * lanes<T>, high[i] = low[i] + half;
  for (int round = 1; round < lanes<T>; round *= 2) {
    Vec<T> turned[lanes<T>];
#pragma GCC unroll 8
    for (int i = 0; i < half; ++i) {
      turned[2 * i] = __builtin_shuffle(rows[i], rows[i + half], low);
      turned[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + half], high);
    }
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; ++i) rows[i] = turned[i];
  }
}

// A vector of rows [rows, count], at most as many as it has lanes, as columns: to[k][row], zero beyond.
template <class T>
inline void copy_turned(const T* from, int64_t stride, int64_t rows, int64_t count, T* to, int64_t to_stride) {
  each_block<T>(count, [&](int64_t block, auto n) {
    const int64_t k = block * lanes<T>;
    Vec<T> part[lanes<T>];
#pragma GCC unroll 16
    for (int row = 0; row < lanes<T>; ++row) part[row] = row < rows ? load(from + row * stride + k, n) : Vec<T>{};
    transpose<T>(part);
    for (int64_t i = 0; i < n; ++i) store(to + (k + i) * to_stride, part[i]);
  });
}

// The k-th term of a packed operand, of numbers given by value(k); zero beyond `inner`.
template <class O, class Value> inline O term(int64_t k, int64_t inner, Value&& value) {
  if constexpr (depth<O> == 1) return value(k);
  else return pair(value(2 * k), 2 * k + 1 < inner ? value(2 * k + 1) : 0.0f);
}

// weight [gates * hidden, inner] -> [hidden / lanes][term][gate][lane], zero beyond `hidden`.
template <class O> int64_t gates_size(int64_t gates, int64_t inner, int64_t hidden) {
  return blocks_of<O>(hidden) * terms<O>(inner) * gates * lanes<O>;
}
template <class O, class T>
void pack_gates(const T* weight, int64_t gates, int64_t inner, int64_t hidden, T* out) {
  if constexpr (depth<O> == 1) {
    for (int64_t first = 0; first < hidden; first += lanes<T>)
      for (int64_t gate = 0; gate < gates; ++gate)
        copy_turned(weight + (gate * hidden + first) * inner, inner, hidden - first, inner,
                    out + (first * inner * gates) + gate * lanes<T>, gates * lanes<T>);
    return;
  }
  O* packed = reinterpret_cast<O*>(out);
  for (int64_t first = 0; first < hidden; first += lanes<O>)
    for (int64_t k = 0; k < terms<O>(inner); ++k)
      for (int64_t gate = 0; gate < gates; ++gate)
        for (int64_t j = first; j < first + lanes<O>; ++j)
          *packed++ = j < hidden ? term<O>(k, inner, [&](int64_t i) { return weight[(gate * hidden + j) * inner + i]; })
                                 : O{};
}

// matrix [inner, columns] (or its transpose) -> panels [term][panel_vectors * lanes].
template <class O> int64_t panels_size(int64_t inner, int64_t columns) {
  constexpr int64_t width = panel_vectors * lanes<O>;
  return (columns + width - 1) / width * terms<O>(inner) * width;
}
template <class O, class T>
void pack_panels(const T* matrix, int64_t inner, int64_t columns, bool transposed, T* out) {
  constexpr int64_t width = panel_vectors * lanes<O>;
  if constexpr (depth<O> == 1) {
    if (transposed) {
      for (int64_t first = 0; first < (columns + width - 1) / width * width; first += lanes<T>)
        copy_turned(matrix + first * inner, inner, columns - first, inner,
                    out + first / width * width * inner + first % width, width);
      return;
    }
  }
  O* packed = reinterpret_cast<O*>(out);
  for (int64_t first = 0; first < columns; first += width)
    for (int64_t k = 0; k < terms<O>(inner); ++k)
      for (int64_t j = first; j < first + width; ++j)
        *packed++ = j >= columns ? O{} : term<O>(k, inner, [&](int64_t i) {
          return transposed ? matrix[j * inner + i] : matrix[i * columns + j];
        });
}

}  // namespace carryline::CARRYLINE_ISA
