"""Descriptions for other programs: CITATION.cff, codemeta.json, RO-Crate."""

import hashlib
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from rocrate.rocrate import ROCrate

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book"))
import metadata  # noqa: E402  a script next to what it describes

SCHEMA = Path(__file__).with_name("cff-1.2.0.schema.json")  # of the format, under CC BY 4.0


@pytest.fixture(scope="module")
def citation():
    """Content of CITATION.cff, with dates as text, as the schema has them."""
    return yaml.load((ROOT / "CITATION.cff").read_text(encoding="utf-8"), yaml.BaseLoader)


@pytest.fixture(scope="module")
def crate():
    """The published crate, as rocrate reads it."""
    return ROCrate(ROOT / "published")


def validate_citation(content: dict[str, Any]) -> None:
    """Validate against the schema of the Citation File Format."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    thesis = content["references"][0] | {"year": int(content["references"][0]["year"])}
    jsonschema.validate(content | {"references": [thesis]}, schema)


def test_the_citation_is_valid(citation):
    """CITATION.cff fits the schema of its format, which refuses a field that it does not know."""
    validate_citation(citation)
    with pytest.raises(jsonschema.ValidationError, match="'editor' was unexpected"):
        validate_citation(citation | {"editor": "nobody"})


def test_codemeta_is_up_to_date(citation):
    """codemeta.json is what project and citation say today, with the same version and names."""
    text = (ROOT / metadata.CODEMETA).read_text(encoding="utf-8")
    found = json.loads(text)
    assert found == metadata.describe_software(ROOT), "call python book/metadata.py"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert found["version"] == project["version"] == citation["version"]
    assert [author["name"] for author in found["author"]] == [
        author["name"] for author in citation["authors"]
    ]
    (thesis,) = found["referencePublication"]
    assert thesis["name"] == citation["references"][0]["title"]


def test_the_crate_is_up_to_date():
    """The crate describes what is published now, and is written the same every time."""
    text = (ROOT / metadata.CRATE).read_text(encoding="utf-8")
    assert json.loads(text) == metadata.describe_published(ROOT), "call python book/metadata.py"


def test_every_file_of_the_crate_is_there(crate):
    """Tables and records are described, with the size and checksum that each file has."""
    files = {entity.id: entity for entity in crate.get_by_type("File")}
    for name, entity in files.items():
        content = (ROOT / "published" / name).read_bytes()
        assert entity["sha256"] == hashlib.sha256(content).hexdigest(), name
        assert entity["contentSize"] == str(len(content)), name
    folder = ROOT / "published"
    records = {path.relative_to(folder).as_posix() for path in folder.glob("runs/*/record.json")}
    tables = {path.relative_to(folder).as_posix() for path in folder.glob("[0-9]*/*.csv")}
    assert records | tables <= files.keys()


def test_every_chapter_has_its_action(crate):
    """Each published chapter is the result of an action with its command, commit and times."""
    actions = {action["result"][0].id: action for action in crate.get_by_type("CreateAction")}
    for path in (ROOT / "published").glob("[0-9][0-9]_*/run.json"):
        info = json.loads(path.read_text(encoding="utf-8"))
        action = actions.pop(f"{path.parent.name}/")
        assert info["command"] in action["description"]
        assert info["commit"] in action["description"]
        assert action["startTime"] == info["started"]
        assert action["instrument"].id == "#software"
    assert actions == {}


def test_every_reference_of_the_crate_leads_somewhere():
    """What the crate refers to it describes, apart from addresses."""
    graph = json.loads((ROOT / metadata.CRATE).read_text(encoding="utf-8"))["@graph"]
    named = {entity["@id"] for entity in graph}
    assert len(named) == len(graph)
    referred = {
        part["@id"]
        for entity in graph
        for value in entity.values()
        for part in (value if isinstance(value, list) else [value])
        if isinstance(part, dict)
    }
    assert {name for name in referred - named if not name.startswith("http")} == set()


def test_nothing_published_is_refused(tmp_path):
    """Without a published chapter there is nothing to describe."""
    with pytest.raises(FileNotFoundError, match="Must be published first"):
        metadata.describe_published(tmp_path)
