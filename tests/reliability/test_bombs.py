"""Decompression bombs: small files that would become huge are refused, and memory hardly grows (measured in a process apart)."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MOST_GROWTH = 200  # MB
SIDE = 60000
ROOT = Path(__file__).resolve().parents[2]

READ = """
import sys
from pathlib import Path
from gan_explain.image import check_image, read_image
from gan_explain.types import DataError

def memory(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) // 1024

folder, report = Path(sys.argv[1]), []
for path in sorted((folder / "fine").iterdir()):
    read_image(path)
before = memory("VmRSS")
for path in sorted((folder / "bombs").iterdir()):
    answers = []
    for read in (check_image, read_image):
        try:
            read(path)
            answers.append("read")
        except DataError as error:
            answers.append(" ".join(str(error).removeprefix(str(path)).split()))
    print(path.name, memory("VmHWM") - before, *answers, sep="\\t")
"""


def png(*chunks: tuple[bytes, bytes], side: int = 64, pixels: bytes = b"") -> bytes:
    """A sound PNG of one gray level, or one that only claims its side, with further chunks before and after the pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    rows = pixels or zlib.compress(b"\0" * (65 * 64))
    extra = b"".join(chunk(*each) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", rows) + extra + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    """Zeros, deflated."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflater.compress(bytes(1 << 20)) + deflater.flush(zlib.Z_FULL_FLUSH)) * megabytes


def encoded(kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(width: int, height: int, *, strips: int = 1) -> bytes:
    """A TIFF of a few bytes that claims a size, and a number of strips."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, strips, 8)]
    tags += [(277, 3, 1, 1), (278, 4, 1, height), (279, 4, strips, 100)]
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + struct.pack("<L", 0) + zlib.compress(b"\0" * 10000)


def pictures() -> Iterator[tuple[str, bytes]]:
    """Bombs in PNG, JPEG, TIFF, BMP, GIF and WebP."""
    yield "huge.png", png(side=SIDE)
    yield "within.png", png(side=9400, pixels=b"\x78\x9c" + zeros(85))  # a sound image of one gray level
    full = b"\x78\x9c" + zeros(300)
    yield "profile.png", png((b"iCCP", b"bomb\0\0" + full))
    yield "text.png", png((b"zTXt", b"bomb\0\0" + full))
    yield "unicode.png", png((b"iTXt", b"bomb\0\1\0\0\0" + full))
    yield "texts.png", png(*[(b"zTXt", b"bomb\0\0" + zlib.compress(b"\0" * 1000000, 9))] * 150)
    jpeg = encoded("JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    yield "huge.jpg", jpeg[:at] + struct.pack(">HH", 65500, 65500) + jpeg[at + 4 :]
    yield "huge.tif", tiff(SIDE, SIDE)
    yield "strips.tif", tiff(64, 64, strips=2**31 - 1)
    bmp = encoded("BMP")
    yield "huge.bmp", bmp[:18] + struct.pack("<ll", SIDE, SIDE) + bmp[26:]
    gif = encoded("GIF")
    frame = gif.index(b",", 13 + 3 * 256) + 5
    yield "huge.gif", gif[:6] + struct.pack("<HH", 65535, 65535) + gif[10:]
    yield "frame.gif", gif[:frame] + struct.pack("<HH", 65535, 65535) + gif[frame + 4 :]
    canvas = struct.pack("<L", 16382)[:3]
    vp8x = b"VP8X" + struct.pack("<L", 10) + b"\x02\0\0\0" + canvas * 2
    yield "huge.webp", b"RIFF" + struct.pack("<L", len(vp8x) + 4) + b"WEBP" + vp8x


def radiographs(save: Callable[..., Path], folder: Path) -> Iterator[tuple[str, bytes]]:
    """Bombs in DICOM: sizes, lengths, deflation, run lengths, and compressed frames larger than their header says."""
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    pixels = np.zeros((64, 64), np.uint8)

    def saved(syntax: str = "ExplicitVRLittleEndian", **tags: object) -> bytes:
        return save(folder / "made.dcm", pixels, syntax, **tags).read_bytes()

    def framed(frame: bytes, syntax: str, side: int = 64) -> bytes:
        save(folder / "made.dcm", pixels, "JPEG2000Lossless" if "2000" in syntax else syntax)
        ds = pydicom.dcmread(folder / "made.dcm")
        ds.PixelData, ds.Rows, ds.Columns = pydicom.encaps.encapsulate([frame]), side, side
        ds.save_as(folder / "made.dcm")
        return (folder / "made.dcm").read_bytes()

    yield "rows.dcm", saved(Rows=65535, Columns=65535)
    yield "rows_rle.dcm", saved("RLELossless", Rows=65535, Columns=65535)
    yield "just_under.dcm", saved(Rows=9400, Columns=9400)
    yield "frames.dcm", saved(NumberOfFrames=2**31 - 1)
    plain = saved()
    length = plain.index(struct.pack("<HH", 0x7FE0, 0x10)) + 8
    yield "length.dcm", plain[:length] + struct.pack("<L", 2**32 - 2) + plain[length + 4 :]
    start = plain.index(struct.pack("<HH", 0x0008, 0x0016))
    old, new = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99"
    meta = plain[:start].replace(struct.pack("<H", len(old)) + old, struct.pack("<H", len(new)) + new)
    group = meta.index(b"UL\x04\0") + 4
    meta = meta[:group] + struct.pack("<L", struct.unpack("<L", meta[group : group + 4])[0] + 2) + meta[group + 4 :]
    yield "deflated.dcm", meta + zlib.compress(plain[start:], wbits=-15) + zeros(300)
    run = b"\x81\0" * (4 << 20)  # 512 MB
    yield "runs.dcm", framed(struct.pack("<16L", 1, 64, *[0] * 14) + run, "RLELossless")
    run = b"\x81\0" * (9400**2 // 128 + 1)
    yield "within.dcm", framed(struct.pack("<16L", 1, 64, *[0] * 14) + run, "RLELossless", 9400)
    jpeg = encoded("JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    yield "jpeg.dcm", framed(jpeg[:at] + struct.pack(">HH", 9400, 9400) + jpeg[at + 4 :], "JPEGBaseline8Bit")
    ds = pydicom.dcmread(save(folder / "made.dcm", pixels, "JPEG2000Lossless"))
    frame = pydicom.encaps.get_frame(ds.PixelData, 0, number_of_frames=1)
    siz = frame.index(b"\xff\x51")
    yield "j2k.dcm", framed(frame[: siz + 6] + struct.pack(">2L", 9400, 9400) + frame[siz + 14 :], "JPEG2000")
    yield "components.dcm", framed(frame[: siz + 38] + struct.pack(">H", 16384) + frame[siz + 40 :], "JPEG2000")
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * (1 << 20)
    sequence = struct.pack("<HH2sHL", 0x0009, 0x1001, b"SQ", 0, 0xFFFFFFFF)
    yield "items.dcm", plain[:start] + sequence + items + plain[start:]
    nested = (sequence + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)) * 50000
    yield "nested.dcm", plain[:start] + nested + plain[start:]


def test_bombs_are_refused_and_memory_hardly_grows(tmp_path: Path, save_dicom: Callable[..., Path]) -> None:
    for name in ("bombs", "fine"):
        (tmp_path / name).mkdir()
    for name, data in (*pictures(), *radiographs(save_dicom, tmp_path)):
        (tmp_path / "bombs" / name).write_bytes(data)
    for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF"):
        (tmp_path / "fine" / kind).write_bytes(encoded(kind))
    for syntax in ("ExplicitVRLittleEndian", "RLELossless", "JPEG2000Lossless", "JPEGBaseline8Bit"):
        save_dicom(tmp_path / "fine" / f"{syntax}.dcm", np.zeros((64, 64), np.uint8), syntax)
    (tmp_path / "read.py").write_text(READ)
    done = subprocess.run(
        [sys.executable, "read.py", str(tmp_path)],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin"}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {name: answers for name, *answers in (line.split("\t") for line in done.stdout.splitlines())}
    assert len(rows) == len(list((tmp_path / "bombs").iterdir())) > 20
    assert [name for name, (_, *answers) in rows.items() if any(not answer.startswith(": expected") for answer in answers)] == []
    assert {name: grown for name, (grown, *_) in rows.items() if int(grown) > MOST_GROWTH} == {}
