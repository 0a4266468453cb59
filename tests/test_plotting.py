"""Figures: what they show, in which colours and units, and what they leave alone."""

from collections.abc import Callable, Iterator

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.text import Text

from thesis_lib import plotting
from thesis_lib._volume import build_volume
from thesis_lib.plotting._style import thesis_style

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Leave no figure of a test behind."""
    yield
    plt.close("all")


TRUTH, PREDICTION = "#ffa90e", "#3f90da"
LOSSES = ("BCE", "Dice", "Hausdorff")
LOGITS = np.linspace(-3, 3, 7)
TARGET = np.arange(64).reshape(8, 8) > 40
BLOCKS = [
    ("input", 1, 33, 32),
    ("merger", 3, 33, 32),
    ("stem", 64, 17, 16),
    ("block1", 64, 9, 8),
    ("block2", 128, 5, 4),
    ("decoder1", 64, 9, 8),
    ("decoder2", 32, 17, 16),
    ("decoder3", 16, 33, 32),
    ("logits", 1, 33, 32),
]
SKIPS = [("block1", "decoder1"), ("stem", "decoder2")]
LATENT = ["block1", "block2"]


def make_volume(
    *, vertical_dim: str = "depth", spacing_m: float | None = 25.0, salt: bool = True
) -> xr.Dataset:
    """6 x 8 x 10 samples; salt below the fifth sample; 20 m or ms between samples."""
    shape = (6, 8, 10)
    amplitude = np.random.default_rng(0).standard_normal(shape)
    metres = {
        f"{line}_m": np.arange(n) * spacing_m
        for line, n in (("inline", 6), ("crossline", 8))
        if spacing_m is not None
    }
    return build_volume(
        amplitude,
        inline=np.arange(6) + 100,
        crossline=np.arange(8) + 300,
        vertical=np.arange(10) * 20.0,
        vertical_dim=vertical_dim,
        salt=np.broadcast_to(np.arange(10) >= 5, shape) if salt else None,
        **metres,
    )


def take_section(volume: xr.Dataset, name: str = "amplitude") -> xr.DataArray:
    """Section along the third inline: (vertical, crossline)."""
    return volume[name].isel(inline=2).transpose(..., "crossline")


SECTION = take_section(make_volume())
SALT = take_section(make_volume(), "salt")


def make_history(**columns: object) -> pd.DataFrame:
    """Three epochs of a run that learns."""
    return pd.DataFrame(
        {"epoch": [1, 2, 3], "train_loss": [4.0, 2.0, 1.0], "validation_dice": [0.2, 0.5, 0.9]}
        | columns
    )


def make_scores() -> pd.DataFrame:
    """Two seeds of BCE and one of Dice; Hausdorff was not run."""
    return pd.DataFrame(
        {
            "loss": ["BCE", "BCE", "Dice"],
            "dice": [0.8, 0.9, 0.7],
            "perimetric_similarity": [0.6, 0.7, 0.5],
        }
    )


def make_thesis() -> pd.DataFrame:
    """Three rows of a Table 1."""
    scores = {"dice": [0.89, 0.92, 0.91], "perimetric_similarity": [0.75, 0.88, 0.94]}
    return pd.DataFrame(scores, index=list(LOSSES))


def make_effects(**columns: object) -> pd.DataFrame:
    """One claim with two rivals."""
    return pd.DataFrame(
        {
            "statement": "Dice is best",
            "verdict": "reproduced",
            "rival": ["BCE", "Hausdorff"],
            "mean": [0.02, 0.03],
            "low": [0.01, 0.02],
            "high": [0.03, 0.04],
        }
        | columns
    )


def make_statistics() -> xr.Dataset:
    """Statistics of two sections, all the same."""
    steps = {
        "amplitude": "amplitude_value",
        "vertical_power": "vertical_frequency",
        "lateral_power": "lateral_frequency",
        "dip": "dip_value",
        "planarity": "planarity_value",
        "coherence": "coherence_value",
        "coherence_of_lag": "lag",
        "energy_change": "energy_change_value",
    }
    return xr.Dataset(
        {name: (("section", steps[name]), [[0.4, 0.6], [0.2, 0.8]]) for name in steps},
        coords={coordinate: [0.25, 0.75] for coordinate in steps.values()},
    )


FIGURES: dict[str, Callable[[], Figure]] = {
    "section": lambda: plotting.plot_section(SECTION, salt=SALT, title="inline"),
    "volume": lambda: plotting.plot_volume(make_volume(), inline=102, crossline=303, vertical=100),
    "patches": lambda: plotting.plot_patches(
        np.stack([TARGET + 0.0] * 7), np.stack([TARGET] * 7), labels=["salt"] * 7
    ),
    "predictions": lambda: plotting.plot_predictions(
        SECTION, SALT, dict.fromkeys(LOSSES, SALT * 0.9)
    ),
    "gallery": lambda: plotting.plot_gallery(
        {"one": make_volume().isel(inline=2).transpose("depth", ...), "other": SECTION.to_dataset()}
    ),
    "round trip": lambda: plotting.plot_round_trip(SECTION, SECTION),
    "statistics": lambda: plotting.plot_statistics({"one": make_statistics()}, reference="one"),
    "loss curves": lambda: plotting.plot_loss_curves(
        LOGITS, {name: np.stack([LOGITS, -LOGITS]) for name in LOSSES}
    ),
    "loss gradients": lambda: plotting.plot_loss_gradients(
        dict.fromkeys(LOSSES, TARGET - 0.5), TARGET
    ),
    "learning curves": lambda: plotting.plot_learning_curves(
        {name: make_history() for name in LOSSES}
    ),
    "table": lambda: plotting.plot_table(make_scores(), make_thesis()),
    "effects": lambda: plotting.plot_effects(make_effects()),
    "label shares": lambda: plotting.plot_label_shares(np.linspace(0, 1, 50), 0.2),
    "pipeline": plotting.plot_pipeline,
    "network": lambda: plotting.plot_network(BLOCKS, skips=SKIPS, latent=LATENT),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_leaves_matplotlib_as_it_was(name: str) -> None:
    """Drawing changes no global rcParam, and opens one figure, which is returned."""
    before = dict(matplotlib.rcParams)
    fig = FIGURES[name]()
    assert dict(matplotlib.rcParams) == before
    assert [plt.figure(number) for number in plt.get_fignums()] == [fig]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_light_page_wide_and_readable(name: str) -> None:
    """A figure has a white ground, is at most 7 in wide, and no text is below 8 pt."""
    fig = FIGURES[name]()
    fig.draw_without_rendering()
    texts = [text for text in fig.findobj(Text) if text.get_text() and text.get_visible()]
    assert to_hex(fig.get_facecolor()) == "#ffffff"
    assert fig.get_size_inches()[0] <= 7.0
    assert min(text.get_fontsize() for text in texts) >= 8.0


@pytest.mark.parametrize("name", ["pipeline", "network"])
def test_no_text_of_a_diagram_overlaps_another_or_leaves_the_page(name: str) -> None:
    """The words of a drawing stand apart from each other and inside of the figure."""
    fig = FIGURES[name]()
    fig.draw_without_rendering()
    boxes = [text.get_window_extent() for text in fig.axes[0].texts if text.get_text()]
    for number, box in enumerate(boxes):
        assert fig.bbox.x0 <= box.x0 < box.x1 <= fig.bbox.x1
        assert box.count_overlaps(boxes[number + 1 :]) == 0


def test_style_leaves_alone_what_it_does_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interactive mode, which a notebook's backend turns on with the first figure, stays on."""
    monkeypatch.setitem(matplotlib.rcParams, "interactive", False)
    with thesis_style():
        plt.ion()
    assert plt.isinteractive()


def test_style_cycles_through_petroff10() -> None:
    """The categories of the style are the ten colours of matplotlib's own petroff10."""
    with thesis_style():
        ours = [to_hex(color) for color in plt.rcParams["axes.prop_cycle"].by_key()["color"]]
    with plt.style.context("petroff10"):
        assert ours == [to_hex(c) for c in plt.rcParams["axes.prop_cycle"].by_key()["color"]]


def test_amplitudes_are_gray_and_symmetric_at_the_98th_percentile() -> None:
    """Of the magnitudes 0, 1, ..., 100 the colours end at -98 and 98; NaN takes no part."""
    values = np.arange(101.0) * np.where(np.arange(101) % 2, 1, -1)
    volume = build_volume(
        np.stack([values, np.full(101, np.nan)])[None],
        inline=[1],
        crossline=[1, 2],
        vertical=np.arange(101),
    )
    image = plotting.plot_section(volume.amplitude.isel(inline=0).T).axes[0].images[0]
    assert image.get_clim() == pytest.approx((-98.0, 98.0))
    assert image.get_cmap().name == "gray"


@pytest.mark.parametrize("vertical_dim", ["depth", "time"])
def test_vertical_axis_points_down(vertical_dim: str) -> None:
    """Half a sample above the first lies at the top, half a sample below the last at the bottom."""
    volume = make_volume(vertical_dim=vertical_dim)
    ax = plotting.plot_section(take_section(volume)).axes[0]
    assert ax.get_ylim() == (190.0, -10.0)
    assert ax.get_xlim() == (-12.5, 187.5)


@pytest.mark.parametrize(
    ("volume", "xlabel", "ylabel"),
    [
        (make_volume(), "crossline (m)", "depth (m)"),
        (make_volume(spacing_m=2000.0), "crossline (km)", "depth (km)"),
        (make_volume(vertical_dim="time"), "crossline (m)", "two-way time (ms)"),
        (make_volume(spacing_m=None), "crossline (number)", "depth (m)"),
        (
            make_volume(spacing_m=None).isel(crossline=[0, 1, 7]),
            "crossline (index, unevenly spaced)",
            "depth (m)",
        ),
    ],
)
def test_axes_say_their_unit(volume: xr.Dataset, xlabel: str, ylabel: str) -> None:
    """Axes are in m, in km from 10 km on, in ms, or in line numbers where metres are unknown."""
    ax = plotting.plot_section(take_section(volume)).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == (xlabel, ylabel)


def test_equal_lengths_look_equal_unless_the_panel_would_be_a_strip() -> None:
    """Metres against metres are drawn to scale, a wide strip and milliseconds are not."""
    strip = take_section(make_volume(spacing_m=500.0))
    time = take_section(make_volume(vertical_dim="time"))
    aspects = [plotting.plot_section(part).axes[0].get_aspect() for part in (SECTION, strip, time)]
    assert aspects == [1.0, "auto", "auto"]


def test_colour_bar_says_quantity_and_unit() -> None:
    """The colour bar takes the unit from the attributes and admits where there is none."""
    bars = [
        plotting.plot_section(section).axes[1].get_ylabel()
        for section in (SECTION, SECTION.assign_attrs(units="Pa"))
    ]
    assert bars == ["migrated amplitude (arbitrary units)", "migrated amplitude (Pa)"]


def find_contours(fig: Figure) -> list[ContourSet]:
    """Contours of a figure's first panel, in the order of drawing."""
    return [artist for artist in fig.axes[0].collections if isinstance(artist, ContourSet)]


def test_truth_is_a_solid_orange_contour_and_prediction_a_dashed_blue_one() -> None:
    """Masks are outlines; a probability is cut at one half."""
    panel = plotting.plot_predictions(SECTION, SALT, {"BCE": SALT * 0.9}).axes[1]
    truth, prediction = panel.findobj(ContourSet)
    assert (to_hex(truth.get_edgecolor()[0]), truth.get_linestyle()[0][1]) == (TRUTH, None)
    assert to_hex(prediction.get_edgecolor()[0]) == PREDICTION
    assert prediction.get_linestyle()[0][1] is not None


def test_contour_lies_half_way_between_the_samples() -> None:
    """Salt from the sample at 100 m on, after one at 80 m, is outlined at 90 m."""
    (truth,) = find_contours(plotting.plot_section(SECTION, salt=SALT))
    np.testing.assert_allclose(truth.get_paths()[0].vertices[:, 1], 90.0)


@pytest.mark.parametrize("value", [False, True])
def test_mask_without_boundary_draws_no_contour(value: bool) -> None:
    """A section of salt alone, or without any, has no outline."""
    salt = np.full(SECTION.shape, value)
    assert find_contours(plotting.plot_section(SECTION, salt=salt)) == []


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (SECTION.T, r"Invalid section with dims \('crossline', 'depth'\). Must be \(depth or time"),
        (make_volume().amplitude, "Invalid section with dims"),
        (SECTION * np.nan, "Invalid image without a finite amplitude"),
    ],
)
def test_section_of_another_kind_is_refused(section: xr.DataArray, message: str) -> None:
    """A section is (depth or time, inline or crossline) and has something to show."""
    with pytest.raises(ValueError, match=message):
        plotting.plot_section(section)


def test_nothing_is_outlined_where_no_salt_is_known() -> None:
    """A volume without salt and patches without masks have no contour, and no share of salt."""
    volume = plotting.plot_volume(make_volume(salt=False), inline=102, crossline=303, vertical=100)
    patches = plotting.plot_patches(TARGET[None] + 0.0)
    assert find_contours(volume) == find_contours(patches) == []
    assert patches.axes[0].get_title() == ""


DIFFERING: dict[str, Callable[[], Figure]] = {
    r"section \(10, 8\), salt \(8, 10\)": lambda: plotting.plot_section(
        SECTION, salt=SALT.values.T
    ),
    r"images \(7, 8\), masks \(8, 8\)": lambda: plotting.plot_patches(TARGET[1:] + 0.0, TARGET),
    r"shape \(8, 8\). Must be \(n, H, W\)": lambda: plotting.plot_patches(TARGET + 0.0),
    r"original \(10, 8\), stitched \(9, 8\)": lambda: plotting.plot_round_trip(
        SECTION, SECTION[1:]
    ),
    r"logits \(2, 7\), BCE \(7,\)": lambda: plotting.plot_loss_curves(LOGITS, {"BCE": LOGITS}),
    r"target \(8, 8\), BCE \(7,\)": lambda: plotting.plot_loss_gradients({"BCE": LOGITS}, TARGET),
}


@pytest.mark.parametrize("message", DIFFERING)
def test_arrays_of_other_shapes_are_refused(message: str) -> None:
    """What is drawn together has the same shape, and the error states both."""
    with pytest.raises(ValueError, match=message):
        DIFFERING[message]()


def test_volume_shows_three_slices_through_the_nearest_samples() -> None:
    """Slices asked for between samples are those of the nearest sample, and titled so."""
    fig = plotting.plot_volume(make_volume(), inline=102.2, crossline=304.8, vertical=111)
    panels = [ax for ax in fig.axes if ax.images]
    titles = [ax.get_title(loc="left") for ax in panels]
    assert titles == ["depth 120 m", "inline 102", "crossline 305"]
    assert [ax.images[0].get_array().shape for ax in panels] == [(6, 8), (10, 8), (10, 6)]
    across, down = panels[1].lines
    assert (across.get_ydata()[0], down.get_xdata()[0]) == (120.0, 125.0)


def test_slice_outside_the_volume_is_refused() -> None:
    """A slice beyond the last sample is an error, not the last sample."""
    with pytest.raises(ValueError, match=r"Invalid depth 500. Must lie in \[0, 180\]"):
        plotting.plot_volume(make_volume(), inline=102, crossline=303, vertical=500)


def test_patches_state_their_share_of_salt() -> None:
    """A patch with 23 of 64 pixels in salt is titled 36 %."""
    fig = plotting.plot_patches(TARGET[None] + 0.0, TARGET[None], labels=["salt"])
    assert fig.axes[0].get_title() == "salt\n36 % salt"


def test_predictions_show_the_truth_alone_first() -> None:
    """Truth, then one panel per loss with both contours."""
    fig = FIGURES["predictions"]()
    assert [ax.get_title(loc="left") for ax in fig.axes[:4]] == ["Truth", *LOSSES]
    assert [len(ax.collections) for ax in fig.axes[:4]] == [1, 2, 2, 2]


@pytest.mark.parametrize(("change", "limit"), [(0.25, 0.25), (0.0, None)])
def test_round_trip_ends_its_colours_at_the_largest_difference(
    change: float, limit: float | None
) -> None:
    """The difference is shown about 0 up to its largest magnitude, also where that is 0."""
    stitched = SECTION.copy()
    stitched[4, 4] -= change
    image = plotting.plot_round_trip(SECTION, stitched).axes[2].images[0]
    low, high = image.get_clim()
    assert image.get_cmap().name == "RdBu_r"
    assert low == -high
    assert high > 0
    assert limit is None or high == pytest.approx(limit, rel=1e-6)


def test_loss_curves_draw_both_targets() -> None:
    """Each panel holds the loss for target 0 and for target 1, in that order."""
    curves = np.stack([LOGITS, LOGITS**2])
    ax = plotting.plot_loss_curves(LOGITS, {"BCE": curves}).axes[0]
    np.testing.assert_array_equal([line.get_ydata() for line in ax.lines], curves)


def test_gradients_are_scaled_by_their_largest_magnitude() -> None:
    """A gradient from -0.5 to 0.25 is drawn from -1 to 0.5, and its title says 0.5."""
    gradient = np.where(TARGET, -0.5, 0.25)
    ax = plotting.plot_loss_gradients({"BCE": gradient}, TARGET).axes[0]
    assert (ax.images[0].get_array().min(), ax.images[0].get_array().max()) == (-1.0, 0.5)
    assert ax.images[0].get_clim() == (-1.0, 1.0)
    assert ax.get_title(loc="left") == "BCE\nlargest 5.0e-01"


def test_learning_curves_draw_one_line_a_seed_and_the_others_in_gray() -> None:
    """Two seeds of BCE and one of Dice: three gray lines, then two of each seed."""
    two_seeds = pd.concat([make_history(seed=seed) for seed in (0, 1)])
    ax = plotting.plot_learning_curves({"BCE": two_seeds, "Dice": make_history()}).axes[0]
    colors = [to_hex(line.get_color()) for line in ax.lines]
    assert colors == ["#d9d9d9"] * 3 + [TRUTH, PREDICTION] * 2
    assert list(ax.lines[3].get_ydata()) == [1.0, 0.5, 0.25]


@pytest.mark.parametrize(("n_watched", "n_lines"), [(0, [1, 1]), (1, [3, 2]), (2, [4, 4])])
def test_learning_curves_need_no_validation(n_watched: int, n_lines: list[int]) -> None:
    """A history without validation has its training loss; without any, the legend has no Dice."""
    histories = {
        name: make_history() if index < n_watched else make_history()[["epoch", "train_loss"]]
        for index, name in enumerate(LOSSES[:2])
    }
    fig = plotting.plot_learning_curves(histories)
    assert [len(ax.lines) for ax in fig.axes[:2]] == n_lines
    labels = [text.get_text() for text in fig.legends[0].get_texts()]
    assert ("validation Dice" in labels) == ("the other losses" in labels) == (n_watched > 0)
    assert labels[-1] == "training loss / its first value"


def test_history_without_its_columns_is_refused() -> None:
    """A history names the epoch and the training loss."""
    with pytest.raises(ValueError, match="Invalid history of BCE without train_loss"):
        plotting.plot_learning_curves({"BCE": make_history().drop(columns="train_loss")})


def test_table_puts_our_mean_beside_the_thesis() -> None:
    """Ours is the mean over seeds, each seed a small dot; a loss not run has the thesis' alone."""
    ax = plotting.plot_table(make_scores(), make_thesis()).axes[0]
    each, thesis, ours = (part for part in ax.collections if isinstance(part, PathCollection))
    np.testing.assert_allclose(each.get_offsets(), [[0.8, 0], [0.9, 0], [0.7, 1]])
    np.testing.assert_allclose(thesis.get_offsets()[:, 0], [0.89, 0.92, 0.91])
    np.testing.assert_allclose(np.ma.filled(ours.get_offsets()[:, 0], np.nan), [0.85, 0.7, np.nan])


@pytest.mark.parametrize(
    ("verdict", "color"),
    [("reproduced", "#3f90da"), ("not reproduced", "#bd1f01"), ("inconclusive", "#717581")],
)
def test_effects_are_coloured_by_verdict(verdict: str, color: str) -> None:
    """The interval of every rival has the colour of the claim's verdict."""
    ax = plotting.plot_effects(make_effects(verdict=verdict)).axes[0]
    (intervals,) = (part for part in ax.collections if isinstance(part, LineCollection))
    assert to_hex(intervals.get_color()[0]) == color
    np.testing.assert_allclose(
        intervals.get_segments(), [[[0.01, 0], [0.03, 0]], [[0.02, 1], [0.04, 1]]]
    )


def test_effects_of_too_few_seeds_are_dots_without_intervals() -> None:
    """Bounds that do not exist are left out, and the effect is still drawn."""
    ax = plotting.plot_effects(make_effects(low=None, high=None)).axes[0]
    (dots,) = (part for part in ax.collections if isinstance(part, PathCollection))
    np.testing.assert_allclose(dots.get_offsets(), [[0.02, 0], [0.03, 1]])


def test_claim_without_a_mean_says_so() -> None:
    """Where no network has a value, the panel reads *no value* in place of an empty frame."""
    ax = plotting.plot_effects(make_effects(mean=np.nan, low=np.nan, high=np.nan)).axes[0]
    assert "no value" in [text.get_text() for text in ax.texts]


def test_effect_with_an_unknown_verdict_is_refused() -> None:
    """A verdict is one of three."""
    with pytest.raises(ValueError, match=r"Invalid verdict 'maybe'. Must be one of: 'reproduced'"):
        plotting.plot_effects(make_effects(verdict="maybe"))


def test_rivals_are_named_once_for_panels_that_share_them() -> None:
    """All panels have a line for every rival, and only the left ones name them."""
    claims = [make_effects(statement=f"Dice is best {index}") for index in range(3)]
    others = make_effects(statement="MSE is worst", rival=["Wing", "KL"])
    axes = plotting.plot_effects(pd.concat([*claims, others])).axes[:4]
    rivals = ["BCE", "Hausdorff", "KL", "Wing"]
    names = [[label.get_text() for label in ax.get_yticklabels()] for ax in axes]
    assert names == [rivals, [], [], rivals]
    assert all(list(ax.get_yticks()) == [0, 1, 2, 3] for ax in axes)


def test_claims_without_effects_are_said_to_be_untested() -> None:
    """Where the losses that the claims compare were not run, the figure says so."""
    (notice,) = plotting.plot_effects(pd.DataFrame()).axes[0].texts
    assert "not run" in notice.get_text()


def test_gallery_gives_every_section_its_own_contrast() -> None:
    """A gain or a constant changes nothing that is seen, and only known salt is outlined."""
    loud = (40.0 * SECTION + 7.0).rename("amplitude")
    fig = plotting.plot_gallery(
        {"salt": SECTION.to_dataset().assign(salt=SALT), "none": loud.to_dataset()}
    )
    first, second = fig.axes[:2]
    np.testing.assert_allclose(
        first.images[0].get_array(), second.images[0].get_array(), rtol=1e-4, atol=1e-5
    )
    assert [len(ax.findobj(ContourSet)) for ax in (first, second)] == [1, 0]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({}, "Invalid sections: none given"),
        ({"flat": (SECTION * np.nan).to_dataset()}, "without a finite amplitude"),
        ({"turned": SECTION.T.to_dataset()}, "Invalid section with dims"),
    ],
)
def test_gallery_without_a_section_is_refused(
    sections: dict[str, xr.Dataset], message: str
) -> None:
    """What is no section, or none at all, is not drawn."""
    with pytest.raises(ValueError, match=message):
        plotting.plot_gallery(sections)


def test_statistics_are_means_over_sections_with_the_range_of_the_reference() -> None:
    """Each line is the mean of the sections; the reference alone has their range shaded."""
    parts = {"real": make_statistics(), "synthetic": make_statistics()}
    fig = plotting.plot_statistics(parts, reference="real")
    for ax in fig.axes[:8]:
        assert [line.get_label() for line in ax.get_lines()] == ["real", "synthetic"]
        np.testing.assert_allclose(ax.get_lines()[1].get_ydata(), [0.3, 0.7])
        assert len(ax.collections) == 1
    with pytest.raises(ValueError, match="Invalid reference 'other'"):
        plotting.plot_statistics(parts, reference="other")


def test_label_shares_are_split_above_the_threshold() -> None:
    """A patch with exactly the threshold's share is background."""
    shares = np.array([0.0, 0.1, 0.2, 0.21, 1.0])
    legend = plotting.plot_label_shares(shares, 0.2).axes[0].get_legend()
    assert legend is not None
    assert sorted(text.get_text() for text in legend.get_texts()) == [
        "background: 3 patches",
        "salt: 2 patches",
        "threshold 20 %",
    ]


def test_shares_outside_0_to_1_are_refused() -> None:
    """Percent posing as a share is an error."""
    with pytest.raises(ValueError, match=r"Invalid share 20.0"):
        plotting.plot_label_shares(np.array([0.0, 20.0]), 0.2)
    with pytest.raises(ValueError, match=r"Invalid threshold 20.0"):
        plotting.plot_label_shares(np.array([0.0, 0.2]), 20)


def test_network_states_the_sizes_it_is_given() -> None:
    """Every stage shows channels, height and width, and the latent the sum of its channels."""
    fig = plotting.plot_network(BLOCKS, skips=SKIPS, latent=LATENT)
    words = [text.get_text() for text in fig.axes[0].texts]
    for name, channels, height, width in BLOCKS:
        assert words[words.index(name) + 1] == f"{channels} × {height} × {width}"
    assert words[words.index("latent") + 1] == "64\n+ 128\n= 192\nchannels"


def test_network_that_does_not_fit_together_is_refused() -> None:
    """Skips join stages that exist, and the decoder climbs the encoder's sizes."""
    with pytest.raises(ValueError, match=r"Invalid block 'block9'. Must be one of: 'input'"):
        plotting.plot_network(BLOCKS, skips=[("block9", "decoder1")], latent=LATENT)
    odd = [*BLOCKS[:-1], ("logits", 1, 34, 32)]
    with pytest.raises(ValueError, match=r"Invalid size \(34, 32\) of logits. Must be one of"):
        plotting.plot_network(odd, skips=SKIPS, latent=LATENT)
