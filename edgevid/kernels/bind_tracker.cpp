// Bindings of tracker.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>

#include "tracker.hpp"
#include "settings.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Scores = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Labels = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Weights = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

template <typename T>
using Column = nb::ndarray<nb::numpy, T, nb::ndim<1>>;
using BoxColumn = nb::ndarray<nb::numpy, float, nb::shape<-1, 4>>;
using TrackColumns = std::tuple<Column<std::int64_t>, BoxColumn, Column<float>, Column<std::int32_t>,
                                Column<std::int32_t>, Column<float>, Column<float>>;
using Settings = nb::typed<nb::dict, nb::str, nb::object>;

namespace {

template <typename T>
Column<T> column(std::size_t n) {
    T* data = new T[n + 1];
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return Column<T>(data, {n}, owner);
}

// The confirmed objects that were detected within `coast_s`, as columns of Tracks.
TrackColumns report(const edgevid::TrackerCore& core, double time, double coast_s) {
    std::vector<const edgevid::TrackedObject*> shown;
    for (const auto& o : core.objects)
        if (o.confirmed && (o.match >= 0 || time - o.last_time <= coast_s)) shown.push_back(&o);
    const std::size_t n = shown.size();
    auto ids = column<std::int64_t>(n);
    auto* corners = new edgevid::Box[n + 1];
    nb::capsule owner(corners, [](void* p) noexcept { delete[] static_cast<edgevid::Box*>(p); });
    const BoxColumn boxes(reinterpret_cast<float*>(corners), {n, 4}, owner);
    auto scores = column<float>(n), age = column<float>(n), unseen = column<float>(n);
    auto labels = column<std::int32_t>(n), match = column<std::int32_t>(n);
    for (std::size_t i = 0; i < n; ++i) {
        const auto& o = *shown[i];
        ids(i) = o.id;
        corners[i] = o.box;
        scores(i) = o.score;
        labels(i) = o.label;
        match(i) = o.match;
        age(i) = static_cast<float>(time - o.start_time);
        unseen(i) = static_cast<float>(time - o.last_time);
    }
    return {ids, boxes, scores, labels, match, age, unseen};
}

edgevid::TrackerSettings settings_of(const nb::dict& given) {
    return settings_from<edgevid::TrackerSettings>(given, "tracker", [](auto& s, const std::string& name, nb::handle value) {
        EDGEVID_FIELD(track_high_thresh)
        EDGEVID_FIELD(track_low_thresh)
        EDGEVID_FIELD(new_track_thresh)
        EDGEVID_FIELD(match_thresh)
        EDGEVID_FIELD(second_match_thresh)
        EDGEVID_FIELD(new_match_thresh)
        EDGEVID_FIELD(lost_after_s)
        EDGEVID_FIELD(confirm_after_s)
        EDGEVID_FIELD(position_noise)
        EDGEVID_FIELD(reach)
        EDGEVID_FIELD(score_weight)
        EDGEVID_FIELD(momentum)
        EDGEVID_FIELD(observation_centric)
        EDGEVID_FIELD(common_shift)
        EDGEVID_FIELD(class_aware)
        EDGEVID_FIELD(height_overlap)
        EDGEVID_FIELD(observed_boxes)
        return false;
    });
}

std::vector<std::pair<int, int>> max_weight_matching(Weights weights) {
    std::vector<edgevid::Pair> pairs;
    std::vector<std::pair<int, int>> matched;
    const int rows = static_cast<int>(weights.shape(0)), cols = static_cast<int>(weights.shape(1));
    for (int r = 0; r < rows; ++r)
        for (int c = 0; c < cols; ++c)
            if (weights(r, c) > 0 && std::isfinite(weights(r, c))) pairs.push_back({r, c, weights(r, c)});
    edgevid::SparseAssignment().solve(rows, cols, pairs, matched);
    std::sort(matched.begin(), matched.end());
    return matched;
}

}  // namespace

void bind_tracker(nb::module_& m) {
    m.def("max_weight_matching", &max_weight_matching, "weights"_a);
    nb::class_<edgevid::TrackerCore>(m, "TrackerCore")
        .def("__init__", [](edgevid::TrackerCore* self, const Settings& settings) {
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
