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

template <class T> struct Moments {
  Vec<T> weight, first, second, average;
};

// A moment this small is 0: it moves a weight by less than 1e-22 of the rate, and numbers that have
// lost bits of their mantissa, which it would come down to, are slow.
template <class T> inline Vec<T> flushed(Vec<T> x) {
  const Vec<T> least = broadcast(T(1e-30));
  return (x < least) & (x > -least) ? Vec<T>{} : x;
}

template <class T> struct AdamStepOf {
  Vec<T> rate, root, decay, average;
  explicit AdamStepOf(const AdamStep& s)
      : rate(broadcast(T(s.rate))), root(broadcast(T(s.root))), decay(broadcast(T(s.decay))),
        average(broadcast(T(s.average))) {}
};

template <class T> inline void adam_weight(Moments<T>& a, const AdamRule& rule, const AdamStepOf<T>& s, bool average) {
  const Vec<T> epsilon = broadcast(T(rule.epsilon));
  a.weight = a.weight * s.decay - s.rate * a.first / fma(square_root(a.second), s.root, epsilon);
  if (average) a.average = fma(s.average, a.average - a.weight, a.weight);
}

template <class T>
inline void adam_vector(Moments<T>& a, const AdamRule& rule, const AdamStepOf<T>& s, Vec<T> gradient, bool average) {
  const Vec<T> slow = broadcast(T(rule.second)), fast = broadcast(T(rule.first));
  a.first = flushed<T>(fma(fast, a.first, gradient * T(1 - rule.first)));
  a.second = flushed<T>(fma(slow, a.second, gradient * gradient * T(1 - rule.second)));
  adam_weight<T>(a, rule, s, average);
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
  const AdamStepOf<T> s(a.steps[0]);
  const Vec<T> scale = broadcast(T(a.scale));
  each_block<T>(end - begin, [&](int64_t block, auto n) {
    const int64_t at = begin + block * lanes<T>;
    Moments<T> m = load_moments(a, at, n);
    adam_vector<T>(m, a.rule, s, load(a.gradient + at, n) * scale, a.average);
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
      for (; done < end && !zero(m.second); ++done) m.second = flushed<T>(fma(slow, m.second, Vec<T>{}));
      return;
    }
    adam_vector<T>(m, a.rule, AdamStepOf<T>(a.steps[done]), Vec<T>{}, a.average);
  }
}

// Rows `begin` to `end` of those that `ids` names: first the steps that each has not had, up to `last`;
// then, where there is a gradient, that one's, which is the last. taken: the rows as they are then.
template <class T> void adam_rows(const AdamRowsArgs<T>& r, int64_t begin, int64_t end) {
  const AdamArgs<T>& a = r.adam;
  const Vec<T> scale = broadcast(T(a.scale));
  const int64_t postponed = a.gradient ? r.last - 1 : r.last;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t row = r.ids ? r.ids[i] : i, done = r.done[row];
    each_block<T>(r.width, [&](int64_t block, auto n) {
      const int64_t j = block * lanes<T>, at = row * r.width + j;
      if (done < r.last) {
        Moments<T> m = load_moments(a, at, n);
        adam_postponed(m, a, done, postponed, r.still);
        if (a.gradient)
          adam_vector<T>(m, a.rule, AdamStepOf<T>(a.steps[postponed]), load(a.gradient + i * r.width + j, n) * scale,
                         a.average);
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
