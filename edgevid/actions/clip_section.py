"""A recipe's table [clip]: how objects are cropped, and the layout and activation of the model."""

from __future__ import annotations

import dataclasses
from typing import Literal, cast, get_args

from edgevid.actions.clip_spec import ClipSpec
from edgevid.errors import FileFormatError, InputError
from edgevid.files.toml import Section, toml_table
from edgevid.runtime import Recipe

Activation = Literal["softmax", "none"]
Layout = Literal["NCTHW", "NTCHW", "NTHWC"]


@dataclasses.dataclass(frozen=True, slots=True)
class ClipSection:
    """The table [clip]."""

    spec: ClipSpec
    layout: Layout = "NTCHW"
    """Axes of a clip model's input; the images in it are as [input] says."""
    activation: Activation = "softmax"
    """"softmax": the model gives logits; "none": it gives probabilities."""

    @classmethod
    def read(cls, recipe: Recipe, *, steps: int | None = None) -> ClipSection:
        """From the recipe; `steps` overrides the number of steps that one clip holds."""
        table, image = recipe.section("clip"), recipe.input
        width, height = (image.width, image.height) if image else (112, 112)
        spec = read_spec(table, width=width, height=height)
        made = cls(
            spec if steps is None else dataclasses.replace(spec, steps=steps, min_steps=1),
            cast(Layout, table.text("layout", "NTCHW", choices=get_args(Layout))),
            cast(Activation, table.text("activation", "softmax", choices=get_args(Activation))),
        )
        table.done()
        return made

    def toml(self) -> list[str]:
        """The lines of the table [clip] that `read` reads back."""
        fields = dataclasses.asdict(self.spec) | {"layout": self.layout, "activation": self.activation}
        return toml_table("clip", fields)


def read_spec(table: Section, *, width: int, height: int) -> ClipSpec:
    """The spec of a table [clip], of the image's size unless stated. FileFormatError names a mistake."""
    d = ClipSpec()
    left, top, right, bottom = table.numbers("region", d.region, count=4)
    asked = {
        "steps": table.integer("steps", d.steps, low=1),
        "rate_hz": table.number("rate_hz", d.rate_hz),
        "width": table.integer("width", width, low=1),
        "height": table.integer("height", height, low=1),
        "stride_s": table.number("stride_s", d.stride_s),
        "min_steps": table.integer("min_steps", d.min_steps, low=1),
        "policy": table.text("policy", d.policy, choices=ClipSpec.CHOICES["policy"]),
        "fit": table.text("fit", d.fit, choices=ClipSpec.CHOICES["fit"]),
        "context": table.number("context", d.context),
        "region": (left, top, right, bottom),
        "smoothing_s": table.number("smoothing_s", d.smoothing_s),
        "min_side": table.number("min_side", d.min_side),
        "max_unseen_s": table.number("max_unseen_s", d.max_unseen_s),
        "pad": table.integer("pad", d.pad),
    }
    try:
        return ClipSpec(**asked)  # type: ignore[arg-type]
    except InputError as error:
        expected = "usable numbers"
        raise FileFormatError(table.path, table.name, expected=expected, got=str(error)) from None
