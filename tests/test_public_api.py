"""The public face: the block that notebooks call, with small models, and its errors."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

import gan_explain as gx
from gan_explain.files.checkpoints import save_part
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.nets.generator import Disentangler, GeneratorConfig
from gan_explain.targets import TargetConfig
from gan_explain.types import DataError, TargetError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`disease`, a small generator, and `small`, a target; neither is trained."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("checkpoints")
    config = GeneratorConfig(resolution=64, grid=32, backbone="small", width=8, layer_width=8, code_dim=8)
    save_part(root / "disease", "generator", "disentangler", config.model_dump(mode="json"), Disentangler(config).state_dict())
    target = TargetConfig(arch="small", classes=("normal", "covid"), positive=("covid",), size=64, channels=1)
    network = build(ClassifierConfig(arch="small", classes=2, channels=1))
    save_part(root / "small", "target", "target", target.model_dump(mode="json"), network.state_dict())
    return root


@pytest.fixture
def world(tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a.png, which is not square, and the checkpoints."""
    monkeypatch.setenv("GAN_EXPLAIN_CHECKPOINTS", str(checkpoints))
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[-1:1:120j, -1:1:96j]
    lungs = np.exp(-(((np.abs(x) - 0.45) / 0.25) ** 4) - (y / 0.65) ** 4)
    noise = 0.02 * np.random.default_rng(0).random(lungs.shape)
    Image.fromarray((65535 * (0.85 - 0.75 * lungs + noise)).astype(np.uint16)).save(tmp_path / "a.png")
    return tmp_path


def halves(images: Tensor) -> Tensor:
    """Two lungs, as a segmenter finds them."""
    mask = torch.zeros_like(images)
    mask[..., 20:100, 10:40] = mask[..., 20:100, 55:85] = 1
    return mask


class Mine(nn.Module):
    """Somebody's network. What stands in its attributes is no setting."""

    size, positive, mean = 7, ("nobody",), "yes"

    def forward(self, x: Tensor) -> Tensor:
        z = 8 * x.mean((1, 2, 3))
        return torch.stack([-z, z], 1)


def test_the_block_of_the_documentation_runs(world: Path) -> None:
    x = gx.read_radiograph("a.png", segmenter=halves)
    assert x.image.shape == x.lungs.shape == (1, 1, 120, 96)
    assert len(x.sha256) == 64
    assert x.fit["kept"] == [120, 96]
    for t in (
        gx.load_target("checkpoint:small"),
        gx.as_target(Mine(), classes=("normal", "covid"), positive="covid", size=224, mean=MEAN, std=STD, fit="squeeze"),
    ):
        g = gx.load_generator()
        tau = g.read(x.image, x.lungs)
        assert tau.shape == x.image.shape
        assert bool((tau >= 0).all())
        tr = gx.traverse(g, t, x, pathology="prior", seed=0, strengths=33)
        assert (len(tr.probability), len(tr.frames), tr.layer.shape) == (33, 33, (1, 120, 96))
        assert isinstance(tr.plot(), Figure)
        many = gx.traverse(g, t, [x, x], strengths=3)
        assert isinstance(many, list)
        assert len(many) == 2
        cf = gx.counterfactual(g, t, x)
        assert cf.structure.shape == cf.layer.shape == cf.image.shape == (1, 1, 120, 96)
        assert 0 <= cf.before <= 1
        assert 0 <= cf.after <= 1
    tr.save(world / "film")
    assert (world / "film" / "frames" / "032.png").is_file()
    conv = gx.as_target(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)), size=64)
    assert callable(gx.METHODS["grad_cam"])
    assert gx.open_dataset("phantom:n=30", size=32).records
    assert conv.probability(x.image).shape == (1,)


def test_the_shipped_segmenter_is_the_default(world: Path) -> None:
    x = gx.read_radiograph("a.png", force=True)
    assert torch.equal(x.lungs, gx.load_segmenter()(x.image))


def test_heat_of_a_method_made_without_options(world: Path) -> None:
    x = gx.read_radiograph("a.png", segmenter=halves)
    assert gx.METHODS["grad_cam"]().attribute(x.image, gx.load_target("checkpoint:small")).shape == x.image.shape


def test_only_what_is_declared_is_configuration() -> None:
    target = gx.as_target(Mine(), size=32, config=TargetConfig(channels=1, operating_point=0.4))
    assert (target.prepare.size, target.positive, target.operating_point) == (32, ("covid",), 0.4)
    assert target.prepared(torch.rand(2, 1, 40, 60)).shape == (2, 1, 32, 32)  # the whole image, squeezed


def test_what_does_not_fit_together_is_said_in_one_line(world: Path) -> None:
    with pytest.raises(TargetError, match="fit: Input should be 'squeeze', 'pad' or 'crop'"):
        gx.as_target(Mine(), fit="stretch")  # type: ignore[arg-type]
    with pytest.raises(TargetError, match="expected a positive set within the classes"):
        gx.as_target(Mine(), positive="flu")
    with pytest.raises(TargetError, match="expected a target"):
        gx.load_target("nonsense")
    with pytest.raises(DataError, match="no checkpoint 'nothing'"):
        gx.load_generator("nothing")
    x = gx.read_radiograph("a.png", segmenter=halves)
    with pytest.raises(ValueError, match="expected a pathology of"):
        gx.traverse(gx.load_generator(), gx.as_target(Mine()), x, pathology="worst")


@pytest.mark.parametrize(
    "array",
    [np.full((80, 80), np.nan), np.full((80, 80), 2.0), np.full((80, 80), -0.1), np.zeros((3, 80, 80)), np.zeros(80)],
    ids=["nan", "above", "below", "colour", "row"],
)
def test_arrays_that_are_no_radiograph(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        gx.read_radiograph(array, segmenter=halves)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "images",
    [torch.full((1, 1, 80, 80), math.nan), torch.full((1, 1, 80, 80), 1.1), torch.zeros(1, 3, 80, 80), torch.zeros(80, 80)],
)
def test_images_that_a_generator_does_not_read(world: Path, images: Tensor) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        gx.load_generator().read(images, torch.ones(1, 1, 80, 80))
    assert "\n" not in str(caught.value)


@pytest.fixture
def inherited() -> Iterator[None]:
    """What the rest of a notebook may have set."""
    with matplotlib.rc_context({"text.usetex": True, "font.family": "no such font", "axes.labelsize": 40}):
        torch.set_default_dtype(torch.float64)
        yield
        torch.set_default_dtype(torch.float32)


def heard(kind: str | None) -> tuple[Tensor, bytes]:
    """A traversal's probabilities and its picture, everything loaded anew."""
    x = gx.read_radiograph("a.png", segmenter=halves)
    tr = gx.traverse(gx.load_generator(), gx.load_target("checkpoint:small"), x, pathology=kind, strengths=3)
    buffer = io.BytesIO()
    tr.plot(400, 300).savefig(buffer, metadata={"Software": None})
    return tr.probability, buffer.getvalue()


KINDS = [None, "own", "prior", "minimal", "steered"]


def test_inherited_surroundings_change_nothing(world: Path, request: pytest.FixtureRequest) -> None:
    plain = [heard(kind) for kind in KINDS]
    request.getfixturevalue("inherited")
    for (p, picture), (q, other) in zip(plain, map(heard, KINDS), strict=True):
        assert q.dtype == torch.float32
        assert torch.allclose(p, q, atol=1e-6)
        assert picture == other
    assert gx.open_dataset("phantom:n=2", size=32, allow_single_class=True)[0]["image"].dtype == torch.float32


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys, gan_explain as gx; assert 'torch' not in sys.modules; dir(gx); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_package_of_the_same_name_does_not_hide_a_function() -> None:
    """Whichever is imported first."""
    code = (
        "import gan_explain.counterfactual.frames, gan_explain.audit, gan_explain as gx\n"
        "assert all(callable(getattr(gx, name)) for name in gx.__all__ if name != 'METHODS')\n"
        "from gan_explain import counterfactual\nassert counterfactual is gx.counterfactual"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_every_name_is_there_and_no_other() -> None:
    assert set(gx.__all__) == set(gx.PUBLIC) <= set(dir(gx))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = gx.nonsense
