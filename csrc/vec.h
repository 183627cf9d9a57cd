// Vectors as wide as the instruction set allows, and the two functions cells are made of.
//
// Every operation here gives a lane the same bits wherever the lane stands and however many rows
// are worked on beside it. That is what makes results independent of a batch's composition, so:
// no contraction by the compiler (-ffp-contract=off), a fused multiply-add only where `fma` says.
#pragma once

#include <cstdint>
#include <cstring>
#include <math.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace carryline::CARRYLINE_ISA {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, registers = 32;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32, registers = 16;
#elif defined(__ARM_NEON)
constexpr int vector_bytes = 16, registers = 32;
#else
constexpr int vector_bytes = 16, registers = 16;
#endif

typedef float FloatVector __attribute__((vector_size(vector_bytes)));
typedef uint32_t BitVector __attribute__((vector_size(vector_bytes)));
typedef double DoubleVector __attribute__((vector_size(vector_bytes)));
typedef float FloatLoose __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
typedef double DoubleLoose __attribute__((vector_size(vector_bytes), aligned(8), may_alias));

template <class T> struct VectorOf;
template <> struct VectorOf<float> { using type = FloatVector; using loose = FloatLoose; };
template <> struct VectorOf<double> { using type = DoubleVector; using loose = DoubleLoose; };
template <class T> struct IndexOf;
template <> struct IndexOf<float> { typedef int32_t type __attribute__((vector_size(vector_bytes))); };
template <> struct IndexOf<double> { typedef int64_t type __attribute__((vector_size(vector_bytes))); };
template <class T> using Vec = typename VectorOf<T>::type;
template <class T> constexpr int lanes = vector_bytes / int(sizeof(T));

template <class T> inline Vec<T> load(const T* from) {
  return *reinterpret_cast<const typename VectorOf<T>::loose*>(from);
}
template <class T> inline void store(T* to, Vec<T> x) {
  *reinterpret_cast<typename VectorOf<T>::loose*>(to) = x;
}
// The first n lanes; the others are zero on loading and left alone on storing.
template <class T> inline Vec<T> load(const T* from, int64_t n) {
  if (n >= lanes<T>) return load(from);
  Vec<T> x{};
  memcpy(&x, from, size_t(n) * sizeof(T));
  return x;
}
template <class T> inline void store(T* to, Vec<T> x, int64_t n) {
  if (n >= lanes<T>) return store(to, x);
  memcpy(to, &x, size_t(n) * sizeof(T));
}
// For what is read much later: past the caches where a vector is a whole cache line.
// `to` begins on a cache line.
template <class T> inline void store_far(T* to, Vec<T> x) {
#if defined(__AVX512F__)
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), reinterpret_cast<__m512i>(x));
#elif defined(__AVX2__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), reinterpret_cast<__m256i>(x));
#else
  store(to, x);
#endif
}
// After `store_far`, before other threads read.
inline void fence() {
#if defined(__AVX2__)
  _mm_sfence();
#endif
}
template <class T> inline Vec<T> broadcast(T x) { return x - Vec<T>{}; }

// a * b + c, rounded once where the instruction set can.
#if defined(__AVX512F__)
inline FloatVector fma(FloatVector a, FloatVector b, FloatVector c) { return _mm512_fmadd_ps(a, b, c); }
inline DoubleVector fma(DoubleVector a, DoubleVector b, DoubleVector c) { return _mm512_fmadd_pd(a, b, c); }
#elif defined(__AVX2__)
inline FloatVector fma(FloatVector a, FloatVector b, FloatVector c) { return _mm256_fmadd_ps(a, b, c); }
inline DoubleVector fma(DoubleVector a, DoubleVector b, DoubleVector c) { return _mm256_fmadd_pd(a, b, c); }
#elif defined(__ARM_NEON)
inline FloatVector fma(FloatVector a, FloatVector b, FloatVector c) { return vfmaq_f32(c, a, b); }
inline DoubleVector fma(DoubleVector a, DoubleVector b, DoubleVector c) { return vfmaq_f64(c, a, b); }
#else
template <class V> inline V fma(V a, V b, V c) { return a * b + c; }
#endif

#if defined(__AVX512F__)
inline FloatVector square_root(FloatVector x) { return _mm512_sqrt_ps(x); }
inline DoubleVector square_root(DoubleVector x) { return _mm512_sqrt_pd(x); }
#elif defined(__AVX2__)
inline FloatVector square_root(FloatVector x) { return _mm256_sqrt_ps(x); }
inline DoubleVector square_root(DoubleVector x) { return _mm256_sqrt_pd(x); }
#elif defined(__x86_64__)
inline FloatVector square_root(FloatVector x) { return _mm_sqrt_ps(x); }
inline DoubleVector square_root(DoubleVector x) { return _mm_sqrt_pd(x); }
#else
template <class V> inline V square_root(V x) {
  for (size_t lane = 0; lane < sizeof x / sizeof x[0]; ++lane) x[lane] = sizeof x[0] == 4 ? sqrtf(float(x[lane])) : sqrt(x[lane]);
  return x;
}
#endif

// Whether no bit of any lane is set.
template <class V> inline bool zero(V x) {
#if defined(__AVX512F__)
  return _mm512_test_epi64_mask((__m512i)x, (__m512i)x) == 0;
#elif defined(__AVX2__)
  return _mm256_testz_si256((__m256i)x, (__m256i)x);
#else
  uint64_t bits[sizeof x / 8], any = 0;
  memcpy(bits, &x, sizeof x);
  for (uint64_t part : bits) any |= part;
  return any == 0;
#endif
}

// x between -limit and limit; a NaN stays a NaN, as the second operand of these instructions does.
#if defined(__AVX512F__)
inline FloatVector clamp(FloatVector x, float limit) {
  return _mm512_max_ps(_mm512_set1_ps(-limit), _mm512_min_ps(_mm512_set1_ps(limit), x));
}
#elif defined(__AVX2__)
inline FloatVector clamp(FloatVector x, float limit) {
  return _mm256_max_ps(_mm256_set1_ps(-limit), _mm256_min_ps(_mm256_set1_ps(limit), x));
}
#else
inline FloatVector clamp(FloatVector x, float limit) {
  x = x > limit ? broadcast(limit) : x;
  return x < -limit ? broadcast(-limit) : x;
}
#endif

// 2^(j / roots), as many as one permutation finds in a register; without one, only 1.
#if defined(__AVX2__)
constexpr int roots = lanes<float>, root_bits = roots == 16 ? 4 : 3;
#else
constexpr int roots = 1, root_bits = 0;
#endif
constexpr float sixteenths[16] = {
    1.0f, 1.04427373f, 1.09050775f, 1.13878858f,
    1.18920708f, 1.24185777f, 1.29683959f, 1.35425556f,
    1.41421354f, 1.47682619f, 1.54221082f, 1.61049032f,
    1.68179286f, 1.75625217f, 1.8340081f, 1.91520655f};
struct Powers {
  alignas(vector_bytes) uint32_t root[lanes<float>];  // bits, less j's place in the exponent
  float magic = 12582912.0f;                          // 1.5 2^23: what is added to it is rounded
};
constexpr Powers make_powers() {
  Powers out{};
  for (int j = 0; j < roots; ++j)
    out.root[j] = __builtin_bit_cast(uint32_t, sixteenths[j * 16 / roots]) - (uint32_t(j) << (23 - root_bits));
  return out;
}
constexpr Powers powers_in_memory = make_powers();

// 2^(n / roots), of which the lower bits of n choose the root and the others are its exponent.
inline FloatVector power_of_root(const Powers* powers, BitVector n) {
#if defined(__AVX512F__)
  const auto root = (BitVector)_mm512_permutexvar_epi32((__m512i)n, _mm512_load_si512(powers->root));
#elif defined(__AVX2__)
  const auto root = (BitVector)_mm256_permutevar8x32_epi32(
      _mm256_load_si256(reinterpret_cast<const __m256i*>(powers->root)), (__m256i)n);
#else
  const BitVector root = powers->root[0] - BitVector{};
#endif
  return (FloatVector)(root + (n << (23 - root_bits)));
}

// e^(scale x) = s + s p, scale a power of two: with t = scale x roots / ln 2 rounded to n, s is
// 2^(n / roots) and p, of what is left of t, by Taylor's series: |left| ln 2 / roots is 0.02 for 16
// roots, so few terms do. x is clamped to what sigmoid and tanh round to 0 and 1 beyond.
struct Power {
  FloatVector s, p;
};
inline Power power(FloatVector x, float scale) {
  constexpr float to_steps = roots * 1.44269504f, unit = 0.693147181f / roots;
  constexpr int degree = roots == 16 ? 3 : roots == 8 ? 4 : 6;
  constexpr float factorials[] = {1, 1, 2, 6, 24, 120, 720};
  const Powers* powers = &powers_in_memory;
  // Read anew each time: kept in registers that a tile's sums need, they made those of AVX2 read their
  // weights once a row (1020 instead of 830 ns).
  if (registers == 16) asm volatile("" : "+r"(powers));
  const FloatVector step = broadcast(scale * to_steps), magic = broadcast(powers->magic);
  x = clamp(x, 40.0f / (scale < 0 ? -scale : scale));
  const FloatVector n = fma(x, step, magic), left = fma(x, step, magic - n);
  FloatVector p{};
#pragma GCC unroll 6
  for (int k = degree; k > 0; --k) {
    float coefficient = 1 / factorials[k];
    for (int i = 0; i < k; ++i) coefficient *= unit;
    p = k == degree ? broadcast(coefficient) : fma(p, left, broadcast(coefficient));
  }
  return {power_of_root(powers, (BitVector)n), p * left};
}

// Within 2e-7 of the exact value. Near 0 tanh is relatively good, too, since s - 1 is exact there.
inline FloatVector sigmoid(FloatVector x) {
  const Power e = power(x, -1.0f);
  return 1.0f / (fma(e.s, e.p, e.s) + 1.0f);
}
inline FloatVector tanh(FloatVector x) {
  const Power e = power(x, 2.0f);
  const FloatVector less_one = fma(e.s, e.p, e.s - 1.0f);
  return less_one / (less_one + 2.0f);
}
// Double precision serves gradient checks: exactness before speed.
inline DoubleVector tanh(DoubleVector x) {
  for (int lane = 0; lane < lanes<double>; ++lane) x[lane] = ::tanh(x[lane]);
  return x;
}
inline DoubleVector sigmoid(DoubleVector x) { return tanh(x * 0.5) * 0.5 + 0.5; }

// What a product multiplies: numbers of the type it sums in, or pairs of them rounded to bfloat16
// (the upper half of a float, to the nearest, ties to even), of which a step takes two at once.
struct Pair {
  uint16_t first, second;
};
using PairVector = BitVector;
typedef uint32_t PairLoose __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
template <> struct VectorOf<Pair> { using type = PairVector; using loose = PairLoose; };
template <class O> struct SumOf { using type = O; };
template <> struct SumOf<Pair> { using type = float; };
template <class O> constexpr int depth = 1;  // numbers of a sum's term
template <> inline constexpr int depth<Pair> = 2;
// So many terms take `count` numbers.
template <class O> constexpr int64_t terms(int64_t count) { return (count + depth<O> - 1) / depth<O>; }

template <> inline PairVector broadcast(Pair x) {
  uint32_t both;
  memcpy(&both, &x, sizeof both);
  return both - PairVector{};
}
// The products of both halves, added.
inline FloatVector fma(PairVector a, PairVector b, FloatVector c) {
#if defined(__AVX512BF16__)
  return _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b);
#else
  c = fma((FloatVector)(a << 16), (FloatVector)(b << 16), c);
  return fma((FloatVector)(a & 0xffff0000u), (FloatVector)(b & 0xffff0000u), c);
#endif
}
// Rounded to bfloat16, which is left in the upper half of each lane. A NaN stays one.
inline PairVector round_upper(FloatVector x) {
  const PairVector bits = (PairVector)x, quiet = bits | 0x00400000u;
  const PairVector rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return (PairVector)(x == x ? rounded : quiet) & 0xffff0000u;
}
inline PairVector pair(FloatVector first, FloatVector second) {
#if defined(__AVX512BF16__)
  // Word i of both joined goes to the lower half of lane i, word 16 + i to the upper one.
  const PairVector lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const auto words = (__m512i)(lane * 0x00010001u + 0x00100000u);
  return (PairVector)_mm512_permutexvar_epi16(words, (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
#else
  return (round_upper(first) >> 16) | round_upper(second);
#endif
}
inline Pair pair(float first, float second) {
  const PairVector both = pair(broadcast(first), broadcast(second));
  Pair out;
  memcpy(&out, &both, sizeof out);
  return out;
}
// Two vectors as one of bfloat16 and back, in whatever order is quickest.
inline FloatVector join(FloatVector a, FloatVector b) {
#if defined(__AVX512BF16__)
  return (FloatVector)_mm512_cvtne2ps_pbh(b, a);
#else
  return (FloatVector)pair(a, b);
#endif
}
inline void part(FloatVector both, FloatVector& a, FloatVector& b) {
#if defined(__AVX512BF16__)
  const auto wide = [](__m256i half) { return (FloatVector)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16); };
  a = wide(_mm512_castsi512_si256((__m512i)both)), b = wide(_mm512_extracti64x4_epi64((__m512i)both, 1));
#else
  a = (FloatVector)((PairVector)both << 16), b = (FloatVector)((PairVector)both & 0xffff0000u);
#endif
}
// Neighbouring lanes paired: half as many pairs as lanes.
inline void store_pairs(Pair* to, FloatVector x) {
#if defined(__AVX512BF16__)
  const __m256bh brief = _mm512_cvtneps_pbh((__m512)x);
  memcpy(to, &brief, sizeof brief);
#else
  const PairVector upper = round_upper(x);
  for (int lane = 0; lane < lanes<float>; lane += 2)
    to[lane / 2] = {uint16_t(upper[lane] >> 16), uint16_t(upper[lane + 1] >> 16)};
#endif
}

}  // namespace carryline::CARRYLINE_ISA
