"""Processes that are killed while they write: what is left is whole, a second attempt ends well."""

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import torch
from explained_networks import TINY, leave_network
from file_server import FileServer, serve
from judging import KILLED, Case, LostError
from tiny_project import CHAPTER, make_project, open_chapter

from saltearth import make_volume
from saltvolumes import datasets, open_volume, save_volume
from thesis_lib import chapters
from thesis_lib.__main__ import app
from thesis_lib.study import Score, run_all

LIMIT_S = 900.0  # of a second attempt, on a machine that others use
N_ATTEMPTS = 5  # the kernel of a killed chapter notices after a second
TRAIN = replace(TINY, train=replace(TINY.train, epochs=3))
Content = Mapping[str, Any]  # by name; None where there is nothing


@dataclass
class Kills:
    """
    Kill one action.

    ``prepare`` makes a folder ready and ``act`` works in it; ``read`` says what is there, and
    raises where something is half. Between the two, each part is as before or as after.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    read: Callable[[Path], Content]
    weight: float = 1.0
    cpu_s: float = 60.0
    wall_s: float = 3 * LIMIT_S
    after: Content = field(default_factory=dict)  # what the action leaves if it is not killed
    seconds: float = 0.0  # how long it takes

    def make(self, rng: Random, folder: Path) -> Case:
        """Kill at a random moment."""
        return Case(partial(self._try, rng.random(), folder), label=self.name)

    def _try(self, moment: float, folder: Path) -> str | None:
        if not self.after:
            self._learn(folder.with_name("whole"))
        self.prepare(folder)
        before = self.read(folder)
        start = time.monotonic()
        killed = run_child(self.act, folder, kill_after_s=moment * self.seconds)
        if not killed:  # it is faster than it was
            self.seconds = time.monotonic() - start
        for name, content in self.read(folder).items():
            if content not in (before.get(name), self.after.get(name)):
                raise LostError(f"after a kill, {name} is neither as before nor as after")
        self._finish(folder)
        if self.read(folder) != self.after:
            raise LostError("after a kill, a second attempt ends otherwise")
        if left := [path.name for path in folder.rglob(".*.partial")]:
            raise LostError(f"after a kill and a second attempt, {left} is left")
        return KILLED if killed else None

    def _learn(self, folder: Path) -> None:
        """Let the action come to its end, once."""
        folder.mkdir(parents=True, exist_ok=True)
        self.prepare(folder)
        start = time.monotonic()
        self._finish(folder)
        self.after, self.seconds = self.read(folder), time.monotonic() - start
        shutil.rmtree(folder)

    def _finish(self, folder: Path) -> None:
        for attempt in range(N_ATTEMPTS):
            with_error = folder / "error.txt"
            with_error.unlink(missing_ok=True)
            if run_child(self.act, folder, kill_after_s=LIMIT_S):
                raise LostError(f"an attempt after a kill takes more than {LIMIT_S} s")
            if not with_error.exists():
                return
            time.sleep(attempt)
        raise LostError(f"attempts after a kill fail: {with_error.read_text()[-400:]!r}")


def run_child(act: Callable[[Path], None], folder: Path, *, kill_after_s: float) -> bool:
    """Act in a forked process, which is killed if it is not done in time; whether it was."""
    pid = os.fork()
    if pid == 0:
        _act_and_exit(act, folder)
    end = time.monotonic() + kill_after_s
    while not (done := os.waitpid(pid, os.WNOHANG)[0]) and time.monotonic() < end:
        time.sleep(min(0.001, max(end - time.monotonic(), 0)))
    if done:
        return False
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def _act_and_exit(act: Callable[[Path], None], folder: Path) -> None:
    with (folder / "printed.txt").open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        act(folder)
    except BaseException:  # noqa: BLE001  nothing gets out of this process
        (folder / "error.txt").write_text(traceback.format_exc())
    finally:
        sys.stdout.flush()
        os._exit(0)


def _hash(path: Path) -> str | None:
    return sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _read_volume(path: Path) -> str | None:
    """Content of a volume; a folder that is being replaced may be set aside."""
    aside = path.with_name(f".{path.name}.replaced")
    if not path.exists() and aside.exists():
        path = aside.rename(path.with_name(f"aside{path.suffix}"))
    return open_volume(path, vertical="depth").attrs["content_hash"] if path.exists() else None


def make_saves() -> list[Kills]:
    """Volumes over older ones."""
    old, new = (make_volume((32, 48, 48), seed=seed) for seed in (1, 2))

    def make(ending: str) -> Kills:
        name = f"volume{ending}"
        return Kills(
            f"kill: save {ending}",
            lambda folder: save_volume(old, folder / name),
            lambda folder: save_volume(new, folder / name),
            lambda folder: {name: _read_volume(folder / name)},
        )

    return [make(ending) for ending in (".sgy", ".nc", ".zarr")]


def make_fetch(scratch: Path) -> Kills:
    """A download from a server of this machine, which runs as long as the campaign."""
    content = np.random.default_rng(3).bytes(2**23)
    address = scratch / "address.txt"
    process = get_context("fork").Process(target=_serve, args=(content, address), daemon=True)
    process.start()
    while not address.exists():
        time.sleep(0.01)
    source = replace(datasets.DATA_SOURCES["seam-depth"], url=address.read_text(), sha256=None)

    def act(folder: Path) -> None:
        os.environ["NO_PROXY"] = "*"
        datasets.DATA_SOURCES = {"seam-depth": source}
        datasets.fetch("seam-depth", folder / "data")

    def read(folder: Path) -> Content:
        path = folder / "data" / "file.zip"
        return {"file": _hash(path), "checksum": datasets.read_checksum(path)}

    return Kills("kill: fetch", lambda folder: (folder / "data").mkdir(), act, read)


def _serve(content: bytes, address: Path) -> None:
    with serve(FileServer(content)) as running:
        partial_address = address.with_suffix(".partial")
        partial_address.write_text(running.url)
        partial_address.rename(address)
        while os.getppid() > 1:
            time.sleep(1)


def make_segment(scratch: Path) -> Kills:
    """The command line, over an older mask."""
    volume, run = scratch / "volume.sgy", scratch / "run"
    save_volume(make_volume((16, 24, 32), seed=3), volume)
    leave_network(run)
    words = ["segment", str(volume), "mask.sgy", "--network", str(run), "-o", "vertical", "depth"]

    def act(folder: Path) -> None:
        os.chdir(folder)
        app([*words, "--force"], standalone_mode=False)

    return Kills(
        "kill: thesis segment",
        lambda folder: (folder / "mask.sgy").write_bytes(b"an older mask"),
        act,
        lambda folder: {"mask": _hash(folder / "mask.sgy")},
    )


def make_study() -> Kills:
    """Two networks and their scores."""
    tasks = [Score(TRAIN), Score(replace(TRAIN, loss="bce"))]

    def read(folder: Path) -> Content:
        runs = [folder / "runs" / task.key for score in tasks for task in (score, score.network)]
        files = [run / name for run in runs for name in ("scores.json", "weights.safetensors")]
        return {f"{path.parent.name}/{path.name}": _hash(path) for path in files}

    act = partial(_run_study, tasks)
    return Kills("kill: run_all", lambda _: None, act, read, weight=1.5)


def _run_study(tasks: list[Score], folder: Path) -> None:
    torch.set_num_threads(1)
    run_all(tasks, root=folder / "runs", progress=False)


def _read_results(folder: Path) -> Content:
    """Table and parameters of a chapter, which belong together."""
    results = folder / "results" / "custom" / CHAPTER
    aside = results.with_name(f".{CHAPTER}.replaced")
    results = aside if not results.exists() and aside.exists() else results
    try:
        count = chapters.read_run_info(results)["parameters"]["count"]
    except FileNotFoundError:
        return {"results": None}
    saved = sorted(path for path in results.rglob("*") if path.suffix in (".csv", ".txt"))
    return {"results": (count, [(path.name, _hash(path)) for path in saved])}


def _write_page(count: int, folder: Path) -> None:
    page = open_chapter(folder, count=count)
    for number in range(5):
        page.save(**{f"table{number}": pd.DataFrame({"count": [count] * 1000})})
    page.close()


def make_chapters() -> list[Kills]:
    """The results of a chapter over older ones: its page alone, and a run with its kernel."""

    def prepare(folder: Path) -> None:
        make_project(folder)
        run_child(
            partial(_write_page, 5), folder, kill_after_s=LIMIT_S
        )  # its lock is not inherited

    def run(folder: Path) -> None:
        chapters.run("1", overrides={"count": 7}, root=folder)

    page = Kills("kill: page", prepare, partial(_write_page, 7), _read_results)
    chapter = Kills("kill: chapter", make_project, run, _read_results, weight=0.2)
    return [page, chapter]


def make_areas(scratch: Path) -> list[Kills]:
    """All areas of kills, which make 1 of about 100 inputs."""
    areas = [*make_saves(), make_fetch(scratch), make_segment(scratch), make_study()]
    areas += make_chapters()
    for area in areas:
        area.weight *= 0.06
    return areas
