"""Execute a chapter by papermill."""

import logging
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
from traitlets import Instance
from traitlets.config import Config

from saltvolumes._files import write_text
from thesis_lib.chapters.page import read_run_info
from thesis_lib.chapters.parameters import (
    RESULTS,
    find_chapter,
    project_root,
    read_parameters,
    resolve_parameters,
)

MAX_SOCKET_BYTES = 90  # of a name; systems allow 104 or more, and "-ipc-1" is added
_KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}

# papermill takes parameters of types such as str | None for unknown ones, and warns.
logging.getLogger("papermill").setLevel(logging.ERROR)


class ChapterError(RuntimeError):
    """A cell of a chapter raised, or its kernel died."""


class _OwnKernelManager(AsyncKernelManager):
    """Starts this very interpreter, whatever kernelspecs the machine has or lacks."""

    kernel_spec_manager = Instance(KernelSpecManager, kw={"kernel_dirs": []})


def run(
    chapter: str,
    *,
    profile: str = "smoke",
    overrides: Mapping[str, Any] | None = None,
    root: Path | None = None,
    into: str | None = None,
) -> Path:
    """
    Execute a chapter and keep the executed notebook with its results.

    What the chapter prints goes on to the terminal. Parameters that differ from those of the
    cell are injected in a cell of their own; relative paths start at the project.

    Parameters
    ----------
    chapter : str
        Name or number.
    profile : str
        Where values come from: ``notebooks/params/PROFILE.yml``.
    overrides : mapping, optional
        Values that replace those of the profile, which makes the profile *custom*.
    root : Path, optional
        Folder of the project; found where left out.
    into : str, optional
        Folder of the results of chapters, in place of ``results/PROFILE``.

    Returns
    -------
    Path
        The results folder, with ``CHAPTER.ipynb``, ``run.json`` and what the chapter saved. Until
        the chapter comes to its end, the folder keeps what the last run left.

    Raises
    ------
    ValueError, TypeError
        If chapter, profile, a parameter's name or a value is not allowed.
    FileNotFoundError
        If the chapter opens no page; a ValueError if it does not close it.
    ChapterError
        If a cell fails. The notebook up to there is kept next to the folder, as
        ``CHAPTER.failed.ipynb``.
    """
    root = root or project_root()
    path = find_chapter(chapter, root)
    chapter = path.stem
    values = resolve_parameters(chapter, profile, overrides or {}, root, into=into)
    folder = root / Path(values[RESULTS]).expanduser()
    failed = folder.with_name(f"{folder.name}.failed.ipynb")
    defaults = read_parameters(path)().model_dump()
    changed = {name: value for name, value in values.items() if value != defaults[name]}
    with TemporaryDirectory(prefix="thesis-") as scratch:
        output = Path(scratch) / f"{chapter}.ipynb"
        try:
            _execute(path, changed, output, root)
        except (PapermillExecutionError, DeadKernelError) as error:
            write_notebook(nbformat.read(output, as_version=4), failed)
            reason = "its kernel died, perhaps out of memory"
            if isinstance(error, PapermillExecutionError):
                words = " ".join(error.evalue.split())
                reason = f"cell {error.cell_index}: {error.ename}: {words}"
            raise ChapterError(f"{chapter} failed: {reason} (kept: {failed})") from error
        read_run_info(folder)
        write_notebook(nbformat.read(output, as_version=4), folder / output.name)
    failed.unlink(missing_ok=True)
    return folder


def pair(chapter: str, *, root: Path | None = None) -> Path:
    """
    Execute a chapter as the smoke profile and store it as its ``.ipynb`` with outputs.

    The ``.py`` is read, never written.

    Returns
    -------
    Path
        ``notebooks/CHAPTER.ipynb``, the reference that tests compare with.
    """
    root = root or project_root()
    reference = find_chapter(chapter, root).with_suffix(".ipynb")
    executed = run(reference.stem, root=root) / reference.name
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


def _execute(path: Path, parameters: dict[str, Any], output: Path, root: Path) -> None:
    # Sockets are files next to the output: ports would collide where chapters run at once. Names of
    # sockets are short, those of temporary folders on clusters may not be.
    connection = os.fspath(output.with_name("kernel.json"))
    transport = "ipc" if len(os.fsencode(connection)) < MAX_SOCKET_BYTES else "tcp"
    kernel = {"transport": transport, "connection_file": connection}
    papermill.execute_notebook(
        jupytext.read(path),
        output,
        parameters,
        kernel_name="python3",
        language="python",
        cwd=root,
        start_timeout=600,  # seconds, for a machine with much else to do
        progress_bar=False,
        # Nothing of what users have set up for their own sessions runs here.
        extra_arguments=[
            f"--ipython-dir={output.parent}",
            "--InteractiveShellApp.exec_PYTHONSTARTUP=False",
        ],
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
        kernel_manager_class=_OwnKernelManager,
        config=Config(KernelManager=kernel),
        shutdown_kernel="immediate",  # all is written, and unloading modules takes a second
    )
