"""Figures of numbers: lines, means, intervals, counts, and what is left out or has no value."""

import figure_samples as samples
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from thesis_lib import plotting


def find_dots(ax: Axes) -> list[np.ndarray]:
    """Positions of the dots of a panel, in the order of drawing."""
    dots = [part for part in ax.collections if isinstance(part, PathCollection)]
    return [np.ma.filled(np.ma.asarray(part.get_offsets(), float), np.nan) for part in dots]


def find_bars(ax: Axes) -> list[np.ndarray]:
    """Ends of the bars of a panel, in the order of drawing."""
    bars = [part for part in ax.collections if isinstance(part, LineCollection)]
    return [np.asarray(segment) for part in bars for segment in part.get_segments()]


def read_legend(fig: Figure) -> list[str]:
    """Entries of the legend above a figure."""
    return [text.get_text() for legend in fig.legends for text in legend.get_texts()]


def test_histories_are_a_thin_line_a_curve_and_a_thick_median() -> None:
    """Three curves, one stopped early: three thin lines and their median without the stopped."""
    history = np.array([[0.0, 1.0], [0.0, 3.0], [0.0, np.nan]])
    fig = plotting.plot_histories(
        {"": {"one": history}}, ylabel="loss", xlabel="epoch", x=np.array([1, 2])
    )
    *thin, median = fig.axes[0].lines
    np.testing.assert_array_equal([line.get_ydata() for line in thin], history)
    np.testing.assert_array_equal(median.get_xydata(), [[1.0, 0.0], [2.0, 2.0]])
    assert median.get_linewidth() > thin[0].get_linewidth()
    assert (fig.get_supxlabel(), fig.get_supylabel()) == ("epoch", "loss")


def test_histories_have_common_axes_with_the_same_reference_lines() -> None:
    """One logarithmic panel per title; levels lie across and marks upright in each."""
    fig = samples.FIGURES["plot_histories"]()
    panels = fig.axes[:4]
    assert [ax.get_title(loc="left") for ax in panels] == [f"block{n}" for n in range(4)]
    assert {ax.get_yscale() for ax in panels} == {"log"}
    tolerance, step = panels[3].lines[-2:]
    assert (tolerance.get_ydata()[0], step.get_xdata()[0]) == (0.01, 4)
    assert len({ax.get_ylim() for ax in panels}) == 1
    assert read_legend(fig) == ["L-BFGS", "Adam", "tolerance 0.01", "4 steps"]


def test_background_is_gray_without_median_and_panels_can_have_a_y_axis_each() -> None:
    """Two gray curves behind one and its median; 50 times larger values fill their own panel."""
    curves = {"others": np.ones((2, 3)), "Dice": np.zeros((1, 3))}
    panels = {"BCE": curves, "MSE": {"Dice": 50 * np.ones((1, 3))}}
    fig = plotting.plot_histories(panels, ylabel="loss", share_y=False, background="others")
    colors = [to_hex(line.get_color()) for line in fig.axes[0].lines]
    assert colors == ["#d9d9d9"] * 2 + [samples.BLUE] * 2
    assert read_legend(fig) == ["Dice", "others"]
    assert fig.axes[0].get_ylim()[1] < fig.axes[1].get_ylim()[0]


def test_table_puts_our_mean_next_to_the_thesis() -> None:
    """Ours is the mean over seeds, each seed a small dot; a loss not run has the thesis' alone."""
    each, thesis, ours = find_dots(samples.FIGURES["plot_table"]().axes[0])
    np.testing.assert_allclose(each, [[0.8, 0], [0.9, 0], [0.7, 1]])
    np.testing.assert_allclose(thesis[:, 0], [0.89, 0.92, 0.91])
    np.testing.assert_allclose(ours[:, 0], [0.85, 0.7, np.nan])


@pytest.mark.parametrize(
    ("verdict", "color"),
    [("supported", samples.BLUE), ("contradicted", samples.RED), ("undecided", samples.GRAY)],
)
def test_effects_are_coloured_by_verdict(verdict: str, color: str) -> None:
    """Dots and intervals have the colour of the verdict; of too few seeds there is no interval."""
    ax = plotting.plot_effects(samples.make_effects(verdict=verdict)).axes[0]
    np.testing.assert_allclose(find_bars(ax), [[[0.01, 0], [0.03, 0]], [[0.02, 1], [0.04, 1]]])
    np.testing.assert_allclose(find_dots(ax)[0], [[0.02, 0], [0.03, 1]])
    assert {to_hex(part.get_edgecolor()[0]) for part in ax.collections[:2]} == {color}
    assert verdict in [text.get_text() for text in ax.texts]
    few = plotting.plot_effects(samples.make_effects(low=np.nan, high=np.nan)).axes[0]
    assert [len(bar) for bar in find_bars(few)] == [0, 0]
    np.testing.assert_allclose(find_dots(few)[0], find_dots(ax)[0])


def test_rivals_are_named_once_for_panels_that_share_them() -> None:
    """All panels have a line for every rival, in their order, and only the left ones name them."""
    claims = [samples.make_effects(statement=f"Dice is best {index}") for index in range(3)]
    table = pd.concat(
        [*claims, samples.make_effects(statement="MSE is worst", rival=["Wing", "KL"])]
    )
    rivals = ["KL", "BCE", "Wing", "Hausdorff"]
    table["rival"] = pd.Categorical(table["rival"], ["MSE", *rivals])
    axes = plotting.plot_effects(table).axes[:4]
    names = [[label.get_text() for label in ax.get_yticklabels()] for ax in axes]
    assert names == [rivals, [], [], rivals]
    np.testing.assert_allclose(find_dots(axes[3])[0][:, 1], [2, 0])


def test_forest_draws_effects_in_units_of_the_margin() -> None:
    """Below each statement are its own rivals, with d over the margin in the verdict's colour."""
    first = samples.make_effects()
    second = samples.make_effects(statement="MSE is worst", verdict="contradicted", margin=0.01)
    ax = plotting.plot_forest(pd.concat([first, second.iloc[1:].assign(rival="Wing")])).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["BCE", "Hausdorff", "Wing"]
    ticks = ax.get_yticks()
    assert list(ticks) == sorted(ticks)
    dots = np.concatenate(find_dots(ax))
    np.testing.assert_allclose(dots, np.transpose([[4, 6, 3], ticks]))
    np.testing.assert_allclose(find_bars(ax)[-1], [[2, ticks[-1]], [4, ticks[-1]]])
    assert [text.get_text() for text in ax.texts] == [
        *("Dice is best", "supported"),
        *("MSE is worst", "contradicted"),
    ]
    assert {to_hex(text.get_color()) for text in ax.texts[1::2]} == {samples.BLUE, samples.RED}
    with pytest.raises(ValueError, match="Invalid verdict"):
        plotting.plot_forest(samples.make_effects(verdict="maybe"))
    with pytest.raises(ValueError, match="Invalid number of claims 0"):
        plotting.plot_forest(first[:0])
    unknown = plotting.plot_forest(samples.make_effects(mean=np.nan, low=np.nan, high=np.inf))
    assert np.isfinite(unknown.axes[0].get_xlim()).all()


def test_depth_curves_join_means_in_the_order_of_the_blocks() -> None:
    """Means are joined in the order of the categories, about the block, with bounds as bars."""
    fig = plotting.plot_depth_curves(samples.make_depths(), ["modification"])
    ax = fig.axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2"]
    assert [to_hex(line.get_color()) for line in ax.lines] == [samples.BLUE, samples.ORANGE]
    np.testing.assert_allclose([line.get_ydata() for line in ax.lines], [[0.1, 0.4]] * 2)
    np.testing.assert_allclose([bar[:, 1] for bar in find_bars(ax)], [[0.0, 0.7]] * 4)
    first, second = (line.get_xdata() for line in ax.lines)
    assert (first < second).all()
    np.testing.assert_allclose((first + second) / 2, [0, 1])
    assert ax.get_title(loc="left") == "modification (1 − SSIM)"


@pytest.mark.parametrize("mean", [0.4, np.nan])
@pytest.mark.parametrize("kind", ["effects", "depth"])
def test_layout_does_not_depend_on_what_has_a_value(kind: str, mean: float) -> None:
    """What has no value is a cross that the legend explains, in a figure of the same layout."""
    if kind == "effects":
        fig = plotting.plot_effects(samples.make_effects(mean=[mean, 0.03]))
        crosses, at, height = find_dots(fig.axes[0])[1], [0.04, 0], 0.17 * 2 + 1.25 + 0.4
    else:
        fig = plotting.plot_depth_curves(samples.make_depths(mean), ["modification"])
        crosses, at, height = find_dots(fig.axes[0])[0], [0.94, 0.04], 1.9 + 0.4
    assert (*fig.get_size_inches(), len(fig.axes)) == pytest.approx((7.0, height, 3))
    np.testing.assert_allclose(crosses, [at] if np.isnan(mean) else np.empty((0, 2)))
    assert ("no value" in read_legend(fig)) == np.isnan(mean)


def test_measures_are_dots_with_their_mean_without_what_is_not_finite() -> None:
    """An image without a contour has neither a dot nor a part in the mean."""
    table = samples.MEASURES.rename(columns={"noise_db": "mine"})
    ax, other = plotting.plot_measures(table, ["sharpness", "mine"]).axes[:2]
    np.testing.assert_array_equal(find_dots(ax)[0], [[1, 0], [3, 0]])
    np.testing.assert_array_equal(find_dots(ax)[1], [[5, 1]])
    assert [bar[0, 0] for bar in find_bars(ax)] == [2.0, 5.0]
    assert ax.get_ylim() == (1.6, -0.6)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["network", "data: salt"]
    assert [len(dots) for dots in find_dots(other)] == [3, 0]
    assert [ax.get_title(loc="left"), other.get_title(loc="left")] == [
        "sharpness of the\ncontour (dB)",
        "mine",
    ]


def test_confusion_shows_counts_coloured_by_their_fraction_of_the_true_class() -> None:
    """15 of 20 faults are 75 %; a class without a patch is empty; long names lie apart."""
    ax = samples.FIGURES["plot_confusions"]().axes[0]
    shown = np.array([text.get_text() for text in ax.texts], dtype=int).reshape(4, 4)
    np.testing.assert_array_equal(shown, samples.COUNTS)
    np.testing.assert_allclose(ax.images[0].get_array()[1:3], [[25, 75, 0, 0], [0, 0, 0, 0]])
    assert ax.images[0].get_clim() == (0, 100)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    small = dict.fromkeys(samples.NETWORKS[:2], samples.COUNTS[:2, :2])
    fig = plotting.plot_confusions(small, samples.CLASSES[:2])
    fig.draw_without_rendering()
    first, second = (ax._left_title.get_window_extent() for ax in fig.axes[:2])
    assert first.x1 < second.x0
