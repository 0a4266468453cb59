"""Execute a chapter by papermill."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jupytext
import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from traitlets import default
from traitlets.config import Config

from thesis_lib._files import write_text
from thesis_lib.chapters.parameters import (
    RESULTS,
    find_chapter,
    project_root,
    read_parameters,
    resolve_parameters,
)
from thesis_lib.chapters.provenance import read_run_info

_KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}


class ChapterError(RuntimeError):
    """A cell of a chapter raised, or its kernel died."""


class _OwnKernelManager(AsyncKernelManager):
    """Starts this very interpreter, whatever kernelspecs the machine has or lacks."""

    @default("kernel_spec_manager")
    def _native_only(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def run(
    chapter: str,
    *,
    profile: str = "smoke",
    overrides: Mapping[str, Any] | None = None,
    root: Path | None = None,
) -> Path:
    """
    Execute a chapter and keep the executed notebook beside its results.

    What the chapter prints goes on to the terminal. Parameters that differ from those of the
    cell are injected in a cell of their own; relative paths start at the project.

    Parameters
    ----------
    chapter : str
        Name or number.
    profile : str
        Where values come from: ``notebooks/params/PROFILE.yml``.
    overrides : mapping, optional
        Values that replace those of the profile, which makes the run a custom one.
    root : Path, optional
        Folder of the project; found where left out.

    Returns
    -------
    Path
        The results folder, with ``CHAPTER.ipynb``, ``run.json`` and what the chapter saved.

    Raises
    ------
    ValueError, TypeError
        If chapter, profile, a parameter's name or a value is not allowed, or if the chapter does
        not close its results.
    ChapterError
        If a cell fails. The notebook up to there is kept as ``CHAPTER.failed.ipynb``.
    """
    root = root or project_root()
    path = find_chapter(chapter, root)
    values = resolve_parameters(path.stem, profile, overrides or {}, root)
    folder = root / str(values[RESULTS])
    with TemporaryDirectory(prefix="thesis-") as scratch:
        output = Path(scratch) / f"{path.stem}.out.ipynb"
        try:
            _execute(path, _changed(path, values), output, root)
        except (PapermillExecutionError, DeadKernelError) as error:
            failed = folder / f"{path.stem}.failed.ipynb"
            write_notebook(nbformat.read(output, as_version=4), failed)
            raise ChapterError(f"{_explain(path.stem, error)} (kept: {failed})") from error
        read_run_info(folder)
        write_notebook(nbformat.read(output, as_version=4), folder / f"{path.stem}.ipynb")
    return folder


def pair(chapter: str, *, root: Path | None = None) -> Path:
    """
    Execute a chapter as it stands and store it as its ``.ipynb`` with outputs.

    The ``.py`` is read, never written.

    Returns
    -------
    Path
        ``notebooks/CHAPTER.ipynb``, the reference that tests compare with.

    Raises
    ------
    ValueError
        If the values of the parameters cell are not those of the smoke profile.
    """
    root = root or project_root()
    path = find_chapter(chapter, root)
    changed = _changed(path, resolve_parameters(path.stem, "smoke", {}, root))
    if changed:
        raise ValueError(
            f"Invalid parameters cell of {path.stem}: {', '.join(changed)} differ from smoke.yml, "
            f"which says {changed}. Must be the same."
        )
    executed = run(path.stem, profile="smoke", root=root) / f"{path.stem}.ipynb"
    reference = path.with_suffix(".ipynb")
    write_text(reference, executed.read_text(encoding="utf-8"))
    return reference


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """
    Write a notebook with nothing in it that changes from run to run but its outputs.

    Cells keep their tags and MyST-NB options; identifiers, times and paths go, and so does standard
    error, which holds progress bars and warnings with paths of this machine.
    """
    notebook.metadata = NotebookNode(kernelspec=_KERNELSPEC)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        kept = {name: cell.metadata[name] for name in ("tags", "mystnb") if cell.metadata.get(name)}
        cell.metadata = NotebookNode(kept)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, nbformat.writes(notebook, version=4) + "\n")


def _changed(path: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    parameters = read_parameters(path)
    return {name: value for name, value in values.items() if value != parameters[name].default}


def _execute(path: Path, parameters: dict[str, Any], output: Path, root: Path) -> None:
    # Sockets are files beside the output: ports would collide where chapters run side by side.
    kernel = {"transport": "ipc", "connection_file": os.fspath(output.with_name("kernel.json"))}
    source = output.with_name(f"{path.stem}.ipynb")
    language = {"kernel_name": _KERNELSPEC["name"], "language": _KERNELSPEC["language"]}
    write_notebook(jupytext.read(path), source)
    if parameters:  # injected here, because papermill would warn of types such as str | None
        notebook = load_notebook_node(os.fspath(source))
        write_notebook(parameterize_notebook(notebook, parameters, **language), source)
    papermill.execute_notebook(
        source,
        output,
        **language,
        cwd=root,
        progress_bar=False,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
        kernel_manager_class=_OwnKernelManager,
        config=Config(KernelManager=kernel),
    )


def _explain(chapter: str, error: PapermillExecutionError | DeadKernelError) -> str:
    if isinstance(error, DeadKernelError):
        return f"{chapter} failed: its kernel died, perhaps out of memory."
    reason = " ".join(error.evalue.split())
    return f"{chapter} failed in cell {error.cell_index}: {error.ename}: {reason}"
