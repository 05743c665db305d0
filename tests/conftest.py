"""Tests run offline, on the CPU, seeded, with one thread each; real radiographs are used where they lie beside the repository."""

from __future__ import annotations

import io
import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("MPLBACKEND", "Agg")

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gan_explain.counterfactual import Traversal
from gan_explain.counterfactual.frames import layered
from gan_explain.pixels import quantize16

ROOT = Path(__file__).resolve().parent.parent
CXR = Path(os.environ.get("GAN_EXPLAIN_CXR", ROOT.parent / "shared" / "cxr"))
LOCAL = ("127.0.0.1", "::1", "localhost", "", None, socket.gethostname())


@pytest.fixture(autouse=True, scope="session")
def offline() -> Iterator[None]:
    """No test talks to another machine or asks for its address (torch.distributed may talk to this one)."""

    def refused(host: object) -> None:
        if host not in LOCAL:
            raise OSError(f"tests are offline: {host!r} refused")

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: object) -> Any:
            if isinstance(address, tuple):
                refused(address[0])
            return real(self, address)

        return connect

    def getaddrinfo(host: Any, *more: Any, real: Callable[..., Any] = socket.getaddrinfo, **named: Any) -> Any:
        refused(host.decode() if isinstance(host, bytes) else host)
        return real(host, *more, **named)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries draw from it)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def cxr() -> Path:
    """The folder of real radiographs; a test that asks for it is skipped where there is none."""
    if not (CXR / "manifest.csv").is_file():
        pytest.skip(f"no real radiographs: expected {CXR}/manifest.csv (set GAN_EXPLAIN_CXR)")
    return CXR


WEIGHT = 4.0


@pytest.fixture
def save_onnx(tmp_path: Path) -> Callable[..., Path]:
    """save_onnx(...): a file that gives z = 4 (mean - 0.5) of its input as logits (-z, z), as a softmax, a sigmoid, ...

    `head`: "two", "softmax", "one", "sigmoid", "sigmoids" or "nan"; `shape` of the input; `dtype`: an ONNX element type;
    "sigmoids" has 4 (1 - mean) in place of -z; `describe`: metadata; `batch_mean`: subtracts the mean over the batch (a fault).
    """
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    helper, types = onnx.helper, onnx.TensorProto

    def save(
        head: str = "two",
        shape: tuple[object, ...] = ("n", 1, 16, 16),
        dtype: str = "FLOAT",
        describe: dict[str, object] | None = None,
        *,
        batch_mean: bool = False,
        name: str = "model.onnx",
    ) -> Path:
        kind = getattr(types, dtype)
        columns = 1 if head in ("one", "sigmoid") else 2
        first = WEIGHT if head == "sigmoids" else WEIGHT / 2  # two sigmoids that do not happen to sum to one
        weights = {
            "axes": helper.make_tensor("axes", types.INT64, [3], [1, 2, 3]),
            "w": helper.make_tensor("w", kind, [1, columns], [WEIGHT] if columns == 1 else [-WEIGHT, WEIGHT]),
            "b": helper.make_tensor("b", kind, [columns], [-WEIGHT / 2] if columns == 1 else [first, -WEIGHT / 2]),
            "zero": helper.make_tensor("zero", types.INT64, [1], [0]),
            "shape": helper.make_tensor("shape", types.INT64, [2], [-1, 1]),
        }
        nodes = [
            helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=1),
            helper.make_node("Reshape", ["mean", "shape"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["scaled"]),
            helper.make_node("Add", ["scaled", "b"], ["z"]),
        ]
        last = "z"
        if head == "nan":
            nodes.append(helper.make_node("Sub", ["z", "z"], ["none"]))
            nodes.append(helper.make_node("Div", ["none", "none"], ["out"]))
            last = "out"
        if batch_mean:
            nodes.append(helper.make_node("ReduceMean", [last, "zero"], ["batch"], keepdims=1))
            nodes.append(helper.make_node("Sub", [last, "batch"], ["out"]))
            last = "out"
        if head in ("softmax", "sigmoid", "sigmoids"):
            kind_of = {"softmax": "Softmax"}.get(head, "Sigmoid")
            nodes.append(helper.make_node(kind_of, [last], ["p"]))
            last = "p"
        graph = helper.make_graph(
            nodes,
            "mean",
            [helper.make_tensor_value_info("image", kind, list(shape))],
            [helper.make_tensor_value_info(last, kind, [shape[0], columns])],
            list(weights.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        if describe is not None:
            helper.set_model_props(model, {"target": json.dumps(describe)})
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def save_dicom() -> Callable[..., Path]:
    """save_dicom(path, values, ...): stored values (H, W) or (frames, H, W) of uint8, uint16 or int16 as a DICOM file.

    `syntax`: a name in pydicom.uid, "JPEGBaseline8Bit" for values of 8 bits; `stored`: bits stored; `without`: names of tags left
    out; `preamble`: whether the file starts with one. Further names are tags. The patient's tags hold canaries.
    """
    pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
    uid = pydicom.uid

    def save(
        path: Path,
        values: np.ndarray,
        syntax: str = "ExplicitVRLittleEndian",
        *,
        stored: int = 0,
        without: tuple[str, ...] = (),
        preamble: bool = True,
        **tags: object,
    ) -> Path:
        ds = pydicom.Dataset()
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = uid.DigitalXRayImageStorageForPresentation, "1.2.3.4"
        ds.PatientName, ds.PatientID, ds.PatientBirthDate = "CANARY^NAME", "CANARY-ID", "19011111"
        ds.Modality, ds.ViewPosition, ds.BodyPartExamined = "DX", "PA", "CHEST"
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows, ds.Columns = values.shape[-2:]
        ds.BitsAllocated = values.dtype.itemsize * 8
        ds.BitsStored = stored or ds.BitsAllocated
        ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(values.dtype.kind == "i")
        if values.ndim == 3:
            ds.NumberOfFrames = len(values)
        wide, native = ds.BitsAllocated > 8, getattr(uid, syntax)
        ds.PixelData = values.tobytes()
        ds["PixelData"].VR = "OW" if wide else "OB"
        if syntax == "JPEGBaseline8Bit":
            frames = []
            for frame in values.reshape(-1, *values.shape[-2:]):
                buffer = io.BytesIO()
                Image.fromarray(frame).save(buffer, format="JPEG", quality=95)
                frames.append(buffer.getvalue())
            ds.PixelData = pydicom.encaps.encapsulate(frames)
        elif native.is_compressed:
            ds.compress(native)
        elif syntax == "ExplicitVRBigEndian" and wide:
            ds.PixelData = values.byteswap().tobytes()
        ds.file_meta.TransferSyntaxUID = native
        for name, value in tags.items():
            setattr(ds, name, value)
        for name in without:
            delattr(ds, name)
        ds.save_as(path, enforce_file_format=True)
        if not preamble:
            path.write_bytes(path.read_bytes()[132:])
        return path

    return save


SIDE, TAU = 16, 0.8


@pytest.fixture
def traversal() -> Traversal:
    """Seven frames, 0 to 1.5; p rises in a straight line from 0 to 1 and crosses 0.4 at 0.6; the layer covers the left half."""
    structure = torch.full((1, SIDE, SIDE), 0.25)
    layer = torch.zeros(1, SIDE, SIDE)
    layer[..., : SIDE // 2] = TAU
    strengths = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
    p = strengths / 1.5
    return Traversal(
        frames=layered(quantize16(structure), layer, strengths),
        strengths=strengths,
        probability=p,
        class_probability=torch.stack([1 - p, 0.75 * p, 0.25 * p], 1),
        layer=layer,
        structure=quantize16(structure),
        lungs=(layer > 0).float(),
        code=torch.arange(4.0),
        classes=("normal", "pneumonia", "covid"),
        positive=("covid", "pneumonia"),
        operating_point=0.4,
        name="a patient",
        pathology="prior",
        input=0.0,
        facts={"load": 0.1},
        remarks=("only one lung was found",),
    )
