// What the machine can do: fused multiply-adds that touch nothing but registers.
#pragma once

#include "vec.h"

namespace carryline::CARRYLINE_ISA {

// Twelve independent sums hide the latency of a multiply-add (4 cycles, two a cycle at most).
template <class T> double peak(int64_t count) {
  constexpr int sums = 12;
  Vec<T> sum[sums];
  for (int i = 0; i < sums; ++i) sum[i] = broadcast(T(i));
  const Vec<T> factor = broadcast(T(0.999)), term = broadcast(T(0.001));
  for (int64_t round = 0; round < count; ++round)
#pragma GCC unroll 12
    for (int i = 0; i < sums; ++i) sum[i] = fma(sum[i], factor, term);
  for (int i = 0; i < sums; ++i) {
    Vec<T> made = sum[i];
    asm volatile("" : : "m"(made));  // so that the sums are made
  }
  return double(count) * sums * lanes<T> * 2;
}

}  // namespace carryline::CARRYLINE_ISA
