"""Tests of training and prediction: schedule, files, resuming, blending, missing traces."""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from noise import make_noise, make_volume
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from thesis_lib.training import (
    TrainConfig,
    fit,
    fitting,
    pick_precision,
    predict_patches,
    predict_volume,
    resolve_precision,
)
from thesis_lib.training.config import resolve_device

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (6, 20, 17)
CONFIG = TrainConfig(epochs=4, lr=1e-2, precision="32-true", accelerator="cpu")


class TinyBatches:
    """Three batches an epoch of noise whose sign is the target."""

    def __init__(self, *, n=3, kill_at=None):
        self.n, self.kill_at, self.asked = n, kill_at, []

    def __len__(self):
        return self.n

    def epoch(self, number):
        """Yield the batches of an epoch, and die on the way if told to."""
        self.asked.append(number)
        rng = np.random.default_rng(number)
        for index in range(self.n):
            if (number, index) == self.kill_at:
                self.die()
            images = torch.from_numpy(rng.standard_normal((4, 1, 8, 8), dtype=np.float32))
            yield images, (images > 0).float()

    def die(self):
        """End the run as ^C does."""
        raise KeyboardInterrupt


def make_line(slope, intercept):
    """A network whose logits are a straight line over the samples, one by one."""
    network = nn.Conv2d(1, 1, 1)
    nn.init.constant_(network.weight, slope)
    nn.init.constant_(network.bias, intercept)
    return network


def make_model(seed=0):
    """A few layers, with dropout and batch statistics, which a resumed run must get right too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv2d(4, 1, 1),
        )


def run(folder=None, *, model=None, batches=None, loss=bce, config=CONFIG, **options):
    """Train without a progress bar."""
    model = make_model() if model is None else model
    batches = TinyBatches() if batches is None else batches
    return fit(model, batches, loss, config, folder=folder, progress=False, **options)


def run_until(kill_at, folder, **options):
    """Train up to the batch (epoch, index) at which the run is killed; to the end if it is None."""
    with nullcontext() if kill_at is None else pytest.raises(KeyboardInterrupt):
        run(folder, batches=TinyBatches(kill_at=kill_at), **options)


def column(history, name):
    """Values of a history, epoch by epoch."""
    return [row[name] for row in history.rows]


def read_history(folder):
    """The columns of history.csv that depend on the run alone."""
    return pd.read_csv(folder / "history.csv").drop(columns="seconds")


def assert_same_weights(*folders):
    """The weights of both folders have the same bits under the same names."""
    first, second = (load_file(folder / "weights.safetensors") for folder in folders)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def left_alone(tmp_path):
    """Folder of a run that nobody disturbed."""
    folder = tmp_path / "left_alone"
    run(str(folder))
    return folder


# Settings


def test_a_config_refuses_values_out_of_range():
    """Each setting names what was given and what is allowed."""
    wrong = {"epochs": 0, "lr": float("nan"), "warmup": 0.95, "beta2": 1.0, "weight_decay": -1.0}
    wrong |= {"gradient_clip": 0.0, "precision": "16-mixed", "accelerator": "abacus"}
    for name, value in [*wrong.items(), ("lr", 0.0), ("warmup", 0.0)]:
        with pytest.raises(ValueError, match=f"Invalid {name} .* Must"):
            TrainConfig(**{name: value})
    with pytest.raises(ValueError, match=r"Invalid lr factor of 'head' -0\.1\. Must"):
        TrainConfig(lr_factors={"head": -0.1})


@pytest.mark.parametrize(("able", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_precision_follows_the_hardware(monkeypatch, able, expected):
    """Auto is bf16 on GPUs with bf16 and CPUs with AMX; a precision asked for is kept."""
    found = {"avx512_bf16": True, "amx_bf16": able}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: able)
    for name in ("cpu", "cuda"):
        assert pick_precision("auto", torch.device(name)) == expected
        assert pick_precision("32-true", torch.device(name)) == "32-true"
    assert pick_precision("auto", torch.device("meta")) == "32-true"
    assert resolve_precision(TrainConfig(accelerator="cpu")) == expected
    assert resolve_precision(replace(CONFIG, precision="bf16-mixed")) == "bf16-mixed"


@pytest.mark.parametrize(
    ("there", "accelerator", "expected"),
    [
        (None, "auto", "cpu"),
        ("cuda", "cpu", "cpu"),
        ("cuda", "auto", "cuda:0"),
        ("cuda", "cuda", "cuda:0"),
        ("mps", "gpu", "mps:0"),
        ("mps", "cuda", "has mps"),
        (None, "gpu", "has no accelerator"),
    ],
)
def test_the_device_is_one_that_the_machine_has(monkeypatch, there, accelerator, expected):
    """Auto takes the accelerator of the machine; one that it does not have is refused."""
    found = None if there is None else torch.device(there)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: found)
    config = TrainConfig(accelerator=accelerator)
    if expected.startswith("has"):
        with pytest.raises(ValueError, match=f"Invalid accelerator '{accelerator}'. .* {expected}"):
            resolve_device(config)
    else:
        assert resolve_device(config) == torch.device(expected)


# The loop


def test_the_learning_rate_goes_through_one_cycle():
    """The rate peaks at ``lr`` after the fraction ``warmup`` of the steps and ends near zero."""
    history = run(batches=TinyBatches(n=1), config=replace(CONFIG, epochs=41, warmup=0.25))
    rates = column(history, "lr")
    assert max(rates) == pytest.approx(CONFIG.lr, rel=0.02)
    assert int(np.argmax(rates)) == pytest.approx(0.25 * 41, abs=1)
    assert rates[0] == pytest.approx(CONFIG.lr / 25)
    assert rates[-1] == pytest.approx(CONFIG.lr / 25 / 1e4)
    for n_epochs in range(1, 6):  # the shortest runs have a schedule too
        config = replace(CONFIG, epochs=n_epochs)
        rates = column(run(batches=TinyBatches(n=1), config=config), "lr")
        assert len(rates) == n_epochs
        assert all(0 < rate <= CONFIG.lr for rate in rates)


def test_steps_are_those_of_adamw():
    """Two steps equal torch's AdamW at the rates of the history, with the gradient clipped."""
    model, reference = make_model(), make_model()
    del model[3], reference[3]
    config = replace(CONFIG, epochs=2, gradient_clip=0.1, beta2=0.5)
    rates = column(run(model=model, batches=TinyBatches(n=1), config=config), "lr")
    options = {"betas": (0.9, config.beta2), "weight_decay": config.weight_decay}
    optimizer = torch.optim.AdamW(reference.parameters(), **options)
    for epoch, optimizer.param_groups[0]["lr"] in enumerate(rates):
        images, targets = next(TinyBatches().epoch(epoch))
        optimizer.zero_grad()
        bce(reference(images), targets).backward()
        nn.utils.clip_grad_norm_(reference.parameters(), config.gradient_clip)
        optimizer.step()
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_each_epoch_has_a_row_with_the_scores_of_its_network(tmp_path):
    """history.csv and the history returned agree; validation finds the rows of earlier epochs."""
    weights, lengths, model = [], [], make_model()

    def validate(network):
        weights.append(network[0].weight.clone())
        lengths.append(len(read_history(tmp_path)) if lengths else 0)
        return {"validation_dice": 0.5}

    history = run(tmp_path, model=model, validate=validate)
    table = pd.read_csv(tmp_path / "history.csv")
    assert list(table) == ["epoch", "step", "lr", "train_loss", "validation_dice", "seconds"]
    assert len(history) == 4
    assert table["epoch"].tolist() == column(history, "epoch") == [1, 2, 3, 4]
    assert table["step"].tolist() == [3, 6, 9, 12]
    assert table["train_loss"].tolist() == column(history, "train_loss")
    assert lengths == [0, 1, 2, 3]
    assert not torch.equal(weights[0], weights[-1])
    assert torch.equal(weights[-1], model[0].weight)  # the last weights are the result
    assert torch.equal(weights[-1], load_file(tmp_path / "weights.safetensors")["0.weight"])


def test_bf16_changes_the_arithmetic_and_no_random_state_does():
    """Weights and logits stay float32, the result close; global states do not move or matter."""
    seen = []

    def loss(logits, targets):
        seen.append(logits.dtype)
        return bce(logits, targets)

    full, again, mixed = make_model(), make_model(), make_model()
    run(model=full)
    torch.rand(5)
    before = torch.get_rng_state()
    run(model=again)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(full[0].weight, again[0].weight)
    run(model=mixed, loss=loss, config=replace(CONFIG, precision="bf16-mixed"))
    assert set(seen) == {torch.float32}
    assert mixed[0].weight.dtype == torch.float32
    assert not torch.equal(full[0].weight, mixed[0].weight)
    torch.testing.assert_close(full[0].weight, mixed[0].weight, rtol=0.1, atol=0.02)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda loss: loss * float("nan"), "The loss is nan"),
        (lambda loss: loss * float("inf"), "The loss is inf"),
        (lambda loss: (loss * 0).sqrt(), "The gradient is nan"),  # of finite value, infinite slope
    ],
)
def test_what_is_no_number_stops_the_run(tmp_path, spoil, message):
    """The error names epoch and step; that step is not taken, and no weights are saved."""
    model, weights = make_model(), []

    def loss(logits, targets):
        weights.append(model[0].weight.detach().clone())
        value = bce(logits, targets)
        return spoil(value) if len(weights) == 5 else value

    with pytest.raises(FloatingPointError, match=rf"{message} at epoch 2, step 2\."):
        run(tmp_path, model=model, loss=loss)
    assert torch.equal(model[0].weight, weights[-1])
    assert not (tmp_path / "weights.safetensors").exists()


def test_batches_must_be_as_many_as_they_say():
    """An epoch that ends early would leave the schedule unfinished, one of none no network."""
    batches = TinyBatches(n=3)
    batches.epoch = TinyBatches(n=2).epoch
    with pytest.raises(RuntimeError, match=r"Epoch 1 has 2 batches\. Must be 3\."):
        run(batches=batches)
    with pytest.raises(ValueError, match=r"Invalid batches: there are none\. Must be at least one"):
        run(batches=TinyBatches(n=0))


# Learning rates that differ

FACTORS = {"0": 0.1, "1": 0.1, "1.bias": 0.0}


def test_a_factor_scales_the_step_of_its_parameters():
    """Adam's first step is a tenth as long for a factor of 0.1; a misspelt name is refused."""
    seen = [dict(make_model().named_parameters())]

    def keep(model):
        return seen.append({name: p.detach().clone() for name, p in model.named_parameters()}) or {}

    config = replace(CONFIG, epochs=2, lr=1.0, weight_decay=0.0, lr_factors=FACTORS)
    rate = run(batches=TinyBatches(n=1), config=config, validate=keep).rows[0]["lr"]
    steps = {name: (value - seen[0][name]).abs() for name, value in seen[1].items()}
    assert torch.equal(steps["1.bias"], torch.zeros(4))  # the longest name counts
    torch.testing.assert_close(steps["1.weight"], torch.full((4,), 0.1 * rate), rtol=1e-3, atol=0)
    torch.testing.assert_close(steps["4.bias"], torch.full((1,), rate), rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match=r"Invalid name 'haed' in lr_factors\. Must .*: 0, 1, 4\."):
        run(config=replace(CONFIG, lr_factors={"haed": 0.1}))


# Resuming


@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, lr_factors=FACTORS)])
@pytest.mark.parametrize("kill_at", [(0, 1), (1, 0), (2, 2), (3, 2)])
def test_a_killed_run_ends_as_if_left_alone(tmp_path, config, kill_at):
    """Wherever a run is killed, resuming it gives the same weights, bit for bit, and history."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, config=config)
    run_until(kill_at, killed, config=config)
    assert (killed / "resume.safetensors").exists() == (kill_at[0] > 0)
    batches = TinyBatches()
    history = run(killed, config=config, batches=batches, model=make_model(9 if kill_at[0] else 0))
    assert batches.asked == list(range(kill_at[0], 4))  # no batch of a finished epoch
    assert_same_weights(killed, whole)
    pd.testing.assert_frame_equal(read_history(killed), read_history(whole), check_exact=True)
    assert column(history, "train_loss") == read_history(whole)["train_loss"].tolist()
    assert sorted(path.name for path in killed.iterdir()) == ["history.csv", "weights.safetensors"]


def test_a_kill_while_writing_leaves_the_last_epoch(tmp_path, left_alone):
    """A half-written temporary file is of no consequence: the old state is replaced in one step."""
    folder = tmp_path / "killed"
    run_until((2, 0), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    (folder / ".resume.safetensors.partial").write_bytes(b"half")
    run(folder)
    assert_same_weights(folder, left_alone)
    assert not list(folder.glob(".*"))


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import TinyBatches, run
TinyBatches.die = lambda _: os.kill(os.getpid(), signal.SIGKILL)
run(Path({folder!r}), batches=TinyBatches(kill_at=(2, 1)))
"""


def test_a_run_killed_by_the_system_ends_as_if_left_alone(tmp_path, left_alone):
    """The same after SIGKILL, which no code of the process survives."""
    folder = tmp_path / "killed"
    script = SCRIPT.format(tests=str(Path(__file__).parent), folder=str(folder))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(read_history(folder)) == 2
    run(folder)
    assert_same_weights(folder, left_alone)


def test_a_finished_run_is_not_repeated(left_alone, monkeypatch):
    """A second call loads weights and history, and moves the network to the device of a run."""
    model, batches = make_model(seed=9), TinyBatches()
    before = (left_alone / "weights.safetensors").stat().st_mtime_ns
    history = run(left_alone, model=model, batches=batches)
    assert batches.asked == []
    assert (left_alone / "weights.safetensors").stat().st_mtime_ns == before
    assert torch.equal(model[0].weight, load_file(left_alone / "weights.safetensors")["0.weight"])
    assert column(history, "seconds") == pd.read_csv(left_alone / "history.csv")["seconds"].tolist()
    assert all(type(row["step"]) is int for row in history.rows)
    monkeypatch.setattr(fitting, "resolve_device", lambda _config: torch.device("meta"))
    run(left_alone, model=model)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("damage", [b"", b"torn"])
@pytest.mark.parametrize(("name", "kill_at"), [("resume", (2, 1)), ("weights", None)])
def test_a_damaged_file_is_an_error(tmp_path, name, kill_at, damage):
    """Files are replaced in one step, so a damaged one was damaged later: nobody guesses why."""
    run_until(kill_at, tmp_path)
    path = tmp_path / f"{name}.safetensors"
    path.write_bytes(damage and path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf"Cannot read .*{name}\.safetensors: .* delete it"):
        run(tmp_path)


@pytest.mark.parametrize("kill_at", [(2, 1), None])
def test_a_folder_belongs_to_one_configuration(tmp_path, kill_at):
    """Neither state nor weights of another configuration are taken for this one's."""
    run_until(kill_at, tmp_path)
    with pytest.raises(ValueError, match=r"belongs to a run with config .* one with .* Must be"):
        run(tmp_path, config=replace(CONFIG, lr=5e-3))
    save_file({"0.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"belongs to a run with config None"):
        run(tmp_path)


# Prediction


def predict(model, volume=None, **options):
    """Predict a volume, of noise if none is given, with small patches in full precision."""
    settings = {"patch": (8, 5), "stride": (4, 3), "axes": ("inline",), "precision": "32-true"}
    volume = make_volume(SHAPE) if volume is None else volume
    return predict_volume(model, volume, **(settings | options))


@pytest.mark.parametrize("axes", [("inline",), ("crossline",), ("inline", "crossline")])
def test_a_constant_logit_is_a_constant_probability(axes):
    """Logit log 3 is probability 3/4 at every sample, however patches overlap."""
    predicted = predict(make_line(0, np.log(3)), axes=axes)["probability"]
    assert predicted.dims == ("inline", "crossline", "depth")
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, 0.75, rtol=1e-6)


@pytest.mark.parametrize("axis", ["inline", "crossline"])
@pytest.mark.parametrize("vertical_dim", ["depth", "time"])
def test_sections_keep_their_position(axis, vertical_dim):
    """The identity as network gives the sigmoid of each z-scored section, sample by sample."""
    volume = make_volume(SHAPE, vertical_dim=vertical_dim)
    amplitude = volume["amplitude"]
    section = (vertical_dim, "crossline" if axis == "inline" else "inline")
    shape = tuple(volume.sizes[dim] for dim in section)
    predicted = predict(make_line(1, 0), volume, axes=(axis,), patch=shape, stride=shape)
    scores = (amplitude - amplitude.mean(section)) / amplitude.std(section)
    expected = (1 / (1 + np.exp(-scores))).transpose(*amplitude.dims)
    np.testing.assert_allclose(predicted["probability"], expected, rtol=1e-4)
    assert predicted["probability"].coords.equals(amplitude.coords)
    assert "disagreement" not in predicted


def test_patches_have_depth_downward():
    """The network sees (B, 1, depth, lateral): a ramp over depth grows along the rows."""
    volume, seen = make_volume((3, 10, 12)), []
    volume["amplitude"] = 0 * volume["amplitude"] + np.arange(12)
    model = make_line(0, 0)
    model.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    predict(model, volume, axes=("inline", "crossline"), patch=(8, 3))
    patches = torch.cat(seen)
    assert patches.shape[1:] == (1, 8, 3)
    assert (patches.diff(dim=2) > 0).all()
    assert (patches.diff(dim=3) == 0).all()


def test_two_directions_are_averaged_and_compared():
    """Probability is the mean of the directions, disagreement their absolute difference."""
    model, volume = make_model(), make_volume(SHAPE)
    inline, crossline, both = (
        predict(model, volume, axes=axes)
        for axes in (["inline"], ["crossline"], ["inline", "crossline"])
    )
    inline, crossline = inline["probability"], crossline["probability"]
    np.testing.assert_allclose(both["probability"], (inline + crossline) / 2, rtol=1e-5)
    np.testing.assert_allclose(both["disagreement"], abs(inline - crossline), atol=1e-6)
    assert both["disagreement"].max() > 0


def test_neither_batches_nor_bf16_matter_much():
    """Patches are predicted one by one in effect; bf16 has 8 bits and agrees to about 1 %."""
    model = make_model()
    one, many, mixed = (
        predict(model, **options)["probability"]
        for options in ({"batch_size": 1}, {"batch_size": 1000}, {"precision": "bf16-mixed"})
    )
    np.testing.assert_allclose(one, many, rtol=1e-5)
    assert 0 < abs(one - mixed).max() < 0.02


def test_missing_traces_have_no_probability():
    """A missing trace is NaN in the result; elsewhere it acts as a trace of zeros."""
    holes = make_volume(SHAPE, missing=[(2, slice(3, 5))])
    expected, found = (
        predict(make_model(), volume, axes=("inline", "crossline"))
        for volume in (holes.fillna(0), holes)
    )
    missing = np.isnan(holes["amplitude"].values)
    for name in ("probability", "disagreement"):
        assert np.array_equal(np.isnan(found[name].values), missing)
        filled = found[name].fillna(expected[name])
        np.testing.assert_allclose(filled, expected[name], rtol=1e-4, atol=1e-6)


def test_prediction_leaves_the_network_as_it_was():
    """Every part keeps its own mode, statistics and gradients; also after an error."""
    model = make_model()
    model[1].eval()
    statistics = model[1].running_mean.clone()
    modes = [module.training for module in model.modules()]
    predict(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(model[1].running_mean, statistics)
    assert model[0].weight.grad is None
    model[4] = nn.Conv2d(7, 1, 1)
    with pytest.raises(RuntimeError, match="channels"):
        predict(model)
    assert [module.training for module in model.modules()] == modes


def test_patches_are_predicted_in_eval_mode():
    """The logits are those of the network at rest, whatever the batch size; it keeps its mode."""
    model, images = make_model().train(), make_noise(5, 1, 8, 8)
    found = [predict_patches(model, images, batch_size=n, precision="32-true") for n in (2, 64)]
    assert model.training
    assert not found[0].is_inference()
    with torch.no_grad():
        expected = model.eval()(images)
    for logits in found:
        torch.testing.assert_close(logits, expected)
    with pytest.raises(ValueError, match="Invalid images of shape"):
        predict_patches(model, images[:0])


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_one_line(capsys, monkeypatch, terminal):
    """A bar counts batches on one line of a terminal where it is asked for; else nothing is."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    predict(make_line(0, 0), progress=False)
    assert capsys.readouterr().err == ""
    predict(make_line(0, 0), progress=True)
    assert capsys.readouterr().err.count("\n") == terminal
    fit(make_model(), TinyBatches(), bce, CONFIG, progress=True)
    shown = capsys.readouterr().err
    assert shown.count("\n") == terminal
    assert ("12/12" in shown) == terminal


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": (137, 5)}, r"Invalid patch \(137, 5\) for the 6 sections along inline"),
        ({"axes": ()}, r"Invalid axes \(\)"),
        ({"batch_size": 0}, "Invalid batch_size 0"),
        ({"precision": "64-true"}, "Invalid precision '64-true'"),
    ],
)
def test_prediction_refuses_what_does_not_fit(options, message):
    """Patches larger than the sections, unknown directions and other slips get a clear error."""
    with pytest.raises(ValueError, match=message):
        predict(make_line(0, 0), **options)
