"""The pages of clusters and of label errors, which are handed to experts: one file that loads nothing else."""

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path

from edgevid.files.page import fill_page
from edgevid.insight.cluster import CLIP, RARE, Clustering
from edgevid.insight.label_errors import LabelErrors
from edgevid.insight.labeled import Labeled


def page(found: Clustering, title: str, clips: Mapping[str, str] | None = None) -> str:
    """The page of clusters as HTML. `clips` are links by id."""
    total, names = int(found.sizes.sum()), found.clusters.names
    cards = [{"name": names[k] or f"Cluster {k}", "size": int(found.sizes[k]), "share": found.sizes[k] / total,
              "stability": float(found.stability[k]), "profile": found.profile(k),
              "curves": [found.curves[row].tolist() for row in found.medoids[k]],
              "nearest": [(found.ids[row], (clips or {}).get(found.ids[row], "")) for row in found.medoids[k]]}
             for k in found.order.tolist()]  # fmt: skip
    units = "speed over time" if "duration_s" in found.clusters.features else "values in order"
    data = {"cards": cards, "total": total, "advice": found.advice(), "left_out": found.left_out, "tried": found.tried,
            "hdbscan": found.hdbscan, "units": units, "rare": RARE, "longest": CLIP}  # fmt: skip
    return fill_page(Path(__file__).with_name("page.html"), title, data)


def errors_page(found: LabelErrors, data: Labeled, title: str, images: list[bytes | None]) -> str:
    """The page of label errors as HTML; `images` are JPEGs of the first of them, which are shown."""
    rows = zip(found.rows.tolist(), found.kinds, found.suggested.tolist(), images, strict=False)
    cards = [{"item": data.items[row], "kind": kind, "given": data.names[data.labels[row]], "new": data.names[new],
              "image": b64encode(jpeg or b"").decode()} for row, kind, new, jpeg in rows]  # fmt: skip
    values = {"cards": cards, "listed": len(found.rows), "total": len(data.labels), "noise": found.noise,
              "pixels": data.images is not None}  # fmt: skip
    return fill_page(Path(__file__).with_name("errors.html"), title, values)
