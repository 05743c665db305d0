"""A traversal written as DICOM (https://www.dicomstandard.org), with highdicom (extra `dicom`).

The files belong to the study of the DICOM file that the radiograph was read from and refer to it; where there is none, to a study
of their own. Patient tags are empty unless they are asked for. No clock is read: two runs write the same bytes.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from gan_explain.files.dicom_objects import Objects, Shown
from gan_explain.files.dicom_source import Source, read_source
from gan_explain.files.temporaries import whole_file, write_bytes
from gan_explain.types import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

TRAVERSAL, LAYER, LUNGS = "traversal.dcm", "layer.dcm", "lungs.dcm"
MOST_BYTES = 2**32 - 2  # of the pixels of a file that is not compressed


def dicom_source(path: str | None, sha256: str, *, patient: bool) -> Source | None:
    """What is known of the file that a radiograph was read from, before anything is written; None where it is no DICOM file.

    DataError: no highdicom, a file that is not what was read, no DICOM file whose patient tags could be copied."""
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise DataError("writing DICOM files needs highdicom: pip install 'gan_explain[dicom]'") from error
    if path is None and patient:
        raise DataError("expected a radiograph that was read from a DICOM file, whose patient tags can be copied")
    return None if path is None else read_source(Path(path), sha256, patient)


def write_dicom(shown: Shown, folder: Path, source: Source | None) -> None:
    """traversal.dcm, layer.dcm and lungs.dcm. DataError: more than 4 GiB of pixels."""
    size = shown.count * shown.layer.size * 2
    if size > MOST_BYTES:
        raise DataError(f"{folder / TRAVERSAL}: expected at most {MOST_BYTES} bytes of pixels, got {size}: take fewer strengths")
    objects = Objects(shown, source)
    frames, layer, lungs = (_bytes(made) for made in (objects.frames(), objects.layer(), objects.lungs()))
    with whole_file(folder / TRAVERSAL) as file:
        file.write(frames)
        file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size))  # the last element, a frame at a time
        for frame in shown.frames():
            file.write(frame.astype("<u2").tobytes())
    write_bytes(folder / LAYER, layer)
    write_bytes(folder / LUNGS, lungs)


def _bytes(made: Dataset) -> bytes:
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
