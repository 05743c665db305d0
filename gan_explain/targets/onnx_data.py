"""The files that an ONNX model reads beside its own, found in its bytes before anything opens it.

A tensor may lie outside the model (`TensorProto.external_data`, https://onnx.ai/onnx/repo-docs/ExternalData.html): a location
relative to the model's folder. A model of a stranger may name any file of this machine there. Here the few fields that lead to
such tensors are walked by the rules of protobuf's wire format (https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from gan_explain.types import TargetError

# Message -> its fields that are messages which lead on to a tensor (numbers of onnx.proto3).
LEADS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
DEEPEST = 64  # graphs within graphs
ORT_FORMAT = b"ORTM"  # of onnxruntime's own files, which are no ONNX


def external_files(path: Path) -> list[Path]:
    """The files that the model at `path` takes tensors from, sorted; empty for one that holds all of its own.

    Raises TargetError, naming the model, for what is no ONNX file, and for a location that is absolute, leads out of the model's
    folder (by `..` or a symbolic link), or is no file.
    """
    data = memoryview(path.read_bytes())
    try:
        if bytes(data[4:8]) == ORT_FORMAT:
            raise ValueError("onnxruntime's own format")
        locations = sorted(set(_locations(data, "model", 0)))
    except (ValueError, IndexError) as error:
        raise TargetError(f"{path}: expected an ONNX model, got: {error}") from error
    folder = path.parent.resolve()
    found = []
    for location in locations:
        file, shown = path.parent / location, repr(location[:200])
        try:
            beside = not Path(location).is_absolute() and ".." not in Path(location).parts
            beside, there = beside and file.resolve().is_relative_to(folder), file.is_file()
        except (OSError, ValueError):  # a name that no file can have
            beside = there = False
        if not beside:
            raise TargetError(f"{path}: expected external data within the model's folder, got {shown}: refused")
        if not there:
            raise TargetError(f"{path}: expected external data in {shown}, found no such file")
        found.append(file)
    return found


def digest(path: Path, external: list[Path]) -> str:
    """SHA-256 of a model; of one with external files, over its own digest and theirs, each with its name."""
    with path.open("rb") as file:
        own = hashlib.file_digest(file, "sha256").hexdigest()
    if not external:
        return own
    total = hashlib.sha256(own.encode())
    for each in external:
        with each.open("rb") as file:
            total.update(f"{each.relative_to(path.parent)}\0{hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return total.hexdigest()


def _locations(data: memoryview, message: str, depth: int) -> Iterator[str]:
    """Every location that a message names; one named twice counts twice, so that no parser reads another than is seen here."""
    if depth > DEEPEST:
        raise ValueError("graphs nested too deep")
    for field, value in _fields(data):
        kind = LEADS[message].get(field)
        if kind is None or not isinstance(value, memoryview):
            continue
        if kind != "entry":
            yield from _locations(value, kind, depth + 1)
            continue
        entry = [(number, bytes(text)) for number, text in _fields(value) if isinstance(text, memoryview)]
        if (1, b"location") in entry:
            yield from (text.decode() for number, text in entry if number == 2)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Numbers and values of a message's fields: bytes where they have a length, else a number."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        field, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield field, value
            continue
        if wire not in (1, 2, 5):
            raise ValueError(f"unknown wire type {wire}")
        length, at = _varint(data, at) if wire == 2 else (8 if wire == 1 else 4, at)
        if at + length > len(data):
            raise ValueError("cut off")
        yield field, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value, at = value | (byte & 127) << shift, at + 1
        if byte < 128:
            return value, at
    raise ValueError("number too long")
