"""Files of every reader, damaged; some of them in a way that a reader has to notice."""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from random import Random

import h5py
import numpy as np
import scipy.io
import torch
import xarray as xr
from explained_networks import TINY, leave_network
from judging import ROOT, Case, WrongError, check_volume
from mutations import cut_off, damage_bytes, damage_text
from safetensors.torch import load, save
from segy_files import DTYPES, N_SAMPLES, make_cube, write_segy
from tiny_project import finish_chapter, make_project

from saltvolumes import open_landmass, open_volume, save_volume
from saltvolumes.archives import unpack
from saltvolumes.datasets import read_checksum
from saltvolumes.landmass import SHAPES
from saltvolumes.volume import build_volume
from thesis_lib._json import write_json
from thesis_lib.chapters.page import read_run_info
from thesis_lib.chapters.parameters import check_values, find_chapter, load_profile, read_parameters
from thesis_lib.study import Score, read_claims, read_tasks, run_all
from thesis_lib.study.surveys import read_network
from thesis_lib.study.tasks import write_tasks

DIMS = ("inline", "crossline", "time")
INLINES, CROSSLINES = (10, 12, 14), (100, 101, 102, 103)
ODD = (np.nan, np.inf, -np.inf)
# Fields that steer reading: of the file, and of the first trace.
FIELDS = (3216, 3220, 3224, 3254, 3268, 3500, 3504, 3670, 3688, 3708, 3714, 3716, 3780, 3788, 3792)
Open = Callable[[], object]


class Files:
    """What areas of files share: a name, a weight, and what an input may take."""

    weight = 1.0
    cpu_s = 10.0
    wall_s = 60.0

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch / type(self).__name__
        self.scratch.mkdir()
        self.prepare()

    def prepare(self) -> None:
        """Make good files, once."""

    def put(self, path: Path, content: bytes) -> Path:
        """Write a file, in a folder that may be new."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def read(path: Path, **options: object) -> None:
    """Open a volume and look at all of it."""
    check_volume(open_volume(path, **options))


def make_volume(cube: np.ndarray) -> xr.Dataset:
    """A small volume whose samples are all different."""
    lines = {"inline": INLINES, "crossline": CROSSLINES, "vertical": 4.0 * np.arange(cube.shape[2])}
    return build_volume(cube, **lines, vertical_dim="time", salt=cube > 0.5)


def different_cube() -> np.ndarray:
    """Samples of which no two are the same."""
    return np.random.default_rng(1).random((3, 4, N_SAMPLES), np.float32)


class Segy(Files):
    """SEG-Y of every sample format, byte order and order of traces."""

    name = "SEG-Y"
    weight = 8.0

    def prepare(self) -> None:
        """Write one file of each kind."""
        self.good: dict[tuple[int, str, str], bytes] = {}
        layouts = {
            "by inline": {},
            "by crossline": {"by_crossline": True},
            "with gaps": {"missing": [(0, 1), (2, 3)]},
        }
        for code, endian, layout in product((1, 5, *DTYPES), ("big", "little"), layouts):
            path = self.scratch / "good.sgy"
            place = lambda i, j: (25 * j, 25 * i)  # noqa: E731
            options = {"code": code, "endian": endian, "place": place, **layouts[layout]}
            write_segy(path, make_cube(), **options)
            self.good[code, endian, layout] = path.read_bytes()

    def make(self, rng: Random, folder: Path) -> Case:
        """Headers, traces and length may be anything."""
        kind = rng.choice(list(self.good))
        code, endian, _ = kind
        content, options = self.good[kind], {}
        n_bytes = 240 + N_SAMPLES * (np.dtype(DTYPES.get(code, np.float32)).itemsize)
        n_traces = (len(content) - 3600) // n_bytes
        place = 3600 + n_bytes * rng.randrange(n_traces)
        what = rng.choice(("", "", "", "", "", "cut in a trace", "a trace twice", "not a number"))
        if what == "cut in a trace":
            content = content[: place + rng.randrange(1, n_bytes)]
        elif what == "a trace twice":
            content += content[place : place + n_bytes]
        elif what and code in (5, 6):
            spot = place + 240 + (n_bytes - 240) // N_SAMPLES * rng.randrange(N_SAMPLES)
            letter = {"big": ">", "little": "<"}[endian] + "fd"[code == 6]
            odd = struct.pack(letter, rng.choice(ODD))
            content = content[:spot] + odd + content[spot + len(odd) :]
        else:
            what = ""
            content = damage_bytes(rng, content, (*FIELDS, place, place + 188, place + 192))
            options = {
                "sample_interval": rng.choice((None, 4.0)),
                "single_line": rng.random() < 0.1,
            }
        path = self.put(folder / "damaged.sgy", content)
        return Case(partial(read, path, **options), bool(what), what)


class Arrays(Files):
    """Files of arrays: npz, npy and NetCDF."""

    name = "npz, npy, NetCDF"
    weight = 5.0

    def prepare(self) -> None:
        """Write one file of each ending."""
        self.cube = different_cube()
        self.good = {"npy": _write_array(np.save, self.cube), "npz": self._zip(self.cube, INLINES)}
        save_volume(make_volume(self.cube), self.scratch / "good.nc")
        self.good["nc"] = (self.scratch / "good.nc").read_bytes()
        make_volume(self.cube).drop_vars("salt").to_netcdf(self.scratch / "3.nc", engine="scipy")
        self.good["3.nc"] = (self.scratch / "3.nc").read_bytes()

    def _zip(self, cube: np.ndarray, inlines: tuple[int, ...]) -> bytes:
        arrays = {"amplitude": cube, "salt": cube > 0.5, "inline": inlines, "crossline": CROSSLINES}
        return _write_array(np.savez, **arrays)

    def make(self, rng: Random, folder: Path) -> Case:
        """Bytes may be anything; known to be wrong are cut files, odd samples and equal lines."""
        ending, content = rng.choice(list(self.good.items()))
        what = rng.choice(("", "", "", "", "cut off", "not a number", "a line twice"))
        if what == "a line twice" and ending == "npz":
            content = self._zip(self.cube, (10, 10, 14))
        elif what == "a line twice" and ending == "nc":
            content = _exchange(content, np.array(INLINES), np.array([10, 10, 14]))
        elif what == "cut off":
            content = cut_off(rng, content)
        elif what == "not a number":
            spot, odd = tuple(map(rng.randrange, self.cube.shape)), np.float32(rng.choice(ODD))
            cube = self.cube.copy()
            cube[spot] = odd
            order = ">" if ending == "3.nc" else "<"
            content = (
                self._zip(cube, INLINES)
                if ending == "npz"
                else _exchange(
                    content, np.array(self.cube[spot], f"{order}f4"), np.array(odd, f"{order}f4")
                )
            )
        else:
            what, content = "", damage_bytes(rng, content)
        path = self.put(folder / f"damaged.{ending}", content)
        options = {} if "nc" in ending else {"dims": DIMS, "sample_interval": 4.0}
        return Case(partial(read, path, **options), bool(what), f"{ending} {what}")


def _write_array(write: Callable[..., None], *arrays: object, **named: object) -> bytes:
    file = io.BytesIO()
    write(file, *arrays, **named)
    return file.getvalue()


def _exchange(content: bytes, old: np.ndarray, new: np.ndarray) -> bytes:
    """Put a value into a file, where another one is stored once."""
    assert content.count(old.tobytes()) == 1, (old, content.count(old.tobytes()))
    return content.replace(old.tobytes(), new.tobytes())


class Zarr(Files):
    """Any file of a Zarr store, metadata or chunk."""

    name = "Zarr"
    weight = 3.0

    def prepare(self) -> None:
        """Write one store."""
        self.cube = different_cube()
        store = self.scratch / "good.zarr"
        save_volume(make_volume(self.cube), store)
        files = (path for path in store.rglob("*") if path.is_file())
        self.good = {str(path.relative_to(store)): path.read_bytes() for path in files}

    def make(self, rng: Random, folder: Path) -> Case:
        """Known to be wrong: a chunk that is cut off or missing, odd samples."""
        content, chunk = dict(self.good), "amplitude/0.0.0"
        what = rng.choice(("", "", "", "", "cut off", "missing", "not a number"))
        if what == "cut off":
            content[chunk] = cut_off(rng, content[chunk])
        elif what == "missing":
            del content[chunk]
        elif what:
            spot, odd = tuple(map(rng.randrange, self.cube.shape)), np.float32(rng.choice(ODD))
            content[chunk] = _exchange(content[chunk], self.cube[spot], odd)
        else:
            name = rng.choice(list(content))
            change = damage_text if Path(name).name.startswith(".z") else damage_bytes
            content[name] = change(rng, content[name])
        for name, stored in content.items():
            self.put(folder / "damaged.zarr" / name, stored)
        return Case(partial(read, folder / "damaged.zarr"), bool(what), what)


class Masks(Files):
    """Masks of labels in a file of their own, and horizons."""

    name = "masks and horizons"
    weight = 4.0

    def prepare(self) -> None:
        """Write a volume and masks of it."""
        cube = different_cube()
        self.salt = (cube > 0.5).astype(np.float32)
        self.volume = self.scratch / "volume.sgy"
        save_volume(make_volume(cube), self.volume)
        save_volume(make_volume(cube), self.scratch / "mask.sgy", variable="salt")
        self.segy = (self.scratch / "mask.sgy").read_bytes()
        pairs = list(product(INLINES, CROSSLINES))
        self.top = [f"{i} {j} {4 + (i + j) % 3:.2f}" for i, j in pairs]
        self.base = [f"{i} {j} {14 + (i + j) % 5:.2f}" for i, j in pairs]

    def make(self, rng: Random, folder: Path) -> Case:
        """Known to be wrong: labels beyond 0 and 1 or odd, two picks on a trace, lost columns."""
        return rng.choice((self._make_mask, self._make_segy, self._make_horizons))(rng, folder)

    def _make_mask(self, rng: Random, folder: Path) -> Case:
        what = rng.choice(("", "", "a third label", "not a number"))
        salt = self.salt.copy()
        if what:
            spot = tuple(map(rng.randrange, salt.shape))
            salt[spot] = 2 if what == "a third label" else rng.choice(ODD)
        content = _write_array(np.savez, salt=salt)
        path = self.put(folder / "mask.npz", content if what else damage_bytes(rng, content))
        act = partial(read, self.volume, mask=path, dims=DIMS, sample_interval=4.0)
        return Case(act, bool(what), what)

    def _make_segy(self, rng: Random, folder: Path) -> Case:
        path = self.put(folder / "mask.sgy", damage_bytes(rng, self.segy, FIELDS))
        return Case(partial(read, self.volume, mask=path), label="SEG-Y")

    def _make_horizons(self, rng: Random, folder: Path) -> Case:
        what = rng.choice(("", "", "two picks", "a lost column"))
        top, row = list(self.top), rng.randrange(1, len(self.top))  # before the first is a header
        if what == "two picks":
            top.append(top[row] + "5")
        elif what:
            top[row] = " ".join(top[row].split()[:2])
        names, content = ("top.txt", "base.txt"), [top, self.base]
        written = ["\n".join(lines).encode() for lines in content]
        if not what:
            number = rng.randrange(2)
            written[number] = damage_text(rng, written[number])
        paths = [self.put(folder / name, text) for name, text in zip(names, written, strict=True)]
        return Case(partial(read, self.volume, mask=paths), bool(what), what)


class Landmass(Files):
    """Release 1 of LANDMASS, as a folder of .mat files or as HDF5."""

    name = "LANDMASS"
    weight = 3.0

    def prepare(self) -> None:
        """Write an image as MATLAB stores it: plain, compressed and as HDF5; and the mirror."""
        shape = SHAPES[1]
        image = np.random.default_rng(2).uniform(-1, 1, shape).astype(np.float32)
        self.sample = image[5, 7]
        self.good: dict[str, bytes] = {}
        for name, compressed in (("plain", False), ("compressed", True)):
            options = {"do_compression": compressed}
            self.good[name] = _write_array(scipy.io.savemat, {"img": image}, **options)
        with h5py.File(self.scratch / "7.3.mat", "w") as file:
            file["img"] = image.T
        self.good["7.3"] = (self.scratch / "7.3.mat").read_bytes()
        with h5py.File(self.scratch / "mirror.h5", "w") as file:
            for folder in ("Chaotic Horizon", "Fault", "Horizon", "Salt Dome"):
                file[f"LANDMASS-1/{folder}"] = image[None] * (1 if folder == "Fault" else 0.5)
        self.good["mirror"] = (self.scratch / "mirror.h5").read_bytes()

    def make(self, rng: Random, folder: Path) -> Case:
        """Known to be wrong: cut files, samples that are no numbers or beyond 1."""
        kind, content = rng.choice(list(self.good.items()))
        what = rng.choice(("", "", "", "cut off", "odd sample"))
        if what == "cut off":
            content = cut_off(rng, content, spare=8)  # padding of the last element
        elif what and kind != "compressed":
            content = _exchange(content, self.sample, np.float32(rng.choice((*ODD, 1.5, -2))))
        else:
            what, content = "", damage_bytes(rng, content, range(300))
        if kind == "mirror":
            root = self.put(folder / "damaged.h5", content)
        else:
            root = folder / "LANDMASS1"
            for name in ("chaotic", "fault", "horizon", "salt dome"):
                self.put(root / name / "image_1.mat", self.good["compressed"])
            self.put(root / "fault" / "image_1.mat", content)
        return Case(partial(self._open, root), bool(what), f"{kind} {what}")

    def _open(self, root: Path) -> None:
        images = open_landmass(root).images
        if images.dtype != np.float32 or not np.abs(images).max() <= 1.001:
            raise WrongError("images beyond -1..1")


class Archives(Files):
    """Zip and tar archives, and checksums."""

    name = "archives, checksums"
    weight = 3.0

    def prepare(self) -> None:
        """Pack three files in every format."""
        files = {"a.txt": b"salt " * 200, "b/c.bin": bytes(range(256)) * 4, "b/d": b""}
        self.good: dict[str, bytes] = {}
        for name, packed in (("stored.zip", zipfile.ZIP_STORED), ("zip", zipfile.ZIP_DEFLATED)):
            path = self.scratch / name
            with zipfile.ZipFile(path, "w", packed) as archive:
                for member, content in files.items():
                    archive.writestr(member, content)
            self.good[name] = path.read_bytes()
        for name, mode in (("tar", ""), ("tar.gz", "gz"), ("tar.xz", "xz"), ("tar.bz2", "bz2")):
            self.good[name] = _pack_tar(mode, files)
        self.leaving = _pack_tar("", {"../evil": b"evil"})
        self.files = files

    def make(self, rng: Random, folder: Path) -> Case:
        """Known to be wrong: archives that are cut off or leave their folder."""
        if rng.random() < 0.2:
            stored = damage_text(rng, b"0a" * 32 + b"  a.zip\n")
            self.put(folder / "a.zip.sha256", stored)
            return Case(partial(self._check_sum, folder / "a.zip"), label="checksum")
        ending, content = rng.choice(list(self.good.items()))
        what = rng.choice(("", "", "", "cut off", "leaves its folder"))
        if what == "cut off":
            end = content.rindex(b"b/d") + 512 if ending == "tar" else len(content) - 1
            content = content[: rng.randrange(1, end)]  # of a tar, some of the zeros may be lost
        elif what and ending == "tar":
            content = self.leaving
        else:
            what, content = "", damage_bytes(rng, content)
        path = self.put(folder / "in" / f"damaged.{ending}", content)
        return Case(partial(self._unpack, path), bool(what), f"{ending} {what}")

    def _check_sum(self, path: Path) -> None:
        digest = read_checksum(path)
        if digest is None or len(digest) != 64:
            raise WrongError(f"took {digest!r} for a checksum")

    def _unpack(self, path: Path) -> None:
        to = path.parent / "to"
        try:
            unpack(path, to)
        finally:
            left = {found.name for found in path.parents[0].iterdir()}
            allowed = {path.name, "to", ".to.partial.lock"}
            if left - allowed or {found.name for found in path.parents[1].iterdir()} != {"in"}:
                raise WrongError(f"left {sorted(left - allowed)} or files outside")


def _pack_tar(mode: str, files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{mode}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class Runs(Files):
    """Folders of runs, lists of tasks and run.json."""

    name = "run folders"
    weight = 4.0

    def prepare(self) -> None:
        """Leave what a training, its scoring and a chapter leave."""
        self.task = replace(TINY, train=replace(TINY.train, lr_factors={"encoder": 0.5}))
        run = leave_network(self.scratch / "run", self.task)
        write_json(run / "timing.json", {"seconds": 1.5})
        write_json(run / "scores.json", {"train_loss": 0.5, "data": {"training": "0a"}})
        write_tasks(run / "tasks.json", [Score(self.task)])
        project = make_project(self.scratch / "project")
        (finish_chapter(project) / "run.json").rename(run / "run.json")
        self.good = {path.name: path.read_bytes() for path in run.iterdir()}

    def make(self, rng: Random, folder: Path) -> Case:
        """Known to be wrong: files that are cut off, weights that are no numbers."""
        name = rng.choice(list(self.good))
        content = dict(self.good)
        what = rng.choice(("", "", "", "cut off", "not a number"))
        if what == "cut off":
            content[name] = cut_off(rng, content[name], spare=2)
        elif what and name == "weights.safetensors":
            content[name] = self._spoil(rng)
        else:
            what = ""
            change = damage_bytes if name == "weights.safetensors" else damage_text
            content[name] = change(rng, content[name])
        root, folder = folder, folder / self.task.key
        for each, stored in content.items():
            self.put(folder / each, stored)
        readers: dict[str, Open] = {
            "config.json": partial(self._check_key, folder),
            "weights.safetensors": partial(read_network, folder),
            "tasks.json": partial(self._check_tasks, folder / "tasks.json"),
            "run.json": partial(read_run_info, folder),
        }
        find = partial(run_all, [self.task], root=root, progress=False)
        return Case(readers.get(name, find), bool(what), f"{name} {what}")

    def _spoil(self, rng: Random) -> bytes:
        """Weights of which one is no finite number."""
        weights = load(self.good["weights.safetensors"])
        names = [name for name, values in weights.items() if values.is_floating_point()]
        chosen = weights[rng.choice(names)].view(-1)
        chosen[rng.randrange(len(chosen))] = torch.tensor(rng.choice(ODD))
        return save(weights)

    def _check_key(self, folder: Path) -> None:
        assert read_network(folder)[1].key

    def _check_tasks(self, path: Path) -> None:
        tasks = read_tasks(path)
        write_tasks(path, tasks)
        if [task.key for task in read_tasks(path)] != [task.key for task in tasks]:
            raise WrongError("tasks that change when they are written")


class Words(Files):
    """Profiles and claims, which people write by hand."""

    name = "profiles, claims"
    weight = 2.0

    def prepare(self) -> None:
        """Keep some claims, and a chapter with a profile."""
        text = (ROOT / "book" / "reference" / "claims.yml").read_text(encoding="utf-8")
        _, *claims = text.split("\n- id: ")
        self.claims = [f"- id: {claim}\n" for claim in claims[:3]]
        self.project = make_project(self.scratch / "project")
        self.profile = self.project / "notebooks" / "params" / "smoke.yml"
        self.good = self.profile.read_bytes()

    def make(self, rng: Random, folder: Path) -> Case:
        """Known to be wrong: two claims of one id, a rule that does not exist, an odd margin."""
        if rng.random() < 0.5:
            project = make_project(folder)
            content = damage_text(rng, self.good)
            self.put(project / "notebooks" / "params" / "smoke.yml", content)
            return Case(partial(self._check_profile, project), label="profile")
        what = rng.choice(("", "", "", "an id twice", "an odd rule", "an odd margin"))
        claims = list(self.claims)
        if what == "an id twice":
            claims.append(claims[0])
        elif what == "an odd rule":
            claims[0] = claims[0].replace("rule: ", "rule: un")
        elif what:
            claims[0] += f"  margin: {rng.choice(('.nan', '.inf', 'many', 'null'))}\n"
        text = "".join(claims).encode()
        path = self.put(folder / "claims.yml", text if what else damage_text(rng, text))
        return Case(partial(self._check_claims, path), bool(what), f"claims {what}")

    def _check_profile(self, project: Path) -> None:
        for chapter, values in load_profile("smoke", project).items():
            check_values(values, read_parameters(find_chapter(chapter, project)))

    def _check_claims(self, path: Path) -> None:
        claims = read_claims(path)
        if len({claim.id for claim in claims}) < len(claims):
            raise WrongError("two claims of one id")
        if not all(np.isfinite(claim.margin) for claim in claims):
            raise WrongError("a margin that is no number")


AREAS = (Segy, Arrays, Zarr, Masks, Landmass, Archives, Runs, Words)
