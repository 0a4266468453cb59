"""Command line: ``python -m thesis_lib``, installed as ``thesis``."""

from pathlib import Path
from typing import Any

import click

import saltvolumes
from saltvolumes._checks import check_choice
from saltvolumes.datasets import read_checksum
from thesis_lib import __version__, chapters

_SEGY = (".sgy", ".segy")
_LAYOUT = ("iline_byte", "xline_byte", "single_line", "sample_format")  # of SEG-Y, to write as read

_pairs: dict[str, Any] = {"nargs": 2, "multiple": True, "metavar": "NAME VALUE"}
_profile = click.option(
    "--profile", default="smoke", show_default=True, help="notebooks/params/PROFILE.yml"
)


class _Commands(click.Group):
    """Turns the errors that a user can mend into one line and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, TypeError, OSError, chapters.ChapterError) as error:
            click.echo(f"thesis: {error}", err=True)
            ctx.exit(1 if isinstance(error, chapters.ChapterError) else 2)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__)
def app() -> None:
    """Run the chapters of the companion, and put their results where they belong."""


@app.command()
@click.argument("chapter", required=False)
@click.option("--all", "every", is_flag=True, help="All chapters, in order.")
@_profile
@click.option(
    "-p",
    "overrides",
    **_pairs,
    help="Set a parameter of the chapter, the value in YAML: -p epochs 4 -p losses '[bce, dice]'. "
    "Repeat at will. The run is then called custom.",
)
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
    names = [chapters.find_chapter(chapter, root).stem] if chapter else chapters.list_chapters(root)
    for name in names:
        click.echo(f"Running {name}, profile {profile}")
        folder = chapters.run(name, profile=profile, overrides=values)
        click.echo(f"Results in {folder} after {chapters.read_run_info(folder)['duration_s']} s")


@app.command()
@click.argument("chapter", required=False)
def pair(chapter: str | None) -> None:
    """Store notebooks/CHAPTER.ipynb (all without CHAPTER) from a smoke run of its .py."""
    for name in [chapter] if chapter else chapters.list_chapters(chapters.project_root()):
        click.echo(f"Stored {chapters.pair(name)}")


@app.command()
@_profile
@click.option("--root", "source", type=Path, help="Take the chapters from here, say published/.")
def stage(profile: str, source: Path | None) -> None:
    """Copy executed chapters and their results into the book."""
    for page in chapters.stage(source or Path("results") / profile):
        click.echo(f"Staged {page}")


@app.command()
@_profile
def publish(profile: str) -> None:
    """Replace published/ by the results of a profile."""
    click.echo(f"Published {chapters.publish(profile)}")


@app.command()
@click.argument("volume", type=Path)
@click.argument("output", type=Path)
@click.option(
    "--run", "folder", type=Path, required=True, help="Folder of a finished training: runs/KEY."
)
@click.option(
    "-o",
    "options",
    **_pairs,
    help="How to read VOLUME, in the words of open_volume: -o vertical depth.",
)
def segment(volume: Path, output: Path, folder: Path, options: tuple[tuple[str, str], ...]) -> None:
    """
    Write the probability of salt in VOLUME to OUTPUT (.sgy, .nc, .zarr).

    SEG-Y from SEG-Y keeps all headers. Computed on the GPU where there is one.
    """
    ending = check_choice("file ending", output.suffix.lower(), (*_SEGY, ".nc", ".zarr"))
    if not output.parent.is_dir():
        raise ValueError(f"Invalid OUTPUT {output}. Must lie in a folder that exists.")
    import torch  # slow to import like the study, and the other commands do without

    from thesis_lib.study.segmentation import Train, load_model, predict
    from thesis_lib.study.tasks import read_outcome

    outcome = read_outcome(folder)
    task = outcome.task
    if not isinstance(task, Train):
        raise ValueError(f"Invalid run {folder}: {type(task).__name__}. Must be a Train.")
    try:
        model = load_model(outcome)
    except RuntimeError as error:  # many lines of names and shapes
        raise ValueError(
            f"Invalid run {folder}: its weights do not fit the network. Must be a run of this "
            "version of the library; train it again."
        ) from error
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    reading = {name: chapters.parse_value(text) for name, text in options}
    predicted = predict(model, saltvolumes.open_volume(volume, **reading), task, progress=True)
    layout = {name: reading[name] for name in _LAYOUT if name in reading}
    like = volume if {volume.suffix.lower(), ending} <= set(_SEGY) else None
    saltvolumes.save_volume(predicted, output, variable="probability", like=like, **layout)
    click.echo(f"Wrote {output}")


@app.command()
def datasets() -> None:
    """List the official data sets, and how to get them."""
    for source in saltvolumes.DATA_SOURCES.values():
        click.echo(f"{source.name}: {source.title}\n    {source.access}")


@app.command()
@click.argument("name")
@click.option(
    "--to", "folder", type=Path, help="Where to put the file; the user's cache where left out."
)
def fetch(name: str, folder: Path | None) -> None:
    """Download the data set NAME, or go on with a download that broke off."""
    path = saltvolumes.fetch(name, folder)
    click.echo(f"Fetched {path}")
    if checksum := read_checksum(path):
        click.echo(f"Its SHA-256 is kept next to it: {checksum}")


if __name__ == "__main__":
    app(prog_name="thesis")
