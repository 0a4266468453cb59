"""Command line: ``python -m thesis_lib``, installed as ``thesis``."""

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import click

import saltvolumes
from saltvolumes._checks import check_output
from saltvolumes.datasets import read_checksum
from saltvolumes.saving import WRITTEN_ENDINGS
from saltvolumes.volume import LATERAL
from thesis_lib import __version__
from thesis_lib._json import DAMAGE, format_json, parse_value
from thesis_lib.patching import find_axes

_OPENING = signature(saltvolumes.open_volume)
_pairs: dict[str, Any] = {"nargs": 2, "multiple": True, "metavar": "NAME VALUE"}
_profile = click.option(
    "--profile", default="smoke", show_default=True, help="notebooks/params/PROFILE.yml"
)
_reading = click.option(
    "-o",
    "reading",
    **_pairs,
    callback=lambda _context, _option, pairs: _read_options(pairs),
    help="How to read VOLUME, in the words of open_volume: -o vertical depth -o mask salt.sgy.",
)
_velocity = click.option(
    "--velocity", "velocity_m_s", type=float, help="m/s: turns time into depth, for distances."
)


def _read_options(pairs: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """Arguments of `open_volume` as they were typed."""
    kinds = {name: item.annotation for name, item in _OPENING.parameters.items()}
    return {name: parse_value(text, kinds.get(name, Any)) for name, text in pairs}


class _Once(logging.Filter):
    """Lets a message pass once, however often a file is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        is_new = text not in self.said
        self.said.add(text)
        return is_new


class _Commands(click.Group):
    """Turns the errors that a user can mend into one line and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ValueError, TypeError, OSError) as error:
            click.echo(f"thesis: {error}", err=True)
            ctx.exit(2)
        except RuntimeError as error:
            from thesis_lib.chapters import ChapterError  # chapters are slow to import

            if not isinstance(error, ChapterError):
                raise
            click.echo(f"thesis: {error}", err=True)
            ctx.exit(1)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__)
def app() -> None:
    """Run the chapters of the companion, and put their results where they belong."""
    handler = logging.StreamHandler()
    handler.addFilter(_Once())
    logging.basicConfig(handlers=[handler], format="%(message)s", level=logging.WARNING)


@app.command()
@click.argument("names", nargs=-1, metavar="[CHAPTER]...")
@click.option("--all", "every", is_flag=True, help="All chapters.")
@_profile
@click.option(
    "-p",
    "overrides",
    **_pairs,
    help="Set a parameter of the chapter, the value in YAML: -p epochs 4 -p losses '[bce, dice]'. "
    "Repeat at will. The run is then called custom.",
)
@click.option(
    "--scheduler",
    envvar="THESIS_SCHEDULER",
    help="Address of a Dask scheduler whose workers share the runs: tcp://HOST:8786.",
)
@click.option(
    "--minutes",
    envvar="THESIS_MINUTES",
    type=click.FloatRange(min=0),
    help="Start no run later than this after its chapter, and show what has finished.",
)
@click.option(
    "--records",
    envvar="THESIS_RECORDS",
    type=click.Choice(["same", "any", "none"]),
    help="Which records of published/runs take the place of runs: of the same code (the default), "
    "of any code, none.",
)
@click.option("--into", help="Folder of results, in place of results/PROFILE.")
@click.option(
    "--parameters", "show", is_flag=True, help="Show what can be set (-p), and run nothing."
)
@click.option(
    "-j",
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many of several chapters run at the same time, where none waits for another.",
)
def run(
    names: tuple[str, ...],
    every: bool,
    profile: str,
    overrides: tuple[tuple[str, str], ...],
    scheduler: str | None,
    minutes: float | None,
    records: str | None,
    into: str | None,
    show: bool,
    jobs: int,
) -> None:
    """
    Run one CHAPTER or several, by name or number, or --all of them; list them without either.

    \b
    thesis run 2 --profile laptop
    thesis run 02_loss_study -p losses '[bce, dice]' -p seeds '[1, 2, 3]'
    thesis run 2 --parameters
    thesis run 3 4 5 --jobs 2
    """  # noqa: D301  click keeps lines after this character
    if every and names:
        raise ValueError("Name chapters or give --all.")
    if (overrides or show) and len(names) != 1:
        raise ValueError("Parameters (-p, --parameters) belong to one CHAPTER.")
    if not every and not names and (minutes is not None or jobs > 1):
        raise ValueError("Name a CHAPTER or give --all.")
    if show and overrides:
        raise ValueError("--parameters shows those of a CHAPTER, and takes no -p.")
    if jobs > 1 and not every and len(names) == 1:
        raise ValueError("Jobs belong to several chapters.")
    from thesis_lib import chapters

    root = chapters.project_root()
    if not names and not every:
        for name in chapters.list_chapters(root):
            click.echo(f"{name:<28}{chapters.read_question(chapters.find_chapter(name, root))}")
        return
    if show:
        _show_parameters(names[0], profile, root)
        return
    if scheduler:
        os.environ["THESIS_SCHEDULER"] = scheduler  # for the kernels of the chapters
    if minutes is not None:
        os.environ["THESIS_MINUTES"] = str(minutes)
    if records is not None:
        os.environ["THESIS_RECORDS"] = records
    if len(names) != 1:
        names = names or tuple(chapters.list_chapters(root))
        with _ending_well():
            chapters.run_together(names, profile=profile, n_at_once=jobs, into=into, root=root)
        return
    values = chapters.parse_overrides(names[0], overrides, root)
    name = chapters.find_chapter(names[0], root).stem
    click.echo(f"Chapter {name}, profile {profile}")
    with _ending_well():
        folder = chapters.run(name, profile=profile, overrides=values, into=into)
    click.echo(f"Results in {folder} after {chapters.read_run_info(folder)['duration_s']} s")


@contextmanager
def _ending_well() -> Iterator[None]:
    """Where the command is told to end, end what it started, and leave no temporary files."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_parameters(chapter: str, profile: str, root: Path) -> None:
    """Print the parameters of a chapter with type, value in a profile, and meaning."""
    from thesis_lib import chapters

    path = chapters.find_chapter(chapter, root)
    values = chapters.resolve_parameters(path.stem, profile, {}, root)
    click.echo(f"{path.stem}, values of profile {profile}:")
    for name, field in chapters.read_parameters(path).model_fields.items():
        kind = chapters.format_kind(field.annotation)
        click.echo(f"{name} ({kind}) = {format_json(values[name])}\n    {field.description}")


@app.command()
@click.argument("chapter", required=False)
def pair(chapter: str | None) -> None:
    """Store notebooks/CHAPTER.ipynb (all without CHAPTER) from a smoke run of its .py."""
    from thesis_lib import chapters

    for name in [chapter] if chapter else chapters.list_chapters(chapters.project_root()):
        click.echo(f"Stored {chapters.pair(name)}")


@app.command()
@_profile
@click.option(
    "--root",
    "sources",
    type=Path,
    multiple=True,
    help="Take the chapters from here, say published/; of several, the last that has one counts.",
)
def stage(profile: str, sources: tuple[Path, ...]) -> None:
    """Copy executed chapters and their results into the book."""
    from thesis_lib import chapters

    for page in chapters.stage(*(sources or [Path("results") / profile])):
        click.echo(f"Staged {page}")


@app.command()
@click.argument("chapter", required=False)
@_profile
def publish(chapter: str | None, profile: str) -> None:
    """Replace CHAPTER (all without it) in published/ by the results of a profile."""
    from thesis_lib import chapters

    click.echo(f"Published {chapters.publish(profile, chapter)}")


@app.command()
@click.argument("volume", type=Path)
@_reading
@click.option("--png", type=Path, help="Draw a section and the amplitudes here.")
@click.option("--force", is_flag=True, help="Replace the PNG where it exists.")
def inspect(volume: Path, reading: dict[str, Any], png: Path | None, force: bool) -> None:
    """Report what VOLUME holds: geometry, units, storage, amplitudes, and what is in doubt."""
    if png is not None:
        check_output("PNG", png, endings=(".png",), inputs=[volume], force=force)
    found = saltvolumes.inspect_volume(volume, **reading)
    for name, text in found.facts.items():
        click.echo(f"{name:>18}: {text}")
    for doubt in found.doubts:
        click.echo(f"? {doubt}")
    if png is not None:
        from thesis_lib import plotting  # slow to import

        longest = max(("inline", "crossline"), key=lambda line: found.volume.sizes[line])
        section = saltvolumes.richest_section(found.volume, LATERAL[longest]).load()
        plotting.plot_inspection(section, found.amplitudes).savefig(png, dpi=150)
        click.echo(f"Drew {png}")


@app.command()
@click.argument("volume", type=Path)
@_reading
@click.option("--to", "root", type=Path, default="runs", show_default=True, help="Folder of runs.")
@click.option("--loss", default="dice", show_default=True, help="Which of the eleven losses.")
@click.option("--seed", default=0, show_default=True, help="Of weights and patches.")
@click.option("--epochs", default=8, show_default=True, help="Rounds.")
@click.option("--patches", "n_patches", default=1024, show_default=True, help="Per epoch.")
@click.option("--patch", default=64, show_default=True, help="Height and width, in samples.")
@click.option(
    "--split", "split_axis", default="crossline", show_default=True, help="Axis to split."
)
@click.option(
    "--test", "test_lines", type=int, multiple=True, help="Lines to score; repeat at will."
)
@click.option(
    "--encoder",
    default="resnet34",
    show_default=True,
    help="Name of a timm encoder of four stages.",
)
@click.option(
    "--robust", is_flag=True, help="For another survey: change patches as surveys differ."
)
@_velocity
def train(volume: Path, root: Path, reading: dict[str, Any], **settings: Any) -> None:
    """
    Train a network on VOLUME and its mask, and score it on lines kept aside: the last fifth.

    \b
    thesis train survey.sgy -o mask salt.sgy
    thesis segment survey.sgy predicted.sgy --network runs/KEY
    """  # noqa: D301  click keeps lines after this character
    patch = settings["patch"]
    find_axes([saltvolumes.open_volume(volume, **reading)], (patch, patch))
    from thesis_lib.study import surveys  # slow to import, and these errors should come at once

    network, scores = surveys.train(volume, root, reading=reading, **settings)
    click.echo(_format_scores(scores))
    click.echo(f"Use it: thesis segment VOLUME OUTPUT --network {network}")


@app.command()
@click.argument("volume", type=Path)
@click.argument("output", type=Path)
@click.option(
    "--network",
    type=Path,
    required=True,
    help="Folder of a training, runs/KEY, or a .safetensors file next to its config.json.",
)
@click.option(
    "--ensemble",
    type=Path,
    multiple=True,
    help="More networks, for their mean and their disagreement; repeat at will.",
)
@click.option(
    "--zoom",
    "zooms",
    type=float,
    multiple=True,
    help="Size at which sections are predicted, below 1 smaller; repeat for the mean of several.",
)
@_reading
@click.option("--probability", is_flag=True, help="Write probabilities to SEG-Y, not a mask.")
@click.option("--disagreement", is_flag=True, help="Write to SEG-Y where networks differ.")
@click.option("--force", is_flag=True, help="Replace OUTPUT where it exists.")
@_velocity
def segment(
    volume: Path,
    output: Path,
    network: Path,
    ensemble: tuple[Path, ...],
    probability: bool,
    disagreement: bool,
    **options: Any,
) -> None:
    """
    Write the salt in VOLUME to OUTPUT (.sgy, .nc, .zarr), and score it where a mask is given.

    SEG-Y from SEG-Y keeps all headers. Computed on the GPU where there is one.

    \b
    thesis segment survey.sgy salt.sgy --network runs/KEY
    thesis segment survey.sgy salt.zarr --network runs/A --ensemble runs/B --ensemble runs/C
    """  # noqa: D301  click keeps lines after this character
    if probability and disagreement:
        raise ValueError("Write --probability or --disagreement, not both.")
    check_output("OUTPUT", output, endings=WRITTEN_ENDINGS, inputs=[volume], force=options["force"])
    for each in (network, *ensemble):
        if not each.exists():
            raise ValueError(f"No network {each}. Must be a folder of runs, or .safetensors.")
        if patch := _read_patch(each):
            find_axes([saltvolumes.open_volume(volume, **options["reading"])], patch)
    from thesis_lib.study import surveys  # slow to import, and these errors should come at once

    chosen = "probability" if probability else "disagreement" if disagreement else "salt"
    scores = surveys.segment(volume, output, network, ensemble=ensemble, variable=chosen, **options)
    click.echo(f"Wrote {output}: {scores['salt_fraction']:.1%} of the samples are salt")
    if "dice" in scores:
        click.echo(_format_scores(scores))


def _read_patch(network: Path) -> list[int]:
    """Patch of a network, empty where its settings cannot be read: that is said later."""
    folder = network if network.is_dir() else network.parent
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return [int(size) for size in settings["fields"]["patch"]]
    except (OSError, *DAMAGE):
        return []


def _format_scores(scores: Mapping[str, Any]) -> str:
    from thesis_lib.study.tables import SCORE_NAMES

    shown = ("dice", "perimetric_similarity", "surface_dice")
    known = {SCORE_NAMES[name]: scores[name] for name in shown if scores[name] is not None}
    return ", ".join(f"{name} {value:.4f}" for name, value in known.items())


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
