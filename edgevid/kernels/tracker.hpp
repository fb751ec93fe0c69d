// The tracker's step: box filters over real seconds, gated assignment, two-stage association.
//
// A box is four independent two-state filters (center x, center y, width, height; each a position and a
// velocity): with a constant-velocity model and diagonal noise that is exactly the eight-state filter.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "assignment.hpp"

namespace edgevid {

struct TrackerSettings {
    double track_high_thresh = 0.5, track_low_thresh = 0.1, new_track_thresh = 0.6;  // scores
    double match_thresh = 0.2, second_match_thresh = 0.5, new_match_thresh = 0.3;  // least similarity, by stage
    double lost_after_s = 1.0;     // removed after this long without a detection
    double confirm_after_s = 0.0;  // a new object must be detected again after at least this long
    double position_noise = 0.05, velocity_noise = 0.00625, measure_noise = 0.05;  // shares of the size
    double momentum = 0.0;     // weight of the direction consistency (OC-SORT's OCM; 0: none)
    bool re_update = false;    // after a gap, run the filter along the straight path between observations (ORU)
    bool recover = false;      // one more stage against the last observation instead of the prediction (OCR)
    bool class_aware = false;  // objects only match detections of their class
    bool height_overlap = false;  // weigh the overlap by that of the vertical extents
    bool observed_boxes = false;  // report the matched detection instead of the filtered box
};

constexpr double kReferenceRate = 30.0;  // the noise shares are stated for one frame at this rate
constexpr double kLabelMemory = 2.0;     // seconds in which an observation's vote on the class falls to 1/e

struct Axis {
    double x = 0, v = 0, pxx = 0, pxv = 0, pvv = 0;

    void start(double value, double sp, double sv) {
        x = value;
        v = 0;
        pxx = 4 * sp * sp;
        pxv = 0;
        pvv = 100 * sv * sv * kReferenceRate * kReferenceRate;
    }
    void predict(double dt, double sp, double sv) {
        const double frames = dt * kReferenceRate;
        x += v * dt;
        pxx += dt * (2 * pxv + dt * pvv) + sp * sp * frames;
        pxv += dt * pvv;
        pvv += sv * sv * kReferenceRate * kReferenceRate * frames;
    }
    void update(double z, double r) {
        const double s = pxx + r * r, k = pxx / s, l = pxv / s, e = z - x;
        x += k * e;
        v += l * e;
        pvv -= l * pxv;
        pxv -= k * pxv;
        pxx -= k * pxx;
    }
};

struct Box {
    float x1, y1, x2, y2;
    double area() const { return std::max(0.f, x2 - x1) * static_cast<double>(std::max(0.f, y2 - y1)); }
};

inline double overlap(const Box& a, const Box& b) {
    const double w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1);
    const double h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
    if (!(w > 0 && h > 0)) return 0;
    const double inter = w * h, all = a.area() + b.area() - inter;
    return all > 0 ? inter / all : 0;
}

// Intersection over union of the vertical extents: two people side by side at different distances
// overlap well, yet differ in height and foot (Hybrid-SORT, Yang 2024, arXiv 2308.00783).
inline double height_overlap(const Box& a, const Box& b) {
    const double h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
    return h > 0 ? h / (std::max(a.y2, b.y2) - std::min(a.y1, b.y1)) : 0;
}

// Center, size and their velocities.
struct Motion {
    Axis cx, cy, w, h;

    void start(const Box& b, const TrackerSettings& s) {
        const double bw = b.x2 - b.x1, bh = b.y2 - b.y1;
        cx.start((b.x1 + b.x2) / 2.0, s.position_noise * bw, s.velocity_noise * bw);
        cy.start((b.y1 + b.y2) / 2.0, s.position_noise * bh, s.velocity_noise * bh);
        w.start(bw, s.position_noise * bw, s.velocity_noise * bw);
        h.start(bh, s.position_noise * bh, s.velocity_noise * bh);
    }
    void predict(double dt, bool observed, const TrackerSettings& s) {
        if (!observed) w.v = h.v = 0;  // a coasting box neither grows nor shrinks
        const double bw = std::max(w.x, 1.0), bh = std::max(h.x, 1.0);
        cx.predict(dt, s.position_noise * bw, s.velocity_noise * bw);
        cy.predict(dt, s.position_noise * bh, s.velocity_noise * bh);
        w.predict(dt, s.position_noise * bw, s.velocity_noise * bw);
        h.predict(dt, s.position_noise * bh, s.velocity_noise * bh);
        w.x = std::max(w.x, 1.0);
        h.x = std::max(h.x, 1.0);
    }
    void update(const Box& b, const TrackerSettings& s) {
        const double bw = std::max(w.x, 1.0), bh = std::max(h.x, 1.0);
        cx.update((b.x1 + b.x2) / 2.0, s.measure_noise * bw);
        cy.update((b.y1 + b.y2) / 2.0, s.measure_noise * bh);
        w.update(b.x2 - b.x1, s.measure_noise * bw);
        h.update(b.y2 - b.y1, s.measure_noise * bh);
        w.x = std::max(w.x, 1.0);
        h.x = std::max(h.x, 1.0);
    }
    Box box() const {
        return {static_cast<float>(cx.x - w.x / 2), static_cast<float>(cy.x - h.x / 2),
                static_cast<float>(cx.x + w.x / 2), static_cast<float>(cy.x + h.x / 2)};
    }
};

struct Observation {
    Box box;
    double time;
};

struct TrackedObject {
    std::int64_t id = 0;
    Motion motion, at_observation;  // now, and right after the last observation
    Box box{}, last_box{};       // predicted or filtered now; last observation
    std::vector<Observation> recent;  // observations of the last quarter second, for the direction of travel
    float score = 0;
    double label_votes = 0;  // by how much the class leads the others
    std::int32_t label = 0, match = -1;
    double start_time = 0, last_time = 0;  // of the first and the last observation
    bool confirmed = false;
};

class TrackerCore {
  public:
    TrackerSettings settings;
    std::vector<TrackedObject> objects;
    std::int64_t rejected = 0;  // detections whose box or score is not finite, or whose box is empty

    explicit TrackerCore(const TrackerSettings& s) : settings(s) {}

    void reset() {
        forget();
        next_id_ = 1;
        rejected = 0;
    }

    void forget() {  // ids go on
        objects.clear();
        started_ = false;
    }

    void update(const Box* boxes, const float* scores, const std::int32_t* labels, int n, double time) {
        const double dt = started_ ? time - time_ : 0;
        const bool first = !started_;
        started_ = true;
        for (TrackedObject& o : objects) {
            o.motion.predict(dt, o.match >= 0, settings);
            o.box = o.motion.box();
        }
        split(boxes, scores, n);
        free_.assign(objects.size(), 1);
        tracked_before_.resize(objects.size());
        for (std::size_t i = 0; i < objects.size(); ++i) {
            tracked_before_[i] = objects[i].match >= 0;
            objects[i].match = -1;
        }
        const auto fused = [&](const TrackedObject& o, int d) {
            double value = overlap(o.box, boxes[d]) * scores[d];
            if (settings.height_overlap) value *= height_overlap(o.box, boxes[d]);
            if (settings.momentum > 0) value += settings.momentum * direction_consistency(o, boxes[d]) * scores[d];
            return value;
        };
        const auto plain = [&](const TrackedObject& o, int d) { return overlap(o.box, boxes[d]); };
        const auto last = [&](const TrackedObject& o, int d) { return overlap(o.last_box, boxes[d]) * scores[d]; };
        select([&](std::size_t i) { return objects[i].confirmed; });
        associate(high_, boxes, labels, fused, settings.match_thresh, &TrackedObject::box);
        apply(boxes, scores, labels, time);
        select([&](std::size_t i) { return objects[i].confirmed && tracked_before_[i]; });
        associate(low_, boxes, labels, plain, settings.second_match_thresh, &TrackedObject::box);
        apply(boxes, scores, labels, time);
        if (settings.recover) {
            select([&](std::size_t i) { return objects[i].confirmed; });
            associate(high_, boxes, labels, last, settings.match_thresh, &TrackedObject::last_box);
            apply(boxes, scores, labels, time);
        }
        select([&](std::size_t i) { return !objects[i].confirmed; });
        associate(high_, boxes, labels, fused, settings.new_match_thresh, &TrackedObject::box);
        apply(boxes, scores, labels, time);
        remove_stale(time);
        spawn(boxes, scores, labels, time, first);
        time_ = time;
    }

  private:
    std::int64_t next_id_ = 1;
    bool started_ = false;
    double time_ = 0;
    std::vector<int> high_, low_, rows_, order_;
    std::vector<char> free_, taken_, tracked_before_;
    std::vector<Pair> pairs_;
    std::vector<std::pair<int, int>> matched_;
    SparseAssignment assignment_;

    static bool is_box(const Box& b, float score) {
        const float sum = b.x1 + b.y1 + b.x2 + b.y2 + score;
        return std::isfinite(sum) && b.x2 > b.x1 && b.y2 > b.y1;
    }

    void split(const Box* boxes, const float* scores, int n) {
        high_.clear();
        low_.clear();
        taken_.assign(n, 0);
        for (int d = 0; d < n; ++d) {
            if (!is_box(boxes[d], scores[d])) {
                ++rejected;
                continue;
            }
            if (scores[d] >= settings.track_high_thresh) high_.push_back(d);
            else if (scores[d] >= settings.track_low_thresh) low_.push_back(d);
        }
    }

    template <typename Predicate>
    void select(Predicate holds) {
        rows_.clear();
        for (std::size_t i = 0; i < objects.size(); ++i)
            if (free_[i] && holds(i)) rows_.push_back(static_cast<int>(i));
    }

    // Matches the selected objects with the detections of `pool` that are not taken yet.
    template <typename Similarity>
    void associate(const std::vector<int>& pool, const Box* boxes, const std::int32_t* labels,
                   Similarity similarity, double min_similarity, Box TrackedObject::*where) {
        pairs_.clear();
        matched_.clear();
        order_.clear();
        for (int d : pool)
            if (!taken_[d]) order_.push_back(d);
        if (order_.empty() || rows_.empty()) return;
        std::sort(order_.begin(), order_.end(), [&](int a, int b) {
            return boxes[a].x1 != boxes[b].x1 ? boxes[a].x1 < boxes[b].x1 : a < b;
        });
        float widest = 0;
        for (int d : order_) widest = std::max(widest, boxes[d].x2 - boxes[d].x1);
        for (std::size_t r = 0; r < rows_.size(); ++r) {
            const TrackedObject& o = objects[rows_[r]];
            const Box& b = o.*where;
            auto from = std::lower_bound(order_.begin(), order_.end(), b.x1 - widest,
                                         [&](int d, float x) { return boxes[d].x1 < x; });
            for (; from != order_.end() && boxes[*from].x1 < b.x2; ++from) {
                const int d = *from;
                if (boxes[d].x2 <= b.x1 || boxes[d].y2 <= b.y1 || boxes[d].y1 >= b.y2) continue;
                if (settings.class_aware && labels[d] != o.label) continue;
                const double weight = similarity(o, d) - min_similarity;
                const auto c = static_cast<int>(from - order_.begin());
                if (weight > 0) pairs_.push_back({static_cast<int>(r), c, weight});
            }
        }
        assignment_.solve(static_cast<int>(rows_.size()), static_cast<int>(order_.size()), pairs_, matched_);
    }

    // Cosine between the object's direction of travel and the step to the detection, -1 to 1 (OC-SORT's OCM).
    static double direction_consistency(const TrackedObject& o, const Box& b) {
        if (o.recent.size() < 2) return 0;
        const Box &p = o.recent.front().box, &q = o.recent.back().box;
        const double ax = (q.x1 + q.x2 - p.x1 - p.x2) / 2, ay = (q.y1 + q.y2 - p.y1 - p.y2) / 2;
        const double bx = (b.x1 + b.x2 - q.x1 - q.x2) / 2, by = (b.y1 + b.y2 - q.y1 - q.y2) / 2;
        const double norm = std::sqrt((ax * ax + ay * ay) * (bx * bx + by * by));
        return norm > 1e-9 ? (ax * bx + ay * by) / norm : 0;
    }

    void apply(const Box* boxes, const float* scores, const std::int32_t* labels, double time) {
        for (const auto& [r, c] : matched_) {
            const int i = rows_[r], d = order_[c];
            update_object(objects[i], boxes[d], scores[d], labels[d], d, time);
            free_[i] = 0;
            taken_[d] = 1;
        }
    }

    void update_object(TrackedObject& o, const Box& b, float score, std::int32_t label, int d, double time) {
        if (settings.re_update && time - o.last_time > 1.5 / kReferenceRate && o.last_time < time_)
            re_update(o, b, time);
        o.motion.update(b, settings);
        o.box = settings.observed_boxes ? b : o.motion.box();
        o.last_box = b;
        if (settings.momentum > 0) record(o, b, time);
        vote(o, label, score, time - o.last_time);
        o.score = score;
        o.match = d;
        o.last_time = time;
        if (time - o.start_time >= settings.confirm_after_s) o.confirmed = true;
        if (settings.re_update) o.at_observation = o.motion;
    }

    static void record(TrackedObject& o, const Box& b, double time) {
        o.recent.push_back({b, time});
        while (o.recent.size() > 2 && time - o.recent[1].time >= 0.25) o.recent.erase(o.recent.begin());
    }

    // Majority vote (Boyer and Moore) on the class, weighted by confidence and forgetting slowly.
    static void vote(TrackedObject& o, std::int32_t label, double score, double elapsed) {
        o.label_votes *= std::exp(-elapsed / kLabelMemory);
        o.label_votes += label == o.label ? score : -score;
        if (o.label_votes < 0) {
            o.label = label;
            o.label_votes = -o.label_votes;
        }
    }

    // Observation-centric re-update (Cao 2023): the filter walks the straight line between two observations,
    // so that the velocity error of the gap is not carried on.
    void re_update(TrackedObject& o, const Box& b, double time) {
        const int steps = static_cast<int>(std::clamp((time - o.last_time) * kReferenceRate, 1.0, 60.0));
        const double dt = (time - o.last_time) / steps;
        o.motion = o.at_observation;
        for (int k = 1; k < steps; ++k) {
            const float f = static_cast<float>(k) / steps;
            const Box between{o.last_box.x1 + f * (b.x1 - o.last_box.x1), o.last_box.y1 + f * (b.y1 - o.last_box.y1),
                              o.last_box.x2 + f * (b.x2 - o.last_box.x2), o.last_box.y2 + f * (b.y2 - o.last_box.y2)};
            o.motion.predict(dt, true, settings);
            o.motion.update(between, settings);
        }
        o.motion.predict(dt, true, settings);
    }

    // Removes objects without a detection for too long, and new ones that were not detected again.
    void remove_stale(double time) {
        objects.erase(std::remove_if(objects.begin(), objects.end(),
                                     [&](const TrackedObject& o) {
                                         if (o.match >= 0) return false;
                                         return !o.confirmed || time - o.last_time > settings.lost_after_s;
                                     }),
                      objects.end());
    }

    void spawn(const Box* boxes, const float* scores, const std::int32_t* labels, double time, bool first) {
        for (int d : high_) {
            if (taken_[d] || scores[d] < settings.new_track_thresh) continue;
            TrackedObject o;
            o.id = next_id_++;
            o.motion.start(boxes[d], settings);
            o.at_observation = o.motion;
            o.box = o.last_box = boxes[d];
            if (settings.momentum > 0) record(o, boxes[d], time);
            o.score = scores[d];
            o.label = labels[d];
            o.label_votes = scores[d];
            o.match = d;
            o.start_time = o.last_time = time;
            o.confirmed = first;
            objects.push_back(std::move(o));
        }
    }
};

}  // namespace edgevid
