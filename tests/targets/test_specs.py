"""Target specs, as a user types them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torchvision import models

from gan_explain.files.checkpoints import save_part
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.unet import UNet, UNetConfig
from gan_explain.targets import ModuleTarget, TargetConfig, probe, resolve_target
from gan_explain.targets.specs import SCHEMES
from gan_explain.types import CheckpointError, TargetError

FACTORIES = """
import torch
from torch import nn
from gan_explain.targets import TargetConfig

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
    def forward(self, x):
        return self.layers(x)

def plain():
    return Net(3)

def single():
    return Net(1)

def described():
    return Net(3), TargetConfig(
        classes=("normal", "flu", "covid"), positive=("flu",), size=32, mean=(0.5,), operating_point=0.25, fit="pad"
    )

def stranger():
    net = Net(3)
    net.classes, net.positive, net.size, net.temperature, net.operating_point = ["x"], "covid", "XL", 0.01, 2
    net.output, net.fit = nn.Linear(1, 1), True
    net.register_buffer("mean", torch.ones(3))
    net.register_buffer("std", torch.zeros(3))
    return net

def pair():
    return Net(3), {"size": 32}

class Own:
    classes, positive, operating_point, uses_lungs, differentiable = ("normal", "covid"), ("covid",), 0.5, False, True
    def logits(self, images, lungs=None):
        mean = images.mean((1, 2, 3))
        return torch.stack([mean, -mean], dim=1)
    def probability(self, images, lungs=None):
        return self.logits(images).softmax(1)[:, 1]

def number():
    return 3

def broken():
    raise OSError("weights.pt not found")
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the working directory."""
    (tmp_path / "my_targets.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_targets", raising=False)
    return "my_targets"


def test_a_factory_s_network_becomes_a_target(factories: str) -> None:
    before = list(sys.path)
    target = resolve_target(f"{factories}:plain", classes=("normal", "pneumonia", "covid"), positive=("covid", "pneumonia"))
    assert isinstance(target, ModuleTarget)
    assert (target.prepare.size, target.prepare.channels) == (224, 3)
    assert target.positive == ("covid", "pneumonia")
    assert sys.path == before
    probe(target)


def test_a_factory_s_single_logit_needs_no_class_names(factories: str) -> None:
    assert resolve_target(f"{factories}:single").classes == ("negative", "covid")
    assert resolve_target(f"{factories}:single", positive=("opacity",)).classes == ("negative", "opacity")


def test_a_factory_s_configuration_is_taken_and_options_win(factories: str) -> None:
    target = resolve_target(f"{factories}:described")
    assert isinstance(target, ModuleTarget)
    assert (target.positive, target.operating_point, target.prepare.size) == (("flu",), 0.25, 32)
    assert (target.config.fit, target.config.mean) == ("pad", (0.5,))
    other = resolve_target(f"{factories}:described", positive=("covid",))
    assert (other.positive, other.operating_point) == (("covid",), 0.5)


def test_a_stranger_s_attributes_are_no_settings(factories: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    target = resolve_target(f"{factories}:stranger", classes=("normal", "flu", "covid"))
    assert isinstance(target, ModuleTarget)
    settings = {"classes": ("normal", "flu", "covid"), "positive": ("covid",), "output": "logits"}
    assert target.config == TargetConfig(**settings)  # type: ignore[arg-type]
    probe(target)
    assert "size 224" in caplog.text  # what is used is said
    assert "fit squeeze" in caplog.text


def test_a_target_of_the_user_s_own_is_taken_as_it_is(factories: str) -> None:
    target = resolve_target(f"{factories}:Own")
    assert not isinstance(target, ModuleTarget)
    probe(target)
    with pytest.raises(TargetError, match="its positive set is covid, not normal"):
        resolve_target(f"{factories}:Own", positive=("normal",))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("number", r"a Target, an nn.Module or \(nn.Module, TargetConfig\), got int"),
        ("pair", r"got \(Net, dict\)"),
        ("broken", "OSError: weights.pt not found"),
        ("absent", "AttributeError.*absent"),
        ("plain", "positive set within the classes"),
    ],
)
def test_a_factory_that_does_not_deliver_is_named(factories: str, name: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        resolve_target(f"{factories}:{name}", positive=("tb",) if name == "plain" else None, classes=("a", "b", "c"))


def test_the_wrong_number_of_logits_is_found_at_once(factories: str) -> None:
    with pytest.raises(TargetError, match="name its 3 outputs in order"):
        resolve_target(f"{factories}:plain")
    with pytest.raises(TargetError, match=r"expected outputs \(4, 2\), one for each of normal, covid, got \(4, 3\)"):
        resolve_target(f"{factories}:plain", classes=("normal", "covid"))


@pytest.mark.parametrize(
    "spec", ["", "resnet50", "checkpoint:", "torchvision:", "onnx:", "http://host/x", "a b:c", "module:", ":f", "xyz:a.onnx"]
)
def test_an_unknown_form_names_the_accepted_ones(spec: str) -> None:
    with pytest.raises(TargetError, match=r"expected a target checkpoint:NAME\[#PART\].*package\.module:factory, got") as error:
        resolve_target(spec)
    assert all(f"{scheme}:" in str(error.value) for scheme in SCHEMES)


def test_a_missing_module_is_named() -> None:
    with pytest.raises(TargetError, match="no_such_module:f: ModuleNotFoundError"):
        resolve_target("no_such_module:f")


@pytest.fixture
def resnet(tmp_path: Path) -> Path:
    path = tmp_path / "r.safetensors"
    safetensors.torch.save_file(models.resnet18(weights=None, num_classes=3).state_dict(), path)
    return path


def test_torchvision_takes_its_classes_from_the_options(resnet: Path) -> None:
    target = resolve_target(f"torchvision:resnet18#{resnet}", classes=("normal", "pneumonia", "covid"))
    assert isinstance(target, ModuleTarget)
    assert target.positive == ("covid",)
    torch.testing.assert_close(target.prepare.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    probe(target)


@pytest.mark.parametrize("place", ["sidecar", "metadata"])
def test_torchvision_takes_its_classes_from_a_description(resnet: Path, place: str) -> None:
    described = json.dumps({"classes": ["a", "b", "c"], "positive": ["b", "c"], "size": 64, "operating_point": 0.4})
    if place == "sidecar":
        Path(f"{resnet}.json").write_text(described)
    else:
        safetensors.torch.save_file(safetensors.torch.load_file(resnet), resnet, metadata={"target": described})
    target = resolve_target(f"torchvision:resnet18#{resnet}")
    assert isinstance(target, ModuleTarget)
    assert (target.classes, target.positive, target.prepare.size) == (("a", "b", "c"), ("b", "c"), 64)
    assert target.operating_point == 0.4
    probe(target)


def test_torchvision_s_mistakes_are_named(resnet: Path) -> None:
    with pytest.raises(TargetError, match="expected torchvision:ARCH#WEIGHTS"):
        resolve_target("torchvision:resnet18")
    with pytest.raises(TargetError, match="name the positive set"):
        resolve_target(f"torchvision:resnet18#{resnet}", classes=("a", "b", "c"))
    with pytest.raises(TargetError, match="nowhere.pth: no such weights file"):
        resolve_target("torchvision:resnet18#nowhere.pth")
    Path(f"{resnet}.json").write_text('{"klasses": []}')
    with pytest.raises(TargetError, match=r"r\.safetensors\.json: .*klasses"):
        resolve_target(f"torchvision:resnet18#{resnet}")
    Path(f"{resnet}.json").write_text("{")
    with pytest.raises(TargetError, match=r"r\.safetensors\.json: expected JSON"):
        resolve_target(f"torchvision:resnet18#{resnet}")


def save_target(directory: Path, part: str = "target", **config: object) -> None:
    network = build(ClassifierConfig(classes=2))
    described = {"arch": "small", "classes": ["normal", "covid"], "positive": ["covid"], "size": 32, "channels": 1, **config}
    save_part(directory, part, "target", described, network.state_dict())


def test_checkpoints_by_name_path_and_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_target(tmp_path / "mine")
    save_target(tmp_path / "mine", part="judge", operating_point=0.2)
    monkeypatch.setenv("GAN_EXPLAIN_CHECKPOINTS", str(tmp_path))
    assert resolve_target("checkpoint:mine").operating_point == 0.5
    assert resolve_target("checkpoint:mine#judge").operating_point == 0.2
    assert resolve_target(f"checkpoint:{tmp_path / 'mine'}#judge").operating_point == 0.2
    with pytest.raises(CheckpointError, match="no part 'other'; it has judge, target"):
        resolve_target("checkpoint:mine#other")
    with pytest.raises(CheckpointError, match="no checkpoint 'yours'"):
        resolve_target("checkpoint:yours")


def test_a_lungs_only_checkpoint_brings_its_segmenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_EXPLAIN_CHECKPOINTS", str(tmp_path))
    save_target(tmp_path / "mine", lungs_only=True, segmenter="lungs")
    with pytest.raises(CheckpointError, match="no checkpoint 'lungs'"):
        resolve_target("checkpoint:mine")
    config = UNetConfig()
    save_part(tmp_path / "lungs", "segmenter", "segmenter", config.model_dump(mode="json"), UNet(config).state_dict())
    target = resolve_target("checkpoint:mine")
    assert target.uses_lungs
    assert bool(torch.isfinite(target.logits(torch.rand(1, 1, 64, 64))).all())
    probe(target)


def test_a_checkpoint_cut_in_half_is_named(tmp_path: Path) -> None:
    save_target(tmp_path / "mine")
    weights = tmp_path / "mine" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: expected SHA-256"):
        resolve_target(f"checkpoint:{tmp_path / 'mine'}")
