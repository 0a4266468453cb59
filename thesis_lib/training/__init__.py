"""Train any network on batches of patches, and predict whole volumes with it."""

from thesis_lib.training.config import TrainConfig
from thesis_lib.training.fitting import Batches, fit
from thesis_lib.training.folder import History
from thesis_lib.training.prediction import predict_volume

__all__ = ["Batches", "History", "TrainConfig", "fit", "predict_volume"]
