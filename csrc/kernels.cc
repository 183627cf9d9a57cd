// Compiled once for each instruction set; CARRYLINE_ISA names it and its namespace.
#include "kernels.h"

#include "matmul.h"
#include "peak.h"
#include "pooling.h"
#include "recurrence_backward.h"
#include "recurrence_forward.h"

namespace carryline::CARRYLINE_ISA {

template <class T> constexpr Kernels<T> table() {
  return {
      {forward<Rnn, T>, forward<Lstm, T>, forward<Gru, T>, forward<Carry, T>},
      {backward<Rnn, T>, backward<Lstm, T>, backward<Gru, T>, backward<Carry, T>},
      matmul<T>, outer<T>, pool<T>, pool_backward<T>, peak<T>,
      gates_size<T>, pack_gates<T>, panels_size<T>, pack_panels<T>,
  };
}

extern const Kernels<float> single;
extern const Kernels<double> twofold;
const Kernels<float> single = table<float>();
const Kernels<double> twofold = table<double>();

}  // namespace carryline::CARRYLINE_ISA
