"""The folder of a training: history, weights, and the state that a killed run is resumed from."""

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from saltvolumes._files import replace_when_done
from thesis_lib.training.config import TrainConfig

Row = dict[str, float]
COUNTS = ("epoch", "step")


@dataclass(frozen=True)
class History:
    """
    What happened in each epoch.

    Parameters
    ----------
    rows : tuple of dicts
        One per epoch: ``epoch`` and ``step`` finished so far, the learning rate ``lr`` of the last
        step (the largest one, where they differ), the mean ``train_loss``, the scores of the
        validation, and ``seconds``.
    """

    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)


class RunFolder:
    """
    Files of one training, each written whole or not at all.

    ``resume.safetensors`` is there while the run is under way, ``weights.safetensors`` once it is
    finished; both carry the configuration, so that a folder is never taken for another run's.

    Parameters
    ----------
    path : Path
        Created where it is missing.
    config : TrainConfig
        Settings of the run.
    """

    def __init__(self, path: Path, config: TrainConfig) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.history_csv = path / "history.csv"
        self.resume = path / "resume.safetensors"
        self.weights = path / "weights.safetensors"
        self.config = json.dumps(asdict(config), sort_keys=True)

    def save_epoch(
        self, model: nn.Module, optimizer: Optimizer, schedule: LRScheduler, rows: Sequence[Row]
    ) -> None:
        """Store all that the next epoch depends on, then the history for its readers."""
        state = optimizer.state_dict()
        tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
        for index, moments in state["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        progress = {
            "rows": list(rows),
            "groups": state["param_groups"],
            "schedule": schedule.state_dict(),
        }
        self._save(self.resume, tensors, progress=json.dumps(progress))
        self._save_history(rows)

    def load_epoch(
        self, model: nn.Module, optimizer: Optimizer, schedule: LRScheduler
    ) -> list[Row]:
        """Restore the last finished epoch and return its rows; an empty list without one."""
        if not self.resume.exists():
            return []
        tensors, metadata = self._load(self.resume)
        progress = json.loads(metadata["progress"])
        weights: dict[str, Tensor] = {}
        moments: defaultdict[int, dict[str, Tensor]] = defaultdict(dict)
        for name, value in tensors.items():
            owner, _, name = name.partition(".")
            if owner == "model":
                weights[name] = value
            else:
                index, _, kind = name.partition(".")
                moments[int(index)][kind] = value
        model.load_state_dict(weights)
        optimizer.load_state_dict({"state": moments, "param_groups": progress["groups"]})
        schedule.load_state_dict(progress["schedule"])
        return list(progress["rows"])

    def save_finished(self, model: nn.Module, rows: Sequence[Row]) -> None:
        """Store the result and drop what only a resumed run needs."""
        self._save_history(rows)
        self._save(self.weights, model.state_dict())
        self.resume.unlink(missing_ok=True)

    def load_finished(self, model: nn.Module) -> History | None:
        """Load the weights of a finished run and return its history; None while it is under way."""
        if not self.weights.exists():
            return None
        tensors, _ = self._load(self.weights)
        model.load_state_dict(tensors)
        self.resume.unlink(missing_ok=True)  # killed between the last two lines of the run
        with self.history_csv.open(newline="") as file:
            rows = [
                {name: float(value) for name, value in row.items()} for row in csv.DictReader(file)
            ]
        return History(tuple(row | {name: int(row[name]) for name in COUNTS} for row in rows))

    def _save_history(self, rows: Sequence[Row]) -> None:
        with replace_when_done(self.history_csv) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def _save(self, path: Path, tensors: dict[str, Tensor], **metadata: str) -> None:
        tensors = {name: value.contiguous() for name, value in tensors.items()}
        with replace_when_done(path) as partial:
            save_file(tensors, partial, metadata={"config": self.config, **metadata})
            partial.chmod(0o644)  # safetensors makes files that only their owner reads

    def _load(self, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(
                f"Cannot read {path}: {error}. It was damaged after it was written; delete it to "
                "train again."
            ) from error
        if metadata.get("config") != self.config:
            raise ValueError(
                f"{path} belongs to a run with config {metadata.get('config')}, not to one with "
                f"{self.config}. Must be the same; use a folder per run."
            )
        return tensors, metadata
