"""Random parameters of every chapter, through its checks and the tasks that it builds from them."""

import ast
import shlex
from functools import cache, partial
from pathlib import Path
from random import Random
from types import CodeType, SimpleNamespace
from typing import Any

import jupytext
import numpy as np
from damaged_files import Files
from explained_networks import TINY
from judging import ROOT, Case, WrongError

from saltvolumes import build_volume, save_volume
from thesis_lib.chapters import parameters
from thesis_lib.study import Classify, Score, compare_initialisations, grid, read_tasks
from thesis_lib.study.tasks import Task, write_tasks

# Statements of the chapters, by the names that they give values to, up to the tasks to be run.
STATEMENTS = {
    "01_preprocessing": "network survey to_real transfer",
    "02_loss_study": "source network row tasks",
    "03_activation_maximization": (
        "titles scored trained network given seeds encoders patches classifier tasks "
        "candidates judges few starts_of ascents"
    ),
    "04_network_inversion": "networks seeds trained judges tasks",
    "05_class_activation": "networks tasks",
    "06_landmass": "titles two_classes encoder scored judge parts tasks first ascents",
    "07_next_survey": "make_earths survey real_earths network naive",
}
# What has to be above 0, and a number of at least so many; nothing is ever infinite.
COUNTS = (
    *("patch", "stride", "n_sections", "train_epochs", "train_patches", "epochs", "n_patches"),
    *("batch_size", "n_train_volumes", "n_test_volumes", "train_volumes", "n_train_patches"),
    *("n_test_patches", "am_steps", "steps", "n_per_class", "class_epochs"),
    *("width_px", "n_fills", "n_cams"),
)
POSITIVE = (*COUNTS, "lr", "am_lr")
NUMBERS = (0, -1, 1, 2, 7, 2**31, 2**70, 0.0, -0.5, 0.5, 1e-300, np.nan, np.inf, -np.inf, True)
TEXTS = (
    *("", " ", ".", "no.sgy", "a\tb", "\0", "🧂", "~nobody/x", "{", "[1", "*a", "null", "1e3"),
    *("2020-13-45", "!!python/name:os.system", "dice", "bce", "gulf", "inline", "auto", "depth"),
    *("x" * 5000, "[" * 1200, "'", '"a', "a: b", "# a", "all"),
)


class Chapters(Files):
    """Values of parameters as they are typed and as they are passed."""

    name = "parameters"
    weight = 12.0

    def prepare(self) -> None:
        """Read the chapters, and leave what they start from."""
        for name in ("read_parameters", "load_profile"):  # chapters and profiles stay as they are
            setattr(parameters, name, cache(getattr(parameters, name)))
        self.kinds = {
            name: parameters.read_parameters(parameters.find_chapter(name, ROOT))
            for name in parameters.list_chapters(ROOT)
        }
        self.statements = {name: read_statements(name) for name in self.kinds}
        self.volume = str(self.scratch / "volume.nc")
        cube = np.zeros((5, 5, 8))
        lines = {"inline": range(5), "crossline": range(5), "vertical": 4.0 * np.arange(8)}
        save_volume(build_volume(cube, **lines, salt=cube == 0), self.volume)
        self.loss_study = str(self.scratch / "networks.json")
        write_tasks(self.loss_study, grid(Score(TINY), loss=["dice", "bce"]))
        self.classifiers = str(self.scratch / "classifiers.json")
        patches = _run(self.statements["03_activation_maximization"], self._default(2))["patches"]
        classifier = Classify(0, patches, encoder="test_resnet")
        write_tasks(self.classifiers, compare_initialisations(classifier, TINY))
        for number, chapter in enumerate(self.kinds):  # the code of tasks is read once
            self._build(chapter, "smoke", self._default(number), [], self.scratch)

    def _default(self, number: int) -> dict[str, Any]:
        """Values of a chapter, with files that are there."""
        values = list(self.kinds.values())[number]().model_dump()
        known = {"loss_study": self.loss_study, "classifiers": getattr(self, "classifiers", "")}
        return values | {name: path for name, path in known.items() if name in values}

    def make(self, rng: Random, folder: Path) -> Case:
        """Change one to three parameters of a chapter."""
        number = rng.randrange(len(self.kinds))
        chapter, kinds = list(self.kinds.items())[number]
        names = [rng.choice(list(kinds.model_fields)) for _ in range(rng.randint(1, 3))]
        values = {
            name: value
            for name, value in self._default(number).items()
            if name in ("loss_study", "classifiers")
        }
        pairs: list[tuple[str, str]] = []
        for name in names:
            if rng.random() < 0.05:
                name = name[:-1] + rng.choice("sx_é")
            if rng.random() < 0.3:
                pairs.append((name, rng.choice(TEXTS)))
            else:
                values[name] = self._draw(rng, getattr(kinds(), name, None))
        profile = rng.choice((*parameters.list_profiles(ROOT), "smoke", "huge"))
        act = partial(self._build, chapter, profile, values, pairs, folder)
        return Case(act, label=f"{chapter} {profile} {values} {pairs}"[:500])

    def _draw(self, rng: Random, default: Any, depth: int = 0) -> Any:
        """Draw a value that is like the default, or anything but that."""
        draw = partial(self._draw, rng, depth=depth + 1)
        match rng.choice(("like", "like", "number", "text", "list", "dict", "none")):
            case "number":
                return rng.choice(NUMBERS)
            case "text":
                return rng.choice((*TEXTS, self.volume))
            case "list" if depth < 3:
                return [draw(default) for _ in range(rng.randrange(4))]
            case "dict" if depth < 3:
                return {rng.choice(("gulf", "mask", "flip", "a", "")): draw(default)}
            case "none":
                return None
        match default:
            case bool():
                return not default
            case int() | float():
                return type(default)(rng.choice((default, 2 * default, -default, 0 * default)))
            case list() if depth < 3:
                return [draw(item) for item in default] + default[: rng.randrange(3)]
            case dict() if depth < 3:
                return {key: draw(item) for key, item in default.items()}
            case str():
                return rng.choice((default, default.upper(), self.volume, rng.choice(TEXTS)))
        return default

    def _build(
        self,
        chapter: str,
        profile: str,
        values: dict[str, Any],
        pairs: list[tuple[str, str]],
        folder: Path,
    ) -> None:
        """Resolve, describe, repeat from the description, and build the tasks."""
        overrides = values | parameters.parse_overrides(chapter, pairs, ROOT)
        found = parameters.resolve_parameters(chapter, profile, overrides, ROOT)
        described = parameters.describe_parameters(chapter, found, ROOT)
        if repr(repeat(described["command"])) != repr(found | {"results_dir": ""}):
            raise WrongError(f"a command of another run: {described['command']}")
        built = _run(self.statements[chapter], found)
        tasks = [task for value in built.values() for task in _list_tasks(value)]
        keys = [task.key for task in tasks]
        write_tasks(folder / "tasks.json", tasks)
        if [task.key for task in read_tasks(folder / "tasks.json")] != keys:
            raise WrongError("tasks that change when they are written")
        if odd := [name for name in POSITIVE if not _is_positive(found.get(name, 1))]:
            raise WrongError(f"taken for numbers above 0: { {name: found[name] for name in odd} }")


class _Page:
    """A page that finds files where they are, and runs nothing."""

    def find(self, path: str) -> Path:
        """Path of a parameter."""
        return ROOT / Path(path).expanduser()


def read_statements(chapter: str) -> list[CodeType]:
    """Imports of a chapter, and the first statement for each name of `STATEMENTS`."""
    path = ROOT / "notebooks" / f"{chapter}.py"
    cells = (cell for cell in jupytext.read(path).cells if cell.cell_type == "code")
    tree = ast.parse("\n".join(cell.source for cell in cells))
    kept = [part for part in tree.body if isinstance(part, ast.Import | ast.ImportFrom)]
    names = STATEMENTS[chapter].split()
    kept += [next(part for part in tree.body if name in _list_targets(part)) for name in names]
    return [compile(ast.Module([part], []), str(path), "exec") for part in kept]


def repeat(command: str) -> dict[str, Any]:
    """Parameters that a command line gives."""
    _, _, _, _, chapter, _, profile, *words = shlex.split(command)
    pairs = list(zip(words[1::3], words[2::3], strict=True))
    overrides = parameters.parse_overrides(chapter, pairs, ROOT)
    return parameters.resolve_parameters(chapter, profile, overrides, ROOT) | {"results_dir": ""}


def _run(statements: list[CodeType], values: dict[str, Any]) -> dict[str, Any]:
    unknown = {"page": _Page(), "real_volume": None, "test": SimpleNamespace(classes=range(4))}
    namespace = {**values, **unknown}
    for statement in statements:
        exec(statement, namespace)
    return namespace


def _list_targets(part: ast.stmt) -> list[str]:
    if isinstance(part, ast.FunctionDef):
        return [part.name]
    assigned = [
        node for node in ast.walk(part) if isinstance(node, ast.Assign)
    ]  # within an if, say
    targets = [target for node in assigned for target in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _list_tasks(value: Any) -> list[Task]:
    if isinstance(value, Task):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, Task)]


def _is_positive(value: Any) -> bool:
    return value is None or 0 < value < np.inf


AREAS = (Chapters,)
