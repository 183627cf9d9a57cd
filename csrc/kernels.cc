// Compiled once for each instruction set; CARRYLINE_ISA names it and its namespace.
#include "kernels.h"

#include "adam.h"
#include "dropout.h"
#include "linear.h"
#include "matmul.h"
#include "outer.h"
#include "peak.h"
#include "pooling.h"
#include "recurrence_backward.h"
#include "recurrence_forward.h"
#include "vectors.h"

namespace carryline::CARRYLINE_ISA {

template <class C, class O> constexpr CellShape shape() {
  return {C::gates, C::products, kept<C, O>, C::gradients, C::carry, C::carry_in_output, C::late_candidate};
}

// O: what products multiply (see vec.h).
template <class T, class O> constexpr Kernels<T> table() {
  return {
      {shape<Rnn<T>, O>(), shape<Lstm<T>, O>(), shape<Gru<T>, O>(), shape<Carry<T>, O>()}, lanes<T>,
      {forward<Rnn, T, O>, forward<Lstm, T, O>, forward<Gru, T, O>, forward<Carry, T, O>},
      {backward<Rnn, T, O>, backward<Lstm, T, O>, backward<Gru, T, O>, backward<Carry, T, O>},
      matmul<T, O>, outer<T, O>, adam<T>, adam_rows<T>, squares<T>, dropout<T, uint8_t>, dropout<T, uint16_t>,
      skip_gram<T>, merge_row<T>, sparse_rows<T>, bag<T>, dot<T>, combine<T>, peak<O>,
      gates_size<O>, pack_gates<O, T>,
      {products_size<Rnn, T, O>, products_size<Lstm, T, O>, products_size<Gru, T, O>, products_size<Carry, T, O>},
      {pack_products<Rnn, T, O>, pack_products<Lstm, T, O>, pack_products<Gru, T, O>, pack_products<Carry, T, O>},
      panels_size<O>, pack_panels<O, T>,
  };
}

// Of each instruction set, those that dispatch.cc names: to compile one takes some ten seconds.
#if CARRYLINE_SINGLE
extern const Kernels<float> single;
const Kernels<float> single = table<float, float>();
#endif
#if CARRYLINE_TWOFOLD
extern const Kernels<double> twofold;
const Kernels<double> twofold = table<double, double>();
#endif
#if CARRYLINE_PAIRED
extern const Kernels<float> paired;
const Kernels<float> paired = table<float, Pair>();
#endif

}  // namespace carryline::CARRYLINE_ISA
