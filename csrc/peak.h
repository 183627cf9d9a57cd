// What the machine can do: fused multiply-adds that touch nothing but registers.
#pragma once

#include "vec.h"

namespace carryline::CARRYLINE_ISA {

// Twelve independent sums hide the latency of a multiply-add (4 cycles, two a cycle at most).
template <class O> double peak(int64_t count) {
  constexpr int sums = 12;
  Vec<typename SumOf<O>::type> sum[sums]{};
  Vec<O> left{}, right{};
  asm volatile("" : "+m"(left), "+m"(right));  // what the compiler knew, it would not multiply
  for (int64_t round = 0; round < count; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < sums; ++i) sum[i] = fma(left, right, sum[i]);
  }
  for (int i = 0; i < sums; ++i) {
    auto made = sum[i];
    asm volatile("" : : "m"(made));  // so that the sums are made
  }
  return double(count) * sums * lanes<O> * depth<O> * 2;
}

}  // namespace carryline::CARRYLINE_ISA
