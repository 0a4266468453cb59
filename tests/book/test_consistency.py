"""Files that say the same thing in two places say the same thing."""

import os
import re
import runpy
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from thesis_lib import __version__, chapters


@pytest.fixture(scope="module")
def project(repository):
    """Content of pyproject.toml."""
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def lock(repository):
    """Text of requirements.lock."""
    return (repository / "requirements.lock").read_text(encoding="utf-8")


def read_yaml(path: Path) -> Any:
    """Parse a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def list_requirements(project: dict[str, Any], *, extras: bool) -> list[Requirement]:
    """Direct requirements, with those of all extras if asked for."""
    groups = [project["project"]["dependencies"]]
    if extras:
        groups += project["project"]["optional-dependencies"].values()
    return [Requirement(line) for group in groups for line in group]


def list_pins(lock: str) -> dict[str, list[str]]:
    """Locked versions by name."""
    pins: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE):
        pins.setdefault(name, []).append(version)
    return pins


def list_entries(lock: str) -> list[str]:
    """Cut the lock into one text a pin."""
    return re.findall(r"^[\w.-]+==.*?(?=^[\w.-]+==|\Z)", lock, re.MULTILINE | re.DOTALL)


def test_environment_names_the_dependencies_of_the_project(repository, project):
    """Conda and Binder get the names and bounds of pyproject.toml."""
    *conda, pip = read_yaml(repository / "environment.yml")["dependencies"]
    named = [Requirement(line) for line in pip["pip"] if not line.startswith("-")]
    assert set(map(str, named)) == set(map(str, list_requirements(project, extras=False)))
    assert f"python{project['project']['requires-python']}" in conda


def test_lock_holds_what_the_project_asks_for(project, lock):
    """Every direct and build requirement has pins within its bounds; none was dropped since."""
    pins = list_pins(lock)
    asked = list_requirements(project, extras=True)
    build = [Requirement(line) for line in project["build-system"]["requires"]]
    for requirement in asked + build:
        versions = pins.get(requirement.name.lower().replace("_", "-"), [])
        assert versions, f"{requirement.name} is not locked: call make lock"
        assert all(version in requirement.specifier for version in versions), requirement
    entries = [entry for entry in list_entries(lock) if "thesis-lib (pyproject.toml)" in entry]
    names = {requirement.name.lower().replace("_", "-") for requirement in asked}
    assert {entry.split("==")[0] for entry in entries} == names


def test_each_package_is_pinned_once_by_its_hashes(lock):
    """Every Python gets the same versions, as files of known hashes from wherever they come."""
    assert {name: found for name, found in list_pins(lock).items() if len(found) > 1} == {}
    entries = list_entries(lock)
    assert len(entries) > 100
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"https?://|file://|--index-url|--find-links", lock) == []


def test_citation_names_version_and_thesis(repository, project):
    """CITATION.cff has the fields that its format requires, the one version, and the thesis."""
    citation = read_yaml(repository / "CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert project["project"]["version"] == __version__ == citation["version"]
    (thesis,) = citation["references"]
    assert thesis["authors"] == [{"given-names": "Francesco", "family-names": "Maffezzoli"}]
    assert thesis["institution"] == {"name": "Politecnico di Milano"}


def test_documents_name_doors_that_exist(repository):
    """Targets that the design, a page, a hook or CI names are explained, and no folder passes."""
    wanted = "help install format check test smoke book site bench ci clean"
    makefile = (repository / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)
    assert set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE)) == set(phony.split())
    doors = re.findall(r"^([a-z]+):.*  ## ", makefile, re.MULTILINE)
    pages = [*repository.glob("*.md"), *(repository / "book").glob("*.md")]
    others = [repository / ".ci" / "run", repository / ".pre-commit-config.yaml"]
    others += (repository / ".github" / "workflows").glob("*.yml")
    named = {
        target
        for path in pages + others
        for code in re.findall(
            r"`[^`]+`|^(?:exec |.*entry: |.*run: )?make .*", path.read_text(), re.M
        )
        for target in re.findall(r"\bmake ([a-z]+)", code)
    }
    assert {"book", "test", "ci", "check"} <= named
    assert named | set(wanted.split()) <= set(doors)


def test_hooks_and_ci_enter_by_the_makefile(repository):
    """Hooks fetch nothing and call make alone; so does the CI script, which can be called."""
    (source,) = read_yaml(repository / ".pre-commit-config.yaml")["repos"]
    assert source["repo"] == "local"
    assert all(hook["entry"].startswith("make ") for hook in source["hooks"])
    assert os.access(repository / ".ci" / "run", os.X_OK)
    assert "make ci" in (repository / ".ci" / "run").read_text()


def test_workflows_enter_by_the_makefile(repository):
    """Beside steps of the forge itself, workflows call make; the site waits for its address."""
    paths = {path.stem: path for path in (repository / ".github" / "workflows").glob("*.yml")}
    workflows = {name: read_yaml(path) for name, path in paths.items()}
    assert workflows.keys() == {"pages", "tests"}
    jobs = [job for workflow in workflows.values() for job in workflow["jobs"].values()]
    steps = [step for job in jobs for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    (look_up,) = [command for command in commands if not command.startswith("make ")]
    assert all(step["uses"].startswith("actions/") for step in steps if "run" not in step)
    config = read_yaml(repository / "_config.yml")
    found = subprocess.run(
        look_up.split(" >>")[0],
        shell=True,
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == f"address={config['html']['baseurl']}\n"
    assert workflows["pages"]["jobs"]["publish"]["if"] == "needs.site.outputs.address != ''"


def test_the_address_of_the_repository_is_told_in_one_place(repository, project):
    """Other files name the repository as _config.yml does, and not at all while it is empty."""
    address = read_yaml(repository / "_config.yml")["repository"]["url"]
    citation = read_yaml(repository / "CITATION.cff")
    told = {citation.get("repository-code"), project["project"].get("urls", {}).get("Repository")}
    assert told == {address or None}


def test_binder_finds_its_files(repository):
    """Binder reads environment.yml and postBuild at the root, which no folder of its own hides."""
    assert os.access(repository / "postBuild", os.X_OK)
    assert not (repository / ".binder").exists()
    assert not (repository / "binder").exists()
    (command,) = re.findall(
        r"^python -m thesis_lib (.*)", (repository / "postBuild").read_text(), re.M
    )
    profiles = {path.stem for path in (repository / "notebooks" / "params").glob("*.yml")}
    assert command.split()[-1] in profiles


def test_book_has_a_page_for_every_chapter(repository):
    """The table of contents names the chapters that are there, in order, and nothing missing."""
    contents = read_yaml(repository / "_toc.yml")
    files = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    staged = [Path(name).name for name in files if name.startswith("book/chapters/")]
    written = [name for name in files if not name.startswith("book/chapters/")]
    assert staged == chapters.list_chapters(repository)
    assert [name for name in written if not (repository / f"{name}.md").is_file()] == []


def test_library_page_lists_every_module(repository):
    """The library page documents each public module."""
    package = repository / "thesis_lib"
    modules = {path.stem for path in package.glob("[a-z]*.py")}
    modules |= {path.parent.name for path in package.glob("[a-z]*/__init__.py")}
    page = (repository / "book" / "api.md").read_text(encoding="utf-8")
    documented = re.findall(r"automodule:: thesis_lib\.(\w+)", page)
    assert set(documented) == modules
    assert {"saltearth", "saltvolumes"} <= set(re.findall(r"automodule:: (\w+)$", page, re.M))


@pytest.fixture
def readme(repository):
    """Functions of the script that writes table and figure of the README."""
    return runpy.run_path(str(repository / "book" / "readme.py"))


def test_readme_shows_what_is_published(repository, readme):
    """Figure, answer and table of the README are those of published/."""
    if not (repository / "published").is_dir():
        pytest.skip("nothing is published yet")
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert readme["format_answer"](repository) in text
    (figure,) = re.findall(r"!\[.+?\]\((.+?)\)", text)
    assert (repository / figure).is_file()


def test_readme_script_replaces_only_the_answer(readme):
    """The text around the marks stays, and a README without marks is refused."""
    text = "before\n<!-- answer: x -->\nold\n<!-- end of answer -->\nafter\n"
    assert readme["replace_answer"](text, "new\n") == text.replace("old", "new")
    with pytest.raises(ValueError, match="Must hold <!-- answer -->"):
        readme["replace_answer"]("no marks", "| a |")
