"""A downloader for pooch that goes on where an earlier one broke off."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from tqdm import tqdm

_CHUNK_BYTES = 2**16  # what a broken connection may lose
_TIMEOUT_S = 30
_SPAN = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")


class DownloadError(OSError):
    """A file could not be downloaded; the message is one line for users."""


@dataclass(frozen=True)
class ResumingDownloader:
    """
    Download by HTTP into a part file, which outlives errors and kills, and go on from there.

    The server is asked for the rest of the file, if it is still the same one: its ETag or date is
    kept next to the part file. Where the server does not know, or sends no parts, the download
    starts afresh.

    Parameters
    ----------
    part : Path
        The part file.
    """

    part: Path

    def __call__(self, url: str, output_file: str, _pooch: object = None) -> None:
        """
        Download ``url`` to ``output_file``, on the same disk as the part file.

        Raises
        ------
        DownloadError
            If the server cannot be reached, refuses, sends a web page or breaks off, or if the
            disk has no room for the file.
        """
        with FileLock(f"{self.part}.lock"):
            self._complete(url)
            self.part.replace(output_file)
            self._tag.unlink(missing_ok=True)

    @property
    def _tag(self) -> Path:
        return self.part.with_name(f"{self.part.name}.tag")

    def _complete(self, url: str) -> None:
        """Bring the part file to its full length."""
        host = urlsplit(url).netloc
        n_here = self.part.stat().st_size if self.part.exists() else 0
        try:
            answer = self._ask(url, n_here)
        except requests.RequestException as error:
            raise DownloadError(f"No answer from {host}. Is this machine online?") from error
        with answer:
            begin, total = _read_span(answer)
            if answer.status_code == requests.codes.partial_content and not 0 <= begin <= n_here:
                raise DownloadError(f"{host} sends another part of the file than was asked for.")
            if answer.status_code != requests.codes.requested_range_not_satisfiable:
                self._write(answer, begin, total, host)
            elif total != n_here:  # else it was killed when all was there
                self.part.unlink()
                self._complete(url)

    def _ask(self, url: str, n_here: int) -> requests.Response:
        headers = {"Accept-Encoding": "identity"}  # a .gz is to stay one
        tag = self._tag.read_text(encoding="utf-8") if self._tag.exists() else ""
        if n_here and tag:
            headers |= {"Range": f"bytes={n_here}-", "If-Range": tag}
        return requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S)

    def _write(self, answer: requests.Response, begin: int, total: int | None, host: str) -> None:
        if not answer.ok:
            raise DownloadError(f"{host} answers {answer.status_code} {answer.reason}.")
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise DownloadError(f"{host} sends a web page in place of the file.")
        free = shutil.disk_usage(self.part.parent).free
        if total is not None and total - begin > free:
            sizes = f"{total / 1e9:.3g} GB in {self.part.parent}: {free / 1e9:.3g} GB free"
            raise DownloadError(f"No room for {sizes}.")
        with self.part.open("r+b" if begin else "wb") as file:
            if not begin:  # after the old part is gone, so that the two never disagree
                self._tag.write_text(_find_tag(answer), encoding="utf-8")
            file.truncate(begin)
            file.seek(begin)
            name = self.part.stem.lstrip(".")
            bar = tqdm(desc=name, total=total, initial=begin, unit="B", unit_scale=1, disable=None)
            try:
                with bar:
                    for chunk in answer.iter_content(_CHUNK_BYTES):
                        bar.update(file.write(chunk))
                if total not in (None, file.tell()):
                    raise requests.ConnectionError
            except requests.RequestException as error:
                raise DownloadError(
                    f"{host} broke off after {file.tell()} of {total or 'unknown'} bytes. "
                    "Call again to go on from there."
                ) from error


def _read_span(answer: requests.Response) -> tuple[int, int | None]:
    """First byte that is sent (-1 if unknown), and length of the whole file if known."""
    span = _SPAN.match(answer.headers.get("Content-Range", ""))
    if span:
        return int(span[1] or 0), int(span[2])
    if answer.status_code == requests.codes.partial_content:
        return -1, None
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _find_tag(answer: requests.Response) -> str:
    """What identifies this state of the file; empty if nothing does for sure."""
    tag = answer.headers.get("ETag", "")
    return answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
