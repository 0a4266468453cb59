"""A chapter under way: it runs tasks, keeps results, decides claims and records provenance."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from dask.system import CPU_COUNT
from filelock import FileLock, Timeout
from myst_nb import glue

from saltvolumes._checks import check_range
from saltvolumes._files import replace_when_done
from thesis_lib._json import DAMAGE, in_one_line, parse_value, write_json
from thesis_lib.chapters.parameters import RESULTS, describe_parameters, list_chapters, project_root

if TYPE_CHECKING:  # the study is slow to import, and the command line does without
    from thesis_lib.study.claims import Decision
    from thesis_lib.study.tasks import Outcome, Task

RUN_INFO = "run.json"
RECORDS = "runs"  # folder of records, in the results of a chapter and in published/
# Environment variables: no run starts after so many minutes; which records take the place of runs
MINUTES, CHOICE = "THESIS_MINUTES", "THESIS_RECORDS"
_LOCKS: dict[Path, FileLock] = {}  # of folders that this process writes to; it may open them again


@dataclass
class Page:
    """
    A chapter under way, as `open_page` returns it.

    Parameters
    ----------
    results : Path
        Where the chapter's results are gathered. They get their place when the page is closed, and
        until then those of the last run stay.
    root : Path
        Folder of the project, where relative paths of a chapter start.
    info : dict
        Content of ``run.json`` so far: chapter, profile, parameters and when it started.
    """

    results: Path
    root: Path
    info: dict[str, Any]
    _lineage: "dict[str, Outcome]" = field(default_factory=dict, init=False)
    _decisions: "dict[str, list[Decision]]" = field(default_factory=dict, init=False)
    _asked: "dict[str, Task]" = field(default_factory=dict, init=False)

    def run(
        self,
        tasks: "Iterable[Task]",
        n_workers: int = 1,
        *,
        progress: bool = True,
        partial: bool = False,
    ) -> "list[Outcome]":
        """
        Find or compute the results of tasks in the folder that the parameter ``runs_dir`` names.

        Results that this folder lacks are taken from the records in ``published/runs``, where the
        same code computed these; of any code where the environment variable ``THESIS_RECORDS`` is
        ``any``, and never where it is ``none``.

        Parameters
        ----------
        tasks : iterable of Task
            What the chapter is about. `close` records their data, seeds and computing time.
        n_workers : int
            Processes that share the runs.
        progress : bool
            Whether to print one line per task.
        partial : bool
            Whether the chapter can do without some: where the environment variable
            ``THESIS_MINUTES`` is set, no run starts later than so many minutes after the chapter.

        Returns
        -------
        list of Outcome
            In the order of the tasks.

        Raises
        ------
        ValueError
            If the number of minutes or the choice of records is invalid, or nothing has finished.
        """
        from thesis_lib.study.running import run_all
        from thesis_lib.study.workers import open_workers

        tasks = list(tasks)
        left = np.inf
        if partial and MINUTES in os.environ:
            minutes = check_range(MINUTES, parse_value(os.environ[MINUTES]), low=0)
            left = max(minutes - self._elapsed_s() / 60, 0.0)
        folder = self.find(self.info["parameters"].get("runs_dir", "runs"))
        with open_workers(n_workers if left else 1) as client:
            outcomes = run_all(
                tasks,
                root=folder,
                client=client,
                progress=progress,
                records=self._read_records(tasks),
                minutes=left,
            )
        self._asked |= {task.key: task for task in tasks}
        for outcome in outcomes:
            self._lineage |= {found.task.key: found for found in outcome.lineage()}
        if tasks and not self._lineage:
            raise ValueError(
                f"Invalid {MINUTES} {os.environ[MINUTES]}: no run has finished in {folder}. Must "
                "be more, or left out."
            )
        return outcomes

    def _read_records(self, tasks: "list[Task]") -> "dict[str, Outcome]":
        """Records that may take the place of runs."""
        from thesis_lib.study.records import read_records

        choice = os.environ.get(CHOICE, "same")
        if choice == "any":  # names of folders do not tell: all have to be read
            return self._all_records
        return read_records(self.root / "published" / RECORDS, choice=choice, tasks=tasks)

    @cached_property
    def _all_records(self) -> "dict[str, Outcome]":
        from thesis_lib.study.records import read_records

        return read_records(self.root / "published" / RECORDS)

    def find(self, path: str) -> Path:
        """Path of a parameter: a relative one starts at the project, ``~`` at home."""
        return self.root / Path(path).expanduser()

    def save(self, **contents: Any) -> None:
        """
        Save results under their names, in the format that suits what they are.

        Parameters
        ----------
        **contents : DataFrame, Series, Dataset, list of Task or object
            A table becomes ``NAME.csv``, with its index only where that has a name; a dataset
            ``NAME.nc``; a figure ``NAME.png``; tasks, for another chapter to go on from, and all
            else ``NAME.json``.
        """
        from thesis_lib.study.tasks import Task, write_tasks

        for name, content in contents.items():
            path = self.results / name
            if isinstance(content, pd.DataFrame | pd.Series):
                has_name = any(level is not None for level in content.index.names)
                content.to_csv(path.with_suffix(".csv"), index=has_name)
            elif isinstance(content, xr.Dataset):
                content.to_netcdf(path.with_suffix(".nc"), engine="h5netcdf")
            elif hasattr(content, "savefig"):
                content.savefig(path.with_suffix(".png"), dpi=150)
            elif isinstance(content, list) and all(isinstance(item, Task) for item in content):
                write_tasks(path.with_suffix(".json"), content)
            else:
                write_json(path.with_suffix(".json"), content)

    def tell(self, **facts: Any) -> None:
        """Give numbers and words to the text, which shows them by name (MyST-NB's glue)."""
        for name, value in facts.items():
            glue(name, value.item() if isinstance(value, np.generic) else value, display=False)

    def decide(self, task: str, scores: pd.DataFrame, **options: Any) -> "list[Decision]":
        """
        Decide about the thesis' claims of one task; ``claims.json`` and ``.csv`` hold all so far.

        Parameters
        ----------
        task : str
            Task of the claims in ``book/reference/claims.yml``.
        scores, **options
            As :func:`thesis_lib.study.decide` takes them.
        """
        from thesis_lib.study.claim_tables import format_claims
        from thesis_lib.study.claims import decide, gate_claims, read_claims

        claims = read_claims(task=task)
        self._decisions[task] = gate_claims([decide(claim, scores, **options) for claim in claims])
        decisions = list(chain.from_iterable(self._decisions.values()))
        self.save(claims=decisions)  # for the page of all claims
        self.save(claims=format_claims(decisions))  # for readers
        return self._decisions[task]

    def close(self, *, data: Mapping[str, str] | None = None, seeds: Iterable[int] = ()) -> None:
        """
        Complete ``run.json``, and put the results in place of those of the last run.

        This is the last call of a chapter, after everything is saved. Content hashes, seeds and
        computing time of all tasks that the page ran are recorded, and of those that they started
        from. Records of what has finished are added for `thesis_lib.chapters.publish`, but for
        those that are published.

        Parameters
        ----------
        data : mapping of str to str, optional
            More content hashes of volumes, by what they served for.
        seeds : iterable of int
            More seeds that the results depend on.
        """
        from thesis_lib.study.records import is_of_other_code, is_record, write_records

        found = self._lineage.values()
        hashes: dict[str, dict[str, None]] = {}  # a dict in place of a set keeps the order
        for part in (*(outcome.scores.get("data", {}) for outcome in found), data or {}):
            for name, text in part.items():
                hashes.setdefault(name, {}).update(dict.fromkeys(text.split()))
        known = {outcome.task.seed for outcome in found if hasattr(outcome.task, "seed")}
        finished = [self._lineage[key] for key in self._asked if key in self._lineage]
        recorded = [outcome for outcome in finished if is_record(outcome)]
        own = [outcome for outcome in found if not is_record(outcome)]
        runs = {
            "asked": len(self._asked),
            "finished": len(finished),
            "recorded": len(recorded),
            "of_other_code": sum(map(is_of_other_code, recorded)),
            "recorded_s": round(sum(f.seconds for f in found if is_record(f)), 1),
        }
        self.info |= {
            "duration_s": round(self._elapsed_s(), 1),
            "runs": runs,
            "data": {name: " ".join(parts) for name, parts in hashes.items()},
            "seeds": sorted(known.union(seeds)),
            **({"compute_s": round(sum(f.seconds for f in own), 1)} if own else {}),
            **_describe_environment(self.root),
        }
        write_json(self.results / RUN_INFO, self.info, sort_keys=False)
        published = self.root / "published" / RECORDS
        new = [outcome for outcome in finished if outcome.folder.parent != published]
        write_records(self.results / RECORDS, new)
        folder = self.find(self.info["parameters"][RESULTS])
        with replace_when_done(folder) as partial:
            self.results.rename(partial)
        self.results = folder
        _LOCKS[folder].release(force=True)

    def _elapsed_s(self) -> float:
        elapsed = datetime.now(UTC) - datetime.fromisoformat(self.info["started"])
        return elapsed.total_seconds()


def open_page(chapter: str, namespace: Mapping[str, Any], *, root: Path | None = None) -> Page:
    """
    Open the results of a chapter: its first call, right after the imports.

    They are gathered in a new folder, so that results of two runs never mix, and those of the last
    run stay until the page is closed: an error or a kill leaves them alone.

    Parameters
    ----------
    chapter : str
        The chapter's own name.
    namespace : mapping
        ``globals()`` of the notebook, where the parameters are.
    root : Path, optional
        Folder of the project; found where left out.

    Raises
    ------
    ValueError
        If the folder that the parameter ``results_dir`` names holds other files than results, or
        another run is writing to it.
    TypeError
        If a parameter has the wrong type.
    """
    root = root or project_root()
    info = describe_parameters(chapter, namespace, root)
    info["started"] = datetime.now(UTC).isoformat()
    folder = root / Path(info["parameters"][RESULTS]).expanduser()
    _check_results(folder, root)
    results = folder.with_name(f".{folder.name}.open")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        _LOCKS.setdefault(folder, FileLock(f"{results}.lock")).acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"Invalid {RESULTS} {str(folder)!r}: another run writes to it. Must be another folder, "
            "or wait for that run."
        ) from None
    shutil.rmtree(results, ignore_errors=True)  # what a killed run left
    results.mkdir()
    return Page(results, root, info)


def read_run_info(folder: Path) -> dict[str, Any]:
    """
    Read the ``run.json`` of a finished chapter.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If the chapter did not come to its end, or the file is damaged.
    """
    path = folder / RUN_INFO
    if not path.is_file():
        raise FileNotFoundError(f"No {RUN_INFO} in {folder}. Run the chapter first.")
    try:
        info: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except DAMAGE as error:
        raise ValueError(
            f"Cannot read {path}: {in_one_line(error)}. Run the chapter again."
        ) from error
    if "duration_s" not in info:
        raise ValueError(f"Unfinished results in {folder}. Run the chapter again.")
    return info


def _check_results(folder: Path, root: Path) -> None:
    """Refuse to replace a folder that no chapter of this project wrote."""
    with suppress(OSError, *DAMAGE):  # none there, or somebody else's
        if json.loads((folder / RUN_INFO).read_text("utf-8"))["chapter"] in list_chapters(root):
            return
    if foreign := [path.name for path in folder.glob("*")]:
        raise ValueError(
            f"Invalid {RESULTS} {str(folder)!r}: it holds {min(foreign)!r}, no {RUN_INFO} of a "
            "chapter, and would be replaced. Must be a new or empty folder, or the results of a "
            "chapter."
        )


def _describe_environment(root: Path) -> dict[str, Any]:
    """Describe the machine, the code and the libraries that a result depends on."""
    import torch  # slow to import, and only a finished chapter needs it

    device = "mps" if torch.backends.mps.is_available() else "cpu"
    listing = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", listing.read_text()) if listing.is_file() else []
    requirements = importlib.metadata.requires("thesis-lib") or []
    libraries = [re.split(r"[^\w.-]", line)[0] for line in requirements if "extra ==" not in line]
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else device,
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "n_cores": CPU_COUNT,
        "python": platform.python_version(),
        "system": platform.system(),
        **_describe_commit(root),
        "libraries": {name: importlib.metadata.version(name) for name in sorted(libraries)},
    }


def _describe_commit(root: Path) -> dict[str, Any]:
    """Commit of the project's own repository, and whether files differ from it."""
    git = ["git", "-C", os.fspath(root), "--git-dir=.git"]  # not that of a folder above
    try:
        commit, changes = (
            subprocess.check_output([*git, *words], stderr=subprocess.DEVNULL, text=True).strip()
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.CalledProcessError):  # no git, no repository, no commit yet
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(changes)}
