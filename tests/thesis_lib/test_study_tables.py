import numpy as np
import pandas as pd
import pytest

from thesis_lib.metrics import Scores
from thesis_lib.study.tables import SCORE_NAMES, format_table1, read_thesis_table

THESIS = read_thesis_table()


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
    assert table.loc["BCE", "Dice"] == "0.9100 ± 0.0141"  # of n - 1 seeds
    assert table.loc["Dice", SCORE_NAMES["hausdorff95_m"]] == "–"  # not known, as on a time axis
    assert (table.drop(["Dice", "BCE"])["Dice"] == "not run").all()
    assert table.loc["MSE", "Thesis: Dice"] == "0.8249"
