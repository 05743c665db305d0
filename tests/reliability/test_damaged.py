"""200 damaged or unusual PNG, JPEG and DICOM files, from the command line: no crash, each unreadable one is listed."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from gan_explain import image
from gan_explain.cli import main
from gan_explain.cli.exits import DATA, OK

Save = Callable[..., Path]
COUNT, SIDE = 200, 72
DICOM = ("ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian", "RLELossless", "JPEG2000Lossless")


@dataclass(frozen=True)
class Case:
    """A file and whether it can be read: None where that depends on the byte that was hit."""

    name: str
    data: bytes
    readable: bool | None


def radiograph(seed: int) -> np.ndarray:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    noise = np.random.default_rng(seed).normal(0, 4, (SIDE, SIDE))
    return (128 + 90 * np.sin(7 * x + seed) * np.cos(5 * y) + noise).clip(0, 255).astype(np.uint8)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def sound(save: Save, folder: Path, seed: int) -> dict[str, bytes]:
    """The same radiograph in the formats that are damaged."""
    pixels = radiograph(seed)
    gray = Image.fromarray(pixels)
    files = {
        "a.png": encoded(gray, "PNG"),
        "deep.png": encoded(Image.fromarray(pixels.astype(np.uint16) * 257), "PNG"),
        "a.jpg": encoded(gray, "JPEG"),
        "progressive.jpg": encoded(gray, "JPEG", progressive=True),
    }
    for syntax in (*DICOM, "JPEGBaseline8Bit"):
        files[f"{syntax}.dcm"] = save(folder / "made.dcm", pixels, syntax).read_bytes()
    return files


def unusual(save: Save, folder: Path) -> Iterator[Case]:
    """Sound files that few programs write."""
    pixels = radiograph(0)
    gray, frames = Image.fromarray(pixels), [Image.fromarray(radiograph(seed)) for seed in (1, 2)]
    for mode in ("CMYK", "RGB", "L"):
        yield Case(f"{mode}.jpg", encoded(gray.convert(mode), "JPEG"), True)
    for mode in ("P", "1", "LA", "RGBA"):
        yield Case(f"{mode}.png", encoded(gray.convert(mode), "PNG"), True)
    yield Case("16.png", encoded(Image.fromarray(pixels.astype(np.uint16) * 257), "PNG"), True)
    yield Case("1.tif", encoded(gray.convert("1"), "TIFF"), True)
    yield Case("palette.gif", encoded(gray.convert("P"), "GIF"), True)
    for kind, readable in (("GIF", True), ("PNG", True), ("WEBP", False)):
        yield Case(f"animated.{kind.lower()}", encoded(gray, kind, save_all=True, append_images=frames), readable)
    yield Case("12.dcm", save(folder / "made.dcm", pixels.astype(np.uint16) * 16, stored=12).read_bytes(), True)
    yield Case("16.dcm", save(folder / "made.dcm", pixels.astype(np.int16) - 100).read_bytes(), True)
    yield Case("many.dcm", save(folder / "made.dcm", np.stack([pixels, pixels])).read_bytes(), True)
    bits = (pixels > 128).astype(np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    tags = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": packed}
    yield Case("1.dcm", save(folder / "made.dcm", bits, **tags).read_bytes(), True)


def misnamed(files: dict[str, bytes]) -> Iterator[Case]:
    """A suffix that does not fit what is in the file."""
    yield Case("png_as.jpg", files["a.png"], True)
    yield Case("jpeg_as.png", files["a.jpg"], True)
    yield Case("dicom_as.png", files["RLELossless.dcm"], True)
    yield Case("dicom_as_nothing", files["ExplicitVRLittleEndian.dcm"], True)
    for name in ("png_as.dcm", "jpeg_as.dicom"):
        yield Case(name, files["a.png"], False)
    for suffix in ("png", "jpg", "dcm", "tif"):
        yield Case(f"empty.{suffix}", b"", False)
        yield Case(f"text.{suffix}", b"%PDF-1.4 a report, not an image\n" * 30, False)
        yield Case(f"zeros.{suffix}", bytes(5000), False)


def damaged(save: Save, folder: Path) -> list[Case]:
    """`COUNT` files: unusual, misnamed, and the rest cut at random places or with random bytes flipped."""
    cases = [*unusual(save, folder), *misnamed(sound(save, folder, 0))]
    rng, seed = np.random.default_rng(0), 1
    while len(cases) < COUNT:
        for name, whole in sound(save, folder, seed).items():
            cut = int(rng.integers(1, int(len(whole) * 0.9)))
            cases.append(Case(f"cut{len(cases)}.{name}", whole[:cut], False))
            flipped = bytearray(whole)
            for place in rng.integers(0, len(whole), 8):
                flipped[place] ^= int(rng.integers(1, 256))
            cases.append(Case(f"flipped{len(cases)}.{name}", bytes(flipped), None))
        seed += 1
    return cases[:COUNT]


def dataset(folder: Path, cases: list[Case]) -> Path:
    """The cases as a data set of two classes, one patient a file."""
    folder.mkdir()
    lines = ["path,label,patient_id,split"]
    for number, case in enumerate(cases):
        (folder / case.name).write_bytes(case.data)
        lines.append(f"{case.name},{('normal', 'covid')[number % 2]},p{number},{('train', 'val', 'test')[number % 3]}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


def run(*args: object) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert "Traceback" not in result.stderr
    return result


def listed(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def test_two_hundred_damaged_files(tmp_path: Path, save_dicom: Save) -> None:
    """All of them are too many, and listed; those that can be read, with as many of the others as are allowed, go through."""
    cases = damaged(save_dicom, tmp_path)
    folder = dataset(tmp_path / "all", cases)
    result = run("data", folder, "--out", tmp_path / "none", "--resolution", 32)
    assert result.exit_code == DATA, result.output
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["rejects.csv"]
    rejects = listed(tmp_path / "none" / "rejects.csv")
    assert f"{len(rejects)} of {COUNT}" in result.stderr
    assert all(reason.startswith(f"{folder / name}: expected ") for name, reason in rejects.items())
    wrong = [case.name for case in cases if case.readable is not None and case.readable == (case.name in rejects)]
    assert wrong == []
    hit = [case.name in rejects for case in cases if case.readable is None]
    assert 0.5 < np.mean(hit) < 1  # a flipped byte may leave a picture: in JPEG, in uncompressed DICOM
    assert any(case.name not in rejects for case in cases if case.readable is None and case.name.endswith(".jpg"))

    kept = [case for case in cases if case.name not in rejects]
    fine = [Case(f"fine{seed}.png", encoded(Image.fromarray(radiograph(seed)), "PNG"), True) for seed in range(100, 160)]
    few = [case for case in cases if case.name in rejects][:: len(rejects) // 4][:4]
    folder = dataset(tmp_path / "most", [*kept, *fine, *few])
    result = run("data", folder, "--out", tmp_path / "out", "--resolution", 32)
    assert result.exit_code == OK, result.stderr
    assert set(listed(tmp_path / "out" / "rejects.csv")) == {case.name for case in few}
    assert len(list((tmp_path / "out" / "images").iterdir())) == len(kept) + len(fine)


def hollow(side: int) -> bytes:
    """A PNG whose checksums are right and whose pixels are not."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"not deflated" * 9) + chunk(b"IEND", b"")


def test_what_passes_the_screen_and_fails_later_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large PNG is judged by its checksums. If its pixels then do not come out, commands end with exit 3 and its name."""
    monkeypatch.setattr(image, "LARGE", 0)
    fine = [Case(f"{seed}.png", encoded(Image.fromarray(radiograph(seed)), "PNG"), True) for seed in range(5)]
    folder = dataset(tmp_path / "set", [*fine, Case("hollow.png", hollow(SIDE), None)])
    Image.fromarray(np.pad(np.full((SIDE // 2,) * 2, 255, np.uint8), SIDE // 4)).save(folder / "lungs.png")
    text = (folder / "manifest.csv").read_text().splitlines()
    (folder / "manifest.csv").write_text("\n".join([f"{text[0]},mask", *(f"{line},lungs.png" for line in text[1:])]))
    for args in (
        ("data", folder, "--out", tmp_path / "copy"),
        ("train", "segmenter", "--data", folder, "--out", tmp_path / "lungs", "--steps", 3, "--resolution", 32),
    ):
        result = run(*args)
        assert result.exit_code == DATA, result.output
        assert result.stderr.splitlines()[-1].startswith("error: ")
        assert "hollow.png" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "copy").exists()


def test_a_dicom_file_is_an_image_like_any_other(tmp_path: Path, save_dicom: Save) -> None:
    """`explain` and `interpolate` take one; a side view is a warning on standard error, an unreadable one the error line."""
    tall = np.kron(radiograph(0), np.ones((2, 2), np.uint8))
    for command in ("interpolate", "explain"):
        path = save_dicom(tmp_path / f"lateral.{command}.dcm", tall, "JPEG2000Lossless", ViewPosition="LL")
        result = run(command, path, "--dry-run", "--force")
        assert result.exit_code == OK, result.stderr
        assert result.stderr.count("speaks against a frontal chest radiograph: ViewPosition is not PA or AP") == 1
        cut = tmp_path / "cut.dcm"
        cut.write_bytes(path.read_bytes()[:-900])
        result = run(command, cut, "--dry-run")
        assert result.exit_code == DATA
        assert "cut.dcm: expected a readable DICOM file" in result.stderr
