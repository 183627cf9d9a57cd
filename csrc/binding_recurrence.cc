// The doors of the time loops: shapes are checked, work split over directions and ranks.
#include "arrays.h"

namespace carryline {
namespace {

// [part, part + 1): ranks of about equally much work, so that threads end together; a text's first and
// final state count as a token. Of what one long text leaves, the other parts have equal shares.
std::vector<int64_t> split_ranks(const Starts& starts, int64_t texts, int64_t parts) {
  std::vector<int64_t> bounds(1, 0);
  int64_t step = int64_t(starts.shape(0)) - 1, left = starts(size_t(step)) + texts, seen = 0;
  for (int64_t rank = 0; rank < texts && parts > 1; ++rank) {
    while (step > 0 && starts(size_t(step)) - starts(size_t(step) - 1) <= rank) --step;
    seen += step + 1;  // step: the length of the text at this rank
    if (seen * parts < left) continue;
    bounds.push_back(rank + 1);
    left -= seen, seen = 0, --parts;
  }
  bounds.push_back(texts);
  return bounds;
}

// What both ways are given: the batch, the cell, and how it is shared out.
struct Task {
  const CellShape& shape;
  const Starts& starts;
  size_t directions, texts, hidden, steps, tokens;
  std::vector<int64_t> bounds;

  Task(const CellShape& shape, const Starts& starts, size_t directions, size_t texts, size_t hidden)
      : shape(shape), starts(starts), directions(directions), texts(texts), hidden(hidden) {
    require(starts.shape(0) >= 1, "starts must begin with 0");
    steps = starts.shape(0) - 1, tokens = size_t(starts(steps));
    require(hidden >= 1 && directions >= 1, "there must be a unit and a direction");
    check_starts(starts, texts, tokens);
  }

  size_t parts() const { return bounds.size() - 1; }
  void split(size_t parts) { bounds = split_ranks(starts, int64_t(texts), int64_t(std::max<size_t>(1, parts))); }
  Sequences sequences(size_t direction, size_t part) const {
    const Sequences all{starts.data(), int64_t(steps), 0, int64_t(texts), direction == 1};
    return all.part(bounds[part], bounds[part + 1]);
  }
  // Index of a state [directions, texts, hidden] where a part begins.
  size_t state(size_t direction, size_t part) const {
    return (direction * texts + size_t(bounds[part])) * hidden;
  }
  // Values forward keeps for a token: whole vectors.
  size_t saved(int lanes) const { return (hidden + size_t(lanes) - 1) / size_t(lanes) * size_t(shape.saved * lanes); }
  // Calls work(direction, part) for all, on the threads.
  template <class Work> void run(int threads, const Work& work) const {
    parallel(int64_t(directions * parts()), threads, [&](int64_t task) {
      work(size_t(task) % directions, size_t(task) / directions);
    });
  }
};

const CellShape& shape_of(int cell, const CellShape* cells) {
  require(cell >= 0 && cell < 4, "cell must be 0 to 3");
  return cells[cell];
}

template <class T>
void recurrence_forward(int cell, Starts starts, Array<const T, 3> projected, Maybe<Index> row,
                        Array<const T, 2> weight_hh, Maybe<Array<const T, 2>> weight_ch,
                        Maybe<Array<const T, 2>> bias_candidate, Array<T, 3> h, Array<T, 3> c,
                        Maybe<Array<T, 2>> states, Maybe<Array<T, 2>> largest, Maybe<Array<T, 2>> where,
                        Maybe<Array<T, 2>> mean, Maybe<Array<T, 3>> saved, bool brief, int threads) {
  const auto& k = chosen<T>(brief);
  Task t(shape_of(cell, k.cells), starts, h.shape(0), h.shape(1), h.shape(2));
  const size_t D = t.directions, H = t.hidden, width = size_t(t.shape.gates) * H, kept = t.saved(k.lanes);
  const size_t packed = size_t(k.gates_size(t.shape.products, int64_t(H), int64_t(H)));
  require(projected.shape(0) == D && projected.shape(2) == width, "projected must be [directions, rows, gates * hidden]");
  require(row || projected.shape(1) >= t.tokens, "projected must have a row for every token");
  check_index(row, t.tokens, projected.shape(1));
  require(shaped(weight_hh, {D, packed}), "weight_hh must be packed for this cell");
  require(!t.shape.carry_in_output || shaped(weight_ch, {D, size_t(k.panels_size(int64_t(H), int64_t(H)))}), "weight_ch must be packed for this cell");
  require(!t.shape.late_candidate || shaped(bias_candidate, {D, H}), "bias_candidate must be [directions, hidden]");
  require(shaped(c, {D, t.texts, H}), "c must be [directions, texts, hidden]");
  require(!states || shaped(states, {t.tokens, D * H}), "states must be [tokens, directions * hidden]");
  const auto pooled_shape = [&](const Maybe<Array<T, 2>>& of) { return !of || shaped(of, {t.texts, D * H}); };
  require(pooled_shape(largest) && pooled_shape(where) && pooled_shape(mean) && (largest || !where),
          "largest, its step and mean must be [texts, directions * hidden]");
  require(!saved || shaped(saved, {D, t.tokens, kept}), "saved must be [directions, tokens, saved_width]");
  require(!saved || uintptr_t(saved->data()) % 64 == 0, "saved must begin on a cache line");

  const WithoutLock unlocked;
  const size_t shared = std::min(t.texts, size_t(std::max(1, threads)) / D);
  t.split(std::max(shared, (t.texts + size_t(ranks_together) - 1) / size_t(ranks_together)));
  t.run(threads, [&](size_t d, size_t part) {
    const size_t own = t.state(d, part);
    ForwardArgs<T> a{};
    a.sequences = t.sequences(d, part);
    a.hidden = int64_t(H);
    a.projected = projected.data() + d * projected.shape(1) * width;
    a.row = data(row);
    a.weight_hh = weight_hh.data() + d * weight_hh.shape(1);
    if (weight_ch) a.weight_ch = weight_ch->data() + d * weight_ch->shape(1);
    if (bias_candidate) a.bias_candidate = bias_candidate->data() + d * H;
    a.h = h.data() + own;
    if (t.shape.carry) a.c = c.data() + own;
    if (states) a.states = states->data() + d * H;
    const size_t pooled = size_t(t.bounds[part]) * D * H + d * H;
    if (largest) a.largest = largest->data() + pooled;
    if (where) a.where = where->data() + pooled;
    if (mean) a.mean = mean->data() + pooled;
    a.stride = int64_t(D * H);
    if (saved) a.saved = saved->data() + d * t.tokens * kept;
    k.forward[cell](a);
  });
}

// Gradients that parts of the ranks add to side by side: the first part's are the result's own.
template <class T> struct Shares {
  const size_t size, parts;
  T* const first;
  std::unique_ptr<T[]> others;

  Shares(T* first, size_t size, size_t parts)
      : size(size), parts(parts), first(first), others(parts > 1 && first ? new T[size * (parts - 1)]() : nullptr) {}
  T* at(size_t part) const { return part && others ? others.get() + (part - 1) * size : first; }
  void join() {
    for (size_t part = 1; others && part < parts; ++part)
      for (size_t i = 0; i < size; ++i) first[i] += at(part)[i];
  }
};

// How many parts the ranks of a direction are cut into: not for the threads there are to decide, or
// the order of sums, and with it their last bits, would depend on them. Every part has gradients of
// its own to be added up, which for many short texts soon costs more than another thread gives.
size_t backward_parts(size_t directions, size_t texts) {
  return directions == 1 && texts > 1 ? 2 : 1;
}

template <class T>
void recurrence_backward(int cell, Starts starts, Maybe<Array<const T, 2>> d_states,
                         Maybe<Array<const T, 2>> d_largest, Maybe<Array<const T, 2>> where,
                         Maybe<Array<const T, 2>> d_mean,
                         Array<const T, 2> states, Array<const T, 3> saved,
                         Array<const T, 3> h_first, Array<const T, 3> c_first,
                         Array<const T, 2> weight_hh, Maybe<Array<const T, 2>> weight_ch, Maybe<Index> row,
                         Array<T, 3> d_h, Array<T, 3> d_c, bool by_first, bool by_weights,
                         Array<T, 3> d_projected, Array<T, 3> d_weight_hh,
                         Maybe<Array<T, 3>> d_weight_ch, Array<T, 3> d_bias, bool brief,
                         int threads) {
  const auto& k = chosen<T>(brief);
  Task t(shape_of(cell, k.cells), starts, d_h.shape(0), d_h.shape(1), d_h.shape(2));
  const size_t D = t.directions, H = t.hidden, width = size_t(t.shape.gates) * H, kept = t.saved(k.lanes);
  const size_t rows = d_projected.shape(1), products = size_t(t.shape.products) * H;
  const bool carry = t.shape.carry_in_output;
  require(shaped(states, {t.tokens, D * H}), "states must be [tokens, directions * hidden]");
  require(!d_states || shaped(d_states, {t.tokens, D * H}), "d_states must be [tokens, directions * hidden]");
  const auto pooled_shape = [&](const Maybe<Array<const T, 2>>& of) { return !of || shaped(of, {t.texts, D * H}); };
  require(pooled_shape(d_largest) && pooled_shape(where) && pooled_shape(d_mean) && bool(where) == bool(d_largest),
          "d_largest with its step, and d_mean must be [texts, directions * hidden]");
  require(shaped(saved, {D, t.tokens, kept}), "saved must be [directions, tokens, saved_width]");
  require(shaped(h_first, {D, t.texts, H}) && shaped(c_first, {D, t.texts, H}) && shaped(d_c, {D, t.texts, H}),
          "h_first, c_first, d_h, d_c must be [directions, texts, hidden]");
  require(shaped(weight_hh, {D, size_t(k.products_size[cell](int64_t(H)))}), "weight_hh must be packed for this cell");
  require(!carry || shaped(weight_ch, {D, size_t(k.panels_size(int64_t(H), int64_t(H)))}),
          "weight_ch must be packed for this cell");
  require(shaped(d_projected, {D, rows, width}) && (row || rows == t.tokens),
          "d_projected must be [directions, rows, gates * hidden]");
  check_index(row, t.tokens, rows);
  require(shaped(d_weight_hh, {D, products, H}), "d_weight_hh must be [directions, products * hidden, hidden]");
  require(!carry || shaped(d_weight_ch, {D, H, H}), "d_weight_ch must be [directions, hidden, hidden]");
  require(shaped(d_bias, {D, size_t(t.shape.gradients), H}), "d_bias must be [directions, gradients, hidden]");

  const WithoutLock unlocked;
  t.split(backward_parts(D, t.texts));
  // Without an index every token has a row of its own, so parts do not meet there.
  Shares<T> by_projected(d_projected.data(), D * rows * width, row ? t.parts() : 1);
  Shares<T> by_hh(d_weight_hh.data(), D * products * H, t.parts());
  Shares<T> by_ch(d_weight_ch ? d_weight_ch->data() : nullptr, D * H * H, t.parts());
  Shares<T> by_bias(d_bias.data(), D * size_t(t.shape.gradients) * H, t.parts());
  t.run(threads, [&](size_t d, size_t part) {
    const size_t own = t.state(d, part);
    BackwardArgs<T> a{};
    a.sequences = t.sequences(d, part);
    a.hidden = int64_t(H);
    if (d_states) a.d_states = d_states->data() + d * H;
    const size_t pooled = size_t(t.bounds[part]) * D * H + d * H;
    if (d_largest) a.d_largest = d_largest->data() + pooled, a.where = where->data() + pooled;
    if (d_mean) a.d_mean = d_mean->data() + pooled;
    a.states = states.data() + d * H;
    a.stride = int64_t(D * H);
    a.saved = saved.data() + d * t.tokens * kept;
    a.h_first = h_first.data() + own, a.c_first = c_first.data() + own;
    a.weight_hh = weight_hh.data() + d * weight_hh.shape(1);
    if (weight_ch) a.weight_ch = weight_ch->data() + d * weight_ch->shape(1);
    a.d_h = d_h.data() + own, a.d_c = d_c.data() + own, a.by_first = by_first, a.by_weights = by_weights;
    a.row = data(row);
    a.d_projected = by_projected.at(part) + d * rows * width;
    a.rows = int64_t(rows);
    a.d_weight_hh = by_hh.at(part) + d * products * H;
    if (carry) a.d_weight_ch = by_ch.at(part) + d * H * H;
    a.d_bias = by_bias.at(part) + d * size_t(t.shape.gradients) * H;
    k.backward[cell](a);
  });
  by_projected.join(), by_hh.join(), by_ch.join(), by_bias.join();
}

template <class T> void pack_products(int cell, Each<const T> weights, Array<T, 2> packed, bool brief, int threads) {
  const auto& k = chosen<T>(brief);
  const int64_t products = shape_of(cell, k.cells).products;
  pack_each(weights, packed, threads, [&](int64_t rows, int64_t hidden) {
    require(rows == products * hidden, "weight must be [products * hidden, hidden]");
    return k.products_size[cell](hidden);
  }, [&](const T* weight, int64_t, int64_t hidden, T* to) { k.pack_products[cell](weight, hidden, to); });
}

}  // namespace

template <class T> void define_recurrence(nb::module_& m) {
  m.def("recurrence_forward", &recurrence_forward<T>, "cell"_a, own("starts"), own("projected"),
        none("row"), own("weight_hh"), none("weight_ch"), none("bias_candidate"), own("h"), own("c"),
        none("states"), none("largest"), none("where"), none("mean"), none("saved"), "brief"_a, "threads"_a);
  m.def("recurrence_backward", &recurrence_backward<T>, "cell"_a, own("starts"), none("d_states"),
        none("d_largest"), none("where"), none("d_mean"), own("states"), own("saved"), own("h_first"), own("c_first"), own("weight_hh"), none("weight_ch"),
        none("row"), own("d_h"), own("d_c"), "by_first"_a, "by_weights"_a, own("d_projected"), own("d_weight_hh"), none("d_weight_ch"),
        own("d_bias"), "brief"_a, "threads"_a);
  m.def("pack_products", &pack_products<T>, "cell"_a, own("weights"), own("packed"), "brief"_a, "threads"_a);
}
template void define_recurrence<float>(nb::module_&);
template void define_recurrence<double>(nb::module_&);

}  // namespace carryline
