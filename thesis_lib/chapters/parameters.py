"""What the parameters cell of a chapter allows, and what a profile sets."""

import ast
import difflib
import inspect
import io
import math
import re
import shlex
import tokenize
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import jupytext
from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model, field_validator

from saltvolumes._checks import check_choice
from thesis_lib._json import DAMAGE, format_json, in_one_line, load_yaml, parse_value

RESULTS = "results_dir"
TYPES = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict[str, Any]}

_PROFILE = TypeAdapter(dict[str, dict[Any, Any] | None])


class Parameters(BaseModel, strict=True, validate_default=True, protected_namespaces=()):
    """Parameters of a chapter: fields with the types and the smoke values of its cell."""

    @field_validator("*")
    @classmethod
    def _refuse_nan(cls, value: Any) -> Any:
        if isinstance(value, float) and math.isnan(value):
            raise ValueError
        return value


def project_root() -> Path:
    """
    Find the folder that holds ``notebooks/params``: here, above, or where the library lies.

    Returns
    -------
    Path
        Relative paths of chapters start here.
    """
    library = Path(__file__).resolve().parents[2]
    above = (Path.cwd(), *Path.cwd().parents)
    return next((path for path in above if (path / "notebooks" / "params").is_dir()), library)


def list_chapters(root: Path) -> list[str]:
    """List the chapters by name and in order: ``["01_preprocessing", ...]``."""
    return sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.py"))


def list_profiles(root: Path) -> list[str]:
    """List the profiles by name."""
    return sorted(path.stem for path in (root / "notebooks" / "params").glob("*.yml"))


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


def read_parameters(path: Path) -> type[Parameters]:
    """
    Read the parameters cell of a chapter, whose lines are ``name: type = literal``.

    Parameters
    ----------
    path : Path
        The chapter, in any format that jupytext reads.

    Returns
    -------
    subclass of Parameters
        With one field per line, described by its comment. Without arguments it makes the smoke
        values.

    Raises
    ------
    ValueError
        If not exactly one cell is tagged ``parameters``, or a line of it is anything else.
    TypeError
        If a value has another type than its line states.
    """
    return _read_cell(path, path.read_text(encoding="utf-8"))


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
        If there is no such profile, it is not YAML, or it names an unknown chapter or parameter.
    TypeError
        If a value has the wrong type.
    """
    check_choice("profile", profile, list_profiles(root))
    path = root / "notebooks" / "params" / f"{profile}.yml"
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
        found: dict[str, Any] = _PROFILE.validate_python(content)
    except DAMAGE as error:
        raise ValueError(
            f"Cannot read {path}: {in_one_line(error)}. Must map chapters to parameters, in YAML."
        ) from error
    for chapter, values in found.items():
        check_choice(f"chapter in {path.name}", chapter, list_chapters(root))
        found[chapter] = check_values(values or {}, read_parameters(find_chapter(chapter, root)))
    return found


def resolve_parameters(
    chapter: str,
    profile: str,
    overrides: Mapping[str, Any],
    root: Path,
    *,
    into: str | None = None,
) -> dict[str, Any]:
    """
    Give every parameter of a chapter its value: the cell's, the profile's, then the override.

    With ``into`` results go to this folder, and those of other chapters are taken from there, in
    place of ``results/PROFILE``.

    Returns
    -------
    dict of str to object
        With ``results_dir``: ``results/PROFILE/CHAPTER``, or ``results/custom/CHAPTER`` where an
        override changed a value and ``into`` is left out.

    Raises
    ------
    ValueError
        If the profile or a name is unknown.
    TypeError
        If a value has the wrong type.
    """
    parameters = read_parameters(find_chapter(chapter, root))
    base = parameters().model_dump() | load_profile(profile, root).get(chapter, {})
    values = base | check_values(overrides, parameters)
    home = f"results/{profile}"
    values |= {RESULTS: f"{home}/{chapter}"}
    if into is not None:
        values = {name: _move(value, home, into) for name, value in values.items()}
    elif _find_changes(values, base | {RESULTS: values[RESULTS]}):
        values[RESULTS] = f"results/custom/{chapter}"
    return values | {RESULTS: overrides.get(RESULTS, values[RESULTS])}


def describe_parameters(chapter: str, namespace: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """
    Describe the parameters of a chapter, and which profile they are or are closest to.

    The values decide, however the chapter was started. Where two profiles are equally close, the
    one that the results folder is named after counts.

    Parameters
    ----------
    chapter : str
        Its name.
    namespace : mapping
        Holds the values of all parameters, next to other things.
    root : Path
        Folder of the project.

    Returns
    -------
    dict
        ``chapter``; ``parameters``; ``profile``, which is ``"custom"`` where values differ from
        every profile; ``closest_profile``; ``changed``, the names of what differs from that;
        ``command``, which repeats the run.

    Raises
    ------
    TypeError
        If a value has the wrong type.
    """
    parameters = read_parameters(find_chapter(chapter, root))
    values = check_values({name: namespace[name] for name in parameters.model_fields}, parameters)
    likely = Path(values[RESULTS]).parent.name
    changes = {
        profile: _find_changes(values, resolve_parameters(chapter, profile, {}, root))
        for profile in list_profiles(root)
    }
    closest, changed = min(changes.items(), key=lambda item: (len(item[1]), item[0] != likely))
    command = ["python", "-m", "thesis_lib", "run", chapter, "--profile", closest]
    for name, value in changed.items():
        kind = parameters.model_fields[name].annotation
        plain = isinstance(value, str) and parse_value(value, kind) == value
        command += ["-p", name, value if plain else format_json(value)]
    return {
        "chapter": chapter,
        "parameters": values,
        "profile": "custom" if changed else closest,
        "closest_profile": closest,
        "changed": list(changed),
        "command": shlex.join(command),
    }


def check_values(values: Mapping[str, Any], parameters: type[Parameters]) -> dict[str, Any]:
    """
    Return some values of parameters, each of the type that its parameter has.

    Raises
    ------
    ValueError
        If a name is unknown, in which case the message suggests the one that is most like it, or
        there are no seeds.
    TypeError
        If a value has the wrong type. An int passes for a float; a bool is no int.
    """
    chapter, known = parameters.__name__, parameters.model_fields
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"Invalid parameter {name!r} of {chapter}.{hint} "
                f"Must be one of: {', '.join(known)}."
            )
        if name.endswith("seeds") and values[name] == []:
            raise ValueError(f"Invalid {name} [] of {chapter}. Must be at least one.")
    try:
        return parameters(**values).model_dump(exclude_unset=True)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        allowed = format_kind(known[name].annotation)
        raise TypeError(
            f"Invalid {name} {values[name]!r} of {chapter}. Must be {allowed}."
        ) from error


def format_kind(annotation: Any) -> str:
    """Write the type of a parameter: ``list[int] | None``."""
    return inspect.formatannotation(annotation).replace("typing.", "")


def read_question(path: Path) -> str:
    """Read the question that a chapter asks: its first heading."""
    text = path.read_text(encoding="utf-8")
    heading = re.search(r"^# # (.+)$", text, re.MULTILINE)
    return heading[1] if heading else ""


def parse_overrides(chapter: str, pairs: Iterable[tuple[str, str]], root: Path) -> dict[str, Any]:
    """Values of parameters of a chapter as a command line gives them, see `parse_value`."""
    known = read_parameters(find_chapter(chapter, root)).model_fields
    kinds = {name: item.annotation for name, item in known.items()}
    return {name: parse_value(text, kinds.get(name, Any)) for name, text in pairs}


@lru_cache(maxsize=64)  # describing a chapter reads each cell once per profile
def _read_cell(path: Path, text: str) -> type[Parameters]:
    """Read the parameters cell of a chapter with this text."""
    cells = jupytext.reads(text, fmt=path.suffix).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(
            f"Invalid chapter {path.name}: {len(tagged)} cells are tagged parameters. Must be one."
        )
    source = tagged[0].source
    meanings = _read_comments(source)
    lines: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        name, kind, default = _read_line(statement)
        rows = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
        meaning = " ".join(meanings[row] for row in rows if row in meanings)
        lines[name] = (kind, Field(default, description=meaning))
    parameters = create_model(path.stem, __base__=Parameters, **lines)
    check_values({name: field.default for name, (_, field) in lines.items()}, parameters)
    return parameters


def _find_changes(values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Values that differ from others; where results go changes no number, nor those next to it."""
    home, others = (str(Path(each[RESULTS]).parent) for each in (values, base))
    return {
        name: value
        for name, value in values.items()
        if name != RESULTS and _move(value, home, others) != base[name]
    }


def _move(value: Any, home: str, to: str) -> Any:
    """Path of a file in one folder as one in another; other values as they are."""
    is_inside = isinstance(value, str) and value.startswith(f"{home}/")
    return f"{to}{value[len(home) :]}" if is_inside else value


def _read_comments(source: str) -> dict[int, str]:
    """Comments by the number of their line, from 1."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("# ")
        for token in tokens
        if token.type == tokenize.COMMENT
    }


def _read_line(statement: ast.stmt) -> tuple[str, Any, Any]:
    """Name, type and value of a line."""
    match statement:
        case ast.AnnAssign(ast.Name(name), annotation, ast.expr() as value):
            with suppress(NameError, TypeError, ValueError):
                kind = eval(ast.unparse(annotation), {"__builtins__": {}}, TYPES)
                return name, kind, ast.literal_eval(value)
    raise ValueError(
        f"Invalid line {ast.unparse(statement)!r} in a parameters cell. Must be name: type = "
        f"literal, with a type made of {', '.join(TYPES)} and None: str | None, list[int]."
    )
