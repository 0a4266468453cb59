"""The code that a result rests on: definitions, followed by name through the project's packages."""

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGES = ("thesis_lib", "saltearth", "saltvolumes")
# They find and store results, or only call a library: none of them changes a result.
ENGINE = (
    "thesis_lib.study.tasks",
    "thesis_lib.study.running",
    "thesis_lib.study._torchmetrics",
)


class _Module(NamedTuple):
    """What the names of a module stand for."""

    definitions: dict[str, ast.Module]  # functions, classes, constants
    imports: dict[str, str]  # dotted path of a module, or of a name in one


@cache
def hash_sources(*roots: type) -> str:
    """
    Hash the code of classes and of every definition of the project that they reach by name.

    Only what is reached counts: a new score in a module leaves the hash of a class alone that uses
    another score of it. Docstrings, comments, annotations, layout and the words of errors do not
    count either. The code is read once in a process: what is edited later has no effect on it.

    Parameters
    ----------
    *roots : type
        Classes that are defined at the top of their modules.

    Returns
    -------
    str
        First 16 hexadecimal digits of a SHA-256.

    Raises
    ------
    TypeError
        If a class is not defined at the top of a module, but in a notebook or a function.
    """
    for root in roots:
        if root.__module__ == "__main__" or "<locals>" in root.__qualname__:
            raise TypeError(
                f"Invalid class {root.__qualname__} of {root.__module__}. Must be defined at the "
                "top of a module file, so that its code can be part of a key."
            )
    text = "".join(f"{path}\n{code}\n" for path, code in sorted(_follow(roots).items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _follow(roots: Iterable[type]) -> dict[str, str]:
    """Code of the definitions that classes reach, by path ``module.name``."""
    packages = frozenset({*PACKAGES, *(root.__module__.partition(".")[0] for root in roots)})
    found: dict[str, str] = {}
    waiting = [f"{root.__module__}.{root.__qualname__}" for root in roots]
    while waiting:
        path = _locate(waiting.pop(), packages)
        if path is None or path in found:
            continue
        found[path], names = _read_definition(path)
        waiting += names
    return found


@cache
def _read_definition(path: str) -> tuple[str, list[str]]:
    """Code of a definition, and the dotted paths of all names in it."""
    module, _, name = path.rpartition(".")
    definition = _read_module(module).definitions[name]
    return _dump(definition), list(dict.fromkeys(_list_names(definition, module)))


@cache
def _locate(path: str, packages: frozenset[str]) -> str | None:
    """Path ``module.name`` of the definition that a dotted name leads to, or None."""
    if path.partition(".")[0] not in packages:
        return None
    module, names = path, list[str]()
    while not _is_module(module):
        module, _, name = module.rpartition(".")
        names.insert(0, name)
    if module in ENGINE or not names:
        return None
    name, *more = names
    content = _read_module(module)
    if name in content.definitions:
        return f"{module}.{name}"
    if name in content.imports:
        return _locate(".".join([content.imports[name], *more]), packages)
    return None


def _list_names(definition: ast.Module, module: str) -> Iterator[str]:
    """Dotted paths of all names in a definition, as its module understands them."""
    content = _read_module(module)
    for node in ast.walk(definition):
        names = []
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            start = content.imports.get(node.id, f"{module}.{node.id}")
            yield ".".join([start, *reversed(names)])


@cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a name inside a module
        return False


@cache
def _read_module(name: str) -> _Module:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        _strip(node)
    definitions: dict[str, ast.Module] = {}
    for node in tree.body:
        for defined in _defined_names(node, definitions):
            definitions.setdefault(defined, ast.Module([], [])).body.append(node)
    imports: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imports |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            imports |= {a.asname: a.name for a in node.names if a.asname}
            imports |= {a.name.partition(".")[0]: a.name.partition(".")[0] for a in node.names}
    return _Module(definitions, imports)


def _defined_names(node: ast.stmt, known: Iterable[str]) -> set[str]:
    """Names that a statement defines, or those known ones that it mentions and may change."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return names & {*known}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return {part.id for name in targets for part in ast.walk(name) if isinstance(part, ast.Name)}


def _dump(value: Any) -> str:
    """Write a syntax tree in the same way under every version of Python."""
    if isinstance(value, ast.AST):
        parts = (
            f"{name}={_dump(part)}"
            for name, part in ast.iter_fields(value)
            if part not in (None, [])
        )
        return f"{type(value).__name__}({', '.join(parts)})"
    return f"[{', '.join(map(_dump, value))}]" if isinstance(value, list) else repr(value)


def _strip(node: ast.AST) -> None:
    """Take out what changes no result: docstrings, annotations and the words of errors."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
        del node.body[0]
    match node:
        case ast.FunctionDef():
            node.returns = None
        case ast.arg():
            node.annotation = None
        case ast.AnnAssign():
            node.annotation = ast.Constant(None)
        case ast.Raise():
            node.exc = node.cause = None
