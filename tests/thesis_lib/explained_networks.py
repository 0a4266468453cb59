"""Tiny networks as tasks, and patches to explain them by."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from thesis_lib._json import write_json
from thesis_lib.patches import Earths, LabelledPatches
from thesis_lib.study import Classify, Train, run_all
from thesis_lib.study.segmentation import build_model
from thesis_lib.study.tasks import save_tensors
from thesis_lib.training import TrainConfig

CLASSES = ("background", "salt")
ENCODER = "test_resnet"
SIDE = 32
ONE_EPOCH = TrainConfig(epochs=1, lr=1e-2, precision="32-true", accelerator="cpu")
TINY = Train(
    seed=0,
    loss="dice",
    data=Earths({"gulf": (20.0,)}, shape=(16, 16, 32)),
    train=TrainConfig(epochs=2, precision="32-true", accelerator="cpu"),
    patch=(16, 16),
    stride=(16, 16),
    n_patches=8,
    batch_size=4,
    encoder=ENCODER,
)
UNWATCHED = replace(TINY, data=replace(TINY.data, watched=False), train=ONE_EPOCH)
JUDGE = replace(UNWATCHED, seed=9, n_patches=4)

_KNOWN: dict[str, LabelledPatches] = {}


@dataclass(frozen=True)
class FixedPatches:
    """Patches to train on and to test, known by their content."""

    training: str
    testing: str
    threshold: float = 0.2

    def train(self, _):
        return _KNOWN[self.training]

    def test(self, _):
        return _KNOWN[self.testing]

    def validation(self, _):
        return None


def fix_patches(*parts):
    """Patches to train on and to test, as data of a task."""
    _KNOWN.update({part.content_hash: part for part in parts})
    return FixedPatches(*(part.content_hash for part in parts))


def make_patches(n=6, *, side=SIDE, seed=0):
    """Smooth random patches whose classes take turns."""
    noise = np.random.default_rng(seed).normal(size=(n, side, side)).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, (0, 1.5, 1.5))  # leaves frequencies without power
    masks = np.zeros(smooth.shape, bool)
    masks[1::2, side // 2 :] = True
    return LabelledPatches(smooth, np.arange(n) % 2, CLASSES, masks)


def make_classifier(patches=None, *, seed=0):
    """Untrained classifier that is explained by some patches."""
    patches = make_patches() if patches is None else patches
    source = fix_patches(make_patches(seed=5), patches)
    return Classify(seed, source, untrained=True, train=ONE_EPOCH, batch_size=4, encoder=ENCODER)


def run(task, root):
    """Outcome of one task."""
    (outcome,) = run_all([task], root=root, progress=False)
    return outcome


def leave_network(folder: Path, task=TINY, weights=None):
    """A folder as a training leaves it, with first weights of its network, or others."""
    folder.mkdir()
    write_json(folder / "config.json", task.describe() | {"fields": task})
    weights = build_model(task).state_dict() if weights is None else weights
    save_tensors(folder / "weights.safetensors", weights)
    return folder
