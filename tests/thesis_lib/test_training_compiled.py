"""Tests of compiled networks, in processes of their own: the order of imports is part of them."""

import subprocess
import sys

import pytest

FIRST = "import torch\nnet = torch.compile(torch.nn.Conv2d(1, 1, 3, padding=1), backend='eager')\n"
LAST = "import thesis_lib.study, thesis_lib.xai\n" + FIRST
THEN = """
import copy, sys, torch
from thesis_lib.losses import LOSSES
from thesis_lib.training import TrainConfig, fit

class OneBatch:
    def __len__(self):
        return 1

    def epoch(self, number):
        images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(number))
        yield images, images > 0

def train(model, folder=None):
    config = TrainConfig(
        epochs=2, accelerator="cpu", precision="32-true", lr_factors={"weight": 0.5}
    )
    return fit(model, OneBatch(), LOSSES["dice"], config, folder=folder, progress=False)

plain = copy.deepcopy(net._orig_mod)
fresh = copy.deepcopy(plain)
history = train(net, sys.argv[1])
train(plain)
assert all(map(torch.equal, net.state_dict().values(), plain.state_dict().values()))
assert train(fresh, sys.argv[1]) == history
assert all(map(torch.equal, fresh.state_dict().values(), plain.state_dict().values()))
"""


@pytest.mark.parametrize("opening", [FIRST, LAST], ids=["first", "last"])
def test_a_compiled_network_trains_as_itself_whatever_is_imported_first(tmp_path, opening):
    """Its weights are those of the plain network, which finds the run; names stay the same."""
    command = [sys.executable, "-c", opening + THEN, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
