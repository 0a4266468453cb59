"""
Give nbval the tolerances of `tests/book/notebook_comparison.py`: ``pytest --nbval notebooks``.

A reference that was never executed is an error, and what was executed is kept beside the results
in ``results/smoke/``, like a smoke run. Workers of pytest-xdist share the chapters, each after those
that it goes on from.
"""

from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chapter_order import FAILED, find_mark, order_chapters, wait_for
from nbformat import NotebookNode
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile
from notebook_comparison import compare_outputs

from thesis_lib import chapters
from thesis_lib.chapters.together import find_needs

collect_ignore_glob = [
    "*.py"
]  # doctest would run the chapters by importing them


class HistoryKernel(RunningKernel):
    """A kernel that keeps its history, without which a closing semicolon silences nothing."""

    def execute_cell_input(
        self, cell_input: str, allow_stdin: bool | None = None
    ) -> str:
        return self.kc.execute(
            cell_input, allow_stdin=allow_stdin, stop_on_error=False
        )


class ChapterCell(IPyNbCell):
    """A cell whose outputs may differ from the reference within the tolerance of its tags."""

    def runtest(self) -> None:
        if self.cell.execution_count is None:
            self.raise_cell_error(
                "The reference was never executed. Run: python -m thesis_lib pair"
            )
        super().runtest()

    def compare_outputs(
        self,
        test: Iterable[NotebookNode],
        ref: Iterable[NotebookNode],
        skip_compare: Any = None,  # noqa: ARG002
    ) -> bool:
        self.comparison_traceback = compare_outputs(
            test, ref, self.cell.metadata.get("tags", [])
        )
        return not self.comparison_traceback


class ChapterFile(IPyNbFile):
    """A chapter, executed like `chapters.run`: by this interpreter, in the project's folder."""

    def collect(self) -> Iterator[ChapterCell]:
        self.cells = [
            ChapterCell.from_parent(
                self,
                name=item.name,
                cell_num=item.cell_num,
                cell=item.cell,
                options=item.options,
            )
            for item in super().collect()
        ]
        yield from self.cells

    def setup(self) -> None:
        self._wait()
        self.kernel = HistoryKernel(
            CURRENT_ENV_KERNEL_NAME, cwd=str(self.path.parents[1])
        )
        self.setup_sanitize_files()

    def teardown(self) -> None:
        state = [self._session, FAILED]
        try:
            super().teardown()
            if all(item.test_outputs is not None for item in self.cells):
                self._keep()
                state.remove(FAILED)
        finally:
            mark = find_mark(self._root, self.path.stem)
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(" ".join(state), encoding="utf-8")

    @property
    def _session(self) -> str:
        """Identifier of this run of all workers; empty where nothing is shared."""
        return getattr(self.config, "workerinput", {}).get("testrunuid", "")

    @property
    def _root(self) -> Path:
        return self.path.parents[1]

    def _wait(self) -> None:
        """Wait for the chapters of this session that this one goes on from."""
        if not self._session:
            return
        cells = (
            item for item in self.session.items if isinstance(item, ChapterCell)
        )
        names = sorted({cell.path.stem for cell in cells})
        needs = find_needs(names, profile="smoke", root=self._root)
        for chapter in sorted(needs[self.path.stem]):
            wait_for(find_mark(self._root, chapter), self._session)

    def _keep(self) -> None:
        for number, item in enumerate(self.cells, start=1):
            item.cell.outputs, item.cell.execution_count = (
                item.test_outputs,
                number,
            )
        results = self.path.parents[1] / "results" / "smoke" / self.path.stem
        chapters.write_notebook(self.nb, results / self.path.name)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the cells of chapters first, each chapter after those that it goes on from."""
    cells = [item for item in items if isinstance(item, ChapterCell)]
    if not cells:
        return
    root = cells[0].path.parents[1]
    names = sorted({cell.path.stem for cell in cells})
    try:
        needs = find_needs(names, profile="smoke", root=root)
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
    order = order_chapters(needs)
    cells.sort(key=lambda cell: (order.index(cell.path.stem), cell.cell_num))
    items[:] = cells + [
        item for item in items if not isinstance(item, ChapterCell)
    ]


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, Any, list[Any]]:
    """Collect chapters in place of nbval's plain notebooks, and no others."""
    collectors = yield
    known = chapters.list_chapters(file_path.parents[1])
    return [
        ChapterFile.from_parent(parent, path=file_path)
        if type(found) is IPyNbFile
        else found
        for found in collectors
        if type(found) is not IPyNbFile or file_path.stem in known
    ]
