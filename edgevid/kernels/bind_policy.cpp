// Bindings of policy.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <string>

#include "policy.hpp"
#include "settings.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using Ids = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

namespace {

template <class T>
using Column = nb::ndarray<nb::numpy, T, nb::ndim<1>>;
using Settings = nb::typed<nb::dict, nb::str, double>;

template <class T>
Column<T> own(T* data, std::size_t n) {
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return Column<T>(data, {n}, owner);
}

edgevid::PolicySettings settings_of(const nb::dict& given) {
    return settings_from<edgevid::PolicySettings>(given, "policy", [](auto& s, const std::string& name, nb::handle value) {
        EDGEVID_FIELD(aggregate)
        EDGEVID_FIELD(temperature)
        EDGEVID_FIELD(correlation)
        EDGEVID_FIELD(memory_s)
        EDGEVID_FIELD(margin)
        EDGEVID_FIELD(min_agreement)
        EDGEVID_FIELD(min_observations)
        EDGEVID_FIELD(min_seconds)
        EDGEVID_FIELD(min_side_px)
        EDGEVID_FIELD(stale_s)
        EDGEVID_FIELD(gap)
        EDGEVID_FIELD(step)
        EDGEVID_FIELD(take)
        EDGEVID_FIELD(drop)
        EDGEVID_FIELD(ema_s)
        return false;
    });
}

std::tuple<Column<std::int32_t>, Column<float>, Column<std::uint8_t>> update(
    edgevid::PolicyCore& self, Ids ids, Boxes boxes, Ids score_ids, Matrix values, Doubles times, double time) {
    const std::size_t n = ids.shape(0), m = score_ids.shape(0);
    if (boxes.shape(0) != n || values.shape(0) != m || times.shape(0) != m)
        throw nb::value_error("update: expected as many boxes as ids, and as many values and times as score ids");
    if (m != 0 && values.shape(1) != static_cast<std::size_t>(self.classes()))
        throw nb::value_error("update: expected one value per class");
    auto* labels = new std::int32_t[n + 1];
    auto label_array = own(labels, n);
    auto* confidence = new float[n + 1];
    auto confidence_array = own(confidence, n);
    auto* reasons = new std::uint8_t[n + 1];
    auto reason_array = own(reasons, n);
    self.update(static_cast<int>(n), ids.data(), boxes.data(), static_cast<int>(m), score_ids.data(), values.data(),
                times.data(), time, labels, confidence, reasons);
    return {label_array, confidence_array, reason_array};
}

}  // namespace

void bind_policy(nb::module_& m) {
    nb::class_<edgevid::PolicyCore>(m, "PolicyCore")
        .def("__init__", [](edgevid::PolicyCore* self, const Settings& settings, Floats thresholds) {
            new (self) edgevid::PolicyCore(settings_of(settings), thresholds.data(),
                                           static_cast<int>(thresholds.shape(0)));
        }, "settings"_a, "thresholds"_a)
        .def("reset", &edgevid::PolicyCore::reset)
        .def_prop_ro("rejected", &edgevid::PolicyCore::rejected)
        .def("update", &update, "ids"_a, "boxes"_a, "score_ids"_a, "values"_a, "times"_a, "time"_a)
        .def("probabilities", [](edgevid::PolicyCore& self, Ids ids) {
            const std::size_t n = ids.shape(0), classes = static_cast<std::size_t>(self.classes());
            auto* out = new double[n * classes + 1];
            nb::capsule owner(out, [](void* p) noexcept { delete[] static_cast<double*>(p); });
            self.probabilities(static_cast<int>(n), ids.data(), out);
            return nb::ndarray<nb::numpy, double>(out, {n, classes}, owner);
        }, "ids"_a);
}
