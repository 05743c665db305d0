"""The pixels of a DICOM radiograph: the first frame decoded, and shown as it is meant to be looked at."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gan_explain.files.dicom_header import MOST_HEADER, Header, Sparing, check_growth, say_once
from gan_explain.types import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

LEAST_SHOWN = 0.05  # share of pixels, and of [0, 1], that a window must show


def decoded(path: Path, file: BinaryIO, header: Header) -> NDArray[Any]:
    """Stored values (H, W) of the first frame."""
    from pydicom.encaps import encapsulate, get_frame
    from pydicom.pixels.decoders.base import get_decoder

    tags, frames = header.tags, header.frames
    source: Any = file
    if header.compressed:
        decoder = _available(path, header)
        sparing: Any = Sparing(file, os.fstat(file.fileno()).st_size + MOST_HEADER)
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


def _available(path: Path, header: Header) -> Any:
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


def _check_frame(path: Path, frame: bytes, header: Header) -> None:
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


def displayed(path: Path, stored: NDArray[Any], tags: Dataset) -> NDArray[np.float32]:
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
            say_once(f"{path}: its DICOM window shows next to nothing of the image: the range of the pixels is shown")
            shown = _ranged(values, stored, tags)
    else:
        shown = _ranged(values, stored, tags)
    inverse = str(tags.get("PresentationLUTShape") or "") == "INVERSE"
    if inverse and tags.PhotometricInterpretation == "MONOCHROME2":
        say_once(f"{path}: PresentationLUTShape INVERSE contradicts PhotometricInterpretation MONOCHROME2: inverted")
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
