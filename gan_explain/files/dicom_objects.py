"""The DICOM objects that a traversal is written as, made with highdicom: its frames as a multi-frame Secondary Capture, its layer
as a Parametric Map, the lungs as a Segmentation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gan_explain.files.dicom_source import REQUIRED, Source
from gan_explain.types import Origin

if TYPE_CHECKING:
    from pydicom import Dataset

FRAMES_CLASS = "1.2.840.10008.5.1.4.1.1.7.3"  # Multi-frame Grayscale Word Secondary Capture Image Storage
STAND_IN = "1.2.840.10008.5.1.4.1.1.1"  # Computed Radiography: highdicom asks about the class of what is referred to
MAKER = "gan_explain"
VERSION = str(import_module(MAKER).__version__)  # imported by name: the package imports this file
WARNING = "Synthetic, research only, not for diagnosis"
DATE, TIME = "19700101", "000000"  # where the standard asks for the time of making: none is read
LABEL, NAME, TEXT = 16, 64, 1000  # most characters of a label, a name, a text
ROOT = "1.2.826.0.1.3680043.10.511.3."  # of UIDs that highdicom draws


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is written: `frames` gives `count` of uint16 (H, W), one after the other; strengths (L,) and probability (L,); layer
    (H, W) float32, of optical thickness or (`signed`) a difference of two images; lungs (H, W) of bool, found by `segmenter`."""

    frames: Callable[[], Iterable[NDArray[np.uint16]]]
    count: int
    strengths: Sequence[float]
    probability: Sequence[float]
    positive: tuple[str, ...]
    pathology: str
    layer: NDArray[np.float32]
    signed: bool
    lungs: NDArray[np.bool_]
    segmenter: str
    origin: Origin | None


class Objects:
    """The three objects of one traversal: UIDs come of its contents."""

    def __init__(self, shown: Shown, source: Source | None) -> None:
        self.shown, self.source = shown, source
        self.digest = _digest(shown, source)
        self.uids = source.uids if source else {}
        self.height, self.width = shown.layer.shape
        self.segmenter = Path(shown.segmenter.replace("\\", "/")).name[:NAME]

    def uid(self, role: str) -> str:
        """A UID that is the same for the same contents (PS3.5 B.2)."""
        number = int.from_bytes(hashlib.sha256(f"{self.digest} {role}".encode()).digest()[:16], "big")
        version = number & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62  # a UUID of RFC 9562, version 8
        return f"2.25.{version}"

    def frames(self) -> Dataset:
        """All of the Secondary Capture but its pixels."""
        from highdicom.base import SOPClass

        made: Any = SOPClass(
            self.study, self.uid("frames series"), 1, self.uid("frames"), FRAMES_CLASS, 1, "OT", transfer_syntax_uid=_plain(),
            **self._equipment(), content_date=DATE, content_time=TIME,
        )  # fmt: skip
        made.ConversionType, made.ImageType, made.BurnedInAnnotation = "SYN", ["DERIVED", "SECONDARY"], "NO"
        made.SamplesPerPixel, made.PhotometricInterpretation, made.PresentationLUTShape = 1, "MONOCHROME2", "IDENTITY"
        made.Rows, made.Columns, made.NumberOfFrames = self.height, self.width, self.shown.count
        made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 16, 15, 0
        made.RescaleSlope, made.RescaleIntercept, made.RescaleType = 1, 0, "US"
        made.WindowCenter, made.WindowWidth = 32768, 65536
        made.FrameIncrementPointer = 0x00182002  # FrameLabelVector
        pairs = zip(self.shown.strengths, self.shown.probability, strict=True)
        made.FrameLabelVector = [f"{strength:.4f} p={p:.4f}"[:LABEL] for strength, p in pairs]
        made.RecognizableVisualFeatures = "NO"
        for name, value in (self._spacing() | self._lossy()).items():
            setattr(made, name, value)
        made.PatientOrientation = self._orientation()
        if frame_of_reference := self.uids.get("FrameOfReferenceUID"):
            made.FrameOfReferenceUID, made.PositionReferenceIndicator = frame_of_reference, ""
        if self.refers:
            instance, _, kind = self.known[0]
            purpose = [_code("121322", "DCM", "Source image for image processing operation")]
            made.SourceImageSequence = [
                _item(ReferencedSOPClassUID=kind, ReferencedSOPInstanceUID=instance, PurposeOfReferenceCodeSequence=purpose)
            ]
        told = f"Frames at growing strength of pathology ({self.shown.pathology}); p is the probability of "
        return self._finished(made, "frames", f"{told}{'+'.join(self.shown.positive)} that a CNN gives.")

    def layer(self) -> Dataset:
        """The Parametric Map."""
        from highdicom import PixelMeasuresSequence, VOILUTTransformation
        from highdicom.pm import ParametricMap, RealWorldValueMapping
        from pydicom.sr.codedict import codes

        values, signed = np.ascontiguousarray(self.shown.layer, np.float32), self.shown.signed
        low, high = float(values.min()), float(values.max())
        low, high = min(low, 0.0), max(high, low + 1e-6, 1e-6)
        label, meaning = ("difference", "Difference of gray") if signed else ("tau", "Optical thickness")
        meaning = f"{meaning} at strength 1"
        mapping = RealWorldValueMapping(
            label, meaning, codes.UCUM.NoUnits, (low, high), 1.0, 0.0,
            quantity_definition=_code(label.upper(), "99GANEXPLAIN", meaning),
        )  # fmt: skip
        window = VOILUTTransformation((low + high) / 2, high - low, voi_lut_function="LINEAR_EXACT")
        spacing = next(iter(self._spacing().values()), None)
        measures = PixelMeasuresSequence(spacing or [1, 1], None)
        images, further = self._source_images()
        image: Any = images[0]  # in a frame of reference of its own, which the standard asks for
        image.FrameOfReferenceUID, image.ImagePositionPatient = self.uid("plane"), [0, 0, 0]
        image.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]  # to the left in a row, to the feet in a column
        image.PixelSpacing, image.SliceThickness = spacing or [1, 1], None
        for other in further:
            other.FrameOfReferenceUID = ""
        made = ParametricMap(
            images, values, self.uid("layer series"), 2, self.uid("layer"), 1, further_source_images=further,
            contains_recognizable_visual_features=False, real_world_value_mappings=[mapping], voi_lut_transformations=[window],
            content_label=label.upper(), content_description=meaning, content_date=DATE, content_time=TIME,
            pixel_measures=measures, **self._equipment(),
        )  # fmt: skip
        unknown = "" if spacing else " The spacing of pixels is not known: 1 mm stands in its place."
        return self._finished(made, "layer", f"{meaning} of pathology ({self.shown.pathology}).{unknown}")

    def lungs(self) -> Dataset:
        """The Segmentation."""
        from highdicom import AlgorithmIdentificationSequence
        from highdicom.seg import Segmentation, SegmentDescription
        from pydicom.sr.codedict import codes

        algorithm = AlgorithmIdentificationSequence(self.segmenter, codes.DCM.ArtificialIntelligence, VERSION, source=MAKER)
        lungs = SegmentDescription(
            1, "Lungs", codes.SCT.AnatomicalStructure, codes.SCT.Lung, "AUTOMATIC", algorithm, self.uid("lungs"), "lungs"
        )
        images, further = self._source_images()
        made = Segmentation(
            images, self.shown.lungs.astype(np.uint8), "BINARY", [lungs], self.uid("lungs series"), 3,
            self.uid("lungs segmentation"), 1, content_label="LUNGS", content_description="Lungs", omit_empty_frames=False,
            further_source_images=further, content_date=DATE, content_time=TIME, **self._equipment(),
        )  # fmt: skip
        made.PatientOrientation = self._orientation()
        return self._finished(made, "lungs", f"Lungs, found by {self.segmenter}.")

    @property
    def refers(self) -> bool:
        """Whether there is a source that can be referred to."""
        return bool(self.uids.get("SOPInstanceUID") and self.uids["SOPClassUID"])

    @property
    def known(self) -> list[tuple[str, str, str]]:
        """(instance, series, class) of what can be referred to: the source, where there is one, and the frames."""
        frames = self.uid("frames"), self.uid("frames series"), FRAMES_CLASS
        series = self.uids.get("SeriesInstanceUID") or self.uid("source series")
        return [(self.uids["SOPInstanceUID"], series, self.uids["SOPClassUID"]), frames] if self.refers else [frames]

    @property
    def study(self) -> str:
        return self.uids.get("StudyInstanceUID") or self.uid("study")

    def _equipment(self) -> dict[str, Any]:
        return {
            "manufacturer": MAKER, "manufacturer_model_name": MAKER, "software_versions": VERSION,
            "device_serial_number": "none", "series_description": WARNING, "specific_character_set": "ISO_IR 192",
        }  # fmt: skip

    def _source_images(self) -> tuple[list[Dataset], list[Dataset]]:
        """What layer and lungs refer to: the image whose pixels lie as theirs do, and a source of which they show a part or
        another size."""
        if self.refers and not self._in_place:
            source, frames = self.known
            return [self._image(*frames[:2])], [self._image(*source[:2])]
        return [self._image(*self.known[0][:2])], []

    def _image(self, instance: str, series: str) -> Dataset:
        """An image to refer to, as highdicom wants it, without any tag of the patient's; `_finished` corrects its class."""
        return _item(
            **dict.fromkeys((*REQUIRED, "ReferringPhysicianName"), ""), SOPClassUID=STAND_IN, SOPInstanceUID=instance,
            SeriesInstanceUID=series, StudyInstanceUID=self.study, Rows=self.height, Columns=self.width, **self._lossy(),
        )  # fmt: skip

    def _spacing(self) -> dict[str, Any]:
        """The spacing of the frames' own pixels, from that of the source's and how much of it they show."""
        if self.source is None or self.source.spacing is None or self.shown.origin is None:
            return {}
        name, row, column = self.source.spacing
        rows, columns = self.shown.origin.rows, self.shown.origin.columns
        pair = [_decimal(row * (rows[1] - rows[0]) / self.height), _decimal(column * (columns[1] - columns[0]) / self.width)]
        calibrated = name == "PixelSpacing" and self.source.calibration
        return {name: pair} | ({"PixelSpacingCalibrationType": self.source.calibration} if calibrated else {})

    def _lossy(self) -> dict[str, Any]:
        """What an image that was ever compressed with loss, and all that is made of it, has to say."""
        return dict(self.source.lossy) if self.source else {}

    def _orientation(self) -> list[str]:
        return list(self.source.orientation) if self.source else []

    def _finished(self, made: Dataset, what: str, told: str) -> Dataset:
        """An object with what all three have in common, and without anything drawn or read from a clock."""
        for element in self.source.patient if self.source else ():
            made.add(element)
        made.InstanceCreationDate, made.InstanceCreationTime, made.BodyPartExamined = DATE, TIME, "CHEST"
        if self.source and self.shown.origin and not self._in_place:
            (top, bottom), (left, right) = self.shown.origin.rows, self.shown.origin.columns
            told += f" Rows {top + 1} to {bottom} and columns {left + 1} to {right} of the source, "
            told += f"at {self.height} x {self.width} pixels."
        made.ImageComments, made.DerivationDescription = f"{WARNING}. {told}"[:TEXT], f"{MAKER} {VERSION}: {told}"[:TEXT]
        classes = {instance: kind for instance, _, kind in self.known}
        drawn: dict[str, str] = {}
        for item in _items(made):
            item.pop("ContributionDateTime", None)
            for element in item:
                if element.VR == "UI" and str(element.value).startswith(ROOT):
                    element.value = drawn.setdefault(str(element.value), self.uid(f"{what} {len(drawn)}"))
            if (instance := item.get("ReferencedSOPInstanceUID")) in classes:
                item.ReferencedSOPClassUID = classes[instance]
            if self.source and instance == self.source.uids["SOPInstanceUID"] and "PurposeOfReferenceCodeSequence" in item:
                item.SpatialLocationsPreserved = "YES" if self._in_place else "NO"
                if self.source.frames > 1:
                    item.ReferencedFrameNumber = 1
        return made

    @property
    def _in_place(self) -> bool:
        """Whether pixels of the frames lie where those of the source do."""
        kept, here = self.shown.origin, (self.height, self.width)
        return bool(
            kept and self.source and (kept.rows, kept.columns) == ((0, here[0]), (0, here[1])) and self.source.size == here
        )


def _items(made: Dataset) -> Iterator[Dataset]:
    """A dataset and every item nested in it."""
    yield made
    for element in made:
        for item in element.value if element.VR == "SQ" else ():
            yield from _items(item)


def _item(**values: Any) -> Dataset:
    from pydicom import Dataset

    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def _code(value: str, scheme: str, meaning: str) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(value, scheme, meaning)


def _decimal(value: float) -> Any:
    from pydicom.valuerep import DSfloat

    return DSfloat(value, auto_format=True)


def _plain() -> str:
    from pydicom.uid import ExplicitVRLittleEndian

    return ExplicitVRLittleEndian


def _digest(shown: Shown, source: Source | None) -> str:
    """SHA-256 of everything that is written."""
    told: Any = (VERSION, shown.pathology, shown.positive, shown.signed, shown.segmenter, shown.layer.shape)
    found = hashlib.sha256(repr((told, tuple(shown.strengths), tuple(shown.probability))).encode())
    if source and shown.origin:
        told = (shown.origin.rows, shown.origin.columns, str(source))
        found.update(repr(told).encode())
    for arrays in (shown.frames(), (shown.layer, shown.lungs)):
        for array in arrays:
            found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
