"""
Every figure of the book: draws what it is given, in one style, and computes no result.

Figures are opened in pyplot, so that a notebook shows them after the cell; a semicolon behind the
call keeps it from showing the returned figure a second time. What a chapter draws itself it draws
inside ``with thesis_style():``.
"""

from thesis_lib.plotting._style import thesis_style as thesis_style
from thesis_lib.plotting.curves import plot_histories as plot_histories
from thesis_lib.plotting.curves import plot_statistics as plot_statistics
from thesis_lib.plotting.diagrams import plot_network as plot_network
from thesis_lib.plotting.diagrams import plot_pipeline as plot_pipeline
from thesis_lib.plotting.films import make_film as make_film
from thesis_lib.plotting.images import plot_image_grid as plot_image_grid
from thesis_lib.plotting.scores import plot_confusions as plot_confusions
from thesis_lib.plotting.scores import plot_depth_curves as plot_depth_curves
from thesis_lib.plotting.scores import plot_effects as plot_effects
from thesis_lib.plotting.scores import plot_forest as plot_forest
from thesis_lib.plotting.scores import plot_measures as plot_measures
from thesis_lib.plotting.scores import plot_table as plot_table
from thesis_lib.plotting.sections import plot_gallery as plot_gallery
from thesis_lib.plotting.sections import plot_inspection as plot_inspection
from thesis_lib.plotting.sections import plot_predictions as plot_predictions
from thesis_lib.plotting.sections import plot_round_trip as plot_round_trip
from thesis_lib.plotting.sections import plot_section as plot_section
from thesis_lib.plotting.sections import plot_volume as plot_volume
