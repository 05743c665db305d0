"""What an ONNX model reads beside its own file: hashed with it, and refused where it is not beside it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_explain.targets import resolve_target, weights_digest
from gan_explain.targets.onnx_data import external_files
from gan_explain.types import TargetError

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
Save = Callable[..., Path]
TWO = ("normal", "covid")


def apart(model: Path, data: str = "model.data", location: str | None = None) -> Path:
    """The model with its weights in a file of their own; with `location`, what it says of where that is."""
    proto, helper = onnx.load(model), onnx.numpy_helper
    for tensor in proto.graph.initializer:
        if tensor.name in ("w", "b"):  # what is written as raw bytes is moved
            tensor.CopyFrom(helper.from_array(helper.to_array(tensor), tensor.name))
    onnx.save(proto, model, save_as_external_data=True, location=data, size_threshold=0)
    if location is not None:
        proto = onnx.load(model, load_external_data=False)
        for tensor in proto.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        model.write_bytes(proto.SerializeToString())
    return model


def test_a_model_with_external_weights_is_read_and_its_data_hashed_too(save_onnx: Save, tmp_path: Path) -> None:
    whole = resolve_target(f"onnx:{save_onnx()}", classes=TWO)
    model = apart(save_onnx(name="apart.onnx"))
    assert external_files(model) == [tmp_path / "model.data"]
    target = resolve_target(f"onnx:{model}", classes=TWO)
    images = torch.rand(2, 1, 16, 16)
    assert torch.equal(target.logits(images), whole.logits(images))
    before = weights_digest(target)
    data = bytearray((tmp_path / "model.data").read_bytes())
    data[-2] ^= 1  # one bit of one weight; the model file stays as it is
    (tmp_path / "model.data").write_bytes(data)
    assert weights_digest(resolve_target(f"onnx:{model}", classes=TWO)) != before


HOSTILE = ["/etc/passwd", "../secret", "a/../../secret", "link", "folder/secret", "*/_ORT_MEM_ADDR_/*", "", "\0", "a" * 5000]


@pytest.mark.parametrize("location", HOSTILE)
def test_a_location_beyond_the_folder_is_refused_before_it_is_opened(save_onnx: Save, tmp_path: Path, location: str) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}-secret"
    secret.mkdir()
    (secret / "secret").write_bytes(bytes(4096))
    (tmp_path / "link").symlink_to(secret / "secret")
    (tmp_path / "folder").symlink_to(secret)
    model = apart(save_onnx(), location=location)
    with pytest.raises(TargetError, match="expected external data") as caught:
        resolve_target(f"onnx:{model}", classes=TWO)
    assert "\n" not in str(caught.value)
    assert str(model) in str(caught.value)


def test_a_location_is_found_wherever_a_tensor_may_lie(save_onnx: Save) -> None:
    """In a constant, a graph within a node, a sparse tensor, a function; also where the entry is written in another order."""
    helper = onnx.helper
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="elsewhere")
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    inner = helper.make_graph([constant], "inner", [], [])
    sparse = onnx.SparseTensorProto(values=tensor)
    empty = onnx.GraphProto(name="g")
    models = [
        onnx.ModelProto(graph=onnx.GraphProto(node=[constant])),
        onnx.ModelProto(graph=onnx.GraphProto(node=[helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)])),
        onnx.ModelProto(graph=onnx.GraphProto(sparse_initializer=[sparse])),
        onnx.ModelProto(graph=empty, functions=[onnx.FunctionProto(node=[constant])]),
        onnx.ModelProto(graph=empty, training_info=[onnx.TrainingInfoProto(algorithm=onnx.GraphProto(initializer=[tensor]))]),
    ]
    path = save_onnx()
    raw = [model.SerializeToString() for model in models]
    swapped = raw[0].replace(b"\x0a\x08location\x12\x09elsewhere", b"\x12\x09elsewhere\x0a\x08location")
    assert swapped != raw[0]
    for each in (*raw, swapped):
        path.write_bytes(each)
        with pytest.raises(TargetError, match="'elsewhere', found no such file"):
            external_files(path)


def test_no_bytes_make_the_reader_stumble(save_onnx: Save) -> None:
    path = save_onnx()
    whole = path.read_bytes()
    assert external_files(path) == []
    draw = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole[: draw.randrange(1, len(whole))])
        for _ in range(3):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(TargetError):  # and nothing else
            external_files(path)
    path.write_bytes(b"\x00\x00\x00\x00ORTM" + whole)
    with pytest.raises(TargetError, match="onnxruntime's own format"):
        external_files(path)
