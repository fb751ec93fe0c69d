"""How much a length on the road errs by the clicks of a calibration: by number of points and size of the patch.

    python benchmarks/calibration_points.py

A simulated pinhole camera 8 m above a plane road, 18 degrees down, 1400 px focal length, 1920x1080. Each click errs by
a normal 2 px in x and in y. `make_calibration` fits the points; the length from 20 to 50 m in front of the camera is
read at their true pixels.
"""

from __future__ import annotations

import numpy as np
from bench import conditions, save, table

from edgevid import make_calibration

HEIGHT_M, PITCH, FOCAL_PX, SIZE = 8.0, np.radians(18), 1400.0, (1920, 1080)
CLICK_PX, DRAWS = 2.0, 800


def pixels(meters: np.ndarray) -> np.ndarray:
    """(N, 2) pixels of (N, 2) meters: to the right of the camera, and in front of it."""
    x, y = meters.T
    depth = y * np.cos(PITCH) + HEIGHT_M * np.sin(PITCH)
    down = HEIGHT_M * np.cos(PITCH) - y * np.sin(PITCH)
    return np.stack([SIZE[0] / 2 + FOCAL_PX * x / depth, SIZE[1] / 2 + FOCAL_PX * down / depth], 1)


def rows(count: int, width: float = 7.0, near: float = 20.0, far: float = 50.0) -> np.ndarray:
    """Points on both sides of a strip of the road, `count` in all; four of them in order around."""
    sides = np.array([-width / 2, width / 2])
    along = np.linspace(near, far, count // 2)
    return np.array([[x, y] for n, y in enumerate(along) for x in (sides[::-1] if n % 2 else sides)])


LAYOUTS = {
    "4 corners of 7 x 30 m": rows(4), "6 points on 7 x 30 m": rows(6), "12 points on 7 x 30 m": rows(12),
    "20 points on 7 x 30 m": rows(20), "4 corners of 3.5 x 10 m": rows(4, 3.5, 20, 30),
}  # fmt: skip


def main() -> None:
    random = np.random.default_rng(0)
    ends = np.array([[0.0, 20.0], [0.0, 50.0]])
    found = []
    for name, meters in LAYOUTS.items():
        errors = []
        for _ in range(DRAWS):
            clicks = pixels(meters) + random.normal(0, CLICK_PX, meters.shape)
            near, far = make_calibration(clicks, meters, SIZE).to_ground(pixels(ends))
            errors.append(100 * abs(np.hypot(*(far - near)) / 30 - 1))
        found.append([name, f"{np.mean(errors):.1f}", f"{np.percentile(errors, 95):.1f}"])
    head = ["points", "mean error, %", "95th percentile, %"]
    print(table(head, found))
    save("calibration_points", {"head": head, "rows": found, "draws": DRAWS}, conditions())


if __name__ == "__main__":
    main()
