"""Tests of masks from picked horizons."""

import numpy as np
import pytest

from saltvolumes import DataError, open_volume, save_volume
from saltvolumes.horizons import read_picks
from saltvolumes.volume import build_volume

INLINES, CROSSLINES = np.arange(100, 106), np.arange(20, 28, 2)
DEPTHS = 10.0 * np.arange(20)


@pytest.fixture
def image(tmp_path):
    """A depth volume without a mask, as a file."""
    cube = np.random.default_rng(0).standard_normal((6, 4, 20))
    save_volume(
        build_volume(cube, inline=INLINES, crossline=CROSSLINES, vertical=DEPTHS),
        tmp_path / "image.zarr",
    )
    return tmp_path / "image.zarr"


@pytest.fixture
def write(tmp_path):
    """Write text to a file of a name."""

    def write_text(name, text, **how):
        (tmp_path / name).write_text(text, **how)
        return tmp_path / name

    return write_text


def draw(depth_of):
    """Text of a pick on every trace, at the depth of its line numbers."""
    return "".join(
        f"{inline} {crossline} {depth_of(inline, crossline)}\n"
        for inline in INLINES
        for crossline in CROSSLINES
    )


def test_salt_lies_from_the_top_to_above_the_base(image, write):
    """Picks at 50 and 80 m make 50, 60 and 70 m salt; several pairs add up, as at overhangs."""
    depths = (-500, 20, 40, 50, 80, 100, 120, 9000)
    files = {z: write(f"{z}.txt", draw(lambda *_, z=z: z)) for z in depths}
    volume = open_volume(image, mask=(files[50], files[80]))
    assert volume.salt.chunks
    assert (volume.salt.values == np.isin(DEPTHS, (50, 60, 70))).all()
    assert open_volume(image, mask=(files[-500], files[9000])).salt.all()
    overhang = [(files[20], files[40]), (files[100], files[120])]
    salt = open_volume(image, mask=overhang).salt
    assert (salt.values == np.isin(DEPTHS, (20, 30, 100, 110))).all()


def test_each_trace_has_its_own_picks(image, write):
    """A dipping top lies where its line numbers are, also in blocks that are read alone."""
    top_file = write("top.txt", draw(lambda i, x: 10 * (i - 100) + (x - 20)))
    volume = open_volume(image, mask=(top_file, write("base.txt", draw(lambda *_: 185))))
    top = 10 * (INLINES - 100)[:, None, None] + (CROSSLINES - 20)[:, None]
    salt = (top <= DEPTHS) & (DEPTHS < 185)
    assert np.array_equal(volume.salt, salt)
    assert np.array_equal(volume.salt[2], salt[2])
    assert np.array_equal(volume.salt[1:5, [3, 0], 4], salt[1:5, [3, 0], 4])


def test_salt_ends_where_picks_end(image, write, caplog):
    """Traces without both picks hold no salt; they and picks outside of the volume are counted."""
    top = "100 20 50\n101 22 50\n102 24 50\n100 21 50\n999 20 50\n100.5 20 50\n"
    base = "101 22 80\n100 20 80\n103 26 80\n"
    volume = open_volume(image, mask=(write("top.txt", top), write("base.txt", base)))
    assert np.argwhere(volume.salt.any("depth").values).tolist() == [[0, 0], [1, 1]]
    assert volume.salt.sum() == 6
    assert "top.txt and base.txt: 2 traces have only one pick, and no salt" in caplog.text
    assert "top.txt: 3 of 6 picks lie on lines that the volume lacks" in caplog.text


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("100 20 50.5\n101 22 60\n", (0, 1, 2)),
        ("100\t20\t50.5\r\n101\t22\t60\r\n", (0, 1, 2)),
        ("inline,crossline,depth (m)\n100, 20, 50.5\n101,22,60", (0, 1, 2)),
        ("\ufeff# 1: Inline\n! noted 1 2 3\n\n100 20 50.5\n\n101 22 60 # last", (0, 1, 2)),
        ("Top salt\nVERSION 1\n500.5 7.25 100 20 50.5 x\n512.5 7.5 101 22 6e1\n", (2, 3, 4)),
        ("INLINE : 100 XLINE : 20 500.5 70 50.5\nINLINE : 101 XLINE : 22 1 2 60\n", (2, 5, 8)),
        ("50.5 20 100\n60 22 101\n", (2, 1, 0)),
        ("100 20 50.5\n101 22 60\nEOD\n", (0, 1, 2)),
        ("100 20 50.5\n102 20 1e30\n102 20 NaN\n102 20 -999.25\n101 22 60\n", (0, 1, 2)),
        ("100;20;50,5\n101;22;60,0\n", (0, 1, 2)),
        ("Inline;Xline;Z\n100; 20; 50.5\n101; 22; 60\n", (0, 1, 2)),
        ("100,0\t20,0\t50,5\n101,0\t22,0\t60,0\n", (0, 1, 2)),
        ("# Tiefe; in m\n100 20 50,5 # 1,5\n101 22 60\n", (0, 1, 2)),
    ],
)
def test_exports_of_interpretation_packages_are_read(write, text, columns):
    """The same two picks are found in each layout, whatever separates columns and decimals."""
    path = write("höhe der salz.txt", text, encoding="utf-8", newline="")
    assert read_picks(path, columns=columns).tolist() == [[100, 20, 50.5], [101, 22, 60]]
    path.write_bytes("# Höhe\n1 2 3\n".encode("latin-1"))
    assert read_picks(path).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(("scale", "z"), [(-1, -50), (1000, 0.05), (0.5, 100)])
def test_the_scale_turns_picks_into_metres_downward(image, write, scale, z):
    """Heights, kilometres and half metres become the depths of the volume."""
    pair = write("top.txt", f"100 20 {z}"), write("base.txt", f"100 20 {z * 2}")
    volume = open_volume(image, mask=pair, horizon_scale=scale)
    assert volume.depth[volume.salt[0, 0].values].values.tolist() == [50, 60, 70, 80, 90]


@pytest.mark.parametrize(
    ("top", "base", "message"),
    [
        ("", "100 20 80", "top.txt is empty"),
        ("a b c\n1 2\n", "100 20 80", "top.txt holds no picks: no line has numbers in columns 0"),
        ("100 20 1e30\n", "100 20 80", "top.txt holds no picks: all are undefined"),
        ("100 20 50\n101 20 deep\n", "100 20 80", "top.txt, counted .* string 'deep' .* at row 1"),
        ("100 20 50\n101 20\n", "100 20 80", "top.txt, counted .* with 2 columns"),
        ("100 20 3005,25\n", "100 20 80", "top 3005.25 lies below base 80 at inline 100"),
        ("100 20 50\n100 20 60\n", "100 20 80", "two picks at inline 100, crossline 20"),
        ("101 22 90\n101 20 9\n", "101 22 80\n101 20 8", "9 .* base 8 at inline 101, .* 20 and 1"),
        ("999 20 50\n", "100 20 80", "top.txt has no pick on .* but at inline 999 to"),
        ("100 20 51", "100 20 59", "no sample of 0 to 190 m between picks of 51 to 59"),
        ("100 20 50", "101 20 80", "hold no salt"),
        ("\x00\x00\x00", "100 20 80", "top.txt holds no picks"),
        ("100 20 50\ninf 20 50", "100 20 80", "top.txt has a pick at inline inf, crossline 20"),
    ],
)
def test_wrong_picks_are_refused(image, write, top, base, message):
    """What makes no salt gives the reason and position, in one line."""
    pair = write("top.txt", top), write("base.txt", base)
    with pytest.raises(DataError, match=message) as caught:
        open_volume(image, mask=pair)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizon_columns": (0, 1)}, r"Invalid columns \(0, 1\). Must be three different"),
        ({"horizon_columns": (0, 1, -1)}, "Invalid column -1. Must be at least 0"),
        ({"horizon_scale": 0.0}, "Invalid scale 0"),
        ({"mask": 5}, "Invalid mask 5. Must be a name, or pairs of files"),
        ({"mask": [("a", "b"), ("c",)]}, "Must be a name, or pairs of files"),
        ({"salt_label": 4}, "Invalid salt_label 4 with horizons"),
        ({"salt_velocity_m_s": (1, 2)}, "Invalid salt_velocity_m_s .* with horizons"),
    ],
)
def test_wrong_arguments_of_horizons_are_refused(image, write, arguments, message):
    """Columns, scale and files are checked, and nothing else may define salt."""
    pair = write("top.txt", draw(lambda *_: 50)), write("base.txt", draw(lambda *_: 80))
    with pytest.raises(ValueError, match=message):
        open_volume(image, **{"mask": pair, **arguments})


def test_missing_horizons_are_refused(image, tmp_path):
    """The file that is not there, or is a folder, is named."""
    with pytest.raises(FileNotFoundError, match=r"No such file: .*nothing.txt"):
        open_volume(image, mask=(tmp_path / "nothing.txt", tmp_path / "base.txt"))
    with pytest.raises(DataError, match=f"{tmp_path.name} is a folder"):
        open_volume(image, mask=(tmp_path, tmp_path))


@pytest.fixture
def open_between(tmp_path):
    """Open a time volume of 20 x 5 traces every 4 ms with horizons of the times given."""
    lines = {"inline": range(20), "crossline": range(5), "time": 4.0 * np.arange(10)}
    np.savez(tmp_path / "x.npz", amplitude=np.ones((20, 5, 10)), **lines)

    def open_one(tops, bases, offset=0.0):
        files = tmp_path / "top.txt", tmp_path / "base.txt"
        for file, times in zip(files, (tops, bases), strict=True):
            np.savetxt(file, [(k // 5 + offset, k % 5, time) for k, time in enumerate(times)])
        return open_volume(tmp_path / "x.npz", mask=files, dims=("inline", "crossline", "time"))

    return open_one


def test_a_top_a_little_below_its_base_is_no_salt(open_between, caplog):
    """One trace that is 1 ms out of order leaves the mask of all others, and is counted."""
    tops, bases = np.full(100, 8.0), np.full(100, 20.0)
    tops[37] = 21.0
    n_salt = open_between(tops, bases).salt.sum("time").values.ravel()
    assert n_salt.tolist() == 37 * [3] + [0] + 62 * [3]
    assert "on 1 traces the top lies below base, by 1 at most: no salt there" in caplog.text


@pytest.mark.parametrize(
    ("n_crossed", "by", "advised"), [(1, 5.0, False), (10, 1.0, False), (60, 30.0, True)]
)
def test_horizons_that_cross_are_refused(open_between, n_crossed, by, advised):
    """More than a sample, or on many traces: where; heights are advised where most traces cross."""
    tops, bases = np.full(100, 8.0), np.full(100, 20.0)
    tops[40 : 40 + n_crossed] = 20.0 + by
    message = rf"top {20 + by:g} lies below base 20 at inline 8, crossline 0 and {n_crossed - 1} ot"
    with pytest.raises(DataError, match=message) as caught:
        open_between(tops, bases)
    assert ("scale of -1" in str(caught.value)) == advised


def test_line_numbers_are_whole_within_a_hundredth(open_between):
    """Line 3.00001 is line 3; a number that is a tenth off is no line."""
    tops, bases = np.full(100, 8.0), np.full(100, 20.0)
    assert open_between(tops, bases, 0.00001).salt.mean() == 0.3
    with pytest.raises(DataError, match=r"top.txt has no pick on lines of the volume"):
        open_between(tops, bases, 0.1)
