// Bindings of boxes.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>

void bind_boxes(nanobind::module_& m) { (void)m; }
