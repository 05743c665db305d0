"""DICOM radiographs (https://www.dicomstandard.org) as gray images, read with pydicom (extra `dicom`).

In the order of PS3.3 C.11 and C.7.6.3.1.2: modality LUT or rescaling, VOI LUT or the first window, inversion of MONOCHROME1. What
the header claims is held against the file before anything is decoded. Only `dicom_header.TAGS` are read, and no value of a tag
gets into an error or a log: they name the file and the tag.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gan_explain.files.dicom_header import opened
from gan_explain.files.dicom_pixels import decoded, displayed

SUFFIXES = frozenset({".dcm", ".dicom"})
LARGE = 1 << 20  # pixels from which what is not compressed is judged by its header


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


def read_dicom(path: Path, source: BinaryIO | None = None) -> NDArray[np.float32]:
    """The first frame as (H, W) float32 in [0, 1] of its window, bone bright; of the range of its pixels where it has none.

    A header that speaks against a frontal chest radiograph is logged as a warning. DataError names the file: no pydicom, not
    DICOM, a missing tag, colour, more than 89 million pixels, a length that the header lies about, an encoding that cannot be
    decoded here (named, with what decodes it).
    """
    with opened(path, source) as (file, header):
        return displayed(path, decoded(path, file, header), header.tags)


def check_dicom(path: Path) -> tuple[int, int]:
    """Height and width; the DataError that `read_dicom` would raise. A million pixels and more that are not compressed are taken
    as readable where one of them could be shown."""
    with opened(path) as (file, header):
        judged = header.tags.Rows * header.tags.Columns > LARGE and not header.compressed
        stored = np.zeros((1, 1), np.uint8) if judged else decoded(path, file, header)
        displayed(path, stored, header.tags)
        return int(header.tags.Rows), int(header.tags.Columns)
