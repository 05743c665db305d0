"""TorchScript and torch.export archives: loaded only where the user trusts their code, then asked like any other network."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from gan_explain.targets import ModuleTarget, TargetConfig, probe, resolve_target, weights_digest
from gan_explain.types import TargetError

Save = Callable[..., Path]
TWO = ("normal", "covid")


class Net(nn.Module):
    """A small CNN; `fault`: what it does wrong."""

    def __init__(self, fault: str = "", channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.fault = fault
        self.layers = nn.Sequential(nn.Conv2d(channels, 4, 5, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = 5 * self.head(self.layers(x).flatten(1))
        if self.fault == "softmax":
            out = out.softmax(1)
        if self.fault == "nan":
            out = out * float("nan")
        if self.fault == "batch":
            out = out - out.mean(0)
        if self.fault == "half":
            out = out.half()
        if self.fault == "detached":
            out = out.detach()
        return out


def script(path: Path, network: nn.Module, example: torch.Tensor, about: dict[str, object] | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, example)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, path, _extra_files={"target.json": json.dumps(about)} if about else None)  # type: ignore[no-untyped-call]


def export(path: Path, network: nn.Module, example: torch.Tensor, about: dict[str, object] | None, batch: bool = True) -> None:
    dynamic = ({0: torch.export.Dim("n")},) if batch else None
    program = torch.export.export(network, (example,), dynamic_shapes=dynamic)
    torch.export.save(program, path, extra_files={"target.json": json.dumps(about)} if about else None)


SAVERS = {"ts": script, "pt2": export}
KINDS = pytest.mark.parametrize("kind", list(SAVERS))


def save(kind: str, folder: Path, network: nn.Module, about: dict[str, object] | None = None, channels: int = 1) -> str:
    path = folder / f"net.{kind}"
    SAVERS[kind](path, network.eval(), torch.rand(2, channels, 32, 32), about)
    return f"{kind}:{path}"


@KINDS
def test_an_archive_is_not_opened_without_trust(kind: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"not looked at")
    with pytest.raises(TargetError, match=r"x: a .* file runs code of its own when it is loaded: --trust-code"):
        resolve_target(f"{kind}:{tmp_path / 'x'}")


@KINDS
@pytest.mark.parametrize("channels", [1, 3])
def test_an_archive_answers_as_its_network(kind: str, channels: int, tmp_path: Path) -> None:
    network = Net(channels=channels)
    spec = save(kind, tmp_path, network, {"classes": TWO, "size": 32, "mean": [0.5], "std": [0.25]}, channels)
    target = resolve_target(spec, trust_code=True)
    own = ModuleTarget(
        network, TargetConfig(classes=TWO, positive=("covid",), size=32, channels=channels, mean=(0.5,), std=(0.25,))
    )
    assert isinstance(target, ModuleTarget)
    assert (target.prepare.size, target.prepare.channels, target.differentiable) == (32, channels, True)
    images = torch.rand(5, 1, 48, 48)
    torch.testing.assert_close(target.logits(images), own.logits(images), atol=1e-5, rtol=1e-5)
    target.train()
    probe(target)


@KINDS
def test_a_softmax_is_told_and_single_outputs_need_no_names(kind: str, tmp_path: Path) -> None:
    Path(f"{tmp_path / 'net'}.{kind}.json").write_text('{"size": 32}')
    network = Net("softmax")
    target = resolve_target(save(kind, tmp_path, network), classes=TWO, trust_code=True)
    images = torch.rand(3, 1, 32, 32)
    torch.testing.assert_close(target.probability(images), network(images)[:, 1], atol=1e-6, rtol=1e-5)
    single = resolve_target(save(kind, tmp_path, Net(classes=1)), positive=("pneumonia",), trust_code=True)
    assert single.classes == ("negative", "pneumonia")


@KINDS
@pytest.mark.parametrize(
    ("fault", "message"), [("nan", "finite logits"), ("batch", "independent of the batch")], ids=lambda value: value.split()[0]
)
def test_the_probe_finds_what_is_wrong(kind: str, fault: str, message: str, tmp_path: Path) -> None:
    Path(f"{tmp_path / 'net'}.{kind}.json").write_text('{"size": 32}')
    target = resolve_target(save(kind, tmp_path, Net(fault)), classes=TWO, trust_code=True)
    with pytest.raises(TargetError, match=message):
        probe(target)


@KINDS
def test_half_precision_out_and_no_gradients(kind: str, tmp_path: Path) -> None:
    Path(f"{tmp_path / 'net'}.{kind}.json").write_text('{"size": 32}')
    half = resolve_target(save(kind, tmp_path, Net("half")), classes=TWO, trust_code=True)
    assert half.logits(torch.rand(2, 1, 32, 32)).dtype == torch.float32
    detached = resolve_target(save(kind, tmp_path, Net("detached")), classes=TWO, trust_code=True)
    assert not detached.differentiable
    probe(detached)


def test_a_batch_that_was_fixed_at_export(tmp_path: Path) -> None:
    network = Net().eval()
    export(tmp_path / "two.pt2", network, torch.rand(2, 1, 32, 32), None, batch=False)
    target = resolve_target(f"pt2:{tmp_path / 'two.pt2'}", classes=TWO, trust_code=True)
    images = torch.rand(5, 1, 32, 32)
    torch.testing.assert_close(target.logits(images), network(images), atol=1e-5, rtol=1e-5)
    probe(target)


@KINDS
def test_files_that_are_no_archives_are_named(kind: str, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="nowhere: no such file"):
        resolve_target(f"{kind}:nowhere", trust_code=True)
    for content in (b"", b"hello"):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(TargetError, match="bad: expected a "):
            resolve_target(f"{kind}:{tmp_path / 'bad'}", trust_code=True)


def test_a_program_of_other_inputs_is_named(tmp_path: Path) -> None:
    program = torch.export.export(nn.Linear(4, 2), (torch.rand(2, 4),))
    torch.export.save(program, tmp_path / "linear.pt2")
    with pytest.raises(TargetError, match=r"linear\.pt2: expected one input of square images .*, got \(2, 4\)"):
        resolve_target(f"pt2:{tmp_path / 'linear.pt2'}", classes=TWO, trust_code=True)


def test_a_digest_knows_the_weights_again(tmp_path: Path, save_onnx: Save) -> None:
    network = Net()
    about: dict[str, object] = {"classes": TWO, "size": 32}
    first = resolve_target(save("ts", tmp_path, network, about), trust_code=True)
    second = ModuleTarget(network, TargetConfig(classes=TWO, positive=("normal",), size=64, channels=1))
    assert weights_digest(first) == weights_digest(second) is not None
    other = Net().eval()
    assert weights_digest(ModuleTarget(other, TargetConfig(positive=("covid",), size=64, channels=1))) != weights_digest(first)
    onnx = weights_digest(resolve_target(f"onnx:{save_onnx()}", classes=TWO))
    assert onnx == weights_digest(resolve_target(f"onnx:{save_onnx(name='copy.onnx')}", classes=TWO)) is not None
    assert weights_digest(object()) is None  # type: ignore[arg-type]
