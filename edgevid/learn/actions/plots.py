"""The learning curve of a training as PNG (extra `train`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgevid.evaluate.actions.plots import BLUE, GRID, INK, ORANGE, new_figure, save_figure
from edgevid.learn.actions.fit import Epoch


def plot_curves(history: Sequence[Epoch], best_epoch: int, title: str, path: Path) -> None:
    """Loss by epoch, and validation accuracy where there was validation data."""
    figure, axes = new_figure(7, 4)
    epochs = np.arange(1, len(history) + 1)
    axes.plot(epochs, [e.train_loss for e in history], color=BLUE, label="training loss")
    checked = np.array([e.validation_loss for e in history])
    if np.isfinite(checked).any():
        axes.plot(epochs, checked, color=ORANGE, label="validation loss")
        right = axes.twinx()
        right.plot(epochs, [100 * e.validation_accuracy for e in history], color=INK, lw=1, ls=":")
        right.set_ylabel("validation accuracy, % (dotted)")
        right.set_ylim(0, 100)
        right.spines["top"].set_visible(False)
        axes.axvline(best_epoch + 1, color=GRID, zorder=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss")
    axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left", fontsize=11)
    axes.legend(frameon=False)
    save_figure(figure, path)
