"""Train any network on batches of patches, and predict whole volumes with it."""

from thesis_lib.training.config import TrainConfig, pick_precision, resolve_precision
from thesis_lib.training.fitting import Batches, fit
from thesis_lib.training.folder import History
from thesis_lib.training.prediction import predict_patches, predict_volume

__all__ = [
    "Batches",
    "History",
    "TrainConfig",
    "fit",
    "pick_precision",
    "predict_patches",
    "predict_volume",
    "resolve_precision",
]
