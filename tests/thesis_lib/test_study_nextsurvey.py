"""Tests of what is compared on a survey to come, and of its tables."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torch import nn

from thesis_lib._json import to_plain
from thesis_lib.chapters.parameters import load_profile
from thesis_lib.patches import Earths, Survey, SurveyChanges
from thesis_lib.study import Adapt, Ensemble, PredictSurvey, TrainRobust, run_all
from thesis_lib.study.claims import read_claims
from thesis_lib.study.nextsurvey import METHODS, plan_survey, score_claims, tabulate_survey
from thesis_lib.study.records import RECORD, read_records, write_records
from thesis_lib.study.robust import (
    STATISTICS,
    TRIED,
    TRIED_ROUGH,
    VARIANTS,
    ZOOMS,
    list_views,
    vary,
)
from thesis_lib.study.segmentation import SECTIONS, build_model, load_sections
from thesis_lib.study.surveys import _move_statistics
from thesis_lib.study.tables import ENTRY_NAMES
from thesis_lib.study.tasks import build_task
from thesis_lib.training import TrainConfig

ONE = TrainConfig(epochs=1, precision="32-true")
NETWORK = TrainRobust(
    0,
    "dice",
    Earths({"gulf": (20.0,)}, (16, 48, 48), watched=False),
    ONE,
    patch=(32, 32),
    stride=(16, 16),
    axes=("inline",),
    batch_size=4,
    n_patches=8,
    encoder="resnet18",
    changes=SurveyChanges(zoom=(0.5, 1.0)),
)
TARGET = Earths({"north_sea": (20.0,)}, (16, 48, 48))
PREDICTED = PredictSurvey(NETWORK, TARGET, "inline", (8, 9), (2, 14), zooms=(0.75, 1.0))
HOW = {"train": ONE, "n_batches": 2, "confidence": 0.5, "disagreement": 1.0}


def make_plan(**values):
    """A plan of two networks that differ in their loss."""
    networks = [replace(NETWORK, loss=loss) for loss in ("dice", "bce")]
    naive = replace(PREDICTED, zooms=(1.0,))
    fixed = {"n_rounds": 1, "labelled": (2,)} | HOW
    return plan_survey(naive, PREDICTED, networks, **(fixed | values))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """All methods of one survey and seed."""
    plan = make_plan()
    root = tmp_path_factory.mktemp("runs")
    return dict(zip(plan, run_all(plan.values(), root=root, progress=False), strict=True))


def test_each_method_goes_on_from_the_one_before():
    """Rounds learn from the round before, lines from the first networks."""
    plan = make_plan(n_rounds=2, labelled=(2, 14))
    assert list(plan) == ["naive", "ensemble", "round 1", "round 2", "1 line", "2 lines"]
    second = plan["round 2"].members[0].network
    assert (second.round, second.teacher) == (2, plan["round 1"])
    taught = plan["2 lines"].members[1].network
    assert isinstance(taught, Adapt)
    assert (taught.start, taught.labelled) == (plan["ensemble"].members[1].network, (2, 14))
    assert {*plan} | {"single", "home"} <= {*METHODS}


def test_only_named_lines_are_predicted_and_scored(outcomes):
    """Four of sixteen lines are predicted, two of them scored, whatever was learned."""
    for outcome in outcomes.values():
        assert [row["section"] for row in outcome.scores["sections"]] == [8, 9]
    target = PREDICTED.open_target()
    assert target["inline"].values.tolist() == [2, 8, 9, 14]


def test_a_table_has_the_mean_of_single_networks(outcomes):
    """Single is the mean of what the members of the first ensemble score."""
    table = tabulate_survey(outcomes, ["dice", "surface_dice"]).set_index("method")
    assert list(table.index) == ["naive", "single", "ensemble", "round 1", "1 line"]
    members = outcomes["ensemble"].scores["members"]
    assert table.loc["single", "dice"] == pytest.approx(np.mean(members))
    assert table["surface_dice"].isna().all()  # of times, without a velocity
    assert tabulate_survey({}, ["dice"]).columns.tolist() == ["method", "dice"]
    assert outcomes["round 1"].parents["members.0"].parents["network"].scores["used"] == 1.0


def test_records_refer_to_their_parents(outcomes, tmp_path):
    """Tasks within tasks are written once, and found as they were; of earths no section is kept."""
    write_records(tmp_path, outcomes.values())
    found = read_records(tmp_path)
    for outcome in outcomes.values():
        record = found[outcome.task.key]
        assert record.task == outcome.task
        assert record.scores == outcome.scores
        assert not (record.folder / SECTIONS).exists()
    path = found[outcomes["round 1"].task.key].folder / RECORD
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["fields"]["members"] == {"parents": ["members.0", "members.1"]}
    del content["parents"]["members.1"]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=r"Cannot read .*'members\.1'"):
        read_records(tmp_path)


def test_records_keep_the_section_that_figures_show(tmp_path):
    """Of a real survey the first line scored, by ensembles and plain networks of the first seed."""
    small = replace(NETWORK, encoder="test_resnet")
    wide = PredictSurvey(small, Survey("f3"), lines=(211, 231), others=(61,), zooms=(0.25, 0.5))
    both = Ensemble((wide, replace(wide, statistics=0.5)))
    other = replace(wide, network=replace(small, seed=1))
    of_seeds = Ensemble((wide, other))
    of_losses = Ensemble((wide, replace(wide, network=replace(small, loss="bce"))))
    tasks = [both, replace(wide, zooms=(1.0,))]
    runs = run_all([*tasks, of_seeds, of_losses], root=tmp_path / "runs", progress=False)
    write_records(tmp_path / "records", runs)
    found = read_records(tmp_path / "records")
    for run in runs[: len(tasks)]:
        kept = load_sections(found[run.task.key])["probability"]
        assert kept["crossline"].values.tolist() == [211]
        whole = load_sections(run)["probability"].sel(crossline=[211])
        assert np.allclose(kept, whole, atol=0.051)
    write_records(tmp_path / "copied", found.values())
    for path in (tmp_path / "records").glob(f"*/{SECTIONS}"):
        assert (tmp_path / "copied" / path.parent.name / SECTIONS).read_bytes() == path.read_bytes()
    for task in (wide, other, of_seeds, of_losses):
        assert not (found[task.key].folder / SECTIONS).exists()
    for profile in ("laptop", "study", "gpu"):  # otherwise its first seed is that of the cell
        values = load_profile(profile, Path(__file__).parents[2])["07_next_survey"]
        assert values.get("seeds", [0])[0] == 0


def test_networks_that_are_sure_of_nothing_learn_nothing(tmp_path):
    """Without a proxy label the weights stay as they are."""
    plan = make_plan(disagreement=0.0, labelled=())
    (found,) = run_all([plan["round 1"]], root=tmp_path, progress=False)
    adapted = found.parents["members.0"].parents["network"]
    assert adapted.scores == {"used": 0.0, "correct": None, "train_loss": None}
    before, after = (run.load_tensors("weights") for run in (adapted.parents["start"], adapted))
    assert all((before[name] == after[name]).all() for name in before)


def test_a_claim_about_earths_is_about_the_mean_of_both_kinds():
    """A kind that has not finished leaves its seed out; at home, real is what is known."""
    rows = [
        ("gulf", 0, "naive", 0.2),
        ("north_sea", 0, "naive", 0.4),
        ("f3", 0, "naive", 0.9),
        ("gulf", 1, "naive", 0.6),
        ("north_sea", 0, "home", 0.7),
    ]
    scores = pd.DataFrame(rows, columns=["survey", "seed", "method", "dice"])
    found = score_claims(scores, ["gulf", "north_sea"], "f3", ["north_sea"])
    expected = {("naive earths", 0): 0.3, ("naive real", 0): 0.9, ("home real", 0): 0.7}
    assert found.set_index(["entry", "seed"])["dice"].to_dict() == pytest.approx(expected)


def test_claims_speak_of_methods_that_exist():
    """Every entry of a claim about the next survey has a name."""
    claims = read_claims(task="next_survey")
    assert len(claims) == 8
    for claim in claims:
        assert {claim.subject, *claim.others} <= {*ENTRY_NAMES}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_changes_something(name):
    """One part less, or one more, which the task still has when it is read from a file."""
    whole = replace(NETWORK, changes=TRIED, augmentation=TRIED_ROUGH)
    varied = vary(whole, name)
    assert varied != whole
    assert build_task("TrainRobust", to_plain(varied)).key == varied.key


def test_a_flaw_is_added_to_others():
    """Of earths that have a flaw already, the variant has both."""
    once = vary(NETWORK, "multiples")
    assert vary(once, "drag at faults").data.flaws == {"multiples": 1.0, "drag": 1.0}


def test_the_study_predicts_as_segment_does():
    """Sizes and statistics of the profile are those of networks that were trained for elsewhere."""
    values = load_profile("study", Path(__file__).parents[2])["07_next_survey"]
    assert (tuple(values["zooms"]), values["statistics"]) == (ZOOMS, STATISTICS)


def test_an_unknown_variant_is_refused():
    """The message says what there is."""
    with pytest.raises(ValueError, match="Invalid variant 'less of all'"):
        vary(NETWORK, "less of all")


def test_networks_for_elsewhere_look_at_several_sizes():
    """Those that were shown windows of several sizes do; others see their patch."""
    model = nn.Identity()
    plain = replace(NETWORK, changes=SurveyChanges())
    assert list_views(model, plain) == [(model, plain)]
    views = list_views(model, NETWORK)
    assert [view.zoom for view, _ in views] == [*ZOOMS]
    assert [task.patch for _, task in views] == [(91, 91), (76, 76), (64, 64)]
    assert views[-1][1].stride == (32, 32)
    (half, same) = list_views(model, plain, (0.5, 1.0))
    assert (half[1].patch, same) == ((64, 64), (model, plain))


def test_lines_that_are_only_predicted_need_lines_to_score():
    """Others without lines say nothing."""
    with pytest.raises(ValueError, match=r"Invalid others \[3\] without lines"):
        PredictSurvey(NETWORK, TARGET, "inline", (), (3,))


@pytest.mark.parametrize(("patch", "moves"), [(16, True), (32, False)])
def test_statistics_move_to_the_survey_where_patches_fit(patch, moves):
    """No mask is needed, and no weight changes; sections that are too small leave all as it is."""
    volume = TARGET.open(0).drop_vars("salt")
    known = volume["crossline"] % 5 != 0  # no window of a patch without a missing trace
    volume["amplitude"] = volume["amplitude"].where(known)
    task = replace(NETWORK, patch=(patch, patch))
    network = build_model(task).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    _move_statistics(network, list_views(network, task), volume)
    changed = [
        name for name, value in network.state_dict().items() if (value != before[name]).any()
    ]
    assert bool(changed) is moves
    assert all("running" in name for name in changed)
