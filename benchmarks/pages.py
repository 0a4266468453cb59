"""Tables and figures of the pages *How fast is it?* and *Growing*, from published measurements."""

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from thesis_lib.plotting import thesis_style
from thesis_lib.plotting._layout import PAGE_WIDTH
from thesis_lib.plotting._style import BLUE, ORANGE

ROOT = Path(__file__).resolve().parents[1]
WIDE = 30  # where values of x differ by this factor, x and seconds are logarithmic
PATCH, OVERLAP, N_DIRECTIONS = 64, 0.5, 2  # of a prediction, as `thesis segment` does it
SURVEY_SAMPLES = 1e12 / 4  # 1 TB of float32
GPU_FLOPS = 50e12  # assumed: what one GPU sustains on a U-Net in bf16, a fraction of its peak
N_TRANSFERS = 7  # read twice, both directions written and read again, and their mean written
DISK_BYTES = (2e9, 20e9, 200e9)  # assumed: bytes per second of a shared file system, slow to fast


def show_speed(content: dict[str, Any], results: Path) -> None:
    """Write ``bench.png``, ``bench.csv`` and ``bench_machine.csv``."""
    rows = pd.DataFrame(content["rows"])
    plot_ratios(rows).savefig(results / "bench.png", dpi=150)
    rows["above_bound"] = rows["ours_s"] / rows["bound_s"]
    names = ["work", "peer", "ours_s", "peer_s", "ratio", "target", "bound", "above_bound"]
    headings = [
        "Work",
        "Other",
        "Ours (s)",
        "Other (s)",
        "Ratio",
        "Aimed at",
        "Bound",
        "Ours / bound",
    ]
    _write_table(rows[names].set_axis(headings, axis=1), results / "bench.csv")
    _write_machine(content["machine"], results / "bench_machine.csv")


def show_growth(content: dict[str, Any], results: Path) -> None:
    """Write ``growing.png``, ``growing*.csv`` and ``projection*.csv``."""
    points = pd.DataFrame(content["points"])
    plot_growth(points).savefig(results / "growing.png", dpi=150)
    _write_table(_list_points(points), results / "growing.csv")
    work = content["work"]
    _write_table(project_survey(work), results / "projection.csv")
    assumed = {
        "Size of the survey (TB)": 4 * SURVEY_SAMPLES / 1e12,
        "Arithmetic for a patch, counted (GFLOP)": content["work"]["predict_flop"] / 1e9,
        "What a GPU sustains on it, assumed (TFLOP/s)": GPU_FLOPS / 1e12,
        "How often the file system moves the survey": N_TRANSFERS,
    }
    _write_table(pd.DataFrame(assumed.items()), results / "projection_assumed.csv", header=False)
    _write_machine(content["machine"], results / "growing_machine.csv")


@thesis_style()
def plot_ratios(rows: pd.DataFrame) -> Figure:
    """One line per row on a logarithmic axis: right of 1 ours is faster; a diamond is the goal."""
    names = [f"{work} ({peer})" for work, peer in zip(rows["work"], rows["peer"], strict=True)]
    fig, ax = plt.subplots(figsize=(PAGE_WIDTH, 0.22 * len(rows) + 0.9))
    lines = np.arange(len(rows))
    ax.hlines(lines, rows["low"], rows["high"], color=BLUE, linewidth=1.6)
    ax.scatter(rows["ratio"], lines, s=24, color=BLUE, zorder=3, label="measured")
    ax.scatter(rows["target"], lines, marker="D", s=20, fc="white", ec=ORANGE, label="aimed at")
    ax.axvline(1, color="0.4", linewidth=0.8)
    ax.set_xscale("log", base=2)
    ax.set(yticks=lines, yticklabels=names, ylim=(len(rows) - 0.4, -0.6))
    ax.set_xlabel("time of the other / our time")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.grid(axis="y")
    fig.legend(handles=ax.collections[-2:], loc="outside upper right", ncols=2, frameon=False)
    return fig


@thesis_style()
def plot_growth(points: pd.DataFrame) -> Figure:
    """Time against volume, patches, loss and workers, and memory against the size of a file."""
    fig, axes = plt.subplots(2, 3, figsize=(PAGE_WIDTH, 4.4))
    _draw_line(axes[0, 0], points, "prediction", "volume (million samples)")
    _draw_line(axes[0, 1], points, "sparse file", "file (GB)")
    _draw_line(axes[0, 2], points, "sparse file", "file (GB)", y="memory_gb")
    _draw_line(axes[1, 0], points, "training", "patches in an epoch")
    _draw_bars(axes[1, 1], points, "loss")
    _draw_bars(axes[1, 2], points, "workers")
    axes[1, 2].set_ylabel("processes")
    titles = (
        "predict",
        "segment a file",
        "segment a file",
        "train",
        "train",
        "train four networks",
    )
    for ax, title in zip(axes.flat, titles, strict=True):
        ax.set_title(title)
    return fig


def _draw_line(
    ax: Any, points: pd.DataFrame, series: str, label: str, *, y: str = "seconds"
) -> None:
    chosen = points[points["series"] == series]
    x = chosen["x"].astype(float)
    ax.plot(x, chosen[y], "o-", color=BLUE)
    unit = "time (s)" if y == "seconds" else "peak memory (GB)"
    ax.set(xlabel=label, ylabel=unit, ylim=(0, 1.15 * chosen[y].max()))
    if x.max() < WIDE * x.min():
        ax.set(xlim=(0, 1.05 * x.max()))
        return
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    if y == "seconds":
        ax.set(yscale="log", ylim=(chosen[y].min() / 2, chosen[y].max() * 2))
        ax.yaxis.set_major_formatter("{x:g}")


def _draw_bars(ax: Any, points: pd.DataFrame, series: str) -> None:
    chosen = points[points["series"] == series]
    ax.barh(chosen["x"].astype(str), chosen["seconds"], color=BLUE, height=0.6)
    ax.invert_yaxis()
    ax.set_xlabel("time (s)")
    ax.tick_params(axis="y", labelsize="small")


def _list_points(points: pd.DataFrame) -> pd.DataFrame:
    names = {
        "prediction": "predict, both directions: million samples",
        "sparse file": "segment a sparse SEG-Y file: GB",
        "training": "train one epoch: patches",
        "loss": "train 64 patches: loss",
        "workers": "train four networks: processes",
    }
    table = points[["series", "x", "seconds", "memory_gb"]].replace({"series": names})
    headings = ["What varies", "Value", "Time (s)", "Peak memory (GB)"]
    return table.set_axis(headings, axis=1)


def project_survey(work: dict[str, float]) -> pd.DataFrame:
    """
    Hours that a survey of 1 TB takes on 8 to 512 GPUs: computing, or disks where they are slower.

    Parameters
    ----------
    work : dict
        ``predict_flop``, the counted arithmetic of the network for one patch.
    """
    patches = N_DIRECTIONS * SURVEY_SAMPLES / (PATCH * (1 - OVERLAP)) ** 2
    n_gpus = 8 * 2 ** np.arange(7)
    computing_h = patches * work["predict_flop"] / GPU_FLOPS / 3600 / n_gpus
    columns = {"GPUs": n_gpus, "Computing (h)": computing_h}
    for rate in DISK_BYTES:
        moving_h = N_TRANSFERS * 4 * SURVEY_SAMPLES / rate / 3600
        columns[f"In all at {rate / 1e9:g} GB/s (h)"] = np.maximum(computing_h, moving_h)
    return pd.DataFrame(columns)


def _write_table(table: pd.DataFrame, path: Path, *, header: bool = True) -> None:
    table.map(_three_digits).to_csv(path, index=False, header=header)


def _three_digits(value: Any) -> Any:
    """Write a number with three significant digits and without an exponent."""
    if not isinstance(value, float) or not np.isfinite(value):
        return value
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


def _write_machine(machine: dict[str, Any], path: Path) -> None:
    facts = {"Date": machine["date"], "Processor": machine["cpu"], "Cores": machine["n_cores"]}
    facts |= {"Threads": machine["n_threads"], **machine["libraries"]}
    pd.Series(facts, name="").rename_axis("").to_csv(path, header=False)


def main() -> None:
    """Write all of them into ``book/results``."""
    results = ROOT / "book" / "results"
    results.mkdir(parents=True, exist_ok=True)
    for name, show in (("bench", show_speed), ("growing", show_growth)):
        path = ROOT / "published" / f"{name}.json"
        show(json.loads(path.read_text(encoding="utf-8")), results)


if __name__ == "__main__":
    main()
