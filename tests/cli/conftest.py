"""A small world for the commands: checkpoints of untrained networks, a target that is known in full, two images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from gan_explain.cli import main
from gan_explain.files.checkpoints import save_part
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.cyclegan import CycleGan, CycleGanConfig
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.nets.structure import StructureConfig, StructureGenerator
from gan_explain.nets.unet import UNet, UNetConfig
from gan_explain.targets import TargetConfig

SIZE = 64
BRIGHTNESS = '''
import torch
from gan_explain.targets import TargetConfig

CONFIG = TargetConfig(classes=("normal", "pneumonia", "covid"), positive=("covid", "pneumonia"), size=64, channels=1)

class Bright(torch.nn.Module):
    """p(covid or pneumonia) is a sigmoid of the mean brightness: 0.5 at 0.6."""
    def forward(self, x):
        z = 20 * (x.mean((1, 2, 3)) - 0.6)
        return torch.stack([-z, 0 * z - 0.7, 0 * z - 0.7], 1)

class Two(Bright):
    def forward(self, x):
        return super().forward(x)[:, :2]

class Nan(Bright):
    def forward(self, x):
        return super().forward(x) * float("nan")

class Fails(Bright):
    def forward(self, x):
        raise RuntimeError("my own trouble")

class Centred(Bright):
    def forward(self, x):
        return super().forward(x) - super().forward(x).mean(0)

def Brightness():
    return Bright(), CONFIG

def WrongShape():
    return Two(), CONFIG

def NotANumber():
    return Nan(), CONFIG

def Raises():
    return Fails(), CONFIG

def Batchwise():
    return Centred(), CONFIG

def no_network():
    return 42
'''


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` (a generator, a structure generator, a target), `fog`, a CycleGAN that brightens and darkens, and `everywhere`,
    a segmenter that takes the whole image for lungs."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("checkpoints")
    config = GeneratorConfig(resolution=SIZE, grid=32, backbone="small", width=8, layer_width=8, code_dim=8)
    generator = Disentangler(config)
    for head in (generator.reader.head, generator.decoder.head):
        torch.nn.init.constant_(head.bias, 0.2)  # type: ignore[arg-type]
    save_part(root / "tiny", "generator", "disentangler", config.model_dump(mode="json"), generator.state_dict())
    structure = StructureConfig(resolution=SIZE, z_dim=8, width=8, max_width=16, first_width=8, encoder_width=8)
    save_part(root / "tiny", "structure", "structure", structure.model_dump(), StructureGenerator(structure).state_dict())
    target = TargetConfig(arch="small", classes=("normal", "covid"), positive=("covid",), size=SIZE, channels=1)
    network = build(ClassifierConfig(arch="small", classes=2, channels=1))
    save_part(root / "tiny", "target", "target", target.model_dump(mode="json"), network.state_dict())
    translation = CycleGanConfig(resolution=SIZE, width=8, blocks=1)
    cyclegan = CycleGan(translation)
    for network_of, bias in ((cyclegan.adder, 1.5), (cyclegan.remover, -1.5)):
        torch.nn.init.constant_(network_of.head.bias, bias)  # type: ignore[arg-type]
    save_part(root / "fog", "cyclegan", "cyclegan", translation.model_dump(), cyclegan.state_dict())
    lungs = UNetConfig(resolution=32, widths=(4, 8))
    for name, bias in (("everywhere", 1.0), ("nowhere", -1.0)):
        unet = UNet(lungs)
        torch.nn.init.zeros_(unet.head.weight)
        torch.nn.init.constant_(unet.head.bias, bias)  # type: ignore[arg-type]
        save_part(root / name, "segmenter", "segmenter", lungs.model_dump(mode="json"), unet.state_dict())
    return root


@pytest.fixture
def world(tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory from which the checkpoints and the module `brightness` are found."""
    monkeypatch.setenv("GAN_EXPLAIN_CHECKPOINTS", str(checkpoints))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brightness_target.py").write_text(BRIGHTNESS)
    return tmp_path


@pytest.fixture
def invoke(world: Path) -> Callable[..., Result]:
    """Run `gan-explain ARGS` in the small world; interpolate gets the tiny models unless it names others."""

    def call(*args: object) -> Result:
        given = [str(arg) for arg in args]
        if given[0] == "interpolate":
            defaults = {"--generator": "tiny", "--segmenter": "everywhere", "--target": "brightness_target:Brightness"}
            given += [word for pair in defaults.items() if pair[0] not in given for word in pair]
        return CliRunner().invoke(main, given)

    return call


def draw_ramp(path: Path, brightness: float, side: int = 96) -> Path:
    """An 8-bit ramp over the whole range whose mean is `brightness`, up and down twice: dark where lungs are."""
    ramp = np.linspace(0, 1, side) ** (1 / brightness - 1)
    ramp = ramp[np.cos(np.linspace(0, 4 * np.pi, side)).argsort(kind="stable").argsort()]
    Image.fromarray((255 * np.tile(ramp, (side, 1)) + 0.5).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def negative(world: Path) -> Path:
    return draw_ramp(world / "negative.png", 0.4)


@pytest.fixture
def positive(world: Path) -> Path:
    return draw_ramp(world / "positive.jpg", 0.8)


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """draw_ramp(path, brightness, side=96)."""
    return draw_ramp
