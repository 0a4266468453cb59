"""The bytes of a SEG-Y file: headers and samples, in either byte order."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import segyio
from numpy.typing import NDArray
from segyio import BinField, TraceField

from thesis_lib._checks import check_choice
from thesis_lib.data.errors import DataError

IBM = 1
IEEE = 5
# What stands for a sample in the file; IBM floats are words until they are decoded.
FORMATS = {
    **{IBM: "u4", 2: "i4", 3: "i2", IEEE: "f4", 6: "f8"},
    **{8: "i1", 10: "u4", 11: "u2", 16: "u1"},
}
HEADER_BYTES = 3600  # text and binary header
TEXT_BYTES = 3200
TRACE_BYTES = 240
BLOCK_BYTES = 2**24  # read at a time
# An IBM float is a fraction of 24 bits times 16 ** (exponent - 64), by its first byte.
_IBM_SCALES = np.concatenate([sign * 2.0 ** (4.0 * np.arange(128) - 280) for sign in (1, -1)])
_STARTS = sorted(segyio.tracefield.keys.values())
# Bytes that each field of a trace header takes, by its first byte.
FIELD_BYTES = {start: stop - start for start, stop in pairwise([*_STARTS, TRACE_BYTES + 1])}
_REVISION = 3501
# Traces and different values looked at to tell the two kinds of floats apart.
N_TRIED_TRACES = 64
MIN_VALUES = 200
# IEEE floats have a leading hexadecimal digit of 0 in about 8 of 100 words, IBM floats in none.
MIN_SHARE = 0.01
MIN_SPREAD = 16.0

Integers = NDArray[np.int64]
Order = Literal["big", "little"]


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
    head, trace_head : bytes
        Text and binary header, and the header of the first trace.
    """

    path: Path
    order: Order
    code: int
    n_samples: int
    n_traces: int
    first_byte: int
    head: bytes
    trace_head: bytes

    @property
    def record(self) -> np.dtype[np.void]:
        """A trace as it is stored: header and samples."""
        samples = np.dtype(FORMATS[self.code]).newbyteorder(self.order)
        return np.dtype([("header", f"V{TRACE_BYTES}"), ("samples", samples, (self.n_samples,))])

    def map_traces(self, mode: Literal["r", "r+"] = "r") -> NDArray[np.void]:
        """Map the file, to read or to write: a record (header, samples) for each trace."""
        return np.memmap(
            self.path, self.record, mode, offset=self.first_byte, shape=(self.n_traces,)
        )

    def read_field(self, byte: int) -> int:
        """Read two bytes of the binary header (from byte 3201) or of the first trace header."""
        header = self.head if byte > TEXT_BYTES else self.trace_head
        return _parse(header, byte, self.order)

    def read_trace_fields(self, *starts: int) -> Integers:
        """
        Read fields of all trace headers, a block of traces at a time.

        Returns
        -------
        int array of shape (len(starts), n_traces)
        """
        formats = [np.dtype(f"i{FIELD_BYTES[start]}") for start in starts]
        names = [f"field{row}" for row in range(len(starts))]
        record = np.dtype(
            {
                "names": names,
                "formats": [kind.newbyteorder(self.order) for kind in formats],
                "offsets": [start - 1 for start in starts],
                "itemsize": self.record.itemsize,
            }
        )
        values = np.empty((len(starts), self.n_traces), dtype=np.int64)
        step = max(1, BLOCK_BYTES // record.itemsize)
        for first in range(0, self.n_traces, step):
            block = slice(first, min(first + step, self.n_traces))
            headers = np.memmap(
                self.path,
                record,
                "r",
                offset=self.first_byte + first * record.itemsize,
                shape=(block.stop - first,),
            )
            for row, name in enumerate(names):
                values[row, block] = headers[name]
        return values

    def decode(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Samples as float32; what is too large for it becomes infinite."""
        values = np.asarray(stored)
        if self.code == IBM:
            values = (values & 0x00FFFFFF) * _IBM_SCALES[values >> 24]
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(np.float32)

    def doubt_format(self) -> str | None:
        """
        Say why the samples seem to be the other kind of float than their code says.

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
        share = float(((words & 0x00F00000) == 0).mean())
        if self.code == IBM and share > MIN_SHARE:
            return (
                f"the header says IBM floats, but {share:.0%} of the values are none that IBM "
                f"floats are written as: probably IEEE floats, sample_format={IEEE}"
            )
        if self.code == IEEE and share == 0 and _spread_ibm(words) > MIN_SPREAD:
            return (
                "the header says IEEE floats, but all values look as IBM floats do: "
                f"probably sample_format={IBM}"
            )
        return None


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
        If one is no such byte.
    """
    for name, byte in (("iline_byte", iline_byte), ("xline_byte", xline_byte)):
        if not isinstance(byte, int) or byte not in FIELD_BYTES:
            raise ValueError(
                f"Invalid {name} {byte!r}. Must be the first byte of a field of the trace header."
            )


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
        If the file cannot be read, is no SEG-Y or is truncated.
    ValueError
        If ``sample_format`` is unknown.
    """
    if sample_format is not None:
        check_choice("sample_format", sample_format, FORMATS)
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
            order, code = _find_format(path, head, sample_format)
            n_texts = _parse(head, BinField.ExtendedHeaders, order)
            if n_texts < 0:
                raise DataError(
                    f"{path.name} announces {n_texts} extended text headers. Must be 0 or more."
                )
            first_byte = file.seek(HEADER_BYTES + TEXT_BYTES * n_texts)
            trace_head = file.read(TRACE_BYTES)
            n_samples = _count_samples(head, trace_head, order)
            size = file.seek(0, 2)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.") from error
    trace_bytes = TRACE_BYTES + n_samples * np.dtype(FORMATS[code]).itemsize
    n_traces, rest = divmod(size - first_byte, trace_bytes)
    if n_samples < 1 or n_traces < 1 or rest:
        raise DataError(
            f"{path.name} is not SEG-Y, or truncated: {size} bytes. Must be {first_byte} of headers"
            f" and whole traces of {trace_bytes}, {n_samples} samples each of format {code}."
        )
    return Layout(path, order, code, n_samples, n_traces, first_byte, head, trace_head)


def _find_format(path: Path, head: bytes, sample_format: int | None) -> tuple[Order, int]:
    """Byte order, the one in which the header holds a code that there is, and format."""
    if len(head) < HEADER_BYTES:
        raise DataError(
            f"{path.name} is not SEG-Y: {len(head)} bytes. Its headers alone take {HEADER_BYTES}."
        )
    orders: tuple[Order, Order] = ("big", "little")
    codes = {order: _parse(head, BinField.Format, order) for order in orders}
    order = next((order for order, code in codes.items() if code in FORMATS), orders[0])
    code = codes[order] if sample_format is None else sample_format
    if code not in FORMATS:
        raise DataError(
            f"{path.name} is not SEG-Y: sample format {code}. Must be one of: "
            f"{', '.join(map(str, FORMATS))}, or said by sample_format."
        )
    return order, code


def _count_samples(head: bytes, trace_head: bytes, order: Order) -> int:
    """Samples of a trace: of the binary header, the first trace where that has none, revision 2."""
    extended = _parse(head, BinField.ExtSamples, order, n_bytes=4)
    if head[_REVISION - 1] >= 2 and extended > 0:
        return extended
    announced = _parse(head, BinField.Samples, order) % 2**16  # read as unsigned, as by custom
    return announced or _parse(trace_head, TraceField.TRACE_SAMPLE_COUNT, order) % 2**16


def _parse(header: bytes, byte: int, order: Order, *, n_bytes: int = 2) -> int:
    """Read a signed field of a header that starts at ``byte``, or at 3201 for a binary header."""
    return int.from_bytes(header[byte - 1 : byte - 1 + n_bytes], order, signed=True)
