"""Tests of NumPy numbers as settings: what is kept are Python numbers, as in JSON and in keys."""

import json
from dataclasses import asdict, fields

import numpy as np
import pytest
import torch

from saltearth import PRESETS, make_volume
from saltvolumes._checks import check_range
from thesis_lib.patches import Augmentation, Earths, Survey
from thesis_lib.training import TrainConfig
from thesis_lib.xai import Fourier, Pixels, Robustness, invert

SETTINGS = [
    (TrainConfig, {"epochs": 2, "lr": 0.25, "lr_factors": {"head": 0.5}}),
    (Augmentation, {"flip": 0.5, "noise": 0}),
    (Earths, {"presets": {"gulf": (20.0,)}, "shape": (16, 16, 32), "n_train": 2, "watched": False}),
    (Survey, {"path": __file__, "test_lines": (3, 4), "guard_lines": 2}),
    (Robustness, {"jitter_px": 4, "scale": 0.25}),
    (Pixels, {"std": 0.5}),
    (Fourier, {"decay": 2, "std": 0.5}),
    (type(PRESETS["gulf"]), asdict(PRESETS["gulf"]) | {"n_bodies": 3, "cover": 0.125}),
]


def to_numpy(value):
    """The same value with NumPy's numbers."""
    if isinstance(value, dict):
        return {key: to_numpy(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(to_numpy, value))
    return value if isinstance(value, str) or value is None else np.asarray(value)[()]


@pytest.mark.parametrize(("kind", "values"), SETTINGS, ids=lambda v: getattr(v, "__name__", ""))
def test_settings_of_numpy_numbers_are_those_of_python(kind, values):
    """They are equal, look the same in a record, and JSON writes them."""
    ours, plain = kind(**to_numpy(values)), kind(**values)
    assert repr(ours) == repr(plain)
    assert ours == plain
    assert json.dumps({item.name: getattr(ours, item.name) for item in fields(ours)})


def test_records_of_explanations_hold_python_numbers():
    """The config of an inversion that was asked for with NumPy numbers goes into JSON."""
    asked = {"steps": np.int64(1), "levels": np.float32([0.5]), "norm_weight": np.float64(0)}
    patch = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = invert(torch.nn.Conv2d(1, 2, 3), "", patch, seed=np.int64(2), progress=False, **asked)
    assert json.loads(json.dumps(found.config)) == found.config


def test_an_earth_of_numpy_numbers_is_that_of_python():
    """Shape, seed and spacings that come from arrays make the same earth, with plain attributes."""
    shape, spacing_m = np.array([16, 16, 32]), np.array([25.0, 25.0, 20.0])
    earth = make_volume(tuple(shape), seed=np.int64(1), spacing_m=tuple(spacing_m))
    assert earth.equals(make_volume((16, 16, 32), seed=1, spacing_m=(25.0, 25.0, 20.0)))
    assert json.dumps(earth.attrs)


def test_checked_numbers_are_python_numbers():
    """Whole numbers stay whole, all others become float; truth and complex values are refused."""
    for value in (np.int64(3), np.float32(0.5), np.float64(0.5), 3, 0.5):
        checked = check_range("step", value)
        assert type(checked) is type(np.asarray(value).item())
        assert checked == value
    for value in (True, np.bool_(True), 1j, np.complex64(1)):
        with pytest.raises(TypeError, match=r"Invalid step .*\. Must be a number\."):
            check_range("step", value, low=0)
