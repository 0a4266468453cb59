"""Train any network on batches of patches, and predict whole volumes with it."""

from thesis_lib.training.config import TrainConfig as TrainConfig
from thesis_lib.training.config import pick_precision as pick_precision
from thesis_lib.training.config import resolve_precision as resolve_precision
from thesis_lib.training.fitting import Batches as Batches
from thesis_lib.training.fitting import fit as fit
from thesis_lib.training.folder import History as History
from thesis_lib.training.prediction import predict_patches as predict_patches
from thesis_lib.training.prediction import predict_volume as predict_volume
from thesis_lib.training.slabs import SlabStore as SlabStore
from thesis_lib.training.zooms import Zoomed as Zoomed
from thesis_lib.training.zooms import mix_statistics as mix_statistics
