"""The bytes of a SEG-Y file: headers and samples, in either byte order."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import segyio
from numpy.typing import NDArray
from segyio import BinField, TraceField

from saltvolumes._checks import check_choice
from saltvolumes.errors import DataError

IBM = 1
IEEE = 5
# How a sample is stored, by format code; IBM floats are words until they are decoded.
_STORED = ("u4", "i4", "i2", "f4", "f8", "i1", "u4", "u2", "u1")
FORMATS = dict(zip((IBM, 2, 3, IEEE, 6, 8, 10, 11, 16), _STORED, strict=True))
HEADER_BYTES = 3600  # text and binary header
TEXT_BYTES = 3200
TRACE_BYTES = 240
BLOCK_BYTES = 2**24  # read at a time
# An IBM float is a fraction of 24 bits times 16 ** (exponent - 64), by its first byte.
_IBM_SCALES = np.concatenate([sign * 2.0 ** (4.0 * np.arange(128) - 280) for sign in (1, -1)])
_STARTS = sorted(segyio.tracefield.keys.values())
# Bytes that each field of a trace header takes, by its first byte.
FIELD_BYTES = {start: stop - start for start, stop in pairwise([*_STARTS, TRACE_BYTES + 1])}
_REVISION, _N_TRACES, _TRAILER = 3501, 3513, 3529  # the latter two of revision 2
# Traces and different values looked at to distinguish the two kinds of floats.
N_TRIED_TRACES = 64
MIN_VALUES = 200
# IEEE floats have a leading hexadecimal digit of 0 in about 8 of 100 words, IBM floats never.
MIN_FRACTION = 0.01
MIN_SPREAD = 16.0

Integers = NDArray[np.int64]
Order = Literal["big", "little"]
_ORDERS: tuple[Order, Order] = ("big", "little")


@dataclass(frozen=True)
class Layout:
    """
    How the bytes of a SEG-Y file read.

    Attributes
    ----------
    path : Path
    order : {"big", "little"}
        Byte order of headers and samples.
    code : int
        Format of the samples, a key of ``FORMATS``.
    n_samples, n_traces, first_byte : int
        Samples of a trace, traces, and the byte where the first trace header starts.
    head : bytes
        Text and binary header.
    skipped : int array of shape (n_traces,), optional
        Samples of each trace before those that are read, where traces start at different times:
        0 for the traces that start last. The samples that all traces have are read.
    """

    path: Path
    order: Order
    code: int
    n_samples: int
    n_traces: int
    first_byte: int
    head: bytes
    skipped: Integers | None = None

    @cached_property
    def record(self) -> np.dtype[np.void]:
        """A trace as it is stored: header, with a field for each first byte, and samples."""
        order = "><"[self.order == "little"]
        fields = {
            "names": [str(start) for start in FIELD_BYTES],
            "formats": [f"{order}i{n_bytes}" for n_bytes in FIELD_BYTES.values()],
            "offsets": [start - 1 for start in FIELD_BYTES],
            "itemsize": TRACE_BYTES,
        }
        samples = (order + FORMATS[self.code], (self.n_samples,))
        return np.dtype([("header", np.dtype(fields)), ("samples", *samples)])  # type: ignore[call-overload]

    def map_traces(self, mode: Literal["r", "r+"] = "r") -> NDArray[np.void]:
        """Map the file, to read or to write: a record (header, samples) for each trace."""
        return np.memmap(self.path, self.record, mode, self.first_byte, (self.n_traces,))

    @property
    def n_read(self) -> int:
        """Samples that are read of a trace."""
        return self.n_samples - (0 if self.skipped is None else int(self.skipped.max()))

    def read_field(self, byte: int) -> int:
        """Read two bytes of the binary header, from byte 3201 on."""
        return _parse(self.head, byte, self.order)

    def list_blocks(self) -> Iterator[slice]:
        """Go through all traces, so many at a time that little of the file is mapped."""
        step = max(1, BLOCK_BYTES // self.record.itemsize)
        return (slice(first, first + step) for first in range(0, self.n_traces, step))

    def read_trace_fields(self, *starts: int) -> dict[int, Integers]:
        """
        Read fields of all trace headers, a block of traces at a time.

        Returns
        -------
        dict of int to int array of shape (n_traces,)
            Values by the first byte of their field.
        """
        fields = {start: np.empty(self.n_traces, dtype=np.int64) for start in starts}
        for block in self.list_blocks():
            headers = self.map_traces()["header"][block]  # anew: mapped pages count as memory
            for start, values in fields.items():
                values[block] = headers[str(int(start))]
        return fields

    def read_samples(self, traces: Integers) -> NDArray[np.float32]:
        """
        Read samples as float32; what is too large for it becomes infinite.

        Parameters
        ----------
        traces : int array of shape (...)
            Index of each trace, -1 where it is missing.

        Returns
        -------
        float32 array of shape (..., n_read)
            NaN in missing traces.
        """
        mapped = self.map_traces()["samples"]  # anew: mapped pages count as memory
        values = np.asarray(mapped[self._place(np.maximum(traces, 0))])
        if self.code == IBM:
            values = (values & 0x00FFFFFF) * _IBM_SCALES[values >> 24]
        with np.errstate(over="ignore", invalid="ignore"):
            samples = values.astype(np.float32)
        samples[traces < 0] = np.nan
        return samples

    def write_samples(self, traces: Integers, samples: NDArray[np.float32]) -> None:
        """Write samples (n, n_read) of traces (n,) where `read_samples` finds them."""
        self.map_traces("r+")["samples"][self._place(traces)] = samples

    def _place(self, traces: Integers) -> Any:
        """Index of the samples of traces: all of them, or those that all traces have."""
        if self.skipped is None:
            return traces
        return traces[..., None], self.skipped[traces][..., None] + np.arange(self.n_read)

    def doubt_format(self) -> str | None:
        """
        Explain why the samples seem to be the other kind of float than their code states.

        An IBM float is normalised: the leading hexadecimal digit of its fraction is not 0. The
        same four bits of an IEEE float, the last of its exponent and three of its mantissa, are 0
        in 8 of 100 numbers whose logarithm is spread evenly over some octaves. So words with such
        a digit are no IBM floats, and many different values without one no IEEE floats.
        """
        if self.code not in (IBM, IEEE):
            return None
        tried = np.unique(np.linspace(0, self.n_traces - 1, N_TRIED_TRACES).astype(np.int64))
        stored = np.array(self.map_traces()["samples"][tried])
        words = stored.view(np.dtype("u4").newbyteorder(self.order)) & np.uint32(0x7FFFFFFF)
        words = np.unique(words[words != 0])
        if words.size < MIN_VALUES:
            return None
        fraction = float(((words & 0x00F00000) == 0).mean())
        if self.code == IBM and fraction > MIN_FRACTION:
            found, other = f"{fraction:.0%} of the values do not look like IBM floats", IEEE
        elif self.code == IEEE and fraction == 0 and _spread_ibm(words) > MIN_SPREAD:
            found, other = "all values look like IBM floats", IBM
        else:
            return None
        return f"{found}, unlike format {self.code} of the header: probably sample_format={other}"


def _spread_ibm(words: NDArray[np.uint32]) -> float:
    """Ratio of large to small magnitudes (95th to 5th percentile) of positive IBM floats."""
    exponents = 4.0 * (words >> 24) + np.log2(words & 0x00FFFFFF)  # log2 but for a constant
    low, high = np.percentile(exponents, (5, 95))
    return float(2.0 ** min(high - low, 1000))


def check_line_bytes(iline_byte: int, xline_byte: int) -> None:
    """
    Refuse bytes where no field of a trace header starts.

    Raises
    ------
    ValueError
        If one is not the first byte of a field.
    """
    for name, byte in (("iline_byte", iline_byte), ("xline_byte", xline_byte)):
        if not isinstance(byte, int | np.integer) or byte not in FIELD_BYTES:
            raise ValueError(f"Invalid {name} {byte!r}. Must be the first byte of a trace field.")


def read_layout(path: Path, *, sample_format: int | None = None) -> Layout:
    """
    Read how the bytes of a SEG-Y file are laid out.

    Parameters
    ----------
    path : Path
    sample_format : int, optional
        Overrides the code of the header.

    Raises
    ------
    DataError
        If the file is not SEG-Y or is truncated.
    ValueError
        If ``sample_format`` is unknown.
    """
    if sample_format is not None:
        check_choice("sample_format", sample_format, FORMATS)
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
        codes = {order: _parse(head, BinField.Format, order) for order in _ORDERS}
        order = next((order for order, code in codes.items() if code in FORMATS), _ORDERS[0])
        n_texts = _parse(head, BinField.ExtendedHeaders, order)
        first_byte = HEADER_BYTES + TEXT_BYTES * max(n_texts, 0)
        file.seek(first_byte)
        trace_head = file.read(TRACE_BYTES)
    code = sample_format or codes[order]
    if code not in FORMATS:
        raise DataError(
            f"{path.name} is not SEG-Y: sample format {code}. Must be one of: "
            f"{', '.join(map(str, FORMATS))}, or set by sample_format."
        )
    if n_texts < 0:
        raise DataError(f"{path.name} is not SEG-Y: announces {n_texts} extended text headers.")
    n_samples = _count_samples(head, trace_head, order)
    trace_bytes = TRACE_BYTES + n_samples * np.dtype(FORMATS[code]).itemsize
    size = path.stat().st_size
    n_trailer = _count_trailer(head, order, size - first_byte, trace_bytes)
    n_traces, rest = divmod(size - n_trailer - first_byte, trace_bytes)
    if n_samples < 1 or n_traces < 1 or rest:
        more = f" It has {n_traces} and {rest} bytes more, for which no trailer is announced."
        raise DataError(
            f"{path.name} is not SEG-Y, or truncated: {size} bytes. Must be {first_byte} of headers"
            f" and whole traces of {trace_bytes}, {n_samples} samples each of format {code}."
            f"{more if n_samples > 0 < n_traces else ''}"
        )
    return Layout(path, order, code, n_samples, n_traces, first_byte, head)


def _count_samples(head: bytes, trace_head: bytes, order: Order) -> int:
    """Samples of a trace: of the binary header, first trace where that is 0, or revision 2."""
    extended = _parse(head, BinField.ExtSamples, order, n_bytes=4)
    if head[_REVISION - 1 :] >= b"\x02" and extended > 0:
        return extended
    announced = _parse(head, BinField.Samples, order) % 2**16  # read as unsigned, as by custom
    return announced or _parse(trace_head, TraceField.TRACE_SAMPLE_COUNT, order) % 2**16


def _count_trailer(head: bytes, order: Order, n_bytes: int, trace_bytes: int) -> int:
    """Bytes after the traces: revision 2 announces stanzas of 3200, or -1 and how many traces."""
    if head[_REVISION - 1 :] < b"\x02":
        return 0
    rest = TEXT_BYTES * _parse(head, _TRAILER, order, n_bytes=4)
    if rest < 0:
        rest = n_bytes - trace_bytes * _parse(head, _N_TRACES, order, n_bytes=8)
    fits = (n_bytes - rest) % trace_bytes == rest % TEXT_BYTES == 0
    return rest if fits and 0 <= rest < n_bytes else 0


def _parse(header: bytes, byte: int, order: Order, *, n_bytes: int = 2) -> int:
    """Read a signed field of a header that starts at ``byte``, or at 3201 for a binary header."""
    return int.from_bytes(header[byte - 1 : byte - 1 + n_bytes], order, signed=True)
