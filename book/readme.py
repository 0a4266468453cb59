"""Put the answer, its figure and Table 1 of ``published/`` into ``README.md``."""

import csv
import json
import re
from pathlib import Path

CHAPTER = Path("published") / "02_loss_study"  # the one that the README shows
ANSWER = re.compile(r"(<!-- answer.*?-->\n).*?(<!-- end of answer -->)", re.DOTALL)


def format_answer(root: Path) -> str:
    """Format in Markdown the figure, the sentences and the table of the loss study."""
    folder = root / CHAPTER
    info = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    sentences = json.loads((folder / "sentences.json").read_text(encoding="utf-8"))
    with (folder / "table1.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    figure = f"![A section with true salt and three predictions]({CHAPTER.as_posix()}/answer.png)"
    points = "\n".join(f"- {sentence}" for sentence in sentences)
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    runs = info["runs"]
    origin = (
        f"Profile *{info['profile']}*, on {info['device']}, {runs['finished']} of "
        f"{runs['asked']} runs finished; ± is half of a 95 % interval over seeds:"
    )
    return f"\n{figure}\n\n{points}\n\n{origin}\n\n{table}\n\n"


def replace_answer(text: str, answer: str) -> str:
    """
    Replace what is between the two marks of the README.

    Raises
    ------
    ValueError
        If the marks are missing.
    """
    if not ANSWER.search(text):
        raise ValueError("Invalid README. Must hold <!-- answer --> and <!-- end of answer -->.")
    return ANSWER.sub(lambda marks: marks[1] + answer + marks[2], text)


def main(root: Path) -> None:
    """Bring README in line with ``published/``."""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(replace_answer(text, format_answer(root)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[1])
