"""The DICOM file that a radiograph was read from, as results that are written as DICOM refer to it."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_explain.files.dicom import is_dicom
from gan_explain.files.dicom_header import MOST_HEADER, Sparing, opened, say_once
from gan_explain.types import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")  # the first that is there counts
OTHERS = ("Rows", "Columns", "NumberOfFrames", "PatientOrientation", "PixelSpacingCalibrationType")
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
METHOD = re.compile(r"ISO_\d+_\d+")
REQUIRED = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime")
PATIENT = (*REQUIRED, "IssuerOfPatientID", "PatientAge")  # copied only where the user says so; REQUIRED may be empty, not absent
WAY = re.compile(r"[APLRHF]{1,3}")  # a direction of PatientOrientation


@dataclass(frozen=True)
class Source:
    """Identifiers of a DICOM image ("" where the file has none) and its geometry; `spacing` in mm from row to row and from column
    to column under the name of its tag; `patient` holds elements of `PATIENT`, or nothing."""

    uids: dict[str, str]
    size: tuple[int, int]  # rows, columns
    frames: int
    spacing: tuple[str, float, float] | None
    calibration: str
    orientation: tuple[str, ...]
    lossy: dict[str, Any]
    patient: Dataset


def read_source(path: Path, sha256: str, patient: bool) -> Source | None:
    """The header of the file that a radiograph was read from; None where it is no DICOM file.

    DataError where the file is not there any more, is another than was read, or has no tags for `patient`."""
    try:
        with path.open("rb") as file:
            if not is_dicom(path, file):
                if patient:
                    raise DataError(f"{path}: expected a DICOM file, whose patient tags can be copied")
                return None
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise DataError(f"{path}: expected the file that the radiograph was read from, got another under its name")
            with opened(path, file):
                source = _source(_header(file), patient, path)
    except FileNotFoundError:
        raise DataError(f"{path}: expected the file that the radiograph was read from, found none") from None
    if not (source.uids["SOPClassUID"] and source.uids["SOPInstanceUID"]):
        say_once(f"{path}: its DICOM header has no SOPClassUID or SOPInstanceUID: what is written cannot refer to it")
    return source


def _header(file: Any) -> Dataset:
    from pydicom import dcmread

    file.seek(0)
    names = [*UIDS, *SPACINGS, *OTHERS, *LOSSY, *PATIENT, "SpecificCharacterSet"]
    sparing: Any = Sparing(file, MOST_HEADER)
    return dcmread(sparing, force=True, stop_before_pixels=True, specific_tags=names)


def _source(header: Dataset, patient: bool, path: Path) -> Source:
    spacings = ((name, header.get(name)) for name in SPACINGS)
    return Source(
        uids={name: _uid(header.get(name)) for name in UIDS},
        size=(int(header.Rows), int(header.Columns)),
        frames=int(header.get("NumberOfFrames") or 1),
        spacing=next(((name, *_pair(value)) for name, value in spacings if _pair(value)), None),
        calibration=found if (found := header.get("PixelSpacingCalibrationType")) in ("GEOMETRY", "FIDUCIAL") else "",
        orientation=_ways(header.get("PatientOrientation")),
        lossy=_lossy(header),
        patient=_patient(header, path if patient else None),
    )


def _uid(value: object) -> str:
    from pydicom.uid import UID

    return str(value) if value and UID(str(value)).is_valid else ""


def _pair(value: Any) -> tuple[float, float] | tuple[()]:
    """Two positive numbers, or nothing."""
    pair = tuple(map(float, _values(value)))
    return (pair[0], pair[1]) if len(pair) == 2 and all(math.isfinite(each) and each > 0 for each in pair) else ()


def _ways(value: Any) -> tuple[str, ...]:
    ways = tuple(map(str, _values(value)))
    return ways if len(ways) == 2 and all(map(WAY.fullmatch, ways)) else ()


def _lossy(header: Dataset) -> dict[str, Any]:
    """The tags of `LOSSY`, where the image was ever compressed with loss."""
    if header.get(LOSSY[0]) != "01":
        return {}
    ratio, method = (list(_values(header.get(name))) for name in LOSSY[1:])
    fits = len(ratio) == len(method) and all(METHOD.fullmatch(str(each)) for each in method)
    known = zip(LOSSY[1:], (list(map(float, ratio)), list(map(str, method))), strict=True) if fits and ratio else ()
    return {LOSSY[0]: "01", **dict(known)}


def _values(value: Any) -> Sequence[Any]:
    """The values of an element of one or more; none where there is none."""
    if value is None or value == "":
        return ()
    return value if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def _patient(header: Dataset, path: Path | None) -> Dataset:
    """The elements of `PATIENT` that are as the standard wants them; none where no path asks for them."""
    from pydicom import DataElement, Dataset, config

    found = Dataset()
    for name in PATIENT if path else ():
        if (element := header.get(name)) not in (None, ""):
            try:
                made = DataElement(header[name].tag, header[name].VR, str(element), validation_mode=config.RAISE)
                if header[name].VM != 1 or (name == "PatientSex" and made.value not in ("M", "F", "O")):
                    raise ValueError
                found.add(made)
            except ValueError:
                say_once(f"{path}: its DICOM tag {name} is not of the form that the standard asks for: left out")
    return found
