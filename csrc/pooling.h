// Largest and mean state of every text: step by step, as the time loop gives the states, so that
// predicting writes none of them; or for training, of states that were written, and back.
#pragma once

#include "kernels.h"
#include "memory.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

// Of one direction's ranks. A sum is in the order of the steps as they are taken, from 0 on, so its
// bits depend on the text alone; in reverse they are not those of `pool`, which begins with the first.
template <class T> class Pooling {
  const ForwardArgs<T>& args;
  const int64_t stride;  // of a row: whole vectors, as those of `States`
  const Buffer<T> largest, sum;

 public:
  explicit Pooling(const ForwardArgs<T>& a)
      : args(a), stride(blocks_of<T>(a.hidden) * lanes<T>), largest(a.largest ? a.sequences.ranks() * stride : 0),
        sum(a.mean ? a.sequences.ranks() * stride : 0) {
    const Vec<T> least = broadcast(T(-__builtin_inf()));
    for (int64_t i = 0; a.largest && i < a.sequences.ranks() * stride; i += lanes<T>) store(largest.at + i, least);
  }

  // The states [active, stride] of a step. A NaN wins and stays, so that it is seen in the result.
  void add(const T* states, int64_t active) const {
    for (int64_t i = 0; args.largest && i < active * stride; i += lanes<T>) {
      const Vec<T> state = load(states + i), before = load(largest.at + i);
      store(largest.at + i, (state > before) | (state != state) ? state : before);
    }
    for (int64_t i = 0; args.mean && i < active * stride; i += lanes<T>)
      store(sum.at + i, load(sum.at + i) + load(states + i));
  }

  void give() const {
    const auto& q = args.sequences;
    for (int64_t rank = 0; (args.largest || args.mean) && rank < q.ranks(); ++rank) {
      const int64_t length = q.length(q.begin + rank);
      each_block<T>(args.hidden, [&](int64_t block, auto n) {
        const int64_t from = rank * stride + block * lanes<T>, to = rank * args.stride + block * lanes<T>;
        if (args.largest) store(args.largest + to, length ? load(largest.at + from) : Vec<T>{}, n);
        if (args.mean) store(args.mean + to, length ? load(sum.at + from) / T(length) : Vec<T>{}, n);
      });
    }
  }
};

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
