"""
Memory that a large SEG-Y file takes from opening to patches.

``python benchmarks/volume_memory.py GIGABYTES`` writes a sparse file of that size, opens it with
itself as its mask, draws batches of patches in both directions and prints, in MB, the size of the
file, the memory of the process before and its peak. Linux counts pages of a mapped file as memory
of the process for as long as they are mapped; so the peak (VmHWM) is an upper bound of what the
process needs, and the tests run this script as a process of its own.
"""

import tempfile
from itertools import islice
from pathlib import Path

import click
import numpy as np

from saltvolumes import open_volume
from thesis_lib.patches import PatchBatches

N_CROSSLINES = 500
N_SAMPLES = 2000


def write_sparse(path: Path, n_bytes: int) -> None:
    """Write IEEE floats, 0 in most traces and 1 in the first of each line."""
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
                if trace["crossline"] == 0:
                    file.write(np.ones(N_SAMPLES, ">f4").tobytes())
                else:
                    file.seek(4 * N_SAMPLES, 1)
        file.truncate(file.tell())


def read_memory_mb(field: str) -> int:
    """Memory of this process, VmRSS now or VmHWM at its peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) // 1000


@click.command()
@click.argument("gigabytes", type=float)
def measure(gigabytes: float) -> None:
    """Print size of the file, memory before and at the peak, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.sgy"
        write_sparse(path, int(gigabytes * 1e9))
        before = read_memory_mb("VmRSS")
        volume = open_volume(path, mask=path)
        batches = PatchBatches(volume, patch=64, stride=64, batch_size=32, seed=0)
        for _ in islice(batches.epoch(0), 20):
            pass
        n_mb = path.stat().st_size // 10**6
        click.echo(f"{n_mb} {before} {read_memory_mb('VmHWM')}")


if __name__ == "__main__":
    measure()
