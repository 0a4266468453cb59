"""Figures of what explanations measure: lines, means, intervals, and what is left out."""

from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_contract import check_figure
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from thesis_lib import plotting

ROUTES = ("segmentation", "classification", "untrained")
BLUE, ORANGE = "#3f90da", "#ffa90e"
SHARES = np.array([0.0, 0.5, 1.0])
CURVE = np.array([[1.0, 0.6, 0.0], [1.0, 0.2, 0.0]])
CASCADE = {"intact": np.ones(2), "head": np.array([0.2, 0.6])}


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Leave no figure of a test behind."""
    yield
    plt.close("all")


def make_depths(**columns: object) -> pd.DataFrame:
    """Two values a block and route."""
    blocks = pd.DataFrame({"block": ["block2", "block1"] * 2, "modification": [0.4, 0.1, 0.6, 0.3]})
    blocks["block"] = pd.Categorical(blocks["block"], ["block1", "block2", "block3"])
    return pd.concat([blocks.assign(route=route) for route in ROUTES[:2]]).assign(**columns)


def make_measures() -> pd.DataFrame:
    """Three images of a network, one of which has no salt contour, and two real patches."""
    return pd.DataFrame(
        {
            "group": ["network"] * 3 + ["real salt"] * 2,
            "sharpness": [1.0, 3.0, np.nan, 5.0, np.inf],
            "spectral_distance_db": [9.0, 9.0, 9.0, 1.0, 2.0],
        }
    )


def find_dots(ax: Axes) -> list[np.ndarray]:
    """Places of the dots of a panel, in the order of drawing."""
    dots = [part for part in ax.collections if isinstance(part, PathCollection)]
    return [np.asarray(part.get_offsets()) for part in dots]


FIGURES: dict[str, Callable[[], Figure]] = {
    "ascent": lambda: plotting.plot_ascent(dict.fromkeys(ROUTES, np.ones((3, 5)))),
    "residuals": lambda: plotting.plot_residuals(
        {f"block{n}": {"L-BFGS": np.ones((2, 9)), "Adam": np.ones((2, 5))} for n in range(4)},
        tolerance=0.01,
        fixed_step=4,
    ),
    "depth curves": lambda: plotting.plot_depth_curves(make_depths(), ["modification"] * 4),
    "measures": lambda: plotting.plot_measures(
        make_measures(), ["sharpness", "spectral_distance_db"]
    ),
    "cam tests": lambda: plotting.plot_cam_tests(
        SHARES, {"CAM": CURVE, "random order": CURVE}, {"CAM": 1 - CURVE}, {"CAM": CASCADE}
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_measures_keep_to_the_style(name: str) -> None:
    """Figures are light, page-wide and readable, and leave matplotlib as it was."""
    check_figure(FIGURES[name])


def test_ascent_is_a_thin_line_an_image_and_a_thick_median() -> None:
    """Three images, one stopped early: three thin lines and their median without the stopped."""
    history = np.array([[0.0, 1.0], [0.0, 3.0], [0.0, np.nan]])
    ax = plotting.plot_ascent({"one": history}).axes[0]
    *thin, median = ax.lines
    np.testing.assert_array_equal([line.get_ydata() for line in thin], history)
    np.testing.assert_array_equal(median.get_ydata(), [0.0, 2.0])
    assert median.get_linewidth() > thin[0].get_linewidth()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "objective (logit)")


def test_residuals_are_logarithmic_with_the_tolerance_in_every_block() -> None:
    """One panel a block; the tolerance lies across and the fixed step upright in each."""
    fig = FIGURES["residuals"]()
    panels = fig.axes[:4]
    assert [ax.get_title(loc="left") for ax in panels] == [f"block{n}" for n in range(4)]
    assert {ax.get_yscale() for ax in panels} == {"log"}
    tolerance, step = panels[3].lines[-2:]
    assert (tolerance.get_ydata()[0], step.get_xdata()[0]) == (0.01, 4)
    names = [text.get_text() for text in fig.legends[0].get_texts()]
    assert names == ["L-BFGS", "Adam", "tolerance 0.01", "4 steps"]


def test_depth_curves_join_means_in_the_order_of_the_blocks() -> None:
    """Lines join the means of the blocks' values, which are dots, in the categories' order."""
    fig = plotting.plot_depth_curves(make_depths(), ["modification"])
    ax = fig.axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2"]
    for line, color in zip(ax.lines, (BLUE, ORANGE), strict=True):
        np.testing.assert_allclose(line.get_ydata(), [0.2, 0.5])
        assert to_hex(line.get_color()) == color
    np.testing.assert_allclose(find_dots(ax)[0][:, 1], [0.4, 0.1, 0.6, 0.3])
    assert ax.get_title(loc="left") == "modification (1 − SSIM)"


def test_depth_curves_draw_the_bounds_they_are_given() -> None:
    """Low and high columns become bars in place of dots; a bound that is NaN leaves its bar out."""
    table = make_depths(modification_low=0.1, modification_high=0.7)[:2]
    table.loc[1, "modification_high"] = np.nan
    ax = plotting.plot_depth_curves(table, ["modification"]).axes[0]
    (bars,) = (part for part in ax.collections if isinstance(part, LineCollection))
    first, second = bars.get_segments()
    np.testing.assert_allclose(first, [[1, 0.1], [1, 0.7]])
    assert len(second) == 0
    assert find_dots(ax) == []


def test_bounds_end_where_the_measure_does() -> None:
    """The interval of a share does not reach above 1, whatever a t-interval says."""
    table = make_depths(label_kept=0.9, label_kept_low=0.4, label_kept_high=1.4)[:1]
    ax = plotting.plot_depth_curves(table, ["label_kept"]).axes[0]
    (bars,) = (part for part in ax.collections if isinstance(part, LineCollection))
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], [0.4, 1.0])


def test_depth_curves_mark_what_has_no_value() -> None:
    """A block in which a route has no value is a cross of its colour, and the legend says so."""
    table = make_depths()
    table.loc[(table["route"] == ROUTES[1]) & (table["block"] == "block2"), "modification"] = np.nan
    fig = plotting.plot_depth_curves(table, ["modification"])
    crosses = [part for part in fig.axes[0].collections if len(part.get_offsets()) == 1]
    assert [to_hex(part.get_edgecolor()[0]) for part in crosses] == [ORANGE]
    np.testing.assert_allclose(crosses[0].get_offsets()[0], [1.06, 0.04])
    assert [text.get_text() for text in fig.legends[0].get_texts()] == [*ROUTES[:2], "no value"]


def test_routes_stand_beside_each_other_in_depth_curves() -> None:
    """Values of two routes in one block are apart, the pair about the block's place."""
    ax = plotting.plot_depth_curves(make_depths(), ["modification"]).axes[0]
    first, second = (line.get_xdata() for line in ax.lines)
    assert (first < second).all()
    np.testing.assert_allclose((first + second) / 2, [0, 1])


def test_measures_are_dots_with_their_mean_without_what_is_not_finite() -> None:
    """An image without a contour has no dot and no part in the mean."""
    ax = plotting.plot_measures(make_measures(), ["sharpness"]).axes[0]
    np.testing.assert_array_equal(find_dots(ax)[0], [[1, 0], [3, 0]])
    np.testing.assert_array_equal(find_dots(ax)[1], [[5, 1]])
    means = [part for part in ax.collections if isinstance(part, LineCollection)]
    assert [float(bar.get_segments()[0][0, 0]) for bar in means] == [2.0, 5.0]
    assert ax.get_ylim() == (1.6, -0.6)


def test_group_without_a_finite_value_keeps_its_line() -> None:
    """A measure that does not exist for a group leaves its line empty."""
    table = make_measures().assign(sharpness=[1.0, 1.0, 1.0, np.nan, np.nan])
    ax = plotting.plot_measures(table, ["sharpness"]).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["network", "real salt"]
    assert [len(dots) for dots in find_dots(ax)] == [3, 0]


def test_cam_tests_draw_means_over_patches_in_percent() -> None:
    """Curves of two patches are drawn as their mean over 0 to 100 %, one colour a label."""
    fig = FIGURES["cam tests"]()
    deletion, insertion, cascade = fig.axes[:3]
    np.testing.assert_allclose(deletion.lines[0].get_xydata(), [[0, 1], [50, 0.4], [100, 0]])
    np.testing.assert_allclose(insertion.lines[0].get_ydata(), [0, 0.6, 1])
    np.testing.assert_allclose(cascade.lines[0].get_xydata(), [[1, 0], [0.4, 1]])
    colors = {to_hex(ax.lines[0].get_color()) for ax in (deletion, insertion, cascade)}
    assert colors == {BLUE}
    assert cascade.yaxis_inverted()


def test_label_without_a_text_of_its_own_is_the_column() -> None:
    """A measure that the library does not know is titled by its column."""
    table = make_measures().rename(columns={"sharpness": "my_measure"})
    ax = plotting.plot_measures(table, ["my_measure"]).axes[0]
    assert ax.get_title(loc="left") == "my_measure"


WRONG: dict[str, Callable[[], Figure]] = {
    "Invalid table without block. Must have route, block, modification": lambda: (
        plotting.plot_depth_curves(make_depths().drop(columns="block"), ["modification"])
    ),
    "Invalid table without bodies. Must have group, bodies": lambda: plotting.plot_measures(
        make_measures(), ["bodies"]
    ),
    r"shares \(3,\), deletion of CAM \(2,\)": lambda: plotting.plot_cam_tests(
        SHARES, {"CAM": CURVE[:, :2]}, {}, {}
    ),
    r"shares \(3,\), insertion of CAM \(2,\)": lambda: plotting.plot_cam_tests(
        SHARES, {}, {"CAM": CURVE[:, :2]}, {}
    ),
    "Invalid series: none given. Must be at least one": lambda: plotting.plot_ascent({}),
}


@pytest.mark.parametrize("message", WRONG)
def test_measures_that_do_not_fit_are_refused(message: str) -> None:
    """Errors say what was given and what is allowed."""
    with pytest.raises(ValueError, match=message):
        WRONG[message]()
