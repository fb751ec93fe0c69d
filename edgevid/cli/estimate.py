"""`edgevid estimate`: bounds of a model's speed on a device, and its memory, before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from edgevid.optimize.cost import Cost
    from edgevid.optimize.estimate import Estimate


Json = Annotated[Path | None, typer.Option("--json", help="JSON file to write; - prints it.")]


def command(
    model: Annotated[str, typer.Argument(help="A model's name, recipe or ONNX file.")],
    device: Annotated[
        list[str] | None, typer.Option(help="Device; repeatable; this-cpu is measured. Default: all known.")
    ] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32, fp16 or int8; repeatable.")] = None,
    batch: Annotated[int, typer.Option(help="Images per run.")] = 1,
    out: Json = None,
) -> None:
    """Count a model's operations and bytes, and bound its speed on a device."""
    from edgevid.cli.json_output import write_json
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
    if write_json(_as_json(model, cost, rows), out):
        _show(model, cost, rows)


def _file(model: str) -> Path:
    """The ONNX file; counting needs no recipe."""
    from edgevid.models.hub import resolve_model

    if model.endswith(".onnx"):
        return Path(model)
    return resolve_model(model).local


def _as_json(model: str, cost: Cost, rows: list[Estimate]) -> dict[str, object]:
    counted = {
        k: getattr(cost, k) for k in ("batch", "operations", "parameters", "inputs", "outputs", "peak")
    }
    estimates = [
        {
            "device": r.device.name,
            "precision": r.precision,
            "bound_ms": r.bound_ms,
            "limit": r.limit,
            "layers_ms": r.layers_ms,
            "memory_mb": r.memory_mb,
            "fits": r.fits,
        }
        for r in rows
    ]
    return {"model": model, **counted, "estimates": estimates}


def _show(model: str, cost: Cost, rows: list[Estimate]) -> None:
    from edgevid.cli.tables import print_table

    console = Console(soft_wrap=True)
    console.print(
        f"[bold]{escape(model)}[/], batch {cost.batch}: {cost.operations / 1e9:.2f} GFLOP "
        f"({cost.operations / 2e9:.2f} GMAC), {cost.parameters / 1e6:.2f} M parameters, "
        f"{cost.peak / 1e6:.2f} M activations at the peak\n",
        highlight=False,
    )
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("device", no_wrap=True)
    table.add_column("precision")
    for column in ("bound ms", "layers ms", "max runs/s", "MB"):
        table.add_column(column, justify="right")
    table.add_column("bound by")
    previous = ""
    for row in rows:
        name = row.device.name if row.device.name != previous else ""
        previous = row.device.name
        memory = f"{row.memory_mb:.1f}" if row.fits else f"[red]{row.memory_mb:.1f} too large[/]"
        table.add_row(
            name,
            row.precision,
            f"{row.bound_ms:.3f}",
            f"{row.layers_ms:.3f}",
            f"{1000 / row.bound_ms:,.0f}",
            memory,
            row.limit,
        )
    print_table(console, table)
    console.print(
        "\nbound ms: no run can be faster (roofline). layers ms: sum of the layers' own bounds,\n"
        "without a cache. Small models stay above both: launching a layer takes microseconds.\n"
        "MB: weights and activations, without the runtime's own memory.",
        style="dim",
        highlight=False,
    )
