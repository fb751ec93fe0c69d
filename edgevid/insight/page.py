"""The pages of clusters and of label errors, which are handed to experts: one file, without scripts."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

import numpy as np

from edgevid.insight.cluster import CLIP, RARE, Clustering
from edgevid.insight.label_errors import LabelErrors
from edgevid.insight.labeled import Labeled

PAGE = Path(__file__).with_name("page.html")
WIDTH, HEIGHT = 320, 120


def page(found: Clustering, title: str, clips: Mapping[str, str] | None = None) -> str:
    """The page as HTML; every text from data is escaped. `clips` are links by id."""
    names, total = found.clusters.features, int(found.sizes.sum())
    units = "speed over time" if "duration_s" in names else "values in order"
    left_out = "; ".join(f"{count:,}: {escape(why)}" for why, count in found.left_out.items())
    return Template(PAGE.read_text()).substitute(
        title=escape(title), advice=escape(found.advice()), units=units,
        summary=f"{total:,} series in {len(found.order)} clusters.",
        left_out=f"<p class=dim>Left out by the cleaning rules: {left_out}.</p>" if left_out else "",
        tried="".join(f"<tr><td>{k}<td>{spread:.2f}<td>{s:.3f}</tr>" for k, spread, s in found.tried),
        density=f"HDBSCAN on the same sample: {found.hdbscan[0]} clusters, {found.hdbscan[1]:.0%} outliers.",
        cards="".join(_card(found, int(number), clips or {}) for number in found.order),
    )  # fmt: skip


def errors_page(found: LabelErrors, data: Labeled, title: str, images: list[bytes | None]) -> str:
    """The page of label errors as HTML; `images` are JPEGs of the first of them, which are shown."""
    cards, many = "", len(found.rows)
    for row, kind, new, jpeg in zip(found.rows.tolist(), found.kinds, found.suggested.tolist(), images, strict=False):
        image = f'<img alt="" src="data:image/jpeg;base64,{b64encode(jpeg).decode()}">' if jpeg else ""
        given, other = escape(data.names[data.labels[row]]), escape(data.names[new])
        change = f"<span class=given>{given}</span> → <span class=new>{other}</span>" if given != other else given
        cards += f"<li>{image}<b>{change}</b><div class=dim>{escape(kind)}</div>" \
                 f"<div class='dim item'>{escape(data.items[row])}</div></li>"  # fmt: skip
    shown = f" The first {len(images)} are shown." if len(images) < many else ""
    return Template(PAGE.with_name("errors.html").read_text()).substitute(
        title=escape(title), cards=cards, rendering="pixelated" if data.images is not None else "auto",
        summary=f"{many:,} of {len(data.labels):,} items are listed; about {found.noise:.1%} of all labels are "
        f"estimated to be wrong.{shown}",
    )  # fmt: skip


def _card(found: Clustering, number: int, clips: Mapping[str, str]) -> str:
    size, share = int(found.sizes[number]), found.sizes[number] / found.sizes.sum()
    name = escape(found.clusters.names[number] or f"Cluster {number}")
    rare = " <span class=rare>rare</span>" if share < RARE else ""
    rows = "".join(
        f'<dt>{escape(one)}</dt><dd style="background-size:{min(abs(value) / CLIP, 1):.0%} 100%"></dd>'
        f"<dd class=value>{value:+.1f}</dd>"
        for one, value in found.profile(number)
    )
    ids = ""
    for one in (found.ids[row] for row in found.medoids[number]):
        text = escape(one)
        ids += f'<li><a href="{quote(clips[one])}">{text}</a></li>' if one in clips else f"<li>{text}</li>"
    stable = f"found again in other samples: {found.stability[number]:.0%}"
    return (
        f"<article><header><h2>{name}{rare}</h2><span>{size:,} series, {share:.1%}</span></header>"
        f"<span class=dim>{stable}</span>{_curves(found, number)}<dl>{rows}</dl>"
        f"<details><summary>Nearest to the center</summary><ul>{ids}</ul></details></article>"
    )


def _curves(found: Clustering, number: int) -> str:
    curves = [found.curves[row] for row in found.medoids[number]]
    low, high = min(c.min() for c in curves), max(c.max() for c in curves)
    lines = ""
    for curve in curves:
        x = np.linspace(0, WIDTH, len(curve))
        y = HEIGHT - 4 - (curve - low) / max(float(high - low), 1e-9) * (HEIGHT - 8)
        lines += f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))}"/>'
    told = f"{low:.3g} to {high:.3g}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="Curves from {told}">{lines}</svg><div class=axis><span>{told}</span></div>'
    )
