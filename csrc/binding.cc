// The thin door between arrays and kernels: checks shapes, splits the work, releases the GIL.
#include <nanobind/stl/string.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "arrays.h"

namespace carryline {
namespace {

// out[i] = x panels[i] + bias[i], or added to what it held.
template <class T>
void matmul(Rows<const T> x, Array<const T, 2> panels, Maybe<Array<const T, 2>> bias, Array<T, 3> out,
            bool accumulate, bool brief, int threads) {
  const int64_t rows = int64_t(x.shape(0)), inner = int64_t(x.shape(1)), columns = int64_t(out.shape(2));
  const int64_t products = int64_t(panels.shape(0)), size = int64_t(panels.shape(1));
  const auto& k = chosen<T>(brief);
  check_rows(x);
  require(int64_t(out.shape(0)) == products && int64_t(out.shape(1)) == rows, "out must be [products, rows of x, columns]");
  require(size == k.panels_size(inner, columns), "panels must be packed for this product");
  require(!bias || shaped(bias, {size_t(products), size_t(columns)}), "bias must be [products, columns]");
  if (out.size() == 0) return;
  const WithoutLock unlocked;
  threads = threads_worth(threads, double(products) * double(rows) * double(inner) * double(columns));
  // Some parts a thread: one that has to be woken, or shares its core, does fewer of them.
  const int64_t parts = threads > 1 ? (4 * threads + products - 1) / products : 1, part = (rows + parts - 1) / parts;
  parallel(products * parts, threads, [&](int64_t task) {
    const int64_t i = task / parts, begin = std::min(rows, task % parts * part), end = std::min(rows, begin + part);
    k.matmul({end - begin, inner, columns, x.data() + begin * x.stride(0), x.stride(0), panels.data() + i * size,
              bias ? bias->data() + i * columns : nullptr, accumulate, out.data() + (i * rows + begin) * columns, columns});
  });
}

// out[i] = the sum over tokens of left[i] (outer) right.
template <class T>
void outer(Array<const T, 3> left, Rows<const T> right, Array<T, 3> out, bool brief, int threads) {
  const auto& k = chosen<T>(brief);
  const int64_t products = int64_t(left.shape(0)), tokens = int64_t(right.shape(0));
  const int64_t rows = int64_t(out.shape(1)), columns = int64_t(out.shape(2));
  check_rows(right);
  require(int64_t(out.shape(0)) == products && int64_t(left.shape(2)) == rows && int64_t(right.shape(1)) == columns,
          "out must be [products, left columns, right columns]");
  require(int64_t(left.shape(1)) == tokens, "left and right must have as many rows");
  if (out.size() == 0) return;
  const WithoutLock unlocked;
  threads = threads_worth(threads, double(products) * double(tokens) * double(rows) * double(columns));
  // Cut between whole panels of the left: each thread copies its own ones into order.
  const int64_t panel = 64, wanted = (2 * threads + products - 1) / products;
  const int64_t part = (rows + panel * wanted - 1) / (panel * wanted) * panel, parts = (rows + part - 1) / part;
  parallel(products * parts, threads, [&](int64_t task) {
    const int64_t i = task / parts, begin = task % parts * part, end = std::min(rows, begin + part);
    k.outer({tokens, end - begin, columns, left.data() + i * tokens * rows + begin, rows, right.data(), right.stride(0),
             out.data() + (i * rows + begin) * columns, columns});
  });
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

template <class T> void pack_gates(Each<const T> weights, size_t hidden, Array<T, 2> packed, bool brief, int threads) {
  const auto& k = chosen<T>(brief);
  const int64_t units = int64_t(hidden);
  pack_each(weights, packed, threads, [&](int64_t rows, int64_t inner) {
    require(units >= 1 && rows % units == 0, "weight must be [gates * hidden, inner]");
    return k.gates_size(rows / units, inner, units);
  }, [&](const T* weight, int64_t rows, int64_t inner, T* to) { k.pack_gates(weight, rows / units, inner, units, to); });
}

template <class T> void pack_panels(Each<const T> matrices, bool transposed, Array<T, 2> packed, bool brief, int threads) {
  const auto& k = chosen<T>(brief);
  const auto turned = [&](int64_t rows, int64_t columns) {
    return transposed ? std::make_pair(columns, rows) : std::make_pair(rows, columns);
  };
  pack_each(matrices, packed, threads, [&](int64_t rows, int64_t columns) {
    const auto [inner, outer] = turned(rows, columns);
    return k.panels_size(inner, outer);
  }, [&](const T* matrix, int64_t rows, int64_t columns, T* to) {
    const auto [inner, outer] = turned(rows, columns);
    k.pack_panels(matrix, inner, outer, transposed, to);
  });
}

template <class T> void define(nb::module_& m) {
  define_recurrence<T>(m);
  define_adam<T>(m);
  m.def("matmul", &matmul<T>, own("x"), own("panels"), none("bias"), own("out"), "accumulate"_a, "brief"_a,
        "threads"_a);
  m.def("outer", &outer<T>, own("left"), own("right"), own("out"), "brief"_a, "threads"_a);
  m.def("pack_gates", &pack_gates<T>, own("weights"), "hidden"_a, own("packed"), "brief"_a, "threads"_a);
  m.def("pack_panels", &pack_panels<T>, own("matrices"), "transposed"_a, own("packed"), "brief"_a, "threads"_a);
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
  define_vectors(m);
  define_ngrams(m);
  define_linear(m);
}
