"""Tests of thesis_lib.chapters.together: chapters at the same time, in an order that they allow."""

import os
import signal
import subprocess
import sys
import time

import pytest
from tiny_project import CHAPTER, PARAMETERS, make_project

from thesis_lib import chapters
from thesis_lib.chapters.together import find_needs

WAIT = """\
# %%
import time
from pathlib import Path

from thesis_lib import chapters

page = chapters.open_page("NAME", globals())
Path("begun_NAME").touch()
end = time.monotonic() + 60
while not Path("begun_OTHER").exists():
    assert time.monotonic() < end, "the other one has not begun"
    time.sleep(0.05)
page.close(data={}, seeds=[0])
"""


def add_chapter(project, name, parameters, body):
    """Write one more chapter next to that of the tiny project."""
    cell = f'# %% tags=["parameters"]\n{parameters}results_dir: str = "results/smoke/{name}"\n'
    (project / "notebooks" / f"{name}.py").write_text(f"# %% [markdown]\n# # Why?\n\n{cell}{body}")


def test_needs_of_the_book():
    """Chapter 3 goes on from 2, and 4 to 6 from both; the first two need nothing."""
    root = chapters.project_root()
    needs = find_needs(chapters.list_chapters(root), profile="laptop", root=root)
    numbers = {int(name[:2]): {int(each[:2]) for each in found} for name, found in needs.items()}
    assert numbers[1] == numbers[2] == set()
    assert numbers[3] == {2}
    assert numbers[4] == {2, 3}
    assert numbers[5] == {3}
    assert numbers[6] == {2, 3}


def test_needs_among_those_that_are_asked_for(tmp_path):
    """A chapter that is not asked for is not waited for, wherever results go."""
    project = make_project(tmp_path)
    path = f'source: str = "results/smoke/{CHAPTER}/total.json"  # of the first\n'
    add_chapter(project, "02_next", path, "")
    assert find_needs(["02_next"], profile="smoke", root=project) == {"02_next": set()}
    found = find_needs([CHAPTER, "02_next"], profile="smoke", root=project, into="elsewhere")
    assert found == {CHAPTER: set(), "02_next": {CHAPTER}}


def test_needs_in_lists_and_by_number(tmp_path):
    """Paths in lists and dictionaries count, those that results go to do not; numbers are names."""
    project = make_project(tmp_path)
    path = f"results/smoke/{CHAPTER}/total.json"
    many = f'a: list[str] = ["{path}"]  # of it\nb: dict = {{"c": ["{path}"]}}  # too\n'
    add_chapter(project, "02_next", many, "")
    assert find_needs(["1", "2"], profile="smoke", root=project)["02_next"] == {CHAPTER}
    found = find_needs(["1", "2"], profile="smoke", root=project, into="results/02_next")
    assert found[CHAPTER] == set()


def test_chapters_that_need_each_other_are_refused(tmp_path):
    """Of two that read what the other leaves none can be the first."""
    project = make_project(tmp_path)
    for name, other in (("02_left", "03_right"), ("03_right", "02_left")):
        add_chapter(project, name, f'source: str = "results/smoke/{other}/a.json"  # of it\n', "")
    with pytest.raises(ValueError, match="Invalid chapters 02_left, 03_right: each needs another"):
        chapters.run_together(["02_left", "03_right"], root=project)


def test_chapters_run_at_the_same_time(tmp_path, capfd):
    """Two that do not need each other overlap, and each line says whose it is."""
    project = make_project(tmp_path)
    (project / "notebooks" / f"{CHAPTER}.py").unlink()
    for profile in ("smoke", "laptop"):
        (project / "notebooks" / "params" / f"{profile}.yml").write_text("{}\n")
    names = ["01_left", "02_right"]
    for name, other in (names, reversed(names)):
        add_chapter(project, name, "", WAIT.replace("NAME", name).replace("OTHER", other))
    chapters.run_together(names, n_at_once=2, root=project)
    shown = capfd.readouterr().out
    for number, name in enumerate(names, start=1):
        assert f"{number} | Chapter {name}, profile smoke\n" in shown
        assert chapters.read_run_info(project / "results" / "smoke" / name)["profile"] == "smoke"


def test_failing_chapter_stops_what_needs_it(tmp_path, capfd):
    """A chapter that fails is named, with its own words before; what needs it never starts."""
    body = "# %%\nraise ValueError('no salt')\n"
    project = make_project(tmp_path, body=body, parameters=PARAMETERS)
    path = f'source: str = "results/smoke/{CHAPTER}/total.json"  # of the first\n'
    add_chapter(project, "02_next", path, "# %%\nopen('started', 'w')\n")
    with pytest.raises(chapters.ChapterError, match=f"{CHAPTER} did not finish"):
        chapters.run_together([CHAPTER, "02_next"], n_at_once=2, root=project)
    assert f"1 | thesis: {CHAPTER} failed: cell 2: ValueError: no salt" in capfd.readouterr().out
    assert not (project / "started").exists()


def test_invalid_number_at_once(tmp_path):
    """Nothing starts with no chapter at once."""
    with pytest.raises(ValueError, match=r"Invalid n_at_once 0"):
        chapters.run_together([CHAPTER], n_at_once=0, root=make_project(tmp_path))


def test_chapters_stop_with_the_command_that_started_them(tmp_path):
    """Once the command is told to end, nothing of its chapters goes on."""
    body = "# %%\nimport os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(100)\n"
    project = make_project(tmp_path, body=body)
    command = [sys.executable, "-m", "thesis_lib", "run", "--all"]
    with subprocess.Popen(command, cwd=project) as process:
        wait_for(lambda: (project / "pid").exists() and (project / "pid").read_text())
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    kernel = int((project / "pid").read_text())
    wait_for(lambda: not is_alive(kernel))


def wait_for(happens):
    """Wait until something is so, a minute at most."""
    end = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)


def is_alive(number):
    """Whether there is a process of this number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True
