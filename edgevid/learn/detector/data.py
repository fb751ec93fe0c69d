"""Training images of the detector: a folder of images and labels, composed again for every batch.

A data folder holds `images/<clip>_<number>.jpg` and `labels/<clip>_<number>.txt`, one object per line:
`class x1 y1 x2 y2 weight` in pixels of the image. The weight is the confidence of the label (0 to 1); a
negative one marks a region that the loss ignores. The part of the name before the last underscore is the
clip: splits are made by clip, never by frame."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from edgevid._opencv import cv2
from edgevid.errors import InputError
from edgevid.files.atomic import make_folder
from edgevid.runtime.engine import PAD
from edgevid.types import Array

PASTE_WEIGHT = 0.6  # Weight from which a label's object is pasted into other images
PASTE_ZOOM = 2.5  # Largest enlargement of a pasted object
RARE = 0.3  # Share of the images below which those with a class are drawn more often (Gupta 2019, LVIS)


@dataclass(slots=True)
class Sample:
    """One labeled image."""

    image: Array  # (H, W, 3) uint8 RGB
    boxes: Array  # (G, 4) float32 x1, y1, x2, y2 in pixels
    labels: Array  # (G,) int64
    weights: Array  # (G,) float32; negative: ignore this region
    clip: str


def read_labels(path: Path, classes: Sequence[str]) -> tuple[Array, Array, Array]:
    """Boxes (G, 4), labels (G,) and weights (G,) of one label file.

    Raises InputError that names file and line for an unknown class, wrong numbers or an empty box."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a label file for each image, even if empty ({error})") from None
    labels, rows = [], []
    for number, line in enumerate(lines, 1):
        if not (words := line.split()):
            continue
        try:
            labels.append(list(classes).index(words[0]))
            x1, y1, x2, y2, weight = map(float, words[1:])
        except ValueError:
            raise InputError(
                f"{path}, line {number}: expected 'class x1 y1 x2 y2 weight' with one of {list(classes)}, got {line!r}"
            ) from None
        if not (x2 > x1 and y2 > y1 and np.isfinite((x1, y1, x2, y2, weight)).all()):
            raise InputError(f"{path}, line {number}: expected x2 > x1 and y2 > y1, got {line!r}")
        rows.append((x1, y1, x2, y2, weight))
    table = np.asarray(rows, np.float32).reshape(-1, 5)
    return table[:, :4].copy(), np.asarray(labels, np.int64), table[:, 4].copy()


def label_line(name: str, box: Iterable[float], weight: float) -> str:
    """One object as `read_labels` reads it."""
    return f"{name} {' '.join(f'{v:.1f}' for v in box)} {weight:.2f}\n"


def write_image(folder: Path, stem: str, image: Array, labels: str) -> None:
    """Adds one image (H, W, 3) RGB and its label file to a data folder."""
    for name in ("images", "labels"):
        make_folder(folder / name)
    path = folder / "images" / f"{stem}.jpg"
    cv2.imwrite(str(path), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    (folder / "labels" / f"{stem}.txt").write_text(labels, encoding="utf-8")


def load(folder: Path, classes: Sequence[str], *, longest: int = 640) -> list[Sample]:
    """Every labeled image of a data folder, shrunk so that its longer side is at most `longest` pixels."""
    paths = sorted((folder / "images").glob("*.jpg"))
    if not paths:
        raise InputError(f"{folder}: expected images/*.jpg and labels/*.txt, found no image")
    samples = []
    for path in paths:
        image = cv2.imread(str(path))
        if image is None:
            raise InputError(f"{path}: expected a JPEG image, got a file that cannot be decoded")
        boxes, labels, weights = read_labels(folder / "labels" / f"{path.stem}.txt", classes)
        scale = min(1.0, longest / max(image.shape[:2]))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        samples.append(Sample(rgb, boxes * scale, labels, weights, path.stem.rpartition("_")[0]))
    return samples


class Composer:
    """Composes training images: scaled views, mosaics of four scenes, objects pasted from other scenes."""

    def __init__(self, samples: Sequence[Sample], width: int, height: int, *, seed: int = 0, mosaic: float = 0.5,
                 paste: float = 0.5, weather: float = 0.0, shares: Mapping[str, float] | None = None,
                 zoom: tuple[float, float] = (0.6, 1.9)) -> None:  # fmt: skip
        """`mosaic` and `paste` are the shares of images composed that way, `weather` of those at night or in
        rain; `shares` of the views whose clip's name begins with a key, the longest that fits.

        Images with rare classes are drawn more often (RARE). `zoom` is the range of the views' scale, 1 where
        the whole image just fits."""
        self.samples, self.width, self.height = samples, width, height
        self.mosaic, self.paste, self.weather, self.zoom = mosaic, paste, weather, zoom
        self.seed, self.random = seed, np.random.default_rng(seed)
        self._noise: Array | None = None
        clips: dict[str, list[int]] = {}
        for n, sample in enumerate(samples):
            clips.setdefault(sample.clip, []).append(n)
        # A clip is many images of one scene: it is drawn by the square root of its length.
        self._clips = list(clips.values())
        rarity = _rarity(samples)
        odds = np.array([np.sqrt(len(clip)) * rarity[clip].mean() for clip in self._clips])
        groups = np.array([max((k for k in shares or () if c.startswith(k)), key=len, default=None) for c in clips])
        for group, share in (shares or {}).items():
            if (mine := groups == group).any():
                odds[mine] *= share / odds[mine].sum()
        if shares and (rest := groups == None).any():  # noqa: E711 (an array)
            odds[rest] *= max(0.0, 1 - sum(shares.values())) / odds[rest].sum()
        self._odds = odds / odds.sum()
        # People are in most scenes, vehicles in few: pasted objects are drawn by class, then by scene.
        self._objects: dict[int, dict[str, list[tuple[int, int]]]] = {}
        for n, sample in enumerate(samples):
            for k in np.flatnonzero(sample.weights > PASTE_WEIGHT):
                scenes = self._objects.setdefault(int(sample.labels[k]), {})
                scenes.setdefault(sample.clip, []).append((n, int(k)))

    def resume(self, step: int) -> None:
        """Continues with other random images than before an interruption at `step`."""
        self.random = np.random.default_rng([self.seed, step])

    def draw(self) -> Sample:
        """A random image, scenes drawn more evenly than frames."""
        clip = self._clips[self.random.choice(len(self._clips), p=self._odds)]
        return self.samples[clip[self.random.integers(len(clip))]]

    def compose(self) -> Sample:
        """One training image of the network's input size."""
        wide, high = self.width, self.height
        canvas, windows = np.full((high, wide, 3), PAD, np.uint8), [(0, 0, wide, high)]
        if self.random.random() < self.mosaic:
            x, y = int(wide * self.random.uniform(0.3, 0.7)), int(high * self.random.uniform(0.3, 0.7))
            windows = [(0, 0, x, y), (x, 0, wide, y), (0, y, x, high), (x, y, wide, high)]
        parts = [self._view(canvas, self.draw(), window) for window in windows]
        if self.random.random() < self.paste:
            parts += [self._paste(canvas) for _ in range(self.random.integers(1, 5))]
        boxes, labels, weights = (np.concatenate([p[k] for p in parts]) for k in range(3))
        image = self._photometric(canvas)
        if self.random.random() < self.weather:
            image = self._night(image, boxes) if self.random.random() < 0.6 else self._rain(image)
        return Sample(self._corrupt(image), boxes, labels, weights, "")

    def batches(
        self, size: int, shapes: Iterable[tuple[int, int]] | None = None
    ) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Images (B, H, W, 3) uint8, boxes (B, G, 4), labels (B, G), weights (B, G) of each (width, height) of
        `shapes`, endlessly without them."""
        for shape in shapes or repeat((self.width, self.height)):
            self.width, self.height = shape
            composed = [self.compose() for _ in range(size)]
            most = max(1, max(len(sample.boxes) for sample in composed))
            boxes = np.zeros((size, most, 4), np.float32)
            labels, weights = np.zeros((size, most), np.int64), np.zeros((size, most), np.float32)
            for n, sample in enumerate(composed):
                k = len(sample.boxes)
                boxes[n, :k], labels[n, :k], weights[n, :k] = sample.boxes, sample.labels, sample.weights
            yield np.stack([sample.image for sample in composed]), boxes, labels, weights

    def _view(self, canvas: Array, sample: Sample, window: tuple[int, int, int, int]) -> tuple[Array, Array, Array]:
        """Draws a random flipped, scaled and shifted view of `image` into `window` of the canvas."""
        x1, y1, x2, y2 = window
        high, wide = sample.image.shape[:2]
        fit = min(self.width / wide, self.height / high)
        scale = fit * float(np.exp(self.random.uniform(*np.log(self.zoom))))
        stretch = float(np.exp(self.random.uniform(-0.15, 0.15)))
        sx, sy = scale * stretch, scale / stretch
        flip = -1.0 if self.random.random() < 0.5 else 1.0
        left = x1 + ((x2 - x1) - sx * wide) * self.random.uniform(0, 1)
        top = y1 + ((y2 - y1) - sy * high) * self.random.uniform(0, 1)
        matrix = np.array([[flip * sx, 0, left if flip > 0 else left + sx * wide], [0, sy, top]])
        local = matrix - [[0, 0, x1], [0, 0, y1]]
        mode = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        size = x2 - x1, y2 - y1
        canvas[y1:y2, x1:x2] = cv2.warpAffine(sample.image, local, size, flags=mode, borderValue=(PAD, PAD, PAD))
        moved = sample.boxes.reshape(-1, 2, 2) * [flip * sx, sy] + matrix[:, 2]
        boxes = np.concatenate([moved.min(1), moved.max(1)], 1).astype(np.float32).reshape(-1, 4)
        return clip_boxes(boxes, sample.labels, sample.weights, window)

    def _paste(self, canvas: Array) -> tuple[Array, Array, Array]:
        """Pastes an object of another scene, with soft edges, at a random position of the canvas."""
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
        if not self._objects:
            return nothing
        sample, k = self._object()
        x1, y1, x2, y2 = sample.boxes[k]
        rim = 0.08 * max(x2 - x1, y2 - y1)
        a, b = max(0, int(x1 - rim)), max(0, int(y1 - rim))
        c = min(sample.image.shape[1], int(np.ceil(x2 + rim)))
        d = min(sample.image.shape[0], int(np.ceil(y2 + rim)))
        patch = sample.image[b:d, a:c]
        least = 0.08 if sample.labels[k] == 0 else 0.05
        high = self.height * float(np.exp(self.random.uniform(np.log(least), np.log(0.9))))
        scale = min(PASTE_ZOOM, high / max(1.0, y2 - y1))
        wide, tall = int(patch.shape[1] * scale), int(patch.shape[0] * scale)
        if min(wide, tall) < 8 or wide >= self.width or tall >= self.height:
            return nothing
        patch = cv2.resize(patch, (wide, tall), interpolation=cv2.INTER_AREA)
        if self.random.random() < 0.5:
            patch, x1, x2 = patch[:, ::-1], a + c - x2, a + c - x1
        left, top = (int(self.random.integers(n)) for n in (self.width - wide, self.height - tall))
        soft: Array = np.zeros((tall, wide, 1), np.float32)
        edge = max(1, int(rim * scale))
        soft[edge:-edge, edge:-edge] = 1
        soft = cv2.blur(soft, (2 * edge + 1, 2 * edge + 1))[..., None]
        place = canvas[top : top + tall, left : left + wide]
        place[:] = (patch * soft + place * (1 - soft)).astype(np.uint8)
        box = np.array([[x1 - a, y1 - b, x2 - a, y2 - b]]) * scale + [left, top, left, top]
        return box.astype(np.float32), sample.labels[k : k + 1], sample.weights[k : k + 1]

    def _object(self) -> tuple[Sample, int]:
        """An object to paste: a person half the time, else a vehicle; classes and scenes drawn evenly."""
        vehicles = [label for label in self._objects if label != 0]
        if 0 in self._objects and (not vehicles or self.random.random() < 0.5):
            label = 0
        else:
            label = vehicles[self.random.integers(len(vehicles))]
        scenes = list(self._objects[label].values())
        scene = scenes[self.random.integers(len(scenes))]
        n, k = scene[self.random.integers(len(scene))]
        return self.samples[n], k

    def _photometric(self, image: Array) -> Array:
        """Random exposure, contrast, gamma, tint, hue and saturation."""
        gain = self.random.uniform(0.6, 1.4) * self.random.uniform(0.85, 1.15, 3)
        shift, gamma = self.random.uniform(-30, 30), float(np.exp(self.random.uniform(-0.4, 0.4)))
        ramp = 255 * (np.arange(256)[:, None] / 255) ** gamma
        table = np.clip(ramp * gain + shift, 0, 255).astype(np.uint8)
        image = np.asarray(cv2.LUT(np.ascontiguousarray(image), table[:, None].reshape(1, 256, 3)))
        if self.random.random() < 0.5:
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
            turn, depth = self.random.integers(-12, 13), self.random.uniform(0.3, 1.6)
            steps = np.arange(256)
            tables = np.stack([(steps + turn) % 180, np.clip(steps * depth, 0, 255), steps], -1)
            image = cv2.cvtColor(cv2.LUT(hsv, tables.astype(np.uint8)[None]), cv2.COLOR_HSV2RGB)
        return np.asarray(image)

    def _night(self, image: Array, boxes: Array) -> Array:
        """Darkness with a lamp's tint, noise, and the glow of lights on some objects."""
        gain = self.random.uniform(0.4, 0.9) * np.array([1.0, 0.9, 0.7]) ** self.random.uniform(-0.5, 1)
        ramp = 255 * (np.arange(256)[:, None] / 255) ** self.random.uniform(1.1, 1.9) * gain
        dark = cv2.LUT(image, ramp.clip(0, 255).astype(np.uint8).reshape(1, 256, 3))
        lights = np.zeros_like(image)
        for box in boxes[self.random.random(len(boxes)) < 0.4]:
            wide, high = box[2:] - box[:2]
            at = (int(box[0] + wide * self.random.random()), int(box[1] + high * self.random.uniform(0.5, 0.9)))
            cv2.circle(lights, at, max(1, int(0.06 * wide)), (255, 244, 214), -1)
        glow = cv2.blur(cv2.blur(lights, (13, 13)), (9, 9))
        return self._noisy(cv2.add(cv2.add(cv2.add(dark, glow), glow), lights), self.random.uniform(2, 12))

    def _rain(self, image: Array) -> Array:
        """Haze, streaks, and a wet lens."""
        drops, haze = np.zeros(image.shape[:2], np.uint8), self.random.uniform(0.1, 0.5)
        drops.flat[self.random.integers(drops.size, size=drops.size // 200)] = 255
        streaks = cv2.blur(drops, (1, int(self.random.integers(5, 16)))) * np.uint8(2)
        hazy = cv2.convertScaleAbs(image, alpha=1 - haze, beta=haze * self.random.uniform(90, 190))
        wet = cv2.add(hazy, cv2.merge([streaks] * 3))
        return np.asarray(cv2.GaussianBlur(wet, (0, 0), self.random.uniform(0.4, 1.4)))

    def _noisy(self, image: Array, deviation: float) -> Array:
        """Gaussian noise, from a field that is drawn once."""
        if self._noise is None:
            self._noise = (32 * self.random.standard_normal(2_000_000, np.float32)).astype(np.int16)
        at = int(self.random.integers(len(self._noise) - image.size))
        noise = self._noise[at : at + image.size].reshape(image.shape)
        return np.asarray(cv2.addWeighted(image, 1.0, noise, deviation / 32, 0.0, dtype=cv2.CV_8U))

    def _corrupt(self, image: Array) -> Array:
        """Corruptions of cameras and encoders: blur, noise, grayscale, JPEG. With OpenCV's codec: with
        kornia's differentiable one a CPU core trained 4 frames per second instead of 80, and a detector's
        labels need no gradient through it."""
        chance = self.random.random(4)
        if chance[0] < 0.25:
            image = cv2.GaussianBlur(image, (0, 0), self.random.uniform(0.4, 1.6))
        if chance[1] < 0.25:
            image = self._noisy(image, self.random.uniform(2, 10))
        if chance[2] < 0.08:
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if chance[3] < 0.35:
            quality = int(self.random.integers(15, 80))
            coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
        return image


def _rarity(samples: Sequence[Sample]) -> Array:
    """(N,) how much more often each image is drawn for the rarest of its classes."""
    has = [set(s.labels[s.weights > PASTE_WEIGHT].tolist()) for s in samples]
    counts = np.bincount([label for labels in has for label in labels], minlength=1)
    factor = np.sqrt(np.maximum(1.0, RARE * len(samples) / np.maximum(counts, 1)))
    return np.array([max((factor[label] for label in labels), default=1.0) for labels in has])


def clip_boxes(
    boxes: Array, labels: Array, weights: Array, window: tuple[int, int, int, int]
) -> tuple[Array, Array, Array]:
    """The labels inside a window, clipped to it; boxes with less than 40 % left are ignored regions."""
    low, high = np.array(window[:2], np.float32), np.array(window[2:], np.float32)
    cut = np.concatenate([np.clip(boxes[:, :2], low, high), np.clip(boxes[:, 2:], low, high)], 1)
    size = (cut[:, 2:] - cut[:, :2]).clip(0)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    left = size.prod(1) / np.maximum(whole, 1e-6)
    kept = (size > 1).all(1)
    ignored = (left < 0.4) | (size.max(1) < 6)
    weights = np.where(ignored, -np.abs(weights), weights).astype(np.float32)
    return cut[kept].astype(np.float32), labels[kept], weights[kept]
