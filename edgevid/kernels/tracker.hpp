// The tracker's step: box filters over real seconds, gated assignment, two-stage association.
//
// A box is four independent two-state filters (center x, center y, width, height; each a position and a
// velocity): with a constant-velocity model and diagonal noise that is exactly the eight-state filter.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "assignment.hpp"

namespace edgevid {

struct TrackerSettings {
    double track_high_thresh = 0.5, track_low_thresh = 0.1, new_track_thresh = 0.6;  // scores
    double match_thresh = 0.2, second_match_thresh = 0.5, new_match_thresh = 0.3;  // least similarity, by stage
    double lost_after_s = 1.0;     // removed after this long without a detection
    double confirm_after_s = 0.0;  // a new object must be detected again after at least this long
    double position_noise = 0.05;  // in a thirtieth of a second, as a share of the size; an observation has 0.05
    double reach = 0.0;        // boxes are grown by this share of the size for every second between two frames
    double score_weight = 0.0;  // similarity lost for a difference of 1 to the score of the last observation
    double momentum = 0.0;     // weight of the direction consistency (OC-SORT's OCM; 0: none)
    bool observation_centric = false;  // OC-SORT: ORU, the filter walks the straight path over a gap, and OCR,
                                       // one more stage against the last observation instead of the prediction
    bool common_shift = false;  // what most objects do at once is the camera's motion: all follow it
    bool class_aware = false;  // objects only match detections of their class
    bool height_overlap = false;  // weigh the overlap by that of the vertical extents
    bool observed_boxes = false;  // report the matched detection instead of the filtered box
};

constexpr double kReferenceRate = 30.0;  // the noise shares are stated for one frame at this rate
constexpr double kLabelMemory = 2.0;     // seconds in which an observation's vote on the class falls to 1/e
constexpr double kMeasureNoise = 0.05;   // of an observation, as a share of the size
constexpr double kVelocityShare = 0.125;  // the velocity's noise in that time beside the position's (ByteTrack's)
constexpr double kPi = 3.14159265358979323846;
constexpr double kFarthest = 1.5;        // no box is grown by more sizes than this
constexpr double kCertain = 5.6;         // a common shift is this many standard errors from none: 3 * 1.25 * 1.4826
constexpr int kVoters = 32;              // so many objects at most vote on a sudden shift
constexpr double kFootWeight = 0.5, kFootS = 0.1;  // lost for a foot one height away; half for frames 0.1 s apart
constexpr double kLeastShare = 0.01;     // of its weight that a pair keeps, however far its foot

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
    double center_x() const { return (static_cast<double>(x1) + x2) / 2; }
    double center_y() const { return (static_cast<double>(y1) + y2) / 2; }
};

// Intersection over union of both boxes grown by gx and gy to every side.
inline double overlap(const Box& a, const Box& b, double gx = 0, double gy = 0) {
    const double w = static_cast<double>(std::min(a.x2, b.x2)) - std::max(a.x1, b.x1) + 2 * gx;
    const double h = static_cast<double>(std::min(a.y2, b.y2)) - std::max(a.y1, b.y1) + 2 * gy;
    if (!(w > 0 && h > 0)) return 0;
    const auto area = [&](const Box& c) {
        return (static_cast<double>(c.x2) - c.x1 + 2 * gx) * (static_cast<double>(c.y2) - c.y1 + 2 * gy);
    };
    return w * h / (area(a) + area(b) - w * h);
}

// The same of the vertical extents: two people side by side at different distances overlap well, yet differ
// in height and foot (Hybrid-SORT, Yang 2024, arXiv 2308.00783).
inline double height_overlap(const Box& a, const Box& b, double gy = 0) {
    const double h = static_cast<double>(std::min(a.y2, b.y2)) - std::max(a.y1, b.y1) + 2 * gy;
    return h > 0 ? h / (static_cast<double>(std::max(a.y2, b.y2)) - std::min(a.y1, b.y1) + 2 * gy) : 0;
}

// The one in the middle, the upper of two.
inline double median(std::vector<double>& values) {
    const auto middle = values.begin() + values.size() / 2;
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// Center, size and their velocities.
struct Motion {
    Axis cx, cy, w, h;

    void start(const Box& b, const TrackerSettings& s) {
        const double bw = b.x2 - b.x1, bh = b.y2 - b.y1, p = s.position_noise, v = kVelocityShare * p;
        cx.start(b.center_x(), p * bw, v * bw);
        cy.start(b.center_y(), p * bh, v * bh);
        w.start(bw, p * bw, v * bw);
        h.start(bh, p * bh, v * bh);
    }
    void predict(double dt, bool observed, const TrackerSettings& s) {
        if (!observed) w.v = h.v = 0;  // a coasting box neither grows nor shrinks
        const double bw = std::max(w.x, 1.0), bh = std::max(h.x, 1.0), p = s.position_noise, v = kVelocityShare * p;
        cx.predict(dt, p * bw, v * bw);
        cy.predict(dt, p * bh, v * bh);
        w.predict(dt, p * bw, v * bw);
        h.predict(dt, p * bh, v * bh);
        w.x = std::max(w.x, 1.0);
        h.x = std::max(h.x, 1.0);
    }
    void update(const Box& b) {
        const double bw = std::max(w.x, 1.0), bh = std::max(h.x, 1.0);
        cx.update(b.center_x(), kMeasureNoise * bw);
        cy.update(b.center_y(), kMeasureNoise * bh);
        w.update(b.x2 - b.x1, kMeasureNoise * bw);
        h.update(b.y2 - b.y1, kMeasureNoise * bh);
        w.x = std::max(w.x, 1.0);
        h.x = std::max(h.x, 1.0);
    }
    Box box() const {
        return {static_cast<float>(cx.x - w.x / 2), static_cast<float>(cy.x - h.x / 2),
                static_cast<float>(cx.x + w.x / 2), static_cast<float>(cy.x + h.x / 2)};
    }
};

struct BoxObservation {  // its own name: ground_filter.hpp has another Observation
    Box box;
    double time;
};

struct TrackedObject {
    std::int64_t id = 0;
    Motion motion, at_observation;  // now, and right after the last observation
    Box box{}, last_box{};       // predicted or filtered now; last observation
    std::vector<BoxObservation> recent;  // observations of the last quarter second, for the direction of travel
    float score = 0;
    double label_votes = 0;  // by how much the class leads the others
    std::int32_t label = 0, match = -1;
    double start_time = 0, last_time = 0;  // of the first and the last observation
    bool confirmed = false;

    // The camera moved: so does all that is known in pixels.
    void shift(double x, double y, double vx, double vy) {
        for (Motion* m : {&motion, &at_observation}) {
            m->cx.x += x;
            m->cy.x += y;
            m->cx.v += vx;
            m->cy.v += vy;
        }
        box = motion.box();
        const auto fx = static_cast<float>(x), fy = static_cast<float>(y);
        const auto move = [&](Box& b) { b = {b.x1 + fx, b.y1 + fy, b.x2 + fx, b.y2 + fy}; };
        move(last_box);
        for (BoxObservation& o : recent) move(o.box);
    }
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
        grown_ = std::min(settings.reach * dt, kFarthest);
        foot_ = settings.height_overlap ? kFootWeight / (1 + dt / kFootS) : 0;
        free_.assign(objects.size(), 1);
        tracked_before_.resize(objects.size());
        for (std::size_t i = 0; i < objects.size(); ++i) {
            tracked_before_[i] = objects[i].confirmed && objects[i].match >= 0;
            objects[i].match = -1;
        }
        const auto plain = [&](const TrackedObject& o, int d) {
            const double gx = grown_ * o.motion.w.x, gy = grown_ * o.motion.h.x;
            const double value = overlap(o.box, boxes[d], gx, gy);
            return settings.height_overlap ? value * height_overlap(o.box, boxes[d], gy) : value;
        };
        const auto fused = [&](const TrackedObject& o, int d) {
            double value = plain(o, d) * scores[d];
            if (settings.score_weight > 0)
                value -= settings.score_weight * std::abs(static_cast<double>(o.score) - scores[d]);
            if (settings.momentum > 0) value += settings.momentum * direction_consistency(o, boxes[d]) * scores[d];
            return value;
        };
        const auto last = [&](const TrackedObject& o, int d) { return overlap(o.last_box, boxes[d]) * scores[d]; };
        select([&](std::size_t i) { return objects[i].confirmed; });
        associate(high_, boxes, labels, fused, settings.match_thresh, &TrackedObject::box);
        if (settings.common_shift && lost_sight(boxes) && shift_suddenly(boxes))
            associate(high_, boxes, labels, fused, settings.match_thresh, &TrackedObject::box);
        apply(boxes, scores, labels, time);
        if (settings.common_shift) shift_unseen();
        select([&](std::size_t i) { return objects[i].confirmed; });
        associate(low_, boxes, labels, plain, settings.second_match_thresh, &TrackedObject::box);
        apply(boxes, scores, labels, time);
        if (settings.observation_centric) {
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
    double time_ = 0, grown_ = 0, foot_ = 0;
    std::vector<int> high_, low_, rows_, order_;
    std::vector<char> free_, taken_, tracked_before_;
    std::vector<Pair> pairs_;
    std::vector<std::pair<int, int>> matched_;
    struct Surprise {
        double x, y, vx, vy;
    };
    std::vector<Surprise> surprises_;  // of tracked objects that matched: what the update changed
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

    // Matches the selected objects with the detections of `pool` that are not taken yet. The foot only ranks
    // the pairs that are similar enough.
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
            const double gx = 2 * grown_ * o.motion.w.x, gy = 2 * grown_ * o.motion.h.x;
            const double left = b.x1 - gx, right = b.x2 + gx, top = b.y1 - gy, bottom = b.y2 + gy;
            auto from = std::lower_bound(order_.begin(), order_.end(), left - widest,
                                         [&](int d, double x) { return boxes[d].x1 < x; });
            for (; from != order_.end() && boxes[*from].x1 < right; ++from) {
                const int d = *from;
                if (boxes[d].x2 <= left || boxes[d].y2 <= top || boxes[d].y1 >= bottom) continue;
                if (settings.class_aware && labels[d] != o.label) continue;
                double weight = similarity(o, d) - min_similarity;
                if (!(weight > 0)) continue;
                if (foot_ > 0) {
                    const double step = std::abs(static_cast<double>(o.box.y2) - boxes[d].y2) / o.motion.h.x;
                    weight = std::max(weight - foot_ * step, kLeastShare * weight);
                }
                pairs_.push_back({static_cast<int>(r), static_cast<int>(from - order_.begin()), weight});
            }
        }
        assignment_.solve(static_cast<int>(rows_.size()), static_cast<int>(order_.size()), pairs_, matched_);
    }

    // Whether less than half of the tracked objects, three at least, found a detection near their prediction.
    bool lost_sight(const Box* boxes) const {
        const auto tracked = std::count(tracked_before_.begin(), tracked_before_.end(), 1);
        std::ptrdiff_t near = 0;
        for (const auto& [r, c] : matched_)
            near += tracked_before_[rows_[r]] && overlap(objects[rows_[r]].box, boxes[order_[c]]) >= 0.3;
        return tracked >= 3 && 2 * near < tracked;
    }

    // The step to detections of like size that most tracked objects have in common moves all objects.
    bool shift_suddenly(const Box* boxes) {
        struct Step {
            double x, y;
            std::pair<std::int64_t, std::int64_t> cell;
        };
        std::vector<Step> steps;
        std::vector<double> heights;
        std::vector<int> voters;
        for (std::size_t i = 0; i < objects.size() && voters.size() < kVoters; ++i)
            if (tracked_before_[i]) voters.push_back(static_cast<int>(i));
        for (int i : voters) heights.push_back(objects[i].motion.h.x);
        const double cell = median(heights) / 4;
        std::map<std::pair<std::int64_t, std::int64_t>, std::size_t> counts;
        for (int i : voters) {
            const Motion& m = objects[i].motion;
            for (int d : high_) {
                const Box& b = boxes[d];
                const double w = static_cast<double>(b.x2) - b.x1, h = static_cast<double>(b.y2) - b.y1;
                if (!alike(m.w.x, w) || !alike(m.h.x, h)) continue;
                const double x = b.center_x() - m.cx.x, y = b.center_y() - m.cy.x;
                steps.push_back({x, y, {static_cast<std::int64_t>(std::floor(x / cell + 0.5)),
                                        static_cast<std::int64_t>(std::floor(y / cell + 0.5))}});
                ++counts[steps.back().cell];
            }
        }
        const auto around = [&](std::int64_t i, std::int64_t j) {
            std::size_t sum = 0;
            for (int a = -1; a <= 1; ++a)
                for (int b = -1; b <= 1; ++b)
                    if (const auto found = counts.find({i + a, j + b}); found != counts.end()) sum += found->second;
            return sum;
        };
        std::size_t most = around(0, 0);
        std::pair<std::int64_t, std::int64_t> best{0, 0};
        for (const auto& entry : counts)
            if (const std::size_t n = around(entry.first.first, entry.first.second); n > most) {
                most = n;
                best = entry.first;
            }
        if (2 * most < voters.size() || best == std::pair<std::int64_t, std::int64_t>{0, 0}) return false;
        std::vector<double> xs, ys;
        for (const Step& s : steps)
            if (std::abs(s.cell.first - best.first) <= 1 && std::abs(s.cell.second - best.second) <= 1) {
                xs.push_back(s.x);
                ys.push_back(s.y);
            }
        const double x = median(xs), y = median(ys);
        for (TrackedObject& o : objects) o.shift(x, y, 0, 0);
        return true;
    }

    static bool alike(double a, double b) { return std::min(a, b) >= 0.78 * std::max(a, b); }

    // Objects without a detection follow what surprised most others, if three agree beyond chance.
    void shift_unseen() {
        if (surprises_.size() < 3) return;
        const auto n = surprises_.size();
        const auto common = [&](double Surprise::*what, bool& sure) {
            std::vector<double> values;
            for (const Surprise& s : surprises_) values.push_back(s.*what);
            const double middle = median(values);
            for (double& v : values) v = std::abs(v - middle);
            sure = std::abs(middle) >= kCertain * median(values) / std::sqrt(static_cast<double>(n));
            return middle;
        };
        bool sure_x, sure_y, any;
        const double x = common(&Surprise::x, sure_x), y = common(&Surprise::y, sure_y);
        if (!sure_x && !sure_y) return;
        const double vx = common(&Surprise::vx, any), vy = common(&Surprise::vy, any);
        for (std::size_t i = 0; i < objects.size(); ++i)
            if (free_[i]) objects[i].shift(sure_x ? x : 0, sure_y ? y : 0, sure_x ? vx : 0, sure_y ? vy : 0);
    }

    // How far the step to the detection keeps to the object's direction of travel: 1/2 along it, 0 across,
    // -1/2 against it (OC-SORT's OCM).
    static double direction_consistency(const TrackedObject& o, const Box& b) {
        if (o.recent.size() < 2) return 0;
        const Box &p = o.recent.front().box, &q = o.recent.back().box;
        const double ax = q.center_x() - p.center_x(), ay = q.center_y() - p.center_y();
        const double bx = b.center_x() - q.center_x(), by = b.center_y() - q.center_y();
        const double norm = std::sqrt((ax * ax + ay * ay) * (bx * bx + by * by));
        return norm > 1e-9 ? 0.5 - std::acos(std::clamp((ax * bx + ay * by) / norm, -1.0, 1.0)) / kPi : 0;
    }

    void apply(const Box* boxes, const float* scores, const std::int32_t* labels, double time) {
        surprises_.clear();
        for (const auto& [r, c] : matched_) {
            const int i = rows_[r], d = order_[c];
            TrackedObject& o = objects[i];
            const Axis x = o.motion.cx, y = o.motion.cy;
            update_object(o, boxes[d], scores[d], labels[d], d, time);
            if (settings.common_shift && tracked_before_[i])
                surprises_.push_back({o.motion.cx.x - x.x, o.motion.cy.x - y.x, o.motion.cx.v - x.v, o.motion.cy.v - y.v});
            free_[i] = 0;
            taken_[d] = 1;
        }
    }

    void update_object(TrackedObject& o, const Box& b, float score, std::int32_t label, int d, double time) {
        if (settings.observation_centric && time - o.last_time > 1.5 / kReferenceRate && o.last_time < time_)
            re_update(o, b, time);
        o.motion.update(b);
        o.box = settings.observed_boxes ? b : o.motion.box();
        o.last_box = b;
        if (settings.momentum > 0) record(o, b, time);
        vote(o, label, score, time - o.last_time);
        o.score = score;
        o.match = d;
        o.last_time = time;
        if (time - o.start_time >= settings.confirm_after_s) o.confirmed = true;
        if (settings.observation_centric) o.at_observation = o.motion;
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
            o.motion.update(between);
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
