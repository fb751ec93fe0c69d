"""`edgevid estimate`: bounds on a model's speed on a device, and its memory, before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, print_rows, results, write_json

if TYPE_CHECKING:
    from edgevid.optimize.estimate import Cost, Estimate


def command(
    model: Annotated[str, Argument(help="A model's name, recipe or ONNX file.")],
    device: Annotated[list[str] | None, Option(help="Repeatable; this-cpu: measured; default: all.")] = None,
    precision: shared.Precisions = None,
    batch: Annotated[int, Option(help="Images per run.")] = 1,
    out: shared.Json = None,
    force: shared.Force = False,
) -> None:
    """Count a model's operations and bytes, and bound its speed on a device."""
    from edgevid.models.hub import resolve_model
    from edgevid.optimize import estimate as tool
    from edgevid.optimize.estimate import model_cost

    check_outputs({"--json": (out, "JSON")}, [model], force=force)
    # Counting an ONNX file needs no recipe.
    cost = model_cost(Path(model) if model.endswith(".onnx") else resolve_model(model).local, batch=batch)
    chosen = [tool.device(name) for name in device or tool.devices()]
    found = (tool.estimate(cost, one, p) for one in chosen for p in precision or tool.BYTES)
    rows = [row for row in found if row is not None]
    counts = ("batch", "operations", "parameters", "inputs", "outputs", "peak")
    figures = ("precision", "bound_ms", "limit", "layers_ms", "memory_mb", "fits")
    estimates = [{"device": r.device.name} | {k: getattr(r, k) for k in figures} for r in rows]
    values = {"model": model, **{k: getattr(cost, k) for k in counts}, "estimates": estimates}
    if write_json(values, out):
        _show(model, cost, rows)


def _show(model: str, cost: Cost, rows: list[Estimate]) -> None:
    console = results()
    console.print(
        f"[bold]{escape(model)}[/], batch {cost.batch}: {cost.operations / 1e9:.2f} GFLOP "
        f"({cost.operations / 2e9:.2f} GMAC), {cost.parameters / 1e6:.2f} M parameters, "
        f"{cost.peak / 1e6:.2f} M activations at the peak\n"
    )
    heads = ("device", "precision", "bound ms", "layers ms", "max runs/s", "MB", "bound by")
    cells = []
    for row in rows:
        memory = f"{row.memory_mb:.1f}" if row.fits else f"[red]{row.memory_mb:.1f} too large[/]"
        times = (f"{row.bound_ms:.3f}", f"{row.layers_ms:.3f}", f"{1000 / row.bound_ms:,.0f}")
        cells.append((row.device.name, row.precision, *times, memory, row.limit))
    print_rows(console, heads, cells, text=("precision", "bound by"))
    console.print(
        "\nbound ms: no run can be faster (roofline). layers ms: sum of the layers' own bounds,\n"
        "without a cache. Small models stay above both: launching a layer takes microseconds.\n"
        "MB: weights and activations, without the runtime's own memory.",
        style="dim",
    )
