// Assignment: maximum-weight matching of sparse pairs.
//
// The weight of a pair is its similarity minus the threshold; pairs without a positive weight never match,
// and each row and each column matches at most once. Only overlapping boxes make pairs, so the problem
// splits into small connected components that are solved one by one, and the sum of their optima is the
// optimum of the whole. Equal sums may be broken either way.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <queue>
#include <utility>
#include <vector>

namespace edgevid {

struct Pair {
    int row, col;
    double weight;
};

// Maximum-weight matching of sparse pairs: shortest augmenting paths with potentials, each row free to
// stay unmatched at weight 0. One instance keeps its memory from call to call.
class SparseAssignment {
  public:
    // Appends the matched (row, col) to `matched`; all weights must be positive.
    void solve(int rows, int cols, std::vector<Pair>& pairs, std::vector<std::pair<int, int>>& matched) {
        take_lone(rows, cols, pairs, matched);
        components(rows, cols, pairs);
        std::size_t begin = 0;
        while (begin < pairs.size()) {
            const int root = find(pairs[begin].row);
            std::size_t end = begin;
            while (end < pairs.size() && find(pairs[end].row) == root) ++end;
            solve_component(pairs.data() + begin, pairs.data() + end, matched);
            begin = end;
        }
    }

  private:
    std::vector<int> degree_, parent_, first_, rows_, cols_, prev_, match_, col_of_, col_at_, visited_, touched_;
    std::vector<double> u_, v_, dist_;
    std::vector<char> done_;

    int find(int i) {
        while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
        return i;
    }

    // Matches the pairs whose row and column have no other, and takes them out: most of a sparse scene.
    void take_lone(int rows, int cols, std::vector<Pair>& pairs, std::vector<std::pair<int, int>>& matched) {
        degree_.assign(rows + cols, 0);
        for (const Pair& p : pairs) {
            ++degree_[p.row];
            ++degree_[rows + p.col];
        }
        const auto lone = [&](const Pair& p) { return degree_[p.row] == 1 && degree_[rows + p.col] == 1; };
        for (const Pair& p : pairs)
            if (lone(p)) matched.emplace_back(p.row, p.col);
        pairs.erase(std::remove_if(pairs.begin(), pairs.end(), lone), pairs.end());
    }

    // Sorts the pairs so that those of one connected component lie together, by row within it.
    void components(int rows, int cols, std::vector<Pair>& pairs) {
        parent_.resize(rows + cols);
        std::iota(parent_.begin(), parent_.end(), 0);
        for (const Pair& p : pairs) {
            const int a = find(p.row), b = find(rows + p.col);
            if (a != b) parent_[std::max(a, b)] = std::min(a, b);
        }
        std::sort(pairs.begin(), pairs.end(), [this](const Pair& a, const Pair& b) {
            const int ra = find(a.row), rb = find(b.row);
            if (ra != rb) return ra < rb;
            if (a.row != b.row) return a.row < b.row;
            return a.col < b.col;
        });
    }

    void solve_component(Pair* begin, Pair* end, std::vector<std::pair<int, int>>& matched) {
        number(begin, end);
        const int rows = static_cast<int>(rows_.size());
        if (rows == 1 || cols_.size() == 1) {  // one side has one member: it takes the largest weight
            const Pair* best = begin;
            for (const Pair* p = begin + 1; p < end; ++p)
                if (p->weight > best->weight) best = p;
            matched.emplace_back(best->row, best->col);
            return;
        }
        double most = 0;
        for (const Pair* p = begin; p < end; ++p) most = std::max(most, p->weight);
        for (int r = 0; r < rows; ++r) augment(r, begin, most);
        for (std::size_t c = 0; c < cols_.size(); ++c)
            if (match_[c] >= 0) matched.emplace_back(rows_[match_[c]], cols_[c]);
    }

    // Local numbers: rows_ and cols_ hold the outer ones, first_[r] .. first_[r + 1] a row's pairs.
    void number(const Pair* begin, const Pair* end) {
        rows_.clear();
        cols_.clear();
        first_.clear();
        for (const Pair* p = begin; p < end; ++p) {
            if (rows_.empty() || rows_.back() != p->row) {
                rows_.push_back(p->row);
                first_.push_back(static_cast<int>(p - begin));
            }
            cols_.push_back(p->col);
        }
        first_.push_back(static_cast<int>(end - begin));
        std::sort(cols_.begin(), cols_.end());
        cols_.erase(std::unique(cols_.begin(), cols_.end()), cols_.end());
        col_at_.resize(end - begin);
        for (const Pair* p = begin; p < end; ++p)
            col_at_[p - begin] =
                static_cast<int>(std::lower_bound(cols_.begin(), cols_.end(), p->col) - cols_.begin());
        u_.assign(rows_.size(), 0);
        v_.assign(cols_.size(), 0);
        match_.assign(cols_.size(), -1);
        col_of_.assign(rows_.size(), -1);
        prev_.assign(cols_.size(), -1);
        dist_.assign(cols_.size(), std::numeric_limits<double>::infinity());
        done_.assign(cols_.size(), 0);
    }

    // Brings one more row in along the cheapest path, which ends at a free column or at a row left alone.
    void augment(int start, const Pair* pairs, double most) {
        using Entry = std::pair<double, int>;
        std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> heap;
        visited_.clear();
        touched_.clear();
        double base = 0, alone = std::numeric_limits<double>::infinity(), total = 0;
        int row = start, alone_row = start, end_col = -1;
        for (;;) {
            if (base + most - u_[row] < alone) {
                alone = base + most - u_[row];
                alone_row = row;
            }
            for (int k = first_[row]; k < first_[row + 1]; ++k) {
                const int c = col_at_[k];
                const double d = base + (most - pairs[k].weight) - u_[row] - v_[c];
                if (d < dist_[c] && !done_[c]) {
                    if (std::isinf(dist_[c])) touched_.push_back(c);
                    dist_[c] = d;
                    prev_[c] = row;
                    heap.emplace(d, c);
                }
            }
            while (!heap.empty() && done_[heap.top().second]) heap.pop();
            if (heap.empty() || heap.top().first >= alone) {
                total = alone;
                break;
            }
            const int c = heap.top().second;
            base = heap.top().first;
            if (match_[c] < 0) {
                end_col = c;
                total = base;
                break;
            }
            done_[c] = 1;
            visited_.push_back(c);
            row = match_[c];
        }
        u_[start] += total;
        for (int c : visited_) {
            u_[match_[c]] += total - dist_[c];
            v_[c] -= total - dist_[c];
        }
        // Shift the columns along the path: to the free column, or to the row that gives its column up.
        int c = end_col >= 0 ? end_col : (alone_row == start ? -1 : col_of_[alone_row]);
        if (end_col < 0 && alone_row != start) col_of_[alone_row] = -1;
        while (c >= 0) {
            const int r = prev_[c], before = col_of_[r];
            match_[c] = r;
            col_of_[r] = c;
            c = before;
        }
        for (int t : touched_) {
            dist_[t] = std::numeric_limits<double>::infinity();
            done_[t] = 0;
        }
    }
};

}  // namespace edgevid
