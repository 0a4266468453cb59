"""The record beside every result: what was run, on what, and how to run it again."""

import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thesis_lib._files import write_text
from thesis_lib.chapters.parameters import (
    RESULTS,
    check_values,
    find_chapter,
    list_chapters,
    list_profiles,
    parse_value,
    project_root,
    read_parameters,
    resolve_parameters,
    without_results,
)

RUN_INFO = "run.json"


def open_results(chapter: str, namespace: Mapping[str, Any], *, root: Path | None = None) -> Path:
    """
    Prepare the results folder of a chapter: its first call, right after the imports.

    The folder is emptied, so that results of two runs never mix, and gets a ``run.json`` that is
    unfinished until `close_results`.

    Parameters
    ----------
    chapter : str
        The chapter's own name.
    namespace : mapping
        ``globals()`` of the notebook, where the parameters are.
    root : Path, optional
        Folder of the project; found where left out.

    Returns
    -------
    Path
        The folder that the parameter ``results_dir`` names. A relative one starts at the project.

    Raises
    ------
    ValueError
        If the folder holds files that are no results of a chapter.
    TypeError
        If a parameter has the wrong type.
    """
    root = root or project_root()
    parameters = read_parameters(find_chapter(chapter, root))
    values = check_values({name: namespace[name] for name in parameters}, parameters, chapter)
    folder = root / str(values[RESULTS])
    _check_ours(folder, chapter, root)
    folder.mkdir(parents=True, exist_ok=True)
    info = {"chapter": chapter, "profile": folder.parent.name, "parameters": values}
    info |= _compare_profiles(chapter, values, folder.parent.name, root)
    write_text(folder / RUN_INFO, _dump(info | {"started": datetime.now(UTC).isoformat()}))
    _empty(folder)
    return folder


def close_results(
    folder: Path,
    *,
    data: Mapping[str, str],
    seeds: Sequence[int],
    compute_s: float | None = None,
    root: Path | None = None,
) -> None:
    """
    Complete ``run.json``: the last call of a chapter, after everything is saved.

    Parameters
    ----------
    folder : Path
        What `open_results` returned.
    data : mapping of str to str
        Content hash of each volume, by what it served for.
    seeds : sequence of int
        All seeds that the results depend on.
    compute_s : float, optional
        Seconds that the runs behind the results took, whenever that was: a chapter that finds
        them finished takes far less itself.
    root : Path, optional
        Folder of the project; found where left out.
    """
    info = json.loads((folder / RUN_INFO).read_text(encoding="utf-8"))
    elapsed = datetime.now(UTC) - datetime.fromisoformat(info["started"])
    info |= {
        "duration_s": round(elapsed.total_seconds(), 1),
        "data": dict(data),
        "seeds": list(seeds),
        **({} if compute_s is None else {"compute_s": round(compute_s, 1)}),
        **_describe_machine(),
        **_describe_commit(root or project_root()),
        "libraries": _describe_libraries(),
    }
    write_text(folder / RUN_INFO, _dump(info))


def read_run_info(folder: Path) -> dict[str, Any]:
    """
    Read the ``run.json`` of a finished chapter.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If the chapter did not come to its end.
    """
    path = folder / RUN_INFO
    if not path.is_file():
        raise FileNotFoundError(f"No {RUN_INFO} in {folder}. Run the chapter first.")
    info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "duration_s" not in info:
        raise ValueError(f"Unfinished results in {folder}. Run the chapter again.")
    return info


def _dump(info: Mapping[str, Any]) -> str:
    return json.dumps(info, indent=2, ensure_ascii=False) + "\n"


def _check_ours(folder: Path, chapter: str, root: Path) -> None:
    if not folder.is_dir() or _is_results(folder, root):
        return
    kept = (f"{chapter}.ipynb", f"{chapter}.failed.ipynb")  # where a run ended before it opened
    foreign = sorted(
        path.name for path in folder.iterdir() if path.name not in kept or path.is_dir()
    )
    if foreign:
        raise ValueError(
            f"Invalid {RESULTS} {str(folder)!r}: it holds {foreign[0]!r}, no {RUN_INFO} of a "
            "chapter, and would be emptied. Must be a new or empty folder, or the results of a "
            "chapter."
        )


def _is_results(folder: Path, root: Path) -> bool:
    """Whether a chapter of this project wrote the ``run.json`` of a folder."""
    try:
        info = json.loads((folder / RUN_INFO).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # there is none, or it is no JSON
        return False
    return isinstance(info, dict) and info.get("chapter") in list_chapters(root)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != RUN_INFO:
            path.unlink()


def _compare_profiles(
    chapter: str, values: Mapping[str, Any], likely: str, root: Path
) -> dict[str, Any]:
    """Find the profile that the values are closest to, and the command that repeats them."""
    changes = {}
    for profile in sorted(list_profiles(root), key=lambda name: name != likely):
        base = without_results(resolve_parameters(chapter, profile, {}, root))
        changes[profile] = {
            name: value for name, value in values.items() if base.get(name, value) != value
        }
    closest = min(changes, key=lambda profile: len(changes[profile]))
    options = [("-p", name, _format_value(value)) for name, value in changes[closest].items()]
    words = ["python", "-m", "thesis_lib", "run", chapter, "--profile", closest]
    return {
        "profile": "custom" if changes[closest] else closest,
        "closest_profile": closest,
        "changed": list(changes[closest]),
        "command": shlex.join([*words, *(word for option in options for word in option)]),
    }


def _format_value(value: Any) -> str:
    """Write a value so that `parse_value` reads it back, a plain string without quotes."""
    plain = isinstance(value, str) and value and parse_value(value) == value
    return value if plain else json.dumps(value)


def _describe_machine() -> dict[str, Any]:
    return {
        "device": _name_device(),
        "cpu": _name_cpu(),
        "n_cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _name_device() -> str:
    import torch  # slow to import, and only a finished chapter needs it

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _name_cpu() -> str:
    listing = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", listing.read_text()) if listing.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def _describe_commit(root: Path) -> dict[str, Any]:
    """Commit and whether files differ from it; None for both outside a repository."""
    if _ask_git(root, "rev-parse", "--show-toplevel") != str(root.resolve()):
        return {"commit": None, "dirty": None}
    return {
        "commit": _ask_git(root, "rev-parse", "HEAD"),
        "dirty": bool(_ask_git(root, "status", "--porcelain")),
    }


def _ask_git(root: Path, *words: str) -> str | None:
    if shutil.which("git") is None:
        return None
    answer = subprocess.run(
        ["git", "-C", root, *words], capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() if answer.returncode == 0 else None


def _describe_libraries() -> dict[str, str]:
    """Versions of what the library requires by itself (extras left out)."""
    requirements = importlib.metadata.requires("thesis-lib") or []
    names = [re.split(r"[^\w.-]", line)[0] for line in requirements if "extra ==" not in line]
    return {name: importlib.metadata.version(name) for name in sorted(names)}
