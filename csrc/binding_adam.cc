// The doors of what training alone needs: shapes are checked, values and rows split over threads.
#include <algorithm>

#include "arrays.h"

namespace carryline {
namespace {

// Values at a time: some tens of kilobytes, few enough for a cache and enough for a thread to fetch.
constexpr int64_t together = 8192;

template <class T> using Steps = Array<const T, 2>;

// [steps, 4] rate, root, decay, average of each.
template <class T> const AdamStep<T>* checked_steps(const Steps<T>& steps, size_t least) {
  static_assert(sizeof(AdamStep<T>) == 4 * sizeof(T));
  require(steps.shape(1) == 4 && steps.shape(0) >= least, "steps must be [steps, 4], a row for each step to be made");
  return reinterpret_cast<const AdamStep<T>*>(steps.data());
}

AdamRule checked_rule(const Array<const double, 1>& rule) {
  require(rule.shape(0) == 3, "the rule is the moments' two shares and epsilon");
  return {rule(0), rule(1), rule(2)};
}

// A piece of one of several arrays.
struct Piece {
  size_t array;
  int64_t begin, end;
};
template <class T> std::vector<Piece> pieces_of(const Each<T>& arrays) {
  std::vector<Piece> pieces;
  for (size_t array = 0; array < arrays.size(); ++array)
    for (int64_t begin = 0, size = int64_t(arrays[array].size()); begin < size; begin += together)
      pieces.push_back({array, begin, std::min(size, begin + together)});
  return pieces;
}

// A step of a value takes as long as so many multiplications: a root and a division are in it.
constexpr double multiplications = 60;

template <class T>
void adam(Each<T> weights, Each<T> firsts, Each<T> seconds, Maybe<Each<T>> averages, Each<const T> gradients,
          double scale, Steps<T> steps, Array<const double, 1> rule, int threads) {
  const size_t arrays = weights.size();
  require(firsts.size() == arrays && seconds.size() == arrays && gradients.size() == arrays &&
              (!averages || averages->size() == arrays), "every weight needs its moments and its gradient");
  for (size_t i = 0; i < arrays; ++i)
    require(firsts[i].size() == weights[i].size() && seconds[i].size() == weights[i].size() &&
                gradients[i].size() == weights[i].size() && (!averages || (*averages)[i].size() == weights[i].size()),
            "moments and gradients must be as large as their weights");
  AdamArgs<T> shared{};
  shared.steps = checked_steps<T>(steps, 1), shared.rule = checked_rule(rule), shared.scale = scale;
  const auto pieces = pieces_of(weights);
  const WithoutLock unlocked;
  parallel(int64_t(pieces.size()), threads_worth(threads, double(pieces.size()) * double(together) * multiplications), [&](int64_t i) {
    const Piece& piece = pieces[size_t(i)];
    AdamArgs<T> a = shared;
    a.weight = weights[piece.array].data(), a.gradient = gradients[piece.array].data();
    a.first = firsts[piece.array].data(), a.second = seconds[piece.array].data();
    if (averages) a.average = (*averages)[piece.array].data();
    kernels<T>().adam(a, piece.begin, piece.end);
  });
}

template <class T>
void adam_rows(Array<T, 2> weight, Array<T, 2> first, Array<T, 2> second, Maybe<Array<T, 2>> average,
               Maybe<Array<const int64_t, 1>> ids, Maybe<Array<const T, 2>> gradient, double scale,
               Array<int32_t, 1> done, int64_t last, Steps<T> steps, Array<const double, 1> rule, bool still,
               Maybe<Array<T, 2>> taken, int threads) {
  const size_t rows = weight.shape(0), width = weight.shape(1), chosen = ids ? ids->shape(0) : rows;
  require(shaped(first, {rows, width}) && shaped(second, {rows, width}) && (!average || shaped(average, {rows, width})),
          "moments must be as large as their weights");
  require(!gradient || shaped(gradient, {chosen, width}), "gradient must be [ids, width]");
  require(!taken || shaped(taken, {chosen, width}), "taken must be [ids, width]");
  require(done.shape(0) == rows, "done must have every row");
  for (size_t i = 0; ids && i < chosen; ++i)
    require((*ids)(i) >= 0 && size_t((*ids)(i)) < rows && (i == 0 || (*ids)(i) > (*ids)(i - 1)),
            "ids must be rows, rising");
  AdamRowsArgs<T> r{};
  r.adam.steps = checked_steps<T>(steps, size_t(std::max<int64_t>(0, last)));
  r.adam.rule = checked_rule(rule), r.adam.scale = scale;
  r.adam.weight = weight.data(), r.adam.first = first.data(), r.adam.second = second.data();
  if (average) r.adam.average = average->data();
  if (gradient) r.adam.gradient = gradient->data();
  r.width = int64_t(width), r.ids = data(ids), r.done = done.data(), r.last = last, r.still = still;
  if (taken) r.taken = taken->data();
  int64_t steps_to_make = 0;
  for (size_t i = 0; i < chosen; ++i) {
    const int32_t had = r.done[r.ids ? size_t(r.ids[i]) : i];
    require(had >= 0 && had <= last && (!gradient || had < last), "a row has had steps that are to come");
    steps_to_make += last - had;
  }
  const WithoutLock unlocked;
  // Rows differ in how many steps they have to make up for, so parts are small.
  const int64_t part = 16, parts = (int64_t(chosen) + part - 1) / part;
  threads = threads_worth(threads, double(steps_to_make) * double(width) * multiplications);
  parallel(parts, threads, [&](int64_t i) {
    kernels<T>().adam_rows(r, i * part, std::min(int64_t(chosen), (i + 1) * part));
  });
}

// The sum of all squares: of pieces that are the same for any number of threads, in their order.
template <class T> double squares(Each<const T> arrays, int threads) {
  const auto pieces = pieces_of(arrays);
  std::vector<double> sums(pieces.size());
  const WithoutLock unlocked;
  parallel(int64_t(pieces.size()), threads_worth(threads, double(pieces.size()) * double(together) * 16), [&](int64_t i) {
    const Piece& piece = pieces[size_t(i)];
    sums[size_t(i)] = kernels<T>().squares(arrays[piece.array].data() + piece.begin, piece.end - piece.begin);
  });
  double sum = 0;
  for (double part : sums) sum += part;
  return sum;
}

// See stages.dropout.
template <class T, class Number>
void dropout(Array<const T, 2> x, Array<const Number, 1> drawn, int dropped, double scale, Array<T, 2> out, int threads) {
  const int64_t size = int64_t(x.size());
  require(int64_t(drawn.size()) >= size && shaped(out, {x.shape(0), x.shape(1)}), "there must be a number and a place for each value");
  require(dropped >= 0 && dropped <= int(Number(-1)), "dropped must be one of the numbers");
  const DropoutArgs<T, Number> a{x.data(), drawn.data(), Number(dropped), T(scale), out.data()};
  const WithoutLock unlocked;
  parallel((size + together - 1) / together, threads_worth(threads, double(size) * 8), [&](int64_t i) {
    const int64_t end = std::min(size, (i + 1) * together);
    if constexpr (sizeof(Number) == 1) kernels<T>().dropout_by_bytes(a, i * together, end);
    else kernels<T>().dropout_by_words(a, i * together, end);
  });
}

}  // namespace

template <class T> void define_adam(nb::module_& m) {
  m.def("adam", &adam<T>, own("weights"), own("firsts"), own("seconds"), none("averages"), own("gradients"),
        "scale"_a, own("steps"), own("rule"), "threads"_a);
  m.def("adam_rows", &adam_rows<T>, own("weight"), own("first"), own("second"), none("average"), none("ids"),
        none("gradient"), "scale"_a, own("done"), "last"_a, own("steps"), own("rule"), "still"_a, none("taken"),
        "threads"_a);
  const auto door = [&](auto function) {
    m.def("dropout", function, own("x"), own("drawn"), "dropped"_a, "scale"_a, own("out"), "threads"_a);
  };
  door(&dropout<T, uint8_t>), door(&dropout<T, uint16_t>);
  m.def("squares", &squares<T>, own("arrays"), "threads"_a);
}
template void define_adam<float>(nb::module_&);
template void define_adam<double>(nb::module_&);

}  // namespace carryline
