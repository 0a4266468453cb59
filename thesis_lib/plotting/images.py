"""Images that networks made or judged: maximized, inverted, and explained by activation maps."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from thesis_lib._checks import check_same_shape
from thesis_lib.plotting import _panels
from thesis_lib.plotting._series import check_columns
from thesis_lib.plotting._style import PAGE_WIDTH, RED, SIGNED, new_figure, styled

K = TypeVar("K", str, int)

AMPLITUDE = "amplitude (standard deviations)"
_LABEL_CHARACTERS, _CHARACTER_WIDTH, _LINE_HEIGHT = 14, 0.07, 0.15  # inches
_ROW_LABEL: dict[str, Any] = {"rotation": 0, "ha": "right", "va": "center"}
_LARGEST = 1.5  # inches
_BAR: dict[str, Any] = {"pad": 0.02, "aspect": 10}
_MARGINS = {"bottom": (0.2, 0.8), "right": (0.9, 0.65)}  # inches beside and above or below
_INVERSION_COLUMNS = ("route", "block", "residual", "converged", "modification")


@styled
def plot_image_grid(
    rows: Mapping[str, NDArray[np.floating]],
    *,
    column_titles: Sequence[str] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    shared: bool = True,
    quantity: str = AMPLITUDE,
) -> Figure:
    """
    Draw rows of images, such as Figure 3: one row a network, one column a seed.

    Parameters
    ----------
    rows : mapping of label to array of shape (n, H, W)
        Images, the first row of pixels on top. Rows may differ in n; one without images reads
        *not run*.
    column_titles : sequence of str, optional
        Title of each column.
    notes : mapping of label to sequence of n str, optional
        A few words below each image of a row.
    shared : bool
        Whether all images share one contrast, or each has its own.
    quantity : str
        What the colours mean, with its unit.

    Returns
    -------
    Figure
        Grays, symmetric at the 98th percentile.

    Raises
    ------
    ValueError
        If there is no image, images are not (n, H, W), titles or notes are not as many as images,
        or no amplitude is finite.
    """
    for name, images in rows.items():
        if images.ndim != 3:
            raise ValueError(f"Invalid {name!r} of shape {images.shape}. Must be (n, H, W).")
    if not any(len(images) for images in rows.values()):
        raise ValueError("Invalid rows: no image given. Must be at least one.")
    limit = _common_limit(rows) if shared else None
    cells = {name: list(images) for name, images in rows.items()}
    fig, _ = _draw_grid(cells, column_titles, notes or {}, limit=limit, quantity=quantity)
    return fig


@styled
def plot_emergence(snapshots: Mapping[str, Mapping[int, NDArray[np.floating]]]) -> Figure:
    """
    Draw how an image emerges over the steps of its maximization.

    Parameters
    ----------
    snapshots : mapping of label to mapping of step to array of shape (H, W)
        The image after some numbers of steps, the same for every label, in any order.

    Returns
    -------
    Figure
        One row a label, one column a step, in their order; all in one contrast.

    Raises
    ------
    ValueError
        If there is no image, the steps differ, or no amplitude is finite.
    """
    ordered = {name: dict(sorted(images.items())) for name, images in snapshots.items()}
    steps, rows = _align("snapshots", ordered)
    titles = [f"step {step}" for step in steps]
    limit = _common_limit({name: np.stack(images) for name, images in rows.items()})
    fig, _ = _draw_grid(rows, titles, {}, limit=limit, quantity=AMPLITUDE)
    return fig


@styled
def plot_inversions(
    patch: NDArray[np.floating],
    images: Mapping[str, Mapping[str, NDArray[np.floating]]],
    table: pd.DataFrame,
) -> Figure:
    """
    Draw a patch and what each block of each network kept of it, such as Figure 4.

    Parameters
    ----------
    patch : array of shape (H, W)
        The input, drawn first in every row; its contrast is that of all.
    images : mapping of route to mapping of block to array of shape (H, W)
        Inversions; the same blocks for every route.
    table : DataFrame
        One row a route and block: ``route``, ``block``, ``residual``, ``modification``
        (1 - SSIM), both noted below the image, and ``converged``. Images that did not converge
        are framed in red and say so: what they show is the optimiser, not the network.

    Returns
    -------
    Figure
        One row a route, one column a block.

    Raises
    ------
    ValueError
        If there is no image, blocks or shapes differ, a column of the table or the row of an image
        is missing, or the patch is not finite anywhere.
    """
    blocks, inverted = _align("blocks", images)
    check_columns("table", table, _INVERSION_COLUMNS)
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    for route in inverted:
        for block, image in zip(blocks, inverted[route], strict=True):
            check_same_shape("patch", patch.shape, f"{block} of {route}", image.shape)
            facts[route, block] = _find_row(table, route, block)
    notes = {
        route: ["", *(_note_inversion(facts[route, block]) for block in blocks)]
        for route in inverted
    }
    fig, grid = _draw_grid(
        {route: [patch, *found] for route, found in inverted.items()},
        ["input", *blocks],
        notes,
        limit=_panels.amplitude_limit(patch),
        quantity=AMPLITUDE,
    )
    for row, ax in zip(facts.values(), grid[:, 1:].flat, strict=True):
        if not row["converged"]:
            _mark(ax)
    return fig


@styled
def plot_cams(
    images: NDArray[np.floating],
    maps: Mapping[str, NDArray[np.floating]],
    masks: NDArray[np.bool_] | None = None,
    *,
    titles: Sequence[str] | None = None,
) -> Figure:
    """
    Draw patches and, below, the class activation maps of one or more networks.

    Parameters
    ----------
    images : array of shape (n, H, W)
        Patches, z-scored.
    maps : mapping of label to array of shape (n, H, W)
        Signed maps of each network: red speaks for the class, blue against it. Their mean and the
        bias are the logit.
    masks : bool array of shape (n, H, W), optional
        True salt, outlined.
    titles : sequence of n str, optional
        Title of each patch.

    Returns
    -------
    Figure
        One column a patch; each row has a colour bar of its own, symmetric about 0, since the
        logits of networks differ in scale.

    Raises
    ------
    ValueError
        If there is no patch, shapes differ, titles are not as many as patches, or a row is not
        finite anywhere.
    """
    if images.ndim != 3 or not len(images):
        raise ValueError(f"Invalid images of shape {images.shape}. Must be (n, H, W), not empty.")
    for name, values in maps.items() if masks is None else [*maps.items(), ("masks", masks)]:
        check_same_shape("images", images.shape, name, values.shape)
    columns = _check_titles(titles, len(images))
    fig, grid = _open_grid(["patch", *maps], len(images), images.shape[1:], bar="right")
    limit = _panels.amplitude_limit(images)
    bar = _draw_row(grid[0], images, masks, limit=limit, cmap="gray")
    fig.colorbar(bar, ax=list(grid[0]), label="amplitude\n(std. dev.)", extend="both", **_BAR)
    for row, (name, values) in zip(grid[1:], maps.items(), strict=True):
        bar = _draw_row(row, values, masks, limit=_largest(name, values), cmap=SIGNED)
        fig.colorbar(bar, ax=list(row), label="map (logit)", **_BAR)
    for ax, title in zip(grid[0], columns, strict=True):
        ax.set_title(title, loc="center")
    if masks is not None:
        handles = _panels.contour_handles(truth=True, prediction=False)
        fig.legend(handles=handles, loc="outside upper right", frameon=False)
    return fig


def _draw_row(
    row: Sequence[Axes],
    images: NDArray[np.floating],
    masks: NDArray[np.bool_] | None,
    *,
    limit: float,
    cmap: str,
) -> AxesImage:
    axes = _panels.pixel_frame(*images.shape[1:])
    for number, (ax, image) in enumerate(zip(row, images, strict=True)):
        drawn = _draw_cell(ax, image, limit, cmap=cmap)
        if masks is not None:
            _panels.draw_truth(ax, masks[number], axes)
    return drawn


def _align(
    name: str, rows: Mapping[str, Mapping[K, NDArray[np.floating]]]
) -> tuple[list[K], dict[str, list[NDArray[np.floating]]]]:
    """Columns that all rows have in common, and the images of each row in their order."""
    columns = list(next(iter(rows.values()), ()))
    if not columns:
        raise ValueError(f"Invalid {name}: no image given. Must be at least one.")
    for label, row in rows.items():
        if set(row) != set(columns):
            raise ValueError(f"Invalid {name} {list(row)} of {label!r}. Must be {columns}.")
    return columns, {label: [row[column] for column in columns] for label, row in rows.items()}


def _common_limit(rows: Mapping[str, NDArray[np.floating]]) -> float:
    return _panels.amplitude_limit(np.concatenate([images.ravel() for images in rows.values()]))


def _largest(name: str, maps: NDArray[np.floating]) -> float:
    finite = maps[np.isfinite(maps)]
    if not finite.size:
        raise ValueError(f"Invalid map of {name}: not finite anywhere. Must be.")
    return float(np.abs(finite).max()) or 1.0


def _check_titles(titles: Sequence[str] | None, n_columns: int) -> Sequence[str]:
    if titles is not None and len(titles) != n_columns:
        raise ValueError(f"Invalid titles: {len(titles)} given. Must be {n_columns}.")
    return [""] * n_columns if titles is None else titles


def _draw_grid(
    rows: Mapping[str, Sequence[NDArray[np.floating]]],
    titles: Sequence[str] | None,
    notes: Mapping[str, Sequence[str]],
    *,
    limit: float | None,
    quantity: str,
) -> tuple[Figure, Any]:
    """Draw rows of images in one contrast, or, without a limit, each in its own."""
    for name, words in notes.items():
        if len(words) != len(rows.get(name, ())):
            raise ValueError(f"Invalid notes of {name!r}. Must be one an image of that row.")
    n_columns = max(len(images) for images in rows.values())
    columns = _check_titles(titles, n_columns)
    shape = next(images[0].shape for images in rows.values() if len(images))
    n_lines = max((note.count("\n") + 1 for words in notes.values() for note in words), default=0)
    fig, grid = _open_grid(list(rows), n_columns, shape, n_lines=n_lines)
    for line, (name, images) in zip(grid, rows.items(), strict=True):
        for ax, image, note in zip(line, images, notes.get(name, [""] * len(images)), strict=False):
            own = _panels.amplitude_limit(image) if limit is None else 1.0
            drawn = _draw_cell(ax, image / own, limit or 1.0)
            ax.set_xlabel(note, fontsize=8, labelpad=2)
        if not len(images):
            line[0].text(0, 0.5, "not run", va="center", transform=line[0].transAxes)
    for ax, title in zip(grid[0], columns, strict=True):
        ax.set_title(title, loc="center")
    label = quantity if limit is not None else "amplitude (98th percentile of each image: 1)"
    bar: dict[str, Any] = {"location": "bottom", "shrink": 0.4 if n_columns > 2 else 0.9}
    fig.colorbar(
        drawn, ax=grid.ravel().tolist(), label=label, extend="both", aspect=30, pad=0.03, **bar
    )
    return fig, grid


def _open_grid(
    labels: Sequence[str],
    n_columns: int,
    shape: tuple[int, ...],
    *,
    n_lines: int = 0,
    bar: str = "bottom",
) -> tuple[Figure, Any]:
    """Open empty panels for images of one shape (H, W), with a label before every row."""
    wrapped = [textwrap.fill(label, _LABEL_CHARACTERS) for label in labels]
    longest = max(len(line) for label in wrapped for line in label.splitlines())
    beside, above = _MARGINS[bar]
    free = PAGE_WIDTH - _CHARACTER_WIDTH * longest - beside
    height = min(free / n_columns, _LARGEST) * shape[0] / shape[1] + 0.06 + _LINE_HEIGHT * n_lines
    layout = ConstrainedLayoutEngine(compress=True, w_pad=0.02, h_pad=0.04, wspace=0, hspace=0)
    fig, grid = new_figure(
        len(labels), n_columns, height=len(labels) * height + above, layout=layout
    )
    for ax in grid.flat:
        ax.set(xticks=[], yticks=[], frame_on=False)
    for ax, label in zip(grid[:, 0], wrapped, strict=True):
        ax.set_ylabel(label, **_ROW_LABEL)
    return fig, grid


def _draw_cell(
    ax: Axes, image: NDArray[np.floating], limit: float, *, cmap: str = "gray"
) -> AxesImage:
    axes = _panels.pixel_frame(*image.shape)
    label = ax.get_ylabel()
    drawn = _panels.draw_image(ax, image, axes, limit=limit, cmap=cmap)
    ax.set_xlabel("")
    ax.set_ylabel(label, **_ROW_LABEL)
    return drawn


def _find_row(table: pd.DataFrame, route: str, block: str) -> dict[str, Any]:
    rows = table[(table["route"] == route) & (table["block"] == block)].to_dict("records")
    if len(rows) != 1:
        raise ValueError(
            f"Invalid table: {len(rows)} rows for {block} of {route!r}. Must be one for each image."
        )
    return {str(name): value for name, value in rows[0].items()}


def _note_inversion(facts: Mapping[str, Any]) -> str:
    verdict = "" if facts["converged"] else "\nnot converged"
    return f"residual {facts['residual']:.2g}\n1 − SSIM {facts['modification']:.2f}{verdict}"


def _mark(ax: Axes) -> None:
    """Frame an image, and colour its note, in red."""
    ax.set_frame_on(True)
    ax.spines[:].set(visible=True, color=RED, linewidth=1.8)
    ax.xaxis.label.set_color(RED)
