// Bindings of boxes.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "boxes.hpp"
#include "gil.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using Floats1 = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats2 = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Doubles2 = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using View1 = nb::ndarray<const float, nb::ndim<1>, nb::device::cpu>;
using View2 = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;
template <typename T>
using Column = nb::ndarray<nb::numpy, T, nb::ndim<1>>;
using BoxColumn = nb::ndarray<nb::numpy, float, nb::shape<-1, 4>>;
using CandidateArrays = std::tuple<BoxColumn, Column<float>, Column<std::int32_t>>;
using Labels = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

namespace {

void demand(bool holds, const char* what) {
    if (!holds) throw nb::value_error(what);
}

edgevid::Matrix matrix(const View2& a) { return {a.data(), a.shape(0), a.shape(1), a.stride(0), a.stride(1)}; }

// A matrix whose rows lie contiguously, as the inner loops read them.
edgevid::Matrix rows_of(const View2& a) {
    demand(a.stride(1) == 1 || a.shape(1) <= 1, "expected an array whose last axis is contiguous");
    return matrix(a);
}

// A NumPy array that owns what `values` held.
template <typename Rank, typename T>
nb::ndarray<nb::numpy, T, Rank> give(std::vector<T>&& values, std::initializer_list<std::size_t> shape) {
    auto* kept = new std::vector<T>(std::move(values));
    nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::ndarray<nb::numpy, T, Rank>(kept->data(), shape, owner);
}

CandidateArrays give(edgevid::Candidates&& found) {
    const std::size_t n = found.scores.size();
    return {give<nb::shape<-1, 4>>(std::move(found.boxes), {n, 4}), give<nb::ndim<1>>(std::move(found.scores), {n}),
            give<nb::ndim<1>>(std::move(found.labels), {n})};
}

template <typename Work>
CandidateArrays decoded(Work work) {
    edgevid::Candidates found;
    {
        const Unlocked unlocked;
        work(found);
    }
    return give(std::move(found));
}

auto iou(Floats2 a, Floats2 b) {
    demand(a.shape(1) == 4 && b.shape(1) == 4, "iou: expected boxes of shape (N, 4) and (M, 4)");
    std::vector<float> out(a.shape(0) * b.shape(0));
    {
        const Unlocked unlocked;
        edgevid::iou(a.data(), a.shape(0), b.data(), b.shape(0), out.data());
    }
    return give<nb::ndim<2>>(std::move(out), {a.shape(0), b.shape(0)});
}

auto is_occluded(Doubles2 boxes) {
    demand(boxes.shape(1) == 4, "is_occluded: expected boxes of shape (N, 4)");
    const std::size_t n = boxes.shape(0);
    auto* found = new bool[n];
    nb::capsule owner(found, [](void* p) noexcept { delete[] static_cast<bool*>(p); });
    {
        const Unlocked unlocked;
        edgevid::is_occluded(boxes.data(), n, found);
    }
    return Column<bool>(found, {n}, owner);
}

auto nms(Floats2 boxes, Floats1 scores, Labels labels, float iou_threshold, bool class_aware,
         std::size_t max_detections) {
    const std::size_t n = boxes.shape(0);
    demand(boxes.shape(1) == 4 && scores.shape(0) == n && labels.shape(0) == n,
           "nms: expected boxes (N, 4), scores (N,) and labels (N,)");
    std::vector<std::int32_t> kept;
    {
        const Unlocked unlocked;
        kept = edgevid::nms(boxes.data(), scores.data(), labels.data(), n, iou_threshold, class_aware,
                            max_detections);
    }
    const std::size_t k = kept.size();
    return give<nb::ndim<1>>(std::move(kept), {k});
}

CandidateArrays decode_columns(View2 boxes, View2 scores, float score_threshold, bool xyxy, bool logits) {
    demand(boxes.shape(0) == 4 && boxes.shape(1) == scores.shape(1),
           "decode_columns: expected boxes (4, N) and scores (C, N)");
    const auto b = rows_of(boxes), s = rows_of(scores);
    return decoded([&](auto& found) { edgevid::decode_columns(b, s, score_threshold, {xyxy, logits}, found); });
}

CandidateArrays decode_rows(View2 boxes, View2 scores, float score_threshold, std::optional<View1> objectness,
                            bool xyxy, bool logits) {
    const std::size_t n = scores.shape(0);
    demand(boxes.shape(1) == 4 && boxes.shape(0) == n && (!objectness || objectness->shape(0) == n),
           "decode_rows: expected boxes (N, 4), scores (N, C) and, where given, objectness (N,)");
    const auto b = matrix(boxes), s = rows_of(scores);
    edgevid::Matrix o{};
    if (objectness) o = {objectness->data(), n, 1, objectness->stride(0), 1};
    return decoded([&](auto& found) {
        edgevid::decode_rows(b, s, objectness ? &o : nullptr, score_threshold, {xyxy, logits}, found);
    });
}

CandidateArrays decode_yolox(View2 output, std::size_t width, std::size_t height, std::vector<std::int32_t> strides,
                       float score_threshold) {
    std::size_t anchors = 0;
    for (const auto s : strides) {
        demand(s > 0, "decode_yolox: expected positive strides");
        anchors += (width / s) * (height / s);
    }
    demand(output.shape(0) == anchors && output.shape(1) > 5,
           "decode_yolox: expected output (N, 5 + C) with one row for each cell of each stride");
    const auto out = rows_of(output);
    return decoded([&](auto& found) { edgevid::decode_yolox(out, width, height, strides, score_threshold, found); });
}

CandidateArrays decode_dfl(View2 scores, View2 distances, std::size_t columns, float stride, float offset,
                           float score_threshold, bool logits) {
    demand(scores.shape(0) == distances.shape(0) && distances.shape(1) >= 4 && distances.shape(1) % 4 == 0 &&
               columns > 0,
           "decode_dfl: expected scores (N, C), distances (N, 4 * bins) and a positive number of columns");
    const auto s = rows_of(scores), d = rows_of(distances);
    return decoded([&](auto& found) {
        edgevid::decode_dfl(s, d, columns, stride, offset, score_threshold, logits, found);
    });
}

CandidateArrays decode_fastestdet(View2 output, std::size_t columns, std::size_t width, std::size_t height,
                                  float score_threshold) {
    demand(output.shape(0) > 5 && columns > 0 && output.shape(1) % columns == 0,
           "decode_fastestdet: expected output (5 + C, rows * columns)");
    const auto out = rows_of(output);
    return decoded([&](auto& found) {
        edgevid::decode_fastestdet(out, columns, width, height, score_threshold, found);
    });
}

CandidateArrays decode_end_to_end(View2 output, float score_threshold) {
    demand(output.shape(1) == 6, "decode_end_to_end: expected output (N, 6): x1 y1 x2 y2 score label");
    const auto out = matrix(output);
    return decoded([&](auto& found) { edgevid::decode_end_to_end(out, score_threshold, found); });
}

}  // namespace

void bind_boxes(nb::module_& m) {
    m.def("iou", &iou, "a"_a, "b"_a);
    m.def("is_occluded", &is_occluded, "boxes"_a);
    m.def("nms", &nms, "boxes"_a, "scores"_a, "labels"_a, "iou_threshold"_a, "class_aware"_a = true,
          "max_detections"_a = 300);
    m.def("decode_columns", &decode_columns, "boxes"_a, "scores"_a, "score_threshold"_a, "xyxy"_a = false,
          "logits"_a = false);
    m.def("decode_rows", &decode_rows, "boxes"_a, "scores"_a, "score_threshold"_a, "objectness"_a = nb::none(),
          "xyxy"_a = false, "logits"_a = false);
    m.def("decode_yolox", &decode_yolox, "output"_a, "width"_a, "height"_a, "strides"_a, "score_threshold"_a);
    m.def("decode_dfl", &decode_dfl, "scores"_a, "distances"_a, "columns"_a, "stride"_a, "offset"_a,
          "score_threshold"_a, "logits"_a = false);
    m.def("decode_fastestdet", &decode_fastestdet, "output"_a, "columns"_a, "width"_a, "height"_a, "score_threshold"_a);
    m.def("decode_end_to_end", &decode_end_to_end, "output"_a, "score_threshold"_a);
}
