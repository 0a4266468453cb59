"""A web server on this machine, as good or bad as the test needs it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class FileServer:
    """What is served and how, and what was asked for: (Range, first byte sent)."""

    content: bytes
    ranges: bool = True  # send parts
    tag: str = '"one"'  # ETag
    break_after: int | None = None  # bytes, then hang up
    status: int = 200
    kind: str = "application/zip"
    length: bool = True  # tell Content-Length
    shift: int = 0  # parts begin this many bytes later than asked
    span: bool = True  # tell Content-Range
    moved: bool = False  # redirect the first path
    asked: list[tuple[str | None, int]] = field(default_factory=list)
    url: str = ""


def _make_handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if server.moved and self.path == "/file.zip":
                self.send_response(302)
                self.send_header("Location", "/elsewhere.zip")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send()

        def _send(self) -> None:
            n_bytes = len(server.content)
            asked = self.headers.get("Range")
            same = self.headers.get("If-Range") == server.tag
            begin = int(asked[6:-1]) + server.shift if asked and server.ranges and same else 0
            server.asked.append((asked, begin))
            if begin >= n_bytes and begin:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{n_bytes}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if begin else server.status)
            if begin and server.span:
                self.send_header("Content-Range", f"bytes {begin}-{n_bytes - 1}/{n_bytes}")
            if server.tag:
                self.send_header("ETag", server.tag)
            if server.length:
                self.send_header("Content-Length", str(n_bytes - begin))
            self.send_header("Content-Type", server.kind)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # the other side hung up
                self.wfile.write(server.content[begin : server.break_after])

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serve(server: FileServer) -> Iterator[FileServer]:
    """Serve as long as the context lasts, at ``server.url``."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(server)) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.url = f"http://127.0.0.1:{running.server_port}/file.zip"
        try:
            yield server
        finally:
            running.shutdown()
            thread.join()
