"""Tests of the command line: what it passes on, and what it says of bad input."""

from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import segyio
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from tiny_project import CHAPTER, make_project
from torch import Tensor

from thesis_lib import chapters, data, study
from thesis_lib.__main__ import _load_network, app
from thesis_lib.model import SaltUNet
from thesis_lib.study.segmentation import predict
from thesis_lib.synthetic import make_volume
from thesis_lib.training import TrainConfig


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one chapter, and the working folder in it."""
    monkeypatch.chdir(tmp_path)
    return make_project(tmp_path)


@pytest.fixture
def calls(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the command line asks the library to run; nothing is run."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def run(chapter: str, **options: Any) -> Path:
        asked.append((chapter, options))
        return project

    monkeypatch.setattr(chapters, "run", run)
    monkeypatch.setattr(chapters, "read_run_info", lambda _: {"duration_s": 1.5})
    return asked


def call(*words: str) -> Result:
    """Call the command line; an exception that it does not handle is raised here."""
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_values_have_their_types(calls: list[tuple[str, dict[str, Any]]]) -> None:
    """Values of -p are read as YAML: lists, numbers, words."""
    words = [
        "-p",
        "losses",
        '["dice"]',
        "-p",
        "count",
        "4",
        "-p",
        "rate",
        "1e-3",
        "-p",
        "mask",
        "a",
    ]
    assert call("run", "1", "--profile", "laptop", *words).exit_code == 0
    overrides = {"losses": ["dice"], "count": 4, "rate": 1e-3, "mask": "a"}
    assert calls == [(CHAPTER, {"profile": "laptop", "overrides": overrides})]


def test_all_chapters(calls: list[tuple[str, dict[str, Any]]]) -> None:
    """--all runs every chapter and says where the results are."""
    shown = call("run", "--all")
    assert [chapter for chapter, _ in calls] == [CHAPTER]
    assert "after 1.5 s" in shown.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "Name one CHAPTER or give --all"),
        (["run", "1", "--all"], "Name one CHAPTER or give --all"),
        (["run", "--all", "-p", "count", "1"], "belong to one CHAPTER"),
        (["run", "7"], "Invalid chapter '7'"),
        (["run", "1", "--profile", "huge"], "Invalid profile 'huge'"),
        (["run", "1", "-p", "cuont", "1"], "Did you mean 'count'?"),
        (["run", "1", "-p", "count", "many"], "Invalid count 'many'"),
        (["run", "1", "-p", "count", "[1"], "Must be a YAML literal"),
        (["pair", "7"], "Invalid chapter '7'"),
        (["stage", "--profile", "laptop"], "Run the chapter first"),
        (["publish"], "Run the chapter first"),
        (["segment", "a.nc", "b.txt", "--run", "runs/x"], "Invalid file ending '.txt'"),
        (["segment", "a.nc", "no/b.nc", "--run", "runs/x"], "Must lie in a folder that exists"),
        (["fetch", "seam"], "Invalid data set 'seam'"),
        (["fetch", "seam-earth-model"], "On request: write to SEG Advanced Modeling"),
    ],
)
@pytest.mark.usefixtures("project")
def test_bad_input_is_told_in_one_line(words: list[str], message: str) -> None:
    """Bad input ends with one line, status 2 and no traceback."""
    shown = call(*words)
    assert shown.exit_code == 2
    assert message in shown.stderr
    assert shown.stderr.startswith("thesis: ")
    assert shown.stderr.count("\n") == 1


@pytest.mark.usefixtures("project")
def test_failing_chapter_has_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chapter that fails is told in one line, with another status than bad input."""

    def fail(*_: Any, **__: Any) -> Path:
        raise chapters.ChapterError("01_toy failed in cell 2: ValueError: no salt")

    monkeypatch.setattr(chapters, "run", fail)
    shown = call("run", "1")
    assert (shown.exit_code, shown.stderr.count("\n")) == (1, 1)
    assert "no salt" in shown.stderr


def test_stage_and_publish(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage takes the results of a profile, or any other folder that holds chapters."""
    asked: list[Any] = []
    monkeypatch.setattr(chapters, "stage", lambda source: asked.append(source) or [project])
    monkeypatch.setattr(chapters, "publish", lambda profile: asked.append(profile))
    call("stage", "--profile", "laptop")
    call("stage", "--root", "published")
    call("publish", "--profile", "gpu")
    assert asked == [Path("results/laptop"), Path("published"), "gpu"]


def test_pair_without_a_name_takes_all(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pair refreshes every reference unless one is named."""
    asked: list[str] = []
    monkeypatch.setattr(chapters, "pair", asked.append)
    call("pair")
    assert asked == chapters.list_chapters(project)


@pytest.mark.parametrize(
    "command",
    [[], ["run"], ["pair"], ["stage"], ["publish"], ["segment"], ["datasets"], ["fetch"]],
)
def test_help(command: list[str]) -> None:
    """Every command explains itself."""
    shown = call(*command, "--help")
    assert shown.exit_code == 0
    assert "Usage:" in shown.output


def test_datasets_are_listed() -> None:
    """Every data set is listed by its name, with how to get it."""
    shown = call("datasets").output
    for name, source in data.DATA_SOURCES.items():
        assert f"{name}: {source.title}\n    {source.access}\n" in shown


def test_fetch_says_where_and_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch names the file and the checksum that was kept, so that it can be recorded."""
    asked: list[Any] = []
    (tmp_path / "a.zip.sha256").write_text(f"{'0a' * 32}  a.zip\n")
    monkeypatch.setattr(
        data.registry, "fetch", lambda *words: asked.append(words) or tmp_path / "a.zip"
    )
    shown = call("fetch", "seam-depth", "--to", str(tmp_path))
    assert asked == [("seam-depth", tmp_path)]
    assert f"Fetched {tmp_path / 'a.zip'}\n" in shown.output
    assert "0a" * 32 in shown.output
    (tmp_path / "a.zip.sha256").unlink()
    assert "SHA-256" not in call("fetch", "seam-depth", "--to", str(tmp_path)).output


CONFIG = study.SegmentationConfig(
    "bce",
    TrainConfig(precision="32-true"),
    patch=(32, 32),
    stride=(32, 32),
    encoder="resnet18",
)


def make_run(project: Path, weights: dict[str, Tensor]) -> list[str]:
    """Leave a finished run and a volume; how to segment the volume by the run."""
    run = study.Run("thesis_lib.study.segmentation", asdict(CONFIG), "0123", 5)
    folder = project / "run"
    folder.mkdir()
    study.write_json(folder / "config.json", run.describe())
    save_file(weights, folder / "weights.safetensors")
    data.save_volume(make_volume((32, 32, 32), seed=3), "volume.SGY")
    return ["--run", str(folder), "-o", "vertical", "depth"]


def test_segment_writes_the_probability(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segment writes what the network predicts, with the headers of a SEG-Y of any case."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # compared with the CPU
    model = SaltUNet("resnet18", seed=9)
    words = make_run(project, model.state_dict())
    with segyio.open("volume.SGY", "r+") as file:
        file.text[0] = b"Shot by nobody".ljust(3200)
    shown = call("segment", "volume.SGY", "salt.SEGY", *words)
    assert shown.exit_code == 0, shown.output
    written = data.open_volume("salt.SEGY", vertical="depth")
    volume = make_volume((32, 32, 32), seed=3)
    expected = predict(model, volume, CONFIG)["probability"]
    np.testing.assert_allclose(written["amplitude"], expected, atol=1e-6)
    np.testing.assert_array_equal(written["inline"], volume["inline"])
    with segyio.open("salt.SEGY") as file:
        assert file.text[0].startswith(b"Shot by nobody")


@pytest.mark.parametrize(("able", "device"), [(True, "cuda"), (False, "cpu")])
def test_segment_computes_on_the_gpu(
    monkeypatch: pytest.MonkeyPatch, able: bool, device: str
) -> None:
    """The network goes to the GPU where there is one."""
    model = Mock()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: able)
    monkeypatch.setattr(study, "load_model", lambda _: model)
    _load_network(Path("run"))
    model.to.assert_called_once_with(device)


def test_segment_refuses_weights_of_another_network(project: Path) -> None:
    """Weights that do not fit the network are told in one line, not in one a tensor."""
    words = make_run(project, {"old.weight": torch.zeros(3)})
    shown = call("segment", "volume.SGY", "salt.nc", *words)
    assert (shown.exit_code, shown.stderr.count("\n")) == (2, 1)
    assert "its weights do not fit the network" in shown.stderr
