"""Runs keyed by their content: what was computed once is never computed again."""

import ast
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from thesis_lib._files import write_text

SCORES = "scores.json"
LIBRARIES = ("edt", "numpy", "scipy", "timm", "torch")  # those whose arithmetic the scores rest on


@dataclass(frozen=True)
class Run:
    """
    One unit of work of a study: everything that its result depends on.

    Parameters
    ----------
    task : str
        Module that computes the run, for example ``"thesis_lib.study.segmentation"``. Its source
        and the source of every module of the library that it imports count.
    config : mapping
        JSON-like settings of the task, without the seed.
    data_hash : str
        Content hash of the data that the run reads.
    seed : int
        Seed of weights, patch order and augmentation.
    """

    task: str
    config: Mapping[str, Any]
    data_hash: str
    seed: int

    def describe(self) -> dict[str, Any]:
        """Everything that the key is made of, as written to ``config.json``."""
        return {
            "task": self.task,
            "config": to_plain(self.config),
            "data_hash": self.data_hash,
            "seed": self.seed,
            "source_hash": source_hash(self.task),
            "libraries": {name: version(name) for name in LIBRARIES},
        }

    @property
    def key(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of :meth:`describe`."""
        text = json.dumps(self.describe(), sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Outcome:
    """
    A finished run.

    Parameters
    ----------
    folder : Path
        ``runs/<key>``, with ``config.json``, ``scores.json`` and what the task left there.
    scores : mapping
        Content of ``scores.json``.
    computed : bool
        Whether it was computed now (True) or found finished (False).
    """

    folder: Path
    scores: Mapping[str, Any]
    computed: bool


def complete(
    run: Run, compute: Callable[[Path], Mapping[str, Any]], *, root: str | os.PathLike[str]
) -> Outcome:
    """
    Return the outcome of a run, and compute it first if it is not there.

    Two processes that want the same run take turns: the second finds it finished. The lock goes
    when its process goes, also after a kill.

    Parameters
    ----------
    run : Run
        What to compute.
    compute : callable
        Takes the run's folder, may find there what a killed run left, returns JSON-like scores.
    root : path
        Folder of all runs, made if absent.
    """
    folder = Path(root) / run.key
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        path = folder / SCORES
        if path.exists():
            return Outcome(folder, read_scores(path), computed=False)
        write_json(folder / "config.json", run.describe())
        write_json(path, compute(folder))
        return Outcome(folder, read_scores(path), computed=True)


def read_scores(path: Path) -> dict[str, Any]:
    """
    Read the scores of a finished run.

    Raises
    ------
    ValueError
        If the file was damaged after it was written.
    """
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Cannot read {path}: {error}. Delete it to compute the run again."
        ) from error
    if not isinstance(scores, dict) or not scores:
        raise ValueError(
            f"Cannot read {path}: no scores in it. Delete it to compute the run again."
        )
    return scores


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON, whole or not at all."""
    write_text(Path(path), json.dumps(to_plain(content), indent=1, sort_keys=True) + "\n")


def to_plain(value: Any) -> Any:
    """Turn dataclasses, tuples and NumPy numbers into what JSON holds."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value


@cache
def source_hash(module: str) -> str:
    """
    Hash the code of a module and of all modules of the library that it imports.

    Comments, docstrings and layout do not count: editing them repeats no run.

    Returns
    -------
    str
        First 16 hexadecimal digits of a SHA-256.
    """
    digest = hashlib.sha256()
    for name in sorted(_imported(module)):
        digest.update(f"{name}\n{ast.dump(_code(name))}\n".encode())
    return digest.hexdigest()[:16]


def _imported(module: str) -> set[str]:
    """Names of a module and of all modules of its own package that it reaches by imports."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or not _is_module(name):
            continue
        found.add(name)
        for node in ast.walk(_code(name)):
            waiting.extend(_names(node, package=module.partition(".")[0]))
    return found


def _names(node: ast.AST, *, package: str) -> list[str]:
    """Candidates for modules of ``package`` in one import statement."""
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    elif isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        names = []
    return [name for name in names if name.startswith(f"{package}.")]


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a name inside a module, not a module
        return False


@cache
def _code(module: str) -> ast.Module:
    """Syntax tree of a module without its docstrings."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body = node.body[1:]
    return tree
