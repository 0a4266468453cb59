"""Tests of published/: its tables and verdicts are those of the records that it holds."""

import pandas as pd
import pytest

from thesis_lib import study
from thesis_lib.study.claim_tables import read_decisions
from thesis_lib.study.claims import gate_claims
from thesis_lib.study.records import read_records
from thesis_lib.study.tables import read_thesis_table

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
