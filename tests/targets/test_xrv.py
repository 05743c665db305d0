"""torchxrayvision's networks with weights made on the spot; nothing is downloaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from gan_explain.targets import ModuleTarget, probe, resolve_target
from gan_explain.targets.heads import MultiLabel, threshold_at_half
from gan_explain.types import TargetError

ALL = "densenet121-res224-all"


@pytest.fixture(scope="module")
def library() -> Any:
    import warnings

    with warnings.catch_warnings():  # it silences warnings for good otherwise
        return pytest.importorskip("torchxrayvision.models", reason="needs the extra xrv")


@pytest.fixture(scope="module")
def densenet(library: Any) -> nn.Module:
    torch.manual_seed(0)
    return library.DenseNet(num_classes=18).eval()


@pytest.fixture
def weights(densenet: nn.Module, tmp_path: Path) -> Path:
    torch.save(densenet.state_dict(), tmp_path / "dense.pt")
    return tmp_path / "dense.pt"


def with_thresholds(library: Any, densenet: nn.Module, thresholds: Sequence[float]) -> nn.Module:
    made = library.DenseNet(num_classes=18, op_threshs=torch.tensor(thresholds)).eval()
    made.load_state_dict({**densenet.state_dict(), "op_threshs": torch.tensor(thresholds)})
    return made


@pytest.mark.parametrize("finding", ["Pneumonia", "Lung Opacity", "Edema"])
def test_p_is_what_the_library_returns_for_its_own_range(library: Any, densenet: nn.Module, weights: Path, finding: str) -> None:
    target = resolve_target(f"xrv:{ALL}#{weights}", positive=(finding,))
    assert (target.classes, target.positive, target.operating_point) == (("negative", finding), (finding,), 0.5)
    images = torch.rand(2, 1, 224, 224)
    whole = with_thresholds(library, densenet, library.model_urls[ALL]["op_threshs"])
    with torch.no_grad():
        theirs = whole(2048 * images - 1024)[:, library.model_urls[ALL]["labels"].index(finding)]
    torch.testing.assert_close(target.probability(images), theirs, atol=1e-5, rtol=1e-4)


def test_it_keeps_the_contract_with_gradients_and_takes_no_random_number(weights: Path) -> None:
    before = torch.get_rng_state()
    target = resolve_target(f"xrv:{ALL}#{weights}")
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(target, ModuleTarget)
    assert (target.positive, target.prepare.size, target.prepare.channels, target.differentiable) == (
        ("Lung Opacity",), 224, 1, True,
    )  # fmt: skip
    probe(target)


def test_a_bare_architecture_gives_its_sigmoid(densenet: nn.Module, weights: Path) -> None:
    target = resolve_target(f"xrv:densenet121#{weights}", positive=("pneumonia",))  # spelled as the data spell it
    images = torch.rand(2, 1, 300, 300)
    assert isinstance(target, ModuleTarget)
    with torch.no_grad():
        z = densenet(target.prepare(images))[:, 8]
    torch.testing.assert_close(target.probability(images), z.sigmoid(), atol=1e-6, rtol=1e-5)
    assert target.positive == ("pneumonia",)


def test_odds_of_several_findings_add_up() -> None:
    net = nn.Flatten()  # (N, 1, 1, 3) -> its pixels are the logits
    head = MultiLabel(net, [2, 0])
    out = head(torch.tensor([[[[1.0, 5.0, -2.0]]]]))
    torch.testing.assert_close(out, torch.tensor([[0.0, -2.0, 1.0]]))
    p = out.softmax(1)[:, 1:].sum()
    odds = torch.tensor([1.0, -2.0]).exp().sum()
    torch.testing.assert_close(p, odds / (1 + odds))


def test_thresholds_become_one_half_and_gradients_stay_finite(library: Any) -> None:
    z = torch.linspace(-60, 60, 241, dtype=torch.float64)[:, None].requires_grad_()
    for t in (0.02, 0.5, 0.9):
        at = torch.tensor([t], dtype=torch.float64)
        moved = threshold_at_half(z, at)
        torch.testing.assert_close(moved.sigmoid(), library.op_norm(z.sigmoid().float(), at.float()).double(), atol=1e-6, rtol=0)
        assert bool((moved.diff(dim=0) > 0).all())
        torch.testing.assert_close(threshold_at_half(torch.logit(at)[None], at), torch.zeros(1, 1, dtype=torch.float64))
        (gradient,) = torch.autograd.grad(moved.sum(), z)
        assert bool((gradient > 0).all())
        assert bool(torch.isfinite(gradient).all())


def test_the_library_s_own_files_are_whole_modules_and_run_no_code(
    library: Any, densenet: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(
        TargetError, match=r"\.torchxrayvision/models_data/nih-pc-chex.*\.pt: no such weights file; nothing is down"
    ):
        resolve_target(f"xrv:{ALL}")
    cached = tmp_path / ".torchxrayvision" / "models_data" / Path(library.model_urls[ALL]["weights_url"]).name
    cached.parent.mkdir(parents=True)
    torch.save(densenet, cached)
    images = torch.rand(1, 1, 64, 64)
    torch.save(densenet.state_dict(), tmp_path / "state.pt")
    same = resolve_target(f"xrv:{ALL}#{tmp_path / 'state.pt'}")
    assert torch.equal(resolve_target(f"xrv:{ALL}").logits(images), same.logits(images))
    torch.save(Trap(tmp_path / "sprung"), cached)
    with pytest.raises(TargetError, match="expected a file of tensors"):
        resolve_target(f"xrv:{ALL}")
    assert not (tmp_path / "sprung").exists()


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return (open, (str(self.path), "w"))


def test_thresholds_that_travel_with_the_weights_win(library: Any, densenet: nn.Module, tmp_path: Path) -> None:
    stored = [0.5] * 18
    stored[8] = float("nan")  # Pneumonia
    torch.save(with_thresholds(library, densenet, stored).state_dict(), tmp_path / "own.pt")
    images = torch.rand(1, 1, 64, 64)
    torch.save(densenet.state_dict(), tmp_path / "dense.pt")
    plain = resolve_target(f"xrv:densenet121#{tmp_path / 'dense.pt'}", positive=("Edema",))
    own = resolve_target(f"xrv:{ALL}#{tmp_path / 'own.pt'}", positive=("Edema",))
    torch.testing.assert_close(own.probability(images), plain.probability(images), atol=1e-6, rtol=1e-5)
    with pytest.raises(TargetError, match="within the findings Atelectasis.*got Pneumonia"):
        resolve_target(f"xrv:{ALL}#{tmp_path / 'own.pt'}", positive=("Pneumonia",))


def test_own_outputs_are_named_beside_the_file(library: Any, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors.pt"
    torch.save(library.DenseNet(num_classes=2).state_dict(), path)
    with pytest.raises(TargetError, match="expected names for 2 outputs"):
        resolve_target(f"xrv:densenet121#{path}")
    Path(f"{path}.json").write_text(json.dumps({"classes": ["edema", "covid"], "positive": ["covid"], "operating_point": 0.2}))
    target = resolve_target(f"xrv:densenet121#{path}")
    assert (target.classes, target.operating_point) == (("negative", "covid"), 0.2)
    Path(f"{path}.json").write_text(json.dumps({"multi_label": False, "classes": ["normal", "covid"]}))
    assert resolve_target(f"xrv:densenet121#{path}").classes == ("normal", "covid")


def test_resnet_takes_512_pixels(library: Any, tmp_path: Path) -> None:
    network = models.resnet50(weights=None, num_classes=18)
    network.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    torch.save(network.state_dict(), tmp_path / "resnet.pt")
    target = resolve_target(f"xrv:resnet50-res512-all#{tmp_path / 'resnet.pt'}")
    assert isinstance(target, ModuleTarget)
    assert (target.prepare.size, target.positive) == (512, ("Lung Opacity",))
    assert bool(torch.isfinite(target.logits(torch.rand(1, 1, 64, 64))).all())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("xrv:alexnet#x.pt", r"a name of torchxrayvision \(all, densenet121-res224-all, nih"),
        ("xrv:densenet121", "xrv:densenet121#WEIGHTS"),
        (f"xrv:{ALL}#nowhere.pt", r"nowhere\.pt: no such weights file"),
    ],
)
def test_mistakes_are_named(library: Any, spec: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        resolve_target(spec)


def test_weights_of_another_network_are_named(library: Any, tmp_path: Path) -> None:
    torch.save({"classifier.weight": torch.zeros(18, 4)}, tmp_path / "x.pt")
    with pytest.raises(TargetError, match=r"x\.pt: weights do not fit densenet121-res224-all"):
        resolve_target(f"xrv:{ALL}#{tmp_path / 'x.pt'}")
    torch.save({"weight": torch.zeros(18, 4)}, tmp_path / "x.pt")
    with pytest.raises(TargetError, match=r"x\.pt: expected weights of .* with classifier\.weight, got weight"):
        resolve_target(f"xrv:{ALL}#{tmp_path / 'x.pt'}")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchxrayvision", None)
    monkeypatch.delitem(sys.modules, "torchxrayvision.models", raising=False)
    with pytest.raises(TargetError, match=r"needs torchxrayvision .*pip install 'gan_explain\[xrv\]'"):
        resolve_target(f"xrv:{ALL}#x.pt")
