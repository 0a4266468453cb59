"""
Time our work next to what a user would pick instead: ``make bench``.

Both sides run in turn in one process, so that whatever else a machine does meets both. A ratio is
their time over ours, the median over the rounds with its quartiles.
"""

import json
import platform
import re
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import torch
from dask.system import CPU_COUNT
from works import Work, large_segy, list_files, list_losses, list_networks, list_volumes

from thesis_lib._json import write_json

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = (
    "kornia",
    "monai",
    "segmentation-models-pytorch",
    "segysak",
    "surface-distance",
    "torch",
)


def list_works(device: torch.device) -> Iterator[Work]:
    """All rows of the table that a device has."""
    yield from list_losses(device)
    yield from list_volumes(device)
    yield from list_networks(device)
    if device.type == "cpu":
        with large_segy() as path:
            yield from list_files(path)


def measure(work: Work, device: torch.device) -> dict[str, Any]:
    """Time both sides of a work, and what bounds it, in turn."""
    times: dict[str, list[float]] = {"ours": [], "theirs": [], "floor": []}
    for number in range(work.rounds + 1):
        for side, call in (("ours", work.ours), ("theirs", work.theirs), ("floor", work.floor)):
            start = perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                times[side].append(perf_counter() - start)
    ratios = [theirs / ours for ours, theirs in zip(times["ours"], times["theirs"], strict=True)]
    low, ratio, high = statistics.quantiles([*ratios, *ratios], n=4)  # of one round as well
    return {
        "work": work.name,
        "device": device.type,
        "peer": work.peer,
        "ours_s": statistics.median(times["ours"]),
        "peer_s": statistics.median(times["theirs"]),
        "ratio": ratio,
        "low": low,
        "high": high,
        "target": work.target,
        "bound": work.bound,
        "bound_s": statistics.median(times["floor"]),
    }


def describe_machine() -> dict[str, Any]:
    """Processor, threads, date and versions."""
    listing = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", listing.read_text()) if listing.is_file() else []
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": names[0] if names else platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "n_cores": CPU_COUNT,
        "n_threads": torch.get_num_threads(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


@click.command()
@click.option("--only", default="", help="Rows that match; keep the others.")
@click.option("--to", "path", type=Path, default=ROOT / "results" / "bench.json", show_default=True)
def bench(only: str, path: Path) -> None:
    """Print a row for each work and peer, and keep all of them as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text(encoding="utf-8"))["rows"] if only else []
    rows = [row for row in known if not re.search(only, f"{row['work']} {row['peer']}")]
    kinds = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in map(torch.device, kinds):
        for work in list_works(device):
            if not re.search(only, f"{work.name} {work.peer}"):
                continue
            row = measure(work, device)
            rows.append(row)
            reached = "reached" if row["ratio"] >= work.target else "missed"
            click.echo(
                f"{work.name:48} {work.peer:28} {row['ours_s']:9.4f} s {row['ratio']:6.2f} "
                f"[{row['low']:.2f}, {row['high']:.2f}] of {work.target:g} {reached}"
            )
            write_json(path, {"machine": describe_machine(), "rows": rows}, sort_keys=False)
    n_reached = sum(row["ratio"] >= row["target"] for row in rows)
    click.echo(f"{n_reached} of {len(rows)} reached; kept in {path}")


if __name__ == "__main__":
    bench()
