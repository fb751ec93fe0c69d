// Bindings of pixels.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <string>
#include <vector>

#include "letterbox_crop.hpp"
#include "gil.hpp"

namespace nb = nanobind;
using namespace nb::literals;
namespace px = edgevid::pixels;
using View = nb::ndarray<nb::ro, nb::device::cpu>;
using Writable = nb::ndarray<nb::device::cpu>;
using Place = std::array<int, 4>;
using Shape = std::vector<std::size_t>;

namespace {

// Arrays that are checked in words below, with the type that the stub shows.
bool anything(PyObject*) { return true; }
struct Bytes : nb::object {
    NB_OBJECT_DEFAULT(Bytes, nb::object, "numpy.typing.NDArray[numpy.uint8]", anything)
};
struct Boxes : nb::object {
    NB_OBJECT_DEFAULT(Boxes, nb::object, "numpy.typing.NDArray[numpy.float32]", anything)
};
struct Tensor : nb::object {
    NB_OBJECT_DEFAULT(Tensor, nb::object, "numpy.typing.NDArray[typing.Any]", anything)
};

[[noreturn]] void fail(const std::string& message) {
    const nb::object error = nb::module_::import_("edgevid.errors").attr("InputError");
    PyErr_SetString(error.ptr(), message.c_str());
    throw nb::python_error();
}

std::string text_of(const Shape& shape) {
    std::string text = "(";
    for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + ")";
}

template <typename A>
Shape shape_of(const A& array) {
    Shape shape;
    for (std::size_t i = 0; i < array.ndim(); ++i) shape.push_back(array.shape(i));
    return shape;
}

// What came, as Python says it: "uint8 (4, 4)", or the name of the type.
std::string described(nb::handle value) {
    const auto text = [&](const char* name) { return nb::cast<std::string>(value.attr(name).attr("__str__")()); };
    if (nb::hasattr(value, "dtype") && nb::hasattr(value, "shape")) return text("dtype") + " " + text("shape");
    return nb::type_name(value.type()).c_str();
}

template <typename A, typename Right>
A demand(nb::handle value, const std::string& expected, Right right) {
    A array;
    if (!nb::try_cast<A>(value, array, false) || !right(array)) fail(expected + ", got " + described(value));
    return array;
}

template <typename T, typename A>
bool is(const A& array) {
    return array.dtype() == nb::dtype<T>();
}

px::Image image_of(nb::handle image) {
    const auto a = demand<View>(image, "image: expected uint8 RGB of shape (H, W, 3)", [](const View& v) {
        return is<std::uint8_t>(v) && v.ndim() == 3 && v.shape(2) == 3;
    });
    if (a.size() == 0) fail("image: expected at least one pixel, got shape " + text_of(shape_of(a)));
    return {static_cast<px::Bytes>(a.data()), a.stride(0), a.stride(1), a.stride(2),
            static_cast<int>(a.shape(1)), static_cast<int>(a.shape(0))};
}

View plane(nb::handle value, const char* name) {
    return demand<View>(value, std::string("plane ") + name + ": expected uint8 of two dimensions",
                        [](const View& v) { return is<std::uint8_t>(v) && v.ndim() == 2; });
}

px::Plane half(nb::handle value, const char* name, const View& y) {
    const View a = plane(value, name);
    const Shape expected{(y.shape(0) + 1) / 2, (y.shape(1) + 1) / 2};
    if (shape_of(a) != expected)
        fail(std::string("plane ") + name + ": expected shape " + text_of(expected) + " for y " + text_of(shape_of(y)) +
               ", got " + text_of(shape_of(a)));
    return {static_cast<px::Bytes>(a.data()), a.stride(0), a.stride(1)};
}

px::Planes planes(nb::handle y, nb::handle u, nb::handle v, bool full_range, const std::string& matrix) {
    const View luma = plane(y, "y");
    if (luma.size() == 0) fail("plane y: expected at least one pixel, got shape " + text_of(shape_of(luma)));
    if (matrix != "bt601" && matrix != "bt709") fail("matrix: expected 'bt601' or 'bt709', got '" + matrix + "'");
    return {{static_cast<px::Bytes>(luma.data()), luma.stride(0), luma.stride(1)},
            half(u, "u", luma),
            half(v, "v", luma),
            static_cast<int>(luma.shape(1)),
            static_cast<int>(luma.shape(0)),
            px::Conversion::of(full_range, matrix == "bt709")};
}

// `out`, or a new array of NumPy's where it is None; the pointer is to its first byte.
Bytes pixels_out(Bytes out, const Shape& shape, std::uint8_t*& data) {
    if (out.is_none()) {
        const nb::module_ numpy = nb::module_::import_("numpy");
        nb::list sizes;
        for (const std::size_t n : shape) sizes.append(n);
        out = nb::borrow<Bytes>(numpy.attr("empty")(nb::tuple(sizes), numpy.attr("uint8")));
    }
    const auto a = demand<Writable>(out, "out: expected writable uint8 " + text_of(shape), [&](const Writable& w) {
        return is<std::uint8_t>(w) && shape_of(w) == shape;
    });
    std::int64_t step = 1;
    for (std::size_t i = shape.size(); i-- > 0; step *= static_cast<std::int64_t>(shape[i]))
        if (shape[i] > 1 && a.size() > 0 && a.stride(i) != step) fail("out: expected a C-contiguous array");
    data = static_cast<std::uint8_t*>(a.data());
    return out;
}

struct Style {
    px::Color color;
    bool interleaved;
    float pad;
    std::array<float, 3> scale{}, bias{};
    bool write_pad;
};

Style style(const std::string& color, const std::string& layout, float pad, const std::vector<float>& scale,
            const std::vector<float>& bias, bool write_pad) {
    if (color != "RGB" && color != "BGR" && color != "GRAY")
        fail("color: expected 'RGB', 'BGR' or 'GRAY', got '" + color + "'");
    if (layout != "NCHW" && layout != "NHWC") fail("layout: expected 'NCHW' or 'NHWC', got '" + layout + "'");
    const std::size_t count = color == "GRAY" ? 1 : 3;
    if (scale.size() < count || bias.size() < count)
        fail("scale and bias: expected " + std::to_string(count) + " values, got " +
               std::to_string(scale.size()) + " and " + std::to_string(bias.size()));
    Style made{color == "RGB" ? px::Color::rgb : color == "BGR" ? px::Color::bgr : px::Color::gray,
               layout == "NHWC", pad, {}, {}, write_pad};
    std::copy_n(scale.begin(), count, made.scale.begin());
    std::copy_n(bias.begin(), count, made.bias.begin());
    return made;
}

template <typename T, typename Source>
void fill(const Source& source, const Writable& out, const Place& place, const Style& how) {
    const bool nhwc = how.interleaved;
    const px::Target<T> target{static_cast<T*>(out.data()),
                               static_cast<int>(out.shape(nhwc ? 1 : 2)),
                               static_cast<int>(out.shape(nhwc ? 0 : 1)),
                               how.color,
                               nhwc && how.color != px::Color::gray,
                               place[0], place[1], place[2], place[3],
                               how.scale, how.bias, how.pad, how.write_pad};
    const Unlocked unlocked;
    px::letterbox(source, target);
}

template <typename Source>
void letterbox(const Source& source, nb::handle out, const Place& place, const Style& how) {
    const std::size_t channels = how.color == px::Color::gray ? 1 : 3;
    const auto a = demand<Writable>(
        out, "out: expected writable float32, uint8 or int32 of three dimensions", [](const Writable& w) {
            return w.ndim() == 3 && (is<float>(w) || is<std::uint8_t>(w) || is<std::int32_t>(w));
        });
    if (a.shape(how.interleaved ? 2 : 0) != channels)
        fail("out: expected " + std::to_string(channels) + " channels, got shape " + text_of(shape_of(a)));
    const auto rows = static_cast<std::int64_t>(a.shape(1)), depth = static_cast<std::int64_t>(a.shape(2));
    if (a.stride(2) != 1 || a.stride(1) != depth || a.stride(0) != rows * depth)
        fail("out: expected a writable C-contiguous array");
    const int width = static_cast<int>(a.shape(how.interleaved ? 1 : 2));
    const int height = static_cast<int>(a.shape(how.interleaved ? 0 : 1));
    const auto [left, top, w, h] = place;
    if (left < 0 || top < 0 || w < 1 || h < 1 || w > width - left || h > height - top)
        fail("place: expected (left, top, width, height) inside " + std::to_string(width) + "x" +
               std::to_string(height) + ", got (" + std::to_string(left) + ", " + std::to_string(top) + ", " +
               std::to_string(w) + ", " + std::to_string(h) + ")");
    if (is<float>(a)) fill<float>(source, a, place, how);
    else if (is<std::uint8_t>(a)) fill<std::uint8_t>(source, a, place, how);
    else fill<std::int32_t>(source, a, place, how);
}

template <typename Source>
Bytes crops(const Source& source, nb::handle boxes, int height, int width, int fill, Bytes out) {
    const auto b = demand<View>(boxes, "boxes: expected contiguous float32 of shape (N, 4)", [](const View& v) {
        return is<float>(v) && v.ndim() == 2 && v.shape(1) == 4 &&
               (v.shape(0) == 0 || (v.stride(1) == 1 && (v.stride(0) == 4 || v.shape(0) == 1)));
    });
    if (height < 1 || width < 1)
        fail("crop size: expected at least 1x1, got " + std::to_string(width) + "x" + std::to_string(height));
    if (fill < 0 || fill > 255) fail("fill: expected 0 to 255, got " + std::to_string(fill));
    std::uint8_t* data = nullptr;
    out = pixels_out(out, {b.shape(0), static_cast<std::size_t>(height), static_cast<std::size_t>(width), 3}, data);
    const Unlocked unlocked;
    px::crop_resize(source, static_cast<const float*>(b.data()), b.shape(0), height, width,
                    static_cast<std::uint8_t>(fill), data);
    return out;
}

}  // namespace

void bind_pixels(nb::module_& m) {
    using Numbers = std::vector<float>;
    m.def("letterbox",
          [](const Bytes& image, const Tensor& out, Place place, const std::string& color, const std::string& layout,
             float pad, const Numbers& scale, const Numbers& bias, bool write_pad) {
              letterbox(image_of(image), out, place, style(color, layout, pad, scale, bias, write_pad));
          },
          "image"_a, "out"_a, "place"_a, nb::kw_only(), "color"_a, "layout"_a, "pad"_a, "scale"_a, "bias"_a,
          "write_pad"_a = true);
    m.def("letterbox_yuv420",
          [](const Bytes& y, const Bytes& u, const Bytes& v, bool full_range, const std::string& matrix,
             const Tensor& out, Place place, const std::string& color, const std::string& layout, float pad,
             const Numbers& scale, const Numbers& bias, bool write_pad) {
              letterbox(planes(y, u, v, full_range, matrix), out, place,
                        style(color, layout, pad, scale, bias, write_pad));
          },
          "y"_a, "u"_a, "v"_a, "full_range"_a, "matrix"_a, "out"_a, "place"_a, nb::kw_only(), "color"_a, "layout"_a,
          "pad"_a, "scale"_a, "bias"_a, "write_pad"_a = true);
    m.def("yuv420_to_rgb",
          [](const Bytes& y, const Bytes& u, const Bytes& v, bool full_range, const std::string& matrix, Bytes out) {
              const px::Planes from = planes(y, u, v, full_range, matrix);
              std::uint8_t* data = nullptr;
              out = pixels_out(out, {static_cast<std::size_t>(from.height), static_cast<std::size_t>(from.width), 3},
                               data);
              const Unlocked unlocked;
              px::yuv420_to_rgb(from, data);
              return out;
          },
          "y"_a, "u"_a, "v"_a, "full_range"_a, "matrix"_a, "out"_a = nb::none());
    m.def("crop_resize",
          [](const Bytes& image, const Boxes& boxes, int height, int width, int fill, Bytes out) {
              return crops(image_of(image), boxes, height, width, fill, out);
          },
          "image"_a, "boxes"_a, "height"_a, "width"_a, "fill"_a = 0, "out"_a = nb::none());
    m.def("crop_resize_yuv420",
          [](const Bytes& y, const Bytes& u, const Bytes& v, bool full_range, const std::string& matrix,
             const Boxes& boxes, int height, int width, int fill, Bytes out) {
              return crops(planes(y, u, v, full_range, matrix), boxes, height, width, fill, out);
          },
          "y"_a, "u"_a, "v"_a, "full_range"_a, "matrix"_a, "boxes"_a, "height"_a, "width"_a, "fill"_a = 0,
          "out"_a = nb::none());
    m.def("_limit_isa", [](const std::string& name) {
        using edgevid::Isa;
        const Isa expected = name == "base" ? Isa::base : name == "avx2" ? Isa::avx2 : Isa::avx512;
        edgevid::isa() = std::min(expected, edgevid::best_isa());
        return edgevid::isa() == expected;
    }, "For tests: use no instruction set above \"base\", \"avx2\" or \"avx512\"; whether this machine has it.");
}
