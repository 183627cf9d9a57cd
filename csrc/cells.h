// The four cells, one vector of units at a time: their step and its gradient (see cells.py).
//
// A step leaves to `state` what waits for the rest of it. The time loop asks for that once all rows of
// a tile have stepped, so that a core finds other work while it waits: 745 instead of 780 ns a token.
//
// gates: columns of the projection W x + b. products: gates that take U h in the time loop.
// saved: vectors a unit and token that forward keeps for backward. gradients: columns of d_gates,
// of which the first `products` belong to U h and the last `gates` to W x.
#pragma once

#include "vec.h"

namespace carryline::CARRYLINE_ISA {

// sum: U h + W x + b by gate. candidate: gru's W x + b of the candidate, not yet added.
template <class V, int Products> struct StepIn {
  V sum[Products], candidate, h, c;
};
// h: or what `state` makes it of.
template <class V, int Saved> struct StepOut {
  V h, c, saved[Saved > 0 ? Saved : 1];
};
// d_h, d_c: gradients of what the step gave; on return of what it got by other ways than U h.
template <class V, int Saved> struct GradIn {
  V saved[Saved > 0 ? Saved : 1], h, h_before, c_before;
};

template <class T> struct Rnn {
  using V = Vec<T>;
  static constexpr int gates = 1, products = 1, saved = 0, gradients = 1;
  static constexpr bool carry = false, carry_in_output = false, late_candidate = false;

  static StepOut<V, saved> step(const StepIn<V, products>& in) {
    StepOut<V, saved> out{};
    out.h = in.sum[0];
    return out;
  }
  static V state(V h, V) { return tanh(h); }
  static void gradient(const GradIn<V, saved>& in, V& d_h, V&, V (&d)[gradients]) {
    d[0] = d_h * (1 - in.h * in.h);
    d_h = V{};
  }
};

template <class T> struct Lstm {
  using V = Vec<T>;
  static constexpr int gates = 4, products = 4, saved = 5, gradients = 4;  // saved: i f g o c
  static constexpr bool carry = true, carry_in_output = false, late_candidate = false;

  static StepOut<V, saved> step(const StepIn<V, products>& in) {
    const V i = sigmoid(in.sum[0]), f = sigmoid(in.sum[1]), g = tanh(in.sum[2]);
    const V o = sigmoid(in.sum[3]), c = fma(f, in.c, i * g);
    return {o, c, {i, f, g, o, c}};
  }
  static V state(V o, V c) { return o * tanh(c); }
  // o tanh(c)^2 = h^2 / o: a division instead of a hyperbolic tangent. An o of 0 made h 0 as well.
  static void gradient(const GradIn<V, saved>& in, V& d_h, V& d_c, V (&d)[gradients]) {
    const V i = in.saved[0], f = in.saved[1], g = in.saved[2], o = in.saved[3];
    const V d_carry = fma(d_h, o - in.h * in.h / (o + T(1e-30)), d_c);
    d[0] = d_carry * g * i * (1 - i);
    d[1] = d_carry * in.c_before * f * (1 - f);
    d[2] = d_carry * i * (1 - g * g);
    d[3] = d_h * in.h * (1 - o);
    d_c = d_carry * f;
    d_h = V{};
  }
};

template <class T> struct Gru {
  using V = Vec<T>;
  static constexpr int gates = 3, products = 3, saved = 4, gradients = 4;  // saved: r z n, U_n h + b
  static constexpr bool carry = false, carry_in_output = false, late_candidate = true;

  static StepOut<V, saved> step(const StepIn<V, products>& in) {
    const V r = sigmoid(in.sum[0]), z = sigmoid(in.sum[1]);
    const V n = tanh(fma(r, in.sum[2], in.candidate));
    return {fma(z, in.h - n, n), V{}, {r, z, n, in.sum[2]}};
  }
  static V state(V h, V) { return h; }
  // Gradients by n's U h, r, z, n's W x: so both U h's and W x's are three columns side by side.
  static void gradient(const GradIn<V, saved>& in, V& d_h, V&, V (&d)[gradients]) {
    const V r = in.saved[0], z = in.saved[1], n = in.saved[2];
    d[3] = d_h * (1 - z) * (1 - n * n);
    d[0] = d[3] * r;
    d[1] = d[3] * in.saved[3] * r * (1 - r);
    d[2] = d_h * (in.h_before - n) * z * (1 - z);
    d_h = d_h * z;
  }
};

template <class T> struct Carry {
  using V = Vec<T>;
  static constexpr int gates = 4, products = 4, saved = 4, gradients = 4;  // saved: i f k c
  static constexpr bool carry = true, carry_in_output = true, late_candidate = false;

  static StepOut<V, saved> step(const StepIn<V, products>& in) {
    const V i = sigmoid(in.sum[0]), f = sigmoid(in.sum[1]), k = tanh(in.sum[2]);
    const V c = fma(f, in.c, i * k);
    return {in.sum[3], c, {i, f, k, c}};
  }
  static V state(V h, V) { return tanh(h); }
  // What flows back through V_o c is added to d_c by the time loop.
  static void gradient(const GradIn<V, saved>& in, V& d_h, V& d_c, V (&d)[gradients]) {
    const V i = in.saved[0], f = in.saved[1], k = in.saved[2];
    d[0] = d_c * k * i * (1 - i);
    d[1] = d_c * in.c_before * f * (1 - f);
    d[2] = d_c * i * (1 - k * k);
    d[3] = d_h * (1 - in.h * in.h);
    d_c = d_c * f;
    d_h = V{};
  }
};

// Vectors that the saved values of a cell take: two values share one, as bfloat16, where products are
// of these (an odd last one stays whole); and to keep and find them there.
template <class C, class O> constexpr int kept = depth<O> == 1 ? C::saved : (C::saved + 1) / 2;

template <class C, class O, class T> inline void keep(const Vec<T>* saved, T* to) {
  constexpr int values = depth<O>;
  for (int v = 0; v < C::saved; v += values, to += lanes<T>) {
    if constexpr (values == 1) store_far(to, saved[v]);
    else store_far(to, v + 1 < C::saved ? join(saved[v], saved[v + 1]) : saved[v]);
  }
}
template <class C, class O, class T> inline void find(const T* from, Vec<T>* saved) {
  constexpr int values = depth<O>;
  for (int v = 0; v < C::saved; v += values, from += lanes<T>) {
    if constexpr (values == 1) saved[v] = load(from);
    else if (v + 1 < C::saved) part(load(from), saved[v], saved[v + 1]);
    else saved[v] = load(from);
  }
}
// The last one: the carry, where there is one.
template <class C, class O, class T> inline Vec<T> find_last(const T* from) {
  Vec<T> saved[C::saved];
  find<C, O>(from, saved);
  return saved[C::saved - 1];
}

// The gate (as ordered in the weights) of the p-th product and of the first gradient by W x.
template <class C> constexpr int gate_of_product(int p) {
  return C::late_candidate ? (p + C::products - 1) % C::products : p;
}
template <class C> constexpr int first_input_gradient = C::gradients - C::gates;

}  // namespace carryline::CARRYLINE_ISA
