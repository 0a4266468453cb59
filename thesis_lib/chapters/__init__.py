"""
Run the chapters of the book, say where their numbers come from, and put them where pages find them.

A chapter is ``notebooks/NN_name.py`` in py:percent format. Its cell tagged ``parameters`` says what
can be set and, by its values, is the smoke profile. ``notebooks/params/PROFILE.yml`` holds the
values of the other profiles. Results go to ``results/PROFILE/CHAPTER/``.
"""

from thesis_lib.chapters.parameters import (
    Parameter,
    find_chapter,
    list_chapters,
    load_profile,
    parse_value,
    project_root,
    read_parameters,
    resolve_parameters,
)
from thesis_lib.chapters.provenance import close_results, open_results, read_run_info
from thesis_lib.chapters.running import ChapterError, pair, run, write_notebook
from thesis_lib.chapters.staging import publish, stage, tell_origin

__all__ = [
    "ChapterError",
    "Parameter",
    "close_results",
    "find_chapter",
    "list_chapters",
    "load_profile",
    "open_results",
    "pair",
    "parse_value",
    "project_root",
    "publish",
    "read_parameters",
    "read_run_info",
    "resolve_parameters",
    "run",
    "stage",
    "tell_origin",
    "write_notebook",
]
