// Bindings of motion.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <cstring>
#include <string>

#include "motion.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Scores = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Labels = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Gains = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

namespace {

template <typename T>
T* column(nb::list& out, std::size_t n, std::size_t width = 0) {
    T* data = new T[std::max<std::size_t>(1, n * std::max<std::size_t>(1, width))];
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    if (width) out.append(nb::ndarray<nb::numpy, T>(data, {n, width}, owner));
    else out.append(nb::ndarray<nb::numpy, T>(data, {n}, owner));
    return data;
}

// The confirmed objects that were seen within `coast_s`, as columns of Tracks.
nb::tuple report(const edgevid::TrackerCore& core, double time, double coast_s) {
    std::vector<const edgevid::TrackedObject*> shown;
    for (const auto& o : core.objects)
        if (o.confirmed && (o.match >= 0 || time - o.seen <= coast_s)) shown.push_back(&o);
    nb::list out;
    const std::size_t n = shown.size();
    auto* ids = column<std::int64_t>(out, n);
    auto* boxes = column<float>(out, n, 4);
    auto* scores = column<float>(out, n);
    auto* labels = column<std::int32_t>(out, n);
    auto* match = column<std::int32_t>(out, n);
    auto* age = column<float>(out, n);
    auto* unseen = column<float>(out, n);
    for (std::size_t i = 0; i < n; ++i) {
        const auto& o = *shown[i];
        ids[i] = o.id;
        std::memcpy(boxes + 4 * i, &o.box, sizeof(edgevid::Box));
        scores[i] = o.score;
        labels[i] = o.label;
        match[i] = o.match;
        age[i] = static_cast<float>(time - o.born);
        unseen[i] = static_cast<float>(time - o.seen);
    }
    return nb::tuple(out);
}

edgevid::TrackerSettings settings_of(const nb::dict& given) {
    edgevid::TrackerSettings s;
    for (auto [key, value] : given) {
        const std::string name = nb::cast<std::string>(key);
#define EDGEVID_FIELD(field)                                     \
    if (name == #field) {                                        \
        s.field = nb::cast<decltype(s.field)>(value);            \
        continue;                                                \
    }
        EDGEVID_FIELD(high_score)
        EDGEVID_FIELD(low_score)
        EDGEVID_FIELD(new_score)
        EDGEVID_FIELD(first_likeness)
        EDGEVID_FIELD(second_overlap)
        EDGEVID_FIELD(fresh_likeness)
        EDGEVID_FIELD(lost_after_s)
        EDGEVID_FIELD(confirm_after_s)
        EDGEVID_FIELD(position_noise)
        EDGEVID_FIELD(velocity_noise)
        EDGEVID_FIELD(measure_noise)
        EDGEVID_FIELD(momentum)
        EDGEVID_FIELD(re_update)
        EDGEVID_FIELD(recover)
        EDGEVID_FIELD(class_aware)
        EDGEVID_FIELD(height_overlap)
        EDGEVID_FIELD(observed_boxes)
#undef EDGEVID_FIELD
        throw nb::value_error(("tracker setting: there is no " + name).c_str());
    }
    return s;
}

nb::list match_gains(Gains gains) {
    std::vector<edgevid::Pair> pairs;
    std::vector<std::pair<int, int>> matched;
    const int rows = static_cast<int>(gains.shape(0)), cols = static_cast<int>(gains.shape(1));
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < cols; ++c)
            if (gains(r, c) > 0 && std::isfinite(gains(r, c))) pairs.push_back({r, c, gains(r, c)});
    edgevid::SparseAssignment().solve(rows, cols, pairs, matched);
    std::sort(matched.begin(), matched.end());
    nb::list out;
    for (const auto& [r, c] : matched) out.append(nb::make_tuple(r, c));
    return out;
}

}  // namespace

void bind_motion(nb::module_& m) {
    m.def("match_gains", &match_gains, "gains"_a);
    nb::class_<edgevid::TrackerCore>(m, "TrackerCore")
        .def("__init__", [](edgevid::TrackerCore* self, const nb::dict& settings) {
            new (self) edgevid::TrackerCore(settings_of(settings));
        }, "settings"_a)
        .def("reset", &edgevid::TrackerCore::reset)
        .def("forget", &edgevid::TrackerCore::forget)
        .def_ro("rejected", &edgevid::TrackerCore::rejected)
        .def("update", [](edgevid::TrackerCore& self, Boxes boxes, Scores scores, Labels labels, double time,
                          double coast_s) {
            if (scores.shape(0) != boxes.shape(0) || labels.shape(0) != boxes.shape(0))
                throw nb::value_error("update: expected as many scores and labels as boxes");
            // With Python's lock held: two threads that share a tracker must not be inside at once.
            self.update(reinterpret_cast<const edgevid::Box*>(boxes.data()), scores.data(), labels.data(),
                        static_cast<int>(boxes.shape(0)), time);
            return report(self, time, coast_s);
        }, "boxes"_a, "scores"_a, "labels"_a, "time"_a, "coast_s"_a);
}
