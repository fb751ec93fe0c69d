// Letterboxes, crops and conversions of one seed's pixels; prints a hash of each result, the same on every processor.
#include <cstdio>

#include "../../edgevid/kernels/letterbox_crop.hpp"

using namespace edgevid::pixels;

namespace {

std::uint32_t state = 1;
std::uint32_t next() { return state = state * 1664525u + 1013904223u; }
int between(int low, int high) { return low + static_cast<int>((next() >> 8) % static_cast<unsigned>(high - low + 1)); }

std::vector<std::uint8_t> noise(std::size_t n) {
    std::vector<std::uint8_t> made(n);
    for (auto& byte : made) byte = static_cast<std::uint8_t>(next() >> 24);
    return made;
}

template <typename T>
void print(const char* what, const std::vector<T>& values) {
    std::uint64_t hash = 14695981039346656037u;
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(values.data());
    for (std::size_t i = 0; i < values.size() * sizeof(T); ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
    std::printf("%s %016llx\n", what, static_cast<unsigned long long>(hash));
}

template <typename T, typename Source>
void boxed(const char* what, const Source& source, int width, int height, Color color, bool interleaved) {
    const int channels = color == Color::gray ? 1 : 3, left = between(0, 9), top = between(0, 9);
    const int wide = width + left + between(0, 5), high = height + top + between(0, 5);
    std::vector<T> out(static_cast<std::size_t>(channels) * wide * high, T{7});
    const Target<T> to{out.data(), wide, high, color, interleaved && channels == 3, left, top, width, height,
                       {0.7f, 1.3f, 1.1f}, {-3.3f, 9.1f, 0.2f}, 113.7f, true};
    letterbox(source, to);
    print(what, out);
}

}  // namespace

int main() {
    for (int round = 0; round < 40; ++round) {
        const int width = between(1, 400), height = between(1, 60), half = (width + 1) / 2;
        const auto rgb = noise(3 * static_cast<std::size_t>(width) * height), y = noise(rgb.size());
        const auto u = noise(rgb.size() + 4), v = noise(rgb.size() + 4);
        const Image image{rgb.data(), 3 * width, 3, 1, width, height};
        const Planes planes{{y.data(), width, 1}, {u.data(), half, 1}, {v.data(), half, 1}, width, height,
                            Conversion::of(round % 2 == 0, round % 3 == 0)};
        const int shrink = between(1, 7);
        const int to_width = round % 4 ? between(1, 300) : std::max(1, width / shrink), to_height = between(1, 50);
        boxed<float>("rgb float32", image, to_width, to_height, Color::rgb, false);
        boxed<std::uint8_t>("rgb uint8", image, to_width, to_height, Color::bgr, true);
        boxed<float>("gray float32", image, to_width, to_height, Color::gray, false);
        boxed<float>("yuv float32", planes, to_width, to_height, Color::rgb, true);
        boxed<std::uint8_t>("yuv uint8", planes, width, to_height, Color::bgr, false);
        std::vector<float> boxes;
        for (int i = 0; i < 12; ++i) boxes.push_back(static_cast<float>(between(-400, 1600)) / 4.0f);
        std::vector<std::uint8_t> crops(3 * 3 * 20 * 14), whole(rgb.size());
        crop_resize(image, boxes.data(), 3, 20, 14, 5, crops.data());
        print("crops", crops);
        crop_resize(planes, boxes.data(), 3, 20, 14, 5, crops.data());
        print("yuv crops", crops);
        yuv420_to_rgb(planes, whole.data());
        print("whole", whole);
    }
}
