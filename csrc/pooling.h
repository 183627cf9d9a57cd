// Largest and mean state of every text: step by step, as the time loop gives the states, which are
// then still in a cache; predicting writes none of them.
#pragma once

#include "kernels.h"
#include "memory.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

// Of one direction's ranks. A sum is in the order of the steps as they are taken, from 0 on, so its
// bits depend on the text alone.
template <class T> class Pooling {
  const ForwardArgs<T>& args;
  const int64_t stride;  // of a row: whole vectors, as those of `States`
  const Buffer<T> largest, where, sum;

 public:
  explicit Pooling(const ForwardArgs<T>& a)
      : args(a), stride(blocks_of<T>(a.hidden) * lanes<T>), largest(a.largest ? a.sequences.ranks() * stride : 0),
        where(a.where ? a.sequences.ranks() * stride : 0), sum(a.mean ? a.sequences.ranks() * stride : 0) {
    const Vec<T> least = broadcast(T(-__builtin_inf()));
    for (int64_t i = 0; a.largest && i < a.sequences.ranks() * stride; i += lanes<T>) store(largest.at + i, least);
  }

  // The states [active, stride] of a step. A NaN wins and stays, so that it is seen in the result.
  void add(const T* states, int64_t active, int64_t step) const {
    const Vec<T> now = broadcast(T(step));
    for (int64_t i = 0; args.largest && i < active * stride; i += lanes<T>) {
      const Vec<T> state = load(states + i), before = load(largest.at + i);
      const auto better = (state > before) | (state != state);
      store(largest.at + i, better ? state : before);
      if (args.where) store(where.at + i, better ? now : load(where.at + i));
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
        if (args.where) store(args.where + to, load(where.at + from), n);
        if (args.mean) store(args.mean + to, length ? load(sum.at + from) / T(length) : Vec<T>{}, n);
      });
    }
  }
};

}  // namespace carryline::CARRYLINE_ISA
