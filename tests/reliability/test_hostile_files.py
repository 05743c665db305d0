"""Files that would run code, or ask for all the memory, wherever a command takes weights, a target, a state or data.

No code runs (a marker file stays absent), and the command ends with exit 3 or 4 and one line that names the file.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from gan_explain.cli import main
from gan_explain.cli.exits import DATA, TARGET
from gan_explain.files.checkpoints import CONFIG, WEIGHTS, find_checkpoint
from gan_explain.train.loop import STATE

World = tuple[Path, Path]


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self.marker,)


def torch_file(content: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def numpy_file(evil: Evil, *, several: bool) -> bytes:
    buffer = io.BytesIO()
    array = np.array([evil], dtype=object)
    np.savez(buffer, a=array) if several else np.save(buffer, array)
    return buffer.getvalue()


def exported(evil: Evil) -> bytes:
    """A zip in the shape of a torch.export archive, a pickle in every place."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "model.json", "serialized_state_dict.pt", "version", "code/__init__.py"):
            archive.writestr(f"archive/{name}", pickle.dumps(evil))
    return buffer.getvalue()


def safetensors(header: object, length: int | None = None, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def files(marker: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents."""
    evil = Evil(marker)
    weights = {"fc.weight": torch.zeros(2, 4), "fc.bias": torch.zeros(2)}
    yield "module.pt", torch_file(evil)
    yield "state_dict.pth", torch_file({"state_dict": weights, "epoch": evil})
    yield "lightning.ckpt", torch_file({"state_dict": weights, "hyper_parameters": evil, "callbacks": {"a": evil}})
    yield "legacy.pt", torch_file(evil, legacy=True)
    yield "plain.pkl", pickle.dumps({"weights": evil})
    yield "as.safetensors", pickle.dumps(evil)
    yield "arrays.npz", numpy_file(evil, several=True)
    yield "array.npy", numpy_file(evil, several=False)
    yield "program.pt2", exported(evil)
    yield "program.ts", exported(evil)
    yield "config.yaml", f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{marker}']]".encode()
    yield "long.safetensors", safetensors({}, length=2**63)
    yield "longish.safetensors", safetensors({}, length=90_000_000)
    yield "beyond.safetensors", safetensors({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})
    overlapping = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    yield "overlap.safetensors", safetensors({"a": overlapping, "b": overlapping}, data=bytes(4))
    yield "nested.safetensors", safetensors(b"[" * 100_000)
    yield "empty.pt", b""


NAMES = [name for name, _ in files(Path("marker"))]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A working directory with an image and hostile files, and the marker that none of them may make."""
    monkeypatch.chdir(tmp_path)
    ribs = np.abs(np.arange(128) % 64 - 32).astype(np.uint8) * 7  # up and down twice: a plain shade is no radiograph
    Image.fromarray(np.tile(ribs, (128, 1))).save(tmp_path / "image.png")
    for name, data in files(tmp_path / "marker"):
        (tmp_path / name).write_bytes(data)
    return tmp_path, tmp_path / "marker"


@pytest.fixture
def refused(world: World) -> Callable[..., str]:
    """Run a command that must end with one of the codes; its last line. No marker, and no new file but those named."""
    folder, marker = world

    def call(codes: tuple[int, ...], *args: object) -> str:
        before = set(folder.rglob("*"))
        result = CliRunner().invoke(main, [str(arg) for arg in args])
        line = str(result.stderr.strip().splitlines()[-1])
        assert result.exit_code in codes, result.stderr
        assert line.startswith("error: ")
        assert len(line) < 1000
        assert "a bug" not in line
        assert "Traceback" not in result.stderr
        assert not marker.exists()
        assert set(folder.rglob("*")) == before
        return line

    return call


def test_the_files_are_loaded_guns(world: World) -> None:
    """The marker does appear where such a file is loaded without care."""
    folder, marker = world
    for name in ("module.pt", "lightning.ckpt", "legacy.pt", "plain.pkl"):
        if name.endswith("pkl"):
            pickle.loads((folder / name).read_bytes())  # noqa: S301
        else:
            torch.load(folder / name, weights_only=False)
        assert marker.exists()
        marker.unlink()
    with np.load(folder / "arrays.npz", allow_pickle=True) as arrays:
        assert len(arrays["a"]) == 1
    assert marker.exists()


@pytest.mark.parametrize("name", NAMES)
def test_weights_and_targets(refused: Callable[..., str], name: str) -> None:
    for spec in (f"torchvision:resnet18#{name}", f"onnx:{name}", f"ts:{name}", f"pt2:{name}", f"checkpoint:{name}"):
        assert name in refused((DATA, TARGET), "explain", "image.png", "--target", spec)
    pytest.importorskip("torchxrayvision", reason="needs the extra xrv")
    assert name in refused((DATA, TARGET), "explain", "image.png", "--target", f"xrv:densenet121-res224-all#{name}")


@pytest.mark.parametrize("name", NAMES)
def test_weights_to_start_from_images_and_data(refused: Callable[..., str], name: str) -> None:
    args = ("--data", "phantom:n=20", "--resolution", 64, "--segmenter", "lungs128", "--arch", "resnet18", "--out", "out")
    assert name in refused((DATA, TARGET), "train", "target", *args, "--weights", name)
    assert name in refused((DATA,), "data", name)
    assert name in refused((DATA,), "explain", name)


@pytest.mark.parametrize("name", NAMES)
def test_checkpoint_folders(refused: Callable[..., str], world: World, name: str) -> None:
    """A file in the place of weights, its SHA-256 noted as it should be; and in the place of the configuration."""
    folder, _ = world
    data = (folder / name).read_bytes()
    shutil.copytree(find_checkpoint("lungs128"), folder / "lungs")
    config = json.loads((folder / "lungs" / CONFIG).read_text())
    (folder / "lungs" / WEIGHTS).write_bytes(data)
    (folder / "lungs" / CONFIG).write_text(json.dumps({**config, "sha256": hashlib.sha256(data).hexdigest()}))
    assert WEIGHTS in refused((DATA,), "explain", "image.png", "--segmenter", "lungs")
    (folder / "lungs" / CONFIG).write_bytes(data)
    assert CONFIG in refused((DATA,), "explain", "image.png", "--segmenter", "lungs")
    assert CONFIG in refused((DATA,), "interpolate", "image.png", "--generator", "lungs")


@pytest.mark.parametrize("name", NAMES)
def test_states_to_resume_from(refused: Callable[..., str], world: World, name: str) -> None:
    folder, _ = world
    (folder / "run").mkdir()
    shutil.copy(folder / name, folder / "run" / STATE)
    (folder / "run" / "run.json").write_text('{"program": "gan_explain"}')
    args = ("--data", "phantom:n=20", "--resolution", 32, "--steps", 2, "--set", "batch_size=4", "--out", "run", "--resume")
    assert STATE in refused((DATA,), "train", "segmenter", *args)


@pytest.mark.parametrize("name", NAMES)
def test_shards_of_an_audit(refused: Callable[..., str], world: World, name: str) -> None:
    folder, _ = world
    for shard in ("0", "1"):
        (folder / shard).mkdir()
        shutil.copy(folder / name, folder / shard / "shard.json")
    assert "shard.json" in refused((DATA,), "merge", "0", "1", "--out", "joined")


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize("text", [DEEP, "{}", "[]", "null", '{"schema_version": 1}', '{"a": 1e999}', "9" * 10_000, "\ud800"])
def test_configurations(refused: Callable[..., str], world: World, text: str) -> None:
    """JSON that is deep, empty, of another kind or no JSON, wherever a command reads some."""
    folder, _ = world
    data = text.encode("utf-8", "surrogatepass")
    shutil.copytree(find_checkpoint("lungs128"), folder / "lungs")
    (folder / "lungs" / CONFIG).write_bytes(data)
    assert CONFIG in refused((DATA,), "explain", "image.png", "--segmenter", "lungs")
    (folder / "0").mkdir()
    (folder / "0" / "shard.json").write_bytes(data)
    assert "shard.json" in refused((DATA,), "merge", "0", "--out", "joined")


@pytest.mark.parametrize("text", [DEEP, "[]", "null", '{"size": "large"}', '{"size": 1e999}', '{"code": "import os"}', "\ud800"])
def test_descriptions_beside_weights(refused: Callable[..., str], world: World, text: str) -> None:
    from torchvision.models import resnet18

    folder, _ = world
    torch.save(resnet18(num_classes=2).state_dict(), folder / "sound.pth")
    (folder / "sound.pth.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert "sound.pth.json" in refused((TARGET,), "explain", "image.png", "--target", "torchvision:resnet18#sound.pth")


@pytest.mark.parametrize(
    ("checkpoint", "part", "option", "change"),
    [
        ("lungs128", "segmenter", "--segmenter", {"widths": [1_000_000, 2_000_000]}),
        ("phantom64", "generator", "--generator", {"width": 10_000_000}),
        ("cxr128", "target", "--target", {"channels": 1_000_000_000}),
    ],
)
def test_a_configuration_that_asks_for_all_the_memory(
    refused: Callable[..., str], world: World, checkpoint: str, part: str, option: str, change: dict[str, object]
) -> None:
    """A network that does not fit its weights is found before it is made."""
    folder, _ = world
    shutil.copytree(find_checkpoint(checkpoint), folder / "large")
    config = json.loads((folder / "large" / CONFIG).read_text())
    config["parts"][part]["config"].update(change)
    (folder / "large" / CONFIG).write_text(json.dumps(config))
    value = "checkpoint:large" if option == "--target" else "large"
    assert "large" in refused((DATA,), "interpolate", "image.png", option, value, "--dry-run")
