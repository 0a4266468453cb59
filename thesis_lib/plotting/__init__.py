"""
Every figure of the book: draws what it is given, in one style, and computes no result.

Figures are opened in pyplot, so that a notebook shows them after the cell; a semicolon behind the
call keeps it from showing the returned figure a second time.
"""

from thesis_lib.plotting.classifiers import plot_accuracy, plot_confusions
from thesis_lib.plotting.curves import (
    plot_learning_curves,
    plot_loss_curves,
    plot_loss_gradients,
)
from thesis_lib.plotting.diagrams import (
    plot_network,
    plot_pipeline,
)
from thesis_lib.plotting.images import (
    plot_cams,
    plot_emergence,
    plot_image_grid,
    plot_inversions,
)
from thesis_lib.plotting.measures import (
    plot_ascent,
    plot_cam_tests,
    plot_depth_curves,
    plot_measures,
    plot_residuals,
)
from thesis_lib.plotting.scores import (
    plot_effects,
    plot_label_shares,
    plot_table,
)
from thesis_lib.plotting.sections import (
    plot_gallery,
    plot_patches,
    plot_predictions,
    plot_round_trip,
    plot_section,
    plot_volume,
)
from thesis_lib.plotting.statistics import plot_statistics

__all__ = [
    "plot_accuracy",
    "plot_ascent",
    "plot_cam_tests",
    "plot_cams",
    "plot_confusions",
    "plot_depth_curves",
    "plot_effects",
    "plot_emergence",
    "plot_gallery",
    "plot_image_grid",
    "plot_inversions",
    "plot_label_shares",
    "plot_learning_curves",
    "plot_loss_curves",
    "plot_loss_gradients",
    "plot_measures",
    "plot_network",
    "plot_patches",
    "plot_pipeline",
    "plot_predictions",
    "plot_residuals",
    "plot_round_trip",
    "plot_section",
    "plot_statistics",
    "plot_table",
    "plot_volume",
]
