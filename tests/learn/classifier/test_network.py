"""The classifier of images: its transformer, its export, and how images are augmented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
kornia = pytest.importorskip("kornia", reason="the peer of the transformer")

from edgevid.learn.actions.export import _Graph, export_onnx  # noqa: E402
from edgevid.learn.classifier import network  # noqa: E402
from edgevid.learn.classifier.network import ImageAugmentation, ImageHead, ImageOptions, warp  # noqa: E402
from edgevid.runtime import load_engine  # noqa: E402

torch.set_num_threads(1)


@pytest.mark.parametrize("align", ["stn", "stn-perspective"])
def test_the_exported_transformer_agrees_with_kornias(
    align: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transformer with random weights, on a frame that is not square."""
    torch.manual_seed(0)
    head = ImageHead(3, ImageOptions(width=40, height=24, align=align)).eval()
    torch.nn.init.normal_(head.transformer.place.weight, std=0.2)
    rows = torch.randint(0, 256, (5, 1, 24 * 40 * 3)).float()
    images = head.normalized(rows).contiguous()
    export_onnx(_Graph(head, head.deployed), {"images": images[:2]}, tmp_path / "m.onnx", ["logits", "features"])
    with load_engine(tmp_path / "m.onnx", device="cpu", threads=1) as engine:
        found = {name: value.copy() for name, value in engine.run({"images": images.numpy()}).items()}
    with torch.no_grad():
        upright, transform = head.eval().transformer(images)
    assert float((upright - images).abs().max()) > 0.1  # it does move them

    def of_kornia(images, transform):
        size = tuple(images.shape[2:])
        return kornia.geometry.transform.homography_warp(
            images, transform, size, padding_mode="border", align_corners=True
        )

    monkeypatch.setattr(network, "warp", of_kornia)
    with torch.no_grad():
        logits, features = head.deployed(images)
    np.testing.assert_allclose(found["logits"], logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(found["features"], features.numpy(), atol=1e-4)
    assert (float(transform[:, 2, :2].abs().max()) > 0) == (align == "stn-perspective")


def test_a_warp_by_a_quarter_turn_is_that_of_numpy() -> None:
    images = torch.rand(2, 3, 5, 5)
    turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).expand(2, 3, 3)
    np.testing.assert_allclose(warp(images, turn).numpy(), np.rot90(images.numpy(), 1, (2, 3)), atol=1e-6)


def test_an_augmentation_tells_how_it_moved_images() -> None:
    """Undoing the move gives the image back, but for its edges and colors."""
    torch.manual_seed(1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 33), torch.linspace(-1, 1, 33), indexing="ij")
    spot = torch.exp(-((x - 0.2) ** 2 + (y + 0.1) ** 2) / 0.05).expand(6, 3, 33, 33)
    made, moved = ImageAugmentation(rotation=45, flip=False)(spot)
    back = warp(made, torch.linalg.inv(moved))
    best = back[:, 0].flatten(1).argmax(1).tolist()
    assert all(abs(n // 33 - 14.4) <= 1.5 and abs(n % 33 - 19.2) <= 1.5 for n in best)
    mirrored, moved = ImageAugmentation(rotation=0, flip=True)(spot[:1].repeat(40, 1, 1, 1))
    left = mirrored[:, 0].sum(1).argmax(1) < 16
    assert 5 < int(left.sum()) < 35  # some of them
    assert float(torch.linalg.det(moved).min()) > 0


def test_jpeg_damages_half_of_the_images() -> None:
    images = torch.rand(32, 3, 16, 16)
    torch.manual_seed(2)
    plain, _ = ImageAugmentation(rotation=0, flip=False)(images)
    torch.manual_seed(2)
    coded, _ = ImageAugmentation(rotation=0, flip=False, jpeg=True)(images)
    changed = ((coded - plain).abs().amax((1, 2, 3)) > 1e-3).sum()
    assert 6 < int(changed) < 26


def test_the_transformers_own_loss_falls_as_it_learns_to_undo_rotations() -> None:
    torch.manual_seed(3)
    head = ImageHead(2, ImageOptions(32, 32, align="stn", augmentation=ImageAugmentation(45, flip=False))).train()
    stripe = torch.zeros(32, 32, 3)
    stripe[4:16, 13:19] = 255
    rows, optimizer, losses = stripe.reshape(1, 1, -1).repeat(32, 1, 1), torch.optim.Adam(head.parameters(), 3e-3), []
    for _ in range(40):
        head(rows, torch.ones(32, 1, dtype=torch.bool))
        optimizer.zero_grad()
        head.penalty.backward()
        optimizer.step()
        losses.append(float(head.penalty.detach()))
    assert np.mean(losses[-5:]) < 0.3 * losses[0]
