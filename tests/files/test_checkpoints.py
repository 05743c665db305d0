"""Checkpoints: what goes in comes out, damage is named in one line, and a failing write leaves the old one."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gan_explain.files import checkpoints
from gan_explain.files.checkpoints import CONFIG, WEIGHTS, find_checkpoint, load_part, read_config, save_part
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.load import load_generator, load_structure
from gan_explain.nets.structure import StructureConfig, StructureGenerator
from gan_explain.types import CheckpointError

SMALL = GeneratorConfig(resolution=32, grid=16, backbone="small", width=8, layer_width=8, code_dim=4)


def tensors() -> dict[str, Tensor]:
    return {"layer.weight": torch.randn(3, 4).T, "steps": torch.tensor(7), "empty": torch.zeros(0)}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint with the parts `a` and `b`."""
    for part in ("a", "b"):
        save_part(tmp_path / "mine", part, f"kind-{part}", {"size": 3, "names": ["x", "y"]}, tensors())
    return tmp_path / "mine"


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


# -- round trips --------------------------------------------------------------------------------------------------------------


def test_a_part_comes_back_as_it_was(tmp_path: Path) -> None:
    state = tensors()
    save_part(tmp_path / "mine", "target", "target", {"size": 3, "mean": [0.5]}, state)
    part = load_part(tmp_path / "mine", "target")
    assert (part.kind, part.config, part.checkpoint) == ("target", {"size": 3, "mean": [0.5]}, "mine")
    assert part.state.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(part.state[key], value)
        assert part.state[key].dtype == value.dtype
    assert names(tmp_path / "mine") == {WEIGHTS, CONFIG}


def test_half_halves_the_file_and_comes_back_as_float(tmp_path: Path) -> None:
    state = {"weight": torch.randn(64, 64), "count": torch.tensor(3)}
    for name, half in (("full", False), ("half", True)):
        save_part(tmp_path / name, "p", "k", {}, state, half=half)
    back = load_part(tmp_path / "half", "p").state
    assert back["weight"].dtype == torch.float32
    assert torch.equal(back["weight"], state["weight"].half().float())
    assert torch.equal(back["count"], state["count"])
    assert (tmp_path / "half" / WEIGHTS).stat().st_size < 0.6 * (tmp_path / "full" / WEIGHTS).stat().st_size


def test_what_16_bits_cannot_hold_keeps_32(tmp_path: Path) -> None:
    state = {"large": torch.tensor([1e5, 1.0]), "small": torch.tensor([0.1, 1.0]), "open": torch.tensor([torch.inf, 1.0])}
    save_part(tmp_path / "c", "p", "k", {}, state, half=True)
    back = load_part(tmp_path / "c", "p").state
    assert torch.equal(back["large"], state["large"])
    assert torch.equal(back["small"], state["small"].half().float())
    assert torch.equal(back["open"], state["open"])


def test_saving_a_part_keeps_the_others_and_replaces_its_own(saved: Path) -> None:
    before = load_part(saved, "b")
    save_part(saved, "a", "new", {"size": 4}, {"other": torch.ones(2)})
    part = load_part(saved, "a")
    assert (part.kind, dict(part.config), list(part.state)) == ("new", {"size": 4}, ["other"])
    after = load_part(saved, "b")
    assert (after.kind, after.config) == (before.kind, before.config)
    assert all(torch.equal(after.state[key], value) for key, value in before.state.items())


def test_a_generator_comes_back_frozen_and_the_same(tmp_path: Path) -> None:
    network = Disentangler(SMALL).eval()
    save_part(tmp_path / "g", "generator", "disentangler", SMALL.model_dump(mode="json"), network.state_dict())
    back = load_generator(tmp_path / "g")
    images, lungs, codes = torch.rand(2, 1, 32, 32), torch.ones(2, 1, 32, 32), torch.randn(2, 4)
    assert torch.equal(back.read(images, lungs), network.read(images, lungs))
    assert torch.equal(back.layer(codes, lungs), network.layer(codes, lungs))
    assert back.config == SMALL
    assert not back.training
    assert not any(parameter.requires_grad for parameter in back.parameters())


def test_the_generator_that_serves_every_target_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_part(tmp_path / "disease", "generator", "disentangler", SMALL.model_dump(mode="json"), Disentangler(SMALL).state_dict())
    monkeypatch.setenv("GAN_EXPLAIN_CHECKPOINTS", str(tmp_path))
    monkeypatch.chdir(tmp_path.parent)
    assert load_generator().config == SMALL


def test_a_structure_generator_comes_back(tmp_path: Path) -> None:
    config = StructureConfig(resolution=32, z_dim=4, width=8, max_width=16, first_width=8, encoder_width=8)
    network = StructureGenerator(config).eval()
    save_part(tmp_path / "g", "structure", "structure", config.model_dump(mode="json"), network.state_dict())
    z = torch.randn(2, 4)
    assert torch.equal(load_structure(tmp_path / "g")(z), network(z))


# -- finding ------------------------------------------------------------------------------------------------------------------


def test_names_are_found_in_the_folder_that_the_environment_names(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(CheckpointError, match="no checkpoint 'mine'"):
        find_checkpoint("mine")
    monkeypatch.setenv("GAN_EXPLAIN_CHECKPOINTS", str(tmp_path))
    assert find_checkpoint("mine") == saved
    assert load_part("mine", "a").checkpoint == "mine"


def test_what_is_not_there_is_named_with_the_places_looked_at(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        load_part(tmp_path / "nowhere", "a")
    assert str(tmp_path / "nowhere") in one_line(error.value)


def test_a_missing_part_is_named_with_those_there_are(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="no part 'free'; it has a, b") as error:
        load_part(saved, "free")
    assert str(saved) in one_line(error.value)


# -- damage -------------------------------------------------------------------------------------------------------------------


def change(name: str, how: Callable[[bytes], bytes]) -> Callable[[Path], str]:
    def apply(folder: Path) -> str:
        path = folder / name
        path.write_bytes(how(path.read_bytes()))
        return str(path)

    return apply


def rewrite(how: Callable[[dict[str, Any]], object]) -> Callable[[Path], str]:
    """Change config.json as JSON: `how` changes it in place or returns another."""

    def replaced(data: bytes) -> bytes:
        config = json.loads(data)
        other = how(config)
        return json.dumps(config if other is None else other).encode()

    return change(CONFIG, replaced)


def remove(folder: Path) -> str:
    (folder / WEIGHTS).unlink()
    return str(folder / WEIGHTS)


def unsafe(folder: Path) -> str:
    """Weights that are no safetensors, with the right checksum."""
    data = b"\x80\x04pickle" * 9
    rewrite(lambda config: config.update(sha256=checkpoints.hashlib.sha256(data).hexdigest()))(folder)
    return change(WEIGHTS, lambda _: data)(folder)


DAMAGE = {
    "weights cut": change(WEIGHTS, lambda data: data[:-10]),
    "one bit changed": change(WEIGHTS, lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "weights empty": change(WEIGHTS, lambda _: b""),
    "weights gone": remove,
    "weights of another format": unsafe,
    "configuration cut": change(CONFIG, lambda data: data[: len(data) // 2]),
    "configuration of bytes": change(CONFIG, lambda _: b"\xff\xfe\x00"),
    "a list": rewrite(lambda _: []),
    "no checksum": rewrite(lambda config: config.pop("sha256") and None),
    "no schema": rewrite(lambda config: config.pop("schema_version") and None),
    "newer schema": rewrite(lambda config: config.update(schema_version=2)),
    "parts a list": rewrite(lambda config: config.update(parts=["a"])),
    "a part of text": rewrite(lambda config: config["parts"].update(a="target")),
    "a part without kind": rewrite(lambda config: config["parts"]["a"].pop("kind") and None),
    "a part without configuration": rewrite(lambda config: config["parts"]["a"].update(config=None)),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_damage_is_one_line_that_names_the_file(saved: Path, damage: Callable[[Path], str]) -> None:
    path = damage(saved)
    with pytest.raises(CheckpointError) as error:
        load_part(saved, "a")
    assert one_line(error.value).startswith(f"{path}: expected ")
    before = {name: (saved / name).read_bytes() for name in names(saved)}
    with pytest.raises(CheckpointError):  # nor is a part added to what is damaged
        save_part(saved, "c", "k", {}, tensors())
    assert {name: (saved / name).read_bytes() for name in names(saved)} == before


def test_newer_schema_says_so(saved: Path) -> None:
    DAMAGE["newer schema"](saved)
    with pytest.raises(CheckpointError, match="schema_version 2, this version reads 1"):
        read_config(saved)


def test_a_part_of_another_kind(saved: Path) -> None:
    save_part(saved, "generator", "target", {}, {})
    with pytest.raises(CheckpointError, match="part 'generator' to be of kind 'disentangler', got 'target'") as error:
        load_generator(saved)
    assert str(saved) in one_line(error.value)


@pytest.mark.parametrize("config", [{"colour": "blue"}, {"resolution": "large"}, {"resolution": 100}])
def test_a_configuration_that_nothing_can_be_built_from(saved: Path, config: dict[str, object]) -> None:
    save_part(saved, "generator", "disentangler", config, {})
    with pytest.raises(CheckpointError, match="part 'generator': unusable configuration") as error:
        load_generator(saved)
    assert str(saved) in one_line(error.value)


def test_weights_of_another_configuration(saved: Path) -> None:
    save_part(saved, "generator", "disentangler", {**SMALL.model_dump(), "width": 16}, Disentangler(SMALL).state_dict())
    with pytest.raises(CheckpointError, match="checkpoint mine: weights do not fit the configuration") as error:
        load_generator(saved)
    one_line(error.value)


# -- atomic writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails_at", [1, 2])
def test_full_disk_leaves_the_old_checkpoint_and_nothing_else(
    saved: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    before = {name: (saved / name).read_bytes() for name in names(saved)}
    write, calls = checkpoints.write_bytes, []

    def full(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data)

    monkeypatch.setattr(checkpoints, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save_part(saved, "a", "new", {}, {"weight": torch.zeros(5)})
    assert {name: (saved / name).read_bytes() for name in names(saved)} == before
    assert load_part(saved, "a").kind == "kind-a"


def test_what_cannot_be_written_as_json_changes_nothing(saved: Path) -> None:
    with pytest.raises(TypeError):
        save_part(saved, "a", "new", {"path": Path("x")}, tensors())
    assert load_part(saved, "a").kind == "kind-a"
    assert names(saved) == {WEIGHTS, CONFIG}


def test_a_part_says_how_it_was_made_and_keeps_it(tmp_path: Path) -> None:
    origin = {"target": "onnx:a.onnx", "made": {"checkpoint": "x", "sha256": "0"}}
    save_part(tmp_path, "a", "veil", {}, {"x": torch.zeros(1)}, origin=origin)
    save_part(tmp_path, "b", "veil", {}, {"x": torch.zeros(1)})
    assert (load_part(tmp_path, "a").origin, load_part(tmp_path, "b").origin) == (origin, {})
    assert "origin" not in read_config(tmp_path)["parts"]["b"]
