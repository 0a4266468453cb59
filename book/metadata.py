"""
Write ``codemeta.json`` and ``published/ro-crate-metadata.json``: the project for other programs.

The first describes the software after CodeMeta, from pyproject.toml and CITATION.cff. The second
describes what is published after RO-Crate, as a Process Run Crate: a chapter is a folder of files
with checksums, made by an action that has its time, machine, commit and command.
"""

import hashlib
import json
import mimetypes
import sys
import tomllib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "_extensions"))
import provenance  # noqa: E402  what the pages state of runs

CODEMETA = Path("codemeta.json")
CRATE = Path("published") / "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
DATA_LICENCE = "https://creativecommons.org/licenses/by/4.0/"
KINDS = {".nc": "application/x-netcdf", ".ipynb": "application/x-ipynb+json"}
Entity = dict[str, Any]


def describe_software(root: Path) -> Entity:
    """Describe the project after CodeMeta 3.0."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    address = provenance.find_address(root)
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": project["name"],
        "alternateName": citation["title"],
        "description": project["description"],
        "version": project["version"],
        "license": f"https://spdx.org/licenses/{project['license']}",
        "author": [_describe_author(author) for author in citation["authors"]],
        "keywords": citation["keywords"],
        "programmingLanguage": {"@type": "ComputerLanguage", "name": "Python"},
        "runtimePlatform": f"Python {project['requires-python']}",
        "operatingSystem": "Linux",
        "softwareRequirements": sorted(project["dependencies"]),
        "readme": project["readme"],
        "buildInstructions": "REPRODUCING.md",
        "referencePublication": [_describe_thesis(each) for each in citation["references"]],
        **({"codeRepository": address} if address else {}),
    }


def describe_published(root: Path) -> Entity:
    """
    Describe what ``published/`` holds, as an RO-Crate.

    Raises
    ------
    FileNotFoundError
        If no chapter is published.
    """
    folder = root / CRATE.parent
    runs = provenance.read_runs(folder)
    if not runs:
        raise FileNotFoundError(f"No run.json of a chapter in {folder}. Must be published first.")
    software = describe_software(root)
    crate = ROCrate(version="1.1")
    crate.name = f"Published runs of {software['alternateName']}"
    crate.description = (
        "Executed chapters, their tables and figures, and the records of the runs behind them."
    )
    crate.license = _add(crate, DATA_LICENCE, "CreativeWork", name="CC BY 4.0")
    crate.datePublished = max(info["started"] for info in runs.values())[:10]
    crate.root_dataset["conformsTo"] = _add(
        crate, PROFILE, "CreativeWork", name="Process Run Crate"
    )
    program = _add_software(crate, software)
    crate.root_dataset["author"] = program["author"]
    records = _add_records(crate, folder)
    for chapter, info in runs.items():
        _add_chapter(crate, folder, chapter, info, program, records)
    measured = [path for path in sorted(folder.glob("*.json")) if path.name != CRATE.name]
    files = [_add_file(crate, folder, path) for path in measured]
    # Files in folders are parts of these, and with them of the whole.
    crate.root_dataset["hasPart"] = [*crate.get_by_type("Dataset", exact=True)[1:], *files]
    described: Entity = crate.metadata.generate()
    return described


def _add_software(crate: ROCrate, software: Entity) -> ContextEntity:
    authors = [
        _add(crate, f"#author-{position}", author.pop("@type"), **author)
        for position, author in enumerate(software["author"], start=1)
    ]
    kept = {name: software[name] for name in ("name", "description", "version", "license")}
    return _add(crate, "#software", "SoftwareSourceCode", author=authors, **kept)


def _add_chapter(
    crate: ROCrate,
    folder: Path,
    chapter: str,
    info: Entity,
    program: ContextEntity,
    records: Any,
) -> None:
    """Add a chapter's folder with its files, and the action that made it."""
    files = [
        _add_file(crate, folder, path)
        for path in sorted((folder / chapter).iterdir())
        if path.is_file()
    ]
    summary = provenance.format_summary(info)
    result = crate.add_dataset(
        dest_path=f"{chapter}/",
        properties={"name": f"Results of {chapter}", "description": summary},
    )
    result["hasPart"] = files
    started = datetime.fromisoformat(info["started"])
    action = crate.add_action(
        program,
        identifier=f"#{provenance.name_anchor(chapter)}",
        object=[records] if info.get("runs", {}).get("recorded") else [],
        result=[result],
        properties={
            "name": f"Run of {chapter} with profile {info['profile']}",
            "description": f"{info['command']} at commit {info['commit']}, on "
            f"{provenance.format_machine(info)}, {info['system']}, Python {info['python']}",
            "startTime": info["started"],
            "endTime": (started + timedelta(seconds=info["duration_s"])).isoformat(),
            "actionStatus": {"@id": "http://schema.org/CompletedActionStatus"},
        },
    )
    action["agent"] = program["author"]


def _add_records(crate: ROCrate, folder: Path) -> Any:
    """Add the folder of records, with the file of each that has its fields and scores."""
    dataset = crate.add_dataset(
        dest_path="runs/",
        properties={
            "name": "Records of finished runs",
            "description": "One folder for each: fields of the task, hash of the code that it "
            "depends on, libraries and scores; no weights.",
        },
    )
    dataset["hasPart"] = [
        _add_file(crate, folder, folder / "runs" / name / "record.json", _name_record(content))
        for name, content in provenance.read_records(folder / "runs").items()
    ]
    return dataset


def _add_file(crate: ROCrate, folder: Path, path: Path, name: str | None = None) -> Any:
    content = path.read_bytes()
    kind = KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    properties = {
        "name": name or path.relative_to(folder).as_posix(),
        "encodingFormat": kind or "application/octet-stream",
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return crate.add_file(path, path.relative_to(folder).as_posix(), properties=properties)


def _add(crate: ROCrate, identifier: str, kind: str, **properties: Any) -> ContextEntity:
    entity = ContextEntity(crate, identifier, properties={"@type": kind})
    crate.add(entity)
    for name, value in properties.items():
        entity[name] = value
    return entity


def _name_record(content: Entity) -> str:
    """Name a record by its task, and by loss and seed where it or an ancestor has them."""
    words = [f"{name} {value}" for name in ("loss", "seed") for value in _find(content, name)][:2]
    return f"{content['task']}: {', '.join(words)}" if words else str(content["task"])


def _find(content: Any, name: str) -> Iterator[Any]:
    """Yield at most one value of a field, the outermost."""
    level = [content]
    while level:
        for part in level:
            if isinstance(part.get(name), str | int):
                yield part[name]
                return
        level = [value for part in level for value in part.values() if isinstance(value, dict)]


def _describe_author(author: Entity) -> Entity:
    if "name" in author:
        return {"@type": "Organization", "name": author["name"]}
    names = {"givenName": author["given-names"], "familyName": author["family-names"]}
    return {"@type": "Person", **names}


def _describe_thesis(reference: Entity) -> Entity:
    return {
        "@type": "Thesis",
        "name": reference["title"],
        "author": [_describe_author(author) for author in reference["authors"]],
        "datePublished": str(reference["year"]),
        "sourceOrganization": {"@type": "Organization", "name": reference["institution"]["name"]},
    }


def main(root: Path) -> None:
    """Bring both files in line with the project and with ``published/``."""
    described = {CODEMETA: describe_software(root), CRATE: describe_published(root)}
    for path, content in described.items():
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (root / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(ROOT)
