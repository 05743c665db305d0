"""Local weight files, made on the spot."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision import models

from gan_explain.targets import load_torchvision_weights, read_weights
from gan_explain.types import CheckpointError, TargetError


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """resnet18 with three classes, as safetensors."""
    path = tmp_path / "resnet18.safetensors"
    safetensors.torch.save_file(models.resnet18(weights=None, num_classes=3).state_dict(), path)
    return path


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "model._orig_mod."])
def test_what_wraps_a_network_leaves_the_names_of_its_tensors(tmp_path: Path, key: str, prefix: str) -> None:
    torch.save({key: {f"{prefix}{name}": torch.ones(2) for name in ("fc.weight", "model.bias")}}, tmp_path / "w.pth")
    assert list(read_weights(tmp_path / "w.pth")) == ["fc.weight", "model.bias"]


def test_safetensors_and_pth_give_the_same_network_and_its_classes(weights: Path, tmp_path: Path) -> None:
    state = safetensors.torch.load_file(weights)
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "r.pth")
    images = torch.rand(1, 3, 32, 32)
    a = load_torchvision_weights("resnet18", weights).eval()(images)
    b = load_torchvision_weights("resnet18", tmp_path / "r.pth").eval()(images)
    assert a.shape == (1, 3)
    assert torch.equal(a, b)


def test_another_number_of_classes_gets_a_fresh_last_layer_that_can_be_trained(weights: Path) -> None:
    network = load_torchvision_weights("resnet18", weights, num_classes=5)
    state = safetensors.torch.load_file(weights)
    assert torch.equal(network.state_dict()["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert network.state_dict()["fc.weight"].shape == (5, 512)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_loading_spends_no_random_numbers(weights: Path) -> None:
    before = torch.get_rng_state()
    load_torchvision_weights("resnet18", weights)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("arch", ["squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_the_last_layer_is_found_whatever_its_name(arch: str, tmp_path: Path) -> None:
    torch.save(models.get_model(arch, weights=None, num_classes=4).state_dict(), tmp_path / "w.pth")
    assert load_torchvision_weights(arch, tmp_path / "w.pth").eval()(torch.rand(1, 3, 64, 64)).shape == (1, 4)


def test_sha256_is_checked_where_it_is_given(weights: Path) -> None:
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert "fc.weight" in read_weights(weights, digest.upper())
    with pytest.raises(CheckpointError, match=f"{weights.name}: expected SHA-256 0000"):
        read_weights(weights, "0" * 64)


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("touched"),))


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(Malice(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth: expected a file of tensors"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kind", ["empty", "half", "text"])
def test_a_damaged_file_is_named(kind: str, suffix: str, weights: Path, tmp_path: Path) -> None:
    torch.save(safetensors.torch.load_file(weights), tmp_path / "whole.pth")
    whole = (weights if suffix == ".safetensors" else tmp_path / "whole.pth").read_bytes()
    path = tmp_path / f"bad{suffix}"
    path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "text": b"these are no weights\n" * 99}[kind])
    with pytest.raises(CheckpointError, match=f"bad{suffix}: expected") as caught:
        load_torchvision_weights("resnet18", path)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such weights file"):
        load_torchvision_weights("resnet18", tmp_path / "none.pth")
    with pytest.raises(TargetError, match="got 'resnet19'"):
        load_torchvision_weights("resnet19", weights)
    with pytest.raises(CheckpointError, match="weights do not fit resnet34"):
        load_torchvision_weights("resnet34", weights)
    with pytest.raises(CheckpointError, match=r"weights of squeezenet1_1 with classifier\.1\.weight"):
        load_torchvision_weights("squeezenet1_1", weights)
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="tensors by name, got list"):
        read_weights(tmp_path / "list.pth")
