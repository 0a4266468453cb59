"""What every figure keeps to and refuses; sections, volumes, grids of images and diagrams."""

from typing import Any

import figure_samples as samples
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.text import Text

from saltvolumes.volume import build_volume
from thesis_lib import plotting
from thesis_lib.plotting import plot_image_grid, thesis_style

VOLUME, NUMBERED = samples.make_volume(), samples.make_volume(spacing_m=None)
SECTION, SALT = samples.SECTION, samples.SALT
UNEVEN = "crossline (index, unevenly spaced)"


def test_every_figure_has_a_sample() -> None:
    """The contract below is checked for each public function."""
    public = {name for name in vars(plotting) if name.startswith("plot_")}
    assert {name.partition(",")[0] for name in samples.FIGURES} == public


@pytest.mark.parametrize("name", samples.FIGURES)
def test_every_figure_is_light_page_wide_and_readable(name: str) -> None:
    """One white figure at most 7 in wide, no text below 8 pt or empty panel, rcParams unchanged."""
    before = dict(matplotlib.rcParams)
    fig = samples.FIGURES[name]()
    assert dict(matplotlib.rcParams) == before
    assert [plt.figure(number) for number in plt.get_fignums()] == [fig]
    fig.draw_without_rendering()
    texts = [text for text in fig.findobj(Text) if text.get_text() and text.get_visible()]
    assert to_hex(fig.get_facecolor()) == "#ffffff"
    assert fig.get_size_inches()[0] <= 7.0
    assert min(text.get_fontsize() for text in texts) >= 8.0
    assert all(ax.has_data() or not (ax.axison and ax.get_frame_on()) for ax in fig.axes)


@pytest.mark.parametrize("name", ["plot_pipeline", "plot_network"])
def test_no_text_of_a_diagram_overlaps_another_or_leaves_the_page(name: str) -> None:
    """The words of a drawing are apart from each other and inside of the figure."""
    fig = samples.FIGURES[name]()
    fig.draw_without_rendering()
    texts = [text for text in fig.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    for number, box in enumerate(boxes):
        assert fig.bbox.x0 <= box.x0 < box.x1 <= fig.bbox.x1
        assert box.count_overlaps(boxes[number + 1 :]) == 0


def test_style_cycles_through_petroff10(monkeypatch: pytest.MonkeyPatch) -> None:
    """Categories have the ten colours of petroff10; interactive mode, once on, stays on."""
    monkeypatch.setitem(matplotlib.rcParams, "interactive", False)
    with thesis_style():
        ours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
        plt.ion()
    assert plt.isinteractive()
    with plt.style.context("petroff10"):
        theirs = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert [*map(to_hex, ours)] == [*map(to_hex, theirs)]


def test_amplitudes_are_gray_and_symmetric_at_the_98th_percentile() -> None:
    """Of the magnitudes 0, 1, ..., 100 the colours end at -98 and 98, without NaN, with a unit."""
    values = np.arange(101.0) * np.where(np.arange(101) % 2, 1, -1)
    data = np.stack([values, np.full(101, np.nan)])[None]
    volume = build_volume(data, inline=[1], crossline=[1, 2], vertical=np.arange(101))
    section = volume.amplitude.isel(inline=0).T.assign_attrs(units="Pa")
    ax, bar = plotting.plot_section(section).axes
    assert ax.images[0].get_clim() == pytest.approx((-98.0, 98.0))
    assert ax.images[0].get_cmap().name == "gray"
    assert bar.get_ylabel() == "migrated amplitude\n(Pa)"
    unknown = plotting.plot_section(samples.SECTION).axes[1]
    assert unknown.get_ylabel() == "migrated amplitude\n(arbitrary units)"


@pytest.mark.parametrize(
    ("volume", "xlabel", "ylabel", "aspect"),
    [
        (samples.make_volume(), "crossline (m)", "depth (m)", 1.0),
        (samples.make_volume(spacing_m=2000.0), "crossline (km)", "depth (km)", "auto"),
        (samples.make_volume(vertical_dim="time"), "crossline (m)", "two-way time (ms)", "auto"),
        (NUMBERED, "crossline (number)", "depth (m)", "auto"),
        (NUMBERED[{"crossline": [0, 1, 7]}], UNEVEN, "depth (m)", "auto"),
    ],
)
def test_axes_have_units_and_are_to_scale_where_both_are_lengths(
    volume: xr.Dataset, xlabel: str, ylabel: str, aspect: float | str
) -> None:
    """Axes are in m, in km from 10 km on, in ms, or in line numbers; a strip is not to scale."""
    ax = plotting.plot_section(samples.take_section(volume)).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_aspect()) == (xlabel, ylabel, aspect)
    assert ax.yaxis_inverted()


def test_truth_is_a_solid_orange_contour_and_prediction_a_dashed_blue_one() -> None:
    """The truth alone comes first, then both for each loss; a probability is cut at one half."""
    panels = samples.FIGURES["plot_predictions"]().axes[:4]
    assert [ax.get_title(loc="left") for ax in panels] == ["Truth", *samples.LOSSES]
    assert [len(ax.findobj(ContourSet)) for ax in panels] == [1, 2, 2, 2]
    truth, prediction = panels[1].findobj(ContourSet)
    assert (to_hex(truth.get_edgecolor()[0]), truth.get_linestyle()[0][1]) == (samples.ORANGE, None)
    assert to_hex(prediction.get_edgecolor()[0]) == samples.BLUE
    assert prediction.get_linestyle()[0][1] is not None


def test_image_ends_half_a_sample_outside_and_the_contour_lies_between_samples() -> None:
    """Depths from 0 to 180 m fill -10 to 190 m; salt from 100 m on, not at 80 m, ends at 90 m."""
    ax = plotting.plot_section(SECTION, salt=SALT).axes[0]
    assert (ax.get_xlim(), ax.get_ylim()) == ((-12.5, 187.5), (190.0, -10.0))
    (truth,) = ax.findobj(ContourSet)
    np.testing.assert_allclose(truth.get_paths()[0].vertices[:, 1], 90.0)


def test_nothing_is_outlined_where_there_is_no_boundary() -> None:
    """Salt alone, a section without any, and a volume without a mask have no contour."""
    at = {"inline": 102, "crossline": 303, "vertical": 100}
    figures = [plotting.plot_section(SECTION, salt=salt) for salt in (SALT | True, SALT & False)]
    figures.append(plotting.plot_volume(samples.make_volume(salt=False), **at))
    assert [fig.findobj(ContourSet) for fig in figures] == [[], [], []]


def test_volume_shows_three_slices_through_the_nearest_samples() -> None:
    """Slices asked for between samples are those of the nearest sample, and titled so."""
    panels = [ax for ax in samples.FIGURES["plot_volume"]().axes if ax.images]
    titles = [ax.get_title(loc="left") for ax in panels]
    assert titles == ["depth 120 m", "inline 102", "crossline 305"]
    assert [ax.images[0].get_array().shape for ax in panels] == [(6, 8), (10, 8), (10, 6)]
    across, down = panels[1].lines
    assert (across.get_ydata()[0], down.get_xdata()[0]) == (120.0, 125.0)


@pytest.mark.parametrize(("change", "limit"), [(0.25, 0.25), (0.0, 1.0)])
def test_round_trip_ends_its_colours_at_the_largest_difference(change: float, limit: float) -> None:
    """The difference is shown about 0 up to its largest magnitude, also where that is 0."""
    stitched = SECTION.copy()
    stitched[4, 4] -= change
    image = plotting.plot_round_trip(SECTION, stitched).axes[2].images[0]
    assert image.get_cmap().name == "RdBu_r"
    assert image.get_clim() == pytest.approx((-limit, limit), rel=1e-6)


def test_gallery_gives_every_section_its_own_contrast() -> None:
    """A gain or a constant changes nothing that is seen, and only known salt is outlined."""
    loud = (40.0 * SECTION + 7.0).rename("amplitude")
    quiet = SECTION.to_dataset().assign(salt=SALT)
    first, second = plotting.plot_gallery({"salt": quiet, "none": loud.to_dataset()}).axes[:2]
    shown = [ax.images[0].get_array() for ax in (first, second)]
    np.testing.assert_allclose(*shown, rtol=1e-4, atol=1e-5)
    assert [len(ax.findobj(ContourSet)) for ax in (first, second)] == [1, 0]


def test_statistics_are_means_over_sections_with_the_range_of_the_reference() -> None:
    """Each line is the mean of the sections; the reference alone has their range shaded."""
    for ax in samples.FIGURES["plot_statistics"]().axes[:8]:
        assert [line.get_label() for line in ax.get_lines()] == ["data", "synthetic"]
        np.testing.assert_allclose(ax.get_lines()[1].get_ydata(), [0.3, 0.7])
        assert len(ax.collections) == 1


def test_network_states_the_sizes_it_is_given() -> None:
    """Every stage shows channels, height and width, and the latent the sum of its channels."""
    words = [text.get_text() for text in samples.FIGURES["plot_network"]().axes[0].texts]
    for name, channels, height, width in samples.BLOCKS:
        assert words[words.index(name) + 1] == f"{channels} × {height} × {width}"
    assert words[words.index("latent") + 1] == "64\n+ 128\n= 192\nchannels"


@pytest.mark.parametrize("size", [(32, 32), (99, 99), (150, 300)])
@pytest.mark.parametrize("draw", [samples.draw_grid, samples.draw_maps, samples.draw_wrapped])
def test_pixels_are_square_and_no_word_lies_on_another(draw: Any, size: tuple[int, int]) -> None:
    """A patch of H by W pixels is H high and W wide, and words are next to it and each other."""
    fig = draw(size)
    fig.draw_without_rendering()
    panels = [ax for ax in fig.axes if ax.images]
    labels = [label for ax in panels for label in (ax.title, ax.xaxis.label, ax.yaxis.label)]
    labels = [label for label in labels if label.get_text()]
    boxes = [part.get_window_extent() for part in (*panels, *labels)]
    assert all(box.count_overlaps(boxes) == 1 for box in boxes[len(panels) :])  # only itself
    box = boxes[0]
    assert box.height / box.width == pytest.approx(size[0] / size[1], rel=0.01)


def test_gray_rows_share_one_symmetric_contrast() -> None:
    """All images end at the 98th percentile of all magnitudes, or where they are told to."""
    loud = np.array([[[0.0, np.nan], [-49.0, 50.0]]])
    rows = {"quiet": np.zeros((1, 2, 2)), "loud": loud}
    end = np.percentile([0, 0, 0, 0, 0, 49, 50], 98)
    for limit, expected in ((None, end), (7.0, 7.0)):
        images = [ax.images[0] for ax in plot_image_grid(rows, limit=limit).axes[:2]]
        assert [image.get_clim() for image in images] == [pytest.approx((-expected, expected))] * 2
        assert images[0].get_cmap().name == "gray"


def test_rows_differ_in_length_and_images_to_be_distrusted_are_framed() -> None:
    """Rows of four, three and no images, or of seven in lines of four; the second frame is red."""
    *panels, bar = samples.draw_grid(n=4).axes
    assert [len(ax.images) for ax in panels] == [1] * 4 + [1] * 3 + [0] * 5
    assert [text.get_text() for text in panels[8].texts] == ["not run"]
    assert [ax.get_title() for ax in panels[:4]] == [f"start {n}" for n in range(4)]
    assert bar.get_ylabel() == "amplitude\n(std. dev.)"
    assert [number for number, ax in enumerate(panels) if ax.get_frame_on()] == [1]
    parts = (panels[1].spines["top"].get_edgecolor(), panels[1].xaxis.label.get_color())
    assert {to_hex(color) for color in parts} == {samples.RED}
    assert panels[0].get_xlabel() == "p 0.999\n1 body"
    panels = samples.draw_wrapped().axes[:8]
    assert [len(ax.images) for ax in panels] == [1] * 7 + [0]
    assert [ax.get_xlabel() for ax in panels] == ["salt\n36 %"] * 7 + [""]


def test_layout_does_not_depend_on_values_or_frames() -> None:
    """Other images and frames, with captions of as many lines, give a figure of the same size."""
    sizes = set()
    for images, flags in ((samples.make_images(2), [True, False]), (np.zeros((2, 9, 7)), [0, 0])):
        fig = plot_image_grid({"a": images}, framed={"a": flags}, captions={"a": ["x\n"] * 2})
        sizes.add((*fig.get_size_inches(), len(fig.axes)))
    assert len(sizes) == 1


def test_signed_rows_are_red_and_blue_each_on_its_own_scale_with_its_salt() -> None:
    """Maps end at their network's largest magnitude, each with its bar; salt is outlined in all."""
    *panels, _, first_bar, second_bar = samples.draw_maps().axes
    images = [panels[start].images[0] for start in (0, 4, 8)]
    assert [image.get_cmap().name for image in images] == ["gray", "RdBu_r", "RdBu_r"]
    largest = np.abs(samples.make_images(4)).max()
    for image, end in zip(images[1:], (largest, 50 * largest), strict=True):
        assert image.get_clim() == pytest.approx((-end, end))
    assert [bar.get_ylabel() for bar in (first_bar, second_bar)] == ["map\n(logit)"] * 2
    assert [len(ax.findobj(ContourSet)) for ax in panels] == [1] * 12
    empty = plot_image_grid({"none": np.zeros((1, 9, 7))}, signed={"none": "map (logit)"})
    assert empty.axes[0].images[0].get_clim() == (-1.0, 1.0)


ONE, TWO = {"AM": samples.make_images(1)}, {"AM": samples.make_images(2)}
NETWORK = {"skips": samples.SKIPS, "latent": samples.LATENT}
UNKNOWN = NETWORK | {"skips": [("b", "decoder1")]}
OUTSIDE = {"inline": 102, "crossline": 303, "vertical": 500}
UNDECIDED = samples.make_effects(verdict="maybe")
MEASURE = ["modification"]
ODD = [*samples.BLOCKS[:-1], ("logits", 1, 34, 32)]


@pytest.mark.parametrize(
    ("message", "draw", "given", "options"),
    [
        (r"section with dims \('crossline', 'depth'\). Must", "section", [SECTION.T], {}),
        ("Invalid section with dims", "gallery", [{"one": VOLUME}], {}),
        ("Invalid image without a finite value", "section", [SECTION * np.nan], {}),
        ("Invalid number of panels 0. Must be at least 1", "gallery", [{}], {}),
        (r"section \(10, 8\), true salt \(8, 10\)", "section", [SECTION], {"salt": SALT.values.T}),
        (r"original \(10, 8\), stitched \(9, 8\)", "round_trip", [SECTION, SECTION[1:]], {}),
        (r"Invalid depth 500. Must lie in \[0, 180\]", "volume", [VOLUME], OUTSIDE),
        ("Invalid reference 'other'", "statistics", [{}], {"reference": "other"}),
        ("Invalid block 'b'. Must be one of: 'input'", "network", [samples.BLOCKS], UNKNOWN),
        (r"Invalid size of logits \(34, 32\). Must be one of", "network", [ODD], NETWORK),
        ("Invalid number of images 0. Must be at least 1", "image_grid", [{}], {}),
        (r"Invalid 'AM' of shape \(9, 7\). Must be", "image_grid", [{"AM": ONE["AM"][0]}], {}),
        ("column titles: 1 given. Must be 2", "image_grid", [TWO], {"column_titles": ["one"]}),
        ("captions of 'AM': 1 given. Must be 2", "image_grid", [TWO], {"captions": {"AM": ["x"]}}),
        ("frames of 'AM': 1 given. Must be 2", "image_grid", [TWO], {"framed": {"AM": [True]}}),
        (r"AM \(2, 9, 7\), masks \(1, 9, 7\)", "image_grid", [TWO], {"masks": ONE["AM"] > 0}),
        ("Invalid number of panels 0", "histories", [{}], {"ylabel": "loss"}),
        ("Invalid verdict 'maybe'. Must be one of: 'supported'", "effects", [UNDECIDED], {}),
        ("Invalid number of matrices 0", "confusions", [{}, samples.CLASSES], {}),
        (r"classes \(2, 2\), one \(4, 4\)", "confusions", [{"one": samples.COUNTS}, "ab"], {}),
        ("block", "depth_curves", [samples.make_depths().drop(columns="block"), MEASURE], {}),
        ("modification", "depth_curves", [samples.make_depths().iloc[:, [0, -1]], MEASURE], {}),
    ],
)
def test_what_does_not_fit_together_is_refused(
    message: str, draw: str, given: Any, options: dict[str, Any]
) -> None:
    """Errors state what was given and what is allowed."""
    with pytest.raises((ValueError, KeyError), match=message):
        getattr(plotting, f"plot_{draw}")(*given, **options)
