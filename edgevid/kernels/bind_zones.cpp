// Bindings of zones.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "zones.hpp"

namespace nb = nanobind;
using namespace nb::literals;
using Ids = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Boxes = nb::ndarray<const float, nb::shape<-1, 4>, nb::c_contig, nb::device::cpu>;
using Ints = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Pairs = nb::ndarray<const double, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using Lines = nb::ndarray<const double, nb::shape<-1, 6>, nb::c_contig, nb::device::cpu>;
using Zones = nb::ndarray<const double, nb::shape<-1, 8>, nb::c_contig, nb::device::cpu>;
using Ground = nb::ndarray<const double, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;

namespace {

using Row = std::tuple<int, int, std::int64_t, int, double, double>;

std::vector<Row> tuples(const std::vector<edgevid::ZoneRow>& rows) {
    std::vector<Row> out;
    for (const auto& r : rows) out.emplace_back(r.kind, r.place, r.id, r.label, r.time, r.seconds);
    return out;
}

std::vector<edgevid::ZonePoint> points_of(const Pairs& given) {
    std::vector<edgevid::ZonePoint> points;
    for (std::size_t k = 0; k < given.shape(0); ++k) points.push_back({given(k, 0), given(k, 1)});
    return points;
}

edgevid::ZonesCore make(const Pairs& anchors, const Lines& lines, const Zones& zones,
                        const std::vector<std::vector<Pairs>>& rings, double lost_after_s, double width,
                        double height) {
    if (rings.size() != zones.shape(0)) throw nb::value_error("ZonesCore: expected the rings of every zone");
    const auto anchor = [&](double index) {
        if (!(index >= 0 && index < static_cast<double>(anchors.shape(0))))
            throw nb::value_error("ZonesCore: expected the index of an anchor");
        return static_cast<int>(index);
    };
    std::vector<edgevid::SiteLine> made;
    for (std::size_t k = 0; k < lines.shape(0); ++k)
        made.push_back({lines(k, 0), lines(k, 1), lines(k, 2), lines(k, 3), anchor(lines(k, 4)), lines(k, 5) != 0});
    std::vector<edgevid::SiteZone> areas;
    for (std::size_t k = 0; k < zones.shape(0); ++k) {
        edgevid::SiteZone zone{anchor(zones(k, 0)), zones(k, 1) != 0, zones(k, 2), zones(k, 3), zones(k, 4),
                               zones(k, 5), zones(k, 6), zones(k, 7), {}};
        for (const auto& ring : rings[k]) {
            if (ring.shape(0) < 3) throw nb::value_error("ZonesCore: expected at least 3 corners");
            zone.rings.push_back(points_of(ring));
        }
        areas.push_back(std::move(zone));
    }
    return {points_of(anchors), std::move(made), std::move(areas), lost_after_s, width, height};
}

std::vector<Row> update(edgevid::ZonesCore& self, Ids ids, Boxes boxes, Ints labels, Ints match, Ground ground,
                        double scale_x, double scale_y, bool rotated, double time) {
    const std::size_t n = ids.shape(0);
    if (boxes.shape(0) != n || labels.shape(0) != n || match.shape(0) != n)
        throw nb::value_error("update: expected as many boxes, labels and matches as ids");
    const bool meters = ground.shape(0) != 0;
    if (meters ? ground.shape(0) != self.anchors() || ground.shape(1) != n : self.needs_meters())
        throw nb::value_error("update: expected the position in meters of each anchor and box");
    return tuples(self.update(n, ids.data(), boxes.data(), labels.data(), match.data(),
                              meters ? ground.data() : nullptr, scale_x, scale_y, rotated, time));
}

}  // namespace

void bind_zones(nb::module_& m) {
    nb::class_<edgevid::ZonesCore>(m, "ZonesCore")
        .def("__init__", [](edgevid::ZonesCore* self, const Pairs& anchors, const Lines& lines, const Zones& zones,
                            const std::vector<std::vector<Pairs>>& rings, double lost_after_s, double width,
                            double height) {
            new (self) edgevid::ZonesCore(make(anchors, lines, zones, rings, lost_after_s, width, height));
        }, "anchors"_a, "lines"_a, "zones"_a, "rings"_a, "lost_after_s"_a, "width"_a, "height"_a)
        .def("reset", &edgevid::ZonesCore::reset)
        .def("update", &update, "ids"_a, "boxes"_a, "labels"_a, "match"_a, "ground"_a, "scale_x"_a, "scale_y"_a,
             "rotated"_a, "time"_a)
        .def("finish", [](edgevid::ZonesCore& self) { return tuples(self.finish()); })
        .def("inside", &edgevid::ZonesCore::inside)
        .def("adopt", &edgevid::ZonesCore::adopt, "other"_a, "lines"_a, "zones"_a);
}
