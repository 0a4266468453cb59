"""Tiny untrained networks in folders of finished runs, and patches to explain them by."""

import numpy as np
from safetensors.torch import save_file
from scipy import ndimage

from thesis_lib.data import LabelledPatches
from thesis_lib.model import SaltClassifier
from thesis_lib.study import segmentation
from thesis_lib.study.classification import ClassifierRun
from thesis_lib.study.runs import Run, complete
from thesis_lib.study.segmentation import SegmentationConfig
from thesis_lib.training import TrainConfig

CLASSES = ("background", "salt")
ENCODER = "test_resnet"
SIDE = 32


def make_classifier(root, *, seed=0, route="untrained"):
    """Untrained classifier in the folder of a finished run."""
    model = SaltClassifier(len(CLASSES), ENCODER, seed=seed)
    run = Run("thesis_lib.model", {"encoder": ENCODER, "route": route}, "none", seed)
    return ClassifierRun(route, seed, CLASSES, complete(run, saver(model), root=root))


def make_segmenter(root, *, seed=9):
    """Folder of a segmentation run of an untrained U-Net."""
    config = SegmentationConfig(loss="dice", train=TrainConfig(epochs=1), encoder=ENCODER)
    run = Run(segmentation.TASK, segmentation.describe_config(config), "none", seed)
    model = segmentation.build_model(config, seed=seed)
    return complete(run, saver(model), root=root).folder


def saver(model):
    """Write the weights of a model as a training would."""

    def compute(folder):
        save_file(model.state_dict(), folder / segmentation.WEIGHTS)
        return {"accuracy": 0.5}

    return compute


def make_patches(n=6, *, side=SIDE, seed=0):
    """Smooth random patches whose classes take turns."""
    noise = np.random.default_rng(seed).normal(size=(n, side, side)).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, (0, 1.5, 1.5))  # leaves frequencies without power
    return LabelledPatches(smooth, np.arange(n) % 2, CLASSES)
