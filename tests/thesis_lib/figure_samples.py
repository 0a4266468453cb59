"""One sample of every figure of the book, and the small data behind it."""

from collections.abc import Callable

import matplotlib
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from saltvolumes.volume import build_volume
from thesis_lib import plotting

matplotlib.use("Agg")

BLUE, ORANGE, RED, GRAY = "#3f90da", "#ffa90e", "#bd1f01", "#717581"
LOSSES = ("BCE", "Dice", "Hausdorff")
NETWORKS = ("segmentation encoder", "classifier from scratch", "untrained")
CLASSES = ("chaotic", "fault", "horizon", "salt dome")
COUNTS = np.array([[30, 0, 0, 0], [5, 15, 0, 0], [0, 0, 0, 0], [0, 0, 1, 99]])
SIZES = [(33, 32), (33, 32), (17, 16), (9, 8), (5, 4), (9, 8), (17, 16), (33, 32), (33, 32)]
CHANNELS = (1, 3, 64, 64, 128, 64, 32, 16, 1)
ENCODER, DECODER = ("merger", "stem", "block1", "block2"), ("decoder1", "decoder2", "decoder3")
STAGES = ("input", *ENCODER, *DECODER, "logits")
BLOCKS = [(name, n, *size) for name, n, size in zip(STAGES, CHANNELS, SIZES, strict=True)]
SKIPS = [("block1", "decoder1"), ("stem", "decoder2")]
LATENT = ["block1", "block2"]


def make_volume(
    *, vertical_dim: str = "depth", spacing_m: float | None = 25.0, salt: bool = True
) -> xr.Dataset:
    """6 x 8 x 10 samples; salt below the fifth sample; 20 m or ms between samples."""
    shape = (6, 8, 10)
    metres = {
        f"{line}_m": np.arange(n) * spacing_m
        for line, n in (("inline", 6), ("crossline", 8))
        if spacing_m is not None
    }
    return build_volume(
        np.random.default_rng(0).standard_normal(shape),
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


SCORES = pd.DataFrame(  # two seeds of BCE and one of Dice; Hausdorff was not run
    {
        "loss": ["BCE", "BCE", "Dice"],
        "dice": [0.8, 0.9, 0.7],
        "perimetric_similarity": [0.6, 0.7, 0.5],
    }
)
THESIS = pd.DataFrame(
    {"dice": [0.89, 0.92, 0.91], "perimetric_similarity": [0.75, 0.88, 0.94]}, index=list(LOSSES)
)
MEASURES = pd.DataFrame(  # a network with an image without a contour, and two patches of the data
    {
        "group": ["network"] * 3 + ["data: salt"] * 2,
        "sharpness": [1.0, 3.0, np.nan, 5.0, np.inf],
        "noise_db": [9.0, 9.0, 9.0, np.nan, np.nan],
    }
)


def make_effects(**columns: object) -> pd.DataFrame:
    """One claim with two rivals."""
    effects = {"mean": [0.02, 0.03], "low": [0.01, 0.02], "high": [0.03, 0.04]}
    claim = {
        "statement": "Dice is best",
        "verdict": "supported",
        "margin": 0.005,
        "rival": ["BCE", "Hausdorff"],
    }
    return pd.DataFrame({**claim, **effects, **columns})


def make_statistics() -> xr.Dataset:
    """Statistics of two sections, all the same."""
    densities = ("amplitude", "dip", "planarity", "coherence", "energy_change")
    steps = {name: f"{name}_value" for name in densities} | {"coherence_of_lag": "lag"}
    steps |= {f"{axis}_power": f"{axis}_frequency" for axis in ("vertical", "lateral")}
    return xr.Dataset(
        {name: (("section", steps[name]), [[0.4, 0.6], [0.2, 0.8]]) for name in steps},
        coords={coordinate: [0.25, 0.75] for coordinate in steps.values()},
    )


def make_depths(mean: float = 0.4) -> pd.DataFrame:
    """Modification by two blocks of two initialisations, the deeper block first."""
    values = {"modification": [mean, 0.1], "modification_low": -1.0, "modification_high": 0.7}
    blocks = pd.Categorical(["block2", "block1"], ["block1", "block2", "block3"])
    table = pd.DataFrame({"block": blocks, **values})
    return pd.concat([table.assign(initialisation=name) for name in NETWORKS[:2]])


def make_images(n: int, size: tuple[int, int] = (9, 7)) -> np.ndarray:
    """Noise of standard deviation 1."""
    return np.random.default_rng(0).standard_normal((n, *size))


def draw_grid(size: tuple[int, int] = (9, 7), n: int = 8) -> Figure:
    """Rows of n, of 3 and of no images, with titles and captions, one of them framed."""
    names = (NETWORKS[0], "nearest patches", "naive")
    rows = {name: make_images(m, size) for name, m in zip(names, (n, 3, 0), strict=True)}
    return plotting.plot_image_grid(
        rows,
        column_titles=[f"start {index}" for index in range(n)],
        captions={NETWORKS[0]: ["p 0.999\n1 body"] * n},
        framed={NETWORKS[0]: [False, True] + [False] * (n - 2)},
    )


def draw_maps(size: tuple[int, int] = (9, 7)) -> Figure:
    """Four patches, half salt, and the signed maps of two networks."""
    masks = np.broadcast_to(np.arange(size[0])[:, None] > size[0] // 2, (4, *size))
    maps = {NETWORKS[0]: make_images(4, size), NETWORKS[1]: 50 * make_images(4, size)}
    return plotting.plot_image_grid(
        {"patch": make_images(4, size), **maps},
        masks=masks,
        signed=dict.fromkeys(maps, "map (logit)"),
    )


def draw_wrapped(size: tuple[int, int] = (9, 7)) -> Figure:
    """Seven images without a label on two lines of four."""
    images = make_images(7, size)
    return plotting.plot_image_grid({"": images}, captions={"": ["salt\n36 %"] * 7}, n_columns=4)


FIGURES: dict[str, Callable[[], Figure]] = {
    "plot_confusions": lambda: plotting.plot_confusions(dict.fromkeys(NETWORKS, COUNTS), CLASSES),
    "plot_depth_curves": lambda: plotting.plot_depth_curves(make_depths(), ["modification"] * 4),
    "plot_effects": lambda: plotting.plot_effects(make_effects(mean=[0.02, np.nan])),
    "plot_forest": lambda: plotting.plot_forest(make_effects(mean=[0.02, np.nan])),
    "plot_gallery": lambda: plotting.plot_gallery(
        {"one": SECTION.to_dataset().assign(salt=SALT), "other": SECTION.to_dataset()}
    ),
    "plot_histories": lambda: plotting.plot_histories(
        {f"block{n}": {"L-BFGS": np.ones((2, 9)), "Adam": np.ones((2, 50))} for n in range(4)},
        ylabel="residual (dimensionless)",
        logarithmic=True,
        levels={"tolerance 0.01": 0.01},
        marks={"4 steps": 4},
    ),
    "plot_image_grid": draw_grid,
    "plot_image_grid, signed": draw_maps,
    "plot_image_grid, wrapped": draw_wrapped,
    "plot_measures": lambda: plotting.plot_measures(MEASURES, ["sharpness", "noise_db"]),
    "plot_network": lambda: plotting.plot_network(BLOCKS, skips=SKIPS, latent=LATENT),
    "plot_pipeline": plotting.plot_pipeline,
    "plot_predictions": lambda: plotting.plot_predictions(
        SECTION, SALT, dict.fromkeys(LOSSES, SALT * 0.9)
    ),
    "plot_round_trip": lambda: plotting.plot_round_trip(SECTION, SECTION),
    "plot_inspection": lambda: plotting.plot_inspection(
        make_volume().isel(inline=2).transpose("depth", "crossline"), np.linspace(-1, 1, 50)
    ),
    "plot_section": lambda: plotting.plot_section(SECTION, salt=SALT, title="inline"),
    "plot_statistics": lambda: plotting.plot_statistics(
        {"data": make_statistics(), "synthetic": make_statistics()}, reference="data"
    ),
    "plot_table": lambda: plotting.plot_table(SCORES, THESIS),
    "plot_volume": lambda: plotting.plot_volume(
        make_volume(), inline=102.2, crossline=304.8, vertical=111
    ),
}
