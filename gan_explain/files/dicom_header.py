"""The header of a DICOM radiograph: read within a budget, held against the file, before anything is decoded."""

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

from gan_explain.types import DataError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

MOST_PIXELS = 2**30 // 12  # of one frame; 89 million, Pillow's own limit
PLAIN, MOST_GROWTH = 1 << 24, 50  # pixels up to which any file may grow; beyond, how many may come from a byte
MOST_HEADER = 4 << 20  # bytes that are read of what stands before the pixels
PIXEL_DATA, UNDEFINED, DEFLATED = (0x7FE0, 0x0010), 0xFFFFFFFF, "1.2.840.10008.1.2.1.99"
NUMBERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "SamplesPerPixel")
LOOKUP = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "VOILUTSequence", "VOILUTFunction")
DISPLAY = ("WindowCenter", "WindowWidth", "PixelPaddingValue", "PixelPaddingRangeLimit", "PresentationLUTShape")
FRONTAL = {"ViewPosition": ("PA", "AP"), "BodyPartExamined": ("CHEST", "THORAX"), "Modality": ("CR", "DX")}
UPRIGHT = ("L", "F")  # PatientOrientation of a frontal radiograph: to the left in a row, to the feet in a column
TAGS = (*NUMBERS, "PhotometricInterpretation", "NumberOfFrames", "PatientOrientation", *LOOKUP, *DISPLAY, *FRONTAL)
log = logging.getLogger(__name__)


def check_growth(path: Path, pixels: int, size: int) -> None:
    """DataError for a decompression bomb: very many pixels that come from very few bytes. Radiographs take a byte for 20 at the
    least; masks, which take less, are small."""
    if pixels > PLAIN and pixels > MOST_GROWTH * size:
        raise DataError(f"{path}: expected at most {MOST_GROWTH} pixels from a byte, got {pixels} from {size} bytes")


@dataclass(frozen=True)
class Header:
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


class Sparing:
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
def opened(path: Path, source: BinaryIO | None = None) -> Iterator[tuple[BinaryIO, Header]]:
    """The file (`source`, where it is open already) and its checked header.

    Whatever pydicom and its decoders stumble over becomes a DataError; their own words,
    warnings and logs are kept back, as they quote the file."""
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise DataError(f"{path}: a DICOM file needs pydicom: pip install 'gan_explain[dicom]'") from error
    others = logging.getLogger("pydicom")
    propagates, others.propagate = others.propagate, False
    try:
        with warnings.catch_warnings(), path.open("rb") if source is None else nullcontext(source) as file:
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


def _header(path: Path, file: BinaryIO) -> Header:
    """Read and check all that stands before the pixels."""
    from pydicom import dcmread, uid
    from pydicom.filereader import read_dataset, read_preamble

    sparing: Any = Sparing(file, MOST_HEADER)
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
    header = Header(tags, syntax, frames, vr, file.tell(), length)
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


def _check_length(path: Path, file: BinaryIO, header: Header, expected: int) -> None:
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
def say_once(text: str) -> None:
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
        say_once(f"{path}: its DICOM header speaks against a frontal chest radiograph: {', '.join(against)}")
    ways = [str(each)[:1].upper() for each in tags.get("PatientOrientation") or ()]
    if len(ways) == len(UPRIGHT) and tuple(ways) != UPRIGHT:
        say_once(f"{path}: its DICOM tag PatientOrientation says that the film is mirrored or turned")
    if frames > 1:
        say_once(f"{path}: {frames} frames or pages, the first is taken")
