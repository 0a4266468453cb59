"""Tests of downloads that go on, against a server on this machine."""

import shutil
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from file_server import FileServer, serve

from saltvolumes.downloads import DownloadError, ResumingDownloader

CONTENT = np.random.default_rng(3).bytes(2_000_000)
HALF = 1_000_000


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Ask this machine itself, whatever proxy the user has."""
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server():
    """A server that does all a server should."""
    with serve(FileServer(CONTENT)) as running:
        yield running


def download(folder, url):
    """Download as pooch would ask for it; what arrived."""
    ResumingDownloader(folder / ".file.zip.part")(url, str(folder / "arrived"))
    return (folder / "arrived").read_bytes()


def break_off(folder, server, **changes):
    """Leave a part file of a download that broke off, then change the server; its length."""
    server.break_after = HALF
    with pytest.raises(DownloadError, match="Call again to go on"):
        download(folder, server.url)
    vars(server).update(break_after=None, **changes)
    return (folder / ".file.zip.part").stat().st_size


@pytest.mark.parametrize("moved", [False, True])
def test_download_goes_on(tmp_path, server, moved):
    """After the connection broke, only the rest is asked for, also of a file that moved."""
    server.moved = moved
    n_here = break_off(tmp_path, server)
    assert 0 < n_here <= HALF
    assert download(tmp_path, server.url) == CONTENT
    assert server.asked == [(None, 0), (f"bytes={n_here}-", n_here)]
    assert {path.name for path in tmp_path.iterdir()} <= {"arrived", ".file.zip.part.lock"}


@pytest.mark.parametrize(
    "change", [{"ranges": False}, {"tag": '"two"'}, {"tag": ""}, {"tag": 'W/"one"'}]
)
@pytest.mark.parametrize("tag", ['"one"', ""])
def test_download_starts_afresh(tmp_path, server, tag, change):
    """No part is sent where the server sends none, or does not vouch that the file is the same."""
    server.tag = tag
    break_off(tmp_path, server, content=CONTENT[::-1], **change)
    assert download(tmp_path, server.url) == CONTENT[::-1]
    assert server.asked[-1][1] == 0


@pytest.mark.parametrize(("more", "first_byte"), [(b"", len(CONTENT)), (b"more", 0)])
def test_part_as_long_as_the_file(tmp_path, server, more, first_byte):
    """A part that holds all needs nothing more, and one longer than the file is dropped."""
    break_off(tmp_path, server)
    (tmp_path / ".file.zip.part").write_bytes(CONTENT + more)
    assert download(tmp_path, server.url) == CONTENT
    assert server.asked[-1][1] == first_byte


@pytest.mark.parametrize("change", [{"shift": -1000}, {"length": False}])
def test_servers_may_differ(tmp_path, server, change):
    """Bytes that come twice are written once, and the length need not be known."""
    break_off(tmp_path, server, **change)
    assert download(tmp_path, server.url) == CONTENT


@pytest.mark.parametrize("change", [{"shift": 1000}, {"span": False}])
def test_other_parts_are_refused(tmp_path, server, change):
    """A server that leaves a gap, or does not say what it sends, is not believed."""
    break_off(tmp_path, server, **change)
    with pytest.raises(DownloadError, match="sends another part of the file"):
        download(tmp_path, server.url)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": 403}, "answers 403 Forbidden"),
        ({"status": 500}, "answers 500"),
        ({"kind": "text/html; charset=utf-8"}, "sends a web page in place of the file"),
    ],
)
def test_answers_that_are_no_file(tmp_path, server, change, message):
    """What is not the file never gets its name, and leaves no part."""
    vars(server).update(change)
    with pytest.raises(DownloadError, match=message):
        download(tmp_path, server.url)
    assert not (tmp_path / ".file.zip.part").exists()


def test_nobody_answers(tmp_path):
    """Without a connection there is one line, and no traceback of five libraries in it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.zip"
        with pytest.raises(DownloadError, match=r"^No answer from 127\.0\.0\.1:\d+\. Is this"):
            download(tmp_path, url)


def test_full_disk_is_noticed_before(tmp_path, server, monkeypatch):
    """A file that does not fit is not begun."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(DownloadError, match=r"No room for 0\.002 GB in .*: 0\.001 GB free"):
        download(tmp_path, server.url)


def test_killed_download_goes_on(tmp_path, server):
    """SIGKILL amid a download costs nothing of what had arrived."""
    part = tmp_path / ".file.zip.part"
    code = (
        "import os, requests, sys, time\n"
        "from pathlib import Path\n"
        "from saltvolumes.downloads import ResumingDownloader\n"
        "whole = requests.Response.iter_content\n"
        "def slow(self, size):\n"
        "    for chunk in whole(self, 1000):\n"
        "        time.sleep(0.001)\n"
        "        yield chunk\n"
        "requests.Response.iter_content = slow\n"
        "ResumingDownloader(Path(sys.argv[1]))(sys.argv[2], sys.argv[1] + '.whole')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(part), server.url])
    while process.poll() is None and not (part.exists() and part.stat().st_size > 100_000):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    n_here = part.stat().st_size
    assert 100_000 <= n_here < len(CONTENT)
    assert download(tmp_path, server.url) == CONTENT
    assert server.asked[-1] == (f"bytes={n_here}-", n_here)
