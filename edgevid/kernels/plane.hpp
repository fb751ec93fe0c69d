// Speed over the ground: a constant-velocity filter on the plane whose measurements are pixels.
//
// State X, Y, VX, VY in metres; measurement the contact pixel through the homography, linearised at the
// predicted point (linearising at the measured one would correlate its noise with its weight). Pixel noise
// is inflated by 2 tau / dt because box errors are correlated in time, so results do not depend on the
// frame rate. A Rauch-Tung-Striebel pass over the last `lag_s` seconds gives the settled value.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <unordered_map>
#include <vector>

namespace edgevid {

struct Mat4 {
    double a[16] = {};
    double& operator()(int r, int c) { return a[4 * r + c]; }
    double operator()(int r, int c) const { return a[4 * r + c]; }
};

inline Mat4 multiply(const Mat4& x, const Mat4& y) {
    Mat4 out;
    for (int r = 0; r < 4; ++r)
        for (int k = 0; k < 4; ++k)
            for (int c = 0; c < 4; ++c) out(r, c) += x(r, k) * y(k, c);
    return out;
}

inline Mat4 transposed(const Mat4& x) {
    Mat4 out;
    for (int r = 0; r < 4; ++r)
        for (int c = 0; c < 4; ++c) out(r, c) = x(c, r);
    return out;
}

// Inverse of a symmetric positive definite matrix by Gauss-Jordan.
inline Mat4 inverse(Mat4 m) {
    Mat4 out;
    for (int i = 0; i < 4; ++i) out(i, i) = 1;
    for (int i = 0; i < 4; ++i) {
        const double pivot = 1 / m(i, i);
        for (int c = 0; c < 4; ++c) {
            m(i, c) *= pivot;
            out(i, c) *= pivot;
        }
        for (int r = 0; r < 4; ++r) {
            if (r == i) continue;
            const double f = m(r, i);
            for (int c = 0; c < 4; ++c) {
                m(r, c) -= f * m(i, c);
                out(r, c) -= f * out(i, c);
            }
        }
    }
    return out;
}

struct PlaneSettings {
    double process_noise = 1.0;   // m^2/s^3
    double velocity_prior = 40.0;  // m/s
    double correlation_s = 0.05;   // tau of the pixel noise
    double lag_s = 0.5;            // settled values are this late
    double gate = 9.21;            // chi-square of 2, 99 %
    double still_gate = 5.99;      // chi-square of 2, 95 %
    double hindsight_gate = 11.8;  // chi-square of 2, 99.7 %: a settled value contradicts the live verdict
};

struct PlaneState {
    double x[4] = {};
    Mat4 p;
};

struct PlaneStep {
    double time = 0;
    double dt = 0;  // from the step before
    PlaneState now, predicted;
};

struct PlaneTrack {
    std::int64_t id = 0;
    std::deque<PlaneStep> steps;  // those not settled yet, and the newest
    double first_seen = 0, last_seen = 0, still_since = 0;
    int seen = 0, far = 0;
    bool fresh = true;
};

struct PlaneRow {
    std::int64_t id;
    double time, vx, vy, variance, still_for, age, unseen;
    int seen;
};

class PlaneCore {
  public:
    PlaneSettings settings;
    std::unordered_map<std::int64_t, PlaneTrack> tracks;

    // `to_ground` and `to_image` are row-major 3x3 homographies, inverse to each other.
    PlaneCore(const PlaneSettings& s, const double* to_ground, const double* to_image) : settings(s) {
        std::copy(to_ground, to_ground + 9, ground_);
        std::copy(to_image, to_image + 9, image_);
    }

    void reset() { tracks.clear(); }

    // One moment: rows of ids, contact pixels, pixel noise and whether each was measured. Fills one live row
    // for each, and the rows that settle now; forgets the tracks that are not named.
    void update(int n, const std::int64_t* ids, const double* contacts, const double* noise,
                const std::uint8_t* measured, double time, std::vector<PlaneRow>& live,
                std::vector<PlaneRow>& settled) {
        forget(n, ids, settled);
        for (int i = 0; i < n; ++i) {
            auto found = tracks.find(ids[i]);
            if (found == tracks.end()) {
                if (!measured[i]) {
                    live.push_back({ids[i], time, 0, 0, -1, 0, 0, 0, 0});
                    continue;
                }
                found = tracks.emplace(ids[i], PlaneTrack{}).first;
                found->second.id = ids[i];
                begin(found->second, contacts + 2 * i, noise[i], time);
            } else {
                step(found->second, contacts + 2 * i, noise[i], measured[i] != 0, time);
            }
            live.push_back(row(found->second, found->second.steps.back(), found->second.steps.back().now));
            settle(found->second, time - settings.lag_s, settled);
        }
    }

  private:
    double ground_[9], image_[9];

    static void project(const double* h, double x, double y, double* out, double* jacobian) {
        const double w = h[6] * x + h[7] * y + h[8];
        out[0] = (h[0] * x + h[1] * y + h[2]) / w;
        out[1] = (h[3] * x + h[4] * y + h[5]) / w;
        for (int r = 0; r < 2; ++r)
            for (int c = 0; c < 2; ++c) jacobian[2 * r + c] = (h[3 * r + c] - out[r] * h[6 + c]) / w;
    }

    void pixel_noise(double noise, double gap, double* r) const {
        const double f = gap > 0 ? std::max(1.0, 2 * settings.correlation_s / gap) : 1.0;
        r[0] = f * noise * noise / 2;  // u is the mean of two edges
        r[1] = f * noise * noise;
    }

    void begin(PlaneTrack& t, const double* contact, double noise, double time) {
        double place[2], j[4], r[2];
        project(ground_, contact[0], contact[1], place, j);
        pixel_noise(noise, 1.0 / 30, r);
        PlaneStep s;
        s.time = time;
        s.now.x[0] = place[0];
        s.now.x[1] = place[1];
        for (int a = 0; a < 2; ++a)
            for (int b = 0; b < 2; ++b) s.now.p(a, b) = j[2 * a] * r[0] * j[2 * b] + j[2 * a + 1] * r[1] * j[2 * b + 1];
        s.now.p(2, 2) = s.now.p(3, 3) = settings.velocity_prior * settings.velocity_prior;
        s.predicted = s.now;
        t.steps.assign(1, s);
        t.first_seen = t.last_seen = t.still_since = time;
        t.seen = 1;
        t.far = 0;
    }

    static Mat4 motion(double dt) {
        Mat4 f;
        for (int i = 0; i < 4; ++i) f(i, i) = 1;
        f(0, 2) = f(1, 3) = dt;
        return f;
    }

    PlaneState predict(const PlaneState& s, double dt) const {
        PlaneState out;
        const Mat4 f = motion(dt);
        for (int i = 0; i < 4; ++i) out.x[i] = s.x[i];
        out.x[0] += dt * s.x[2];
        out.x[1] += dt * s.x[3];
        out.p = multiply(multiply(f, s.p), transposed(f));
        const double q = settings.process_noise;
        for (int i = 0; i < 2; ++i) {
            out.p(i, i) += q * dt * dt * dt / 3;
            out.p(i, i + 2) += q * dt * dt / 2;
            out.p(i + 2, i) += q * dt * dt / 2;
            out.p(i + 2, i + 2) += q * dt;
        }
        return out;
    }

    void step(PlaneTrack& t, const double* contact, double noise, bool measured, double time) {
        PlaneStep s;
        s.time = time;
        s.dt = time - t.steps.back().time;
        s.predicted = predict(t.steps.back().now, s.dt);
        s.now = s.predicted;
        if (measured && !correct(t, s.now, contact, noise, time - t.last_seen)) {
            begin(t, contact, noise, time);  // it is somewhere else for good: another object, or a jump
            return;
        }
        if (measured) {
            t.last_seen = time;
            ++t.seen;
        }
        t.steps.push_back(s);
        if (moving(s.now, settings.still_gate)) t.still_since = time;
    }

    // The measurement update in Joseph's form; false where five in a row were far out.
    bool correct(PlaneTrack& t, PlaneState& s, const double* contact, double noise, double gap) const {
        double seen[2], j[4], r[2];
        project(image_, s.x[0], s.x[1], seen, j);
        pixel_noise(noise, gap, r);
        double ph[8];  // P H^T, 4x2
        for (int i = 0; i < 4; ++i)
            for (int m = 0; m < 2; ++m) ph[2 * i + m] = s.p(i, 0) * j[2 * m] + s.p(i, 1) * j[2 * m + 1];
        double c[4];
        const auto innovate = [&] {
            for (int a = 0; a < 2; ++a)
                for (int b = 0; b < 2; ++b)
                    c[2 * a + b] = j[2 * a] * ph[b] + j[2 * a + 1] * ph[2 + b] + (a == b ? r[a] : 0);
        };
        innovate();
        const double e0 = contact[0] - seen[0], e1 = contact[1] - seen[1];
        double det = c[0] * c[3] - c[1] * c[2];
        const double nis = (e0 * e0 * c[3] - e0 * e1 * (c[1] + c[2]) + e1 * e1 * c[0]) / det;
        t.far = nis > 25 ? t.far + 1 : 0;
        if (t.far >= 5 || !std::isfinite(nis)) return false;
        if (nis > settings.gate) {
            r[0] *= nis / settings.gate;
            r[1] *= nis / settings.gate;
            innovate();
            det = c[0] * c[3] - c[1] * c[2];
        }
        double k[8];
        for (int i = 0; i < 4; ++i) {
            k[2 * i] = (ph[2 * i] * c[3] - ph[2 * i + 1] * c[2]) / det;
            k[2 * i + 1] = (-ph[2 * i] * c[1] + ph[2 * i + 1] * c[0]) / det;
            s.x[i] += k[2 * i] * e0 + k[2 * i + 1] * e1;
        }
        Mat4 ikh;
        for (int i = 0; i < 4; ++i) {
            ikh(i, i) = 1;
            for (int m = 0; m < 2; ++m) ikh(i, m) -= k[2 * i] * j[m] + k[2 * i + 1] * j[2 + m];
        }
        s.p = multiply(multiply(ikh, s.p), transposed(ikh));
        for (int a = 0; a < 4; ++a)
            for (int b = 0; b < 4; ++b)
                s.p(a, b) += k[2 * a] * r[0] * k[2 * b] + k[2 * a + 1] * r[1] * k[2 * b + 1];
        return true;
    }

    bool moving(const PlaneState& s, double gate) const {
        const double a = s.p(2, 2), b = s.p(2, 3), d = s.p(3, 3);
        const double chi = (s.x[2] * s.x[2] * d - 2 * s.x[2] * s.x[3] * b + s.x[3] * s.x[3] * a) / (a * d - b * b);
        return chi >= gate;
    }

    PlaneRow row(const PlaneTrack& t, const PlaneStep& at, const PlaneState& s) const {
        const double v = std::hypot(s.x[2], s.x[3]);
        double variance = std::max(s.p(2, 2), s.p(3, 3));
        if (v > 1e-9) {
            const double ux = s.x[2] / v, uy = s.x[3] / v;
            variance = ux * ux * s.p(2, 2) + 2 * ux * uy * s.p(2, 3) + uy * uy * s.p(3, 3);
        }
        return {t.id, at.time, s.x[2], s.x[3], variance, at.time - t.still_since, at.time - t.first_seen,
                at.time - t.last_seen, t.seen};
    }

    // Smooths back from the newest step and hands out every step older than `limit`; keeps the others.
    void settle(PlaneTrack& t, double limit, std::vector<PlaneRow>& out) const {
        if (t.steps.size() < 2 || t.steps.front().time > limit) return;
        std::vector<PlaneState> smooth(t.steps.size());
        smooth.back() = t.steps.back().now;
        for (int i = static_cast<int>(t.steps.size()) - 2; i >= 0; --i)
            smooth[i] = back(t.steps[i].now, t.steps[i + 1], smooth[i + 1]);
        std::size_t i = 0;
        while (i + 1 < t.steps.size() && t.steps[i].time <= limit) {
            out.push_back(row(t, t.steps[i], smooth[i]));
            // In hindsight it stood (from then until now), moved (-1), or it cannot be told (-2).
            const bool stood = t.steps[i].time >= t.still_since;
            if (!stood || moving(smooth[i], settings.hindsight_gate)) out.back().still_for = -1;
            else if (moving(smooth[i], settings.still_gate)) out.back().still_for = -2;
            else out.back().still_for = t.steps.back().time - t.still_since;
            ++i;
        }
        t.steps.erase(t.steps.begin(), t.steps.begin() + i);
    }

    static PlaneState back(const PlaneState& now, const PlaneStep& next, const PlaneState& smooth) {
        const Mat4 f = motion(next.dt);
        const Mat4 c = multiply(multiply(now.p, transposed(f)), inverse(next.predicted.p));
        PlaneState out = now;
        Mat4 d;
        for (int i = 0; i < 16; ++i) d.a[i] = smooth.p.a[i] - next.predicted.p.a[i];
        for (int r = 0; r < 4; ++r)
            for (int k = 0; k < 4; ++k) out.x[r] += c(r, k) * (smooth.x[k] - next.predicted.x[k]);
        const Mat4 add = multiply(multiply(c, d), transposed(c));
        for (int i = 0; i < 16; ++i) out.p.a[i] += add.a[i];
        return out;
    }

    void forget(int n, const std::int64_t* ids, std::vector<PlaneRow>& settled) {
        for (auto it = tracks.begin(); it != tracks.end();) {
            if (std::find(ids, ids + n, it->first) != ids + n) {
                ++it;
                continue;
            }
            settle(it->second, std::numeric_limits<double>::infinity(), settled);
            it = tracks.erase(it);
        }
    }
};

}  // namespace edgevid
