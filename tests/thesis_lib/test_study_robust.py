"""Tests of networks for the next survey, alone, in ensembles and adapted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from thesis_lib.patches import Earths, SurveyChanges
from thesis_lib.study import Adapt, Ensemble, PredictSurvey, Train, TrainRobust, run_all
from thesis_lib.study.robust import _Average
from thesis_lib.study.saltnet import load_network, proxy_loss
from thesis_lib.study.segmentation import load_sections
from thesis_lib.study.tasks import read_tasks, write_tasks
from thesis_lib.training import TrainConfig

CONFIG = TrainConfig(epochs=2, precision="32-true")
ROBUST = TrainRobust(
    0,
    "dice",
    Earths({"gulf": (20.0,)}, (16, 48, 48), watched=False),
    CONFIG,
    patch=(32, 32),
    stride=(16, 16),
    axes=("inline",),
    batch_size=4,
    n_patches=8,
    changes=SurveyChanges(free=True, zoom=(2 / 3, 1.5), phase_deg=45.0),
)
TARGET = Earths({"north_sea": (20.0,)}, (16, 48, 48))


def predict(network, **values):
    """Prediction of three inlines of another preset."""
    fixed = {"n_sections": 3, "velocity_m_s": 2000.0}
    return PredictSurvey(network, TARGET, "inline", **(fixed | values))


PAIR = Ensemble((predict(ROBUST), predict(replace(ROBUST, encoder="resnet18"))))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two networks, their ensemble, and a network that learned from it."""
    root = tmp_path_factory.mktemp("runs")
    other = replace(ROBUST, encoder="resnet18")
    ensemble = Ensemble((predict(ROBUST), predict(other)))
    adapted = Adapt(ROBUST, ensemble, confidence=0.5, disagreement=1.0, train=CONFIG, n_batches=2)
    taught = replace(adapted, labelled=(int(predict(ROBUST).open_target()["inline"][0]),))
    tasks = [ensemble, predict(adapted), predict(taught)]
    return root, dict(
        zip(
            ("ensemble", "adapted", "taught"),
            run_all(tasks, root=root, progress=False),
            strict=True,
        )
    )


def test_no_change_trains_as_the_plain_task(tmp_path):
    """Without changes, the weights are those of `Train` bit by bit."""
    plain = Train(*(getattr(ROBUST, name) for name in ("seed", "loss", "data", "train")))
    plain = replace(
        plain, patch=(32, 32), stride=(16, 16), axes=("inline",), batch_size=4, n_patches=8
    )
    robust = replace(ROBUST, changes=SurveyChanges())
    found = run_all([plain, robust], root=tmp_path, progress=False)
    first, second = (each.load_tensors("weights") for each in found)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert plain.key != robust.key


@pytest.mark.parametrize("n_calls", [None, 1, 2])
def test_averaged_weights_are_the_mean_of_epochs(tmp_path, monkeypatch, n_calls):
    """The mean of the last two of three epochs is kept, also by a run that was killed."""
    task = replace(ROBUST, n_averaged=2, train=replace(CONFIG, epochs=3))
    take_in, seen = _Average.__call__, []

    def watch(average, model):
        if len(seen) == n_calls:
            seen.append(None)
            raise KeyboardInterrupt
        seen.append(model.merger.weight.detach().clone())
        return take_in(average, model)

    monkeypatch.setattr(_Average, "__call__", watch)
    if n_calls:
        with pytest.raises(KeyboardInterrupt):
            run_all([task], root=tmp_path, progress=False)
    (outcome,) = run_all([task], root=tmp_path, progress=False)
    epochs = [weight for weight in seen if weight is not None]
    assert len(epochs) == 3
    found = outcome.load_tensors("weights")["merger.weight"]
    assert torch.allclose(found, (epochs[1] + epochs[2]) / 2, atol=1e-7)
    (outcome.folder / "scores.json").unlink()  # killed before the scores
    (again,) = run_all([task], root=tmp_path, progress=False)
    assert torch.equal(again.load_tensors("weights")["merger.weight"], found)


def test_a_prediction_is_scored_section_by_section(runs):
    """Means are those of the sections; each score lies in its range."""
    _, found = runs
    scores = found["adapted"].scores
    assert len(scores["sections"]) == 3
    assert len(found["taught"].scores["sections"]) == 2  # not the line that it was taught
    for name in ("dice", "surface_dice", "calibration_error"):
        values = [row[name] for row in scores["sections"]]
        assert scores[name] == pytest.approx(np.mean(values))
        assert 0 <= min(values) <= max(values) <= 1


def test_an_ensemble_is_the_mean_of_its_members(runs):
    """Probability and disagreement are mean and standard deviation over the members."""
    _, found = runs
    outcome = found["ensemble"]
    members = [load_sections(each)["probability"] for each in outcome.parents.values()]
    sections = load_sections(outcome)
    assert np.allclose(sections["probability"], (members[0] + members[1]) / 2, atol=1e-6)
    assert np.allclose(sections["disagreement"], abs(members[0] - members[1]) / 2, atol=1e-6)
    assert outcome.scores["members"] == [each.scores["dice"] for each in outcome.parents.values()]
    assert 0 <= outcome.scores["disagreement_auc"] <= 1


def test_adapting_goes_on_from_the_network(runs):
    """Proxies or true lines give other weights, and the fraction of samples that had a label."""
    _, found = runs
    adapted, taught = (found[name].parents["network"] for name in ("adapted", "taught"))
    start = adapted.parents["start"]
    weights = [load_network(each).merger.weight for each in (start, adapted, taught)]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    assert adapted.scores["used"] == 1.0  # sure at one half, whatever the disagreement
    assert taught.scores["used"] == pytest.approx(1 / 3)
    assert taught.scores["correct"] == 1.0
    assert (adapted.task.round, adapted.task.seed) == (1, 0)


def test_tasks_survive_being_written(runs, tmp_path):
    """A chapter reads what another wrote, rounds within rounds."""
    _, found = runs
    second = replace(
        found["adapted"].task,
        network=replace(found["adapted"].task.network, start=found["adapted"].task.network),
    )
    write_tasks(tmp_path / "tasks.json", [second, found["ensemble"].task])
    assert read_tasks(tmp_path / "tasks.json") == [second, found["ensemble"].task]
    assert second.network.round == 2


def test_proxy_loss_counts_weighted_pixels_only():
    """At logit 0 every counted pixel costs log 2; where nothing counts, nothing is lost."""
    target = torch.zeros(2, 2, 4, 4)
    logits = torch.zeros(2, 1, 4, 4)
    assert proxy_loss(logits, target) == 0
    target[0, 1, :2] = 1
    logits[1] = 50.0  # wrong, and does not count
    assert proxy_loss(logits, target).item() == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(ROBUST, n_averaged=3), "Invalid n_averaged 3"),
        (lambda: Ensemble((predict(ROBUST),)), "Invalid members of an ensemble"),
        (
            lambda: Ensemble((predict(ROBUST), replace(predict(ROBUST), n_sections=2))),
            "Invalid members of an ensemble",
        ),
        (
            lambda: Ensemble((predict(ROBUST), predict(replace(ROBUST, seed=1)))),
            "Invalid members of an ensemble",
        ),
        (lambda: predict(ROBUST, zooms=(0.0,)), "Invalid zoom 0"),
        (lambda: predict(ROBUST, velocity_m_s=0.0), "Invalid velocity_m_s 0"),
        (
            lambda: Adapt(ROBUST, PAIR, labelled=(99,)).check(),
            r"Invalid labelled lines \[99\]",
        ),
        (
            lambda: predict(Adapt(ROBUST, PAIR, labelled=(1,)), lines=(1,)).check(),
            r"Invalid lines \[1\]\. Must not be learned from",
        ),
        (lambda: predict(ROBUST, statistics=2.0), "Invalid statistics 2"),
        (lambda: predict(ROBUST, lines=(99,)).check(), r"Invalid lines \[99\]"),
    ],
)
def test_bad_values_are_refused(make, message):
    """An error says what was given and what is allowed."""
    with pytest.raises(ValueError, match=message):
        make()
