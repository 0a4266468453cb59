"""Tests of the command line: what it passes on, and what it reports of bad input."""

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import segyio
import torch
import xarray as xr
from click.testing import CliRunner, Result
from explained_networks import TINY, leave_network
from tiny_project import CHAPTER, Throw, make_project
from torch import Tensor

import saltvolumes
from saltearth import make_volume
from thesis_lib import chapters
from thesis_lib.__main__ import app
from thesis_lib.model import SaltUNet
from thesis_lib.study.segmentation import build_model, predict
from thesis_lib.study.tasks import Task


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with one chapter, and the working folder in it."""
    monkeypatch.chdir(tmp_path)
    return make_project(tmp_path)


def call(words: str) -> Result:
    """Call the command line; an exception that it does not handle is raised here."""
    return CliRunner().invoke(app, shlex.split(words), catch_exceptions=False)


def test_run(project, monkeypatch):
    """Values of -p are read as YAML; the results folder is reported; --all runs every chapter."""
    run, together = Mock(return_value=project), Mock()
    monkeypatch.setattr(chapters, "run", run)
    monkeypatch.setattr(chapters, "run_together", together)
    monkeypatch.setattr(chapters, "read_run_info", lambda _: {"duration_s": 1.5})
    words = """-p losses '["dice"]' -p count 4 -p rate 1e-3 -p mask a"""
    shown = call(f"run 1 --profile laptop {words}").output
    assert f"Results in {project} after 1.5 s" in shown
    overrides = {"losses": ["dice"], "count": 4, "rate": 1e-3, "mask": "a"}
    run.assert_called_once_with(CHAPTER, profile="laptop", overrides=overrides, into=None)
    assert call("run --all --into results/site --jobs 2").exit_code == 0
    where = {"profile": "smoke", "n_at_once": 2, "into": "results/site", "root": project}
    together.assert_called_once_with((CHAPTER,), **where)
    assert call("run 3 4 --into results/site --jobs 2").exit_code == 0
    together.assert_called_with(("3", "4"), **where)


@pytest.mark.parametrize(("command", "n_examples"), [("run", 4), ("train", 1), ("segment", 2)])
def test_examples_in_help_have_a_line_each(command, n_examples):
    """Each example is on a line of its own, without marks of the formatter."""
    lines = call(f"{command} --help").output.splitlines()
    assert sum(line.startswith(f"  thesis {command} ") for line in lines) == n_examples
    assert not any("\\b" in line for line in lines)


def test_chapters_are_listed_with_their_questions():
    """Without a chapter, run lists what there is and runs nothing."""
    assert call("run").output.split() == [CHAPTER, *["What", "is", "two", "and", "two?"]]


def test_parameters_are_shown_with_their_meaning():
    """Every parameter has its type, the value of the profile, and what its comment says."""
    shown = call("run 1 --parameters --profile laptop").output
    assert "01_toy, values of profile laptop:\ncount (int) = 4\n    how many\n" in shown
    assert 'losses (list[str]) = ["bce", "dice"]\n    which\n' in shown
    assert "mask (str | None) = null\n    a file\n" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run 1 --all", "Name chapters or give --all"),
        ("run --all -p count 1", "belong to one CHAPTER"),
        ("run 1 2 -p count 1", "belong to one CHAPTER"),
        ("run 1 --jobs 2", "Jobs belong to several chapters"),
        ("run --minutes 5", "Name a CHAPTER or give --all"),
        ("run --parameters", "belong to one CHAPTER"),
        ("run --all --parameters", "belong to one CHAPTER"),
        ("run 1 --parameters -p count 1", "--parameters shows those of a CHAPTER"),
        ("run 7", "Invalid chapter '7'"),
        ("run 1 --profile huge", "Invalid profile 'huge'"),
        ("run 1 -p cuont 1", "Did you mean 'count'?"),
        ("run 1 -p count many", "Invalid count 'many'"),
        ("run 1 -p count [1", "Must be a YAML literal"),
        ("pair 7", "Invalid chapter '7'"),
        ("stage --profile laptop", "Run the chapter first"),
        ("publish", "Run the chapter first"),
        ("segment a.nc b.txt --network runs/x", "Invalid file ending '.txt'"),
        ("segment a.nc no/b.nc --network runs/x", "Must be in a folder that can be written"),
        ("segment a.nc b.nc --network runs/x", "No network runs/x"),
        ("segment a.nc b.nc --network .", "Must be a folder with the config.json"),
        ("inspect a.nc", "No such file: a.nc"),
        ("inspect a.nc --png a.jpg", "Invalid file ending '.jpg'"),
        ("train a.nc", "No such file"),
        ("fetch seam", "Invalid data set 'seam'"),
        ("fetch seam-earth-model", "On request: write to SEG Advanced Modeling"),
    ],
)
def test_bad_input_is_reported_in_one_line(words, message):
    """Bad input ends with one line, status 2 and no traceback."""
    shown = call(words)
    assert shown.exit_code == 2
    assert message in shown.stderr
    assert shown.stderr.startswith("thesis: ")
    assert shown.stderr.count("\n") == 1


def test_failing_chapter_has_status_1(monkeypatch):
    """A chapter that fails is reported in one line, with another status than bad input."""
    error = chapters.ChapterError("01_toy failed: cell 2: ValueError: no salt")
    monkeypatch.setattr(chapters, "run", Mock(side_effect=error))
    shown = call("run 1")
    assert (shown.exit_code, shown.stderr) == (1, f"thesis: {error}\n")


def test_stage_publish_and_pair(project, monkeypatch):
    """Stage takes a profile or any folder of chapters, pair all chapters unless one is named."""
    asked = Mock()
    asked.stage.return_value = [project]
    for name in ("stage", "publish", "pair"):
        monkeypatch.setattr(chapters, name, getattr(asked, name))
    for words in ("stage --profile laptop", "stage --root published", "publish", "pair", "pair 1"):
        assert call(words).exit_code == 0
    assert [found.args for found in asked.stage.mock_calls if found.args] == [
        (Path("results/laptop"),),
        (Path("published"),),
    ]
    asked.publish.assert_called_once_with("smoke", None)
    assert [found.args for found in asked.pair.call_args_list] == [(CHAPTER,), ("1",)]


def test_datasets_are_listed():
    """Every data set is listed by its name, with how to get it."""
    shown = call("datasets").output
    for name, source in saltvolumes.DATA_SOURCES.items():
        assert f"{name}: {source.title}\n    {source.access}\n" in shown


def test_fetch_reports_file_and_checksum(tmp_path, monkeypatch):
    """Fetch names the file and the checksum that was kept, so that it can be recorded."""
    fetch = Mock(return_value=tmp_path / "a.zip")
    monkeypatch.setattr(saltvolumes, "fetch", fetch)
    checksum = tmp_path / "a.zip.sha256"
    checksum.write_text(f"{'0a' * 32}  a.zip\n")
    shown = call(f"fetch seam-depth --to '{tmp_path}'")
    fetch.assert_called_once_with("seam-depth", tmp_path)
    assert f"Fetched {tmp_path / 'a.zip'}\n" in shown.output
    assert "0a" * 32 in shown.output
    checksum.unlink()
    assert "SHA-256" not in call("fetch seam-depth").output


TRAIN = replace(TINY, seed=9, patch=(32, 32), stride=(32, 32))


def leave_run(task: Task = TRAIN, weights: dict[str, Tensor] | None = None) -> None:
    """Leave a network in ``run``, and a volume to segment by it."""
    leave_network(Path("run"), task, weights)
    saltvolumes.save_volume(make_volume((32, 32, 32), seed=3), "volume.SGY")


@pytest.mark.parametrize("able", [False, True])
def test_segment_writes_what_the_network_sees(monkeypatch, able):
    """Segment writes mask or probability, on a GPU if any, with headers of any SEG-Y."""
    devices: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: able)
    monkeypatch.setattr(SaltUNet, "to", lambda _, device: devices.append(device))
    leave_run()
    with segyio.open("volume.SGY", "r+") as file:
        file.text[0] = b"Shot by nobody".ljust(3200)
    words = "--network run/weights.safetensors -o vertical depth"
    assert call(f"segment volume.SGY mask.nc {words}").exit_code == 0
    shown = call(f"segment volume.SGY salt.SEGY {words} --probability")
    assert shown.exit_code == 0, shown.output
    assert devices == ["cuda" if able else "cpu"] * 2
    written = saltvolumes.open_volume("salt.SEGY", vertical="depth")
    volume = make_volume((32, 32, 32), seed=3)
    expected = predict(build_model(TRAIN), volume, TRAIN)["probability"]
    np.testing.assert_allclose(written["amplitude"], expected, atol=1e-6)
    np.testing.assert_array_equal(written["inline"], volume["inline"])
    with xr.open_dataset("mask.nc") as mask:
        np.testing.assert_array_equal(mask["salt"], expected > 0.5)
    with segyio.open("salt.SEGY") as file:
        assert file.text[0].startswith(b"Shot by nobody")


@pytest.mark.parametrize("ending", ["nc", "sgy"])
def test_segment_averages_an_ensemble(ending):
    """Several networks give the mean of their probabilities, and how much they differ."""
    leave_run()
    leave_network(Path("other"), replace(TRAIN, seed=4))
    words = "--network run --ensemble other -o vertical depth --disagreement"
    shown = call(f"segment volume.SGY found.{ending} {words}")
    assert shown.exit_code == 0, shown.output
    volume = make_volume((32, 32, 32), seed=3)
    first, second = (
        predict(build_model(task), volume, task)["probability"]
        for task in (TRAIN, replace(TRAIN, seed=4))
    )
    if ending == "sgy":
        found = saltvolumes.open_volume("found.sgy", vertical="depth")["amplitude"]
    else:
        with xr.open_dataset("found.nc") as written:
            np.testing.assert_allclose(written["probability"], (first + second) / 2, atol=1e-6)
            found = written["disagreement"].load()
    np.testing.assert_allclose(found, abs(first - second) / 2, atol=1e-6)
    assert not list(Path().glob(".found*"))


def test_segment_writes_one_number_for_each_sample_to_segy():
    """SEG-Y cannot hold two, nor the difference of a network from itself."""
    leave_run(replace(TRAIN, axes=("inline",)))
    words = "segment volume.SGY found.sgy --network run -o vertical depth"
    shown = call(f"{words} --probability --disagreement")
    assert "not both" in shown.stderr
    assert "Must have an ensemble" in call(f"{words} --disagreement").stderr


@pytest.mark.parametrize(
    ("task", "message"),
    [(TRAIN, "its weights do not fit its settings"), (Throw(0), "Throw. Must be a Train.")],
)
def test_segment_refuses_other_runs(task, message):
    """Weights of another network, and another task, are reported in one line."""
    leave_run(task, {"old.weight": torch.zeros(3)})
    shown = call("segment volume.SGY salt.nc --network run -o vertical depth")
    assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1)
    assert message in shown.stderr


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("volume.SGY", "it is an input"),
        ("linked.sgy", "it is an input"),
        ("mask.sgy", "it is an input"),
        ("old.sgy", "it exists. Must be new, or use --force"),
    ],
)
def test_segment_replaces_no_file_without_a_word(output, message):
    """An input is never replaced, by whatever name; another file only by --force."""
    leave_run()
    volume = make_volume((32, 32, 32), seed=3)
    saltvolumes.save_volume(volume, "mask.sgy", variable="salt")
    Path("linked.sgy").symlink_to("volume.SGY")
    Path("old.sgy").write_bytes(b"a year of work")
    content = Path(output).read_bytes()
    words = f"segment volume.SGY {output} --network run -o vertical depth -o mask mask.sgy"
    refused = call(words if output == "old.sgy" else f"{words} --force")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert message in refused.stderr
    assert Path(output).read_bytes() == content


def test_segment_replaces_another_file_by_force():
    """What is there and no input is replaced where that is asked for."""
    leave_run()
    Path("old.nc").write_bytes(b"an old result")
    shown = call("segment volume.SGY old.nc --network run -o vertical depth --force")
    assert shown.exit_code == 0, shown.stderr
    assert Path("old.nc").read_bytes()[1:4] == b"HDF"


@pytest.mark.parametrize("kind", ["", "--robust"])
def test_from_a_volume_to_a_mask_in_two_commands(kind):
    """What train leaves is what segment takes, and both report scores against the mask."""
    volume = make_volume((48, 32, 32), seed=3)
    saltvolumes.save_volume(volume, "survey.sgy")
    saltvolumes.save_volume(volume, "salt.sgy", variable="salt")
    reading = "-o vertical depth -o mask salt.sgy"
    sizes = f"--patch 16 --patches 16 --epochs 1 --split inline {kind}"
    trained = call(f"train survey.sgy {reading} {sizes}")
    assert trained.exit_code == 0, trained.stderr
    assert "Surface Dice" in trained.output
    (command,) = (line for line in trained.output.splitlines() if line.startswith("Use it: thesis"))
    words = command.removeprefix("Use it: thesis ").replace("VOLUME", "survey.sgy")
    shown = call(f"{words.replace('OUTPUT', 'predicted.sgy')} {reading}")
    assert shown.exit_code == 0, shown.stderr
    assert "Wrote predicted.sgy: " in shown.output
    assert "Dice 0." in shown.output
    predicted = saltvolumes.open_volume("predicted.sgy", vertical="depth")["amplitude"]
    assert predicted.shape == volume["salt"].shape
    assert set(np.unique(predicted)) <= {0, 1}


def test_inspect_reports_what_a_file_holds_and_leaves_open():
    """Geometry, units and amplitudes are reported, with doubts and what to pass, and drawn."""
    volume = make_volume((16, 17, 16), seed=3)
    saltvolumes.save_volume(volume, "survey.sgy")
    shown = call("inspect survey.sgy --png look.png")
    assert shown.exit_code == 0, shown.stderr
    assert "inline: 1 to 16 in steps of 1 (16)" in shown.output
    assert "time: 0 to 300 ms in steps of 20 (16)" in shown.output
    assert "line spacing: 25 x 25 m" in shown.output
    assert "? The vertical axis is taken as time. For depth pass vertical=depth." in shown.output
    assert Path("look.png").read_bytes().startswith(b"\x89PNG")
    assert "it exists" in call("inspect survey.sgy --png look.png").stderr
    depth = call("inspect survey.sgy -o vertical depth")
    assert "depth: 0 to 300 m" in depth.output
    assert "?" not in depth.output


def test_a_patch_too_large_is_said_before_torch_is_imported(tmp_path, repository):
    """What a volume is too small for is an error within seconds: torch alone takes longer."""
    volume = make_volume((16, 18, 32), seed=0)
    saltvolumes.save_volume(volume, tmp_path / "small.nc")
    code = (
        "import sys\nfrom thesis_lib.__main__ import app\n"
        "try:\n    app(['train', 'small.nc', '--patch', '512'])\n"
        "finally:\n    assert 'torch' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": str(repository)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("thesis: Invalid ")
    assert "\n" not in done.stderr.strip()
