// Bindings of motion.hpp: argument checks and pointers, no logic.
#include <nanobind/nanobind.h>

void bind_motion(nanobind::module_& m) { (void)m; }
