"""`edgevid improve`: reviewed labels become a better model, or none."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import results
from edgevid.errors import require


def command(
    recipe: Annotated[Path, Argument(help="Recipe of edgevid train actions: runs/actions/recipe.toml")],
    source: Annotated[Path, Option("--from", help="Folder or database that was reviewed.")],
    out: Annotated[Path, shared.out_option("Folder of every step.")] = Path("runs/improve"),
    deploy: Annotated[bool, Option(help="Replace the recipe's files where the new ones are better.")] = True,
    force: shared.Force = False,
) -> None:
    """Retrain a head with reviewed labels; deploy it only where it is shown to be better (else exit status 1)."""
    require("torch", extra="train", purpose="training")
    from edgevid.cli.console import check_outputs
    from edgevid.insight.improve import improve

    check_outputs({"--out": (out / "improve.json", "JSON")}, (recipe,), force=force)
    console = results(soft_wrap=False)
    log = improve(recipe, source, out, deploy=deploy, report=console.print)
    for name, value in log.items():
        if isinstance(value, dict) and "low" in value:
            a, b, gain, low, high = value.values()
            value = f"{a:.1%} before, {b:.1%} after: {gain:+.1%}, 95 % interval {low:+.1%} to {high:+.1%}"
        console.print(f"{name}: {value:.1%}" if isinstance(value, float) else f"{name}: {value}", markup=False)
    if not log["better"]:
        console.print("Not shown to be better: nothing was deployed.")
        raise typer.Exit(1)
