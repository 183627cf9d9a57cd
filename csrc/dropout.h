// Dropout by drawn numbers: a value stays, scaled, where its number is not below a threshold.
#pragma once

#include "kernels.h"

namespace carryline::CARRYLINE_ISA {

template <class T, class Number> void dropout(const DropoutArgs<T, Number>& a, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) a.out[i] = a.drawn[i] >= a.dropped ? a.x[i] * a.scale : T(0);
}

}  // namespace carryline::CARRYLINE_ISA
