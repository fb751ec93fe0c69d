// Bindings of ground_filter.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
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
using Values = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
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

template <class T>
nb::ndarray<nb::numpy, T, nb::ndim<1>> fresh(std::size_t n) {
    auto* values = new T[n + 1];
    return nb::ndarray<nb::numpy, T, nb::ndim<1>>(values, {n}, nb::capsule(values, [](void* p) noexcept { delete[] static_cast<T*>(p); }));
}

auto speed_rows(Values rows, Homography cells, Values errors, Doubles limits, bool camera_moved, std::optional<Flags> unusable) {
    const std::size_t n = rows.shape(0), side = errors.shape(0);
    if (rows.shape(1) != kColumns || errors.shape(1) != side || side == 0 || limits.shape(0) != 5 || (unusable && unusable->shape(0) != n))
        throw nb::value_error("speed_rows: expected (N, 10) rows, N reasons or none, (C, C) errors and 5 limits");
    const double* l = limits.data();
    const double* c = cells.data();
    auto mps = fresh<double>(n), sigma = fresh<double>(n), heading = fresh<double>(n), time = fresh<double>(n);
    auto reason = fresh<std::uint8_t>(n);
    for (std::size_t i = 0; i < n; ++i) {
        const double* row = rows.data() + kColumns * i;
        const double x = row[8], y = row[9], w = c[6] * x + c[7] * y + c[8], over = std::abs(w) > 1e-9 ? w : 1e-9;
        const auto cell = [side, over](double at) {
            return static_cast<std::size_t>(std::min(std::max(0.0, at / over), static_cast<double>(side) - 0.5));
        };
        const double error = errors.data()[side * cell(c[3] * x + c[4] * y + c[5]) + cell(c[0] * x + c[1] * y + c[2])];
        edgevid::speed_row(row, unusable.has_value(), unusable ? unusable->data()[i] : 0, error, {l[0], l[1], l[2], l[3], l[4]},
                           mps.data()[i], sigma.data()[i], heading.data()[i], reason.data()[i]);
        time.data()[i] = row[0];
        if (camera_moved) {
            mps.data()[i] = heading.data()[i] = std::numeric_limits<double>::quiet_NaN();
            reason.data()[i] = edgevid::speed_reason::kCameraMoved;
        }
    }
    return std::make_tuple(mps, sigma, heading, time, reason);
}

}  // namespace

void bind_ground_filter(nb::module_& m) {
    m.def("speed_rows", &speed_rows, "rows"_a, "cells"_a, "errors"_a, "limits"_a, "camera_moved"_a,
          "unusable"_a = nb::none());
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
