// The time loop of one direction, backward. What every step does is the gradients of the gates and
// their products with U; what can wait is done a stretch of tokens at a time (see stretch.h).
#pragma once

#include "stretch.h"

namespace carryline::CARRYLINE_ISA {

// Gradients of the states, rows padded to whole panels, so that no product ends within a vector.
template <class T> struct StateGradients {
  int64_t stride;
  Buffer<T> h, c;

  explicit StateGradients(const BackwardArgs<T>& a)
      : stride((a.hidden + width - 1) / width * width), h(a.sequences.ranks() * stride),
        c(a.sequences.ranks() * stride) {
    copy(a, [](T* outside, T* inside, size_t bytes) { memcpy(inside, outside, bytes); });
  }
  void give(const BackwardArgs<T>& a) const {
    copy(a, [](T* outside, T* inside, size_t bytes) { memcpy(outside, inside, bytes); });
  }

 private:
  static constexpr int64_t width = panel_vectors * lanes<T>;
  template <class Move> void copy(const BackwardArgs<T>& a, Move move) const {
    for (int64_t rank = 0; rank < a.sequences.ranks(); ++rank) {
      move(a.d_h + rank * a.hidden, h.at + rank * stride, size_t(a.hidden) * sizeof(T));
      move(a.d_c + rank * a.hidden, c.at + rank * stride, size_t(a.hidden) * sizeof(T));
    }
  }
};

// Gradients of one rank's gates at `step`, the token at `at`, whose first state came from that at `before`
// (negative: from the given ones).
template <template <class> class Cell, class T, class O>
inline void backward_cell(Stretch<Cell, T, O>& s, int64_t slot, int64_t rank, int64_t step, int64_t at,
                          int64_t before, T* d_h, T* d_c) {
  using C = Cell<T>;
  const auto& a = s.args;
  const int64_t hidden = a.hidden, width = blocks_of<T>(hidden) * kept<C, O> * lanes<T>;
  const T *states = a.states + at * a.stride, *saved = a.saved + at * width;
  const T *d_states = a.d_states ? a.d_states + at * a.stride : nullptr;
  const T* h_before = before < 0 ? a.h_first + rank * hidden : a.states + before * a.stride;
  const T* saved_before = before < 0 ? nullptr : a.saved + before * width;
  const T* c_first = a.c_first + rank * hidden;
  const Vec<T> now = broadcast(T(step));
  s.position[slot] = at;
  each_block<T>(hidden, [&](int64_t b, auto n) {
    const int64_t j = b * lanes<T>;
    GradIn<Vec<T>, C::saved> in{};
    find<C, O>(saved + b * kept<C, O> * lanes<T>, in.saved);
    in.h = load(states + j, n);
    in.h_before = load(h_before + j, n);
    if constexpr (C::carry)
      in.c_before = saved_before ? find_last<C, O>(saved_before + b * kept<C, O> * lanes<T>) : load(c_first + j, n);
    Vec<T> dh = load(d_h + j), dc{}, d[C::gradients];
    if constexpr (C::carry) dc = load(d_c + j);
    if (d_states) dh += load(d_states + j, n);
    const int64_t pooled = rank * a.stride + j;
    if (a.d_mean) dh += load(a.d_mean + pooled, n);
    if (a.d_largest) dh += load(a.where + pooled, n) == now ? load(a.d_largest + pooled, n) : Vec<T>{};
    C::gradient(in, dh, dc, d);
    store(d_h + j, dh);
    if constexpr (C::carry) store(d_c + j, dc);
    T* to = s.gradients(slot, b);
    for (int g = 0; g < C::gradients; ++g) store(to + g * lanes<T>, d[g]);
    s.keep_row(slot, b);
    store(s.h_before.at + s.left(slot, j), in.h_before);
    if constexpr (C::carry_in_output) store(s.c_before.at + s.left(slot, j), in.c_before);
  });
}

// Fetches what the `tokens` from the one at `first` on will need, two steps before they do (the step
// between reads their states already): a share of it with each of `calls` tiles of products. A core
// has some 24 lines on their way from memory at once (Zen 4): all asked for together, they would take
// as long as read.
template <class C, class O, class T> struct Ahead {
  const BackwardArgs<T>& args;
  int64_t first, tokens, calls, made = 0;

  void fetch() {
    constexpr int64_t line = 64 / int64_t(sizeof(T));
    const int64_t width = blocks_of<T>(args.hidden) * kept<C, O> * lanes<T>;
    const T *saved = args.saved + first * width, *states = args.states + first * args.stride;
    const auto part = [&](int64_t all, int64_t i) { return i < calls ? all * i / calls : all; };
    const int64_t lines = tokens * width / line;
    for (int64_t i = part(lines, made); i < part(lines, made + 1); ++i) __builtin_prefetch(saved + i * line, 0, 2);
    for (int64_t token = part(tokens, made); token < part(tokens, made + 1); ++token)
      for (int64_t j = 0; j < args.hidden; j += line) __builtin_prefetch(states + token * args.stride + j, 0, 2);
    ++made;
  }
};

// out [R, M panels] += gradients of R slots, panels `from` to `to`, times packed weights.
template <template <class> class Cell, class T, class O, int R, int M>
inline void product_tile(const Stretch<Cell, T, O>& s, int64_t slot, int64_t from, int64_t to,
                         const O* weight, int64_t block, T* out, int64_t stride) {
  using S = Stretch<Cell, T, O>;
  constexpr int N = panel_vectors;
  Vec<T> sum[M][R][N];
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) sum[m][r][n] = load(out + r * stride + (m * N + n) * lanes<T>);
  for (int64_t p = from; p < to; ++p)
    multiply<O, M, R, N>(sum, s.row(p, slot), {weight + p * terms<O>(S::inner) * N * lanes<T>, block, N * lanes<T>},
                         terms<O>(S::inner));
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) store(out + r * stride + (m * N + n) * lanes<T>, sum[m][r][n]);
}

// d_h [count, hidden] += gradients of `count` slots times U. A chunk of U that fits the first cache
// serves all rows before the next one. Meanwhile `tokens` from the one at `ahead` on are fetched.
template <template <class> class Cell, class T, class O>
void add_products(const Stretch<Cell, T, O>& s, int64_t slot, int64_t count, T* d_h, int64_t stride,
                  int64_t ahead, int64_t tokens) {
  using S = Stretch<Cell, T, O>;
  constexpr int64_t width = panel_vectors * lanes<T>, bytes = terms<O>(S::inner) * width * int64_t(sizeof(O));
  constexpr int64_t chunk = bytes < 24 << 10 ? (24 << 10) / bytes : 1;
  constexpr int most = rows_of_tile(panel_vectors), few = accumulators / (2 * panel_vectors);
  const int64_t block = s.panels * terms<O>(S::inner) * width;
  const auto* weight = reinterpret_cast<const O*>(s.args.weight_hh);
  const int64_t calls = stride / width * ((s.panels + chunk - 1) / chunk) * ((count + most - 1) / most);
  Ahead<Cell<T>, O, T> following{s.args, ahead, tokens, calls};
  for (int64_t column = 0; column < stride;) {
    const bool two = count <= few && column + 2 * width <= stride;
    for (int64_t from = 0; from < s.panels; from += chunk) {
      const int64_t to = from + chunk < s.panels ? from + chunk : s.panels;
      const O* panel = weight + column / width * block;
      if (two)
        rest_of_rows<few>(count, 0, [&](auto rows, int64_t r) {
          following.fetch();
          product_tile<Cell, T, O, decltype(rows)::value, 2>(s, slot + r, from, to, panel, block,
                                                          d_h + r * stride + column, stride);
        });
      else
        tiles_of_rows<most>(count, [&](auto rows, int64_t r) {
          following.fetch();
          product_tile<Cell, T, O, decltype(rows)::value, 1>(s, slot + r, from, to, panel, block,
                                                          d_h + r * stride + column, stride);
        });
    }
    column += two ? 2 * width : width;
  }
}

// carry: d_c [count, hidden] += gradients of the output times V_o.
template <template <class> class Cell, class T, class O>
void add_carry_products(const Stretch<Cell, T, O>& s, int64_t slot, int64_t count, T* d_c, int64_t stride) {
  constexpr int N = panel_vectors;
  constexpr int64_t width = N * lanes<T>;
  const auto* weight = reinterpret_cast<const O*>(s.args.weight_ch);
  for (int64_t column = 0; column < stride; column += width)
    tiles_of_rows<rows_of_tile(N)>(count, [&](auto rows, int64_t r) {
      constexpr int R = decltype(rows)::value;
      Vec<T> sum[1][R][N];
      T* out = d_c + r * stride + column;
      for (int i = 0; i < R; ++i)
        for (int n = 0; n < N; ++n) sum[0][i][n] = load(out + i * stride + n * lanes<T>);
      for (int64_t k = 0; k < s.hidden; k += lanes<T>) {
        Left<O> d = s.row(k / lanes<T>, slot + r);
        d.at += terms<O>(3 * lanes<T>);
        multiply<O, 1, R, N>(sum, d, {weight + column * terms<O>(s.hidden) + terms<O>(k) * width, 0, width},
                             terms<O>(s.hidden - k < lanes<T> ? s.hidden - k : lanes<T>));
      }
      for (int i = 0; i < R; ++i)
        for (int n = 0; n < N; ++n) store(out + i * stride + n * lanes<T>, sum[0][i][n]);
    });
}

// The time loop of the ranks that s.args names.
template <template <class> class Cell, class T, class O> void walk_back(Stretch<Cell, T, O>& s) {
  using C = Cell<T>;
  const auto& a = s.args;
  const auto& q = a.sequences;
  StateGradients<T> d(a);
  for (int64_t taken = 0; taken < q.steps; ++taken) {
    const int64_t step = q.reverse ? taken : q.steps - 1 - taken;
    const int64_t source = q.reverse ? step + 1 : step - 1;
    const int64_t active = q.active(step), going_before = q.active(source);
    const int64_t position = q.position(step), before = going_before ? q.position(source) : 0;
    const int64_t second = q.reverse ? step + 2 : step - 2, going_second = q.active(second);
    for (int64_t rank = 0; rank < active;) {
      if (s.room() < active - rank && s.count > 0) s.flush();
      const int64_t count = active - rank < s.room() ? active - rank : s.room(), slot = s.count;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t r = rank + i, from = r < going_before ? before + r : -1;
        backward_cell(s, slot + i, r, step, position + r, from, d.h.at + r * d.stride, d.c.at + r * d.stride);
      }
      const int64_t last = rank + count < going_second ? rank + count : going_second;
      const int64_t going = going_before > rank ? going_before - rank : 0;
      add_products(s, slot, a.by_first || going > count ? count : going, d.h.at + rank * d.stride, d.stride,
                   going_second ? q.position(second) + rank : 0, last > rank ? last - rank : 0);
      if constexpr (C::carry_in_output)
        add_carry_products(s, slot, count, d.c.at + rank * d.stride, d.stride);
      s.count += count, rank += count;
    }
  }
  d.give(a);
}

// Some ranks after the others, so that their states' gradients stay in the second cache.
template <template <class> class Cell, class T, class O> void backward(const BackwardArgs<T>& all) {
  Stretch<Cell, T, O> s(all);
  const auto& q = all.sequences;
  for (int64_t begin = q.begin; begin < q.end; begin += ranks_together) {
    const int64_t end = begin + ranks_together < q.end ? begin + ranks_together : q.end;
    const int64_t before = (begin - q.begin) * all.hidden;
    s.args.sequences = q.part(begin, end);
    s.args.h_first = all.h_first + before, s.args.c_first = all.c_first + before;
    s.args.d_h = all.d_h + before, s.args.d_c = all.d_c + before;
    const auto pooled = [&](const T* of) { return of ? of + (begin - q.begin) * all.stride : nullptr; };
    s.args.d_largest = pooled(all.d_largest), s.args.where = pooled(all.where), s.args.d_mean = pooled(all.d_mean);
    walk_back(s);
  }
  s.finish();
}

}  // namespace carryline::CARRYLINE_ISA
