"""What the parameters cell of a chapter allows, and what a profile sets."""

import ast
import difflib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias, NoneType, UnionType
from typing import Any, get_args, get_origin

import jupytext
import yaml

from thesis_lib._checks import check_choice

RESULTS = "results_dir"
_KINDS: dict[str, Any] = {"bool": bool, "int": int, "float": float, "str": str, "dict": dict}


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads ``1e-3`` as text; here it is a number, as everybody means it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("+-0123456789")
)


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: name, type and smoke value."""

    name: str
    kind: Any
    default: Any


def project_root() -> Path:
    """
    Find the folder that holds ``notebooks/params``: here, above, or where the library lies.

    Returns
    -------
    Path
        Relative paths of chapters start here.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks" / "params").is_dir():
            return folder
    return Path(__file__).resolve().parents[2]


def list_chapters(root: Path) -> list[str]:
    """Name the chapters in order: ``["01_preprocessing", ...]``."""
    return sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.py"))


def find_chapter(chapter: str, root: Path) -> Path:
    """
    Find the source of a chapter.

    Parameters
    ----------
    chapter : str
        Its name (``"02_loss_study"``) or its number (``"2"``, ``"02"``).
    root : Path
        Folder of the project.

    Raises
    ------
    ValueError
        If there is no such chapter.
    """
    names = list_chapters(root)
    if chapter.isdecimal():
        chapter = next((name for name in names if int(name[:2]) == int(chapter)), chapter)
    return root / "notebooks" / f"{check_choice('chapter', chapter, names)}.py"


def read_parameters(path: Path) -> dict[str, Parameter]:
    """
    Read the parameters cell of a chapter: ``name = literal`` or ``name: type = literal`` lines.

    Parameters
    ----------
    path : Path
        The chapter, any format that jupytext reads.

    Returns
    -------
    dict of str to Parameter
        In the order of the cell.

    Raises
    ------
    ValueError
        If not exactly one cell is tagged ``parameters``, or if a line of it is anything else.
    """
    cells = jupytext.read(path).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(
            f"Invalid chapter {path.name}: {len(tagged)} cells are tagged parameters. Must be one."
        )
    lines = [_read_line(statement) for statement in ast.parse(tagged[0].source).body]
    return {parameter.name: parameter for parameter in lines}


def load_profile(profile: str, root: Path) -> dict[str, dict[str, Any]]:
    """
    Load ``notebooks/params/PROFILE.yml``, checked against the chapters.

    Returns
    -------
    dict of str to dict
        What the profile sets, by chapter. What it leaves out keeps the value of the cell.

    Raises
    ------
    ValueError
        If there is no such profile, or it names an unknown chapter or parameter.
    TypeError
        If a value has the wrong type.
    """
    folder = root / "notebooks" / "params"
    check_choice("profile", profile, list_profiles(root))
    content = yaml.load((folder / f"{profile}.yml").read_text(encoding="utf-8"), _Loader)
    if not isinstance(content, dict) or not all(
        isinstance(values, dict | None) for values in content.values()
    ):
        raise ValueError(f"Invalid profile {profile}.yml. Must map chapters to their parameters.")
    return {
        check_choice(f"chapter in {profile}.yml", chapter, list_chapters(root)): check_values(
            values or {}, read_parameters(find_chapter(chapter, root)), chapter
        )
        for chapter, values in content.items()
    }


def list_profiles(root: Path) -> list[str]:
    """Name the profiles."""
    return sorted(path.stem for path in (root / "notebooks" / "params").glob("*.yml"))


def resolve_parameters(
    chapter: str, profile: str, overrides: Mapping[str, Any], root: Path
) -> dict[str, Any]:
    """
    Give every parameter of a chapter its value: the cell's, the profile's, then the override.

    Returns
    -------
    dict of str to object
        With ``results_dir``: ``results/PROFILE/CHAPTER``, or ``results/custom/CHAPTER`` where an
        override changed a value.

    Raises
    ------
    ValueError
        If the profile or a name is unknown.
    TypeError
        If a value has the wrong type.
    """
    parameters = read_parameters(find_chapter(chapter, root))
    base = {name: parameter.default for name, parameter in parameters.items()}
    base |= load_profile(profile, root).get(chapter, {})
    values = base | check_values(overrides, parameters, chapter)
    label = profile if without_results(values) == without_results(base) else "custom"
    return values | {RESULTS: overrides.get(RESULTS, f"results/{label}/{chapter}")}


def without_results(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where results go: it changes no number."""
    return {name: value for name, value in values.items() if name != RESULTS}


def check_values(
    values: Mapping[str, Any], parameters: Mapping[str, Parameter], chapter: str
) -> dict[str, Any]:
    """
    Return the values, each of the type that its parameter has.

    Raises
    ------
    ValueError
        If a name is unknown; the message says which names are near.
    TypeError
        If a value has the wrong type. An int passes for a float; a bool is no int.
    """
    for name, value in values.items():
        if name not in parameters:
            near = difflib.get_close_matches(name, parameters, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"Invalid parameter {name!r} of {chapter}.{hint} "
                f"Must be one of: {', '.join(parameters)}."
            )
        kind = parameters[name].kind
        if not _fits(value, kind):
            raise TypeError(
                f"Invalid {name} {value!r} of {chapter}. Must be {inspect.formatannotation(kind)}."
            )
    return {name: _convert(value, parameters[name].kind) for name, value in values.items()}


def parse_value(text: str) -> Any:
    """
    Read a value as a command line gives it.

    Raises
    ------
    ValueError
        If it is no YAML.

    Examples
    --------
    >>> parse_value('["bce", "dice"]'), parse_value("1e-3"), parse_value("synthetic")
    (['bce', 'dice'], 0.001, 'synthetic')
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"Invalid value {text!r}. Must be a YAML literal.") from error


def _read_line(statement: ast.stmt) -> Parameter:
    try:
        match statement:
            case ast.AnnAssign(target=ast.Name(name), annotation=kind, value=ast.expr() as value):
                return Parameter(name, _read_kind(kind), ast.literal_eval(value))
            case ast.Assign(targets=[ast.Name(name)], value=value):
                default = ast.literal_eval(value)
                return Parameter(name, _kind_of(default), default)
    except ValueError:
        pass
    raise ValueError(
        f"Invalid line {ast.unparse(statement)!r} in a parameters cell. Must be name = literal, "
        "with bool, int, float, str, dict or a list of them; an empty list or None needs its "
        "type: name: str | None = None."
    )


def _read_kind(node: ast.expr) -> Any:
    match node:
        case ast.Name(name) if name in _KINDS:
            return _KINDS[name]
        case ast.Constant(None):
            return NoneType
        case ast.BinOp(left, ast.BitOr(), right):
            return _read_kind(left) | _read_kind(right)
        case ast.Subscript(ast.Name("list"), inner):
            return GenericAlias(list, (_read_kind(inner),))
    raise ValueError(ast.unparse(node))


def _kind_of(default: Any) -> Any:
    if isinstance(default, list) and default:
        kinds = {_kind_of(element) for element in default}
        if kinds == {int, float}:
            kinds = {float}
        if len(kinds) == 1:
            return GenericAlias(list, (kinds.pop(),))
    if type(default) in _KINDS.values():
        return type(default)
    raise ValueError(repr(default))


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_fits(value, option) for option in get_args(kind))
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(item, get_args(kind)[0]) for item in value)
    if kind is float:
        return type(value) in (int, float)
    if kind is dict:
        return isinstance(value, dict) and all(isinstance(key, str) for key in value)
    return type(value) is kind


def _convert(value: Any, kind: Any) -> Any:
    if get_origin(kind) is list:
        return [_convert(item, get_args(kind)[0]) for item in value]
    return float(value) if kind is float else value
