// Boxes: overlap, suppression, and detector outputs thresholded while they are read once.
// Plain C++17, no Python. The specification is kernels/reference/boxes.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

// One binary for every x86 of the last ten years: the loader picks the widest version that the
// processor has. Elsewhere (aarch64 has NEON always) the compiler's default is already right. ThreadSanitizer
// would be called by the loader's choice, before it is loaded itself.
#if defined(__x86_64__) && defined(__gnu_linux__) && (defined(__GNUC__) && !defined(__clang__)) && \
    !defined(__SANITIZE_THREAD__)
#define EDGEVID_WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EDGEVID_WIDEST
#endif

namespace edgevid {

// A strided matrix of floats owned by the caller; strides count elements.
struct Matrix {
    const float* data;
    std::size_t rows, cols;
    std::ptrdiff_t row_step, col_step;
    const float* row(std::size_t r) const { return data + static_cast<std::ptrdiff_t>(r) * row_step; }
    float at(std::size_t r, std::size_t c) const { return row(r)[static_cast<std::ptrdiff_t>(c) * col_step]; }
};

// What a decoder found: boxes x1 y1 x2 y2 one after the other, scores, labels.
struct Candidates {
    std::vector<float> boxes, scores;
    std::vector<std::int32_t> labels;

    // NaN, infinite, empty and inside-out boxes are dropped here, for every decoder.
    void add(float x1, float y1, float x2, float y2, float score, std::int32_t label) {
        const float w = x2 - x1, h = y2 - y1;
        if (!(w > 0.0f && h > 0.0f && std::isfinite(w) && std::isfinite(h))) return;
        boxes.insert(boxes.end(), {x1, y1, x2, y2});
        scores.push_back(score);
        labels.push_back(label);
    }
};

inline float sigmoid(float x) { return 1.0f / (1.0f + std::exp(-x)); }

// The raw value that a class must exceed; beyond every value where `score` is 1 or more.
inline float raw_threshold(float score, bool logits) {
    if (!logits) return score;
    if (score <= 0.0f) return -std::numeric_limits<float>::infinity();
    if (score >= 1.0f) return std::numeric_limits<float>::infinity();
    return std::log(score / (1.0f - score));
}

// best[i] = max(best[i], row[i]); NaN never wins.
EDGEVID_WIDEST inline void raise_to(float* __restrict best, const float* __restrict row, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) best[i] = row[i] > best[i] ? row[i] : best[i];
}

// The largest of n contiguous values; -infinity where all are NaN.
EDGEVID_WIDEST inline float largest(const float* row, std::size_t n) {
    constexpr std::size_t kLanes = 16;
    float lanes[kLanes];
    std::fill(lanes, lanes + kLanes, -std::numeric_limits<float>::infinity());
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes)
        for (std::size_t k = 0; k < kLanes; ++k) lanes[k] = row[i + k] > lanes[k] ? row[i + k] : lanes[k];
    for (; i < n; ++i) lanes[0] = row[i] > lanes[0] ? row[i] : lanes[0];
    float best = lanes[0];
    for (std::size_t k = 1; k < kLanes; ++k) best = lanes[k] > best ? lanes[k] : best;
    return best;
}

// Below every class value that is a number.
constexpr float kLeast = std::numeric_limits<float>::lowest();

// The first index that holds `value`, which must be there.
inline std::int32_t first_equal(const float* values, std::ptrdiff_t step, float value) {
    std::int32_t k = 0;
    for (; *values != value; values += step) ++k;
    return k;
}

// Whether a nearer box (its bottom is lower in the image) hides over a fifth of each box's bottom edge.
inline void is_occluded(const double* boxes, std::size_t n, bool* out) {
    for (std::size_t i = 0; i < n; ++i) {
        const double* b = boxes + 4 * i;
        const double share = 0.2 * std::max(b[2] - b[0], 1e-6);
        out[i] = false;
        for (const double* o = boxes; o != boxes + 4 * n && !out[i]; o += 4)
            out[i] = o[3] > b[3] + 2 && o[1] < b[3] && std::min(o[2], b[2]) - std::max(o[0], b[0]) > share;
    }
}

struct Form {
    bool xyxy;    // boxes are corners, else center and size
    bool logits;  // class values want a sigmoid
};

inline void add_box(Candidates& found, const float b[4], Form form, float score, std::int32_t label) {
    if (form.xyxy) return found.add(b[0], b[1], b[2], b[3], score, label);
    const float w = b[2] * 0.5f, h = b[3] * 0.5f;
    found.add(b[0] - w, b[1] - h, b[0] + w, b[1] + h, score, label);
}

// Anchors along the columns, as YOLOv8 and YOLO11 give them: boxes (4, N), scores (C, N), both with
// contiguous rows. The tensor is read as it lies, row after row, into a running maximum (faster than
// blocks of anchors, whose many streams the prefetcher loses); only candidates look for their class.
inline void decode_columns(const Matrix& boxes, const Matrix& scores, float score_threshold, Form form,
                           Candidates& found) {
    const float floor = raw_threshold(score_threshold, form.logits);
    std::vector<float> best(scores.cols, -std::numeric_limits<float>::infinity());
    for (std::size_t c = 0; c < scores.rows; ++c) raise_to(best.data(), scores.row(c), scores.cols);
    for (std::size_t a = 0; a < scores.cols; ++a) {
        if (!(best[a] > floor)) continue;
        const float box[4] = {boxes.row(0)[a], boxes.row(1)[a], boxes.row(2)[a], boxes.row(3)[a]};
        const std::int32_t label = first_equal(scores.data + a, scores.row_step, best[a]);
        add_box(found, box, form, form.logits ? sigmoid(best[a]) : best[a], label);
    }
}

// Anchors along the rows: boxes (N, 4), scores (N, C), and an optional objectness (N) that multiplies
// them; objectness is read first, so that most rows cost one read.
inline void decode_rows(const Matrix& boxes, const Matrix& scores, const Matrix* objectness,
                        float score_threshold, Form form, Candidates& found) {
    const float floor = raw_threshold(score_threshold, form.logits);
    for (std::size_t a = 0; a < scores.rows; ++a) {
        float object = 1.0f;
        if (objectness) {
            object = objectness->at(a, 0);
            if (!(object > floor)) continue;
            if (form.logits) object = sigmoid(object);
        }
        const float* row = scores.row(a);
        const float best = largest(row, scores.cols);
        if (!(best > floor)) continue;
        const float value = object * (form.logits ? sigmoid(best) : best);
        if (objectness && !(value > score_threshold)) continue;
        const float box[4] = {boxes.at(a, 0), boxes.at(a, 1), boxes.at(a, 2), boxes.at(a, 3)};
        add_box(found, box, form, value, first_equal(row, 1, best));
    }
}

// YOLOX: rows x y w h objectness classes; x and y count cells from the anchor's cell, w and h are
// logarithms of cells; levels follow each other, each row by row.
// Z. Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv:2107.08430.
inline void decode_yolox(const Matrix& out, std::size_t width, std::size_t height,
                         const std::vector<std::int32_t>& strides, float score_threshold, Candidates& found) {
    std::size_t a = 0;
    for (const std::int32_t stride : strides) {
        const std::size_t columns = width / stride, rows = height / stride;
        const float s = static_cast<float>(stride);
        for (std::size_t y = 0; y < rows; ++y) {
            for (std::size_t x = 0; x < columns; ++x, ++a) {
                const float* r = out.row(a);
                if (!(r[4] > score_threshold)) continue;
                const float best = largest(r + 5, out.cols - 5), value = r[4] * best;
                if (!(value > score_threshold && best >= kLeast)) continue;
                const float box[4] = {(r[0] + static_cast<float>(x)) * s, (r[1] + static_cast<float>(y)) * s,
                                      std::exp(r[2]) * s, std::exp(r[3]) * s};
                add_box(found, box, Form{false, false}, value, first_equal(r + 5, 1, best));
            }
        }
    }
}

// The mean of a distribution over 0..bins-1 given as logits.
inline float expected_bin(const float* logits, std::size_t bins) {
    const float top = largest(logits, bins);
    float sum = 0.0f, mean = 0.0f;
    for (std::size_t k = 0; k < bins; ++k) {
        const float p = std::exp(logits[k] - top);
        sum += p;
        mean += p * static_cast<float>(k);
    }
    return mean / sum;
}

// One level of a head that gives each side's distance as a distribution (NanoDet, PicoDet):
// scores (N, C), distances (N, 4 * bins) for left, top, right, bottom, in strides.
// X. Li et al., "Generalized Focal Loss", arXiv:2006.04388.
inline void decode_dfl(const Matrix& scores, const Matrix& distances, std::size_t columns, float stride, float offset,
                       float score_threshold, bool logits, Candidates& found) {
    const std::size_t bins = distances.cols / 4;
    const float floor = raw_threshold(score_threshold, logits);
    for (std::size_t a = 0; a < scores.rows; ++a) {
        const float* row = scores.row(a);
        const float best = largest(row, scores.cols);
        if (!(best > floor)) continue;
        float side[4];
        for (std::size_t k = 0; k < 4; ++k) side[k] = expected_bin(distances.row(a) + k * bins, bins) * stride;
        const float x = (static_cast<float>(a % columns) + offset) * stride;
        const float y = (static_cast<float>(a / columns) + offset) * stride;
        found.add(x - side[0], y - side[1], x + side[2], y + side[3], logits ? sigmoid(best) : best,
                  first_equal(row, 1, best));
    }
}

// FastestDet: channels objectness, x, y, w, h, classes over a grid of `columns`; score is
// objectness^0.6 * class^0.4 (github.com/dog-qiuqiu/FastestDet, BSD-3-Clause: formulas only).
inline void decode_fastestdet(const Matrix& out, std::size_t columns, std::size_t width, std::size_t height,
                              float score_threshold, Candidates& found) {
    const std::size_t rows = out.cols / columns;
    std::vector<float> best(out.cols, -std::numeric_limits<float>::infinity());
    for (std::size_t c = 5; c < out.rows; ++c) raise_to(best.data(), out.row(c), out.cols);
    const float w = static_cast<float>(width), h = static_cast<float>(height);
    for (std::size_t a = 0; a < out.cols; ++a) {
        const float object = out.row(0)[a];
        if (!(object > 0.0f && best[a] > 0.0f)) continue;
        const float value = std::pow(object, 0.6f) * std::pow(best[a], 0.4f);
        if (!(value > score_threshold)) continue;
        const float box[4] = {
            (static_cast<float>(a % columns) + std::tanh(out.row(1)[a])) / static_cast<float>(columns) * w,
            (static_cast<float>(a / columns) + std::tanh(out.row(2)[a])) / static_cast<float>(rows) * h,
            sigmoid(out.row(3)[a]) * w, sigmoid(out.row(4)[a]) * h};
        add_box(found, box, Form{false, false}, value, first_equal(out.row(5) + a, out.row_step, best[a]));
    }
}

// Rows x1 y1 x2 y2 score label of a model that suppresses duplicates itself (YOLOv10, YOLO26).
inline void decode_end_to_end(const Matrix& out, float score_threshold, Candidates& found) {
    for (std::size_t a = 0; a < out.rows; ++a) {
        const float value = out.at(a, 4), label = out.at(a, 5);
        if (!(value > score_threshold && label >= 0.0f && label < 1e6f)) continue;
        found.add(out.at(a, 0), out.at(a, 1), out.at(a, 2), out.at(a, 3), value,
                  static_cast<std::int32_t>(label + 0.5f));
    }
}

// Intersection over union of two boxes; 0 where either is empty or NaN.
inline float overlap(const float* a, const float* b) {
    const float w = std::min(a[2], b[2]) - std::max(a[0], b[0]);
    const float h = std::min(a[3], b[3]) - std::max(a[1], b[1]);
    if (!(w > 0.0f && h > 0.0f)) return 0.0f;
    const float inter = w * h;
    const float both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]);
    const float value = inter / (both - inter);
    return value > 0.0f ? value : 0.0f;
}

EDGEVID_WIDEST inline void iou(const float* a, std::size_t n, const float* b, std::size_t m, float* out) {
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < m; ++j) out[i * m + j] = overlap(a + 4 * i, b + 4 * j);
    }
}

// The boxes kept so far, one array a side, so that a candidate is compared with many at once.
class Kept {
   public:
    void add(const float* b, std::int32_t label) {
        if (size_ % kLanes == 0) grow();
        x1_[size_] = b[0], y1_[size_] = b[1], x2_[size_] = b[2], y2_[size_] = b[3];
        area_[size_] = (b[2] - b[0]) * (b[3] - b[1]);
        labels_[size_++] = label;
    }
    // Whether a kept box of this label (of any, where `any`) overlaps `b` by more than `iou_threshold`.
    bool covers(const float* b, std::int32_t label, bool any, float iou_threshold) const {
        return search(x1_.data(), y1_.data(), x2_.data(), y2_.data(), area_.data(), labels_.data(), x1_.size(), b,
                      label, any, iou_threshold);
    }
    std::size_t size() const { return size_; }

   private:
    static constexpr std::size_t kLanes = 16;
    // Spare lanes hold empty boxes, which overlap nothing.
    void grow() {
        for (auto* side : {&x1_, &y1_, &x2_, &y2_, &area_}) side->resize(size_ + kLanes, 0.0f);
        labels_.resize(size_ + kLanes, -1);
    }
    EDGEVID_WIDEST static bool search(const float* x1, const float* y1, const float* x2, const float* y2,
                                      const float* area, const std::int32_t* labels, std::size_t n, const float* b,
                                      std::int32_t label, bool any, float iou_threshold) {
        const float bx1 = b[0], by1 = b[1], bx2 = b[2], by2 = b[3];
        const float own = (bx2 - bx1) * (by2 - by1);
        const std::int32_t every = any ? -1 : 0;
        for (std::size_t start = 0; start < n; start += kLanes) {
            std::int32_t hit = 0;
            for (std::size_t k = start; k < start + kLanes; ++k) {
                const float w = std::max(std::min(x2[k], bx2) - std::max(x1[k], bx1), 0.0f);
                const float h = std::max(std::min(y2[k], by2) - std::max(y1[k], by1), 0.0f);
                const float inter = w * h;
                const std::int32_t over = inter > iou_threshold * (area[k] + own - inter) ? -1 : 0;
                hit |= over & ((labels[k] == label ? -1 : 0) | every);
            }
            if (hit) return true;
        }
        return false;
    }
    std::vector<float> x1_, y1_, x2_, y2_, area_;
    std::vector<std::int32_t> labels_;
    std::size_t size_ = 0;
};

// Greedy suppression, best score first (the earlier row on a tie): a box stays unless one that
// already stayed overlaps it by more than `iou_threshold`; at most `max_detections` stay. Rows whose score or box
// is NaN are dropped.
inline std::vector<std::int32_t> nms(const float* boxes, const float* scores, const std::int32_t* labels,
                                     std::size_t n, float iou_threshold, bool class_aware, std::size_t max_detections) {
    std::vector<std::int32_t> order, kept_rows;
    order.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
        const float* b = boxes + 4 * i;
        if (scores[i] == scores[i] && b[0] <= b[2] && b[1] <= b[3]) order.push_back(static_cast<std::int32_t>(i));
    }
    std::sort(order.begin(), order.end(), [scores](std::int32_t i, std::int32_t j) {
        return scores[i] != scores[j] ? scores[i] > scores[j] : i < j;
    });
    Kept kept;
    for (const std::int32_t i : order) {
        if (kept.size() >= max_detections) break;
        if (kept.covers(boxes + 4 * i, labels[i], !class_aware, iou_threshold)) continue;
        kept.add(boxes + 4 * i, labels[i]);
        kept_rows.push_back(i);
    }
    return kept_rows;
}

}  // namespace edgevid
