// The doors of the linear part's fit: products with sparse matrices, sums of products, combinations.
#include "arrays.h"

namespace carryline {
namespace {

void check_sparse(size_t values, const Index& ids, const Starts& offsets, size_t width) {
  check_offsets(offsets, ids.shape(0));
  require(values == ids.shape(0), "every id needs its value");
  bool fits = true;
  for (size_t i = 0; i < ids.shape(0); ++i) fits &= ids(i) >= 0 && size_t(ids(i)) < width;
  require(fits, "an id must be below the number of features");
}

// The same matrix by columns: each one's values and rows, rising.
nb::tuple sparse_transposed(Array<const float, 1> values, Index ids, Starts offsets, size_t width) {
  check_sparse(values.shape(0), ids, offsets, width);
  std::vector<int64_t> ends(width + 1, 0);
  for (size_t i = 0; i < ids.shape(0); ++i) ++ends[size_t(ids(i)) + 1];
  for (size_t i = 0; i < width; ++i) ends[i + 1] += ends[i];
  std::vector<float> turned(values.shape(0));
  std::vector<int32_t> rows(values.shape(0));
  std::vector<int64_t> at(ends.begin(), ends.end() - 1);
  for (size_t row = 0; row + 1 < offsets.shape(0); ++row)
    for (int64_t i = offsets(row); i < offsets(row + 1); ++i) {
      const size_t to = size_t(at[size_t(ids(size_t(i)))]++);
      turned[to] = values(size_t(i)), rows[to] = int32_t(row);
    }
  return nb::make_tuple(owned(std::move(turned)), owned(std::move(rows)), owned(std::move(ends)));
}

template <class T>
void sparse_product(Array<const float, 1> values, Index ids, Starts offsets, Array<const T, 2> dense, Array<T, 2> out,
                    int threads) {
  check_sparse(values.shape(0), ids, offsets, dense.shape(0));
  const int64_t rows = int64_t(offsets.shape(0)) - 1, columns = int64_t(dense.shape(1)), together = 64;
  require(int64_t(out.shape(0)) == rows && int64_t(out.shape(1)) == columns, "out must be [rows, columns of dense]");
  const WithoutLock unlocked;
  threads = threads_worth(threads, 4 * double(ids.shape(0)) * double(columns));
  const SparseArgs<T> args{values.data(), ids.data(), offsets.data(), dense.data(), columns, out.data()};
  parallel((rows + together - 1) / together, threads, [&](int64_t part) {
    kernels<T>().sparse_rows(args, part * together, std::min(rows, (part + 1) * together));
  });
}

template <class T> using Vectors = std::vector<Array<const T, 1>>;

// Values that stand in the first cache together; sums over as many are added up in their order.
constexpr int64_t chunk = 1024;

template <class T> std::vector<const T*> places(const Vectors<T>& vectors, size_t count) {
  std::vector<const T*> at;
  for (const auto& each : vectors) {
    require(each.shape(0) == count, "vectors must be of one length");
    at.push_back(each.data());
  }
  return at;
}

// The sum of products of each of `ones` and each of `others`, [ones * others].
template <class T> nb::object dots(Vectors<T> ones, Vectors<T> others, int threads) {
  require(!ones.empty() && !others.empty(), "there must be vectors");
  const size_t size = ones[0].shape(0), pairs = ones.size() * others.size();
  const auto left = places<T>(ones, size), right = places<T>(others, size);
  const int64_t count = int64_t(size), chunks = (count + chunk - 1) / chunk;
  std::vector<double> parts(size_t(chunks) * pairs), sums(pairs, 0.0);
  {
    const WithoutLock unlocked;
    threads = threads_worth(threads, 2 * double(count) * double(pairs));
    parallel(chunks, threads, [&](int64_t part) {
      const int64_t begin = part * chunk, number = std::min(count - begin, chunk);
      double* to = parts.data() + size_t(part) * pairs;
      for (size_t j = 0; j < right.size(); ++j)
        for (size_t i = 0; i < left.size(); ++i)
          to[i * right.size() + j] = kernels<T>().dot(left[i] + begin, right[j] + begin, number);
    });
    for (size_t i = 0; i < parts.size(); ++i) sums[i % pairs] += parts[i];
  }
  return nb::cast(owned(std::move(sums)));
}

// out = the sum of the vectors, each times its factor.
template <class T> void combine(Array<const double, 1> factors, Vectors<T> vectors, Array<T, 1> out, int threads) {
  require(!vectors.empty() && factors.shape(0) == vectors.size(), "every vector needs its factor");
  const auto from = places<T>(vectors, out.shape(0));
  const WithoutLock unlocked;
  const int64_t count = int64_t(out.shape(0));
  threads = threads_worth(threads, 2 * double(count) * double(from.size()));
  parallel((count + chunk - 1) / chunk, threads, [&](int64_t part) {
    kernels<T>().combine(factors.data(), from.data(), int64_t(from.size()), part * chunk,
                         std::min(count, (part + 1) * chunk), out.data());
  });
}

template <class T> void define(nb::module_& m) {
  m.def("sparse_product", &sparse_product<T>, own("values"), own("ids"), own("offsets"), own("dense"), own("out"),
        "threads"_a);
  m.def("dots", &dots<T>, own("ones"), own("others"), "threads"_a);
  m.def("combine", &combine<T>, own("factors"), own("vectors"), own("out"), "threads"_a);
}

}  // namespace

void define_linear(nb::module_& m) {
  m.def("sparse_transposed", &sparse_transposed, own("values"), own("ids"), own("offsets"), "width"_a);
  define<float>(m);
  define<double>(m);
}

}  // namespace carryline
