"""Tests of compiled networks, one in a process of its own: the order of imports is part of it."""

import subprocess
import sys

FIRST = "import torch\nnet = torch.compile(torch.nn.Conv2d(1, 1, 3, padding=1), backend='eager')\n"
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


def test_a_compiled_network_trains_as_itself(tmp_path, monkeypatch):
    """Its weights are those of the plain network, which finds the run; names stay the same."""
    monkeypatch.setattr(sys, "argv", ["", str(tmp_path / "run")])
    exec(FIRST + THEN, {})


def test_a_network_may_be_compiled_before_the_library_is_imported(tmp_path):
    """The same where torch.compile was called first."""
    command = [sys.executable, "-c", FIRST + THEN, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
