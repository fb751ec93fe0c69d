"""`edgevid estimate`: the least time and the memory of a model on a device, before anything is built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from edgevid.optimize.cost import Cost
    from edgevid.optimize.estimate import Estimate


def command(
    model: Annotated[str, typer.Argument(help="A model's name, recipe or ONNX file.")],
    device: Annotated[
        list[str] | None, typer.Option(help="Device; repeatable; `this-cpu` is measured. All if left out.")
    ] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32, fp16 or int8; repeatable.")] = None,
    batch: Annotated[int, typer.Option(help="Images in one run.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count a model's operations and bytes, and say how fast a device can run it at the very most."""
    from edgevid.optimize import estimate as tool
    from edgevid.optimize.cost import model_cost

    cost = model_cost(_file(model), batch=batch)
    chosen = [tool.device(name) for name in device or tool.devices()]
    rows = [
        row
        for one in chosen
        for p in precision or tool.BYTES
        if (row := tool.estimate(cost, one, p)) is not None
    ]
    if as_json:
        typer.echo(json.dumps(_as_json(model, cost, rows), indent=2))
    else:
        _show(model, cost, rows)


def _file(model: str) -> Path:
    """The ONNX file itself: recipes are not needed to count one."""
    from edgevid.models.hub import resolve_model

    if model.endswith(".onnx"):
        return Path(model)
    path = resolve_model(model).local
    assert path is not None
    return path


def _as_json(model: str, cost: Cost, rows: list[Estimate]) -> dict[str, object]:
    counted = {
        k: getattr(cost, k) for k in ("batch", "operations", "parameters", "inputs", "outputs", "peak")
    }
    told = [
        {
            "device": r.device.name,
            "precision": r.precision,
            "bound_ms": r.bound_ms,
            "limit": r.limit,
            "typical_ms": r.typical_ms,
            "memory_mb": r.memory_mb,
            "fits": r.fits,
        }
        for r in rows
    ]
    return {"model": model, **counted, "estimates": told}


def _show(model: str, cost: Cost, rows: list[Estimate]) -> None:
    console = Console(soft_wrap=True)
    console.print(
        f"[bold]{escape(model)}[/], batch {cost.batch}: {cost.operations / 1e9:.2f} billion operations "
        f"({cost.operations / 2e9:.2f} G multiply-adds), {cost.parameters / 1e6:.2f} M weights, "
        f"at most {cost.peak / 1e6:.2f} M values alive\n",
        highlight=False,
    )
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("device")
    table.add_column("precision")
    for column in ("least ms", "by layers", "most runs/s", "MB"):
        table.add_column(column, justify="right")
    table.add_column("bound by")
    previous = ""
    for row in rows:
        name = row.device.name if row.device.name != previous else ""
        previous = row.device.name
        memory = f"{row.memory_mb:.1f}" if row.fits else f"[red]{row.memory_mb:.1f} does not fit[/]"
        table.add_row(
            name,
            row.precision,
            f"{row.bound_ms:.3f}",
            f"{row.typical_ms:.3f}",
            f"{1000 / row.bound_ms:,.0f}",
            memory,
            row.limit,
        )
    console.print(table)
    console.print(
        "\nBounds, not promises. least ms: no run can be faster. by layers: each layer at its own limit,\n"
        "nothing kept in a cache. Small models stay above both, for starting a layer costs microseconds.\n"
        "MB: weights and values; the runtime's own memory comes on top.",
        style="dim",
        highlight=False,
    )
