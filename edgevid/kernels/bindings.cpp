// The native module: one binding file for each header, no logic here.
#include <nanobind/nanobind.h>

void bind_boxes(nanobind::module_& m);
void bind_tracker(nanobind::module_& m);
void bind_pixels(nanobind::module_& m);
void bind_ground_filter(nanobind::module_& m);
void bind_policy(nanobind::module_& m);
void bind_zones(nanobind::module_& m);

NB_MODULE(_native, m) {
    m.doc() = "Native twins of edgevid.kernels.reference.";
    bind_boxes(m);
    bind_tracker(m);
    bind_pixels(m);
    bind_ground_filter(m);
    bind_policy(m);
    bind_zones(m);
}
