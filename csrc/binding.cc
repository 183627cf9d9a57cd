// The thin door between arrays and kernels: checks shapes, splits the work, releases the GIL.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "arrays.h"

namespace carryline {
namespace {

template <class T>
void matmul(Rows<const T> x, Array<const T, 1> panels, Maybe<Array<const T, 1>> bias, Rows<T> out,
            bool accumulate, bool brief, int threads) {
  const int64_t rows = int64_t(x.shape(0)), inner = int64_t(x.shape(1)), columns = int64_t(out.shape(1));
  const auto& k = chosen<T>(brief);
  check_rows(x), check_rows(out);
  require(int64_t(out.shape(0)) == rows, "out must have the rows of x");
  require(int64_t(panels.shape(0)) == k.panels_size(inner, columns), "panels must be packed for this product");
  require(!bias || int64_t(bias->shape(0)) == columns, "bias must have the columns of out");
  const WithoutLock unlocked;
  threads = threads_worth(threads, double(rows) * double(inner) * double(columns));
  // Four parts a thread: one that has to be woken, or shares its core, does fewer of them.
  const int64_t parts = threads > 1 ? 4 * threads : 1, part = (rows + parts - 1) / parts;
  parallel(parts, threads, [&](int64_t i) {
    const int64_t begin = std::min(rows, i * part), end = std::min(rows, begin + part);
    k.matmul({end - begin, inner, columns, x.data() + begin * x.stride(0), x.stride(0), panels.data(),
              data(bias), accumulate, out.data() + begin * out.stride(0), out.stride(0)});
  });
}

template <class T>
void outer(Rows<const T> left, Rows<const T> right, Rows<T> out, bool brief, int threads) {
  const auto& k = chosen<T>(brief);
  const int64_t tokens = int64_t(right.shape(0)), rows = int64_t(out.shape(0));
  const int64_t columns = int64_t(out.shape(1));
  check_rows(left), check_rows(right), check_rows(out);
  require(int64_t(left.shape(1)) == rows && int64_t(right.shape(1)) == columns,
          "out must be [left columns, right columns]");
  require(int64_t(left.shape(0)) == tokens, "left and right must have as many rows");
  const WithoutLock unlocked;
  threads = threads_worth(threads, double(tokens) * double(rows) * double(columns));
  // Cut between whole panels of columns: each thread copies its own ones into order.
  const int64_t panel = 64, part = (columns + panel * threads - 1) / (panel * threads) * panel;
  parallel(threads, threads, [&](int64_t i) {
    const int64_t begin = std::min(columns, i * part), end = std::min(columns, begin + part);
    k.outer({tokens, rows, end - begin, left.data(), left.stride(0), right.data() + begin, right.stride(0),
             out.data() + begin, out.stride(0)});
  });
}

// An array that owns its values.
template <class T> using Owned = nb::ndarray<nb::numpy, T, nb::ndim<1>>;
template <class T> Owned<T> owned(std::vector<T> values) {
  auto* kept = new std::vector<T>(std::move(values));
  nb::capsule owner(kept, [](void* at) noexcept { delete static_cast<std::vector<T>*>(at); });
  return Owned<T>(kept->data(), {kept->size()}, owner);
}

// See ragged.Plan: order, lengths, starts.
nb::tuple plan(Starts offsets) {
  require(offsets.shape(0) >= 1 && offsets(0) == 0, "offsets must begin with 0");
  const size_t texts = offsets.shape(0) - 1;
  const auto length = [&](size_t text) { return offsets(text + 1) - offsets(text); };
  std::vector<int64_t> order(texts), lengths(texts), starts(1, 0);
  for (size_t text = 0; text < texts; ++text) {
    require(length(text) >= 0, "offsets must never fall");
    order[text] = int64_t(text);
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return length(size_t(a)) > length(size_t(b)); });
  for (size_t rank = 0; rank < texts; ++rank) lengths[rank] = length(size_t(order[rank]));
  const int64_t steps = texts ? lengths[0] : 0;
  starts.reserve(size_t(steps) + 1);
  size_t active = texts;
  for (int64_t step = 0; step < steps; ++step) {
    while (lengths[active - 1] <= step) --active;
    starts.push_back(starts.back() + int64_t(active));
  }
  return nb::make_tuple(owned(std::move(order)), owned(std::move(lengths)), owned(std::move(starts)));
}

// Calls work(position, token) for each time-major position of a plan, with the text-major token there.
template <class Work> void in_time(const Starts& offsets, const Starts& order, const Starts& starts, const Work& work) {
  const size_t texts = order.shape(0);
  require(offsets.shape(0) == texts + 1 && offsets(0) == 0, "order must have every text");
  check_starts(starts, texts, size_t(offsets(texts)));
  const Sequences all{starts.data(), int64_t(starts.shape(0)) - 1, 0, int64_t(texts), false};
  std::vector<int64_t> first(texts);  // token of each rank
  for (size_t rank = 0; rank < texts; ++rank) {
    const size_t text = size_t(order(rank));
    require(text < texts && offsets(text) >= 0 && offsets(text + 1) <= offsets(texts) &&
                offsets(text + 1) - offsets(text) == all.length(int64_t(rank)),
            "order must be by length");
    first[rank] = offsets(text);
  }
  const int64_t* from = first.data();
  for (int64_t step = 0; step < all.steps; ++step) {
    const int64_t at = all.position(step), active = all.active(step);
    for (int64_t rank = 0; rank < active; ++rank) work(at + rank, from[rank] + step);
  }
}

// See ragged.Plan.positions.
Owned<int64_t> positions(Starts offsets, Starts order, Starts starts) {
  require(starts.shape(0) >= 1, "starts must begin with 0");
  std::vector<int64_t> out(size_t(starts(starts.shape(0) - 1)));
  in_time(offsets, order, starts, [to = out.data()](int64_t at, int64_t token) { to[at] = token; });
  return owned(std::move(out));
}

// See ragged.Plan.time_major.
Owned<int32_t> time_major(Index values, Starts offsets, Starts order, Starts starts) {
  require(offsets.shape(0) >= 1 && offsets(offsets.shape(0) - 1) == int64_t(values.shape(0)),
          "there must be a value for every token");
  std::vector<int32_t> out(values.shape(0));
  in_time(offsets, order, starts, [to = out.data(), from = values.data()](int64_t at, int64_t token) { to[at] = from[token]; });
  return owned(std::move(out));
}

// See kernels.distinct: the different ids, and the place of each token's among them.
nb::tuple distinct(Index ids, size_t vocabulary) {
  const size_t tokens = ids.shape(0);
  const int32_t* id = ids.data();
  std::vector<int32_t> place(vocabulary), row(tokens);
  for (size_t i = 0; i < tokens; ++i) {
    require(size_t(id[i]) < vocabulary, "an id must be below the number of entries");
    place[size_t(id[i])] = 1;
  }
  std::vector<int64_t> unique(vocabulary);
  size_t count = 0;
  for (size_t i = 0; i < vocabulary; ++i) {  // without a branch that nobody could predict
    unique[count] = int64_t(i);
    const int32_t present = place[i];
    place[i] = int32_t(count);
    count += size_t(present);
  }
  unique.resize(count);
  for (size_t i = 0; i < tokens; ++i) row[i] = place[size_t(id[i])];
  return nb::make_tuple(owned(std::move(unique)), owned(std::move(row)));
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
  const WithoutLock unlocked;
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
  const WithoutLock unlocked;
  threads = threads_worth(threads, double(d_states.shape(0)) * double(width) * 8);
  over_columns(int64_t(width), threads, [&](int64_t begin, int64_t end) {
    kernels<T>().pool_backward({starts.data(), lengths.data(), int64_t(starts.shape(0)) - 1, begin, end,
                                int64_t(width), d_largest.data(), d_mean.data(), where.data(), d_states.data()});
  });
}

template <class T> void pack_gates(Array<const T, 2> weight, size_t hidden, Array<T, 1> packed, bool brief) {
  const auto& k = chosen<T>(brief);
  const int64_t inner = int64_t(weight.shape(1)), units = int64_t(hidden);
  require(units >= 1 && int64_t(weight.shape(0)) % units == 0, "weight must be [gates * hidden, inner]");
  const int64_t gates = int64_t(weight.shape(0)) / units;
  require(int64_t(packed.shape(0)) == k.gates_size(gates, inner, units), "packed has the wrong size");
  k.pack_gates(weight.data(), gates, inner, units, packed.data());
}

template <class T> void pack_panels(Array<const T, 2> matrix, bool transposed, Array<T, 1> packed, bool brief) {
  const auto& k = chosen<T>(brief);
  const int64_t inner = int64_t(matrix.shape(transposed)), columns = int64_t(matrix.shape(!transposed));
  require(int64_t(packed.shape(0)) == k.panels_size(inner, columns), "packed has the wrong size");
  k.pack_panels(matrix.data(), inner, columns, transposed, packed.data());
}

template <class T> void define(nb::module_& m) {
  define_recurrence<T>(m);
  define_adam<T>(m);
  m.def("matmul", &matmul<T>, own("x"), own("panels"), none("bias"), own("out"), "accumulate"_a, "brief"_a,
        "threads"_a);
  m.def("outer", &outer<T>, own("left"), own("right"), own("out"), "brief"_a, "threads"_a);
  m.def("pool", &pool<T>, own("starts"), own("lengths"), own("states"), own("largest"), none("where"),
        own("mean"), "threads"_a);
  m.def("pool_backward", &pool_backward<T>, own("starts"), own("lengths"), own("d_largest"), own("where"),
        own("d_mean"), own("d_states"), "threads"_a);
  m.def("pack_gates", &pack_gates<T>, own("weight"), "hidden"_a, own("packed"), "brief"_a);
  m.def("pack_panels", &pack_panels<T>, own("matrix"), "transposed"_a, own("packed"), "brief"_a);
}

}  // namespace
}  // namespace carryline

NB_MODULE(_kernels, m) {
  using namespace carryline;
  use_instruction_set("");
  m.def("instruction_sets", &instruction_sets);
  m.def("use_instruction_set", &use_instruction_set, "name"_a);
  m.def("instruction_set", [] { return std::string(instruction_set().name); });
  m.def("peak", [](int64_t count, bool brief, int threads) {
    const WithoutLock unlocked;
    std::atomic<int64_t> operations{0};
    parallel(threads, threads, [&](int64_t) { operations += int64_t(kernels<float>(brief).peak(count)); });
    return operations.load();
  }, "count"_a, "brief"_a, "threads"_a);
  // Sizes of packed matrices, in values of their type; of what forward keeps of a token.
  m.def("gates_size", [](int64_t gates, int64_t inner, int64_t hidden, bool twofold, bool brief) {
    return twofold ? chosen<double>(brief).gates_size(gates, inner, hidden)
                   : chosen<float>(brief).gates_size(gates, inner, hidden);
  });
  m.def("panels_size", [](int64_t inner, int64_t columns, bool twofold, bool brief) {
    return twofold ? chosen<double>(brief).panels_size(inner, columns)
                   : chosen<float>(brief).panels_size(inner, columns);
  });
  m.def("products_size", [](int cell, int64_t hidden, bool twofold, bool brief) {
    require(cell >= 0 && cell < 4, "cell must be 0 to 3");
    return twofold ? chosen<double>(brief).products_size[cell](hidden)
                   : chosen<float>(brief).products_size[cell](hidden);
  });
  m.def("saved_width", [](int cell, int64_t hidden, bool twofold, bool brief) {
    require(cell >= 0 && cell < 4, "cell must be 0 to 3");
    const auto width = [&](const auto& k) { return (hidden + k.lanes - 1) / k.lanes * k.lanes * k.cells[cell].saved; };
    return twofold ? width(chosen<double>(brief)) : width(chosen<float>(brief));
  });
  m.def("plan", &plan, own("offsets"));
  m.def("positions", &positions, own("offsets"), own("order"), own("starts"));
  m.def("time_major", &time_major, own("values"), own("offsets"), own("order"), own("starts"));
  m.def("distinct", &distinct, own("ids"), "vocabulary"_a);
  define<float>(m);
  define<double>(m);
}
