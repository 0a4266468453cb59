"""Tests of published/: its tables and verdicts are those of the records that it holds."""

from pathlib import Path

import pandas as pd
import pytest
from executed_chapters import execute

from thesis_lib import study
from thesis_lib.chapters import read_run_info
from thesis_lib.study.claim_tables import read_decisions
from thesis_lib.study.claims import gate_claims
from thesis_lib.study.records import read_records
from thesis_lib.study.tables import read_thesis_table

FOLDER = Path(__file__).parents[2] / "published"
EXPLAINED = [  # chapters of the study that explain networks
    path.parent.name
    for path in sorted(FOLDER.glob("0[3-6]_*/run.json"))
    if read_run_info(path.parent)["profile"] == "study"
]
MAX_BYTES = 20e6  # of all records: a repository keeps every version


@pytest.fixture
def published(repository):
    """Folder of the published loss study."""
    folder = repository / "published" / "02_loss_study"
    if not folder.is_dir():
        pytest.skip("nothing is published yet")
    return folder


def test_scores_and_verdicts_come_from_records(published, tmp_path):
    """Any machine finds the published scores, and decides about the claims alike, in seconds."""
    records = read_records(published.parent / "runs")
    tasks = study.read_tasks(published / "networks.json")
    options = {"root": tmp_path, "minutes": 0, "progress": False}
    runs = study.run_all(tasks, records=records, **options)
    scores = study.tabulate(runs, loss="network.loss", seed="network.seed")
    expected = pd.read_csv(published / "scores.csv")
    found = expected[["loss", "seed"]].merge(scores)
    pd.testing.assert_frame_equal(found, expected)
    losses = read_thesis_table().index
    decided = gate_claims(
        [
            study.decide(claim, found, entries=losses, by="loss")
            for claim in study.read_claims(task="losses")
        ]
    )
    kept = read_decisions(published / "claims.json")
    assert [each.verdict for each in decided] == [each.verdict for each in kept]
    assert not list(tmp_path.iterdir())


def test_records_are_small(published):
    """What is kept of runs stays small, and no weights are among it."""
    files = [path for path in (published.parent / "runs").rglob("*") if path.is_file()]
    assert "weights.safetensors" not in {path.name for path in files}
    assert {path.suffix for path in files} <= {".json", ".csv", ".nc", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < MAX_BYTES


@pytest.mark.parametrize("chapter", EXPLAINED)
def test_chapters_come_from_records(repository, chapter, tmp_path, monkeypatch):
    """Chapters that explain networks come to their verdicts again, without any network."""
    monkeypatch.setenv("THESIS_MINUTES", "0")
    monkeypatch.setenv("THESIS_RECORDS", "any")
    values = read_run_info(FOLDER / chapter)["parameters"]
    home = str(Path(values["results_dir"]).parent)
    moved = {
        name: value.replace(home, str(FOLDER)) if isinstance(value, str) else value
        for name, value in values.items()
    }
    execute(repository, chapter, tmp_path / chapter, **moved)
    assert not list(tmp_path.glob("runs/*/scores.json"))
    assert not list(tmp_path.glob(f"{chapter}/runs/*"))  # no record is written again
    if (FOLDER / chapter / "claims.json").exists():
        kept, found = (
            read_decisions(folder / chapter / "claims.json") for folder in (FOLDER, tmp_path)
        )
        assert [each.verdict for each in found] == [each.verdict for each in kept]
