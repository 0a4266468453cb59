"""
Write one file for an archive such as Zenodo: all that is committed, the built book, checksums.

The same commit and the same book give the same bytes: names are sorted, times are that of the
commit, and nothing is compressed, since compressors differ between versions.
"""

import hashlib
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import click

ROOT = Path(__file__).resolve().parents[1]
SUMS = "SHA256SUMS"
SITE = "site"  # folder of the book in the archive
UNIX = 3  # of ZipInfo.create_system: permissions are those of Unix


def list_files(root: Path, html: Path) -> dict[str, tuple[Path, int]]:
    """
    List what goes into the archive.

    Parameters
    ----------
    root : Path
        A clone of the repository.
    html : Path
        The built book; left out where it is missing.

    Returns
    -------
    dict of str to (Path, int)
        File and Unix mode by the name in the archive.

    Raises
    ------
    ValueError
        If a committed file was changed since.
    """
    if changed := _ask_git(root, "status", "--porcelain", "--untracked-files=no"):
        first = changed.splitlines()[0][3:]
        raise ValueError(f"Cannot archive {first!r}: it was changed. Must be committed before.")
    files = {}
    for line in _ask_git(root, "ls-files", "--stage", "-z").split("\0")[:-1]:
        facts, name = line.split("\t")
        files[name] = (root / name, int(facts.split()[0], base=8))
    for path in html.rglob("*"):
        if path.is_file():
            files[f"{SITE}/{path.relative_to(html).as_posix()}"] = (path, 0o100644)
    return files


def write_archive(root: Path, html: Path, folder: Path) -> Path:
    """
    Write the archive, and ``SHA256SUMS`` both into it and next to it.

    Parameters
    ----------
    root, html : Path
        As for `list_files`.
    folder : Path
        Where both go; created where it is missing.

    Returns
    -------
    Path
        ``NAME-VERSION.zip``, which unpacks to the folder ``NAME-VERSION``.

    Raises
    ------
    ValueError
        If a committed file was changed since.
    """
    files = list_files(root, html)
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = f"{project['name']}-{project['version']}"
    seconds = int(_ask_git(root, "log", "-1", "--format=%ct"))
    moment = datetime.fromtimestamp(seconds, UTC).timetuple()[:6]
    folder.mkdir(parents=True, exist_ok=True)
    archive, partial = folder / f"{name}.zip", folder / f".{name}.zip"
    sums = []
    with ZipFile(partial, "w") as file:
        for inner, (path, mode) in sorted(files.items()):
            content = path.read_bytes()
            sums.append(_format_sum(content, inner))
            file.writestr(_describe(f"{name}/{inner}", moment, mode), content)
        file.writestr(_describe(f"{name}/{SUMS}", moment, 0o100644), "".join(sums))
    partial.replace(archive)
    (folder / SUMS).write_text(_format_sum(archive.read_bytes(), archive.name), encoding="utf-8")
    return archive


def _describe(name: str, moment: tuple[int, ...], mode: int) -> ZipInfo:
    info = ZipInfo(name, moment)  # type: ignore[arg-type]
    info.create_system, info.external_attr = UNIX, mode << 16
    return info


def _format_sum(content: bytes, name: str) -> str:
    """Format a line as ``sha256sum --check`` reads it."""
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n"


def _ask_git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@click.command()
@click.option("--to", "folder", type=Path, default=ROOT / "build" / "archive", show_default=True)
def archive(folder: Path) -> None:
    """Write the archive of the last commit, with the book of _build/html if it is built."""
    html = ROOT / "_build" / "html"
    try:
        path = write_archive(ROOT, html, folder)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    book = "with the book" if html.is_dir() else "without the book: call make site before"
    click.echo(f"{path}: {path.stat().st_size / 1e6:.0f} MB, {book}; checksum in {folder / SUMS}")


if __name__ == "__main__":
    archive()
