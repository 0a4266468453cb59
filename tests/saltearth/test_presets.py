"""Presets: what a seed draws from their ranges, and what they refuse."""

from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from flat_earths import SMALL

from saltearth import PRESETS, Preset
from saltearth.earth import Earth, Grid
from saltearth.making import build_earth
from saltearth.presets import BOUNDS, PER_OBJECT, as_span

GULF = PRESETS["gulf"]


def test_draw() -> None:
    """A number stays, a range is drawn from evenly, by the seed alone; each seed draws anew."""
    draws = [GULF.draw(seed) for seed in range(20)]
    assert draws[3] == GULF.draw(3)
    assert len({preset.fold for preset in draws}) == 20
    for name in BOUNDS:
        amount = getattr(GULF, name)
        for preset in draws:
            drawn = getattr(preset, name)
            if name in PER_OBJECT or not isinstance(amount, tuple):
                assert drawn == amount
            else:
                assert amount[0] <= drawn <= amount[1]
    assert draws[0].draw(9) == draws[0]
    shadows = [GULF.draw(seed).shadow for seed in range(400)]
    assert np.mean(shadows) == pytest.approx(0.55, abs=0.03)
    assert np.std(shadows) == pytest.approx(0.5 / np.sqrt(12), abs=0.01)


@pytest.mark.parametrize(
    "name", [name for name in BOUNDS if isinstance(getattr(GULF, name), tuple)]
)
def test_a_field_leaves_the_draws_of_the_others(name: str) -> None:
    """Fixing one field leaves what a seed draws for all the others."""
    low = as_span(getattr(GULF, name))[0]
    before, after = (asdict(preset.draw(5)) for preset in (GULF, replace(GULF, **{name: low})))
    assert {other for other in before if before[other] != after[other]} <= {name}


@pytest.mark.parametrize("name", ["clinoforms", "unconformity", "swings"])
def test_draws_are_not_those_of_a_step(name: str) -> None:
    """How much of a step a seed draws is independent of where the step puts it."""
    earths = [Earth(Grid(SMALL, (25.0, 25.0, 20.0)), GULF, seed) for seed in range(100)]
    drawn = [earth.value(name) for earth in earths]
    first = [earth.rng(name).uniform() for earth in earths]
    assert abs(np.corrcoef(drawn, first)[0, 1]) < 0.3


def test_every_number_has_a_range() -> None:
    """Every field of a preset is a number with allowed bounds, or a choice that is checked."""
    choices = {"name", "kinds", "n_bodies", "vertical", "polarity"}
    assert {field.name for field in fields(Preset)} == choices | set(BOUNDS)


@pytest.mark.parametrize("name", BOUNDS)
def test_refuse_what_is_out_of_range(name: str) -> None:
    """Each number is refused just outside its bounds, as a number and as an end of a range."""
    low, high = BOUNDS[name]
    for wrong in (low - 1e-3, high * 1.01, float("nan"), (low, high * 1.01)):
        with pytest.raises(ValueError, match=f"Invalid {name} "):
            replace(GULF, **{name: wrong})
    assert getattr(replace(GULF, **{name: (low, high)}), name) == (low, high)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kinds": ("glacier",)}, "Invalid salt kind 'glacier'"),
        ({"kinds": ()}, "at least one kind"),
        ({"n_bodies": 0}, r"Invalid n_bodies 0. Must be from 1 to 40"),
        ({"vertical": "twt"}, r"Invalid vertical 'twt'. Must be one of: 'depth', 'time'"),
        ({"polarity": 0}, r"Invalid polarity 0. Must be one of: 1, -1"),
        ({"fold": (0.03, 0.01)}, r"Invalid fold \(0.03, 0.01\). Must be \(low, high\)"),
        *(
            ({"fold": value}, r"Invalid fold .* a number or \(low, high\)")
            for value in ((0.1,), (0.1, 0.2, 0.3), [0.1, 0.2], "0.1", None, ("0.1", "0.2"))
        ),
    ],
)
def test_refuse_choices_and_ranges(wrong: dict, message: str) -> None:
    """A preset refuses choices that it does not know, and ranges that are not two numbers."""
    with pytest.raises((ValueError, TypeError), match=message):
        replace(GULF, **wrong)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_the_default_spacing_fits_every_seed(preset: Preset) -> None:
    """At 20 m the highest frequency that any preset may draw is still sampled."""
    worst = {"frequency_hz": as_span(preset.frequency_hz)[1]}
    worst |= {"octaves": as_span(preset.octaves)[1]}
    worst |= {"surface_velocity_m_s": as_span(preset.surface_velocity_m_s)[0]}
    build_earth((16, 16, 16), seed=0, preset=preset, **worst)
