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
typedef double DoubleVector __attribute__((vector_size(vector_bytes)));
typedef float FloatLoose __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
typedef double DoubleLoose __attribute__((vector_size(vector_bytes), aligned(8), may_alias));

template <class T> struct VectorOf;
template <> struct VectorOf<float> { using type = FloatVector; using loose = FloatLoose; };
template <> struct VectorOf<double> { using type = DoubleVector; using loose = DoubleLoose; };
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
template <class T> inline void store_far(T* to, Vec<T> x, int64_t n) {
#if defined(__AVX512F__)
  if (n >= lanes<T> && reinterpret_cast<uintptr_t>(to) % 64 == 0)
    return _mm512_stream_si512(reinterpret_cast<__m512i*>(to), reinterpret_cast<__m512i>(x));
#endif
  store(to, x, n);
}
// After `store_far`, before other threads read.
inline void fence() {
#if defined(__AVX512F__)
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

// x P(x^2) / Q(x^2), clamped where single precision rounds to one; within 3e-7 of tanh relatively
// and never beyond 1 - 6e-8. Coefficients by fit_tanh.py. A NaN stays a NaN.
inline FloatVector tanh(FloatVector x) {
  const FloatVector limit = broadcast(8.0f);
  x = x > limit ? limit : x;
  x = x < -limit ? -limit : x;
  const FloatVector s = x * x;
  FloatVector p = broadcast(1.5230556371648163e-08f), q = broadcast(8.522503094354761e-07f);
  p = fma(p, s, broadcast(2.1894760720897466e-05f));
  q = fma(q, s, broadcast(0.00034113015863113105f));
  p = fma(p, s, broadcast(0.003571603912860155f));
  q = fma(q, s, broadcast(0.0261644646525383f));
  p = fma(p, s, broadcast(0.13444502651691437f));
  q = fma(q, s, broadcast(0.4677782952785492f));
  p = fma(p, s, broadcast(1.0f));
  q = fma(q, s, broadcast(1.0f));
  return x * p / q;
}
// Double precision serves gradient checks: exactness before speed.
inline DoubleVector tanh(DoubleVector x) {
  for (int lane = 0; lane < lanes<double>; ++lane) x[lane] = ::tanh(x[lane]);
  return x;
}
template <class V> inline V sigmoid(V x) { return fma(tanh(x * 0.5f), x * 0 + 0.5f, x * 0 + 0.5f); }

}  // namespace carryline::CARRYLINE_ISA
