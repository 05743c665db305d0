"""A CNN in whatever file it comes, through the command line: explained, measured, refused with one line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from torch import nn

from gan_explain.cli.exits import OK, TARGET
from gan_explain.cli.models import named_judges
from gan_explain.files.checkpoints import save_part
from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.targets import TargetConfig

Invoke = Callable[..., Result]
Save = Callable[..., Path]
CLASSES = ("--classes", "normal,covid")
MODELS = ("--generator", "tiny", "--segmenter", "everywhere")


class Brightness(nn.Module):
    """p = 0.5 at a mean brightness of 0.6, by a convolution, so that it can be traced and exported."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Conv2d(1, 2, 1)
        with torch.no_grad():
            self.layers.weight[:] = torch.tensor([-20.0, 20.0]).view(2, 1, 1, 1)
            assert self.layers.bias is not None
            self.layers.bias[:] = torch.tensor([12.0, -12.0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).mean((2, 3))  # type: ignore[no-any-return]


@pytest.fixture
def archives(world: Path) -> Path:
    """net.ts and net.pt2, described by the archive itself."""
    network, example, about = (
        Brightness().eval(),
        torch.rand(2, 1, 64, 64),
        json.dumps({"size": 64, "classes": ["normal", "covid"]}),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, example), world / "net.ts", _extra_files={"target.json": about})  # type: ignore[no-untyped-call]
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, world / "net.pt2", extra_files={"target.json": about})
    return world


def test_an_onnx_file_is_explained(invoke: Invoke, world: Path, save_onnx: Save, negative: Path) -> None:
    result = invoke(
        "interpolate", negative, "--target", f"onnx:{save_onnx()}", *CLASSES, "--strengths", 5, "--out", "o", "--json"
    )
    assert result.exit_code == OK, result.stderr
    assert json.loads(result.stdout)["patients"][0]["probability_last"] > 0
    target = json.loads((world / "o" / "run.json").read_text())["target"]
    assert (target["classes"], len(target["sha256"])) == (["normal", "covid"], 64)


def test_an_onnx_file_is_measured_without_gradients(invoke: Invoke, save_onnx: Save) -> None:
    args = ("--target", f"onnx:{save_onnx('sigmoid')}", "--data", "phantom:n=60")
    result = invoke("evaluate", *MODELS, *args, "--limit", 4, "--judges", "checkpoint:tiny#target", "--json")
    assert result.exit_code == OK, result.stderr
    measures = json.loads(result.stdout)["measures"]
    assert any(measure.get("n", 0) > 0 for measure in measures.values())
    assert measures.get("null.shuffled.flip", {"value": None})["value"] is None  # its weights are out of reach
    result = invoke(
        "evaluate", "--measures", "classifier", *args, "--segmenter", "everywhere", "--resolution", 64, "--out", "r", "--json"
    )
    assert result.exit_code == OK, result.stderr
    assert json.loads(result.stdout)["measures"]["auroc"]["n"] > 0


@pytest.mark.parametrize("kind", ["ts", "pt2"])
def test_an_archive_needs_trust_everywhere(invoke: Invoke, archives: Path, negative: Path, kind: str) -> None:
    spec, data = f"{kind}:net.{kind}", ("--data", "phantom:n=40")
    commands: list[tuple[object, ...]] = [
        ("interpolate", negative, "--target", spec),
        ("evaluate", *MODELS, *data, "--target", spec, "--limit", 4),
        ("evaluate", *MODELS, *data, "--judges", spec, "--limit", 4),
        ("evaluate", "--measures", "classifier", *data, "--segmenter", "everywhere", "--target", spec),
        ("train", "free", *data, "--segmenter", "everywhere", "--target", spec, "--resolution", 64, "--set", "network.width=8"),
    ]
    for command in commands:
        refused = invoke(*command, "--dry-run")
        assert refused.exit_code == TARGET, command
        assert refused.stderr.startswith(f"error: net.{kind}: a ")
        assert refused.stderr.count("\n") == 1
        assert "--trust-code" in refused.stderr
        allowed = invoke(*command, "--dry-run", "--trust-code")
        assert allowed.exit_code == OK, (command, allowed.stderr)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("onnx:nan.onnx", "finite logits"),
        ("onnx:batch.onnx", "independent of the batch"),
        ("onnx:wide.onnx", "square images"),
        ("onnx:text.onnx", "text.onnx: expected an ONNX model"),
        ("onnx:nowhere.onnx", "nowhere.onnx: no such file"),
        ("onnx:", "expected a target checkpoint:"),
        ("ts:text.onnx", "--trust-code"),
        ("xrv:alexnet", "torchxrayvision"),
        ("xrv:densenet121-res224-all#nowhere.pt", "nowhere.pt: no such weights file"),
        ("torchvision:resnet18#nowhere.pth", "nowhere.pth: no such weights file"),
        ("torchvision:resnet18#text.onnx", "text.onnx: expected a file of tensors"),
    ],
)
def test_one_line_and_exit_code_4(invoke: Invoke, world: Path, save_onnx: Save, negative: Path, spec: str, says: str) -> None:
    if spec.startswith("xrv:densenet"):
        pytest.importorskip("torchxrayvision", reason="needs the extra xrv", exc_type=ImportError)
    save_onnx("nan", name="nan.onnx")
    save_onnx(batch_mean=True, name="batch.onnx")
    save_onnx(shape=("n", 1, 16, 32), name="wide.onnx")
    (world / "text.onnx").write_text("hello")
    result = invoke("interpolate", negative, "--target", spec, *CLASSES, "--out", "o")
    assert result.exit_code == TARGET, result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert not (world / "o").exists()


def test_a_free_map_cannot_be_trained_without_gradients(invoke: Invoke, world: Path, save_onnx: Save) -> None:
    args = ("--data", "phantom:n=40", "--segmenter", "everywhere", "--target", f"onnx:{save_onnx()}", *CLASSES, "--out", "o")
    result = invoke("train", "free", *args, "--resolution", 64)
    assert result.exit_code == TARGET
    assert "needs a target with gradients; this one only runs forward" in result.stderr
    assert not (world / "o").exists()


def test_a_missing_extra_is_named(invoke: Invoke, save_onnx: Save, negative: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_onnx()
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    result = invoke("interpolate", negative, "--target", f"onnx:{path}")
    assert result.exit_code == TARGET
    assert "pip install 'gan_explain[onnx]'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_judges_have_short_names_and_a_checkpoint_of_judges_is_all_of_them(world: Path) -> None:
    config = TargetConfig(arch="small", classes=("normal", "covid"), positive=("covid",), size=32, channels=1)
    for part in ("b", "a"):
        network = build(ClassifierConfig(classes=2))
        save_part(world / "jury", part, "target", config.model_dump(mode="json"), network.state_dict())
    assert named_judges(["checkpoint:jury"]) == [("a", "checkpoint:jury#a"), ("b", "checkpoint:jury#b")]
    assert named_judges(["checkpoint:tiny"]) == [("checkpoint:tiny", "checkpoint:tiny")]
    assert named_judges(["checkpoint:tiny#target", "checkpoint:jury#a"]) == [
        ("target", "checkpoint:tiny#target"),
        ("a", "checkpoint:jury#a"),
    ]
    assert [short for short, _ in named_judges(["checkpoint:tiny#target", "checkpoint:jury#target"])] == [
        "checkpoint:tiny#target",
        "checkpoint:jury#target",
    ]
