// Largest and mean state of every text, walking the states once in time order; and back.
#pragma once

#include "kernels.h"
#include "vec.h"

namespace carryline::CARRYLINE_ISA {

template <class T> void pool(const PoolArgs<T>& a) {
  for (int64_t text = 0; text < a.texts; ++text)
    for (int64_t j = a.begin; j < a.end; ++j) {
      a.largest[text * a.width + j] = a.mean[text * a.width + j] = T(0);
      if (a.where) a.where[text * a.width + j] = 0;
    }
  for (int64_t step = 0; step < a.steps; ++step)
    for (int64_t position = a.starts[step]; position < a.starts[step + 1]; ++position) {
      const int64_t text = position - a.starts[step];
      const T* state = a.states + position * a.width;
      T *largest = a.largest + text * a.width, *sum = a.mean + text * a.width;
      int32_t* where = a.where ? a.where + text * a.width : nullptr;
      for (int64_t j = a.begin; j < a.end; ++j) sum[j] += state[j];
      if (step == 0)
        for (int64_t j = a.begin; j < a.end; ++j) largest[j] = state[j];
      else
        for (int64_t j = a.begin; j < a.end; ++j) {
          // A NaN wins and stays, so that it is seen in the loss.
          const bool better = state[j] > largest[j] || state[j] != state[j];
          largest[j] = better ? state[j] : largest[j];
          if (where) where[j] = better ? int32_t(step) : where[j];
        }
    }
  for (int64_t text = 0; text < a.texts; ++text)
    for (int64_t j = a.begin; j < a.end && a.lengths[text] > 0; ++j)
      a.mean[text * a.width + j] /= T(a.lengths[text]);
}

template <class T> void pool_backward(const PoolGradientArgs<T>& a) {
  for (int64_t step = 0; step < a.steps; ++step)
    for (int64_t position = a.starts[step]; position < a.starts[step + 1]; ++position) {
      const int64_t text = position - a.starts[step];
      const T *d_largest = a.d_largest + text * a.width, *d_mean = a.d_mean + text * a.width;
      const int32_t* where = a.where + text * a.width;
      const T share = T(1) / T(a.lengths[text]);
      T* d_state = a.d_states + position * a.width;
      for (int64_t j = a.begin; j < a.end; ++j)
        d_state[j] = d_mean[j] * share + (where[j] == int32_t(step) ? d_largest[j] : T(0));
    }
}

}  // namespace carryline::CARRYLINE_ISA
