"""Put the table and the figure of ``published/`` into ``README.md``: called by ``make publish``."""

import base64
import csv
import json
import re
from pathlib import Path

CHAPTER = Path("published") / "02_loss_study"  # the one that the README shows
FIGURE = "fig-predictions"
TABLE = re.compile(r"(<!-- table 1.*?-->\n).*?(<!-- end of table 1 -->)", re.DOTALL)


def format_table(root: Path) -> str:
    """Format in Markdown what was run and, as a table, what came out."""
    info = json.loads((root / CHAPTER / "run.json").read_text(encoding="utf-8"))
    with (root / CHAPTER / "table1.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    seeds = f"{len(info['seeds'])} seed{'s' if len(info['seeds']) > 1 else ''}"
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"\nProfile *{info['profile']}*, {seeds}, on {info['device']}:\n\n{table}\n\n"


def read_figure(root: Path) -> bytes:
    """
    Read the picture of the cell that is named `FIGURE` from the published chapter.

    Raises
    ------
    ValueError
        If no cell shows it.
    """
    path = root / CHAPTER / f"{CHAPTER.name}.ipynb"
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["metadata"].get("mystnb", {}).get("figure", {}).get("name") == FIGURE:
            for output in cell["outputs"]:
                if "image/png" in output.get("data", {}):
                    return base64.b64decode("".join(output["data"]["image/png"]))
    raise ValueError(f"Invalid chapter {path}: it shows no {FIGURE}. Must be an executed notebook.")


def replace_table(text: str, table: str) -> str:
    """
    Replace what is between the two marks of the README.

    Raises
    ------
    ValueError
        If the marks are missing.
    """
    if not TABLE.search(text):
        raise ValueError("Invalid README. Must hold <!-- table 1 --> and <!-- end of table 1 -->.")
    return TABLE.sub(lambda marks: marks[1] + table + marks[2], text)


def main(root: Path) -> None:
    """Bring README and its figure in line with ``published/``."""
    (root / CHAPTER / f"{FIGURE}.png").write_bytes(read_figure(root))
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(replace_table(text, format_table(root)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[1])
