"""A project with one chapter that takes no time, for the tests of chapters and command line."""

from pathlib import Path

CHAPTER = "01_toy"
PARAMETERS = """\
count = 2  # how many
rate: float = 0.5  # a share
losses = ["bce", "dice"]  # which
mask: str | None = None  # a file
lines: list[int] = []  # line numbers
results_dir = "results/smoke/01_toy"  # where results go
"""
BODY = """\
# %%
from myst_nb import glue

from thesis_lib import chapters

folder = chapters.open_results("01_toy", globals())

# %%
print("sum", count + count)
glue("total", float(count * rate), display=False)
count;

# %% tags=["training"]
(folder / "figures").mkdir()
(folder / "figures" / "a.txt").write_text("drawn")
print("score 0.91 in epoch", count)

# %%
chapters.close_results(folder, data={"test": "0123abcd"}, seeds=[0, 1])
"""


def make_project(root: Path, *, body: str = BODY, parameters: str = PARAMETERS) -> Path:
    """Write the chapter with its smoke and laptop profiles below ``root``."""
    params = root / "notebooks" / "params"
    params.mkdir(parents=True, exist_ok=True)
    (params / "smoke.yml").write_text(
        f"{CHAPTER}:\n  count: 2\n  rate: 0.5\n  losses: [bce, dice]\n  mask: null\n"
    )
    (params / "laptop.yml").write_text(f"{CHAPTER}:\n  count: 4\n")
    opening = "# %% [markdown]\n# # What is two and two?\n# It is four.\n\n"
    cell = f'# %% tags=["parameters"]\n{parameters}\n'
    (root / "notebooks" / f"{CHAPTER}.py").write_text(opening + cell + body)
    return root
