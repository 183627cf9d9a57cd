// Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019) and a running average
// of the weights, one vector of values at a time.
//
// A row of an embedding has a gradient only in the steps that read it. The steps between, whose
// gradient is zero, are postponed until it is read again and then made one after the other in
// registers: the same operations on the same values, so the same bits as if all rows had been stepped
// every time, without the memory traffic (see adam.py).
#pragma once

#include "kernels.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

constexpr int64_t rows_ahead = 3;

template <class T> struct Moments {
  Vec<T> weight, first, second, average;
};

// So small a first moment is 0: it moves a weight by less than 1e-8 of the rate. Else it would come
// down to numbers that have lost bits of their mantissa, which are slow; so would the second one.
template <class T> inline Vec<T> flushed(Vec<T> x, T least) {
  return (x < broadcast(least)) & (x > -broadcast(least)) ? Vec<T>{} : x;
}
template <class T> inline Vec<T> flushed_second(Vec<T> x) { return flushed<T>(x, T(1e-32)); }

template <class T>
inline void adam_vector(Moments<T>& a, const AdamRule& rule, const AdamStep<T>& s, Vec<T> gradient, bool average) {
  const Vec<T> fast = broadcast(T(rule.first)), slow = broadcast(T(rule.second));
  a.first = flushed<T>(fma(fast, a.first, gradient * T(1 - rule.first)), T(1e-16));
  a.second = flushed_second<T>(fma(slow, a.second, gradient * gradient * T(1 - rule.second)));
  const Vec<T> root = fma(square_root(a.second), broadcast(s.root), broadcast(T(rule.epsilon)));
  a.weight = a.weight * s.decay - s.rate * a.first / root;
  if (average) a.average = fma(broadcast(s.average), a.average - a.weight, a.weight);
}

template <class T> inline Moments<T> load_moments(const AdamArgs<T>& a, int64_t at, int64_t n) {
  return {load(a.weight + at, n), load(a.first + at, n), load(a.second + at, n),
          a.average ? load(a.average + at, n) : Vec<T>{}};
}
template <class T> inline void store_moments(const AdamArgs<T>& a, int64_t at, int64_t n, const Moments<T>& m) {
  store(a.weight + at, m.weight, n), store(a.first + at, m.first, n), store(a.second + at, m.second, n);
  if (a.average) store(a.average + at, m.average, n);
}

// Values `begin` to `end` of arrays of any shape.
template <class T> void adam(const AdamArgs<T>& a, int64_t begin, int64_t end) {
  const Vec<T> scale = broadcast(T(a.scale));
  each_block<T>(end - begin, [&](int64_t block, auto n) {
    const int64_t at = begin + block * lanes<T>;
    Moments<T> m = load_moments(a, at, n);
    adam_vector<T>(m, a.rule, a.steps[0], load(a.gradient + at, n) * scale, a.average);
    store_moments(a, at, n, m);
  });
}

// A vector whose gradient was zero in the steps `done` to `end`. Once its first moment is 0 only the
// second one changes, if weights neither decay nor are averaged.
template <class T>
inline void adam_postponed(Moments<T>& m, const AdamArgs<T>& a, int64_t done, int64_t end, bool still) {
  const Vec<T> slow = broadcast(T(a.rule.second));
  for (; done < end; ++done) {
    if (still && zero(m.first)) {
      for (; done < end && !zero(m.second); ++done) m.second = flushed_second<T>(fma(slow, m.second, Vec<T>{}));
      return;
    }
    adam_vector<T>(m, a.rule, a.steps[done], Vec<T>{}, a.average);
  }
}

// Rows lie anywhere in some megabytes: one is fetched while another is worked on.
template <class T> inline void fetch(const AdamRowsArgs<T>& r, int64_t i) {
  const int64_t at = (r.ids ? r.ids[i] : i) * r.width;
  for (int64_t j = 0; j < r.width; j += 64 / int64_t(sizeof(T)))
    __builtin_prefetch(r.adam.weight + at + j, 1, 2), __builtin_prefetch(r.adam.first + at + j, 1, 2),
        __builtin_prefetch(r.adam.second + at + j, 1, 2);
}

// Rows `begin` to `end` of those that `ids` names: first the steps that each has not had, up to `last`;
// then, where there is a gradient, that one's, which is the last. taken: the rows as they are then.
template <class T> void adam_rows(const AdamRowsArgs<T>& r, int64_t begin, int64_t end) {
  const AdamArgs<T>& a = r.adam;
  const Vec<T> scale = broadcast(T(a.scale));
  const int64_t postponed = a.gradient ? r.last - 1 : r.last;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = r.ids ? r.ids[i] : i, done = r.done[row];
    if (i + rows_ahead < end) fetch(r, i + rows_ahead);
    each_block<T>(r.width, [&](int64_t block, auto n) {
      const int64_t j = block * lanes<T>, at = row * r.width + j;
      if (done < r.last) {
        Moments<T> m = load_moments(a, at, n);
        adam_postponed(m, a, done, postponed, r.still);
        if (a.gradient)
          adam_vector<T>(m, a.rule, a.steps[postponed], load(a.gradient + i * r.width + j, n) * scale, a.average);
        store_moments(a, at, n, m);
        if (r.taken) store(r.taken + i * r.width + j, m.weight, n);
      } else if (r.taken) {
        store(r.taken + i * r.width + j, load(a.weight + at, n), n);
      }
    });
    r.done[row] = int32_t(r.last);
  }
}

// Their squares, added in double precision: each lane's, then the lanes'.
template <class T> double squares(const T* values, int64_t count) {
  constexpr int each = lanes<T> / lanes<double>;
  Vec<double> sums[each]{};
  each_block<T>(count, [&](int64_t block, auto n) {
    const Vec<T> x = load(values + block * lanes<T>, n);
    for (int i = 0; i < each; ++i) {
      Vec<double> part;
      for (int lane = 0; lane < lanes<double>; ++lane) part[lane] = double(x[i * lanes<double> + lane]);
      sums[i] = fma(part, part, sums[i]);
    }
  });
  double sum = 0;
  for (int i = 0; i < each; ++i)
    for (int lane = 0; lane < lanes<double>; ++lane) sum += sums[i][lane];
  return sum;
}

}  // namespace carryline::CARRYLINE_ISA
