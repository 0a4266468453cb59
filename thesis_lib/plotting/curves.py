"""Losses as functions, their gradients as maps, and how training went."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from thesis_lib._checks import check_same_shape
from thesis_lib.plotting import _panels
from thesis_lib.plotting._series import check_columns
from thesis_lib.plotting._style import (
    BLUE,
    ORANGE,
    SIGNED,
    label_outer,
    new_panels,
    styled,
)

_COLUMNS = 4
_LINE: dict[str, Any] = {"linewidth": 1.1, "marker": ".", "markersize": 3}
_HISTORY_COLUMNS = ("epoch", "train_loss")


@styled
def plot_loss_curves(
    logits: NDArray[np.floating], curves: Mapping[str, NDArray[np.floating]]
) -> Figure:
    """
    Draw each loss over the logit, for background and for salt.

    Parameters
    ----------
    logits : array of shape (n,)
        Raw network output, dimensionless.
    curves : mapping of title to array of shape (2, n)
        Value of the loss for target 0 (first row) and target 1 (second row).

    Returns
    -------
    Figure
        One panel per loss, each with its own scale.

    Raises
    ------
    ValueError
        If a curve has another shape.
    """
    for name, values in curves.items():
        check_same_shape("two targets and logits", (2, logits.size), name, values.shape)
    fig, panels = new_panels(len(curves), n_columns=_COLUMNS, panel_height=1.4, sharex=True)
    styles = [(BLUE, "solid", "target 0 (background)"), (ORANGE, "dashed", "target 1 (salt)")]
    for ax, (name, values) in zip(panels, curves.items(), strict=True):
        for row, (color, linestyle, label) in zip(values, styles, strict=True):
            ax.plot(logits, row, color=color, linestyle=linestyle, label=label)
        ax.set_title(name)
        ax.grid()
    label_outer(panels, n_columns=_COLUMNS, share_y=False)
    fig.supxlabel("logit")
    fig.supylabel("loss")
    handles = panels[0].get_lines()
    fig.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False)
    return fig


@styled
def plot_loss_gradients(
    gradients: Mapping[str, NDArray[np.floating]], target: NDArray[np.generic]
) -> Figure:
    """
    Draw the gradient of every loss with respect to the logits of one example.

    Each map is scaled by its largest magnitude, which its title states, since the losses differ
    by orders of magnitude.

    Parameters
    ----------
    gradients : mapping of title to array of shape (H, W)
        dL/dx per pixel. Negative (blue) where a step of gradient descent raises the logit.
    target : array of shape (H, W)
        True salt, drawn as a contour.

    Returns
    -------
    Figure
        One map per loss.

    Raises
    ------
    ValueError
        If a shape differs from that of the target.
    """
    axes = _panels.pixel_frame(*target.shape)
    fig, panels = new_panels(
        len(gradients), n_columns=_COLUMNS, panel_height=1.75, layout="compressed"
    )
    for ax, (name, gradient) in zip(panels, gradients.items(), strict=True):
        check_same_shape("target", target.shape, name, gradient.shape)
        largest = float(np.max(np.abs(gradient)))
        image = _panels.draw_image(ax, gradient / (largest or 1.0), axes, limit=1.0, cmap=SIGNED)
        _panels.draw_truth(ax, target, axes)
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="", title=f"{name}\nlargest {largest:.1e}")
    handles = _panels.contour_handles(truth=True, prediction=False)
    fig.legend(handles=handles, loc="outside upper right", frameon=False)
    fig.colorbar(image, ax=fig.axes, label="gradient / its largest magnitude", shrink=0.6, pad=0.02)
    return fig


@styled
def plot_learning_curves(histories: Mapping[str, pd.DataFrame]) -> Figure:
    """
    Draw how training went for every loss, against the others in the background.

    Parameters
    ----------
    histories : mapping of title to DataFrame
        Columns ``epoch``, ``train_loss`` and, where a validation was watched,
        ``validation_dice``; with a column ``seed``, one line per seed. Losses have different
        units, so each is divided by its first value.

    Returns
    -------
    Figure
        One panel per loss.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    lines = {name: _split_seeds(name, history) for name, history in histories.items()}
    watched = [line for seeds in lines.values() for line in seeds if "validation_dice" in line]
    fig, panels = new_panels(
        len(lines), n_columns=_COLUMNS, panel_height=1.4, sharex=True, sharey=True
    )
    for ax, (name, seeds) in zip(panels, lines.items(), strict=True):
        for other in watched:
            ax.plot(other.epoch, other.validation_dice, color="0.85", linewidth=0.7)
        for line in seeds:
            relative = line.train_loss / line.train_loss.iloc[0]
            ax.plot(line.epoch, relative, color=ORANGE, linestyle="dashed", **_LINE)
            if "validation_dice" in line:
                ax.plot(line.epoch, line.validation_dice, color=BLUE, **_LINE)
        ax.set(title=name, ylim=(0, None))
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    label_outer(panels, n_columns=_COLUMNS)
    fig.supxlabel("epoch")
    fig.supylabel("dimensionless")
    handles = [
        Line2D([], [], color=ORANGE, linestyle="dashed", label="training loss / its first value")
    ]
    if watched:
        handles = [
            Line2D([], [], color=BLUE, label="validation Dice"),
            Line2D([], [], color="0.85", label="the other losses"),
            *handles,
        ]
    fig.legend(handles=handles, loc="outside upper right", ncols=3, frameon=False)
    return fig


def _split_seeds(name: str, history: pd.DataFrame) -> Sequence[pd.DataFrame]:
    check_columns(f"history of {name}", history, _HISTORY_COLUMNS)
    return [one for _, one in history.groupby("seed")] if "seed" in history else [history]
