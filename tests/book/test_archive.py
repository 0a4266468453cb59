"""The archive: what is committed and the book, the same bytes every time, with checksums."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book"))
import archive  # noqa: E402  a script next to what it archives

NAME = "tiny-1.2"


def run_git(folder: Path, *words: str) -> None:
    """Call git with a name and a date of its own."""
    who = {"NAME": "a", "EMAIL": "a@example.org", "DATE": "2026-01-02T03:04:06+00:00"}
    names = {f"GIT_{role}_{k}": v for role in ("AUTHOR", "COMMITTER") for k, v in who.items()}
    subprocess.run(["git", "-C", str(folder), *words], check=True, env={**os.environ, **names})


@pytest.fixture
def project(tmp_path):
    """A repository of three files with a built book and a file that is not committed."""
    folder = tmp_path / "project"
    (folder / "html" / "book").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "tiny"\nversion = "1.2"\n')
    (folder / "naïve.txt").write_text("text\n")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "--quiet", "--message", "Start")
    (folder / "html" / "book" / "page.html").write_text("<p>")
    (folder / "notes.txt").write_text("not committed")
    return folder


def test_the_archive_holds_what_is_committed_and_the_book(project, tmp_path):
    """Committed files keep their permissions, the book lies in its folder, all else is left out."""
    path = archive.write_archive(project, project / "html", tmp_path / "out")
    with ZipFile(path) as file:
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in file.infolist()}
        assert file.read(f"{NAME}/run") == b"#!/bin/sh\n"
        assert {info.date_time for info in file.infolist()} == {(2026, 1, 2, 3, 4, 6)}
    inner = ("naïve.txt", "pyproject.toml", "site/book/page.html", "SHA256SUMS")
    assert modes == {f"{NAME}/run": 0o755, **{f"{NAME}/{name}": 0o644 for name in inner}}


def test_the_archive_is_the_same_byte_for_byte(project, tmp_path):
    """Another day, other times of files and another folder give the same bytes."""
    first = archive.write_archive(project, project / "html", tmp_path / "first")
    for path in (project / "run", project / "html" / "book" / "page.html"):
        os.utime(path, (1e9, 1e9))
    second = archive.write_archive(project, project / "html", tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()


def test_checksums_are_those_of_the_files(project, tmp_path):
    """The sums in the archive are of all its other files, that next to it of the archive."""
    path = archive.write_archive(project, project / "html", tmp_path / "out")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / "out" / "SHA256SUMS").read_text() == f"{digest}  {path.name}\n"
    with ZipFile(path) as file:
        lines = file.read(f"{NAME}/SHA256SUMS").decode().splitlines()
        listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
        found = {
            name.removeprefix(f"{NAME}/"): hashlib.sha256(file.read(name)).hexdigest()
            for name in file.namelist()
        }
    assert found.pop("SHA256SUMS")
    assert listed == found


def test_a_changed_file_is_refused(project, tmp_path):
    """What differs from the commit is named, and nothing is written."""
    (project / "run").write_text("other\n")
    with pytest.raises(ValueError, match="Cannot archive 'run': it was changed"):
        archive.write_archive(project, project / "html", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_book_may_be_missing(project, tmp_path):
    """Without a built book the archive holds what is committed."""
    path = archive.write_archive(project, tmp_path / "nowhere", tmp_path / "out")
    with ZipFile(path) as file:
        assert not [name for name in file.namelist() if "/site/" in name]
