"""Twenty canaries in tags, file names, folders, patient ids and columns: no byte of them in anything that commands write."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gan_explain.cli import main
from gan_explain.data import open_dataset

CANARIES = tuple(f"CANARY{i:02d}QZX" for i in range(20))
FOLDER, BELOW, PNG_TEXT, PNG_ZTXT, PNG_ITXT, PNG_EXIF, JPEG_COMMENT, JPEG_EXIF, *REST = CANARIES
PATIENTS, FILES, COLUMNS, DICOM = REST[:4], REST[4:6], REST[6:8], REST[8:]
MODELS = ("--generator", "phantom64", "--segmenter", "phantom64")
TARGET = ("--target", "checkpoint:phantom64")
RUNS = {
    "image": ("interpolate", "{png}", *MODELS, "--strengths", 5, "--picture-size", 256),
    "between": ("interpolate", "--between", "{png}", "{jpeg}", *MODELS, "--strengths", 3, "--picture-size", 256),
    "from": ("interpolate", "{png}", "--pathology", "from:{jpeg}", *MODELS, "--strengths", 3, "--picture-size", 256),
    "explain": ("explain", "{jpeg}", *TARGET, "--segmenter", "phantom64"),
    "explain_dicom": ("explain", "{dicom}", *TARGET, "--segmenter", "phantom64"),
    "interpolate_dicom": ("interpolate", "{dicom}", "--dicom", *MODELS, "--strengths", 3, "--picture-size", 256),
    "audit": ("audit", *MODELS, *TARGET, "--judges", "none", "--data", "{data}", "--strengths", 21, "--quick", "--by", "sex"),
    "shard": ("audit", *MODELS, *TARGET, "--judges", "none", "--data", "{data}", "--strengths", 21, "--quick", "--shard", "1/1"),
    "merged": ("merge", "{out}/shard"),
    "evaluate": ("evaluate", *MODELS, "--data", "{data}", "--limit", 2),
    "classifier": (
        "evaluate",
        "--measures",
        "classifier",
        *TARGET,
        "--segmenter",
        "phantom64",
        "--data",
        "{data}/manifest.csv",
        "--resolution",
        64,
    ),
    "progression": ("progression", "{data}", "--patient", PATIENTS[0], *MODELS),
    "everyone": ("progression", "{data}", *MODELS),
    "augment": ("augment", "--data", "{data}", *MODELS, "--count", 2),
    "trained": ("train", "target", "--data", "{data}", "--steps", 2, "--resolution", 64, "--segmenter", "phantom64"),
    "explainers": (
        "bench", "explainers", "--data", "{data}", *TARGET, "--segmenter", "phantom64", "--set", "resolution=64",
        "--set", "method=grad_cam", "--set", "steps=2", "--set", "rows=1",
    ),
    "bench": (
        "bench", "augment", "--data", "{data}", "--include", "normal", "--include", "covid", "--set", "resolution=32",
        "--segmenter", "phantom64", "--set", "regime=2:1", "--set", "arm=none", "--set", "probe_segmenter=phantom64",
        "--set", "steps=2",
    ),
    "spectral": (
        "bench", "spectral", "--data", "{data}", "--set", "resolution=32", "--set", "seeds=1", "--set", "arm=none",
        "--set", "steps=2",
    ),
    "exported": ("data", "{data}", "--resolution", 64, "--out"),
}  # fmt: skip
SLOW = ("bench", "spectral")  # they train
ASKED_FOR = ("augment/manifest.csv", "exported/manifest.csv")  # manifests, which name patients so that a split holds


def pictures(tmp: Path) -> Path:
    """Ten patients of the phantom as files full of canaries, with a manifest: the first two with three days each."""
    root = tmp / f"study_{FOLDER}"
    (root / f"films_{BELOW}").mkdir(parents=True)
    phantoms = open_dataset("phantom:n=40", size=64)
    positive = [i for i, record in enumerate(phantoms.records) if record.label == "covid"]
    negative = [i for i, record in enumerate(phantoms.records) if record.label == "normal"]
    who = [*PATIENTS, *(f"other-{i}" for i in range(6))]
    rows = []
    assert min(len(positive), len(negative)) > len(who) + 3
    for k, patient in enumerate(who):
        for day in range(3 if k < 2 else 1):
            label = "covid" if k % 2 else "normal"
            pixels = phantoms[(positive if k % 2 else negative)[k + day]]["image"][0].numpy()
            name = f"films_{BELOW}/{FILES[k % 2]}_{k}_{day}.png"
            save_png(root / name, pixels)
            split = "test" if k < 4 else "train" if k < 8 else "val"
            rows.append([name, label, patient, split, "here", "MF"[k % 2], str(day), *COLUMNS])
    header = ["path", "label", "patient_id", "split", "source", "sex", "offset_days", "name", "mrn"]
    with open(root / "manifest.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return root


def save_png(path: Path, pixels: np.ndarray) -> None:
    text, exif = PngInfo(), Image.Exif()
    text.add_text("PatientName", PNG_TEXT)
    text.add_text("Comment", PNG_ZTXT * 4, zip=True)
    text.add_itxt("Description", PNG_ITXT * 4, zip=True)
    exif[0x013B] = PNG_EXIF
    Image.fromarray((pixels * 255).astype(np.uint8)).save(path, pnginfo=text, exif=exif)


def save_jpeg(path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x010E] = JPEG_EXIF
    Image.fromarray((pixels * 255).astype(np.uint8)).save(path, quality=95, exif=exif, comment=JPEG_COMMENT.encode())


def save_dicom(path: Path, pixels: np.ndarray) -> None:
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    uid = pydicom.uid.generate_uid()
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", uid
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    found = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID, found.Modality, found.ViewPosition, found.BodyPartExamined = (
        meta.MediaStorageSOPClassUID, uid, "DX", "PA", "CHEST",
    )  # fmt: skip
    found.PatientName, found.PatientID, found.InstitutionName, found.ReferringPhysicianName = DICOM
    found.Rows, found.Columns = pixels.shape
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 12, 11
    found.PixelData = (pixels * 4095).astype("<u2").tobytes()
    found.save_as(path, enforce_file_format=True)


def texts(data: bytes) -> Iterator[bytes]:
    """The bytes themselves, what their PNG text chunks and zip members hold unpacked, and every data: address in them decoded."""
    yield data
    yield data.replace(b"\0", b"")  # UTF-16
    for found in re.finditer(rb"(zTXt|iTXt|eXIf|tEXt)", data):
        length = int.from_bytes(data[found.start() - 4 : found.start()], "big")
        body = data[found.end() : found.end() + length]
        for start in range(len(body)):
            if body[start : start + 1] == b"\x78":
                try:
                    yield zlib.decompress(body[start:])
                except zlib.error:
                    continue
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)
    for found in re.finditer(rb"[A-Za-z0-9+/]{64,}={0,2}", data):
        try:
            yield from texts(base64.b64decode(found[0] + b"=" * (-len(found[0]) % 4)))
        except ValueError:
            continue


def leaks(folder: Path, canaries: tuple[str, ...] = CANARIES) -> set[tuple[str, str]]:
    """(file, canary) for every file below a folder that holds one in its bytes, unpacked, or in its name."""
    found = set()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        parts = [name.encode(), *(texts(path.read_bytes()) if path.is_file() else ())]
        found |= {(name, canary) for canary in canaries if any(canary.lower().encode() in part.lower() for part in parts)}
    return found


class World:
    """One run of every command over the canaries' data, made when first asked for."""

    def __init__(self, tmp: Path) -> None:
        self.root, self.out, self.done = pictures(tmp), tmp / "out", dict[str, Result]()
        pixels = open_dataset("phantom:n=2", size=128)[0]["image"][0].numpy()
        self.places = {
            "data": self.root,
            "out": self.out,
            "png": self.root / f"{FILES[0]}.png",
            "jpeg": self.root / f"{FILES[1]}.jpg",
        }
        save_png(self.places["png"], pixels)
        save_jpeg(self.places["jpeg"], pixels)
        self.pixels = pixels

    def run(self, name: str, *more: object) -> Result:
        if name not in self.done:
            if name.endswith("_dicom"):
                self.places["dicom"] = self.root / f"{FILES[0]}.dcm"
                save_dicom(self.places["dicom"], self.pixels)
            if name == "merged":
                self.run("shard")
            words = [str(word).format(**self.places) for word in RUNS[name]]
            words += [] if name == "exported" else ["--out"]
            self.done[name] = CliRunner().invoke(main, [*words, str(self.out / name), "--json", *map(str, more)])
        assert self.done[name].exit_code == 0, self.done[name].stderr
        return self.done[name]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    from gan_explain import evaluate

    with pytest.MonkeyPatch.context() as patch:  # the same table of few numbers
        patch.setattr(evaluate, "Options", partial(evaluate.Options, bootstrap=20, codes=2, synthetic=4))
        yield World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in RUNS])
def test_no_byte_of_a_canary_is_written_or_printed(world: World, name: str) -> None:
    result = world.run(name)
    allowed = {entry.partition("/")[2] for entry in ASKED_FOR if entry.startswith(f"{name}/")}
    assert {leak for leak in leaks(world.out / name) if leak[0] not in allowed} == set()
    assert [canary for canary in CANARIES if canary in result.stdout] == []
    json.loads(result.stdout)


def test_the_canaries_are_there_to_be_found(world: World) -> None:
    """All twenty lie in the data, and the search finds each of them there: by name, by byte, unpacked."""
    world.run("explain_dicom")
    assert {canary for _, canary in leaks(world.root.parent)} >= set(CANARIES)


def test_the_search_unpacks(tmp_path: Path) -> None:
    save_png(tmp_path / "a.png", np.zeros((4, 4)))
    page = b"<img src='data:image/png;base64," + base64.b64encode((tmp_path / "a.png").read_bytes()) + b"'>"
    (tmp_path / "page.html").write_bytes(page)
    wanted = {PNG_TEXT, PNG_ZTXT, PNG_ITXT, PNG_EXIF}
    assert {canary for name, canary in leaks(tmp_path) if name == "page.html"} == wanted
    (tmp_path / "wide.txt").write_text(FOLDER, encoding="utf-16")
    assert ("wide.txt", FOLDER) in leaks(tmp_path)


def test_patients_have_one_pseudonym_under_one_salt_and_may_be_named(world: World) -> None:
    for name in ("audit", "evaluate", "progression"):
        world.run(name)
    ids = {}
    for name, file in (("audit", "per_sample.csv"), ("evaluate", "per_sample.csv"), ("progression", "progression.csv")):
        with open(world.out / name / file, newline="") as table:
            ids[name] = [row["patient_id"] for row in csv.DictReader(table)]
        salt = world.out / name / "patient_salt"
        assert stat.S_IMODE(salt.stat().st_mode) == 0o600
        assert re.fullmatch("[0-9a-f]{64}\n", salt.read_text())
        assert all(re.fullmatch("p[0-9a-f]{12}", each) for each in ids[name])
    assert len(set(ids["audit"])) == 4
    assert not set(ids["audit"]) & set(ids["evaluate"])  # another salt, another name
    secret = str(world.out / "audit" / "patient_salt")
    again = [*map(str, RUNS["progression"]), "--salt", secret, "--json", "--out", str(world.out / "again")]
    again[1], again[3] = str(world.root), ids["audit"][0]  # found again by the pseudonym
    result = CliRunner().invoke(main, again)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["patient_id"] == ids["audit"][0]
    assert not (world.out / "again" / "patient_salt").exists()
    named = [*map(str, RUNS["evaluate"]), "--salt", "none", "--out", str(world.out / "named")]
    named[named.index("{data}")] = str(world.root)
    assert CliRunner().invoke(main, named).exit_code == 0
    assert {canary for _, canary in leaks(world.out / "named")} >= {FOLDER, BELOW, *FILES}


def test_a_second_run_into_a_folder_keeps_its_salt(world: World, tmp_path: Path) -> None:
    args = [str(word).format(**world.places) for word in RUNS["everyone"]] + ["--out", str(tmp_path / "a")]
    contents: list[dict[str, bytes]] = []
    for _ in range(2):
        assert CliRunner().invoke(main, args).exit_code == 0
        contents.append({path.name: path.read_bytes() for path in (tmp_path / "a").iterdir() if path.name != "run.json"})
    assert contents[0] == contents[1]
    (tmp_path / "a" / "patient_salt").write_text("0123")
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 3
    assert "patient_salt: expected a salt of 64" in result.stderr
