"""A traversal as files: JSON manifest, lossless 16-bit frames, CSV. What is loaded renders without weights or data."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_explain.files.dicom_objects import Shown
from gan_explain.files.dicom_out import dicom_source, write_dicom
from gan_explain.files.temporaries import write_bytes
from gan_explain.files.text import csv_text, plain
from gan_explain.image import check_image, read_image, samples16, write_png16
from gan_explain.response import Frames, Response
from gan_explain.types import DataError

SCHEMA_VERSION = 2
SEGMENTER = "lungs128"  # the shipped one
MANIFEST, CURVE, CLASSES = "traversal.json", "response_curve.csv", "classes.csv"


def save_response(
    traversal: Response, folder: str | os.PathLike[str], dicom: bool | str = False, segmenter: str = SEGMENTER
) -> None:
    """Write a traversal into a new or empty folder.

    frames/NNN.png, structure.png and lungs.png (16 bit), response_curve.csv (strength, probability), classes.csv (strength, then
    each class), layer.npy (1, H, W) and code.npy (d,) float32, traversal.json; with `dicom` (True, "image" or "patient")
    traversal.dcm, layer.dcm and lungs.dcm as well. FileExistsError where the folder holds anything. Frames on the 16-bit grid
    (`pixels.quantize16`) load again to the bit.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder}: expected a new or empty folder for a traversal")
    if dicom not in (False, True, "image", "patient"):
        raise ValueError(f"dicom: expected True, False, 'image' or 'patient', got {dicom!r}")
    if dicom:
        came = traversal.origin
        source = dicom_source(came.path if came else None, came.sha256 if came else "", patient=dicom == "patient")
        folder.mkdir(parents=True, exist_ok=True)
        write_dicom(_shown(traversal, segmenter), folder, source)
    (folder / "frames").mkdir(parents=True, exist_ok=True)
    digits = max(3, len(str(len(traversal.frames) - 1)))
    for i, frame in enumerate(traversal.frames):
        write_png16(frame, folder / "frames" / f"{i:0{digits}d}.png")
    write_png16(traversal.structure, folder / "structure.png")
    write_png16(traversal.lungs, folder / "lungs.png")
    strengths = [f"{float(s):.9g}" for s in traversal.strengths]
    curve = [[s, f"{float(p):.9g}"] for s, p in zip(strengths, traversal.probability, strict=True)]
    _write_csv(folder / CURVE, ["strength", "probability"], curve)
    classes = [[s, *(f"{float(p):.9g}" for p in row)] for s, row in zip(strengths, traversal.class_probability, strict=True)]
    _write_csv(folder / CLASSES, ["strength", *traversal.classes], classes)
    _write_array(folder / "layer.npy", traversal.layer)
    _write_array(folder / "code.npy", traversal.code)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "kind": "traversal",
        "frames": len(traversal.frames),
        "classes": list(traversal.classes),
        "positive": list(traversal.positive),
        "operating_point": traversal.operating_point,
        "crossing": traversal.crossing,
        "name": traversal.name,
        "pathology": traversal.pathology,
        "input": None if math.isnan(traversal.input) else traversal.input,
        "facts": traversal.facts,
        "remarks": list(traversal.remarks),
    }
    write_bytes(folder / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())


def _shown(traversal: Response, segmenter: str) -> Shown:
    """A traversal as `files.dicom_out` takes it."""
    return Shown(
        frames=lambda: map(samples16, traversal.frames),
        count=len(traversal.frames),
        strengths=[float(each) for each in traversal.strengths],
        probability=[float(each) for each in traversal.probability],
        positive=traversal.positive,
        pathology=traversal.pathology,
        layer=traversal.layer[0].detach().float().cpu().numpy(),
        signed=traversal.pathology.startswith("to_"),  # a CycleGAN's
        lungs=(traversal.lungs[0] > 0.5).cpu().numpy(),
        segmenter=segmenter,
        origin=traversal.origin,
    )


def load_response(folder: str | os.PathLike[str]) -> Response:
    """Read a traversal that `save_response` wrote; its frames are read when they are asked for.

    DataError, naming the file, when something is missing or damaged."""
    folder = Path(folder)
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if manifest["kind"] != "traversal" or manifest["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"expected a traversal of schema_version {SCHEMA_VERSION}")
        count, classes = int(manifest["frames"]), tuple(map(str, manifest["classes"]))
        positive, point = tuple(map(str, manifest["positive"])), float(manifest["operating_point"])
        told: dict[str, Any] = {
            "name": str(manifest["name"]),
            "pathology": str(manifest["pathology"]),
            "facts": dict(manifest["facts"]),
        }
        told["input"] = math.nan if manifest["input"] is None else float(manifest["input"])
        told["remarks"] = tuple(map(str, manifest["remarks"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: expected the manifest of a traversal, got: {error}") from error
    frames = sorted((folder / "frames").glob("*.png"))
    if len(frames) != count:
        raise DataError(f"{folder / 'frames'}: expected {count} frames, got {len(frames)}")
    for frame in frames:
        check_image(frame)
    curve = _read_csv(folder / CURVE, ["strength", "probability"], count)
    by_class = _read_csv(folder / CLASSES, ["strength", *classes], count)
    return Response(
        frames=Frames(lambda i: _read_png(frames[i]), count),
        strengths=curve[:, 0],
        probability=curve[:, 1],
        class_probability=by_class[:, 1:],
        layer=_read_array(folder / "layer.npy"),
        structure=_read_png(folder / "structure.png"),
        lungs=_read_png(folder / "lungs.png"),
        code=_read_array(folder / "code.npy"),
        classes=classes,
        positive=positive,
        operating_point=point,
        **told,
    )


def _read_png(path: Path) -> Tensor:
    return torch.from_numpy(read_image(path))[None]


def _write_csv(path: Path, header: list[str], rows: list[list[str]]) -> None:
    write_bytes(path, csv_text([header, *rows]).encode())


def _read_csv(path: Path, header: list[str], count: int) -> Tensor:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            first, *rows = list(csv.reader(file))
        if list(map(plain, first)) != header or len(rows) != count:
            raise ValueError(f"{len(rows)} rows of {','.join(first)}")
        return torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float32).view(count, len(header))
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: expected {count} rows of {','.join(header)}, got: {error}") from error


def _write_array(path: Path, values: Tensor) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values.detach().cpu().float().numpy(), allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def _read_array(path: Path) -> Tensor:
    try:
        return torch.from_numpy(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: expected a float32 array, got: {error}") from error
