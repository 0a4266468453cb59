"""
How time and memory grow with volumes, patches, losses and workers: ``make bench``.

Each series varies one thing and keeps the others. The page *Growing* shows the points, and what
they mean for a survey that no machine here can hold.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import click
import torch
from bench import ROOT, describe_machine
from torch.utils.flop_counter import FlopCounterMode

from saltearth import make_volume
from thesis_lib._json import write_json
from thesis_lib.losses import LOSSES
from thesis_lib.model import SaltUNet
from thesis_lib.patches import Earths, PatchBatches
from thesis_lib.study import Train, grid, run_all
from thesis_lib.study.workers import open_workers
from thesis_lib.training import TrainConfig, fit, predict_volume

Point = dict[str, Any]
PATCH = {"patch": (64, 64), "stride": (32, 32)}
GIGABYTES = (0.1, 0.4, 1.6)  # a file of 20 takes 20 minutes and 30 GB of disk


def time_call(call: Any) -> float:
    """Seconds that a call takes, the second time: the first one warms up."""
    call()
    start = perf_counter()
    call()
    return perf_counter() - start


def predict_volumes() -> Iterator[Point]:
    """Seconds of a prediction in both directions, by the size of the volume."""
    model = SaltUNet()
    for n_inlines in (64, 128, 256):
        volume = make_volume((n_inlines, 64, 96), seed=0)
        call = partial(predict_volume, model, volume, **PATCH, precision="32-true")
        size = volume["amplitude"].size
        yield {"series": "prediction", "x": size / 1e6, "seconds": time_call(call)}


def segment_files(sizes: tuple[float, ...]) -> Iterator[Point]:
    """Seconds and peak memory of a segmentation from SEG-Y to SEG-Y, by the size of the file."""
    script = Path(__file__).with_name("volume_memory.py")
    for gigabytes in sizes:
        command = [sys.executable, str(script), str(gigabytes), "segment", "--encoder", "resnet18"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        size, before, peak, seconds = map(int, done.stdout.splitlines()[-1].split())
        point = {"series": "sparse file", "x": size / 1e3, "seconds": seconds}
        yield point | {"memory_gb": peak / 1e3, "before_gb": before / 1e3}


def train_patches() -> Iterator[Point]:
    """Seconds of an epoch, by the number of its patches."""
    for n_patches in (64, 128, 256):
        seconds = time_call(partial(_train, _cut_batches(n_patches), "dice"))
        yield {"series": "training", "x": n_patches, "seconds": seconds}


def train_losses() -> Iterator[Point]:
    """Seconds of an epoch of 64 patches, by the loss."""
    batches = _cut_batches(64)
    for loss in LOSSES:
        yield {"series": "loss", "x": loss, "seconds": time_call(partial(_train, batches, loss))}


def _cut_batches(n_patches: int) -> PatchBatches:
    volume = make_volume((96, 96, 96), seed=0)
    cut: dict[str, Any] = {"patch": 64, "stride": 32, "batch_size": 16}
    return PatchBatches(volume, **cut, n_patches=n_patches, seed=0)


def _train(batches: PatchBatches, loss: str) -> None:
    config = TrainConfig(epochs=1, precision="32-true")
    fit(SaltUNet(), batches, LOSSES[loss], config, progress=False)


def train_by_workers() -> Iterator[Point]:
    """Seconds of four trainings of one thread each, by the number of processes that share them."""
    data = Earths({"gulf": (20.0,)}, shape=(96, 96, 96))
    config = TrainConfig(epochs=1, precision="32-true")
    task = Train(seed=0, loss="dice", data=data, train=config, n_patches=128, **PATCH)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for n_workers in (1, 2):
        with TemporaryDirectory() as root, open_workers(n_workers) as client:
            start = perf_counter()
            run_all(grid(task, seed=range(4)), root=root, client=client, progress=False)
            seconds = perf_counter() - start
        yield {"series": "workers", "x": n_workers, "seconds": seconds}
    torch.set_num_threads(n_threads)


def count_work() -> dict[str, float]:
    """Arithmetic of the network for one patch of 64 x 64: of a prediction and of a step."""
    model, patch = SaltUNet().train(), torch.randn(2, 1, 64, 64)  # two: one has no statistics
    with FlopCounterMode(display=False) as forward:
        logits = model(patch)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    n_forward, n_backward = forward.get_total_flops() / 2, backward.get_total_flops() / 2
    return {"predict_flop": n_forward, "train_flop": n_forward + n_backward}


SERIES = {
    "prediction": predict_volumes,
    "sparse file": partial(segment_files, GIGABYTES),
    "training": train_patches,
    "loss": train_losses,
    "workers": train_by_workers,
}


@click.command()
@click.option("--only", type=click.Choice(list(SERIES)), multiple=True, help="Keep the others.")
@click.option(
    "--gigabytes",
    type=float,
    multiple=True,
    default=GIGABYTES,
    help="Sizes of the sparse files; they replace the ones measured before.",
)
@click.option("--to", "path", type=Path, default=ROOT / "results" / "growing.json")
def grow(only: tuple[str, ...], gigabytes: tuple[float, ...], path: Path) -> None:
    """Print a line for each point, and keep all of them as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text(encoding="utf-8"))["points"] if only else []
    points = [point for point in known if point["series"] not in only]
    content = {"machine": describe_machine(), "work": count_work(), "points": points}
    series = SERIES | {"sparse file": partial(segment_files, gigabytes)}
    for name in only or SERIES:
        for point in series[name]():
            points.append(point)
            click.echo("  ".join(f"{key} {value}" for key, value in point.items()))
            write_json(path, content, sort_keys=False)


if __name__ == "__main__":
    grow()
