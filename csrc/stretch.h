// A stretch of tokens between the backward time loop and the weight gradients.
//
// The loop leaves the gates' gradients here. When the stretch is full they are added to the gradients
// of the weights, the bias and the projection, while they are still in the second cache: written to
// memory and read again for each of these they cost 4 KB a token of a 64-unit lstm.
#pragma once

#include "cells.h"
#include "kernels.h"
#include "memory.h"
#include "outer.h"
#include "tile.h"

namespace carryline::CARRYLINE_ISA {

template <template <class> class Cell, class T, class O> struct Stretch {
  using C = Cell<T>;
  // A panel: the gates of so many blocks of units that a tile is wide enough.
  static constexpr int64_t blocks = C::products == 1 ? panel_vectors : 1;
  static constexpr int vectors = int(C::products * blocks);        // that U h takes, of a panel
  static constexpr int64_t step = C::gradients * blocks * lanes<T>;  // values a token has in a panel
  static constexpr int64_t inner = vectors * lanes<T>, pairs = inner / 2;
  // From panel to panel: a token more than there are, or a token's panels, a power of two apart,
  // would fall on the same few lines of the first cache.
  static constexpr int64_t panel_step = (chunk_tokens + 1) * step;
  static constexpr bool brief = depth<O> > 1;

  BackwardArgs<T> args;
  const int64_t hidden, panels, left_panels;
  int64_t count = 0, position[chunk_tokens];
  Buffer<T> gates;               // [panels][token][step]
  Buffer<T> h_before, c_before;  // [left panels][token][left_width]
  Buffer<O> gate_rows;           // [panels][token][pairs] the gates as left operands, when brief
  Buffer<O> gate_columns;        // [panels][two tokens][inner] and as right ones
  Buffer<O> h_columns, c_columns;  // [left panels][two tokens][left_width]
  Buffer<T> sum_hh;              // [panels][hidden][inner]
  Buffer<T> sum_ch;              // [panels][hidden][lane]
  Buffer<T> sum_bias;            // [panels][step]
  Buffer<bool> begun;            // [rows] whether a row of the projection's gradient has something

  explicit Stretch(const BackwardArgs<T>& a)
      : args(a), hidden(a.hidden), panels((blocks_of<T>(hidden) + blocks - 1) / blocks),
        left_panels((hidden + left_width - 1) / left_width), gates(panels * panel_step),
        h_before(left_panels * left_step), c_before(C::carry_in_output * left_panels * left_step),
        gate_rows(brief * panels * chunk_tokens * pairs), gate_columns(brief * panels * chunk_tokens * pairs),
        h_columns(brief * left_panels * left_step / 2),
        c_columns(brief * C::carry_in_output * left_panels * left_step / 2), sum_hh(panels * hidden * inner),
        sum_ch(C::carry_in_output * panels * hidden * lanes<T>), sum_bias(panels * step),
        begun(a.rows) {}

  int64_t room() const { return chunk_tokens - count; }
  // Gradients of a block of units: `gradients` vectors side by side.
  T* gradients(int64_t slot, int64_t block) const {
    return gates.at + block / blocks * panel_step + slot * step + block % blocks * C::gradients * lanes<T>;
  }
  static int64_t left(int64_t slot, int64_t unit) {
    return unit / left_width * left_step + slot * left_width + unit % left_width;
  }
  // The p-th panel's gates of the tokens from `slot` on, as the left side of a product.
  Left<O> row(int64_t p, int64_t slot) const {
    if constexpr (brief) return {gate_rows.at + (p * chunk_tokens + slot) * pairs, pairs, 1};
    else return {gates.at + p * panel_step + slot * step, step, 1};
  }
  // A block's gradients are complete.
  void keep_row(int64_t slot, int64_t block) const {
    if constexpr (brief)
      for (int p = 0; p < C::products; ++p)
        store_pairs(gate_rows.at + (block / blocks * chunk_tokens + slot) * pairs +
                        (block % blocks * C::products + p) * lanes<T> / 2,
                    load(gradients(slot, block) + p * lanes<T>));
  }

  // Adds all that is here to the gradients.
  void flush() {
    if (args.by_weights) add_outers();
    add_sums();
    count = 0;
  }

  // To the gradients of the weights.
  void add_outers() {
    if constexpr (brief) make_columns();
    RowsAhead rows{*this};
    for (int64_t l = 0; l < left_panels; ++l) {
      const int64_t first = l * left_width, units = hidden - first < left_width ? hidden - first : left_width;
      for (int64_t p = 0; p < panels; ++p) {
        if (args.row && l == 0) rows.end = count * (p + 1) / panels;
        const Right<O> right = column(p);
        add_outer<O, vectors>(left_column(h_before, h_columns, l), units, right.at, right.step,
                              terms<O>(count), sum_hh.at + (p * hidden + first) * inner, rows);
        if constexpr (C::carry_in_output)
          add_outer<O, 1>(left_column(c_before, c_columns, l), units, right.at + 3 * lanes<T>, right.step,
                          terms<O>(count), sum_ch.at + (p * hidden + first) * lanes<T>);
      }
    }
  }

  // Rows of the projection's gradient lie anywhere in some megabytes: those of the slots up to `end` are
  // fetched while the weight gradients are summed, a line with each term (870 instead of 880 ns).
  struct RowsAhead {
    const Stretch& s;
    int64_t end = 0, slot = 0, j = 0;

    void operator()(int64_t) {
      if (slot >= end) return;
      const int64_t width = C::gates * s.hidden;
      __builtin_prefetch(s.args.d_projected + s.args.row[s.position[slot]] * width + j, 1, 2);
      j += 64 / int64_t(sizeof(T));
      if (j >= width) j = 0, ++slot;
    }
  };

  // To the gradients of the bias and of the projection.
  void add_sums() {
    T* row[chunk_tokens];
    bool add[chunk_tokens];
    for (int64_t slot = 0; slot < count; ++slot) {
      const int64_t at = args.row ? args.row[position[slot]] : position[slot];
      row[slot] = args.d_projected + at * C::gates * hidden;
      add[slot] = begun.at[at];
      begun.at[at] = true;
    }
    each_block<T>(hidden, [&](int64_t block, auto n) {
      T* bias = sum_bias.at + block * C::gradients * lanes<T>;
      Vec<T> sum[C::gradients];
      for (int g = 0; g < C::gradients; ++g) sum[g] = load(bias + g * lanes<T>);
      for (int64_t slot = 0; slot < count; ++slot)
        for (int g = 0; g < C::gradients; ++g) {
          const Vec<T> d = load(gradients(slot, block) + g * lanes<T>);
          sum[g] += d;
          if (g < first_input_gradient<C>) continue;
          T* to = row[slot] + (g - first_input_gradient<C>) * hidden + block * lanes<T>;
          store(to, add[slot] ? load(to, n) + d : d, n);
        }
      for (int g = 0; g < C::gradients; ++g) store(bias + g * lanes<T>, sum[g]);
    });
  }

  // The sums in the order of the weights.
  void finish() {
    flush();
    for (int64_t row = 0; args.row && row < args.rows; ++row)
      if (!begun.at[row]) memset(args.d_projected + row * C::gates * hidden, 0, size_t(C::gates * hidden) * sizeof(T));
    if (!args.by_weights) return;
    each_block<T>(hidden, [&](int64_t block, auto n) {
      const int64_t p = block / blocks, j = block * lanes<T>;
      for (int g = 0; g < C::products; ++g)
        add_turned(sum_hh.at + p * hidden * inner + (block % blocks * C::products + g) * lanes<T>, inner, n,
                   args.d_weight_hh + (gate_of_product<C>(g) * hidden + j) * hidden);
      if constexpr (C::carry_in_output)
        add_turned(sum_ch.at + p * hidden * lanes<T>, lanes<T>, n, args.d_weight_ch + j * hidden);
      for (int g = 0; g < C::gradients; ++g) {
        T* to = args.d_bias + g * hidden + j;
        store(to, load(to, n) + load(sum_bias.at + p * step + (block % blocks * C::gradients + g) * lanes<T>), n);
      }
    });
  }

 private:
  static constexpr int64_t left_step = chunk_tokens * left_width;

  Right<O> column(int64_t p) const {
    if constexpr (brief) return {gate_columns.at + p * chunk_tokens * pairs, 0, inner};
    else return {gates.at + p * panel_step, 0, step};
  }
  const O* left_column(const Buffer<T>& whole, const Buffer<O>& halves, int64_t l) const {
    if constexpr (brief) return halves.at + l * left_step / 2;
    else return whole.at + l * left_step;
  }
  // to [rows, hidden] += from [hidden, rows], of whose vectors the first `rows` lanes count.
  void add_turned(const T* from, int64_t stride, int64_t rows, T* to) const {
    each_block<T>(hidden, [&](int64_t block, auto n) {
      Vec<T> part[lanes<T>];
      for (int64_t k = 0; k < lanes<T>; ++k) part[k] = k < n ? load(from + (block * lanes<T> + k) * stride) : Vec<T>{};
      transpose<T>(part);
      for (int64_t row = 0; row < rows; ++row) {
        T* at = to + row * hidden + block * lanes<T>;
        store(at, load(at, n) + part[row], n);
      }
    });
  }
  void make_columns() const {
    for (int64_t p = 0; p < panels; ++p)
      copy_panel(gates.at + p * panel_step, step, count, inner, inner, gate_columns.at + p * chunk_tokens * pairs);
    for (int64_t l = 0; l < left_panels; ++l) {
      copy_panel(h_before.at + l * left_step, left_width, count, left_width, left_width, h_columns.at + l * left_step / 2);
      if constexpr (C::carry_in_output)
        copy_panel(c_before.at + l * left_step, left_width, count, left_width, left_width, c_columns.at + l * left_step / 2);
    }
  }
};

// weight [products * hidden, hidden] -> [columns / panel][panel of gradients][inner][column]: as the
// gradients of a stretch are multiplied by it; zero beyond `hidden`.
template <template <class> class Cell, class T, class O> int64_t products_size(int64_t hidden) {
  using S = Stretch<Cell, T, O>;
  const int64_t panels = (blocks_of<T>(hidden) + S::blocks - 1) / S::blocks;
  return panels_size<O>(panels * S::inner, hidden);
}
template <template <class> class Cell, class T, class O>
void pack_products(const T* weight, int64_t hidden, T* out) {
  using S = Stretch<Cell, T, O>;
  constexpr int64_t width = panel_vectors * lanes<T>;
  O* packed = reinterpret_cast<O*>(out);
  const int64_t panels = (blocks_of<T>(hidden) + S::blocks - 1) / S::blocks;
  for (int64_t first = 0; first < hidden; first += width)
    for (int64_t p = 0; p < panels; ++p)
      for (int64_t k = 0; k < terms<O>(S::inner); ++k)
        for (int64_t column = first; column < first + width; ++column)
          *packed++ = term<O>(k, S::inner, [&](int64_t i) {
            const int64_t j = (p * S::blocks + i / (Cell<T>::products * lanes<T>)) * lanes<T> + i % lanes<T>;
            const int64_t gate = gate_of_product<Cell<T>>(int(i / lanes<T> % Cell<T>::products));
            return j < hidden && column < hidden ? weight[(gate * hidden + j) * hidden + column] : T(0);
          });
}

}  // namespace carryline::CARRYLINE_ISA
