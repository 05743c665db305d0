"""DICOM radiographs (https://www.dicomstandard.org) as gray images, read with pydicom (extra `dicom`).

In the order of PS3.3 C.11 and C.7.6.3.1.2: modality LUT or rescaling, VOI LUT or the first window, inversion of MONOCHROME1. What
the header claims is held against the file before anything is decoded. Only the tags below are read, and no value of a tag gets
into an error or a log: they name the file and the tag.
"""

from __future__ import annotations

import logging
import math
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gan_explain.types import DataError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

SUFFIXES = frozenset({".dcm", ".dicom"})
MOST_PIXELS = 2**30 // 12  # of one frame; 89 million, Pillow's own limit
LARGE = 1 << 20  # pixels from which what is not compressed is judged by its header
PLAIN, MOST_GROWTH = 1 << 24, 50  # pixels up to which any file may grow; beyond, how many may come from a byte
LEAST_SHOWN = 0.05  # share of pixels, and of [0, 1], that a window must show
MOST_HEADER = 4 << 20  # bytes that are read of what stands before the pixels
PIXEL_DATA, UNDEFINED, DEFLATED = (0x7FE0, 0x0010), 0xFFFFFFFF, "1.2.840.10008.1.2.1.99"
NUMBERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel")
LOOKUP = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "VOILUTFunction")
DISPLAY = ("WindowCenter", "WindowWidth", "PixelPaddingValue", "PixelPaddingRangeLimit", "PresentationLUTShape")
FRONTAL = {"ViewPosition": ("PA", "AP"), "BodyPartExamined": ("CHEST", "THORAX"), "Modality": ("CR", "DX")}
TAGS = (*NUMBERS, "PhotometricInterpretation", "NumberOfFrames", *LOOKUP, *DISPLAY, *FRONTAL)
log = logging.getLogger(__name__)


def is_dicom(path: Path, file: BinaryIO | None = None) -> bool:
    """Whether there is a DICOM file: by its content (DICM after a preamble of 128 bytes), or by its name alone. `file`: the file
    where it is open already."""
    if file is None and not path.is_file():
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") if file is None else nullcontext(file) as source:
        source.seek(0)
        return source.read(132)[128:] == b"DICM"


def read_dicom(path: Path, opened: BinaryIO | None = None) -> NDArray[np.float32]:
    """The first frame as (H, W) float32 in [0, 1] of its window, bone bright; of the range of its pixels where it has none.

    A header that speaks against a frontal chest radiograph is logged as a warning. DataError names the file: no pydicom, not
    DICOM, a missing tag, colour, more than 89 million pixels, a length that the header lies about, an encoding that cannot be
    decoded here (named, with what decodes it).
    """
    with _opened(path, opened) as (file, header):
        return _displayed(path, _decoded(path, file, header), header.tags)


def check_dicom(path: Path) -> None:
    """Raise the DataError that `read_dicom` would. A million pixels and more that are not compressed are taken as readable where
    one of them could be shown."""
    with _opened(path) as (file, header):
        judged = header.tags.Rows * header.tags.Columns > LARGE and not header.compressed
        stored = np.zeros((1, 1), np.uint8) if judged else _decoded(path, file, header)
        _displayed(path, stored, header.tags)


def check_growth(path: Path, pixels: int, size: int) -> None:
    """DataError for a decompression bomb: very many pixels that come from very few bytes. Radiographs take a byte for 20 at the
    least; masks, which take less, are small."""
    if pixels > PLAIN and pixels > MOST_GROWTH * size:
        raise DataError(f"{path}: expected at most {MOST_GROWTH} pixels from a byte, got {pixels} from {size} bytes")


@dataclass(frozen=True)
class _Header:
    """The tags of `TAGS`, and where the pixel data lie: `start` and `length` in bytes (UNDEFINED: in fragments)."""

    tags: Dataset
    syntax: UID
    frames: int
    vr: str
    start: int
    length: int

    @property
    def compressed(self) -> bool:
        return bool(self.syntax.is_compressed)


class _Sparing:
    """A file of which no more than `budget` bytes are read: a lie about a length is found before memory is asked for. Each read
    costs 64 bytes at least, as pydicom makes an object of every element, however short."""

    def __init__(self, file: BinaryIO, budget: int) -> None:
        self.file, self.budget = file, budget
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > self.budget:
            raise ValueError("more bytes asked for than there can be")
        data = self.file.read(count)
        self.budget -= max(len(data), 64)
        return data


@contextmanager
def _opened(path: Path, opened: BinaryIO | None = None) -> Iterator[tuple[BinaryIO, _Header]]:
    """The file (`opened`, where it is open already) and its checked header.

    Whatever pydicom and its decoders stumble over becomes a DataError; their own words,
    warnings and logs are kept back, as they quote the file."""
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise DataError(f"{path}: a DICOM file needs pydicom: pip install 'gan_explain[dicom]'") from error
    others = logging.getLogger("pydicom")
    propagates, others.propagate = others.propagate, False
    try:
        with warnings.catch_warnings(), path.open("rb") if opened is None else nullcontext(opened) as file:
            warnings.simplefilter("ignore")
            file.seek(0)
            yield file, _header(path, file)
    except (DataError, PermissionError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes pydicom and the decoders stumble in many ways
        raise DataError(
            f"{path}: expected a readable DICOM file, got one that stops the reader ({type(error).__name__})"
        ) from None
    finally:
        others.propagate = propagates


def _header(path: Path, file: BinaryIO) -> _Header:
    """Read and check all that stands before the pixels."""
    from pydicom import dcmread, uid
    from pydicom.filereader import read_dataset, read_preamble

    sparing: Any = _Sparing(file, MOST_HEADER)
    read_preamble(sparing, force=True)
    meta = read_dataset(sparing, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") == DEFLATED:
        raise DataError(f"{path}: expected pixels that can be read in place, got a deflated DICOM file (not supported)")
    file.seek(0)
    tags = dcmread(sparing, force=True, stop_before_pixels=True, specific_tags=list(TAGS))
    implicit, little = tags.original_encoding
    plain = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
    syntax = uid.UID(meta.get("TransferSyntaxUID") or plain)
    for name in (*NUMBERS, "PhotometricInterpretation"):
        if tags.get(name) in (None, ""):
            raise DataError(f"{path}: expected the DICOM tag {name}, found none")
    if tags.SamplesPerPixel != 1 or tags.PhotometricInterpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(f"{path}: expected a gray radiograph (PhotometricInterpretation MONOCHROME1 or 2), got a colour image")
    rows, columns, frames = (_count(path, tags, name) for name in ("Rows", "Columns", "NumberOfFrames"))
    if rows * columns > MOST_PIXELS:
        raise DataError(f"{path}: expected at most {MOST_PIXELS} pixels, got {columns} x {rows}")
    vr, length = _pixel_element(path, file, little, implicit)
    header = _Header(tags, syntax, frames, vr, file.tell(), length)
    if not header.compressed:
        expected = math.ceil(rows * columns * frames * int(tags.BitsAllocated) / 8)
        _check_length(path, file, header, expected)
    _remark(path, tags, frames)
    return header


def _count(path: Path, tags: Dataset, name: str) -> int:
    value = tags.get(name)
    if name == "NumberOfFrames" and value in (None, "", 0):
        return 1
    if not isinstance(value, int) or value < 1:
        raise DataError(f"{path}: expected a positive whole number in the DICOM tag {name}")
    return int(value)


def _pixel_element(path: Path, file: BinaryIO, little: bool | None, implicit: bool | None) -> tuple[str, int]:
    """VR and length of the pixel data, at whose tag the file stands; it is left at their first byte."""
    order = "<" if little else ">"
    start = file.read(8)
    if len(start) < 8 or struct.unpack(f"{order}HH", start[:4]) != PIXEL_DATA:
        raise DataError(f"{path}: expected the DICOM tag PixelData, found none")
    if implicit:
        return "OW", int(struct.unpack(f"{order}L", start[4:])[0])
    return start[4:6].decode("ascii"), int(struct.unpack(f"{order}L", file.read(4))[0])


def _check_length(path: Path, file: BinaryIO, header: _Header, expected: int) -> None:
    """DataError unless the pixel data that are announced are in the file and are those that the header describes; zeros behind
    them are padding."""
    there = os.fstat(file.fileno()).st_size - header.start
    excess = header.length - expected
    fits = header.length != UNDEFINED and header.length <= there and 0 <= excess <= MOST_HEADER
    file.seek(header.start + expected)
    if not fits or (excess > 1 and any(file.read(excess))):
        announced = "fragments" if header.length == UNDEFINED else header.length
        raise DataError(
            f"{path}: expected {expected} bytes of pixels by its DICOM header, got {announced}, and {there} in the file"
        )
    file.seek(header.start)


@cache
def _say(text: str) -> None:
    """Once in a process: files are checked first and read later."""
    log.warning(text)


def _remark(path: Path, tags: Dataset, frames: int) -> None:
    """Log what a reader of the image should know."""
    against = [
        f"{name} is not {' or '.join(known)}"
        for name, known in FRONTAL.items()
        if tags.get(name) and str(tags.get(name)).strip().upper() not in known
    ]
    if against:
        _say(f"{path}: its DICOM header speaks against a frontal chest radiograph: {', '.join(against)}")
    if frames > 1:
        _say(f"{path}: {frames} frames, the first is taken")


def _decoded(path: Path, file: BinaryIO, header: _Header) -> NDArray[Any]:
    """Stored values (H, W) of the first frame."""
    from pydicom.encaps import encapsulate, get_frame
    from pydicom.pixels.decoders.base import get_decoder

    tags, frames = header.tags, header.frames
    source: Any = file
    if header.compressed:
        decoder = _available(path, header)
        sparing: Any = _Sparing(file, os.fstat(file.fileno()).st_size + MOST_HEADER)
        frame = get_frame(sparing, 0, number_of_frames=frames)
        check_growth(path, tags.Rows * tags.Columns, len(frame))
        _check_frame(path, frame, header)
        source, frames = encapsulate([frame]), 1
    else:
        decoder = get_decoder(header.syntax)
    array: NDArray[Any] = decoder.as_array(
        source,
        index=0,
        raw=True,
        rows=tags.Rows,
        columns=tags.Columns,
        number_of_frames=frames,
        samples_per_pixel=1,
        photometric_interpretation=str(tags.PhotometricInterpretation),
        bits_allocated=tags.BitsAllocated,
        bits_stored=tags.BitsStored,
        pixel_representation=tags.PixelRepresentation,
        pixel_keyword="PixelData",
        pixel_vr=header.vr,
    )[0]
    return array


def _available(path: Path, header: _Header) -> Any:
    """The decoder of a compressed file. DataError names the encoding and what decodes it."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import JPEGExtended12Bit

    name = header.syntax.name if header.syntax.is_private is False and header.syntax.is_transfer_syntax else "private"
    try:
        decoder = get_decoder(header.syntax)
        if header.syntax == JPEGExtended12Bit and header.tags.BitsStored > 8:
            raise NotImplementedError
    except NotImplementedError:
        raise DataError(f"{path}: expected an encoding of pixels that can be decoded, got {name} (not supported)") from None
    if not decoder.is_available:
        raise DataError(
            f"{path}: {name} pixels need a decoder that is not installed: pip install 'gan_explain[dicom]' (JPEG 2000) or "
            "python-gdcm (JPEG lossless, JPEG-LS)"
        )
    return decoder


def _check_frame(path: Path, frame: bytes, header: _Header) -> None:
    """DataError unless a compressed frame unpacks to the size that the header announces."""
    from pydicom.uid import RLELossless

    expected = int(header.tags.Rows), int(header.tags.Columns), 1
    if header.syntax == RLELossless:
        pixels = expected[0] * expected[1]
        most = max(_unpacked_sizes(frame), default=0)
        if most > pixels + 128:  # a last run may be longer than there is need for
            raise DataError(f"{path}: expected run lengths for {pixels} pixels by its DICOM header, got {most}")
    elif (found := _coded_size(frame)) != expected:
        raise DataError(f"{path}: expected a frame of (rows, columns, samples) {expected} by its DICOM header, got {found}")


def _unpacked_sizes(frame: bytes) -> Iterator[int]:
    """Bytes to which each segment of a run-length frame unpacks (PS3.5 annex G): a header of 16 offsets, then PackBits."""
    count, *starts = struct.unpack("<16L", frame[:64])
    ends = [*starts[1:count], len(frame)]
    for start, end in zip(starts[:count], ends, strict=False):
        size, at = 0, start
        while at < end:
            run = frame[at]
            size += run + 1 if run < 128 else 257 - run if run > 128 else 0
            at += run + 2 if run < 128 else 2 if run > 128 else 1
        yield size


def _coded_size(frame: bytes) -> tuple[int, int, int]:
    """(rows, columns, samples) that a JPEG, JPEG-LS or JPEG 2000 frame announces itself; zeros where it announces none."""
    siz = frame.find(b"\xff\x4f\xff\x51", 0, 4096)
    if siz >= 0:
        right, bottom, left, top = struct.unpack(">4L", frame[siz + 8 : siz + 24])
        return bottom - top, right - left, struct.unpack(">H", frame[siz + 40 : siz + 42])[0]
    at = 2
    while at + 10 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            rows, columns, samples = struct.unpack(">HHB", frame[at + 5 : at + 10])
            return rows, columns, samples
        at += 1 if marker == 0xFF else 2 + length
    return 0, 0, 0


def _displayed(path: Path, stored: NDArray[Any], tags: Dataset) -> NDArray[np.float32]:
    """Stored values -> [0, 1] as they are meant to be looked at, in MONOCHROME2 polarity."""
    values = stored.astype(np.float64)
    if tags.get("ModalityLUTSequence"):
        values, _ = _looked_up(values, tags.ModalityLUTSequence[0], tags)
    else:
        slope, intercept = _first(tags.get("RescaleSlope")), _first(tags.get("RescaleIntercept"))
        values = values * (1 if slope is None else slope) + (intercept or 0)
    center, width = _first(tags.get("WindowCenter")), _first(tags.get("WindowWidth"))
    if tags.get("VOILUTSequence"):
        table, bits = _looked_up(values, tags.VOILUTSequence[0], tags)
        shown = (table / (2.0**bits - 1)).clip(0, 1)
    elif center is not None and width is not None and width > 0:
        shown = windowed(values, center, width, str(tags.get("VOILUTFunction") or "LINEAR"))
        if _leaves_nothing(shown, values):
            _say(f"{path}: its DICOM window shows next to nothing of the image: the range of the pixels is shown")
            shown = _ranged(values, stored, tags)
    else:
        shown = _ranged(values, stored, tags)
    inverse = str(tags.get("PresentationLUTShape") or "") == "INVERSE"
    if inverse and tags.PhotometricInterpretation == "MONOCHROME2":
        _say(f"{path}: PresentationLUTShape INVERSE contradicts PhotometricInterpretation MONOCHROME2: inverted")
    if inverse or tags.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    if not np.isfinite(shown).all():
        raise DataError(f"{path}: expected finite pixels by its DICOM rescaling and window, got others")
    return shown.astype(np.float32)


def _ranged(values: NDArray[np.float64], stored: NDArray[Any], tags: Dataset) -> NDArray[np.float64]:
    """Values on [0, 1] of the range of what is no padding."""
    pixels = values[_unpadded(stored, tags)]
    low, high = (pixels.min(), pixels.max()) if pixels.size else (0.0, 0.0)
    shown: NDArray[np.float64] = ((values - low) / max(high - low, 1e-12)).clip(0, 1)
    return shown


def _leaves_nothing(shown: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    """Whether a window makes nearly all pixels of an image black or white, or all of them one gray, though they differ."""
    shades = (values > values.min()) & (values < values.max())  # a mask has none
    between = (shown > 0.004) & (shown < 0.996)
    return bool(shades.any() and (between.mean() < LEAST_SHOWN or np.ptp(shown) < LEAST_SHOWN))


def _first(value: Any) -> float | None:
    """The first of one or more numbers; None where there is none."""
    if value is None or value == "":
        return None
    one = value if isinstance(value, int | float) else value[0] if len(value) else None
    return None if one is None or not math.isfinite(one) else float(one)


def _unpadded(stored: NDArray[Any], tags: Dataset) -> NDArray[np.bool_]:
    """Where stored values are pixels and not padding (PS3.3 C.7.5.1.1.2)."""
    padding = tags.get("PixelPaddingValue")
    if not isinstance(padding, int):
        return np.ones(stored.shape, np.bool_)
    limit = tags.get("PixelPaddingRangeLimit")
    ends = sorted((padding, limit if isinstance(limit, int) else padding))
    return (stored < ends[0]) | (stored > ends[1])


def windowed(values: NDArray[np.float64], center: float, width: float, function: str = "LINEAR") -> NDArray[np.float64]:
    """Values through a window, in [0, 1]: LINEAR, LINEAR_EXACT or SIGMOID (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    shown: NDArray[np.float64]
    if function == "SIGMOID":
        shown = 1 / (1 + np.exp((-4 * (values - center) / width).clip(-500, 500)))
        return shown
    if function != "LINEAR_EXACT":
        center, width = center - 0.5, width - 1
    shown = ((values - center) / width + 0.5).clip(0, 1) if width > 0 else (values > center).astype(np.float64)
    return shown


def _looked_up(values: NDArray[np.float64], item: Dataset, tags: Dataset) -> tuple[NDArray[np.float64], int]:
    """Values through the table of a modality or VOI LUT item (PS3.3 C.11.1 and C.11.2), and the bits of its entries."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    entries = entries % 2**16 or 2**16
    data = item["LUTData"].value
    if isinstance(data, bytes):
        order = "<" if tags.original_encoding[1] else ">"
        narrow = bits <= 8 and len(data) < 2 * entries  # two entries in a word
        table = np.frombuffer(data, np.uint8 if narrow else f"{order}u2", count=entries).astype(np.float64)
    else:
        table = np.asarray(data, np.float64)[:entries]
    if table.shape != (entries,) or not 1 <= bits <= 16:
        raise ValueError("table of another length than announced")
    return table[(values.round().astype(np.int64) - first).clip(0, entries - 1)], bits
