// Speed over the ground: a constant-velocity filter on the plane whose measurements are pixels.
//
// State X, Y, VX, VY in meters; measurement the contact pixel through the homography, linearized at the
// predicted point (linearizing at the measured one would correlate its noise with its weight). Pixel noise
// is inflated by 2 tau / dt because box errors are correlated in time, so results do not depend on the
// frame rate. The smoothed value is the fixed-interval smoother over the last `lag_s` seconds, in the form of
// Bryson and Frazier (1963; Bierman 1973): it equals the Rauch-Tung-Striebel pass of the reference, and
// needs no inverse and only the two columns of I - K H that differ from the identity.
//
// The live value is a mixture of two more filters, one for constant speeds and one whose acceleration fades over
// kManeuverS (Singer 1970), weighted by how well each explains the sightings and by how often traffic changes its
// speed: the interacting multiple model (Blom and Bar-Shalom 1988). The errors of the boxes are the first-order Markov
// noise that they are: both measure the difference of a contact pixel and `rho` times the one before, whose errors
// are independent (Bryson and Henrikson 1968). What the two differ by is part of the error.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace edgevid {

struct Mat4 {
    double a[16] = {};
    double& operator()(int r, int c) { return a[4 * r + c]; }
    double operator()(int r, int c) const { return a[4 * r + c]; }
};

struct PlaneSettings {
    double process_noise = 1.0;   // m^2/s^3
    double velocity_prior = 40.0;  // m/s
    double correlation_s = 0.05;   // tau of the pixel noise
    double lag_s = 0.5;            // smoothed values are this late
    double gate = 9.21;            // chi-square of 2, 99 %
    double stationary_gate = 5.99;      // chi-square of 2, 95 %
    double smoothed_gate = 16.0;  // chi-square of 2, 99.97 %: a smoothed value contradicts the live verdict
    double steady_noise = 0;  // m^2/s^3, process noise of the live value's models; 0: there are none
    double acceleration = 2.5;  // m/s^2, standard deviation of one that begins
    double changes = 0.2;  // a second: a constant speed begins to change
    double slow_correlation_s = 0;  // more of the correlation time of an object that hardly moves in the image
    double steady_correlation_s = 0.15;  // correlation time of the errors of boxes
    double lost_after_s = 0;  // a track that is not named for longer has ended
    double max_observations = 2048;  // kept of one track for its track speed; beyond, every second one is dropped
};

constexpr double kUnmeasured = -1, kMoving = -1, kUndecided = -2;  // as plane_columns.py says
constexpr double kOutlierGate = 25;  // chi-square of 2, 5 standard errors
constexpr double kMinSightings = 5, kPi = 3.14159265358979323846;
constexpr int kOutliersInARow = 5;   // a jump
constexpr double kCalms = 0.5;  // share of `changes` a second with which a changing speed is constant again
constexpr double kSlowPx = 5;   // standard errors of a box edge that an object moves in a second, up to which it is slow
constexpr double kManeuverS = 2;  // memory of an acceleration
constexpr double kSure = 0.15;    // a model of this probability or more counts with its whole variance
constexpr double kStands = 0.5;   // seconds at rest from which on an object stands
constexpr double kPriorScale = 5;  // sightings that the given noise counts for
constexpr double kSizeS = 1.0, kSizeGate = 4, kSizeNoise = 0.7;  // memory of a box's height; its jumps, and the foot's share

struct PlaneState {
    double x[4] = {};
    Mat4 p;
};

// One measurement's update, kept for the smoother: I - K H differs from the identity in two columns only.
struct MeasurementUpdate {
    bool measured = false;
    double rest[8] = {};  // (4, 2): the first two columns of I - K H
    double score[2] = {};  // J^T S^-1 e
    double weight[3] = {};  // J^T S^-1 J: xx, xy, yy
};

struct PlaneStep {
    double time = 0;
    double dt = 0;  // from the step before
    PlaneState now;
    MeasurementUpdate measurement_update;
};

struct Observation {
    double time, u, v, noise;  // noise 0: it was detected, but could not be measured
};

// State X, Y, VX, VY, AX, AY; a constant speed has no acceleration.
struct ModelState {
    double x[6] = {}, p[6][6] = {};
};

struct Velocity {
    double x = 0, y = 0, xx = 0, xy = 0, yy = 0;  // and its covariance
    double along(double vx, double vy) const {
        const double v = vx * vx + vy * vy;
        return v > 1e-18 ? (vx * vx * xx + 2 * vx * vy * xy + vy * vy * yy) / v : std::max(xx, yy);
    }
    bool moving(double gate) const { return (x * x * yy - 2 * x * y * xy + y * y * xx) / (xx * yy - xy * xy) >= gate; }
};

// Constant and changing speed, how probable each is, and the sighting before.
struct Mixture {
    ModelState model[2];
    double weight[2] = {kCalms / (kCalms + 1), 1 / (kCalms + 1)};
    double time = 0, z[2] = {};
    double nis = 0;  // sum over `count`
    int count = 0;

    double scale() const { return (kPriorScale + nis / 2) / (kPriorScale + count); }  // of the noise's variance

    Velocity velocity(int k) const {  // of one model around the mixture's mean, which has its place
        const ModelState& m = model[k];
        Velocity v;
        for (int i = 0; i < 2; ++i) {
            v.x += weight[i] * model[i].x[2];
            v.y += weight[i] * model[i].x[3];
        }
        const double dx = m.x[2] - v.x, dy = m.x[3] - v.y;
        v.xx = m.p[2][2] + dx * dx;
        v.xy = m.p[3][2] + dx * dy;
        v.yy = m.p[3][3] + dy * dy;
        return v;
    }

    Velocity velocity() const {
        Velocity v = velocity(0);
        const Velocity other = velocity(1);
        v.xx = weight[0] * v.xx + weight[1] * other.xx;
        v.xy = weight[0] * v.xy + weight[1] * other.xy;
        v.yy = weight[0] * v.yy + weight[1] * other.yy;
        return v;
    }

    // Either model may have begun, with an acceleration of that standard deviation; then both go on.
    void predict(double dt, double noise, double acceleration, double changes) {
        const double there = -std::expm1(-changes * dt), back = -std::expm1(-kCalms * changes * dt);
        const double joint[2][2] = {{weight[0] * (1 - there), weight[0] * there}, {weight[1] * back, weight[1] * (1 - back)}};
        const ModelState before[2] = {model[0], model[1]};
        for (int k = 0; k < 2; ++k) {
            weight[k] = joint[0][k] + joint[1][k];
            const double share[2] = {joint[0][k] / weight[k], joint[1][k] / weight[k]};
            ModelState& m = model[k];
            const int n = k == 0 ? 4 : 6;
            for (int a = 0; a < n; ++a) m.x[a] = a < 4 ? share[0] * before[0].x[a] + share[1] * before[1].x[a] : share[1] * before[1].x[a];
            double off[2][6] = {};
            for (int i = 0; i < 2; ++i)
                for (int a = 0; a < n; ++a) off[i][a] = (i == 0 && a >= 4 ? 0 : before[i].x[a]) - m.x[a];
            for (int a = 0; a < n; ++a)
                for (int b = 0; b <= a; ++b) {
                    const double begun = a < 4 ? before[0].p[a][b] : a == b ? acceleration * acceleration : 0;
                    m.p[a][b] = m.p[b][a] = share[0] * (begun + off[0][a] * off[0][b]) +
                                            share[1] * (before[1].p[a][b] + off[1][a] * off[1][b]);
                }
            move(m, k, dt, noise, acceleration);
        }
    }

  private:
    static void move(ModelState& m, int k, double dt, double noise, double acceleration) {
        const double fading = k == 0 ? 0 : std::exp(-dt / kManeuverS), fva = k == 0 ? 0 : (1 - fading) * kManeuverS;
        const double fpa = k == 0 ? 0 : kManeuverS * (dt - fva), s = acceleration * acceleration * (1 - fading * fading);
        const int n = k == 0 ? 4 : 6;
        for (int a = 0; a < 2; ++a) {
            m.x[a] += dt * m.x[a + 2] + fpa * m.x[a + 4];
            m.x[a + 2] += fva * m.x[a + 4];
            m.x[a + 4] *= fading;
        }
        for (int c = 0; c < n; ++c)  // F P
            for (int a = 0; a < 2; ++a) {
                m.p[a][c] += dt * m.p[a + 2][c] + fpa * m.p[a + 4][c];
                m.p[a + 2][c] += fva * m.p[a + 4][c];
                m.p[a + 4][c] *= fading;
            }
        for (int r = 0; r < n; ++r)  // F P F^T
            for (int a = 0; a < 2; ++a) {
                m.p[r][a] += dt * m.p[r][a + 2] + fpa * m.p[r][a + 4];
                m.p[r][a + 2] += fva * m.p[r][a + 4];
                m.p[r][a + 4] *= fading;
            }
        const double of[3][3] = {{noise * dt * dt * dt / 3, noise * dt * dt / 2, 0},
                                 {noise * dt * dt / 2, noise * dt + (k ? s * dt * dt / 3 : 0), k ? s * dt / 2 : 0},
                                 {0, k ? s * dt / 2 : 0, k ? s : 0}};
        for (int r = 0; r < 3; ++r)
            for (int c = 0; c < 3; ++c)
                for (int a = 0; a < 2; ++a) m.p[2 * r + a][2 * c + a] += of[r][c];
    }
};

struct PlaneTrack {
    std::int64_t id = 0;
    Mixture mixture;
    double height = 0, growth = 0, spread = 0;  // of the box: meters, 0 before the first; m/s; variance in pixels
    std::vector<PlaneStep> steps;  // from `first` on: those not smoothed yet, and the newest
    std::size_t first = 0;
    std::vector<Observation> observations;
    double first_time = 0, last_time = 0, stationary_since = 0, last_named = 0;
    int count = 0, outliers = 0;  // observations; outliers in a row
    bool current = true;  // named in this update
};

struct PlaneRow {
    std::int64_t id;
    double time, vx, vy, variance, stationary_for, age, unseen;
    int count;
    double x, y;  // meters
};

// The limits by which speeds are emitted: m/s and share of the speed; seconds.
struct SpeedLimits {
    double sigma_mps, sigma_share, first_after_s, stale_s, lookahead_s;
};

namespace speed_reason {  // values of edgevid.types.Reason
constexpr std::uint8_t kOk = 0, kTooShort = 1, kStale = 6, kUncertain = 10, kCameraMoved = 11;
}

// Speed, its standard error, heading and reason of one row of PlaneColumns. `unusable` is why the contact point of a
// live row cannot be used; `error` the relative error of lengths at its place.
inline void speed_row(const double* row, bool live, std::uint8_t unusable, double error, const SpeedLimits& limits,
                      double& mps, double& sigma, double& heading, std::uint8_t& reason) {
    const double vx = row[1], vy = row[2], variance = row[3], stationary = row[4], age = row[5], unseen = row[6];
    const double speed = std::sqrt(vx * vx + vy * vy), nan = std::numeric_limits<double>::quiet_NaN();
    const bool moving = row[7] < kMinSightings || stationary < kStands;
    const double off = moving || limits.lookahead_s < 0 ? error * speed : speed;  // at rest, what it seems to move by
    sigma = variance >= 0 ? std::sqrt(variance + off * off) : nan;
    mps = moving ? speed : 0 * speed;
    reason = speed_reason::kOk;
    // Neither moving beyond the noise nor stationary for long enough.
    if (!(sigma <= std::max(limits.sigma_mps, limits.sigma_share * mps)) || stationary == kUndecided || (stationary > 0 && moving))
        reason = speed_reason::kUncertain;
    if (row[7] < kMinSightings || age < limits.first_after_s) reason = speed_reason::kTooShort;
    // A smoothed value close to the last sighting: no sighting would show a change of speed.
    if (!live && unseen > -limits.lookahead_s && moving && reason == speed_reason::kOk) reason = speed_reason::kTooShort;
    const bool stale = unseen > limits.stale_s;
    if (stale) reason = speed_reason::kStale;
    // Never measured, or not for a while, for a reason that the box itself shows.
    if (live && unusable && (row[7] == 0 || stale || reason == speed_reason::kTooShort)) reason = unusable;
    heading = reason || !moving ? nan : std::atan2(vy, vx) * (180 / kPi);
    if (reason) mps = nan;
}

class PlaneCore {
  public:
    PlaneSettings settings;
    std::unordered_map<std::int64_t, PlaneTrack> tracks;
    std::vector<std::pair<std::int64_t, std::vector<Observation>>> ended;  // of the last update

    // `to_ground` and `to_image` are row-major 3x3 homographies, inverse to each other.
    PlaneCore(const PlaneSettings& s, const double* to_ground, const double* to_image) : settings(s) {
        std::copy(to_ground, to_ground + 9, ground_);
        std::copy(to_image, to_image + 9, image_);
    }

    void reset() { tracks.clear(); }

    // One moment: rows of ids, contact pixels, pixel noise and whether each was measured (1), or detected
    // where it cannot be (2); `heights` of boxes in pixels, or none. Fills one live row for each, the smoothed rows that are due, and `ended`; removes
    // the tracks that are not named.
    void update(int n, const std::int64_t* ids, const double* contacts, const double* noise,
                const std::uint8_t* measured, const double* heights, double time, std::vector<PlaneRow>& live,
                std::vector<PlaneRow>& smoothed) {
        ended.clear();
        for (auto& one : tracks) one.second.current = false;
        for (int i = 0; i < n; ++i) {
            const double* contact = contacts + 2 * i;
            const bool detected = measured[i] && std::isfinite(contact[0]) && std::isfinite(contact[1]);
            const bool good = detected && measured[i] == 1;
            auto found = tracks.find(ids[i]);
            if (found == tracks.end() && detected) {
                found = tracks.emplace(ids[i], PlaneTrack{}).first;
                found->second.id = ids[i];
            }
            double sd = 0;
            if (good) sd = heights ? sized_noise(found->second, contact, noise[i], heights[i], time) : noise[i];
            if (detected) record(found->second, {time, contact[0], contact[1], sd});
            if (found != tracks.end()) {
                found->second.current = true;
                found->second.last_named = time;
            }
            if (found == tracks.end() || (found->second.steps.empty() && !good)) {
                live.push_back({ids[i], time, 0, 0, kUnmeasured, 0, 0, 0, 0, 0, 0});
                continue;
            }
            PlaneTrack& t = found->second;
            if (t.steps.empty()) initialize(t, contact, sd, time);
            else step(t, contact, sd, good, time);
            live.push_back(live_row(t));
            smooth(t, time - settings.lag_s, smoothed);
        }
        remove_gone(time, smoothed);
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

    void pixel_noise(double noise, double gap, double slow, double* r) const {
        const double tau = settings.correlation_s + slow * settings.slow_correlation_s;
        const double f = gap > 0 ? std::max(1.0, 2 * tau / gap) : 1.0;
        r[0] = f * noise * noise / 2;  // u is the mean of two edges
        r[1] = f * noise * noise;
    }

    void initialize(PlaneTrack& t, const double* contact, double noise, double time) {
        double place[2], j[4], r[2];
        project(ground_, contact[0], contact[1], place, j);
        pixel_noise(noise, 1.0 / 30, 0, r);
        PlaneStep s;
        s.time = time;
        s.now.x[0] = place[0];
        s.now.x[1] = place[1];
        for (int a = 0; a < 2; ++a)
            for (int b = 0; b < 2; ++b) s.now.p(a, b) = j[2 * a] * r[0] * j[2 * b] + j[2 * a + 1] * r[1] * j[2 * b + 1];
        s.now.p(2, 2) = s.now.p(3, 3) = settings.velocity_prior * settings.velocity_prior;
        t.steps.assign(1, s);
        t.mixture = Mixture{};
        const double f = std::max(1.0, 60 * settings.correlation_s);  // one sighting alone has no correlated ones
        for (ModelState& m : t.mixture.model)
            for (int a = 0; a < 4; ++a) {
                m.x[a] = s.now.x[a];
                for (int b = 0; b < 4; ++b) m.p[a][b] = s.now.p(a, b) / (a < 2 && b < 2 ? f : 1);
            }
        for (int a = 4; a < 6; ++a) t.mixture.model[1].p[a][a] = settings.acceleration * settings.acceleration;
        t.mixture.time = time;
        t.mixture.z[0] = contact[0];
        t.mixture.z[1] = contact[1];
        t.first = 0;
        t.first_time = t.last_time = t.stationary_since = time;
        t.count = 1;
        t.outliers = 0;
    }

    void record(PlaneTrack& t, const Observation& s) const {
        t.observations.push_back(s);
        if (static_cast<double>(t.observations.size()) <= settings.max_observations) return;
        std::size_t kept = 0;
        for (std::size_t i = 0; i < t.observations.size(); i += 2) t.observations[kept++] = t.observations[i];
        t.observations.resize(kept);
    }

    // Standard error of a contact pixel: a box whose height leaves its trend has lost a part of the object, or has
    // found a second one, and its bottom edge moves with it; a third of the variance of heights is surely that edge's.
    double sized_noise(PlaneTrack& t, const double* contact, double noise, double height, double time) const {
        double place[2], j[4];
        project(ground_, contact[0], contact[1], place, j);
        const double a = j[0] * j[0] + j[2] * j[2], b = j[0] * j[1] + j[2] * j[3], d = j[1] * j[1] + j[3] * j[3];
        const double half = (a + d) / 2, root = std::sqrt(std::max(0.0, half * half - (a * d - b * b)));
        const double across = std::sqrt(std::max(half - root, 1e-18));  // meters per pixel
        const double meters = height * across, gap = t.steps.empty() ? 0 : time - t.last_time;
        // A line through the first heights, then with the memory of kSizeS.
        const double n = t.steps.empty() ? 1 : t.count + 1, share = 1 - std::exp(-gap / kSizeS);
        const double level = std::max(share, 2 * (2 * n - 1) / (n * (n + 1)));
        const double expected = t.height + t.growth * gap, off = n > 1 ? (meters - expected) / across : 0;
        if (n > 2) t.spread += std::max(share, 1 / n) * (off * off - t.spread);
        t.height = expected + level * (meters - expected);
        if (n > 1 && gap > 0) t.growth += std::max(share * share / 2, 6 / (n * (n + 1))) * (meters - expected) / gap;
        const double beyond = n > 2 ? std::max(0.0, std::abs(off) - kSizeGate * noise) * kSizeNoise : 0;
        return std::sqrt(std::max(noise * noise, t.spread / 3) + beyond * beyond);
    }

    void predict(const PlaneState& s, double dt, PlaneState& out) const {
        const double q = settings.process_noise;
        for (int i = 0; i < 4; ++i) out.x[i] = s.x[i];
        out.x[0] += dt * s.x[2];
        out.x[1] += dt * s.x[3];
        Mat4 half = s.p;  // F P, then F P F^T
        for (int r = 0; r < 2; ++r)
            for (int c = 0; c < 4; ++c) half(r, c) += dt * s.p(r + 2, c);
        out.p = half;
        for (int r = 0; r < 4; ++r)
            for (int c = 0; c < 2; ++c) out.p(r, c) += dt * half(r, c + 2);
        for (int i = 0; i < 2; ++i) {
            out.p(i, i) += q * dt * dt * dt / 3;
            out.p(i, i + 2) += q * dt * dt / 2;
            out.p(i + 2, i) += q * dt * dt / 2;
            out.p(i + 2, i + 2) += q * dt;
        }
    }

    void step(PlaneTrack& t, const double* contact, double noise, bool measured, double time) {
        t.steps.emplace_back();
        PlaneStep& s = t.steps.back();
        const PlaneStep& before = t.steps[t.steps.size() - 2];
        s.time = time;
        s.dt = time - before.time;
        predict(before.now, s.dt, s.now);
        const bool mixed = settings.steady_noise > 0;
        const double wide = mixed ? std::sqrt(std::max(1.0, t.mixture.scale())) : 1;
        if (mixed) t.mixture.predict(s.dt, settings.steady_noise, settings.acceleration, settings.changes);
        if (measured) {
            if (!correct(t, s, contact, noise, wide, time - t.last_time)) {
                initialize(t, contact, noise, time);  // it stays elsewhere: another object, or a jump
                return;
            }
            if (mixed) correct_mixture(t.mixture, contact, noise, time);
            t.last_time = time;
            ++t.count;
        }
        bool moves = moving(s.now, settings.stationary_gate);
        if (mixed) {
            const Velocity v = t.mixture.velocity();
            moves = v.moving(settings.smoothed_gate) || (moves && v.moving(settings.stationary_gate));
        }
        if (moves) t.stationary_since = time;
    }

    // A measurement of the difference to `rho` times the sighting before, both as functions of the state now.
    void correct_mixture(Mixture& t, const double* contact, double noise, double time) const {
        const double gap = time - t.time, rho = std::exp(-gap / settings.steady_correlation_s), scale = t.scale();
        const double white = (1 - rho * rho) * scale;
        double r[2] = {white * noise * noise / 2, white * noise * noise};
        double e[2][2], h2[2][2][6], ph[2][12] = {}, hph[2][4] = {}, nis[2];
        for (int k = 0; k < 2; ++k) {
            const ModelState& m = t.model[k];
            const int n = k == 0 ? 4 : 6;
            double now[2], before[2], place[2], j[4], i[4];
            auto& h = h2[k];
            for (int a = 0; a < 2; ++a) place[a] = m.x[a] - gap * m.x[a + 2] + gap * gap / 2 * m.x[a + 4];
            project(image_, m.x[0], m.x[1], now, j);
            project(image_, place[0], place[1], before, i);
            for (int a = 0; a < 2; ++a)
                for (int b = 0; b < 2; ++b) {
                    h[a][b] = j[2 * a + b] - rho * i[2 * a + b];
                    h[a][b + 2] = rho * gap * i[2 * a + b];
                    h[a][b + 4] = -rho * gap * gap / 2 * i[2 * a + b];
                }
            for (int a = 0; a < 2; ++a) e[k][a] = contact[a] - now[a] - rho * (t.z[a] - before[a]);
            for (int a = 0; a < n; ++a)
                for (int b = 0; b < 2; ++b)
                    for (int c = 0; c < n; ++c) ph[k][2 * a + b] += m.p[a][c] * h[b][c];
            for (int a = 0; a < 2; ++a)
                for (int b = 0; b < 2; ++b)
                    for (int c = 0; c < n; ++c) hph[k][2 * a + b] += h[a][c] * ph[k][2 * c + b];
            double inv[3];
            invert(hph[k], r, inv);
            nis[k] = e[k][0] * (inv[0] * e[k][0] + 2 * inv[1] * e[k][1]) + e[k][1] * inv[2] * e[k][1];
        }
        t.time = time;
        t.z[0] = contact[0];
        t.z[1] = contact[1];
        if (!std::isfinite(nis[0]) || !std::isfinite(nis[1])) return;
        const double outlier = std::max(1.0, std::min(nis[0], nis[1]) / settings.gate);
        r[0] *= outlier;
        r[1] *= outlier;
        double fit[2];
        for (int k = 0; k < 2; ++k) {
            ModelState& m = t.model[k];
            const int n = k == 0 ? 4 : 6;
            double inv[3], gain[12];
            invert(hph[k], r, inv);
            for (int a = 0; a < n; ++a) {
                gain[2 * a] = ph[k][2 * a] * inv[0] + ph[k][2 * a + 1] * inv[1];
                gain[2 * a + 1] = ph[k][2 * a] * inv[1] + ph[k][2 * a + 1] * inv[2];
                m.x[a] += gain[2 * a] * e[k][0] + gain[2 * a + 1] * e[k][1];
            }
            joseph(h2[k], gain, r, n, m);
            const double det = (hph[k][0] + r[0]) * (hph[k][3] + r[1]) - hph[k][1] * hph[k][1];
            const double found = e[k][0] * (inv[0] * e[k][0] + 2 * inv[1] * e[k][1]) + e[k][1] * inv[2] * e[k][1];
            fit[k] = -(found + std::log(det)) / 2;
        }
        const double best = std::max(fit[0], fit[1]);
        for (int k = 0; k < 2; ++k) t.weight[k] = std::max(t.weight[k] * std::exp(fit[k] - best), 1e-6);
        const double sum = t.weight[0] + t.weight[1];
        for (int k = 0; k < 2; ++k) {
            t.weight[k] /= sum;
            t.nis += t.weight[k] * std::min(scale * nis[k], settings.gate);
        }
        ++t.count;
    }

    static void joseph(const double (&h)[2][6], const double* gain, const double* r, int n, ModelState& m) {
        double rest[6][6], half[6][6];
        for (int a = 0; a < n; ++a)
            for (int b = 0; b < n; ++b) rest[a][b] = (a == b) - gain[2 * a] * h[0][b] - gain[2 * a + 1] * h[1][b];
        for (int a = 0; a < n; ++a)
            for (int b = 0; b < n; ++b) {
                half[a][b] = 0;
                for (int c = 0; c < n; ++c) half[a][b] += rest[a][c] * m.p[c][b];
            }
        for (int a = 0; a < n; ++a)
            for (int b = 0; b <= a; ++b) {
                double v = gain[2 * a] * r[0] * gain[2 * b] + gain[2 * a + 1] * r[1] * gain[2 * b + 1];
                for (int c = 0; c < n; ++c) v += half[a][c] * rest[b][c];
                m.p[a][b] = m.p[b][a] = v;
            }
    }

    bool correct(PlaneTrack& t, PlaneStep& step, const double* contact, double noise, double wide, double gap) {
        PlaneState& s = step.now;
        double expected[2], j[4], r[2];
        project(image_, s.x[0], s.x[1], expected, j);
        // Errors of a box depend on where the object is: those of one that hardly moves correlate for longer.
        const double speed = std::hypot(j[0] * s.x[2] + j[1] * s.x[3], j[2] * s.x[2] + j[3] * s.x[3]);
        pixel_noise(wide * noise, gap, 1 / (1 + speed / (kSlowPx * noise + 1e-9)), r);
        const double e[2] = {contact[0] - expected[0], contact[1] - expected[1]};
        double ph[8];  // P H^T, (4, 2)
        for (int a = 0; a < 4; ++a)
            for (int b = 0; b < 2; ++b) ph[2 * a + b] = s.p(a, 0) * j[2 * b] + s.p(a, 1) * j[2 * b + 1];
        double hph[4];
        for (int a = 0; a < 2; ++a)
            for (int b = 0; b < 2; ++b) hph[2 * a + b] = j[2 * a] * ph[b] + j[2 * a + 1] * ph[2 + b];
        double inv[3];
        invert(hph, r, inv);
        const double nis = e[0] * (inv[0] * e[0] + inv[1] * e[1]) + e[1] * (inv[1] * e[0] + inv[2] * e[1]);
        t.outliers = nis > kOutlierGate ? t.outliers + 1 : 0;
        if (t.outliers >= kOutliersInARow || !std::isfinite(nis)) return false;
        if (nis > settings.gate) {
            r[0] *= nis / settings.gate;
            r[1] *= nis / settings.gate;
            invert(hph, r, inv);
        }
        double k[8];
        for (int a = 0; a < 4; ++a) {
            k[2 * a] = ph[2 * a] * inv[0] + ph[2 * a + 1] * inv[1];
            k[2 * a + 1] = ph[2 * a] * inv[1] + ph[2 * a + 1] * inv[2];
        }
        record_update(j, e, inv, k, step.measurement_update);
        for (int a = 0; a < 4; ++a) s.x[a] += k[2 * a] * e[0] + k[2 * a + 1] * e[1];
        joseph(step.measurement_update.rest, k, r, s.p);
        return true;
    }

    static void invert(const double* hph, const double* r, double* inv) {
        const double a = hph[0] + r[0], b = hph[1], d = hph[3] + r[1], det = a * d - b * b;
        inv[0] = d / det;
        inv[1] = -b / det;
        inv[2] = a / det;
    }

    static void record_update(const double* j, const double* e, const double* inv, const double* k,
                              MeasurementUpdate& l) {
        l.measured = true;
        for (int a = 0; a < 4; ++a)
            for (int b = 0; b < 2; ++b)
                l.rest[2 * a + b] = (a == b ? 1.0 : 0.0) - (k[2 * a] * j[b] + k[2 * a + 1] * j[2 + b]);
        double ij[4];  // S^-1 J
        for (int b = 0; b < 2; ++b) {
            ij[b] = inv[0] * j[b] + inv[1] * j[2 + b];
            ij[2 + b] = inv[1] * j[b] + inv[2] * j[2 + b];
            l.score[b] = ij[b] * e[0] + ij[2 + b] * e[1];
        }
        l.weight[0] = j[0] * ij[0] + j[2] * ij[2];
        l.weight[1] = j[0] * ij[1] + j[2] * ij[3];
        l.weight[2] = j[1] * ij[1] + j[3] * ij[3];
    }

    // P <- (I - K H) P (I - K H)^T + K R K^T, symmetric and positive whatever is rounded.
    static void joseph(const double* rest, const double* k, const double* r, Mat4& p) {
        Mat4 half;
        for (int a = 0; a < 4; ++a)
            for (int c = 0; c < 4; ++c)
                half(a, c) = rest[2 * a] * p(0, c) + rest[2 * a + 1] * p(1, c) + (a > 1 ? p(a, c) : 0.0);
        for (int a = 0; a < 4; ++a)
            for (int c = 0; c <= a; ++c) {
                double v = half(a, 0) * rest[2 * c] + half(a, 1) * rest[2 * c + 1] + (c > 1 ? half(a, c) : 0.0);
                v += k[2 * a] * r[0] * k[2 * c] + k[2 * a + 1] * r[1] * k[2 * c + 1];
                p(a, c) = p(c, a) = v;
            }
    }

    bool moving(const PlaneState& s, double gate) const {
        const double a = s.p(2, 2), b = s.p(2, 3), d = s.p(3, 3);
        const double chi = (s.x[2] * s.x[2] * d - 2 * s.x[2] * s.x[3] * b + s.x[3] * s.x[3] * a) / (a * d - b * b);
        return chi >= gate;
    }

    // Variance of the velocity along a direction of length v; the larger one at rest.
    static double along(const PlaneState& s, double x, double y, double v) {
        if (v <= 1e-9) return std::max(s.p(2, 2), s.p(3, 3));
        return (x * x * s.p(2, 2) + 2 * x * y * s.p(2, 3) + y * y * s.p(3, 3)) / (v * v);
    }

    // The mixture's; its variance is no less than that of a model that may well be true. What stands may start at any moment.
    PlaneRow live_row(const PlaneTrack& t) const {
        const PlaneStep& step = t.steps.back();
        PlaneRow made = row(t, step.time, step.now);
        if (settings.steady_noise <= 0) return made;
        const Velocity v = t.mixture.velocity();
        made.vx = v.x;
        made.vy = v.y;
        made.variance = v.along(v.x, v.y);
        for (int k = 0; k < 2; ++k) {
            const double counts = made.stationary_for >= kStands ? 1 : std::min(t.mixture.weight[k] / kSure, 1.0);
            made.variance = std::max(made.variance, counts * t.mixture.velocity(k).along(v.x, v.y));
        }
        // What the other filter contradicts it by.
        const double dx = step.now.x[2] - v.x, dy = step.now.x[3] - v.y, apart = dx * dx + dy * dy;
        made.variance += std::max(0.0, apart - 4 * along(step.now, dx, dy, std::sqrt(apart)));
        if (made.stationary_for > 0 && v.moving(settings.stationary_gate)) made.stationary_for = kUndecided;
        return made;
    }

    PlaneRow row(const PlaneTrack& t, double time, const PlaneState& s) const {
        const double variance = along(s, s.x[2], s.x[3], std::hypot(s.x[2], s.x[3]));
        return {t.id, time, s.x[2], s.x[3], variance, time - t.stationary_since, time - t.first_time,
                time - t.last_time, t.count, s.x[0], s.x[1]};
    }

    // Smooths back from the newest step and hands out every step older than `limit`; keeps the others.
    void smooth(PlaneTrack& t, double limit, std::vector<PlaneRow>& out) const {
        const std::size_t begin = t.first, end = t.steps.size();
        if (end - begin < 2 || t.steps[begin].time > limit) return;
        std::size_t done = begin;  // the newest step always stays
        while (done + 1 < end && t.steps[done].time <= limit) ++done;
        const std::size_t at = out.size();
        double l[4] = {};
        Mat4 big;
        for (std::size_t i = end - 1; i > begin; --i) {
            backward(t.steps[i], l, big);
            if (i - 1 < done) out.push_back(smoothed_row(t, t.steps[i - 1], l, big));
        }
        std::reverse(out.begin() + static_cast<std::ptrdiff_t>(at), out.end());
        t.first = done;
        if (t.first >= 32) {
            t.steps.erase(t.steps.begin(), t.steps.begin() + static_cast<std::ptrdiff_t>(t.first));
            t.first = 0;
        }
    }

    // One step of the adjoint recursion: from behind a step's measurement to the step before it.
    static void backward(const PlaneStep& s, double* l, Mat4& big) {
        if (s.measurement_update.measured) {
            const double* m = s.measurement_update.rest;
            double low[2];
            Mat4 half = big;  // Lambda (I - K H): only two columns change
            for (int c = 0; c < 2; ++c) {
                low[c] = -s.measurement_update.score[c];
                for (int r = 0; r < 4; ++r) low[c] += m[2 * r + c] * l[r];
                for (int r = 0; r < 4; ++r)
                    half(r, c) = big(r, 0) * m[c] + big(r, 1) * m[2 + c] + big(r, 2) * m[4 + c] + big(r, 3) * m[6 + c];
            }
            l[0] = low[0];
            l[1] = low[1];
            big = half;
            for (int r = 0; r < 2; ++r)
                for (int c = 0; c < 4; ++c)
                    big(r, c) = m[r] * half(0, c) + m[2 + r] * half(1, c) + m[4 + r] * half(2, c) + m[6 + r] * half(3, c);
            big(0, 0) += s.measurement_update.weight[0];
            big(0, 1) += s.measurement_update.weight[1];
            big(1, 0) += s.measurement_update.weight[1];
            big(1, 1) += s.measurement_update.weight[2];
        }
        const double dt = s.dt;  // F^T l and F^T Lambda F
        l[2] += dt * l[0];
        l[3] += dt * l[1];
        for (int c = 0; c < 4; ++c) {
            big(2, c) += dt * big(0, c);
            big(3, c) += dt * big(1, c);
        }
        for (int r = 0; r < 4; ++r) {
            big(r, 2) += dt * big(r, 0);
            big(r, 3) += dt * big(r, 1);
        }
    }

    PlaneRow smoothed_row(const PlaneTrack& t, const PlaneStep& s, const double* l, const Mat4& big) const {
        PlaneState state = s.now;
        double pb[8];  // the velocity's rows of P Lambda
        for (int r = 0; r < 2; ++r)
            for (int c = 0; c < 4; ++c) {
                pb[4 * r + c] = 0;
                for (int k = 0; k < 4; ++k) pb[4 * r + c] += s.now.p(r + 2, k) * big(k, c);
            }
        for (int r = 0; r < 4; ++r)
            for (int k = 0; k < 4; ++k) state.x[r] -= s.now.p(r, k) * l[k];
        for (int r = 0; r < 2; ++r)
            for (int c = 0; c < 2; ++c)
                for (int k = 0; k < 4; ++k) state.p(r + 2, c + 2) -= pb[4 * r + k] * s.now.p(k, c + 2);
        PlaneRow made = row(t, s.time, state);
        if (settings.steady_noise > 0) {  // if the speed is constant, what it differs by from the live one is noise
            const Velocity v = t.mixture.velocity();
            const double x = state.x[2] - v.x, y = state.x[3] - v.y;
            made.variance += t.mixture.weight[0] * std::max(0.0, x * x + y * y - 2 * made.variance);
        }
        // In hindsight it was stationary (from then until now), it moved, or neither can be decided.
        const bool stationary = s.time >= t.stationary_since;
        if (moving(state, settings.smoothed_gate)) made.stationary_for = kMoving;
        else if (!stationary || moving(state, settings.stationary_gate)) made.stationary_for = kUndecided;
        else made.stationary_for = t.steps.back().time - t.stationary_since;
        return made;
    }

    void remove_gone(double time, std::vector<PlaneRow>& smoothed) {
        for (auto it = tracks.begin(); it != tracks.end();) {
            PlaneTrack& t = it->second;
            if (!t.current) t.current = time - t.last_named < settings.lost_after_s;
            if (!t.current) {
                smooth(t, std::numeric_limits<double>::infinity(), smoothed);
                ended.emplace_back(it->first, std::move(t.observations));
            }
            it = t.current ? std::next(it) : tracks.erase(it);
        }
        std::stable_sort(ended.begin(), ended.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    }
};

}  // namespace edgevid
