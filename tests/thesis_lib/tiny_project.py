"""A project with one chapter that takes no time, for the tests of chapters and command line."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from thesis_lib import chapters
from thesis_lib.study.tasks import Parents, Task

CHAPTER = "01_toy"
PARAMETERS = """\
count: int = 2  # how many
rate: float = 0.5  # a fraction
losses: list[str] = ["bce", "dice"]  # which
mask: str | None = None  # a file
lines: list[int] = []  # line numbers
reading: dict = {}  # anything by name
results_dir: str = "results/smoke/01_toy"  # where results go
"""
SMOKE = {"count": 2, "rate": 0.5, "losses": ["bce", "dice"], "mask": None, "lines": []}
SMOKE |= {"reading": {}}
BODY = """\
# %%
from thesis_lib import chapters

page = chapters.open_page("01_toy", globals())

# %%
print("sum", count + count)
page.tell(total=count * rate)
count;

# %% tags=["training"]
(page.results / "figures").mkdir()
(page.results / "figures" / "a.txt").write_text("drawn")
print("score 0.91 in epoch", count)

# %%
page.close(data={"test": "0123abcd"}, seeds=[0, 1])
"""


@dataclass(frozen=True)
class Throw(Task):
    """Throw a die: a task without parents, whose files count how often it was computed."""

    seed: int
    sides: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    headline = ("points",)

    def compute(self, folder: Path, parents: Parents) -> Mapping[str, Any]:
        """Nothing is random: a seed has its own number of points."""
        assert not parents
        (folder / "thrown").touch(exist_ok=False)
        scores = {"points": float(self.sides[self.seed % 6]), "luck": math.nan}
        data = {"training": f"die table{self.seed}"}
        return scores | {"rolls": [{"n": 1}, {"n": 2}], "data": data}


@dataclass(frozen=True)
class Bet(Task):
    """Bet on a throw: a task with a parent and without a seed of its own."""

    throw: Throw
    stake: str = "a purse"

    def compute(self, folder: Path, parents: Parents) -> Mapping[str, Any]:
        """Win twice the points."""
        assert (parents["throw"].folder / "thrown").exists()
        (folder / "won").touch(exist_ok=False)
        return {"won": 2 * parents["throw"].scores["points"], "data": {"test": "purse"}}


@dataclass(frozen=True)
class Add(Task):
    """Add up throws: a task with any number of parents."""

    throws: tuple[Throw, ...]

    def compute(self, folder: Path, parents: Parents) -> Mapping[str, Any]:  # noqa: ARG002
        """Add the points of all."""
        return {"sum": sum(throw.scores["points"] for throw in parents.values())}


@dataclass(frozen=True)
class Walk(Task):
    """Walk some steps: a task that goes on after the last step of a killed run."""

    seed: int
    n_steps: int = 5
    title_format = "Walk {0.seed}"

    def compute(self, folder: Path, parents: Parents) -> Mapping[str, Any]:  # noqa: ARG002
        """Leave a file for each step, and the process that took it in a line of another."""
        done = len(list(folder.glob("step*")))
        for step in range(done, self.n_steps):
            with (folder / "begun").open("a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(0.3)
            (folder / f"step{step}").touch()
        return {"n_begun": len((folder / "begun").read_text().split())}


def make_project(root: Path, *, body: str = BODY, parameters: str = PARAMETERS) -> Path:
    """Write the chapter with its smoke and laptop profiles below ``root``."""
    params = root / "notebooks" / "params"
    params.mkdir(parents=True, exist_ok=True)
    (params / "smoke.yml").write_text(
        f"{CHAPTER}:\n  count: 2\n  rate: 0.5\n  losses: [bce, dice]\n  mask: null\n"
    )
    (params / "laptop.yml").write_text(f"{CHAPTER}:\n  count: 4\n")
    opening = "# %% [markdown]\n# # What is two and two?\n# It is four.\n\n"
    cell = f'# %% tags=["parameters"]\n{parameters}\n'
    (root / "notebooks" / f"{CHAPTER}.py").write_text(opening + cell + body)
    return root


def open_chapter(project: Path, profile: str = "smoke", **changes: Any) -> chapters.Page:
    """Open the page of the chapter as a run would."""
    values = chapters.resolve_parameters(CHAPTER, profile, changes, project)
    return chapters.open_page(CHAPTER, values, root=project)


def finish_chapter(project: Path, profile: str = "smoke", **changes: Any) -> Path:
    """Leave the results of a finished run, without running anything."""
    page = open_chapter(project, profile, **changes)
    (page.results / "table1.csv").write_text("loss,dice\nbce,0.9\n")
    page.close(data={"test": "0123abcd"}, seeds=[0])
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Why?\nBecause.")])
    chapters.write_notebook(notebook, page.results / f"{CHAPTER}.ipynb")
    return page.results
