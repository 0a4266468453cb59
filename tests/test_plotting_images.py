"""Figures of images that networks made or judged: contrast, contours, notes, marks."""

from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from figure_contract import check_figure, find_overlaps
from matplotlib.colors import to_hex
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from thesis_lib import plotting

SIZES = [(32, 32), (99, 99), (150, 300)]
ROUTES = ("segmentation encoder", "classifier from scratch", "untrained")
BLOCKS = ("block1", "block2")
RED = "#bd1f01"


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Leave no figure of a test behind."""
    yield
    plt.close("all")


def make_images(n: int, size: tuple[int, int] = (9, 7)) -> np.ndarray:
    """Noise of standard deviation 1."""
    return np.random.default_rng(0).standard_normal((n, *size))


def make_inversions(size: tuple[int, int] = (9, 7)) -> tuple[dict, pd.DataFrame]:
    """Two blocks of three routes, one of which did not converge."""
    images = {route: dict.fromkeys(BLOCKS, make_images(1, size)[0]) for route in ROUTES}
    rows = [
        {"route": route, "block": block, "residual": 0.004, "modification": 0.25, "converged": True}
        for route in ROUTES
        for block in BLOCKS
    ]
    table = pd.DataFrame(rows)
    table.loc[1, ["residual", "converged"]] = 0.03, False
    return images, table


def draw_grid(size: tuple[int, int] = (9, 7), n: int = 8) -> Figure:
    """Rows of n, of 3 and of no images, with titles and notes."""
    rows = {
        ROUTES[0]: make_images(n, size),
        "nearest real patches": make_images(3, size),
        "naive": make_images(0, size),
    }
    titles = [f"seed {index}" for index in range(n)]
    return plotting.plot_image_grid(rows, column_titles=titles, notes={ROUTES[0]: ["p 0.999"] * n})


def draw_emergence(size: tuple[int, int] = (9, 7)) -> Figure:
    """Three routes over four snapshots."""
    steps = dict.fromkeys((0, 4, 16, 256), make_images(1, size)[0])
    return plotting.plot_emergence(dict.fromkeys(ROUTES, steps))


def draw_inversions(size: tuple[int, int] = (9, 7)) -> Figure:
    """A patch and its inversions."""
    return plotting.plot_inversions(make_images(1, size)[0], *make_inversions(size))


def draw_cams(size: tuple[int, int] = (9, 7)) -> Figure:
    """Four patches, half salt, and the maps of two networks."""
    masks = np.broadcast_to(np.arange(size[0])[:, None] > size[0] // 2, (4, *size))
    maps = {
        route: scale * make_images(4, size) for route, scale in zip(ROUTES, (1, 50), strict=False)
    }
    return plotting.plot_cams(make_images(4, size), maps, masks, titles=["salt\np 0.98"] * 4)


FIGURES: dict[str, Callable[..., Figure]] = {
    "grid": draw_grid,
    "emergence": draw_emergence,
    "inversions": draw_inversions,
    "cams": draw_cams,
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_of_images_keep_to_the_style(name: str) -> None:
    """Figures are light, page-wide and readable, and leave matplotlib as it was."""
    check_figure(FIGURES[name])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FIGURES)
def test_no_word_lies_on_an_image_or_another_word(name: str, size: tuple[int, int]) -> None:
    """Labels, titles and notes stand beside square, odd-sized and wide patches alike."""
    assert find_overlaps(FIGURES[name](size)) == []


@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_square(size: tuple[int, int]) -> None:
    """A patch of H by W pixels is shown H high and W wide."""
    fig = draw_grid(size, n=3)
    fig.draw_without_rendering()
    box = fig.axes[0].get_window_extent()
    assert box.height / box.width == pytest.approx(size[0] / size[1], rel=0.01)


def test_grid_of_seeds_shares_one_symmetric_contrast() -> None:
    """All images end at the 98th percentile of the magnitudes of all of them; NaN takes no part."""
    loud = np.array([[[0.0, np.nan], [-49.0, 50.0]]])
    rows = {"quiet": np.zeros((1, 2, 2)), "loud": loud}
    images = [ax.images[0] for ax in plotting.plot_image_grid(rows).axes[:2]]
    limit = np.percentile([0, 0, 0, 0, 0, 49, 50], 98)
    assert [image.get_clim() for image in images] == [pytest.approx((-limit, limit))] * 2
    assert images[0].get_cmap().name == "gray"


def test_images_can_have_a_contrast_each() -> None:
    """A factor on an image is not seen where each image has its own contrast."""
    image = make_images(1)
    fig = plotting.plot_image_grid({"one": image, "loud": 40 * image}, shared=False)
    first, second = (ax.images[0] for ax in fig.axes[:2])
    np.testing.assert_allclose(first.get_array(), second.get_array())
    assert first.get_clim() == (-1.0, 1.0)
    assert "98th percentile of each image" in fig.axes[-1].get_xlabel()


def test_rows_may_differ_in_length() -> None:
    """A row of three images has three, and a row of none says that it was not run."""
    fig = draw_grid(n=4)
    counts = [sum(bool(ax.images) for ax in fig.axes[start : start + 4]) for start in (0, 4, 8)]
    assert counts == [4, 3, 0]
    assert [text.get_text() for text in fig.axes[8].texts] == ["not run"]
    assert [ax.get_xlabel() for ax in fig.axes[3:5]] == ["p 0.999", ""]


def test_emergence_has_a_column_a_step() -> None:
    """Snapshots stand in the order of their steps, however they were read, titled by them."""
    fig = plotting.plot_emergence(
        {
            "one": {8: np.ones((2, 2)), 0: np.zeros((2, 2))},
            "two": {8: np.full((2, 2), 3.0), 0: np.full((2, 2), 2.0)},
        }
    )
    assert [ax.get_title() for ax in fig.axes[:2]] == ["step 0", "step 8"]
    assert [ax.images[0].get_array()[0, 0] for ax in fig.axes[:4]] == [0, 1, 2, 3]


def test_inversions_that_did_not_converge_are_framed_in_red_and_say_so() -> None:
    """The second block of the first route has a red frame and note, the others have neither."""
    panels = draw_inversions().axes[:9]
    framed = [number for number, ax in enumerate(panels) if ax.get_frame_on()]
    assert framed == [2]
    assert to_hex(panels[2].spines["top"].get_edgecolor()) == RED
    assert panels[2].get_xlabel() == "residual 0.03\n1 − SSIM 0.25\nnot converged"
    assert panels[1].get_xlabel() == "residual 0.004\n1 − SSIM 0.25"


def test_inversions_have_the_contrast_of_the_input() -> None:
    """A spike in an inversion does not pale the others: the patch alone decides."""
    images, table = make_inversions()
    images[ROUTES[0]] = {block: 100 * image for block, image in images[ROUTES[0]].items()}
    patch = make_images(1)[0]
    limit = np.percentile(np.abs(patch), 98)
    for ax in plotting.plot_inversions(patch, images, table).axes[:9]:
        assert ax.images[0].get_clim() == pytest.approx((-limit, limit))


def test_maps_are_signed_about_0_each_network_on_its_own_scale() -> None:
    """Maps are red and blue up to their network's largest magnitude; the patch is gray."""
    fig = draw_cams()
    patch, first, second = (fig.axes[start].images[0] for start in (0, 4, 8))
    assert [image.get_cmap().name for image in (patch, first, second)] == [
        "gray",
        "RdBu_r",
        "RdBu_r",
    ]
    largest = np.abs(make_images(4)).max()
    assert first.get_clim() == pytest.approx((-largest, largest))
    assert second.get_clim() == pytest.approx((-50 * largest, 50 * largest))
    assert [ax.get_ylabel() for ax in fig.axes[-2:]] == ["map (logit)"] * 2


def test_salt_is_outlined_on_patch_and_map() -> None:
    """Every panel has the contour of the true salt; without masks none has."""
    assert [len(ax.findobj(ContourSet)) for ax in draw_cams().axes[:12]] == [1] * 12
    bare = plotting.plot_cams(make_images(2), {"one": make_images(2)})
    assert bare.findobj(ContourSet) == []
    assert bare.legends == []


def test_map_that_is_zero_is_drawn() -> None:
    """A network without any evidence has an empty map, not an error."""
    fig = plotting.plot_cams(make_images(1), {"none": np.zeros((1, 9, 7))})
    assert fig.axes[1].images[0].get_clim() == (-1.0, 1.0)


IMAGES, TABLE = make_inversions()
PATCH = make_images(1)[0]
WRONG: dict[str, Callable[[], Figure]] = {
    "Invalid rows: no image given": lambda: plotting.plot_image_grid({}),
    r"Invalid 'AM' of shape \(9, 7\). Must be \(n, H, W\)": lambda: plotting.plot_image_grid(
        {"AM": PATCH}
    ),
    "Invalid titles: 1 given. Must be 2": lambda: plotting.plot_image_grid(
        {"AM": make_images(2)}, column_titles=["one"]
    ),
    "Invalid notes of 'AM'. Must be one an image": lambda: plotting.plot_image_grid(
        {"AM": make_images(2)}, notes={"AM": ["one"]}
    ),
    "Invalid notes of 'NI'": lambda: plotting.plot_image_grid(
        {"AM": make_images(2)}, notes={"NI": ["one", "two"]}
    ),
    "without a finite amplitude": lambda: plotting.plot_image_grid({"AM": make_images(1) * np.nan}),
    "Invalid snapshots: no image given": lambda: plotting.plot_emergence({"AM": {}}),
    r"Invalid snapshots \[4\] of 'two'. Must be \[0\]": lambda: plotting.plot_emergence(
        {"one": {0: PATCH}, "two": {4: PATCH}}
    ),
    r"Invalid blocks \['block1'\] of 'x'": lambda: plotting.plot_inversions(
        PATCH, {**IMAGES, "x": {"block1": PATCH}}, TABLE
    ),
    "Invalid table without residual. Must have route": lambda: plotting.plot_inversions(
        PATCH, IMAGES, TABLE.drop(columns="residual")
    ),
    "Invalid table: 0 rows for block2 of 'untrained'. Must be one": lambda: (
        plotting.plot_inversions(PATCH, IMAGES, TABLE[:-1])
    ),
    "Invalid table: 2 rows for block1 of 'segmentation encoder'": lambda: plotting.plot_inversions(
        PATCH, IMAGES, pd.concat([TABLE, TABLE[:1]])
    ),
    r"patch \(8, 7\), block1 of segmentation encoder \(9, 7\)": lambda: plotting.plot_inversions(
        PATCH[1:], IMAGES, TABLE
    ),
    r"Invalid images of shape \(9, 7\). Must be \(n, H, W\), not empty": lambda: plotting.plot_cams(
        PATCH, {"one": PATCH}
    ),
    r"images \(2, 9, 7\), one \(1, 9, 7\)": lambda: plotting.plot_cams(
        make_images(2), {"one": make_images(1)}
    ),
    r"images \(2, 9, 7\), masks \(1, 9, 7\)": lambda: plotting.plot_cams(
        make_images(2), {"one": make_images(2)}, make_images(1) > 0
    ),
    "Invalid titles: 3 given. Must be 2": lambda: plotting.plot_cams(
        make_images(2), {"one": make_images(2)}, titles=["a"] * 3
    ),
    "Invalid map of one: not finite anywhere": lambda: plotting.plot_cams(
        make_images(2), {"one": make_images(2) * np.nan}
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_does_not_fit_together_is_refused(message: str) -> None:
    """Errors say what was given and what is allowed."""
    with pytest.raises(ValueError, match=message):
        WRONG[message]()
