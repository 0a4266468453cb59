"""
Run the chapters of the book, record where their numbers come from, and stage them for its pages.

A chapter is ``notebooks/NN_name.py`` in py:percent format. Its cell tagged ``parameters`` lists
what can be set and, by its values, is the smoke profile. ``notebooks/params/PROFILE.yml`` holds
the values of the other profiles. Results go to ``results/PROFILE/CHAPTER/``.
"""

from thesis_lib.chapters.page import Page as Page
from thesis_lib.chapters.page import open_page as open_page
from thesis_lib.chapters.page import read_run_info as read_run_info
from thesis_lib.chapters.parameters import find_chapter as find_chapter
from thesis_lib.chapters.parameters import format_kind as format_kind
from thesis_lib.chapters.parameters import list_chapters as list_chapters
from thesis_lib.chapters.parameters import load_profile as load_profile
from thesis_lib.chapters.parameters import parse_overrides as parse_overrides
from thesis_lib.chapters.parameters import project_root as project_root
from thesis_lib.chapters.parameters import read_parameters as read_parameters
from thesis_lib.chapters.parameters import read_question as read_question
from thesis_lib.chapters.parameters import resolve_parameters as resolve_parameters
from thesis_lib.chapters.running import ChapterError as ChapterError
from thesis_lib.chapters.running import pair as pair
from thesis_lib.chapters.running import run as run
from thesis_lib.chapters.running import write_notebook as write_notebook
from thesis_lib.chapters.staging import publish as publish
from thesis_lib.chapters.staging import stage as stage
from thesis_lib.chapters.together import run_together as run_together
