"""Run the cells of a chapter in this process, with other parameters."""

from pathlib import Path
from typing import Any

import jupytext
import matplotlib
import matplotlib.pyplot as plt

from thesis_lib import chapters


def execute(repository: Path, chapter: str, results: Path, **parameters: Any) -> dict[str, Any]:
    """Run the code cells of a chapter, with runs next to its results, and return its names."""
    matplotlib.use("Agg")
    namespace: dict[str, Any] = {}
    parameters |= {"results_dir": str(results), "runs_dir": str(results.parent / "runs")}
    for cell in jupytext.read(chapters.find_chapter(chapter, repository)).cells:
        if cell.cell_type == "code":
            exec(cell.source, namespace)
        if "parameters" in cell.metadata.get("tags", []):
            namespace |= parameters
    plt.close("all")
    return namespace
