// What the kernels take and give, the same for every instruction set.
//
// Sequences lie time-major (see ragged.py): `starts[t]` is the position of step t's first token,
// and the texts still going at a step are the first ranks. A kernel works on the ranks it is
// given, in one direction, so directions and ranges of ranks can run on different threads.
#pragma once

#include <cstdint>

namespace carryline {

// So many ranks at a time, whole tiles: states of more, and what comes with them, leave the second
// cache (16,384 texts of 16 tokens: 1,340 instead of 1,560 ns a token).
constexpr int64_t ranks_together = 252;

struct Sequences {
  const int64_t* starts;  // [steps + 1]
  int64_t steps;
  int64_t begin, end;  // ranks
  bool reverse;        // from a text's last token to its first

  int64_t ranks() const { return end - begin; }
  int64_t position(int64_t step) const { return starts[step] + begin; }
  // How many of the ranks are still going at a step.
  int64_t active(int64_t step) const {
    if (step < 0 || step >= steps) return 0;
    const int64_t all = starts[step + 1] - starts[step];
    return all <= begin ? 0 : (all < end ? all : end) - begin;
  }
  // Tokens of a rank's text: the steps with more texts than the ranks before it, which are the first
  // ones. Inlined, or a copy compiled for the widest vectors might stand for all.
  __attribute__((always_inline)) int64_t length(int64_t rank) const {
    int64_t low = 0, high = steps;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (starts[middle + 1] - starts[middle] > rank) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  // Some of the ranks, in no more steps than the longest of them has: a walk through all steps for
  // every 252 of 300,000 texts of one token took 2.6 instead of 0.1 s beside a text as long.
  __attribute__((always_inline)) Sequences part(int64_t first, int64_t last) const {
    return {starts, length(first), first, last, reverse};
  }
};

template <class T> struct ForwardArgs {
  Sequences sequences;
  int64_t hidden;
  const T* projected;         // [rows, gates * hidden] W x + b
  const int32_t* row;         // [tokens] row of `projected` a token reads; null: its position
  const T* weight_hh;         // packed, see pack_gates
  const T* weight_ch;         // packed, see pack_panels; carry only
  const T* bias_candidate;    // [hidden]; gru only
  T* h;                       // [ranks, hidden] the first state, on return the final one
  T* c;                       // the same of the carry; null for cells without
  T* states;                  // [tokens, stride] or null
  T* largest;                 // [ranks, stride] of each text's states, 0 without any; or null
  T* where;                   // the same of its step; or null
  T* mean;                    // the same of their mean
  int64_t stride;
  T* saved;                   // [tokens][units / lanes][kept][lane] what backward needs, or null
};

template <class T> struct BackwardArgs {
  Sequences sequences;
  int64_t hidden;
  const T* d_states;          // [tokens, stride] or null
  const T *d_largest, *where;  // [ranks, stride] or null
  const T* d_mean;            // [ranks, stride] over the tokens of a text; or null
  const T* states;            // [tokens, stride]
  int64_t stride;
  const T* saved;             // [tokens][units / lanes][kept][lane]
  const T* h_first;           // [ranks, hidden]
  const T* c_first;           // [ranks, hidden]
  const T* weight_hh;         // packed, see pack_products
  const T* weight_ch;         // packed, see pack_panels; carry only
  T* d_h;                     // [ranks, hidden] gradient of the final state, on return of the first
  bool by_first;              // whether that is wanted: if not, what is returned is not it
  bool by_weights;            // whether those by weights and biases are: if not, nothing is added to them
  T* d_c;                     // the same of the carry
  const int32_t* row;         // [tokens] row of the projection a token read; null: its position
  T* d_projected;             // [rows, gates * hidden]
  int64_t rows;               // of it
  T* d_weight_hh;             // [products * hidden, hidden] added to
  T* d_weight_ch;             // [hidden, hidden] added to; carry only
  T* d_bias;                  // [gate_gradients, hidden] added to
};

// out [rows, columns] = x [rows, inner] times packed panels, plus bias or what `out` held.
template <class T> struct MatmulArgs {
  int64_t rows, inner, columns;
  const T* x;
  int64_t x_stride;
  const T* panels;            // see pack_panels
  const T* bias;              // [columns] or null
  bool accumulate;
  T* out;
  int64_t out_stride;
};

// out [rows, columns] = sum over tokens of left[token] (outer) right[token].
template <class T> struct OuterArgs {
  int64_t tokens, rows, columns;
  const T* left;
  int64_t left_stride;
  const T* right;
  int64_t right_stride;
  T* out;
  int64_t out_stride;
};

// What all steps of Adam share, and what is each one's own.
struct AdamRule {
  double first, second, epsilon;  // shares of the old moments
};
template <class T> struct AdamStep {
  T rate;     // over the first moment's correction
  T root;     // 1 over the root of the second moment's correction
  T decay;    // what weights are multiplied by
  T average;  // share of the old average
};

template <class T> struct AdamArgs {
  AdamRule rule;
  const AdamStep<T>* steps;
  T *weight, *first, *second;
  T* average;                 // or null
  const T* gradient;          // or null, of rows alone
  double scale;               // of it
};

// Rows of a matrix, of which each may have steps to make up for.
template <class T> struct AdamRowsArgs {
  AdamArgs<T> adam;           // [rows, width]; gradient: [ids, width]
  int64_t width;
  const int64_t* ids;         // the rows, none twice; null: all
  int32_t* done;              // [rows] steps that each has had
  int64_t last;               // steps that they shall have had
  bool still;                 // whether a weight without a first moment stays as it is
  T* taken;                   // [ids, width] the rows as they are then; or null
};

template <class T, class Number> struct DropoutArgs {
  const T* x;
  const Number* drawn;        // a number for each value
  Number dropped;             // those below are dropped
  T scale;                    // of the others
  T* out;
};

// A centre word of a stretch: its context words stand among those of the stretch from `begin` to `end`,
// itself left out; targets are rows, the first its own.
struct SkipCentre {
  int32_t begin, end;
  const int32_t* target;
  int32_t targets;
  float rate;
};
template <class T> struct SkipGramArgs {
  T* rows;                    // [rows, width] of inputs and outputs, changed in place
  int64_t width;              // a multiple of 16, zeros beyond what is wanted
  const int32_t* inputs;      // [count] row of each word as a context
  const SkipCentre* centres;  // [count]
  int64_t count, most_contexts, most_targets;
  double loss;                // of some of the pairs, added to
  int64_t pairs;              // how many those are, added to
};
template <class T> struct MergeArgs {
  T* row;
  int64_t width;
  const T* const* copies;     // [count] changed ones
  int64_t count;
};

// Rows of a sparse matrix, row i of the entries offsets[i] to offsets[i + 1], times a dense one.
template <class T> struct SparseArgs {
  const float* values;
  const int32_t* ids;         // rows of dense
  const int64_t* offsets;
  const T* dense;             // [width, columns]
  int64_t columns;
  T* out;                     // [rows, columns]
};

// Vectors of a text's words, and what is made of them: see text/bags.py.
template <class T> struct BagArgs {
  const T* matrix;            // [rows, width]
  const T* weight;            // [rows]
  int64_t width;
  const int32_t* ids;         // [count]
  int64_t count;
  T* out;                     // [4 * width]
};

// Of a cell: see cells.h; saved: vectors that are kept.
struct CellShape {
  int gates, products, saved, gradients;
  bool carry, carry_in_output, late_candidate;
};

template <class T> struct Kernels {
  CellShape cells[4];
  int lanes;
  void (*forward[4])(const ForwardArgs<T>&);
  void (*backward[4])(const BackwardArgs<T>&);
  void (*matmul)(const MatmulArgs<T>&);
  void (*outer)(const OuterArgs<T>&);
  void (*adam)(const AdamArgs<T>&, int64_t begin, int64_t end);
  void (*adam_rows)(const AdamRowsArgs<T>&, int64_t begin, int64_t end);
  double (*squares)(const T* values, int64_t count);
  void (*dropout_by_bytes)(const DropoutArgs<T, uint8_t>&, int64_t begin, int64_t end);
  void (*dropout_by_words)(const DropoutArgs<T, uint16_t>&, int64_t begin, int64_t end);
  void (*skip_gram)(SkipGramArgs<T>&);
  void (*merge_row)(const MergeArgs<T>&);
  void (*sparse_rows)(const SparseArgs<T>&, int64_t begin, int64_t end);
  void (*bag)(const BagArgs<T>&);
  double (*dot)(const T* one, const T* other, int64_t count);
  void (*combine)(const double* factors, const T* const* vectors, int64_t number, int64_t begin, int64_t end, T* out);
  // Multiply-adds of registers alone, `count` rounds of them; how many floating-point operations.
  double (*peak)(int64_t count);
  // Number of values of a packed matrix, and the packing itself. Pairs of bfloat16 lie in such
  // matrices as values of the same size.
  int64_t (*gates_size)(int64_t gates, int64_t inner, int64_t hidden);
  void (*pack_gates)(const T* weight, int64_t gates, int64_t inner, int64_t hidden, T* packed);
  int64_t (*products_size[4])(int64_t hidden);
  void (*pack_products[4])(const T* weight, int64_t hidden, T* packed);
  int64_t (*panels_size)(int64_t inner, int64_t columns);
  void (*pack_panels)(const T* matrix, int64_t inner, int64_t columns, bool transposed, T* packed);
};

struct InstructionSet {
  const char* name;
  bool (*supported)();
  const Kernels<float>& single;
  const Kernels<double>& twofold;
  const Kernels<float>& paired;  // with products of bfloat16
};

}  // namespace carryline
