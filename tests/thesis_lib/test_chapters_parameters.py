"""Tests of thesis_lib.chapters.parameters: what can be set, and which values a profile sets."""

import re
import shlex
from typing import Any

import pytest
from tiny_project import BODY, CHAPTER, SMOKE, make_project, open_chapter

from thesis_lib import chapters
from thesis_lib._json import parse_value


def test_cell_gives_types_and_smoke_values(project):
    """A parameter has the type and the value that its line states."""
    parameters = chapters.read_parameters(chapters.find_chapter(CHAPTER, project))
    kinds = [int, float, list[str], str | None, list[int], dict[str, Any], str]
    assert [field.annotation for field in parameters.model_fields.values()] == kinds
    assert parameters().model_dump() == SMOKE | {"results_dir": f"results/smoke/{CHAPTER}"}


def test_a_cell_that_changes_is_read_again(project):
    """An edited chapter gives its new values; a list that is changed is not shared."""
    path = chapters.find_chapter(CHAPTER, project)
    chapters.read_parameters(path)().losses.append("wing")
    assert chapters.read_parameters(path)().losses == SMOKE["losses"]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("count: int = 2", "count: int = 3"), encoding="utf-8")
    assert chapters.read_parameters(path)().count == 3


@pytest.mark.parametrize(
    ("line", "error", "match"),
    [
        ("a = 1", ValueError, "Must be name: type = literal"),
        ("a: int", ValueError, "Must be name: type = literal"),
        ("a: int = 1 + n", ValueError, "Must be name: type = literal"),
        ("a: Path = 'x'", ValueError, "Invalid line \"a: Path = 'x'\""),
        ("import os", ValueError, "Invalid line 'import os'"),
        ("a: int = 1.5", TypeError, r"Invalid a 1\.5 of 01_toy\. Must be int\."),
        ("a: int = 1\n\n" + BODY.replace("training", "parameters"), ValueError, "2 cells are tagg"),
    ],
)
def test_bad_cell(tmp_path, line, error, match):
    """A chapter has one parameters cell, and each line of it is a literal of its type."""
    path = chapters.find_chapter(CHAPTER, make_project(tmp_path, parameters=line))
    with pytest.raises(error, match=match):
        chapters.read_parameters(path)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("count", 1.5, "int"),
        ("count", True, "int"),
        ("count", "4", "int"),
        ("rate", False, "float"),
        ("rate", float("nan"), "float"),
        ("losses", "bce", r"list\[str\]"),
        ("losses", ["bce", 1], r"list\[str\]"),
        ("mask", 1, r"str \| None"),
        ("lines", [1.0], r"list\[int\]"),
        ("reading", [], r"dict\[str, Any\]"),
        ("reading", {1: "mask"}, r"dict\[str, Any\]"),
    ],
)
def test_wrong_type(project, name, value, allowed):
    """A value of another type is refused, a bool for an int too, in a notebook as elsewhere."""
    match = rf"Invalid {name} .* of 01_toy\. Must be {allowed}\.$"
    values = chapters.resolve_parameters(CHAPTER, "smoke", {}, project)
    with pytest.raises(TypeError, match=match):
        chapters.resolve_parameters(CHAPTER, "smoke", {name: value}, project)
    with pytest.raises(TypeError, match=match):
        chapters.open_page(CHAPTER, values | {name: value}, root=project)


def test_unknown_names(project):
    """Unknown names are refused with those that are allowed, a parameter with the nearest one."""
    with pytest.raises(ValueError, match=r"'cuont'.*mean 'count'.*one of: count, rate, losses"):
        chapters.resolve_parameters(CHAPTER, "smoke", {"cuont": 1}, project)
    with pytest.raises(ValueError, match=r"Invalid profile 'huge'. Must be one of: 'laptop', "):
        chapters.load_profile("huge", project)
    with pytest.raises(ValueError, match=r"Invalid chapter '2'. Must be one of: '01_toy'"):
        chapters.find_chapter("2", project)


def test_no_seeds(repository):
    """A chapter without a seed computes nothing, and is refused before it runs."""
    with pytest.raises(ValueError, match=r"Invalid seeds \[\] of 02_loss_study. Must be at least"):
        chapters.resolve_parameters("2", "smoke", {"seeds": []}, repository)


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("[1]", ValueError, "Must map chapters"),
        ("01_toy: 3", ValueError, "Must map chapters"),
        ("02_no: {}", ValueError, "Invalid chapter in bad.yml '02_no'"),
        ("01_toy: {cout: 1}", ValueError, "Invalid parameter 'cout'"),
        ("01_toy: {1: 1}", ValueError, "Invalid parameter 1"),
        ("01_toy: {count: many}", TypeError, "Invalid count 'many'"),
        ("01_toy: {\ncount", ValueError, "Cannot read .*bad.yml: while parsing .* in YAML"),
        ("01_toy: {{}: 1}", ValueError, "Cannot read .*bad.yml: while constructing"),
    ],
)
def test_bad_profile(project, text, error, match):
    """A profile that does not fit the chapters is refused."""
    (project / "notebooks" / "params" / "bad.yml").write_text(text)
    with pytest.raises(error, match=match) as caught:
        chapters.load_profile("bad", project)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ({}, "results/laptop/01_toy"),
        ({"count": 4}, "results/laptop/01_toy"),
        ({"count": 5, "rate": 1, "losses": []}, "results/custom/01_toy"),
        ({"count": 5, "results_dir": "elsewhere"}, "elsewhere"),
    ],
)
def test_override_then_profile_then_cell(project, overrides, folder):
    """An override goes before the profile, the profile before the cell; an int is a float too."""
    values = chapters.resolve_parameters(CHAPTER, "laptop", overrides, project)
    assert values == SMOKE | {"count": 4} | overrides | {"results_dir": folder}
    assert isinstance(values["rate"], float)


def test_results_into_another_folder(project):
    """What other chapters left is looked for where the results go, which changes no profile."""
    left = "laptop/01_other/networks.json"
    path = project / "notebooks" / "params" / "laptop.yml"
    path.write_text(f"{CHAPTER}:\n  mask: results/{left}\n")
    values = chapters.resolve_parameters(CHAPTER, "laptop", {}, project, into="results/site")
    assert values["mask"] == "results/site/01_other/networks.json"
    assert values["results_dir"] == f"results/site/{CHAPTER}"
    info = chapters.open_page(CHAPTER, values, root=project).info
    assert (info["profile"], info["changed"]) == ("laptop", [])
    elsewhere = values | {"mask": f"results/{left}", "count": 3}
    info = chapters.open_page(CHAPTER, elsewhere, root=project).info
    assert (info["closest_profile"], info["changed"]) == ("laptop", ["count"])


@pytest.mark.parametrize("text", ["[a", "2024-99-99"])
def test_value_that_is_not_yaml(text):
    """A value that is not YAML is refused where no text is allowed, and else taken as it is."""
    with pytest.raises(ValueError, match=rf"Invalid value '{re.escape(text)}'"):
        parse_value(text, list[int])
    assert parse_value(text, str | None) == text


def test_project_root(project, monkeypatch):
    """The project is the one around the working folder, else the one of the library."""
    monkeypatch.chdir(project / "notebooks")
    assert chapters.project_root() == project
    monkeypatch.chdir("/")
    assert (chapters.project_root() / "thesis_lib" / "chapters").is_dir()


@pytest.mark.parametrize(
    ("profile", "changes"),
    [
        ("laptop", {}),
        ("laptop", {"count": 3}),
        ("laptop", {"losses": ["dice"], "mask": "my été.npz", "rate": 1e-7}),
        ("laptop", {"mask": "[a"}),
        ("laptop", {"mask": "1e-3", "lines": [1, 2]}),
        ("laptop", {"mask": "null"}),
        ("laptop", {"mask": '"quoted"'}),
        ("laptop", {"mask": "[F3] cube.sgy"}),
        ("laptop", {"mask": "@scratch/Survey #2: f3.sgy"}),
        ("laptop", {"mask": "2024-99-99"}),
        ("laptop", {"mask": "~"}),
        ("laptop", {"rate": float("inf")}),
        ("laptop", {"reading": {"salt_velocity_m_s": [4400, float("-inf")], "mask": "été"}}),
        ("laptop", {"reading": {"mask": "label", "dims": ["time", "inline"]}}),
        ("smoke", {"count": 3, "results_dir": "results/smoke/01_toy"}),
    ],
)
def test_command_repeats_the_run(project, profile, changes):
    """Values decide about the profile, whatever folder they go to, and the command repeats them."""
    info = open_chapter(project, profile, **changes).info
    assert info["profile"] == ("custom" if changes else profile)
    assert set(info["changed"]) == {*changes} - {"results_dir"}
    _, _, _, _, chapter, _, profile, *rest = shlex.split(info["command"])
    pairs = zip(rest[1::3], rest[2::3], strict=True)
    overrides = chapters.parse_overrides(chapter, pairs, project)
    again = chapters.resolve_parameters(chapter, profile, overrides, project)
    assert again | {"results_dir": None} == info["parameters"] | {"results_dir": None}
