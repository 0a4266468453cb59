"""Tests of training and prediction: schedule, files, resuming, blending, missing traces."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from thesis_lib._volume import build_volume
from thesis_lib.training import (
    History,
    TrainConfig,
    fit,
    fitting,
    pick_precision,
    predict_patches,
    predict_volume,
    resolve_precision,
)

CONFIG = TrainConfig(epochs=4, lr=1e-2, precision="32-true", accelerator="cpu")


class TinyBatches:
    """Three batches an epoch of noise whose sign is the target."""

    def __init__(self, *, n=3, kill_at=None):
        self.n, self.kill_at = n, kill_at

    def __len__(self):
        return self.n

    def epoch(self, number):
        """Yield the batches of an epoch, and die on the way if told to."""
        rng = np.random.default_rng(number)
        for index in range(self.n):
            if (number, index) == self.kill_at:
                raise KeyboardInterrupt
            images = torch.from_numpy(rng.standard_normal((4, 1, 8, 8), dtype=np.float32))
            yield images, (images > 0).float()


class Constant(nn.Module):
    """The same logit everywhere, with a parameter that holds the device."""

    def __init__(self, logit):
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(float(logit)))

    def forward(self, x):
        """Logits of the shape of the patches."""
        return self.logit.expand(x.shape)


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


def make_volume(amplitude, **options):
    """A volume of given samples with lines numbered from 1."""
    n_inline, n_crossline, n_vertical = np.shape(amplitude)
    return build_volume(
        amplitude,
        inline=np.arange(1, n_inline + 1),
        crossline=np.arange(1, n_crossline + 1),
        vertical=np.arange(n_vertical) * 10.0,
        **options,
    )


def make_noise(shape=(6, 20, 17), seed=0):
    """Normal noise."""
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def run(folder=None, *, model=None, batches=None, config=CONFIG, **options):
    """Train without a progress bar."""
    return fit(
        make_model() if model is None else model,
        TinyBatches() if batches is None else batches,
        options.pop("loss", bce),
        config,
        folder=folder,
        progress=False,
        **options,
    )


def assert_same_weights(first, second):
    """Both files hold the same bits under the same names."""
    first, second = load_file(first), load_file(second)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny networks run faster on one thread, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def left_alone(tmp_path):
    """Folder of a run that nobody disturbed."""
    folder = tmp_path / "left_alone"
    run(folder)
    return folder


# Settings


def test_a_config_survives_json():
    """A configuration is plain values: writing and reading it as JSON gives it back."""
    config = TrainConfig(epochs=3, lr=1e-3, precision="32-true", lr_factors={"head": 0.5})
    assert TrainConfig(**json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("lr", 0.0),
        ("lr", float("nan")),
        ("warmup", 0.0),
        ("warmup", 0.95),
        ("beta2", 1.0),
        ("weight_decay", -1.0),
        ("gradient_clip", 0.0),
        ("precision", "16-mixed"),
        ("accelerator", "abacus"),
        ("devices", 0),
        ("lr_factors", {"head": -0.1}),
    ],
)
def test_a_config_refuses_values_out_of_range(name, value):
    """Each setting says what was given and what is allowed."""
    said = {"lr_factors": "lr factor of 'head'"}.get(name, name)
    with pytest.raises(ValueError, match=f"Invalid {said} .* Must"):
        TrainConfig(**{name: value})


def test_auto_precision_follows_the_hardware(monkeypatch):
    """On CPU, bf16 is chosen exactly where the processor has instructions for it."""
    cpu = torch.device("cpu")
    for able, expected in [("avx512_bf16", "bf16-mixed"), ("avx2", "32-true")]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {able: True})
        assert pick_precision("auto", cpu) == expected
    assert pick_precision("32-true", cpu) == "32-true"
    assert pick_precision("auto", torch.device("meta")) == "32-true"


def test_auto_precision_on_a_gpu_asks_the_gpu(monkeypatch):
    """On CUDA, bf16 is chosen where the GPU computes in it."""
    for able, expected in [(True, "bf16-mixed"), (False, "32-true")]:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able, **_: able)
        assert pick_precision("auto", torch.device("cuda")) == expected


def test_a_config_resolves_to_the_precision_of_its_device(monkeypatch):
    """Auto means what the processor is good at; a precision asked for is kept."""
    for able, expected in [("avx512_bf16", "bf16-mixed"), ("avx2", "32-true")]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {able: True})
        assert resolve_precision(TrainConfig(accelerator="cpu")) == expected
    assert resolve_precision(replace(CONFIG, precision="bf16-mixed")) == "bf16-mixed"


# The loop


def test_training_learns_what_a_network_can_express():
    """The target is the sign of the input: the loss falls far below log 2, that of not knowing."""
    history = run(config=replace(CONFIG, epochs=40, lr=0.1))
    assert history.column("train_loss")[-1] < 0.3 < np.log(2)


def test_the_learning_rate_goes_through_one_cycle():
    """The rate peaks at ``lr`` after the share ``warmup`` of the steps and ends near zero."""
    history = run(batches=TinyBatches(n=1), config=replace(CONFIG, epochs=41, warmup=0.25))
    rates = history.column("lr")
    assert max(rates) == pytest.approx(CONFIG.lr, rel=0.02)
    assert int(np.argmax(rates)) == pytest.approx(0.25 * 41, abs=1)
    assert rates[0] == pytest.approx(CONFIG.lr / 25)
    assert rates[-1] == pytest.approx(CONFIG.lr / 25 / 1e4)


@pytest.mark.parametrize("n_epochs", [1, 2, 3, 4, 5])
def test_the_shortest_runs_have_a_schedule(n_epochs):
    """One to five steps in all go through the cycle without an error."""
    rates = run(batches=TinyBatches(n=1), config=replace(CONFIG, epochs=n_epochs)).column("lr")
    assert len(rates) == n_epochs
    assert all(0 < rate <= CONFIG.lr for rate in rates)


def test_steps_are_those_of_adamw():
    """Two steps equal torch's AdamW at the rates of the history, with the gradient clipped."""
    model, reference = make_model(), make_model()
    del model[3], reference[3]
    config = replace(CONFIG, epochs=2, gradient_clip=0.1, beta2=0.5)
    rates = run(model=model, batches=TinyBatches(n=1), config=config).column("lr")
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


def test_the_gradient_is_clipped():
    """A loss a million times as large moves the weights by no more: its gradient has norm 1."""
    seen = []

    def loss(logits, targets):
        model.zero_grad()
        return 1e6 * bce(logits, targets)

    model = make_model()
    model[0].weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.norm()))
    step = torch.optim.AdamW.step
    norms = []

    def record(self, *args, **kwargs):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(nn.utils.get_total_norm(gradients).item())
        return step(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", record)
        run(model=model, loss=loss)
    assert max(seen) > 1e3
    np.testing.assert_allclose(norms, CONFIG.gradient_clip, rtol=1e-4)


def test_the_history_counts_epochs_and_steps(tmp_path):
    """history.csv and the history returned hold one equal row an epoch, scores included."""
    history = run(tmp_path, validate=lambda _model: {"validation_dice": 0.5})
    table = pd.read_csv(tmp_path / "history.csv")
    columns = ["epoch", "step", "lr", "train_loss", "validation_dice", "seconds"]
    assert list(table) == columns
    assert len(history) == 4
    assert table["epoch"].tolist() == history.column("epoch") == [1, 2, 3, 4]
    assert table["step"].tolist() == [3, 6, 9, 12]
    assert table["train_loss"].tolist() == history.column("train_loss")


def test_validation_sees_the_network_of_each_epoch(tmp_path):
    """After each epoch the callable gets the network itself; the last weights are the result."""
    seen = []
    model = make_model()
    run(tmp_path, model=model, validate=lambda m: seen.append(m[0].weight.clone()) or {})
    assert len(seen) == 4
    assert not torch.equal(seen[0], seen[-1])
    assert torch.equal(seen[-1], load_file(tmp_path / "weights.safetensors")["0.weight"])
    assert torch.equal(seen[-1], model[0].weight)


def test_history_is_there_after_every_epoch(tmp_path):
    """A reader of history.csv sees every finished epoch while the run goes on."""
    lengths = []

    def validate(_model):
        path = tmp_path / "history.csv"
        lengths.append(len(pd.read_csv(path)) if path.exists() else 0)
        return {}

    run(tmp_path, validate=validate)
    assert lengths == [0, 1, 2, 3]


def test_an_unknown_column_is_refused():
    """A history names the columns that it has."""
    with pytest.raises(ValueError, match=r"Invalid column 'dice'\. Must be one of: epoch, lr"):
        History(({"epoch": 1, "lr": 0.1},)).column("dice")


def test_training_leaves_global_random_states():
    """Dropout draws from the number of the epoch, so no global state moves or matters."""
    first, second = make_model(), make_model()
    run(model=first)
    torch.rand(5)
    before = torch.get_rng_state()
    run(model=second)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first[0].weight, second[0].weight)


def test_bf16_changes_the_arithmetic_but_not_the_weights_type():
    """Under bf16 autocast weights and logits stay float32, and the result stays close."""
    seen = []

    def loss(logits, targets):
        seen.append(logits.dtype)
        return bce(logits, targets)

    full, mixed = make_model(), make_model()
    run(model=full)
    run(model=mixed, loss=loss, config=replace(CONFIG, precision="bf16-mixed"))
    assert set(seen) == {torch.float32}
    assert mixed[0].weight.dtype == torch.float32
    assert not torch.equal(full[0].weight, mixed[0].weight)
    torch.testing.assert_close(full[0].weight, mixed[0].weight, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, value):
    """The error names epoch and step, and no broken weights are left behind."""

    def loss(logits, targets):
        calls.append(1)
        return bce(logits, targets) * (value if len(calls) == 5 else 1.0)

    calls = []
    with pytest.raises(FloatingPointError, match=rf"The loss is {value} at epoch 2, step 2\."):
        run(tmp_path, loss=loss)
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_gradient_that_is_no_number_stops_the_run():
    """sqrt(0) has a finite value and an infinite slope: the weights are not touched by it."""

    def loss(logits, _targets):
        return (logits * 0).sqrt().mean()

    model = make_model()
    with pytest.raises(FloatingPointError, match=r"The gradient is nan at epoch 1, step 1\."):
        run(model=model, loss=loss)
    assert torch.equal(model[0].weight, make_model()[0].weight)


def test_batches_must_be_as_many_as_they_say():
    """An epoch that ends early would leave the schedule unfinished."""
    batches = TinyBatches(n=3)
    batches.epoch = TinyBatches(n=2).epoch
    with pytest.raises(RuntimeError, match=r"Epoch 1 has 2 batches\. Must be 3\."):
        run(batches=batches)


def test_no_batches_are_refused():
    """Nothing to train on is an error, not an untrained network."""
    with pytest.raises(ValueError, match=r"0 batches for 1 device\(s\)\. Must be at least one"):
        run(batches=TinyBatches(n=0))


# Learning rates that differ

FACTORS = {"0": 0.1, "1": 0.1, "1.bias": 0.0}


def test_factors_of_one_change_no_bit(tmp_path, left_alone):
    """Named or not, parameters with factor 1 end where one learning rate takes them."""
    run(tmp_path, config=replace(CONFIG, lr_factors={"": 1.0}))
    assert_same_weights(tmp_path / "weights.safetensors", left_alone / "weights.safetensors")


def test_a_factor_scales_the_step_of_its_parameters():
    """Adam's first step is as long as the learning rate: a tenth of it for a factor of 0.1."""
    seen = [dict(make_model().named_parameters())]

    def keep(model):
        return seen.append({name: p.detach().clone() for name, p in model.named_parameters()}) or {}

    config = replace(CONFIG, epochs=2, lr=1.0, weight_decay=0.0, lr_factors=FACTORS)
    rate = run(batches=TinyBatches(n=1), config=config, validate=keep).column("lr")[0]
    steps = {name: (value - seen[0][name]).abs() for name, value in seen[1].items()}
    assert torch.equal(steps["1.bias"], torch.zeros(4))  # the longest name counts
    torch.testing.assert_close(steps["1.weight"], torch.full((4,), 0.1 * rate), rtol=1e-3, atol=0)
    torch.testing.assert_close(steps["4.bias"], torch.full((1,), rate), rtol=1e-3, atol=0)


def test_a_killed_run_with_several_rates_ends_as_if_left_alone(tmp_path):
    """Moments and rates of all groups are taken up again, bit for bit."""
    config = replace(CONFIG, lr_factors=FACTORS)
    run(tmp_path / "whole", config=config)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", config=config, batches=TinyBatches(kill_at=(2, 1)))
    run(tmp_path / "killed", config=config, model=make_model(seed=9))
    weights = (tmp_path / name / "weights.safetensors" for name in ("whole", "killed"))
    assert_same_weights(*weights)


def test_a_factor_of_nothing_is_refused():
    """A misspelt name would leave the learning rate as it is."""
    with pytest.raises(ValueError, match=r"Invalid name 'haed' in lr_factors\. Must .* 0, 1, 4\."):
        run(config=replace(CONFIG, lr_factors={"haed": 0.1}))


# Resuming


@pytest.mark.parametrize("kill_at", [(0, 1), (1, 0), (2, 2), (3, 2)])
def test_a_killed_run_ends_as_if_left_alone(tmp_path, left_alone, kill_at):
    """Wherever a run is killed, resuming it gives the same weights, bit for bit, and history."""
    folder = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        run(folder, batches=TinyBatches(kill_at=kill_at))
    assert (folder / "resume.safetensors").exists() == (kill_at[0] > 0)
    history = run(folder, model=make_model(seed=9 if kill_at[0] else 0))
    assert_same_weights(folder / "weights.safetensors", left_alone / "weights.safetensors")
    expected = pd.read_csv(left_alone / "history.csv").drop(columns="seconds")
    found = pd.read_csv(folder / "history.csv").drop(columns="seconds")
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert history.column("train_loss") == expected["train_loss"].tolist()
    assert sorted(path.name for path in folder.iterdir()) == ["history.csv", "weights.safetensors"]


def test_only_unfinished_epochs_are_repeated(tmp_path):
    """A resumed run asks for no batch of a finished epoch."""
    asked = []
    batches = TinyBatches()
    epoch = batches.epoch
    batches.epoch = lambda number: asked.append(number) or epoch(number)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, batches=TinyBatches(kill_at=(2, 1)))
    run(tmp_path, batches=batches)
    assert asked == [2, 3]


def test_a_kill_while_writing_leaves_the_last_epoch(tmp_path, left_alone):
    """A half-written temporary file is of no consequence: the old state is replaced in one step."""
    folder = tmp_path / "killed"

    def fail(*_args, **_kwargs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, batches=TinyBatches(kill_at=(2, 0)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    (folder / ".resume.safetensors.partial").write_bytes(b"half")
    run(folder)
    assert_same_weights(folder / "weights.safetensors", left_alone / "weights.safetensors")
    assert not list(folder.glob(".*"))


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_training import TinyBatches, run

class Deadly(TinyBatches):
    def epoch(self, number):
        for index, batch in enumerate(super().epoch(number)):
            if (number, index) == (2, 1):
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

run(Path({folder!r}), batches=Deadly())
"""


def test_a_run_killed_by_the_system_ends_as_if_left_alone(tmp_path, left_alone):
    """The same after SIGKILL, which no code of the process survives."""
    folder = tmp_path / "killed"
    script = SCRIPT.format(tests=str(Path(__file__).parent), folder=str(folder))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(pd.read_csv(folder / "history.csv")) == 2
    run(folder)
    assert_same_weights(folder / "weights.safetensors", left_alone / "weights.safetensors")


def test_a_finished_run_is_not_repeated(left_alone):
    """A second call loads the weights and returns the stored history, seconds included."""
    model, asked = make_model(seed=9), []
    batches = TinyBatches()
    batches.epoch = asked.append
    before = (left_alone / "weights.safetensors").stat().st_mtime_ns
    history = run(left_alone, model=model, batches=batches)
    assert asked == []
    assert (left_alone / "weights.safetensors").stat().st_mtime_ns == before
    assert torch.equal(model[0].weight, load_file(left_alone / "weights.safetensors")["0.weight"])
    assert history.column("seconds") == pd.read_csv(left_alone / "history.csv")["seconds"].tolist()
    assert all(type(row["step"]) is int for row in history.rows)


def test_a_finished_run_leaves_the_network_on_the_device_of_its_config(left_alone, monkeypatch):
    """What follows a training is computed where it would have been without the interruption."""
    monkeypatch.setattr(fitting, "resolve_device", lambda _config: torch.device("meta"))
    model = make_model()
    run(left_alone, model=model)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}


@pytest.mark.parametrize("damage", ["cut", "empty"])
def test_a_damaged_state_is_an_error(tmp_path, damage):
    """Files are replaced in one step, so a damaged one was damaged later: nobody guesses why."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, batches=TinyBatches(kill_at=(2, 1)))
    path = tmp_path / "resume.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    with pytest.raises(ValueError, match=r"Cannot read .*resume\.safetensors: .* delete it"):
        run(tmp_path)


def test_a_damaged_result_is_an_error(left_alone):
    """The same holds for the weights of a finished run."""
    (left_alone / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match=r"Cannot read .*weights\.safetensors"):
        run(left_alone)


@pytest.mark.parametrize("kill_at", [(2, 1), None])
def test_a_folder_belongs_to_one_configuration(tmp_path, kill_at):
    """Neither state nor weights of another configuration are taken for this one's."""
    if kill_at:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, batches=TinyBatches(kill_at=kill_at))
    else:
        run(tmp_path)
    with pytest.raises(ValueError, match=r"belongs to a run with config .* one with .* Must be"):
        run(tmp_path, config=replace(CONFIG, lr=5e-3))


def test_a_state_without_configuration_is_refused(tmp_path):
    """A file of the right name from somewhere else is not loaded."""
    save_file({"0.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"belongs to a run with config None"):
        run(tmp_path)


# Prediction


def predict(model, volume, **options):
    """Predict with small patches in full precision."""
    settings = {"patch": (8, 5), "stride": (4, 3), "axes": ("inline",), "precision": "32-true"}
    return predict_volume(model, volume, **(settings | options))


@pytest.mark.parametrize("axes", [("inline",), ("crossline",), ("inline", "crossline")])
@pytest.mark.parametrize("window", ["flat", "hann", "gauss"])
def test_a_constant_logit_is_a_constant_probability(axes, window):
    """Logit log 3 is probability 3/4 at every sample, however patches overlap."""
    volume = make_volume(make_noise())
    predicted = predict(Constant(np.log(3.0)), volume, axes=axes, window=window)
    assert predicted["probability"].dims == volume["amplitude"].dims
    assert predicted["probability"].dtype == np.float32
    np.testing.assert_allclose(predicted["probability"], 0.75, rtol=1e-6)
    assert ("disagreement" in predicted) == (len(axes) == 2)


@pytest.mark.parametrize("axis", ["inline", "crossline"])
@pytest.mark.parametrize("vertical_dim", ["depth", "time"])
def test_sections_keep_their_place(axis, vertical_dim):
    """The identity as network gives the sigmoid of each z-scored section, sample by sample."""
    volume = make_volume(make_noise(), vertical_dim=vertical_dim)
    lateral = "crossline" if axis == "inline" else "inline"
    shape = (volume.sizes[vertical_dim], volume.sizes[lateral])
    identity = nn.Conv2d(1, 1, 1)
    nn.init.ones_(identity.weight)
    nn.init.zeros_(identity.bias)
    predicted = predict(identity, volume, axes=(axis,), patch=shape, stride=shape)
    amplitude = volume["amplitude"]
    section = (vertical_dim, lateral)
    scores = (amplitude - amplitude.mean(section)) / amplitude.std(section)
    expected = 1 / (1 + np.exp(-scores))
    np.testing.assert_allclose(
        predicted["probability"], expected.transpose(*amplitude.dims), rtol=1e-4
    )
    assert predicted["probability"].coords.equals(amplitude.coords)


def test_patches_have_depth_downward():
    """The network sees (B, 1, depth, lateral): a ramp over depth grows along the rows."""
    amplitude = np.broadcast_to(np.arange(12.0), (3, 10, 12))
    seen = []
    model = Constant(0.0)
    model.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    predict(model, make_volume(amplitude), axes=("inline", "crossline"), patch=(8, 3))
    patches = torch.cat(seen)
    assert patches.shape[1:] == (1, 8, 3)
    assert (patches.diff(dim=2) > 0).all()
    assert (patches.diff(dim=3) == 0).all()


def test_two_directions_are_averaged_and_compared():
    """Probability is the mean of the directions, disagreement their absolute difference."""
    volume, model = make_volume(make_noise()), make_model().eval()
    inline, crossline = (
        predict(model, volume, axes=(axis,))["probability"] for axis in ("inline", "crossline")
    )
    both = predict(model, volume, axes=("inline", "crossline"))
    np.testing.assert_allclose(both["probability"], (inline + crossline) / 2, rtol=1e-6)
    np.testing.assert_allclose(both["disagreement"], abs(inline - crossline), atol=1e-7)
    assert both["disagreement"].max() > 0


def test_batches_over_sections_change_nothing():
    """The batch size is a matter of speed: patches are predicted one by one in effect."""
    volume, model = make_volume(make_noise()), make_model()
    one, many = (predict(model, volume, batch_size=n)["probability"] for n in (1, 1000))
    np.testing.assert_allclose(one, many, rtol=1e-5)


def test_missing_traces_have_no_probability():
    """A missing trace is NaN in the result; elsewhere it acts as a trace of zeros."""
    amplitude = make_noise()
    zeros, holes = amplitude.copy(), amplitude.copy()
    zeros[2, 3:5], holes[2, 3:5] = 0.0, np.nan
    axes = ("inline", "crossline")
    expected, found = (
        predict(make_model(), make_volume(array), axes=axes) for array in (zeros, holes)
    )
    missing = np.isnan(holes)
    for name in ("probability", "disagreement"):
        assert np.array_equal(np.isnan(found[name].values), missing)
        np.testing.assert_array_equal(found[name].values[~missing], expected[name].values[~missing])


def test_prediction_leaves_the_network_as_it_was():
    """Every part keeps its own mode, statistics and gradients; also after an error."""
    model = make_model()
    model[1].eval()
    statistics = model[1].running_mean.clone()
    modes = [module.training for module in model.modules()]
    predict(model, make_volume(make_noise()))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(model[1].running_mean, statistics)
    assert model[0].weight.grad is None
    model[4] = nn.Conv2d(7, 1, 1)
    with pytest.raises(RuntimeError, match="channels"):
        predict(model, make_volume(make_noise()))
    assert [module.training for module in model.modules()] == modes


def test_prediction_is_in_eval_mode():
    """Dropout and batch statistics do not act: two predictions are the same."""
    model, volume = make_model(), make_volume(make_noise())
    first, second = (predict(model, volume)["probability"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_bf16_prediction_is_close():
    """bf16 has 8 bits: probabilities agree to about 1 %."""
    model, volume = make_model(), make_volume(make_noise())
    full, mixed = (
        predict(model, volume, precision=precision)["probability"]
        for precision in ("32-true", "bf16-mixed")
    )
    assert 0 < abs(full - mixed).max() < 0.02


def test_patches_are_predicted_in_eval_mode():
    """The logits are those of the network at rest, whatever the batch size; it keeps its mode."""
    model, images = make_model().train(), torch.from_numpy(make_noise((5, 1, 8, 8)))
    found = [predict_patches(model, images, batch_size=n, precision="32-true") for n in (2, 64)]
    assert model.training
    assert not found[0].is_inference()
    with torch.no_grad():
        expected = model.eval()(images)
    for logits in found:
        torch.testing.assert_close(logits, expected)
    with pytest.raises(ValueError, match="Invalid number of patches 0"):
        predict_patches(model, images[:0])


def test_progress_is_one_line(capsys):
    """A bar counts batches on one line where it is asked for, and nothing is printed otherwise."""
    model, volume = Constant(0.0), make_volume(make_noise())
    predict(model, volume, progress=False)
    assert capsys.readouterr().err == ""
    predict(model, volume, progress=True)
    assert capsys.readouterr().err.count("\n") == 1
    fit(make_model(), TinyBatches(), bce, CONFIG, progress=True)
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "12/12" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": (18, 5)}, r"patch \(18, 5\) for sections along inline .* \(17, 20\) \(depth"),
        ({"patch": (8, 7), "axes": ("crossline",)}, r"along crossline of shape \(17, 6\)"),
        ({"axes": ()}, r"Invalid axes \(\)\. Must be one or two different ones"),
        ({"axes": ("inline", "inline")}, "Must be one or two different ones"),
        ({"axes": ("depth",)}, "Invalid axis 'depth'"),
        ({"batch_size": 0}, "Invalid batch_size 0"),
        ({"window": "boxcar"}, "Invalid window 'boxcar'"),
        ({"precision": "64-true"}, "Invalid precision '64-true'"),
        ({"stride": (9, 3)}, "Stride"),
    ],
)
def test_prediction_refuses_what_does_not_fit(options, message):
    """Patches larger than the sections, unknown directions and other slips get a clear error."""
    with pytest.raises(ValueError, match=message):
        predict(Constant(0.0), make_volume(make_noise()), **options)
