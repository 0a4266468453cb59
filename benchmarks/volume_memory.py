"""
Memory and time that a large SEG-Y file takes: to patches, a trained network, or a mask.

``benchmarks/volume_memory.py GIGABYTES [patches|train|segment] [--salt N]`` writes a sparse file of
that size, opens it with itself as its mask and draws batches of patches in both directions, or
trains a network for a step, or segments and scores it as ``thesis segment`` does. It prints the
size of the file in MB, the memory of the process before and at its peak in MB, and seconds. Linux
counts pages of a mapped file as memory of the process for as long as they are mapped; so the peak
(VmHWM) is an upper bound of what the process needs, and the tests run this script as a process of
its own.
"""

import tempfile
from importlib import import_module
from itertools import islice
from pathlib import Path
from time import perf_counter

import click
import numpy as np

from saltvolumes import open_volume
from thesis_lib._json import write_json
from thesis_lib.patches import Earths, PatchBatches

N_CROSSLINES = 500
N_SAMPLES = 2000
N_SALT_INLINES, N_SALT_CROSSLINES = 16, 32  # the first ones
SMALL = {"patch": (64, 64), "stride": (32, 32), "n_patches": 16}


def write_sparse(path: Path, n_bytes: int, n_salt: int) -> None:
    """Write IEEE floats: 1 in the first samples of the traces at one corner, 0 elsewhere."""
    record = np.dtype(
        {
            "names": ["inline", "crossline", "samples"],
            "formats": [">i4", ">i4", (">f4", (N_SAMPLES,))],
            "offsets": [188, 192, 240],
        }
    )
    line = np.zeros(N_CROSSLINES, dtype=record)
    line["crossline"] = np.arange(N_CROSSLINES)
    head = bytearray(3600)
    for field, value in ((3217, 4000), (3221, N_SAMPLES), (3225, 5)):
        head[field - 1 : field + 1] = value.to_bytes(2, "big")
    with path.open("wb") as file:
        file.write(head)
        for inline in range(n_bytes // line.nbytes):
            line["inline"] = inline
            for trace in line:
                file.write(trace.tobytes()[:240])
                if inline < N_SALT_INLINES and trace["crossline"] < N_SALT_CROSSLINES:
                    file.write(np.ones(n_salt, ">f4").tobytes())
                    file.seek(4 * (N_SAMPLES - n_salt), 1)
                else:
                    file.seek(4 * N_SAMPLES, 1)
        file.truncate(file.tell())


def read_memory_mb(field: str) -> int:
    """Memory of this process, VmRSS now or VmHWM at its peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) // 1000


def draw_patches(path: Path, _encoder: str) -> None:
    """Draw 20 batches in both directions."""
    volume = open_volume(path, mask=path)
    batches = PatchBatches(volume, patch=64, stride=64, batch_size=32, seed=0)
    for _ in islice(batches.epoch(0), 20):
        pass


def train(path: Path, encoder: str) -> None:
    """Train a network for a step; the tenth before the last fifth is watched."""
    from thesis_lib.study import Train, run_all, surveys
    from thesis_lib.training import TrainConfig

    reading = {"mask": str(path), "spacing_m": (25.0, 25.0), "vertical": "depth"}
    survey = surveys.Survey(str(path), reading=reading, guard_lines=64)
    network = Train(0, "bce", survey, TrainConfig(epochs=1), encoder=encoder, **SMALL)
    run_all([network], root=path.parent / "runs")


def segment(path: Path, encoder: str) -> None:
    """Segment by a network of random weights that sees some salt, and score against the mask."""
    import torch

    from thesis_lib.patching import zscore
    from thesis_lib.study import Train, surveys
    from thesis_lib.study.segmentation import build_model
    from thesis_lib.study.tasks import save_tensors

    task = Train(0, "bce", Earths({"gulf": (20.0,)}), encoder=encoder, **SMALL)
    folder = path.parent / "network"
    folder.mkdir()
    write_json(folder / "config.json", task.describe() | {"fields": task})
    model = build_model(task).eval()
    patches = torch.zeros(2, 1, *SMALL["patch"])
    patches[1, ..., :32] = 1.0
    with torch.no_grad():  # no salt where a patch is constant, some at an edge: a boundary to score
        empty, edge = model(zscore(patches))
        assert empty.max() < edge.max()
        model.head.bias -= (empty.max() + edge.max()) / 2
    save_tensors(folder / "weights.safetensors", model.state_dict())
    reading = {"mask": str(path), "spacing_m": (25.0, 25.0), "vertical": "depth"}
    print(surveys.segment(path, path.with_name("salt.sgy"), folder, reading=reading))


@click.command()
@click.argument("gigabytes", type=float)
@click.argument("work", type=click.Choice(["patches", "train", "segment"]), default="patches")
@click.option("--encoder", default="resnet34", show_default=True)
@click.option(
    "--salt",
    "n_salt",
    type=click.IntRange(1, N_SAMPLES),
    default=N_SAMPLES,
    show_default=True,
    help="Samples of salt in a trace: more take longer, not more memory.",
)
def measure(gigabytes: float, work: str, encoder: str, n_salt: int) -> None:
    """Print size of the file, memory before and at the peak, all in MB, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.sgy"
        write_sparse(path, int(gigabytes * 1e9), n_salt)
        if work != "patches":  # the libraries that a network brings are no part of the work
            from thesis_lib.model import SaltUNet

            import_module("thesis_lib.study")
            SaltUNet(encoder)
        before, start = read_memory_mb("VmRSS"), perf_counter()
        {"patches": draw_patches, "train": train, "segment": segment}[work](path, encoder)
        seconds, n_mb = perf_counter() - start, path.stat().st_size // 10**6
        click.echo(f"{n_mb} {before} {read_memory_mb('VmHWM')} {seconds:.0f}")


if __name__ == "__main__":
    measure()
