"""Figures of how well classifiers do: bins, threshold, counts."""

from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_contract import check_figure
from matplotlib.figure import Figure

from thesis_lib import plotting

CLASSES = ("chaotic", "fault", "horizon", "salt dome")
ROUTES = ("segmentation encoder", "classifier from scratch", "untrained")
COUNTS = np.array([[30, 0, 0, 0], [5, 15, 0, 0], [0, 0, 0, 0], [0, 0, 1, 99]])


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Leave no figure of a test behind."""
    yield
    plt.close("all")


def make_bins(column: str) -> dict[str, pd.DataFrame]:
    """Three bins of each route."""
    bins = {column: [0.55, 0.75, 0.95], "accuracy": [0.5, 0.8, 1.0], "count": [3, 40, 900]}
    return dict.fromkeys(ROUTES, pd.DataFrame(bins))


FIGURES: dict[str, Callable[[], Figure]] = {
    "accuracy": lambda: plotting.plot_accuracy(
        make_bins("confidence"), make_bins("share"), threshold=0.2
    ),
    "confidence": lambda: plotting.plot_accuracy(make_bins("confidence")),
    "confusions": lambda: plotting.plot_confusions(dict.fromkeys(ROUTES, COUNTS), CLASSES),
    "confusion": lambda: plotting.plot_confusions({"one": COUNTS[:2, :2]}, CLASSES[:2]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_classifiers_keep_to_the_style(name: str) -> None:
    """Figures are light, page-wide and readable, and leave matplotlib as it was."""
    check_figure(FIGURES[name])


def test_accuracy_is_drawn_in_percent_above_the_counts_of_its_bins() -> None:
    """Bins at 55, 75 and 95 % confidence of 3, 40 and 900 patches; the diagonal is calibrated."""
    fig = FIGURES["confidence"]()
    accuracy, counts = fig.axes[:2]
    np.testing.assert_allclose(accuracy.lines[0].get_xydata(), [[55, 50], [75, 80], [95, 100]])
    np.testing.assert_allclose(counts.lines[0].get_ydata(), [3, 40, 900])
    assert counts.get_xlabel() == "confidence (%)"
    assert accuracy.lines[-1].get_label() == "calibrated"
    assert accuracy.lines[-1].get_slope() == 1


def test_threshold_stands_in_both_panels_of_the_salt_share() -> None:
    """A threshold of 0.2 is a line at 20 % where accuracy is drawn against salt, and only there."""
    confidence, share, _, counts = FIGURES["accuracy"]().axes[:4]
    for ax in (share, counts):
        assert (ax.lines[-1].get_xdata()[0], ax.lines[-1].get_label()) == (20.0, "threshold 20 %")
    assert "threshold 20 %" not in [line.get_label() for line in confidence.lines]


def test_confusion_shows_counts_coloured_by_the_share_of_the_true_class() -> None:
    """15 of 20 faults are 75 %; a class without a patch is empty."""
    ax = plotting.plot_confusions({"one": COUNTS}, CLASSES).axes[0]
    shown = np.array([text.get_text() for text in ax.texts], dtype=int).reshape(4, 4)
    np.testing.assert_array_equal(shown, COUNTS)
    np.testing.assert_allclose(ax.images[0].get_array()[1], [25, 75, 0, 0])
    np.testing.assert_allclose(ax.images[0].get_array()[2], 0)
    assert ax.images[0].get_clim() == (0, 100)


def test_names_over_small_confusions_lie_apart() -> None:
    """Long names of networks are broken into lines as narrow as their matrix."""
    fig = plotting.plot_confusions(dict.fromkeys(ROUTES[:2], COUNTS[:2, :2]), CLASSES[:2])
    fig.canvas.draw()
    first, second = (ax._left_title.get_window_extent() for ax in fig.axes[:2])
    assert first.x1 < second.x0


WRONG: dict[str, Callable[[], Figure]] = {
    "Invalid number of matrices 0": lambda: plotting.plot_confusions({}, CLASSES),
    "Invalid table of one without count. Must have confidence, accuracy, count": lambda: (
        plotting.plot_accuracy({"one": make_bins("confidence")[ROUTES[0]].drop(columns="count")})
    ),
    "Invalid table of untrained without share": lambda: plotting.plot_accuracy(
        make_bins("confidence"), {"untrained": make_bins("confidence")["untrained"]}
    ),
    r"Invalid threshold 20. Must lie in \[0, 1\]": lambda: plotting.plot_accuracy(
        make_bins("confidence"), make_bins("share"), threshold=20
    ),
    r"classes \(2, 2\), one \(4, 4\)": lambda: plotting.plot_confusions(
        {"one": COUNTS}, CLASSES[:2]
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_scores_that_do_not_fit_are_refused(message: str) -> None:
    """Errors say what was given and what is allowed."""
    with pytest.raises(ValueError, match=message):
        WRONG[message]()
