"""Processes that try inputs; what crashes or hangs one of them is counted, and another goes on."""

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

from judging import FINDINGS, Area, Outcome, judge

MEMORY_BYTES = 4 * 2**30  # that an input may add
FORK = multiprocessing.get_context("fork")  # the library is imported once


@dataclass(frozen=True)
class Plan:
    """Which inputs: numbers from ``first`` on below ``stop``, until a point of time."""

    areas: Sequence[Area]
    seed: int
    scratch: Path
    until: float  # of time.monotonic
    stop: int
    first: int = 0

    def draw(self, number: int) -> tuple[Random, Area]:
        """Area of an input, and the random numbers that make it."""
        rng = Random(f"{self.seed}/{number}")  # the same under every version of Python
        return rng, rng.choices(self.areas, [area.weight for area in self.areas])[0]


@dataclass(frozen=True)
class Tried:
    """An input that was tried; the files of a finding lie in ``folder``."""

    number: int
    area: str
    outcome: Outcome
    seconds: float
    folder: Path


class Worker:
    """A process that tries every n-th input."""

    def __init__(self, plan: Plan, first: int, step: int) -> None:
        self.plan, self.next, self.step = plan, first, step
        self.folder = plan.scratch / f"worker-{first % step}"
        self.start()

    def start(self) -> None:
        """Start, or go on after the last input with a new process."""
        self.here, there = FORK.Pipe()
        self.begun = time.monotonic()
        job = (self.plan, range(self.next, self.plan.stop, self.step), self.folder, there)
        self.process = FORK.Process(target=_try_inputs, args=job, daemon=True)
        self.process.start()
        there.close()

    def take(self) -> Tried | None:
        """Outcome of the input under way, or None at the end."""
        try:
            number, outcome = self.here.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            if not code:
                return None
            number, outcome = self.next, _describe_death(code)
            tried = self._note(number, outcome)
            self.start()
            return tried
        return self._note(number, outcome)

    def stop_if_late(self) -> None:
        """Kill the process where its input takes longer than it may."""
        if self.next < self.plan.stop:
            _, area = self.plan.draw(self.next)
            if time.monotonic() - self.begun > area.wall_s:
                self.process.kill()

    def _note(self, number: int, outcome: Outcome) -> Tried:
        _, area = self.plan.draw(number)
        seconds, self.begun = time.monotonic() - self.begun, time.monotonic()
        self.next = number + self.step
        return Tried(number, area.name, outcome, seconds, self.folder / str(number))


def try_all(plan: Plan, n_workers: int) -> Iterator[Tried]:
    """Try the inputs of a plan, in several processes, and yield each."""
    workers = [Worker(plan, plan.first + index, n_workers) for index in range(n_workers)]
    try:
        while workers:
            ready = wait([worker.here for worker in workers], timeout=1)
            for worker in list(workers):
                if worker.here not in ready:
                    worker.stop_if_late()
                elif (tried := worker.take()) is not None:
                    yield tried
                else:
                    workers.remove(worker)
    finally:
        for worker in workers:
            worker.process.kill()


def _describe_death(code: int) -> Outcome:
    if code in (-signal.SIGKILL, -signal.SIGPROF):
        limit = "wall time" if code == -signal.SIGKILL else "processor time"
        return Outcome("hang", f"took more than its {limit}")
    name = signal.Signals(-code).name if code < 0 else f"status {code}"
    return Outcome("crash", f"the process died of {name}")


def _try_inputs(plan: Plan, numbers: range, folder: Path, results: Connection) -> None:
    _limit_memory()
    sys.unraisablehook = lambda _: None  # h5netcdf closes what it could not open
    for number in numbers:
        if time.monotonic() > plan.until:
            break
        own = folder / str(number)
        own.mkdir(parents=True)
        os.chdir(own)  # a relative path leads nowhere else
        rng, area = plan.draw(number)
        signal.setitimer(signal.ITIMER_PROF, area.cpu_s)  # ends the process, even within C
        outcome = judge(area.make(rng, own))
        signal.setitimer(signal.ITIMER_PROF, 0)
        if outcome.kind not in FINDINGS:
            shutil.rmtree(own, ignore_errors=True)
        results.send((number, outcome))
    results.close()


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
