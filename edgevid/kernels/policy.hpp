// The abstain policy: class evidence of each track, and a verdict or the reason for abstaining.
//
// Frame probabilities p are tempered (p^(1/T), normalized) and gathered over the track with weights that
// fade with `memory_s`. Observations of one track are not independent: n of them with correlation rho count
// as n / (1 + (n - 1) rho) (the design effect of cluster sampling), and that many times the mean log p is
// the log evidence. The sequential mode is Wald's test with a damped step and hysteresis.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <unordered_map>
#include <vector>

namespace edgevid {

struct PolicySettings {
    double aggregate = 0;  // 0 mean log p, 1 vote, 2 sequential
    double temperature = 1, correlation = 0.35, memory_s = std::numeric_limits<double>::infinity();
    double margin = 0, min_agreement = 0, min_observations = 1, min_seconds = 0, min_side_px = 0;
    double stale_s = std::numeric_limits<double>::infinity();
    double gap = 2.9444389791664403, step = 0.35, take = 0.55, drop = 0.35, ema_s = 1;  // sequential
};

namespace policy_reason {  // values of edgevid.types.Reason
constexpr std::uint8_t kOk = 0, kShort = 1, kSmall = 2, kLow = 3, kMargin = 4, kDisagree = 5, kStale = 6,
                       kNotMeasured = 12;
}

struct TrackEvidence {
    std::uint64_t frame = 0;
    std::int64_t count = 0;
    double first = 0, last = 0, weight = 0;
    bool small = false, fresh = false, decided_once = false;
    int decided = -1;
    std::vector<double> sums, votes, ema;  // by class: log p, votes, running mean
    int best = -1;                         // what was concluded from them
    float confidence = 0, second = 0, agreement = 0;
};

class PolicyCore {
   public:
    PolicyCore(const PolicySettings& settings, const float* thresholds, int classes)
        : s_(settings), thresholds_(thresholds, thresholds + classes), classes_(classes), log_(classes), p_(classes) {}

    void reset() {
        tracks_.clear();
        rejected_ = 0;
    }
    std::int64_t rejected() const { return rejected_; }
    int classes() const { return classes_; }

    void update(int n, const std::int64_t* ids, const float* boxes, int m, const std::int64_t* score_ids,
                const float* values, const double* times, double time, std::int32_t* labels, float* confidence,
                std::uint8_t* reasons) {
        check(m, values);
        ++frame_;
        rows_.resize(n);
        for (int i = 0; i < n; ++i) {
            TrackEvidence& t = tracks_[ids[i]];
            const float* b = boxes + 4 * i;
            t.frame = frame_;
            t.small = std::min(b[2] - b[0], b[3] - b[1]) < static_cast<float>(s_.min_side_px);
            rows_[i] = &t;
        }
        if (tracks_.size() > static_cast<std::size_t>(n)) remove_gone();
        for (int j = 0; j < m; ++j) {
            const float* p = values + static_cast<std::ptrdiff_t>(j) * classes_;
            if (!finite(p)) {
                ++rejected_;
                continue;
            }
            const auto found = tracks_.find(score_ids[j]);
            if (found != tracks_.end() && !found->second.small) observe(found->second, p, times[j]);
        }
        for (int i = 0; i < n; ++i) {
            reasons[i] = verdict(*rows_[i], time);
            labels[i] = reasons[i] == policy_reason::kOk ? rows_[i]->best : -1;
            confidence[i] = rows_[i]->confidence;
        }
    }

    // Class probabilities that the gathered evidence gives; NaN for a track without any.
    void probabilities(int n, const std::int64_t* ids, double* out) {
        for (int i = 0; i < n; ++i, out += classes_) {
            const auto found = tracks_.find(ids[i]);
            if (found == tracks_.end() || found->second.count == 0) {
                std::fill(out, out + classes_, std::numeric_limits<double>::quiet_NaN());
                continue;
            }
            posterior(found->second);
            std::copy(p_.begin(), p_.end(), out);
        }
    }

   private:
    bool finite(const float* p) const {
        float sum = 0;  // infinities and NaN do not cancel in a sum with checks on its size
        for (int c = 0; c < classes_; ++c) sum += p[c];
        return std::isfinite(sum);
    }

    void check(int m, const float* values) const {
        for (int j = 0; j < m; ++j) {
            const float* p = values + static_cast<std::ptrdiff_t>(j) * classes_;
            if (!finite(p)) continue;
            float sum = 0, low = 0;
            for (int c = 0; c < classes_; ++c) {
                sum += p[c];
                low = std::min(low, p[c]);
            }
            if (low < -1e-4f || std::abs(sum - 1) > 1e-2f)
                throw std::invalid_argument("expected probabilities that sum to 1");
        }
    }

    void remove_gone() {
        for (auto it = tracks_.begin(); it != tracks_.end();)
            it = it->second.frame == frame_ ? std::next(it) : tracks_.erase(it);
    }

    void temper(const float* p) {  // into log_
        const double scale = 1 / s_.temperature;
        for (int c = 0; c < classes_; ++c) log_[c] = scale * std::log(std::max(p[c], 1e-12f));
        if (s_.temperature == 1) return;
        double sum = 0;
        for (int c = 0; c < classes_; ++c) sum += std::exp(static_cast<float>(log_[c]));
        const double whole = std::log(sum);
        for (int c = 0; c < classes_; ++c) log_[c] -= whole;
    }

    void observe(TrackEvidence& t, const float* p, double time) {
        if (t.count == 0) {
            t.sums.assign(classes_, 0);
            t.votes.assign(classes_, 0);
            t.first = time;
        } else if (time > t.last && std::isfinite(s_.memory_s)) {
            const double keep = std::exp(-(time - t.last) / s_.memory_s);
            t.weight *= keep;
            for (int c = 0; c < classes_; ++c) t.votes[c] *= keep;
            if (s_.aggregate != 2)
                for (int c = 0; c < classes_; ++c) t.sums[c] *= keep;
        }
        temper(p);
        t.votes[std::max_element(p, p + classes_) - p] += 1;
        t.weight += 1;
        if (s_.aggregate == 2)
            test(t, time);
        else
            for (int c = 0; c < classes_; ++c) t.sums[c] += log_[c];
        t.last = t.count ? std::max(t.last, time) : time;
        ++t.count;
        t.fresh = true;
    }

    void test(TrackEvidence& t, double time) {
        if (t.count == 0) t.ema.assign(classes_, 0);
        const double rate = t.count == 0 ? 1 : 1 - std::exp(-std::max(0.0, time - t.last) / s_.ema_s);
        for (int c = 0; c < classes_; ++c) t.ema[c] += rate * (std::exp(log_[c]) - t.ema[c]);
        if (t.decided >= 0 && t.ema[t.decided] < s_.drop) {  // contradicted: open again, from the running mean
            t.decided = -1;
            for (int c = 0; c < classes_; ++c) t.sums[c] = s_.step * std::log(std::max(t.ema[c], 1e-12));
        } else if (t.decided < 0) {
            for (int c = 0; c < classes_; ++c) t.sums[c] += s_.step * log_[c];
        }
        if (t.decided >= 0) return;
        const int best = static_cast<int>(std::max_element(t.sums.begin(), t.sums.end()) - t.sums.begin());
        double second = -std::numeric_limits<double>::infinity();
        for (int c = 0; c < classes_; ++c)
            if (c != best) second = std::max(second, t.sums[c]);
        const bool sure = t.sums[best] - second >= s_.gap;
        if (sure && (!t.decided_once || t.ema[best] > s_.take)) {
            t.decided = best;
            t.decided_once = true;
        }
    }

    void posterior(const TrackEvidence& t) {  // into p_
        if (s_.aggregate == 1) {
            for (int c = 0; c < classes_; ++c) p_[c] = t.votes[c] / t.weight;
            return;
        }
        const double factor = s_.aggregate == 2 ? 1 : 1 / (1 + std::max(0.0, t.weight - 1) * s_.correlation);
        const double top = *std::max_element(t.sums.begin(), t.sums.end());
        double sum = 0;
        for (int c = 0; c < classes_; ++c) {
            const double x = factor * (t.sums[c] - top);
            p_[c] = x < -30 ? 0 : std::exp(static_cast<float>(x));
            sum += p_[c];
        }
        for (int c = 0; c < classes_; ++c) p_[c] /= sum;
    }

    void conclude(TrackEvidence& t) {
        posterior(t);
        const int top = static_cast<int>(std::max_element(p_.begin(), p_.end()) - p_.begin());
        t.best = s_.aggregate == 2 && t.decided >= 0 ? t.decided : top;
        double second = 0;
        for (int c = 0; c < classes_; ++c)
            if (c != t.best) second = std::max(second, p_[c]);
        t.confidence = static_cast<float>(p_[t.best]);
        t.second = static_cast<float>(second);
        t.agreement = static_cast<float>(t.votes[t.best] / t.weight);
        t.fresh = false;
    }

    std::uint8_t verdict(TrackEvidence& t, double time) {
        using namespace policy_reason;
        if (t.fresh) conclude(t);
        if (t.small) return kSmall;
        if (t.count == 0) return kNotMeasured;
        if (t.count < s_.min_observations || t.last - t.first < s_.min_seconds) return kShort;
        if (time - t.last > s_.stale_s) return kStale;
        if (t.agreement < static_cast<float>(s_.min_agreement)) return kDisagree;
        if (s_.aggregate == 2 && t.decided < 0) return kMargin;
        if (t.confidence < thresholds_[t.best]) return kLow;
        if (t.confidence - t.second < static_cast<float>(s_.margin)) return kMargin;
        return kOk;
    }

    PolicySettings s_;
    std::vector<float> thresholds_;
    int classes_;
    std::vector<double> log_, p_;
    std::unordered_map<std::int64_t, TrackEvidence> tracks_;
    std::vector<TrackEvidence*> rows_;
    std::uint64_t frame_ = 0;
    std::int64_t rejected_ = 0;
};

}  // namespace edgevid
