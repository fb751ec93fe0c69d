// Bindings of ground_filter.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <optional>
#include <string>

#include "ground_filter.hpp"
#include "settings.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using Ids = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Doubles = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Points = nb::ndarray<const double, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using Flags = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<nb::numpy, double, nb::ndim<2>>;
using Ids1 = nb::ndarray<nb::numpy, std::int64_t, nb::ndim<1>>;
using Rows = std::pair<Ids1, Table>;
using Ended = std::vector<std::pair<std::int64_t, Table>>;
using Settings = nb::typed<nb::dict, nb::str, double>;
using Homography = nb::ndarray<const double, nb::shape<3, 3>, nb::c_contig, nb::device::cpu>;

namespace {

constexpr int kColumns = 10;  // in the order of PlaneColumn (plane_columns.py)

Rows give(const std::vector<edgevid::PlaneRow>& rows) {
    const std::size_t n = rows.size();
    auto* ids = new std::int64_t[n + 1];
    auto* values = new double[kColumns * n + 1];
    for (std::size_t i = 0; i < n; ++i) {
        const auto& r = rows[i];
        const double line[kColumns] = {r.time, r.vx, r.vy, r.variance, r.stationary_for, r.age, r.unseen,
                                       static_cast<double>(r.count), r.x, r.y};
        ids[i] = r.id;
        std::memcpy(values + kColumns * i, line, sizeof line);
    }
    nb::capsule a(ids, [](void* p) noexcept { delete[] static_cast<std::int64_t*>(p); });
    nb::capsule b(values, [](void* p) noexcept { delete[] static_cast<double*>(p); });
    return {Ids1(ids, {n}, a), Table(values, {n, std::size_t{kColumns}}, b)};
}

Ended give(const std::vector<std::pair<std::int64_t, std::vector<edgevid::Observation>>>& ended) {
    Ended out;
    for (const auto& [id, rows] : ended) {
        auto* values = new double[4 * rows.size() + 1];
        std::memcpy(values, rows.data(), rows.size() * sizeof(edgevid::Observation));
        nb::capsule owner(values, [](void* p) noexcept { delete[] static_cast<double*>(p); });
        out.emplace_back(id, Table(values, {rows.size(), std::size_t{4}}, owner));
    }
    return out;
}

edgevid::PlaneSettings settings_of(const nb::dict& given) {
    return settings_from<edgevid::PlaneSettings>(given, "plane", [](auto& s, const std::string& name, nb::handle value) {
        EDGEVID_FIELD(process_noise)
        EDGEVID_FIELD(velocity_prior)
        EDGEVID_FIELD(correlation_s)
        EDGEVID_FIELD(lag_s)
        EDGEVID_FIELD(gate)
        EDGEVID_FIELD(stationary_gate)
        EDGEVID_FIELD(smoothed_gate)
        EDGEVID_FIELD(lost_after_s)
        EDGEVID_FIELD(steady_noise)
        EDGEVID_FIELD(steady_correlation_s)
        EDGEVID_FIELD(acceleration)
        EDGEVID_FIELD(changes)
        EDGEVID_FIELD(slow_correlation_s)
        EDGEVID_FIELD(max_observations)
        return false;
    });
}

}  // namespace

void bind_ground_filter(nb::module_& m) {
    nb::class_<edgevid::PlaneCore>(m, "PlaneCore")
        .def("__init__", [](edgevid::PlaneCore* self, const Settings& settings, Homography ground, Homography image) {
            new (self) edgevid::PlaneCore(settings_of(settings), ground.data(), image.data());
        }, "settings"_a, "to_ground"_a, "to_image"_a)
        .def("reset", &edgevid::PlaneCore::reset)
        .def("update", [](edgevid::PlaneCore& self, Ids ids, Points contacts, Doubles noise, Flags measured,
                          double time, std::optional<Doubles> heights) {
            const std::size_t n = ids.shape(0);
            if (contacts.shape(0) != n || noise.shape(0) != n || measured.shape(0) != n ||
                (heights && heights->shape(0) != n))
                throw nb::value_error("update: expected as many contacts, noises and flags as ids");
            std::vector<edgevid::PlaneRow> live, smoothed;
            // With Python's lock held: two threads that share an estimator must not be inside at once.
            self.update(static_cast<int>(n), ids.data(), contacts.data(), noise.data(), measured.data(),
                        heights ? heights->data() : nullptr, time, live, smoothed);
            return std::make_tuple(give(live), give(smoothed), give(self.ended));
        }, "ids"_a, "contacts"_a, "noise"_a, "measured"_a, "time"_a, "heights"_a = nb::none());
}
