// Bindings of pixels.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>

void bind_pixels(nanobind::module_& m) { (void)m; }
