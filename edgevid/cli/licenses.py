"""The licenses of the installed packages that edgevid uses, and of what their wheels bundle."""

import ctypes
import re
from importlib import metadata
from pathlib import PurePosixPath
from typing import Any, NamedTuple

PACKAGES = (
    "numpy", "onnxruntime", "av", "lap", "shapely", "typer", "rich", "pydantic", "annotated-types",
    "tomlkit", "tomli", "opencv-python-headless", "opencv-python", "tensorrt", "cuda-bindings", "pycuda",
    "tensorrt-rtx", "onnx", "ultralytics", "torch", "kornia", "matplotlib", "starlette", "uvicorn",
    "websockets", "supervision", "pandas", "polars", "orjson", "pyarrow", "duckdb", "prometheus-client",
    "openvino", "tritonclient", "paho-mqtt", "httpx", "redis", "confluent-kafka", "scikit-learn", "pg8000",
)  # fmt: skip
"""Every distribution that edgevid imports, the extras' too."""
OTHERS = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-openvino"),
    "opencv-python-headless": ("opencv-contrib-python-headless", "opencv-contrib-python"),
}
"""Distributions that install the same modules under another name."""
LIBRARIES = {
    r"x264|x265|xvidcore|rubberband": "GPL-2.0-or-later",
    r"av(codec|device|filter|format|util)|sw(scale|resample)": "FFmpeg",
    r"geos(_c)?|quadmath|asound|gnutls|Qt5\w+": "LGPL-2.1-or-later",
    r"mp3lame": "LGPL-2.0-or-later",
    r"gmp|nettle|hogweed|unistring": "LGPL-3.0-or-later OR GPL-2.0-or-later",
    r"gfortran|gomp": "GPL-3.0-or-later WITH GCC-exception-3.1",
    r"(scipy_)?openblas\S*|opus|vpx|webp\w*|sharpyuv|SvtAv1Enc": "BSD-3-Clause",
    r"openh264|dav1d|aom|avif|rdkafka": "BSD-2-Clause",
    r"opencore-amr\w+": "Apache-2.0",
    r"crypto|ssl": "OpenSSL OR Apache-2.0",
    r"drm|Xau|xcb\S*|vpl": "MIT",
    r"png\d*": "libpng-2.0",
    r"z": "Zlib",
}
"""Licenses of libraries by the file's name without "lib", which no notice in the wheel may state."""
WORDS = {"Mozilla Public License": "MPL-2.0"}
"""Words of a section of a notices file that name a license with conditions on the source."""


class Package(NamedTuple):
    """An installed package and its licenses."""

    name: str
    version: str
    license: str
    bundled: dict[str, list[str]]
    """By license, the libraries in the wheel; those with conditions on the source first."""


def installed() -> list[Package]:
    """The installed packages among those that edgevid uses, and what those need in turn."""
    names = [name for first in PACKAGES for name in (first, *OTHERS.get(first, ()))]
    found: dict[str, Package] = {}
    for name in names:  # grows as it goes
        if name not in found and (dist := next(iter(metadata.distributions(name=name)), None)):
            found[name] = package(dist)
            needs = [one for one in dist.requires or () if "extra ==" not in one]
            names += [re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", one)[0].lower()) for one in needs]
    return list(found.values())


def package(dist: metadata.Distribution) -> Package:
    """What a distribution's metadata, files and notices say."""
    found: dict[str, list[str]] = {}
    names = sorted({name for path in dist.files or () if (name := _library(path.name))} - {""})
    inside = any(".libs/" in str(path) or path.name.endswith(".dylib") for path in dist.files or ())
    for name in names if inside else ():
        kinds = (kind for part, kind in LIBRARIES.items() if re.fullmatch(part, name.rstrip("-_")))
        found.setdefault(next(kinds, "license not known"), []).append(name)
    if found.pop("FFmpeg", None) or dist.metadata["Name"] == "av":
        stated, gpl = _ffmpeg(dist)
        found.setdefault(stated, []).append("FFmpeg")
        if gpl - set(names):
            found.setdefault("GPL-2.0-or-later", []).extend(sorted(gpl - set(names)))
    for name, kind in _notices(dist):
        if name not in found.setdefault(kind, []):
            found[kind].append(name)
    order = sorted(found, key=lambda kind: (not re.match("GPL|LGPL|MPL", kind), kind))
    return Package(dist.metadata["Name"], dist.version, _own(dist), {kind: found[kind] for kind in order})


def gpl_parts(packages: list[Package]) -> dict[str, list[str]]:
    """By package, what is GPL in it, itself included; GPL with an exception for its users does not count."""
    found = {}
    for one in packages:
        parts = [n for kind, names in one.bundled.items() if _is_gpl(kind) for n in names]
        if parts := ([one.name] if _is_gpl(one.license) else []) + parts:
            found[one.name] = parts
    return found


def _is_gpl(license: str) -> bool:
    return bool(re.match("A?GPL", license)) and "exception" not in license


def _ffmpeg(dist: metadata.Distribution) -> tuple[str, set[str]]:
    """The license that the FFmpeg of a package states, and the GPL libraries that it was configured with."""
    if dist.metadata["Name"] == "av":
        from edgevid.video.writer import ffmpeg_meta

        stated, configuration = ffmpeg_meta()
    else:
        file = next(path for path in dist.files or () if path.name.startswith("libavcodec"))
        try:
            library = ctypes.CDLL(str(dist.locate_file(file)))
        except OSError:
            return "license not known", set()
        library.avcodec_license.restype = library.avcodec_configuration.restype = ctypes.c_char_p
        stated, configuration = library.avcodec_license().decode(), library.avcodec_configuration().decode()
    return stated, set(re.findall(r"--enable-lib(x264|x265|xvid|vidstab|rubberband)\b", configuration))


def _own(dist: metadata.Distribution) -> str:
    meta: Any = dist.metadata
    classifiers = [c for c in meta.get_all("Classifier") or () if c.startswith("License ::")]
    stated = meta.get("License-Expression") or meta.get("License") or ""
    if (not stated or len(stated) > 60) and "License-Expression" not in meta and classifiers:
        stated = classifiers[0].rpartition(" :: ")[2]
    return stated.strip() or "not stated"


def _library(file: str) -> str:
    """ "x264" of libx264-d6533a8d.so.165 or libx264.165.dylib; "" of any other file."""
    match = re.match(r"lib([A-Za-z][\w+-]*?)[-_.][\d.a-f-]*\.?(so|dylib)\b", file)
    return match[1] if match else ""


def _notices(dist: metadata.Distribution) -> list[tuple[str, str]]:
    """(Project, license) from the notices in the wheel: `Name:` and `License:` lines, or titled sections."""
    found: list[tuple[str, str]] = []
    for path in dist.files or ():
        if not re.search(r"(?i)licen[sc]e|notice|copying", path.name) or path.suffix in (".py", ".pyc"):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        found += re.findall(r"(?m)^Name: (.+)\n(?:.*\n)*?License: (.+)$", text)
        sections = re.split(r"(?m)^_{5,}\s*$", text)[1:]
        for section in sections:
            title = section.strip().partition("\n")[0].strip()
            kinds = [kind for words, kind in WORDS.items() if words in section]
            found += [(title, kind) for kind in kinds]
        if sections:
            found.append((f"{len(sections)} projects in {PurePosixPath(path).name}", "see there"))
    return found
