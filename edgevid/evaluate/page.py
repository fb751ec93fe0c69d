"""An evaluation as one HTML page that loads nothing from elsewhere; its own script draws the tables and plots."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgevid._version import __version__
from edgevid.evaluate.evaluation import Evaluation, Figure, between, cell, is_word, plain, shown
from edgevid.files.page import fill_page


def page(
    found: Evaluation, figures: Mapping[str, Figure], what: str, truth: str = "", limits: int = 0,
    missed: Sequence[str] = (),
) -> str:  # fmt: skip
    """The HTML; `missed` of the `limits` that were set are not kept."""
    cards = [{"name": name, "value": shown(one.value, unit := found.units.get(name)),
              "between": between(one, unit) if one.low == one.low else "",
              "scale": [one.low, one.value, one.high] if unit is None and one.low == one.low else None}
             for name, one in figures.items()]  # fmt: skip
    tables = [{"title": title, "heads": one.heads, "detail": one.detail, "words": [*map(is_word, one.rows[0])],
               "rows": [[cell(v, head) for v, head in zip(row, one.heads, strict=True)] for row in one.rows]}
              for title, one in found.all_tables().items() if one.rows]  # fmt: skip
    made = f"edgevid {__version__}; {len(found.groups)} x {found.group}"
    values = {"title": f"{found.task}: {what}", "truth": truth, "cards": cards, "tables": tables, "made": made,
              "plots": [{"title": title, **one._asdict()} for title, one in found.plots.items()],
              "images": [{"title": title, "thumbs": [{**v._asdict(), "jpeg": b64encode(v.jpeg).decode()} for v in some]}
                         for title, some in found.images.items()],
              "notes": found.all_notes(), "limits": limits, "missed": missed}  # fmt: skip
    return fill_page(Path(__file__).with_suffix(".html"), found.task, plain(values))
