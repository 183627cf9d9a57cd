// The thin door between arrays and kernels: checks shapes, splits the work, releases the GIL.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <stdexcept>

#include "dispatch.h"
#include "parallel.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace carryline {
namespace {

template <class T, int N> using Array = nb::ndarray<T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
// Rows may lie apart; the values of a row are neighbours.
template <class T> using Rows = nb::ndarray<T, nb::ndim<2>, nb::device::cpu>;
template <class T> using Maybe = std::optional<T>;
using Starts = Array<const int64_t, 1>;
using Index = Array<const int32_t, 1>;

void require(bool holds, const char* rule) {
  if (!holds) throw std::invalid_argument(rule);
}

template <class A> auto data(const Maybe<A>& array) { return array ? array->data() : nullptr; }

template <class T> void check_rows(const Rows<T>& a) {
  require(a.shape(0) == 0 || a.shape(1) <= 1 || a.stride(1) == 1, "values of a row must be neighbours in memory");
}

void check_index(const Maybe<Index>& index, size_t tokens, int64_t least, size_t rows) {
  if (!index) return;
  require(index->shape(0) == tokens, "the index must have a row for every token");
  for (size_t i = 0; i < tokens; ++i)
    require((*index)(i) >= least && (*index)(i) < int64_t(rows), "a row of the index is out of range");
}

void check_starts(const Starts& starts, size_t texts, size_t tokens) {
  require(starts.shape(0) >= 1 && starts(0) == 0, "starts must begin with 0");
  int64_t before = int64_t(texts);
  for (size_t t = 0; t + 1 < starts.shape(0); ++t) {
    const int64_t active = starts(t + 1) - starts(t);
    require(active >= 0 && active <= before, "no step may have more texts than the one before");
    before = active;
  }
  require(starts(starts.shape(0) - 1) == int64_t(tokens), "starts must end at the number of tokens");
}

// [part, part + 1): ranks of about equally many tokens, so that threads end together.
std::vector<int64_t> split_ranks(const Starts& starts, int64_t texts, int64_t parts) {
  const int64_t steps = int64_t(starts.shape(0)) - 1, tokens = starts(steps);
  std::vector<int64_t> bounds(1, 0);
  int64_t seen = 0, step = steps;
  for (int64_t rank = 0; rank < texts && int64_t(bounds.size()) < parts; ++rank) {
    while (step > 0 && starts(step) - starts(step - 1) <= rank) --step;
    seen += step;  // the length of the text at this rank
    if (seen * parts >= tokens * int64_t(bounds.size())) bounds.push_back(rank + 1);
  }
  bounds.push_back(texts);
  return bounds;
}

// Calls work(direction, ranks begin, ranks end) for every direction and part on the threads.
template <class Work>
void over_directions(const Starts& starts, int64_t directions, int64_t texts, int threads,
                     const Work& work) {
  const auto bounds = split_ranks(starts, texts, std::max<int64_t>(1, threads / directions));
  const int64_t parts = int64_t(bounds.size()) - 1;
  parallel(directions * parts, threads, [&](int64_t task) {
    work(task % directions, bounds[size_t(task / directions)], bounds[size_t(task / directions) + 1]);
  });
}

template <class T>
void recurrence_forward(int cell, Starts starts, Array<const T, 3> projected, Maybe<Index> row,
                        Array<const T, 2> weight_hh, Maybe<Array<const T, 2>> weight_ch,
                        Maybe<Array<const T, 2>> bias_candidate, Array<T, 3> h, Array<T, 3> c,
                        Maybe<Array<T, 2>> states, Maybe<Array<T, 3>> saved, int threads) {
  const size_t directions = h.shape(0), texts = h.shape(1), hidden = h.shape(2);
  const size_t steps = starts.shape(0) - 1, tokens = size_t(starts(steps));
  const size_t gates = cell == 0 ? 1 : cell == 2 ? 3 : 4;
  require(cell >= 0 && cell < 4, "cell must be 0 to 3");
  require(hidden >= 1 && directions >= 1, "there must be a unit and a direction");
  check_starts(starts, texts, tokens);
  require(projected.shape(0) == directions && projected.shape(2) == gates * hidden,
          "projected must be [directions, rows, gates * hidden]");
  require(row || projected.shape(1) >= tokens, "projected must have a row for every token");
  check_index(row, tokens, 0, projected.shape(1));
  const auto& k = kernels<T>();
  require(weight_hh.shape(0) == directions &&
              int64_t(weight_hh.shape(1)) == k.gates_size(int64_t(gates), int64_t(hidden), int64_t(hidden)),
          "weight_hh must be packed for this cell");
  require(cell != 3 || (weight_ch && weight_ch->shape(0) == directions &&
                        int64_t(weight_ch->shape(1)) == k.gates_size(1, int64_t(hidden), int64_t(hidden))),
          "weight_ch must be packed for this cell");
  require(cell != 2 || (bias_candidate && bias_candidate->shape(0) == directions &&
                        bias_candidate->shape(1) == hidden),
          "bias_candidate must be [directions, hidden]");
  require(c.shape(0) == directions && c.shape(1) == texts && c.shape(2) == hidden,
          "c must be [directions, texts, hidden]");
  require(!states || (states->shape(0) == tokens && states->shape(1) == directions * hidden),
          "states must be [tokens, directions * hidden]");
  const size_t kept = cell == 0 ? 0 : cell == 1 ? 5 : 4;
  require(!saved || (saved->shape(0) == directions && saved->shape(1) == tokens &&
                     saved->shape(2) == kept * hidden),
          "saved must be [directions, tokens, saved * hidden]");

  nb::gil_scoped_release release;
  const size_t state = texts * hidden;
  std::unique_ptr<T[]> next(new T[2 * directions * state]);
  std::copy_n(h.data(), directions * state, next.get());
  std::copy_n(c.data(), directions * state, next.get() + directions * state);
  over_directions(starts, int64_t(directions), int64_t(texts), threads,
                  [&](int64_t direction, int64_t begin, int64_t end) {
    const size_t d = size_t(direction), own = d * state + size_t(begin) * hidden;
    ForwardArgs<T> a{};
    a.sequences = {starts.data(), int64_t(steps), begin, end, d == 1};
    a.hidden = int64_t(hidden);
    a.projected = projected.data() + d * projected.shape(1) * gates * hidden;
    a.row = data(row);
    a.weight_hh = weight_hh.data() + d * weight_hh.shape(1);
    if (weight_ch) a.weight_ch = weight_ch->data() + d * weight_ch->shape(1);
    if (bias_candidate) a.bias_candidate = bias_candidate->data() + d * hidden;
    a.h[0] = h.data() + own, a.h[1] = next.get() + own;
    if (cell == 1 || cell == 3)
      a.c[0] = c.data() + own, a.c[1] = next.get() + directions * state + own;
    if (states) a.states = states->data() + d * hidden;
    a.stride = int64_t(directions * hidden);
    if (saved) a.saved = saved->data() + d * tokens * kept * hidden;
    k.forward[cell](a);
  });
}

template <class T>
void recurrence_backward(int cell, Starts starts, Maybe<Array<const T, 2>> d_states,
                         Array<const T, 2> states, Array<const T, 3> saved,
                         Array<const T, 3> h_first, Array<const T, 3> c_first,
                         Array<const T, 2> weight_hh, Maybe<Array<const T, 2>> weight_ch,
                         Array<T, 3> d_h, Array<T, 3> d_c, Array<T, 3> d_gates, int threads) {
  const size_t directions = d_h.shape(0), texts = d_h.shape(1), hidden = d_h.shape(2);
  const size_t steps = starts.shape(0) - 1, tokens = size_t(starts(steps));
  require(cell >= 0 && cell < 4, "cell must be 0 to 3");
  require(hidden >= 1 && directions >= 1, "there must be a unit and a direction");
  check_starts(starts, texts, tokens);
  const auto& k = kernels<T>();
  const size_t products = cell == 0 ? 1 : cell == 2 ? 3 : 4, gradients = cell == 0 ? 1 : 4;
  const size_t kept = cell == 0 ? 0 : cell == 1 ? 5 : 4;
  const auto state_shaped = [&](const auto& a) {
    return a.shape(0) == directions && a.shape(1) == texts && a.shape(2) == hidden;
  };
  require(states.shape(0) == tokens && states.shape(1) == directions * hidden,
          "states must be [tokens, directions * hidden]");
  require(!d_states || (d_states->shape(0) == tokens && d_states->shape(1) == directions * hidden),
          "d_states must be [tokens, directions * hidden]");
  require(saved.shape(0) == directions && saved.shape(1) == tokens && saved.shape(2) == kept * hidden,
          "saved must be [directions, tokens, saved * hidden]");
  require(state_shaped(h_first) && state_shaped(c_first) && state_shaped(d_c),
          "h_first, c_first, d_h, d_c must be [directions, texts, hidden]");
  require(weight_hh.shape(0) == directions &&
              int64_t(weight_hh.shape(1)) == k.panels_size(int64_t(products * hidden), int64_t(hidden)),
          "weight_hh must be packed for this cell");
  require(cell != 3 || (weight_ch && weight_ch->shape(0) == directions &&
                        int64_t(weight_ch->shape(1)) == k.panels_size(int64_t(hidden), int64_t(hidden))),
          "weight_ch must be packed for this cell");
  require(d_gates.shape(0) == directions && d_gates.shape(1) == tokens &&
              d_gates.shape(2) == gradients * hidden,
          "d_gates must be [directions, tokens, gradients * hidden]");

  nb::gil_scoped_release release;
  over_directions(starts, int64_t(directions), int64_t(texts), threads,
                  [&](int64_t direction, int64_t begin, int64_t end) {
    const size_t d = size_t(direction), own = (d * texts + size_t(begin)) * hidden;
    BackwardArgs<T> a{};
    a.sequences = {starts.data(), int64_t(steps), begin, end, d == 1};
    a.hidden = int64_t(hidden);
    if (d_states) a.d_states = d_states->data() + d * hidden;
    a.states = states.data() + d * hidden;
    a.stride = int64_t(directions * hidden);
    a.saved = saved.data() + d * tokens * kept * hidden;
    a.h_first = h_first.data() + own, a.c_first = c_first.data() + own;
    a.weight_hh = weight_hh.data() + d * weight_hh.shape(1);
    if (weight_ch) a.weight_ch = weight_ch->data() + d * weight_ch->shape(1);
    a.d_h = d_h.data() + own, a.d_c = d_c.data() + own;
    a.d_gates = d_gates.data() + d * tokens * gradients * hidden;
    k.backward[cell](a);
  });
}

// Products too small to be worth a second thread: some 0.1 ms of work.
int threads_worth(int threads, double multiplications) {
  return std::max(1, std::min(threads, int(multiplications / 4e6)));
}

template <class T>
void matmul(Rows<const T> x, Array<const T, 1> panels, Maybe<Array<const T, 1>> bias, Rows<T> out,
            bool accumulate, int threads) {
  const int64_t rows = int64_t(x.shape(0)), inner = int64_t(x.shape(1)), columns = int64_t(out.shape(1));
  const auto& k = kernels<T>();
  check_rows(x), check_rows(out);
  require(int64_t(out.shape(0)) == rows, "out must have the rows of x");
  require(int64_t(panels.shape(0)) == k.panels_size(inner, columns), "panels must be packed for this product");
  require(!bias || int64_t(bias->shape(0)) == columns, "bias must have the columns of out");
  nb::gil_scoped_release release;
  threads = threads_worth(threads, double(rows) * double(inner) * double(columns));
  const int64_t part = (rows + threads - 1) / threads;
  parallel(threads, threads, [&](int64_t i) {
    const int64_t begin = std::min(rows, i * part), end = std::min(rows, begin + part);
    k.matmul({end - begin, inner, columns, x.data() + begin * x.stride(0), x.stride(0), panels.data(),
              data(bias), accumulate, out.data() + begin * out.stride(0), out.stride(0)});
  });
}

template <class T>
void outer(Rows<const T> left, Maybe<Index> left_row, Rows<const T> right, Rows<T> out, int threads) {
  const int64_t tokens = int64_t(right.shape(0)), rows = int64_t(out.shape(0));
  const int64_t columns = int64_t(out.shape(1));
  check_rows(left), check_rows(right), check_rows(out);
  require(int64_t(left.shape(1)) == rows && int64_t(right.shape(1)) == columns,
          "out must be [left columns, right columns]");
  require(left_row || int64_t(left.shape(0)) == tokens, "left and right must have as many rows");
  check_index(left_row, size_t(tokens), -1, left.shape(0));
  nb::gil_scoped_release release;
  threads = threads_worth(threads, double(tokens) * double(rows) * double(columns));
  const int64_t part = (rows + threads - 1) / threads;
  parallel(threads, threads, [&](int64_t i) {
    const int64_t begin = std::min(rows, i * part), end = std::min(rows, begin + part);
    kernels<T>().outer({tokens, begin, end, columns, left.data(), left.stride(0), data(left_row),
                        right.data(), right.stride(0), out.data(), out.stride(0)});
  });
}

// out[index[token]] += values[token], tokens in order.
template <class T>
void sum_rows(Rows<const T> values, Index index, Array<T, 2> out, int threads) {
  const int64_t tokens = int64_t(values.shape(0)), columns = int64_t(out.shape(1));
  check_rows(values);
  require(int64_t(values.shape(1)) == columns, "out must have the columns of values");
  check_index(index, size_t(tokens), 0, out.shape(0));
  nb::gil_scoped_release release;
  threads = threads_worth(threads, double(tokens) * double(columns) * 8);
  const int64_t part = (columns + threads - 1) / threads;
  parallel(threads, threads, [&](int64_t i) {
    const int64_t begin = std::min(columns, i * part), end = std::min(columns, begin + part);
    for (int64_t token = 0; token < tokens; ++token) {
      const T* from = values.data() + token * values.stride(0);
      T* to = out.data() + index.data()[token] * columns;
      // Rows lie anywhere: 2.2 ms for 20,000 tokens of a kilobyte without fetching ahead.
      const T* soon = out.data() + index.data()[std::min(token + 8, tokens - 1)] * columns;
      for (int64_t j = begin; j < end; j += 64 / int64_t(sizeof(T))) __builtin_prefetch(soon + j, 1);
      for (int64_t j = begin; j < end; ++j) to[j] += from[j];
    }
  });
}

// Calls work(begin, end) on ranges of columns, one a thread.
template <class Work> void over_columns(int64_t columns, int threads, const Work& work) {
  const int64_t part = (columns + threads - 1) / threads;
  parallel(threads, threads, [&](int64_t i) {
    work(std::min(columns, i * part), std::min(columns, (i + 1) * part));
  });
}

void check_lengths(const Starts& starts, const Starts& lengths) {
  const int64_t steps = int64_t(starts.shape(0)) - 1;
  int64_t tokens = 0;
  for (size_t i = 0; i < lengths.shape(0); ++i) tokens += lengths(i);
  require(tokens == starts(steps), "lengths must add up to the number of tokens");
}

template <class T>
void pool(Starts starts, Starts lengths, Array<const T, 2> states, Array<T, 2> largest,
          Maybe<Array<int32_t, 2>> where, Array<T, 2> mean, int threads) {
  const size_t texts = largest.shape(0), width = largest.shape(1);
  check_starts(starts, texts, states.shape(0)), check_lengths(starts, lengths);
  require(lengths.shape(0) == texts && states.shape(1) == width && mean.shape(0) == texts &&
              mean.shape(1) == width && (!where || (where->shape(0) == texts && where->shape(1) == width)),
          "lengths, largest, where and mean must be [texts, width of the states]");
  nb::gil_scoped_release release;
  threads = threads_worth(threads, double(states.shape(0)) * double(width) * 8);
  over_columns(int64_t(width), threads, [&](int64_t begin, int64_t end) {
    kernels<T>().pool({starts.data(), lengths.data(), int64_t(starts.shape(0)) - 1, int64_t(texts), begin,
                       end, int64_t(width), states.data(), largest.data(), data(where), mean.data()});
  });
}

template <class T>
void pool_backward(Starts starts, Starts lengths, Array<const T, 2> d_largest, Array<const int32_t, 2> where,
                   Array<const T, 2> d_mean, Array<T, 2> d_states, int threads) {
  const size_t texts = d_largest.shape(0), width = d_largest.shape(1);
  check_starts(starts, texts, d_states.shape(0)), check_lengths(starts, lengths);
  require(lengths.shape(0) == texts && d_states.shape(1) == width && d_mean.shape(0) == texts &&
              d_mean.shape(1) == width && where.shape(0) == texts && where.shape(1) == width,
          "lengths, d_largest, where and d_mean must be [texts, width of the states]");
  nb::gil_scoped_release release;
  threads = threads_worth(threads, double(d_states.shape(0)) * double(width) * 8);
  over_columns(int64_t(width), threads, [&](int64_t begin, int64_t end) {
    kernels<T>().pool_backward({starts.data(), lengths.data(), int64_t(starts.shape(0)) - 1, begin, end,
                                int64_t(width), d_largest.data(), d_mean.data(), where.data(), d_states.data()});
  });
}

template <class T> void pack_gates(Array<const T, 2> weight, size_t hidden, Array<T, 1> packed) {
  const int64_t inner = int64_t(weight.shape(1)), units = int64_t(hidden);
  require(units >= 1 && int64_t(weight.shape(0)) % units == 0, "weight must be [gates * hidden, inner]");
  const int64_t gates = int64_t(weight.shape(0)) / units;
  require(int64_t(packed.shape(0)) == kernels<T>().gates_size(gates, inner, units), "packed has the wrong size");
  kernels<T>().pack_gates(weight.data(), gates, inner, units, packed.data());
}

template <class T> void pack_panels(Array<const T, 2> matrix, bool transposed, Array<T, 1> packed) {
  const int64_t inner = int64_t(matrix.shape(transposed)), columns = int64_t(matrix.shape(!transposed));
  require(int64_t(packed.shape(0)) == kernels<T>().panels_size(inner, columns), "packed has the wrong size");
  kernels<T>().pack_panels(matrix.data(), inner, columns, transposed, packed.data());
}

template <class T> void define(nb::module_& m) {
  const auto own = [](const char* name) { return nb::arg(name).noconvert(); };
  const auto none = [](const char* name) { return nb::arg(name).noconvert().none(); };
  m.def("recurrence_forward", &recurrence_forward<T>, "cell"_a, own("starts"), own("projected"),
        none("row"), own("weight_hh"), none("weight_ch"), none("bias_candidate"), own("h"), own("c"),
        none("states"), none("saved"), "threads"_a);
  m.def("recurrence_backward", &recurrence_backward<T>, "cell"_a, own("starts"), none("d_states"),
        own("states"), own("saved"), own("h_first"), own("c_first"), own("weight_hh"),
        none("weight_ch"), own("d_h"), own("d_c"), own("d_gates"), "threads"_a);
  m.def("matmul", &matmul<T>, own("x"), own("panels"), none("bias"), own("out"), "accumulate"_a, "threads"_a);
  m.def("outer", &outer<T>, own("left"), none("left_row"), own("right"), own("out"), "threads"_a);
  m.def("sum_rows", &sum_rows<T>, own("values"), own("index"), own("out"), "threads"_a);
  m.def("pool", &pool<T>, own("starts"), own("lengths"), own("states"), own("largest"), none("where"),
        own("mean"), "threads"_a);
  m.def("pool_backward", &pool_backward<T>, own("starts"), own("lengths"), own("d_largest"), own("where"),
        own("d_mean"), own("d_states"), "threads"_a);
  m.def("pack_gates", &pack_gates<T>, own("weight"), "hidden"_a, own("packed"));
  m.def("pack_panels", &pack_panels<T>, own("matrix"), "transposed"_a, own("packed"));
}

}  // namespace
}  // namespace carryline

NB_MODULE(_kernels, m) {
  using namespace carryline;
  use_instruction_set("");
  m.def("instruction_sets", &instruction_sets);
  m.def("use_instruction_set", &use_instruction_set, "name"_a);
  m.def("instruction_set", [] { return std::string(instruction_set().name); });
  m.def("peak", [](int64_t count, int threads) {
    nb::gil_scoped_release release;
    std::atomic<int64_t> operations{0};
    parallel(threads, threads, [&](int64_t) { operations += int64_t(kernels<float>().peak(count)); });
    return operations.load();
  }, "count"_a, "threads"_a);
  m.def("gates_size", [](int64_t gates, int64_t inner, int64_t hidden, bool twofold) {
    return twofold ? kernels<double>().gates_size(gates, inner, hidden)
                   : kernels<float>().gates_size(gates, inner, hidden);
  });
  m.def("panels_size", [](int64_t inner, int64_t columns, bool twofold) {
    return twofold ? kernels<double>().panels_size(inner, columns)
                   : kernels<float>().panels_size(inner, columns);
  });
  define<float>(m);
  define<double>(m);
}
