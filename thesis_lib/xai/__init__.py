"""What networks see: activation maximization, network inversion, class activation maps."""

from thesis_lib.xai.cam import Cam, cam
from thesis_lib.xai.images import Fourier, Phase, Pixels
from thesis_lib.xai.inversion import Inversion, invert
from thesis_lib.xai.maximization import Maximization, maximize
from thesis_lib.xai.objectives import (
    Objective,
    alpha_norm,
    channel,
    class_logit,
    class_margin,
    direction,
    neuron,
    total_variation,
)
from thesis_lib.xai.transforms import Robustness

__all__ = [
    "Cam",
    "Fourier",
    "Inversion",
    "Maximization",
    "Objective",
    "Phase",
    "Pixels",
    "Robustness",
    "alpha_norm",
    "cam",
    "channel",
    "class_logit",
    "class_margin",
    "direction",
    "invert",
    "maximize",
    "neuron",
    "total_variation",
]
