// Which lines objects crossed and how long they stayed in zones: the twin of reference/zones.py, line by line.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <utility>
#include <vector>

namespace edgevid {

struct ZonePoint {
    double x, y;
};

enum ZoneKind { kEnter, kLeave, kDwell, kStopped, kWrong, kForward, kBackward };

struct ZoneRow {
    int kind, place;
    std::int64_t id;
    int label;
    double time, seconds;
};

struct SiteLine {
    double x1, y1, x2, y2;
    int anchor;
    bool meters;
    double dx = x2 - x1, dy = y2 - y1, length = std::sqrt(dx * dx + dy * dy);
};

struct SiteZone {
    int anchor;
    bool meters;
    double dwell_s, stopped_s, direction, debounce_s, still, travel;
    std::vector<std::vector<ZonePoint>> rings;
    ZonePoint low{}, high{};  // of the outline
};

class ZonesCore {
   public:
    ZonesCore(std::vector<ZonePoint> anchors, std::vector<SiteLine> lines, std::vector<SiteZone> zones,
              double lost_after_s, double width, double height)
        : anchors_(std::move(anchors)), lines_(std::move(lines)), zones_(std::move(zones)),
          lost_after_s_(lost_after_s), width_(width), height_(height), pixels_(anchors_.size()) {
        for (SiteZone& zone : zones_) {
            zone.low = zone.high = zone.rings[0][0];
            for (const ZonePoint& p : zone.rings[0]) {
                zone.low = {std::min(zone.low.x, p.x), std::min(zone.low.y, p.y)};
                zone.high = {std::max(zone.high.x, p.x), std::max(zone.high.y, p.y)};
            }
        }
    }

    std::size_t anchors() const { return anchors_.size(); }
    bool needs_meters() const {
        return std::any_of(lines_.begin(), lines_.end(), [](const SiteLine& one) { return one.meters; }) ||
               std::any_of(zones_.begin(), zones_.end(), [](const SiteZone& one) { return one.meters; });
    }

    void reset() {
        objects_.clear();
        time_ = -std::numeric_limits<double>::infinity();
        step_ = kFirstStepS;
    }

    std::vector<ZoneRow> update(std::size_t n, const std::int64_t* ids, const float* boxes, const std::int32_t* labels,
                                const std::int32_t* match, const double* ground, double scale_x, double scale_y,
                                bool rotated, double time) {
        rows_.clear();
        const double step = time - time_;
        if (step > std::max(lost_after_s_, kAway * step_)) finish_all();
        ++frame_;
        found_.assign(n, nullptr);
        for (std::size_t r = 0; r < n; ++r) {
            const auto found = objects_.find(ids[r]);
            if (found != objects_.end()) found->second.frame = frame_, found_[r] = &found->second;
        }
        for (auto it = objects_.begin(); it != objects_.end();) {
            if (it->second.frame != frame_ && time - it->second.reported > lost_after_s_) {
                end(it->first, it->second);
                it = objects_.erase(it);
            } else {
                ++it;
            }
        }
        for (std::size_t r = 0; r < n; ++r) {
            Object*& found = found_[r];
            if (match[r] >= 0) {
                if (!found) found = &objects_[ids[r]];
                const float* b = boxes + 4 * r;
                const double box[4] = {b[0] * scale_x, b[1] * scale_y, b[2] * scale_x, b[3] * scale_y};
                observe(ids[r], *found, box, labels[r], ground ? ground + 3 * r : nullptr, 3 * n, rotated, time);
            }
            if (found) found->reported = time;
        }
        time_ = time;
        if (std::isfinite(step)) step_ = step;
        return rows_;
    }

    std::vector<ZoneRow> finish() {
        rows_.clear();
        finish_all();
        return rows_;
    }

    std::vector<std::pair<int, int>> inside() const {
        std::vector<std::pair<int, int>> found;
        for (const auto& [id, one] : objects_)
            for (std::size_t z = 0; z < one.stays.size(); ++z)
                if (one.stays[z].inside) found.emplace_back(static_cast<int>(z), label_of(one));
        return found;
    }

    void adopt(const ZonesCore& other, const std::vector<int>& lines, const std::vector<int>& zones) {
        time_ = other.time_;
        step_ = other.step_;
        for (const auto& [id, was] : other.objects_) {
            Object& one = objects_[id];
            one.reported = was.reported, one.observed = was.observed, one.votes = was.votes;
            one.passings.clear(), one.stays.clear();
            for (int k : lines) one.passings.push_back(k >= 0 ? was.passings[k] : Passing{});
            for (int k : zones) one.stays.push_back(k >= 0 ? was.stays[k] : Stay{});
        }
    }

   private:
    static constexpr int kInARow = 3;
    static constexpr double kHalf = 0.5, kJitters = 3.0, kLeast = 0.2, kMemory = 0.1, kOnTheEdge = 2.5,
                            kAway = 2.0, kFirstStepS = 0.5;

    struct Passing {
        ZonePoint anchor{}, last{};  // the last point that had left the line, and the last one
        bool right = false;          // of the anchor
        double since = 0;
        int row = 0, count = 0;  // observations on this side, and in all
        double off = 0, step = 0, jitter = 0;

        void update(ZonePoint p, double now_off, double time) {
            if ((now_off >= 0) != (off >= 0)) since = time, row = 0;
            const double now_step = now_off - off;
            if (count > 1) {
                const double weight = std::max(kMemory, 1.0 / (count - 1));
                jitter += weight * (std::abs(now_step - step) - jitter);
            }
            last = p, off = now_off, step = now_step;
            ++row, ++count;
        }
        double needed(double reach) const {
            const bool sure = row >= kInARow && count >= kInARow + 2;
            return sure ? std::min(reach, std::max(kLeast * reach, kJitters * jitter)) : reach;
        }
    };
    struct Stay {
        bool inside = false, waiting = false, dwelt = false, stopped = false, wrong = false;
        bool has_stop = false, has_start = false;
        double other_side_since = 0, entered = 0, stationary_since = 0;
        ZonePoint stop_point{}, travel_start{};
    };
    struct Object {
        std::uint64_t frame = 0;
        double reported = 0, observed = 0;
        std::vector<std::pair<int, int>> votes;  // label, observations
        std::vector<Passing> passings;
        std::vector<Stay> stays;
    };
    static int label_of(const Object& one) {
        auto best = one.votes.begin();
        for (auto it = best; it != one.votes.end(); ++it)
            if (it->second > best->second) best = it;
        return best->first;
    }
    static double side(const SiteLine& l, ZonePoint p) {
        return l.dx * (p.y - l.y1) - l.dy * (p.x - l.x1);
    }
    static double distance(double x1, double y1, double x2, double y2, ZonePoint p) {
        const double dx = x2 - x1, dy = y2 - y1;
        double along = ((p.x - x1) * dx + (p.y - y1) * dy) / (dx * dx + dy * dy);
        along = std::min(1.0, std::max(0.0, along));
        const double x = p.x - x1 - along * dx, y = p.y - y1 - along * dy;
        return std::sqrt(x * x + y * y);
    }
    static int crossing(const SiteLine& l, ZonePoint before, ZonePoint after) {
        const double a = side(l, before), b = side(l, after);
        if ((a >= 0) == (b >= 0)) return 0;
        const double share = a / (a - b);
        const double x = before.x + share * (after.x - before.x), y = before.y + share * (after.y - before.y);
        const double along = ((x - l.x1) * l.dx + (y - l.y1) * l.dy) / (l.dx * l.dx + l.dy * l.dy);
        if (along < -1e-9 || along > 1 + 1e-9) return 0;
        return b >= 0 ? 1 : -1;
    }
    static bool within(const SiteZone& zone, ZonePoint p) {
        if (p.x < zone.low.x || p.y < zone.low.y || p.x > zone.high.x || p.y > zone.high.y) return false;
        bool inside = false;
        for (const auto& ring : zone.rings) {
            ZonePoint a = ring.back();
            for (const ZonePoint& b : ring) {
                if ((a.y > p.y) != (b.y > p.y) && p.x < (b.x - a.x) * (p.y - a.y) / (b.y - a.y) + a.x)
                    inside = !inside;
                a = b;
            }
        }
        return inside;
    }
    static bool clear(const SiteZone& zone, ZonePoint p, double reach) {
        for (const auto& ring : zone.rings) {
            ZonePoint a = ring.back();
            for (const ZonePoint& b : ring) {
                if (distance(a.x, a.y, b.x, b.y, p) < reach) return false;
                a = b;
            }
        }
        return true;
    }

    void add(int kind, std::size_t place, std::int64_t id, const Object& one, double time, double seconds) {
        rows_.push_back({kind, static_cast<int>(place), id, label_of(one), time, seconds});
    }
    void finish_all() {
        for (auto& [id, one] : objects_) end(id, one);
        objects_.clear();
    }

    void observe(std::int64_t id, Object& one, const double* box, int label, const double* ground, std::size_t stride,
                 bool rotated, double time) {
        const double wide = box[2] - box[0], high = box[3] - box[1], reach = kHalf * std::min(wide, high);
        auto vote = std::find_if(one.votes.begin(), one.votes.end(), [&](const auto& v) { return v.first == label; });
        if (vote == one.votes.end())
            one.votes.emplace_back(label, 1);
        else
            ++vote->second;
        for (std::size_t a = 0; a < anchors_.size(); ++a) {
            const double fx = anchors_[a].x, fy = rotated && anchors_[a].y == 1 && fx == 0.5 ? 0.5 : anchors_[a].y;
            pixels_[a] = {box[0] + fx * wide, box[1] + fy * high};
        }
        if (one.stays.empty() && one.passings.empty()) {
            one.passings.resize(lines_.size());
            one.stays.resize(zones_.size());
        }
        for (std::size_t k = 0; k < lines_.size(); ++k) {
            const SiteLine& line = lines_[k];
            const double* m = line.meters ? ground + line.anchor * stride : nullptr;
            at_line(k, id, one, m ? ZonePoint{m[0], m[1]} : pixels_[line.anchor], m ? m[2] : reach, time);
        }
        for (std::size_t k = 0; k < zones_.size(); ++k) {
            const SiteZone& zone = zones_[k];
            const double* m = zone.meters ? ground + zone.anchor * stride : nullptr;
            at_zone(k, id, one, m ? ZonePoint{m[0], m[1]} : in_frame(pixels_[zone.anchor]), m ? m[2] : reach,
                    m ? 1.0 : high, time);
        }
        one.observed = time;
    }

    ZonePoint in_frame(ZonePoint p) const {
        if (!(width_ > 0)) return p;
        return {std::min(std::max(p.x, 1.0), width_ - 2), std::min(std::max(p.y, 1.0), height_ - 2)};
    }

    void at_line(std::size_t k, std::int64_t id, Object& one, ZonePoint p, double reach, double time) {
        const SiteLine& line = lines_[k];
        const double off = side(line, p) / line.length;
        Passing& at = one.passings[k];
        if (at.count == 0) {
            at.anchor = at.last = p, at.since = time, at.off = off, at.right = off >= 0, at.row = at.count = 1;
            return;
        }
        at.update(p, off, time);
        // The line's end is no nearer than the line, so that most are far from both.
        const double needed = at.needed(reach * (1 - 1e-6));
        if (std::abs(off) >= needed || distance(line.x1, line.y1, line.x2, line.y2, p) >= needed)
            leave_line(k, id, one, at);
    }

    void leave_line(std::size_t k, std::int64_t id, const Object& one, Passing& at) {
        const bool right = at.off >= 0;
        const int way = right != at.right ? crossing(lines_[k], at.anchor, at.last) : 0;
        at.anchor = at.last, at.right = right;
        if (way) add(way > 0 ? kForward : kBackward, k, id, one, at.since, 0);
    }

    void at_zone(std::size_t k, std::int64_t id, Object& one, ZonePoint p, double reach, double unit, double time) {
        const SiteZone& zone = zones_[k];
        Stay& stay = one.stays[k];
        if (within(zone, p) == stay.inside) {
            stay.waiting = false;
        } else {
            if (!stay.waiting) stay.waiting = true, stay.other_side_since = time;
            const double held = time - stay.other_side_since;
            if (held >= zone.debounce_s * kOnTheEdge ||
                (held >= zone.debounce_s && clear(zone, p, reach * (1 - 1e-6))))
                pass_edge(k, id, one, stay);
        }
        if (stay.inside) stays_on(k, id, one, stay, p, unit, time);
    }

    void pass_edge(std::size_t k, std::int64_t id, const Object& one, Stay& stay) {
        const double since = stay.other_side_since, entered = stay.entered;
        const bool left = stay.inside;
        stay = Stay{};
        if (left) {
            add(kLeave, k, id, one, since, since - entered);
        } else {
            stay.inside = true, stay.entered = since;
            add(kEnter, k, id, one, since, 0);
        }
    }

    void stays_on(std::size_t k, std::int64_t id, const Object& one, Stay& stay, ZonePoint p, double unit, double time) {
        const SiteZone& zone = zones_[k];
        const double stayed = time - stay.entered;
        if (stayed >= zone.dwell_s && !stay.dwelt) {
            stay.dwelt = true;
            add(kDwell, k, id, one, time, stayed);
        }
        if (!stay.has_stop || std::hypot(p.x - stay.stop_point.x, p.y - stay.stop_point.y) > zone.still * unit) {
            stay.has_stop = true, stay.stop_point = p, stay.stationary_since = time, stay.stopped = false;
        }
        const double stood = time - stay.stationary_since;
        if (stood >= zone.stopped_s && !stay.stopped) {
            stay.stopped = true;
            add(kStopped, k, id, one, time, stood);
        }
        if (std::isnan(zone.direction) || stay.wrong) return;
        if (!stay.has_start) stay.has_start = true, stay.travel_start = p;
        const double dx = p.x - stay.travel_start.x, dy = p.y - stay.travel_start.y, gone = std::hypot(dx, dy);
        if (gone < zone.travel * unit || gone == 0) return;
        stay.travel_start = p;
        static const double wrong_way = std::cos(120.0 * 3.141592653589793 / 180.0);
        if ((dx * std::cos(zone.direction) + dy * std::sin(zone.direction)) / gone <= wrong_way) {
            stay.wrong = true;
            add(kWrong, k, id, one, time, 0);
        }
    }

    void end(std::int64_t id, Object& one) {
        for (std::size_t k = 0; k < one.passings.size(); ++k)
            if (one.passings[k].count != 0) leave_line(k, id, one, one.passings[k]);
        for (std::size_t k = 0; k < one.stays.size(); ++k) {
            const Stay& stay = one.stays[k];
            if (!stay.inside) continue;
            const double left = stay.waiting ? stay.other_side_since : one.observed;
            add(kLeave, k, id, one, left, left - stay.entered);
        }
    }

    std::vector<ZonePoint> anchors_;
    std::vector<SiteLine> lines_;
    std::vector<SiteZone> zones_;
    double lost_after_s_, width_, height_, time_ = -std::numeric_limits<double>::infinity(), step_ = kFirstStepS;
    std::uint64_t frame_ = 0;
    std::map<std::int64_t, Object> objects_;
    std::vector<ZonePoint> pixels_;
    std::vector<Object*> found_;
    std::vector<ZoneRow> rows_;
};

}  // namespace edgevid
