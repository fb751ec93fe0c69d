"""The detector that can be trained: labels, images, assignment, learning, and what is deployed."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")
import cv2  # noqa: E402

from edgevid.detect.detector import Detector  # noqa: E402
from edgevid.errors import InputError  # noqa: E402
from edgevid.learn.detector.data import Composer, Picture, clipped, load, read_labels  # noqa: E402
from edgevid.learn.detector.distributed import Task, train  # noqa: E402
from edgevid.learn.detector.export import export, write_recipe  # noqa: E402
from edgevid.learn.detector.fusion import fuse  # noqa: E402
from edgevid.learn.detector.label import label_lines, smooth  # noqa: E402
from edgevid.learn.detector.logit_bias import CUT, ENOUGH, best_threshold, hits, offset  # noqa: E402
from edgevid.learn.detector.network import (  # noqa: E402
    CLASSES,
    Deployed,
    Shape,
    StreetDetector,
    Truth,
    anchor_points,
    assign,
    complete_iou,
    loss,
    to_boxes,
)
from edgevid.learn.detector.pseudo_labels import Teacher, merged  # noqa: E402
from edgevid.learn.detector.train import Schedule, Trainer  # noqa: E402
from edgevid.types import Detections, Frame  # noqa: E402

SMALL = Shape(96, 64, (8, 8, 16, 16, 16), (1, 1, 1), 16)


def squares(folder: Path, number: int = 6) -> Path:
    """Images of a red square (a car) on gray."""
    random = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for n in range(number):
        image = np.full((64, 96, 3), 120, np.uint8)
        x, y = random.integers(4, 60), random.integers(4, 30)
        image[y : y + 28, x : x + 28] = (30, 30, 220)
        cv2.imwrite(str(folder / "images" / f"clip{n % 2}_{n}.jpg"), image)
        (folder / "labels" / f"clip{n % 2}_{n}.txt").write_text(f"car {x} {y} {x + 28} {y + 28} 1.0\n")
    return folder


def test_labels_are_read_and_mistakes_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("car 1 2 30 40 0.9\n\nperson 0 0 5 9 -1\n")
    boxes, labels, weights = read_labels(path, CLASSES)
    assert boxes.tolist() == [[1, 2, 30, 40], [0, 0, 5, 9]]
    assert labels.tolist() == [2, 0]
    assert weights.tolist() == pytest.approx([0.9, -1])
    for wrong in ("cat 1 2 3 4 1", "car 1 2 3 4", "car 5 5 5 9 1"):
        path.write_text(wrong)
        with pytest.raises(InputError, match=r"a\.txt, line 1"):
            read_labels(path, CLASSES)
    with pytest.raises(InputError, match="found no image"):
        load(tmp_path, CLASSES)


def test_labels_are_cut_with_the_picture_and_scraps_are_left_out() -> None:
    boxes = np.array([[10, 10, 30, 30], [90, 10, 110, 30], [97, 10, 117, 30], [200, 0, 220, 20]], np.float32)
    cut, labels, weights = clipped(boxes, np.arange(4), np.ones(4, np.float32), (0, 0, 100, 50))
    assert cut.tolist() == [[10, 10, 30, 30], [90, 10, 100, 30], [97, 10, 100, 30]]
    assert labels.tolist() == [0, 1, 2]
    assert weights.tolist() == [1, 1, -1]  # half of the second is left, 15 % of the third


def test_composed_pictures_keep_boxes_on_their_objects(tmp_path: Path) -> None:
    composer = Composer(load(squares(tmp_path), CLASSES), 96, 64, seed=3, mosaic=0.5, paste=0.5)
    reds = []
    for _ in range(40):
        made = composer.compose()
        for box in made.boxes[made.weights > 0.5]:
            x1, y1, x2, y2 = box.astype(int)
            inside = made.image[y1:y2, x1:x2].reshape(-1, 3).astype(int)
            reds.append(float((inside[:, 0] > inside[:, 1] + 25).mean()) if len(inside) else 0.0)
    assert len(reds) > 20
    assert np.mean(np.array(reds) > 0.5) > 0.8  # pasted objects may cover others


def test_fusion_weighs_boxes_and_doubts_what_few_views_saw() -> None:
    views = [
        Detections.of(boxes=[[0, 0, 10, 10], [50, 50, 60, 60]], scores=[0.8, 0.9], labels=[0, 0]),
        Detections.of(boxes=[[0, 0, 10, 14]], scores=[0.4], labels=[0]),
        Detections.of(boxes=[[0, 0, 10, 10]], scores=[0.6], labels=[1]),
    ]
    fused = fuse(views)
    rows = {(r.label, int(r.box[0])): r for r in fused}
    assert rows[0, 0].score == pytest.approx(1.2 / 3)
    assert rows[0, 0].box[3] == pytest.approx((10 * 0.8 + 14 * 0.4) / 1.2)
    assert rows[0, 50].score == pytest.approx(0.3)
    assert rows[1, 0].score == pytest.approx(0.2)


def test_what_is_seen_again_and_again_is_trusted() -> None:
    steady = [(n / 5, Detections.of(boxes=[[10, 10, 50, 90]], scores=[0.6], labels=[0])) for n in range(6)]
    lines = [label_lines(d, CLASSES) for d in smooth(steady)]
    assert lines[3] == "person 10.0 10.0 50.0 90.0 1.00\n"
    flicker = [(t, d if n == 2 else Detections.empty()) for n, (t, d) in enumerate(steady)]
    assert label_lines(smooth(flicker)[2], CLASSES).endswith("-1.00\n")


def test_a_place_in_the_middle_of_an_object_answers_for_it() -> None:
    points, _ = anchor_points(SMALL)
    expected = torch.tensor([[[16.0, 8.0, 48.0, 40.0]]])
    truth = Truth(expected, torch.tensor([[2]]), torch.tensor([[1.0]]))
    boxes = expected[:, :1].expand(1, len(points), 4)
    scores = torch.full((1, len(points), len(CLASSES)), 0.5)
    owner, quality, counts = assign(scores, boxes, truth, points)
    inside = ((points > expected[0, 0, :2]) & (points < expected[0, 0, 2:])).all(1)
    assert 0 < int((owner[0] == 0).sum()) <= 10
    assert bool(inside[owner[0] == 0].all())
    assert quality.max() == pytest.approx(1.0)
    assert bool(counts.all())
    doubtful = Truth(expected, torch.tensor([[2]]), torch.tensor([[-1.0]]))
    owner, _, counts = assign(scores, boxes, doubtful, points)
    assert int((owner >= 0).sum()) == 0
    assert bool((counts[0] == ~inside).all())


def test_complete_iou_of_known_pairs() -> None:
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]])
    b = torch.tensor([[0.0, 0, 2, 2], [2, 0, 4, 2]])
    # The second pair shares nothing; centers 2 apart, hull 4 x 2: 0 - 4 / 20.
    assert complete_iou(a, b).tolist() == pytest.approx([1.0, -0.2], abs=1e-5)


def test_training_learns_goes_on_after_an_interruption_and_deploys(tmp_path: Path) -> None:
    pictures = load(squares(tmp_path / "data", 12), CLASSES)
    composer = Composer(pictures, SMALL.width, SMALL.height, seed=1, mosaic=0.0, paste=0.0)
    torch.set_num_threads(1)
    schedule = Schedule(steps=60, batch=8, rate=4e-3, warm_up=10, average=0.9)
    first = Trainer(composer, Schedule(**{**vars_of(schedule), "steps": 30}), SMALL)
    losses = first.run(tmp_path / "c.pt")
    second = Trainer(composer, schedule, SMALL)
    losses += second.run(tmp_path / "c.pt")
    assert second.step == 60
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    onnx_file = export(second.average, tmp_path / "squares.onnx")
    recipe = write_recipe(tmp_path, onnx_file.name, second.average, name="squares", summary="red squares")
    detector = Detector.load(recipe, score_threshold=0.05)
    picture = pictures[0]
    found = detector.detect([Frame(picture.image, 0.0, 0)])[0]
    x = torch.from_numpy(picture.image).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        direct = Deployed(second.average.eval())(x)[0, 4:].max()
    # Half-stored weights move scores by thousandths; the deployed path is the training's own pixels.
    assert float(found.scores.max(initial=0)) == pytest.approx(float(direct), abs=0.01)


def test_the_thread_that_composes_ends_with_the_training(tmp_path: Path) -> None:
    class Breaking(Composer):
        def compose(self) -> Picture:
            raise InputError("no image")

    def composing() -> int:
        return sum(thread.name == "edgevid-batches" for thread in threading.enumerate())

    pictures = load(squares(tmp_path / "data"), CLASSES)
    good = Composer(pictures, SMALL.width, SMALL.height)
    Trainer(good, Schedule(steps=2, batch=2), SMALL).run(tmp_path / "c.pt")
    assert composing() == 0
    with pytest.raises(InputError, match="no image"):  # and a mistake made there is not a silence here
        Trainer(Breaking(pictures, 96, 64), Schedule(steps=2, batch=2), SMALL).run(tmp_path / "d.pt")
    assert composing() == 0


def vars_of(schedule: Schedule) -> dict[str, float]:
    return {name: getattr(schedule, name) for name in schedule.__dataclass_fields__}


def test_the_deployed_output_is_the_decoded_one() -> None:
    network = StreetDetector(SMALL).eval()
    x = torch.rand(1, 3, SMALL.height, SMALL.width)
    points, strides = anchor_points(SMALL)
    with torch.no_grad():
        raw, out = network(x), Deployed(network).eval()(x)
    boxes = to_boxes(raw[:, :4], points, strides)[0]
    size = boxes[:, 2:] - boxes[:, :2]
    torch.testing.assert_close(out[0, 2:4].T, size)
    torch.testing.assert_close(out[0, :2].T, (boxes[:, :2] + boxes[:, 2:]) / 2)
    empty = Truth(torch.zeros(1, 1, 4), torch.zeros(1, 1), torch.zeros(1, 1))
    assert float(loss(raw, empty, points, strides)) > 0


def test_a_picture_without_objects_is_a_picture_too() -> None:
    blank = Picture(np.zeros((40, 60, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
                    np.zeros(0, np.float32), "a")  # fmt: skip
    images, boxes, _, weights = next(Composer([blank], 96, 64).batches(4))
    assert images.shape == (4, 64, 96, 3)
    assert boxes.shape == (4, 1, 4)
    assert weights.sum() == 0


def test_another_training_gives_the_weights_that_fit(tmp_path: Path) -> None:
    composer = Composer(load(squares(tmp_path / "data"), CLASSES), SMALL.width, SMALL.height)
    given = Trainer(composer, Schedule(steps=1, batch=2, seed=1), SMALL)
    given.run(tmp_path / "c.pt", keep_every=1)
    wider = Shape(96, 64, (8, 8, 16, 16, 24), (1, 1, 1), 16)  # the last stage is another
    taker = Trainer(composer, Schedule(seed=2), wider)
    before = taker.network.state_dict()["stages.2.0.0.weight"].clone()
    taken = taker.start_from(tmp_path / "c-1.pt")
    assert 0 < taken < len(taker.network.state_dict())
    stem = given.average.state_dict()["stem.0.0.weight"]
    for network in (taker.network, taker.average):
        torch.testing.assert_close(network.state_dict()["stem.0.0.weight"], stem)
    torch.testing.assert_close(taker.network.state_dict()["stages.2.0.0.weight"], before)
    (tmp_path / "no.pt").write_bytes(b"nothing of the kind")
    for wrong in ("no.pt", "absent.pt"):
        with pytest.raises(InputError, match="checkpoint"):
            taker.start_from(tmp_path / wrong)


def test_pasted_vehicles_come_from_every_scene_that_has_one() -> None:
    def scene(clip: str, label: int) -> Picture:
        image = np.full((64, 96, 3), 90, np.uint8)
        box = np.array([[20, 10, 60, 50]], np.float32)
        return Picture(image, box, np.array([label]), np.ones(1, np.float32), clip)

    pictures = [*[scene("long", 0) for _ in range(8)], scene("road", 2), scene("stop", 4)]
    composer = Composer(pictures, 96, 64, seed=0, mosaic=0.0, paste=1.0)
    drawn = [composer._object() for _ in range(200)]
    labels = [int(picture.labels[k]) for picture, k in drawn]
    assert 60 < labels.count(0) < 140  # half are people, though they are in eight images of ten
    assert labels.count(2) > labels.count(4) > 5  # cars three times as often as buses


def test_a_surer_export_says_more_of_the_same_boxes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = StreetDetector(SMALL).eval()
    picture = Frame(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8), 0.0, 0)
    found = []
    for name, surer in (("plain", 0.0), ("surer", 1.0)):
        file = export(network, tmp_path / f"{name}.onnx", surer=surer)
        recipe = write_recipe(tmp_path, file.name, network, name=name, summary="")
        detector = Detector.load(recipe, score_threshold=0.001)
        found.append(detector.engine.run({"images": detector_input(picture)})["output"][0].copy())
    np.testing.assert_allclose(found[0][:4], found[1][:4], atol=1e-3)
    odds = [out[4:] / (1 - out[4:]) for out in found]
    np.testing.assert_allclose(odds[1] / odds[0], np.e, rtol=0.02)


def detector_input(picture: Frame) -> np.ndarray:
    return (picture.image.astype(np.float32) / 255).transpose(2, 0, 1)[None]


def bare(clip: str, *, boxes: int) -> Picture:
    """An image with a sure car or without."""
    box = np.array([[20, 10, 60, 50]] * boxes, np.float32).reshape(-1, 4)
    image = np.zeros((64, 96, 3), np.uint8)
    return Picture(image, box, np.full(boxes, 2), np.ones(boxes, np.float32), clip)


def test_photos_and_those_with_objects_are_drawn_as_often_as_asked() -> None:
    clip = [bare("clip", boxes=1) for _ in range(4)]
    photos = [bare("full", boxes=1), *(bare(f"empty{n}", boxes=0) for n in range(3))]
    composer = Composer([*clip, *photos], 96, 64, seed=5, photos=0.8, peopled=3.0)
    drawn = [composer.pick().clip for _ in range(3000)]
    assert drawn.count("clip") / 3000 == pytest.approx(0.2, abs=0.03)
    assert drawn.count("full") / 3000 == pytest.approx(0.8 * 3 / 6, abs=0.03)


def test_after_an_interruption_other_pictures_are_composed() -> None:
    def first(step: int | None) -> list[list[float]]:
        composer = Composer([bare("a", boxes=1)], 96, 64, seed=4)
        if step is not None:
            composer.go_on(step)
        return [row for _ in range(3) for row in composer.compose().boxes.tolist()]

    assert first(None) == first(None) != first(500) == first(500)


class Onlooker:
    """A detector that says what it is told; keeps the images that it was shown."""

    names = ("cat", "car", "person")

    def __init__(self, said: Detections) -> None:
        self.said, self.shown = said, []

    def detect(self, frames: list[Frame]) -> list[Detections]:
        self.shown += [frame.image.copy() for frame in frames]
        return [self.said for _ in frames]


def test_a_teacher_adds_what_no_label_says() -> None:
    said = Detections.of(
        boxes=[[0, 0, 9, 9], [20, 10, 60, 48], [1, 2, 30, 40], [70, 40, 90, 60]],
        scores=[0.9, 0.9, 0.1, 0.7],
        labels=[0, 1, 1, 2],
    )
    teacher = Teacher(Onlooker(said), CLASSES)  # type: ignore[arg-type]
    seen = teacher.look(np.zeros((64, 96, 3), np.uint8))
    assert seen[1].tolist() == [2, 2, 0]  # the cat is none of the classes
    assert seen[2].tolist() == pytest.approx([1, 0.2, 1])
    mine = np.array([[20, 10, 60, 50], [70, 40, 90, 60]], np.float32), np.array([2, 0])
    boxes, labels, weights = merged(*mine, np.array([1, -1], np.float32), seen)
    assert labels.tolist() == [2, 0, 2, 0]  # the second label is a place to leave out: the teacher fills it
    assert weights.tolist() == pytest.approx([1, -1, 0.2, 1])
    assert boxes[2].tolist() == [1, 2, 30, 40]


def test_the_teacher_looks_at_the_composed_picture() -> None:
    onlooker = Onlooker(Detections.of(boxes=[[2, 2, 20, 20]], scores=[0.3], labels=[2]))
    teacher = Teacher(onlooker, CLASSES)  # type: ignore[arg-type]
    composer = Composer([bare("a", boxes=0)], 96, 64, paste=0.0, teacher=teacher)
    made = composer.compose()
    assert onlooker.shown[0].shape == made.image.shape
    assert made.labels.tolist() == [0]
    assert made.weights.tolist() == pytest.approx([0.6])


def test_the_best_threshold_of_a_class_comes_to_where_the_recipe_cuts() -> None:
    assert best_threshold([], 5) == CUT
    # After 0.8: 2 of 3 found, none wrong, F1 = 4/5; after 0.3: 3 found, 2 wrong, 6/8; at the end 6/9.
    said = [(0.9, True), (0.8, True), (0.6, False), (0.5, False), (0.3, True), (0.1, False)]
    assert best_threshold(said, 3) == 0.8
    picture = bare("a", boxes=1)
    picture.boxes = np.concatenate([picture.boxes, [[70, 0, 90, 20]]]).astype(np.float32)
    picture.labels, picture.weights = np.array([2, 2]), np.array([1, -1], np.float32)
    found = Detections.of(
        boxes=[[20, 10, 60, 48], [21, 10, 60, 50], [70, 1, 90, 20], [0, 50, 9, 60]],
        scores=[0.5, 0.7, 0.9, 0.4],
        labels=[2, 2, 2, 0],
    )
    assert hits(found, picture, 2) == [(pytest.approx(0.7), True), (pytest.approx(0.5), False)]


def test_an_offset_is_told_by_pictures_and_none_where_there_are_too_few() -> None:
    network = Deployed(StreetDetector(SMALL)).eval()
    few = [bare("a", boxes=1) for _ in range(3)]
    assert offset(network, few) == 0.0
    network.network.to_class[1].bias.data[2] = 0.5  # it says cars everywhere, at 0.6
    many = offset(network, few * (ENOUGH // 3 + 1))
    assert many == pytest.approx(np.log(CUT / (1 - CUT)) - 0.5, abs=0.2)


AVERAGES = """
import sys
sys.path[:] = [p for p in sys.path if p]  # the installed package, not the checkout's without kernels
import numpy as np
import torch
from edgevid.learn.detector.network import Shape
from edgevid.learn.detector.data import Composer, Picture
from edgevid.learn.detector.train import Schedule, Trainer

rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
composer = Composer([Picture(np.zeros((64, 96, 3), np.uint8), *nothing, "a")], 96, 64)
trainer = Trainer(composer, Schedule(steps=1), Shape(96, 64, (8, 8, 16, 16, 16), (1, 1, 1), 16))
weights = list(trainer.network.parameters())
for weight in weights:
    weight.grad = torch.full_like(weight, 1.0 + 2 * rank)
if rank == 1:
    weights[3].grad = None
trainer._agree()
for n, weight in enumerate(weights):
    assert float((weight.grad - (0.5 if n == 3 else 2.0)).abs().max()) == 0.0, n
torch.distributed.destroy_process_group()
"""
"""One of two processes: gradients of 1 in the first and of 3, or none, in the second become 2, or 0.5."""


def test_processes_that_train_together_average_their_gradients(tmp_path: Path) -> None:
    calls = [[sys.executable, "-c", AVERAGES, str(rank), str(tmp_path / "meeting")] for rank in range(2)]
    both = [subprocess.Popen(call, stderr=subprocess.PIPE, text=True) for call in calls]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said


def test_several_processes_train_one_network_and_go_on(tmp_path: Path) -> None:
    data, checkpoint = squares(tmp_path), tmp_path / "checkpoint.pt"
    for steps in (3, 5):
        task = Task(data, checkpoint, Schedule(steps=steps, batch=4, warm_up=2), SMALL)
        network = train(task, processes=2)
        assert torch.load(checkpoint, weights_only=True)["step"] == steps
    weights = torch.load(checkpoint, weights_only=True)["average"]
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"processes": 0}, "1 or more"),
        ({"processes": 3}, "multiple of 3"),
        ({"processes": 2, "device": "cuda:0"}, "expected 1 on cuda:0"),
    ],
)
def test_work_that_processes_cannot_share_is_refused(
    tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        train(Task(tmp_path, tmp_path / "c.pt"), **settings)


def test_weights_of_another_network_are_no_start(tmp_path: Path) -> None:
    other = {"average": {"elsewhere": torch.zeros(1)}, "step": 1}
    torch.save(other, tmp_path / "other.pt")
    task = Task(squares(tmp_path), tmp_path / "c.pt", Schedule(steps=1), SMALL, start=tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt.*none fits"):
        train(task)


def test_a_process_that_fails_ends_the_others(tmp_path: Path) -> None:
    data = squares(tmp_path)
    task = Task(data, tmp_path / "c.pt", Schedule(steps=10**6, batch=4), SMALL, views={"zoom": Once((1, 2))})
    with pytest.raises(torch.multiprocessing.ProcessRaisedException, match="ufunc"):
        train(task, processes=2)
    assert not torch.distributed.is_initialized()


class Once(tuple):  # type: ignore[type-arg]
    """A range of zooms that arrives in another process as words."""

    def __reduce__(self) -> Any:
        return str, ("no zoom",)
