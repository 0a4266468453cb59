from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from thesis_lib.metrics import Scores
from thesis_lib.study.tables import (
    SCORE_NAMES,
    format_table1,
    read_thesis_table,
    tabulate_histories,
)
from thesis_lib.study.tasks import Outcome

THESIS = read_thesis_table()


def test_histories_are_one_row_per_epoch(tmp_path):
    """Histories of networks are joined, with columns of their tasks; what no one watched is NaN."""
    outcomes = []
    for seed, text in enumerate(["epoch,train_loss\n1,0.5\n2,0.4\n", "epoch,train_loss\n1,0.3\n"]):
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "history.csv").write_text(text)
        network = Outcome(None, folder, {}, computed=True, seconds=1.0)
        task = SimpleNamespace(network=SimpleNamespace(seed=seed))
        outcomes.append(Outcome(task, folder, {}, True, 1.0, parents={"network": network}))
    table = tabulate_histories(outcomes, seed="network.seed")
    assert table.columns.tolist() == ["seed", "epoch", "train_loss", "validation_dice"]
    assert table[["seed", "epoch"]].to_numpy().tolist() == [[0, 1], [0, 2], [1, 1]]
    assert table["validation_dice"].isna().all()
    assert tabulate_histories([], seed="network.seed").columns.tolist() == [
        *("seed", "epoch", "validation_dice")
    ]


def make_scores(**dice_by_loss):
    """Scores of networks of which only Dice matters."""
    return pd.DataFrame(
        {"loss": loss, "seed": seed, **dict.fromkeys(SCORE_NAMES, 0.5), "dice": value}
        for loss, values in dice_by_loss.items()
        for seed, value in enumerate(values)
    )


def test_thesis_table_is_typed_right():
    """The means of the thesis' two columns, added up apart from the file."""
    assert THESIS["dice"].sum() == pytest.approx(9.869648, abs=1e-6)
    assert THESIS["perimetric_similarity"].sum() == pytest.approx(9.033906, abs=1e-6)


def test_losses_that_were_not_run_say_so():
    """Table 1 has all rows of the thesis' table, computed or not, and scores of the library."""
    assert SCORE_NAMES.keys() <= Scores.__dataclass_fields__.keys()
    scores = make_scores(dice=[0.9], bce=[0.90, 0.92]).assign(hausdorff95_m=np.nan)
    table = format_table1(scores, THESIS).set_index("Loss")
    assert len(table) == len(THESIS)
    assert table.loc["Dice", "Dice"] == "0.9000"
    assert table.loc["BCE", "Dice"] == "0.9100 ± 0.1271"  # t(.975, 1) .0141 / sqrt(2)
    assert table.loc["Dice", SCORE_NAMES["hausdorff95_m"]] == "–"  # not known, as on a time axis
    assert (table.drop(["Dice", "BCE"])["Dice"] == "not run").all()
    assert table.loc["MSE", "Thesis: Dice"] == "0.8249"
    marked = format_table1(scores, THESIS, bold={"dice": ["dice"]}).set_index("Loss")
    assert marked.loc["Dice", "Dice"] == "**0.9000**"
    assert marked.drop("Dice").equals(table.drop("Dice"))
