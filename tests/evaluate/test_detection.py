"""Average precision and recall against pycocotools on random boxes, and readers of boxes."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevid.evaluate.detection import evaluate


def random_coco(seed: int, images: int = 12) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Truth of three classes, some of it crowds, and detections that are near, far, doubled and of wrong classes."""
    rng = np.random.default_rng(seed)
    truth: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"clip{n % 4}_{n:04d}.jpg"} for n in range(images)],
        "categories": [{"id": n, "name": name} for n, name in ((1, "person"), (3, "car"), (7, "bus"))],
        "annotations": [],
    }  # fmt: skip
    found = []
    for image in range(images):
        for _ in range(rng.integers(0, 9)):
            x, y, w, h = (*rng.uniform(0, 400, 2), *rng.uniform(10, 150, 2))
            kind, crowd = int(rng.choice([1, 3, 7], p=[0.6, 0.3, 0.1])), int(rng.random() < 0.15)
            truth["annotations"].append({"id": len(truth["annotations"]) + 1, "image_id": image, "category_id": kind,
                "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd})  # fmt: skip
            for _ in range(rng.integers(0, 4)):
                box = np.array([x, y, w, h]) + rng.normal(0, 0.08, 4) * [w, h, w, h]
                other = int(rng.choice([1, 3, 7])) if rng.random() < 0.1 else kind
                found.append(
                    {"image_id": image, "category_id": other, "bbox": box.tolist(), "score": float(rng.random())}
                )
        for _ in range(rng.integers(0, 3)):
            box = [*rng.uniform(0, 400, 2), *rng.uniform(10, 100, 2)]
            found.append({"image_id": image, "category_id": 1, "bbox": box, "score": float(rng.random())})
    return truth, found


def written(folder: Path, truth: Any, found: Any) -> tuple[Path, Path]:
    paths = folder / "truth.json", folder / "found.json"
    for path, values in zip(paths, (truth, found), strict=True):
        path.write_text(json.dumps(values))
    return paths


@pytest.mark.parametrize("seed", range(6))
def test_the_values_are_those_of_pycocotools(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, found = written(tmp_path, *random_coco(seed))
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(truth))
        judged = COCOeval(known, known.loadRes(str(found)), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    got = evaluate(found, truth).figures()
    assert [got[n].value for n in ("AP50:95", "AP50", "AR")] == pytest.approx(judged.stats[[0, 1, 8]], abs=1e-6)
    precision = judged.eval["precision"][:, :, :, 0, 2]  # by IoU, recall, class
    by_class = {row[0]: row[1:4] for row in evaluate(found, truth).tables["By class"].rows}
    for n, name in enumerate(("person", "car", "bus")):
        kind, recall = precision[:, :, n], judged.eval["recall"][:, n, 0, 2]
        if (kind > -1).any():
            expected = [kind.mean(), kind[0].mean(), recall.mean()]
            assert by_class[name] == pytest.approx(expected, abs=1e-6)


def test_a_resampled_group_counts_as_often_as_its_images_are_there(tmp_path: Path) -> None:
    """Counting a clip twice is the same as having its images twice."""
    truth, found = random_coco(3)
    more = [one | {"id": one["id"] + 100, "file_name": "again_" + one["file_name"]} for one in truth["images"][::4]]
    again = {one["id"] - 100: one["id"] for one in more}
    twice = [one | {"image_id": again[one["image_id"]]} for one in truth["annotations"] if one["image_id"] in again]
    larger = truth | {"images": truth["images"] + more, "annotations": truth["annotations"] + twice}
    longer = found + [one | {"image_id": again[one["image_id"]]} for one in found if one["image_id"] in again]
    counted = evaluate(*written(tmp_path, truth, found)[::-1]).measure(np.array([2, 1, 1, 1]))
    paths = written(tmp_path, larger, longer)[::-1]
    assert counted == pytest.approx({k: one.value for k, one in evaluate(*paths).figures().items()})
