"""Command line: ``python -m thesis_lib``, installed as ``thesis``."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import click

from thesis_lib import __version__, chapters
from thesis_lib._checks import check_choice

if TYPE_CHECKING:
    from thesis_lib.model import SaltUNet

P = ParamSpec("P")
_SEGY = (".sgy", ".segy")

_profile = click.option(
    "--profile", default="smoke", show_default=True, help="notebooks/params/PROFILE.yml"
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def app() -> None:
    """Run the chapters of the companion, and put their results where they belong."""


def _in_one_line(command: Callable[P, None]) -> Callable[P, None]:
    """Turn the errors that a user can mend into one line and an exit status."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, TypeError, OSError) as error:
            click.echo(f"thesis: {error}", err=True)
            sys.exit(2)
        except chapters.ChapterError as error:
            click.echo(f"thesis: {error}", err=True)
            sys.exit(1)

    return wrapped


@app.command()
@click.argument("chapter", required=False)
@click.option("--all", "every", is_flag=True, help="All chapters, in order.")
@_profile
@click.option(
    "-p",
    "overrides",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="Set a parameter of the chapter, the value in YAML: -p epochs 4 -p losses '[bce, dice]'. "
    "Repeat at will. The run is then called custom.",
)
@_in_one_line
def run(
    chapter: str | None, every: bool, profile: str, overrides: tuple[tuple[str, str], ...]
) -> None:
    r"""
    Run a CHAPTER, by name or number, or --all of them.

    \b
    thesis run 2 --profile laptop
    thesis run 02_loss_study -p losses '[bce, dice]' -p seeds '[1, 2, 3]'
    """
    if every == (chapter is not None):
        raise ValueError("Name one CHAPTER or give --all.")
    if every and overrides:
        raise ValueError("Parameters (-p) belong to one CHAPTER, not to --all.")
    root = chapters.project_root()
    values = {name: chapters.parse_value(text) for name, text in overrides}
    for name in (
        [chapters.find_chapter(chapter, root).stem] if chapter else chapters.list_chapters(root)
    ):
        click.echo(f"Running {name}, profile {profile}")
        folder = chapters.run(name, profile=profile, overrides=values)
        click.echo(f"Results in {folder} after {chapters.read_run_info(folder)['duration_s']} s")


@app.command()
@click.argument("chapter", required=False)
@_in_one_line
def pair(chapter: str | None) -> None:
    """Store notebooks/CHAPTER.ipynb (all without CHAPTER) from a smoke run of its .py."""
    for name in [chapter] if chapter else chapters.list_chapters(chapters.project_root()):
        click.echo(f"Stored {chapters.pair(name)}")


@app.command()
@_profile
@click.option("--root", "source", type=Path, help="Take the chapters from here, say published/.")
@_in_one_line
def stage(profile: str, source: Path | None) -> None:
    """Copy executed chapters and their results into the book."""
    for page in chapters.stage(source or Path("results") / profile):
        click.echo(f"Staged {page}")


@app.command()
@_profile
@_in_one_line
def publish(profile: str) -> None:
    """Replace published/ by the results of a profile."""
    click.echo(f"Published {chapters.publish(profile)}")


@app.command()
@click.argument("volume", type=Path)
@click.argument("output", type=Path)
@click.option(
    "--run", "folder", type=Path, required=True, help="Folder of a finished run: runs/KEY."
)
@click.option(
    "-o",
    "options",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="How to read VOLUME, in the words of data.open_volume: -o vertical depth.",
)
@_in_one_line
def segment(volume: Path, output: Path, folder: Path, options: tuple[tuple[str, str], ...]) -> None:
    """
    Write the probability of salt in VOLUME to OUTPUT (.sgy, .nc, .zarr).

    SEG-Y from SEG-Y keeps all headers.
    """
    ending = check_choice("file ending", output.suffix.lower(), (*_SEGY, ".nc", ".zarr"))
    if not output.parent.is_dir():
        raise ValueError(f"Invalid OUTPUT {output}. Must lie in a folder that exists.")
    from thesis_lib import data, study  # slow to import, and the other commands do without
    from thesis_lib.study.segmentation import predict

    reading = {name: chapters.parse_value(text) for name, text in options}
    config, _ = study.read_run(folder)
    model = _load_network(folder)
    predicted = predict(model, data.open_volume(volume, **reading), config, progress=True)
    lines = {
        name: reading[name]
        for name in ("iline_byte", "xline_byte", "single_line", "sample_format")
        if name in reading
    }
    like = volume if {volume.suffix.lower(), ending} <= set(_SEGY) else None
    data.save_volume(predicted, output, variable="probability", like=like, **lines)
    click.echo(f"Wrote {output}")


@app.command()
@_in_one_line
def datasets() -> None:
    """List the official data sets, and how to get them."""
    from thesis_lib import data

    for source in data.DATA_SOURCES.values():
        click.echo(f"{source.name}: {source.title}\n    {source.access}")


@app.command()
@click.argument("name")
@click.option(
    "--to", "folder", type=Path, help="Where to put the file, the user's cache if unsaid."
)
@_in_one_line
def fetch(name: str, folder: Path | None) -> None:
    """Download the data set NAME, or go on with a download that broke off."""
    from thesis_lib.data import registry

    path = registry.fetch(name, folder)
    click.echo(f"Fetched {path}")
    if checksum := registry.read_checksum(path):
        click.echo(f"Its SHA-256 is kept beside it: {checksum}")


def _load_network(folder: Path) -> "SaltUNet":
    """Load the network of a run to the GPU where there is one."""
    import torch

    from thesis_lib import study

    try:
        model = study.load_model(folder)
    except RuntimeError as error:  # many lines of names and shapes
        raise ValueError(
            f"Invalid run {folder}: its weights do not fit the network. Must be a run of this "
            "version of the library; train it again."
        ) from error
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


if __name__ == "__main__":
    app(prog_name="thesis")
