// Settings of the cores, from a dictionary of Python.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

// Inside `set` of settings_from: takes the value where `name` is this field's.
#define EDGEVID_FIELD(field)                                                \
    if (name == #field) {                                                   \
        s.field = static_cast<decltype(s.field)>(nanobind::cast<double>(value)); \
        return true;                                                        \
    }

// `S` with the given values; `set(settings, name, value)` is false for a name that it does not know.
template <class S, class Set>
S settings_from(const nanobind::dict& given, const std::string& owner, Set set) {
    S settings;
    for (auto [key, value] : given) {
        const std::string name = nanobind::cast<std::string>(key);
        if (!set(settings, name, value)) throw nanobind::value_error((owner + " setting: there is no " + name).c_str());
    }
    return settings;
}
