"""DICOM files as they are meant to be looked at: look-up tables, windows, polarity, encodings, and what is refused."""

from __future__ import annotations

import logging
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gan_explain.data import open_dataset
from gan_explain.files.dicom import is_dicom
from gan_explain.files.dicom_pixels import windowed
from gan_explain.image import check_image, read_image, read_picture
from gan_explain.types import DataError

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")

Save = Callable[..., Path]
NATIVE = ("ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian")
LOSSLESS = ("RLELossless", "JPEG2000Lossless")


def ramp(top: int = 4095, height: int = 40, width: int = 64) -> np.ndarray:
    """Stored values from 0 to `top`, all rows alike but for a dark first one."""
    values = np.tile(np.linspace(0, top, width).round(), (height, 1))
    values[0] = 0
    return values.astype(np.uint16)


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_every_lossless_encoding_reads_as_the_same_image(tmp_path: Path, save_dicom: Save, syntax: str, dtype: type) -> None:
    values = (ramp(200).astype(np.int64) - (100 if dtype is np.int16 else 0)).astype(dtype)
    path = save_dicom(tmp_path / "a.dcm", values, syntax, stored=8 if dtype is np.uint8 else 12)
    check_image(path)
    read = read_image(path)
    assert read.dtype == np.float32
    assert np.abs(read - ramp(200) / 200).max() < 1e-6
    assert read_picture(path).colourfulness == 0


@pytest.mark.parametrize("syntax", ["JPEGBaseline8Bit", "JPEG2000"])
def test_lossy_encodings_are_close(tmp_path: Path, save_dicom: Save, syntax: str) -> None:
    values = ramp(255).astype(np.uint8)
    tags = {} if syntax == "JPEGBaseline8Bit" else {"LossyImageCompression": "01"}
    if syntax == "JPEG2000":
        save_dicom(tmp_path / "a.dcm", values)
        ds = pydicom.dcmread(tmp_path / "a.dcm")
        ds.compress(pydicom.uid.JPEG2000, j2k_cr=[4])
        ds.save_as(tmp_path / "a.dcm")
    else:
        save_dicom(tmp_path / "a.dcm", values, syntax, **tags)
    read = read_image(tmp_path / "a.dcm")
    assert np.abs(read[2:] - values[2:] / 255).max() < 8 / 255


def test_odd_lengths_and_one_bit_are_read(tmp_path: Path, save_dicom: Save) -> None:
    odd = ramp(255, 33, 35).astype(np.uint8)
    for syntax in (*NATIVE, *LOSSLESS):
        assert np.abs(read_image(save_dicom(tmp_path / "odd.dcm", odd, syntax)) - odd / 255).max() < 1e-6
    bits = np.random.default_rng(0).integers(0, 2, (16, 24), dtype=np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    path = save_dicom(tmp_path / "bit.dcm", bits, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed)
    assert np.array_equal(read_image(path), bits)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (1000, 300), (40.5, 1), (2000, 7.5)])
def test_windows_are_those_of_the_standard(function: str, center: float, width: float) -> None:
    """Against pydicom's own, over the range of 12-bit values that it scales to."""
    values = np.arange(4096, dtype=np.float64)
    ds = pydicom.Dataset()
    ds.PhotometricInterpretation, ds.BitsStored, ds.PixelRepresentation = "MONOCHROME2", 12, 0
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = center, width, function
    with np.errstate(over="ignore"):
        expected = pydicom.pixels.apply_windowing(values, ds) / 4095
    assert np.abs(windowed(values, center, width, function) - expected).max() < 1e-6


def test_rescaling_comes_before_the_window_and_the_first_window_counts(tmp_path: Path, save_dicom: Save) -> None:
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": [3000, 1], "WindowWidth": [2000, 1]}
    read = read_image(save_dicom(tmp_path / "a.dcm", ramp(), stored=12, **tags))
    expected = windowed(ramp() * 2.0 - 1000, 3000, 2000)
    assert np.abs(read - expected).max() < 1e-6
    assert 0 < (read == 0).mean() < 1
    assert (read == 1).any()


@pytest.mark.parametrize("width", [0, -5, None])
def test_without_a_usable_window_the_range_of_the_pixels_counts(tmp_path: Path, save_dicom: Save, width: object) -> None:
    values = ramp(1000) + np.uint16(500)
    values[3] = 9
    tags = {} if width is None else {"WindowCenter": 100, "WindowWidth": width}
    read = read_image(save_dicom(tmp_path / "a.dcm", values, PixelPaddingValue=9, **tags))
    assert read[5, 0] == 0
    assert read[5, -1] == 1
    assert not read[3].any()
    assert not read_image(save_dicom(tmp_path / "flat.dcm", np.full((20, 20), 7, np.uint16))).any()


def item(first: int, table: np.ndarray, bits: int, packed: bool) -> list[object]:
    made = pydicom.Dataset()
    made.LUTDescriptor = [len(table) % 65536, first, bits]
    if packed:
        made.add_new("LUTData", "OW", table.astype(np.uint8 if bits == 8 else "<u2").tobytes())
    else:
        made.add_new("LUTData", "US", table.astype(int).tolist())
    return [made]


@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "ExplicitVRLittleEndian"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_lookup_tables(tmp_path: Path, save_dicom: Save, syntax: str, packed: bool, bits: int) -> None:
    """A VOI table is gone through in place of the window; what lies outside it takes its ends."""
    table = np.linspace(0, 1, 1000) ** 2 * (2**bits - 1)
    tags = {"VOILUTSequence": item(500, table.round(), bits, packed), "WindowCenter": 1, "WindowWidth": 1}
    read = read_image(save_dicom(tmp_path / "a.dcm", ramp(), syntax, **tags))
    expected = ((ramp().astype(float) - 500).clip(0, 999) / 999) ** 2
    assert np.abs(read - expected).max() < 1 / 2**bits


def test_a_modality_table_feeds_the_window(tmp_path: Path, save_dicom: Save) -> None:
    table = np.arange(4096)[::-1]
    tags = {"ModalityLUTSequence": item(0, table, 16, False), "WindowCenter": 2048, "WindowWidth": 4096}
    plain = read_image(save_dicom(tmp_path / "plain.dcm", ramp(), WindowCenter=2048, WindowWidth=4096))
    turned = read_image(save_dicom(tmp_path / "turned.dcm", ramp(), **tags))
    assert np.abs(plain + turned - 1).max() < 1e-3


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2048, "WindowWidth": 4096}, {"WindowCenter": 900, "WindowWidth": 1200}])
def test_monochrome1_twins(tmp_path: Path, save_dicom: Save, syntax: str, window: dict[str, float]) -> None:
    """The same radiograph stored with air white reads as the same image."""
    values = ramp()
    twin = {key: 4095 - value if key == "WindowCenter" else value for key, value in window.items()}
    two = read_image(save_dicom(tmp_path / "two.dcm", values, syntax, stored=12, **window))
    inverted = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    one = read_image(save_dicom(tmp_path / "one.dcm", 4095 - values, syntax, stored=12, **inverted, **twin))
    assert np.abs(one - two).max() < 1 / 255
    assert two[5].argmax() > two[5].argmin()


def test_a_contradictory_polarity_is_said(tmp_path: Path, save_dicom: Save, caplog: pytest.LogCaptureFixture) -> None:
    path = save_dicom(tmp_path / "a.dcm", ramp(), PresentationLUTShape="INVERSE")
    with caplog.at_level(logging.WARNING):
        assert np.abs(read_image(path) - (1 - ramp() / 4095)).max() < 1e-6
    assert "PresentationLUTShape INVERSE contradicts" in caplog.text


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS, "JPEGBaseline8Bit"])
def test_the_first_frame_of_many(tmp_path: Path, save_dicom: Save, syntax: str, caplog: pytest.LogCaptureFixture) -> None:
    frames = np.stack([ramp(255), 255 - ramp(255), ramp(100)]).astype(np.uint8)
    path = save_dicom(tmp_path / "many.dcm", frames, syntax)
    with caplog.at_level(logging.WARNING):
        read = read_image(path)
        assert np.array_equal(read, read_image(path))
    assert read.shape == (40, 64)
    assert np.abs(read[5] - ramp(255)[5] / 255).max() < 5 / 255
    assert [record.getMessage() for record in caplog.records] == [f"{path}: 3 frames or pages, the first is taken"]


def test_found_by_content_or_by_name(tmp_path: Path, save_dicom: Save) -> None:
    for name in ("IM0001", "1.2.840.7", "a.png"):
        assert is_dicom(save_dicom(tmp_path / name, ramp()))
        assert read_image(tmp_path / name).shape == (40, 64)
    for syntax in NATIVE[:2]:
        bare = save_dicom(tmp_path / f"{syntax}.DCM", ramp(), syntax, preamble=False)
        assert np.abs(read_image(bare) - ramp() / 4095).max() < 1e-6
    assert not is_dicom(tmp_path / "missing.dcm")
    with pytest.raises(DataError, match=r"missing\.dcm: no such image file"):
        read_image(tmp_path / "missing.dcm")


REQUIRED = (
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
)


@pytest.mark.parametrize("name", [*REQUIRED, "PixelData"])
@pytest.mark.parametrize("syntax", ["ExplicitVRLittleEndian", "RLELossless"])
def test_a_missing_tag_is_named(tmp_path: Path, save_dicom: Save, name: str, syntax: str) -> None:
    path = save_dicom(tmp_path / "a.dcm", ramp(), syntax, without=(name,))
    for read in (check_image, read_image):
        with pytest.raises(DataError, match=f"a.dcm: expected the DICOM tag {name}, found none"):
            read(path)


def test_optional_tags_may_be_missing(tmp_path: Path, save_dicom: Save, caplog: pytest.LogCaptureFixture) -> None:
    names = ("Modality", "ViewPosition", "BodyPartExamined", "HighBit", "PatientName", "SOPClassUID", "SOPInstanceUID")
    path = save_dicom(tmp_path / "a.dcm", ramp(), NumberOfFrames="", PresentationLUTShape="", WindowCenter="")
    ds = pydicom.dcmread(path)
    for name in names:
        delattr(ds, name)
    ds.save_as(path)
    with caplog.at_level(logging.WARNING):
        assert np.abs(read_image(path) - ramp() / 4095).max() < 1e-6
    assert caplog.records == []


def test_colour_is_refused(tmp_path: Path, save_dicom: Save) -> None:
    rgb = np.zeros((20, 30, 3), np.uint8)
    plane = np.zeros((20, 30), np.uint8)
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "PixelData": rgb.tobytes()}
    for extra in (tags, {"PhotometricInterpretation": "PALETTE COLOR"}):
        with pytest.raises(DataError, match=r"a\.dcm: expected a gray radiograph .*, got a colour image"):
            read_image(save_dicom(tmp_path / "a.dcm", plane, **extra))


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"ViewPosition": "LL"}, "ViewPosition is not PA or AP"),
        ({"BodyPartExamined": "HAND"}, "BodyPartExamined is not CHEST or THORAX"),
        ({"Modality": "CT"}, "Modality is not CR or DX"),
    ],
)
def test_not_a_frontal_chest_is_a_warning(
    tmp_path: Path, save_dicom: Save, tags: dict[str, str], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_dicom(tmp_path / "a.dcm", ramp(), **tags)
    with caplog.at_level(logging.WARNING):
        check_image(path)
        assert read_image(path).any()
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: its DICOM header speaks against a frontal chest radiograph: {says}"
    ]
    assert caplog.records[0].name.startswith("gan_explain")


@pytest.mark.parametrize(("ways", "upright"), [("L\\F", True), ("R\\F", False), ("F\\L", False), ("L\\H", False), ("", True)])
def test_an_orientation_that_is_not_upright_is_a_warning(
    tmp_path: Path, save_dicom: Save, ways: str, upright: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """To the left along a row and to the feet along a column (PS3.3 C.7.6.1.1.1)."""
    path = save_dicom(tmp_path / "a.dcm", ramp(), PatientOrientation=ways.split("\\"))
    check_image(path)
    read_image(path)
    said = [] if upright else [f"{path}: its DICOM tag PatientOrientation says that the film is mirrored or turned"]
    assert [record.getMessage() for record in caplog.records] == said


def test_ap_is_frontal_too(tmp_path: Path, save_dicom: Save, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read_image(save_dicom(tmp_path / "a.dcm", ramp(), ViewPosition="AP", Modality="CR"))
    assert caplog.records == []


def test_what_cannot_be_decoded_is_named_with_what_would(tmp_path: Path, save_dicom: Save) -> None:
    from pydicom.pixels import get_decoder

    values = ramp(255).astype(np.uint8)
    for syntax, says in (
        ("JPEGLosslessSV1", "JPEG Lossless.*python-gdcm"),
        ("JPEGLSLossless", "JPEG-LS.*python-gdcm"),
        ("JPEGExtended12Bit", "JPEG Extended.*not supported"),
        ("MPEG2MPML", "MPEG2.*not supported"),
        ("DeflatedExplicitVRLittleEndian", "deflated.*not supported"),
    ):
        path = save_dicom(tmp_path / "a.dcm", values, "JPEGBaseline8Bit", BitsStored=12)
        with pydicom.dcmread(path) as ds:
            ds.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
            ds.save_as(path)
        if "python-gdcm" in says and get_decoder(getattr(pydicom.uid, syntax)).is_available:
            continue  # this machine has it
        with pytest.raises(DataError, match=f"a.dcm.*{says}"):
            read_image(path)


def test_without_pydicom_the_extra_is_named(tmp_path: Path, save_dicom: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_dicom(tmp_path / "a.dcm", ramp())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for read in (check_image, read_image):
        with pytest.raises(DataError, match=r"a\.dcm: a DICOM file needs pydicom: pip install 'gan_explain\[dicom\]'"):
            read(path)


@pytest.mark.parametrize("tag", [(0x0028, 0x0010), (0x0028, 0x0011), (0x0028, 0x0100)])
@pytest.mark.parametrize("value", [1, 30, 65535])
def test_a_header_that_lies_about_its_pixels(tmp_path: Path, save_dicom: Save, tag: tuple[int, int], value: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(1, 200, (40, 64)).astype(np.uint8)
    for syntax in ("ExplicitVRLittleEndian", "RLELossless", "JPEG2000Lossless", "JPEGBaseline8Bit"):
        path = save_dicom(tmp_path / "a.dcm", values, syntax)
        data = path.read_bytes()
        at = data.index(struct.pack("<HH", *tag) + b"US") + 8
        path.write_bytes(data[:at] + struct.pack("<H", value) + data[at + 2 :])
        with pytest.raises(DataError, match=r"a\.dcm: expected"):
            read_image(path)


def test_padding_behind_the_pixels_is_no_lie(tmp_path: Path, save_dicom: Save) -> None:
    values = ramp()
    path = save_dicom(tmp_path / "a.dcm", values, PixelData=values.tobytes() + b"\0" * 100)
    assert np.abs(read_image(path) - values / 4095).max() < 1e-6
    path = save_dicom(tmp_path / "a.dcm", values, PixelData=values.tobytes() + b"\1" * 100)
    with pytest.raises(DataError, match=r"expected 5120 bytes of pixels by its DICOM header, got 5220, and 5220 in the file"):
        read_image(path)


def test_no_patient_tag_gets_out(tmp_path: Path, save_dicom: Save, caplog: pytest.LogCaptureFixture) -> None:
    """Canaries in the patient's tags, in tags that are read, and in damaged files: in no log, error or warning."""
    said: list[str] = []
    causes: list[object] = []
    canary = {"ViewPosition": "CANARY", "BodyPartExamined": "CANARY", "Modality": "CANARY", "PresentationLUTShape": "CANARY"}
    cases: list[dict[str, object]] = [canary, {"PhotometricInterpretation": "CANARY"}, {"PatientName": "CANARY " * 8}]
    with caplog.at_level(logging.DEBUG):
        for number, tags in enumerate(cases):
            for syntax in ("ExplicitVRLittleEndian", "RLELossless"):
                whole = save_dicom(tmp_path / f"{number}.{syntax}.dcm", ramp(), syntax, WindowCenter=12, WindowWidth=34, **tags)
                data = whole.read_bytes()
                damaged = whole.with_name(f"cut.{whole.name}")
                for cut in range(140, len(data), max(1, len(data) // 40)):
                    damaged.write_bytes(data[:cut])
                    with pytest.raises(DataError) as error:
                        read_image(damaged)
                    said.append(str(error.value))
                    causes.append(error.value.__cause__)
                bad = data.replace(b"12", b"CA").replace(b"34", b"NA")
                damaged.write_bytes(bad)
                for path in (whole, damaged):
                    try:
                        read_image(path)
                    except DataError as error:
                        said.append(str(error))
                        causes.append(error.__cause__)
    text = "\n".join(said) + caplog.text
    assert len(said) > 100
    assert not any(causes)  # nor in a traceback
    assert "CANARY" not in text.replace(str(tmp_path), "")
    assert "19011111" not in text


def test_folders_and_manifests_take_dicom(tmp_path: Path, save_dicom: Save) -> None:
    for name in ("normal", "covid"):
        (tmp_path / "set" / name).mkdir(parents=True)
        (tmp_path / "set" / name / "notes.txt").write_text("no image")
        save_dicom(tmp_path / "set" / name / "DICOMDIR", np.zeros((4, 4), np.uint8), without=("Rows", "PixelData"))
        for i in range(3):
            values = np.random.default_rng(i).integers(0, 4096, (48, 48)).astype(np.uint16)
            save_dicom(tmp_path / "set" / name / ("a.dcm", "IM0002", "1.2.3.4")[i], values)
    data = open_dataset(tmp_path / "set", size=32)
    assert data.batch().images.shape == (6, 1, 32, 32)
    lines = ["path,label,patient_id,split", "normal/IM0002,normal,a,train", "covid/a.dcm,covid,b,train"]
    (tmp_path / "set" / "manifest.csv").write_text("\n".join(lines))
    assert len(open_dataset(tmp_path / "set", size=32).batch()) == 2


def test_masks_may_be_dicom_too(tmp_path: Path, save_dicom: Save) -> None:
    values = ramp(255).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    save_dicom(tmp_path / "mask.dcm", (values > 128).astype(np.uint8))
    lines = ["path,label,patient_id,split,mask", "a.png,normal,a,train,mask.dcm", "a.png,covid,b,train,mask.dcm"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines[:2]))
    data = open_dataset(tmp_path, size=32, allow_single_class=True)
    assert data[0]["has_lungs"]
    assert 0.2 < float(data[0]["lungs"].mean()) < 0.8


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 1, "WindowWidth": 2},  # all but a few pixels are white
        {"WindowCenter": 100000, "WindowWidth": 10},  # all black
        {"WindowCenter": 2048, "WindowWidth": 1e9},  # all of one gray
    ],
)
def test_a_window_that_shows_nothing_is_not_used(
    tmp_path: Path, save_dicom: Save, window: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    values = ramp(4095).astype(np.uint16)
    plain = read_image(save_dicom(tmp_path / "plain.dcm", values))
    assert "next to nothing" not in caplog.text
    assert np.array_equal(read_image(save_dicom(tmp_path / "x.dcm", values, **window)), plain)
    assert "x.dcm: its DICOM window shows next to nothing" in caplog.text
