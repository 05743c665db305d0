"""ONNX files: what they take and give is read from them, and a model that can be solved on paper answers as it should."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gan_explain.nets.classifier import ClassifierConfig, build
from gan_explain.targets import ModuleTarget, TargetConfig, probe, resolve_target
from gan_explain.types import TargetError

Save = Callable[..., Path]
TWO = ("normal", "covid")


def expected(images: torch.Tensor) -> torch.Tensor:
    """z = 4 (mean - 0.5): the softmax of (-z, z), or of (0, z)."""
    return 4 * (images.mean((1, 2, 3)) - 0.5)


def test_logits_are_the_model_s_and_it_only_runs_forward(save_onnx: Save) -> None:
    target = resolve_target(f"onnx:{save_onnx()}", classes=TWO)
    assert isinstance(target, ModuleTarget)
    assert (target.classes, target.positive, target.differentiable) == (TWO, ("covid",), False)
    assert (target.prepare.size, target.prepare.channels) == (16, 1)
    images = torch.rand(3, 1, 16, 16)
    z = expected(images)
    torch.testing.assert_close(target.logits(images), torch.stack([-z, z], 1), atol=1e-5, rtol=1e-5)
    assert not target.logits(images.requires_grad_()).requires_grad
    probe(target)


@pytest.mark.parametrize("dtype", ["FLOAT", "FLOAT16", "DOUBLE"])
@pytest.mark.parametrize("batch", ["n", 1, 3])
def test_any_batch_and_precision(save_onnx: Save, dtype: str, batch: object) -> None:
    target = resolve_target(f"onnx:{save_onnx(shape=(batch, 1, 16, 16), dtype=dtype)}", classes=TWO)
    images = torch.rand(5, 1, 16, 16)
    logits = target.logits(images)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits[:, 1], expected(images), atol=1e-5 if dtype != "FLOAT16" else 1e-2, rtol=0)
    probe(target)


@pytest.mark.parametrize("shape", [("n", 16, 16, 3), (1, 16, 16, 3), ("n", 3, 16, 16), ("n", 3, "h", "w"), ("n", "c", "h", "w")])
def test_the_order_of_axes_and_what_the_model_leaves_open(save_onnx: Save, shape: tuple[object, ...]) -> None:
    target = resolve_target(f"onnx:{save_onnx(shape=shape)}", classes=TWO)
    assert isinstance(target, ModuleTarget)
    assert (target.prepare.size, target.prepare.channels) == (16 if 16 in shape else 224, 3)
    images = torch.rand(2, 1, 224, 224)
    torch.testing.assert_close(target.logits(images)[:, 1], expected(images), atol=2e-3, rtol=0)


@pytest.mark.parametrize(("head", "odds"), [("two", 2), ("softmax", 2), ("one", 1), ("sigmoid", 1)])
def test_probabilities_are_told_from_logits(save_onnx: Save, head: str, odds: int) -> None:
    target = resolve_target(f"onnx:{save_onnx(head)}", classes=TWO)
    images = torch.rand(4, 1, 16, 16) * torch.tensor([0.1, 0.5, 1.0, 2.0]).clamp(max=1).view(4, 1, 1, 1)
    torch.testing.assert_close(target.probability(images), torch.sigmoid(odds * expected(images)), atol=1e-6, rtol=1e-5)
    probe(target)


def test_one_output_needs_no_class_names(save_onnx: Save) -> None:
    target = resolve_target(f"onnx:{save_onnx('sigmoid')}", positive=("pneumonia",))
    assert (target.classes, target.positive) == (("negative", "pneumonia"), ("pneumonia",))


def test_findings_of_their_own_are_declared_and_one_is_asked_for(save_onnx: Save) -> None:
    path = save_onnx("sigmoids")
    with pytest.raises(TargetError, match=r'outputs \(4, 2\) stay in \[0, 1\] .*declare output=.* "multi_label": true'):
        resolve_target(f"onnx:{path}", classes=("Edema", "Pneumonia"), positive=("Pneumonia",))
    Path(f"{path}.json").write_text(json.dumps({"multi_label": True, "classes": ["Edema", "Pneumonia"]}))
    images = torch.rand(3, 1, 16, 16)
    z = expected(images)
    for name, logit in (("Edema", 2 - z), ("Pneumonia", z)):
        target = resolve_target(f"onnx:{path}", positive=(name,))
        assert (target.classes, target.positive) == (("negative", name), (name,))
        torch.testing.assert_close(target.probability(images), torch.sigmoid(logit), atol=1e-6, rtol=1e-5)
    with pytest.raises(TargetError, match="within the findings Edema, Pneumonia, got Hernia"):
        resolve_target(f"onnx:{path}", positive=("Hernia",))


@pytest.mark.parametrize("place", ["sidecar", "metadata"])
def test_it_is_described_beside_or_inside(save_onnx: Save, place: str) -> None:
    about = {"classes": ["a", "b"], "positive": ["b"], "mean": [0.5], "std": [0.5], "operating_point": 0.3}
    path = save_onnx(describe=about if place == "metadata" else {"classes": ["x", "y"]})
    if place == "sidecar":
        Path(f"{path}.json").write_text(json.dumps(about))
    target = resolve_target(f"onnx:{path}")
    assert (target.classes, target.positive, target.operating_point) == (("a", "b"), ("b",), 0.3)
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(target.logits(images)[:, 1], expected(2 * images - 1), atol=1e-5, rtol=1e-5)


def test_an_output_that_is_declared_is_believed(save_onnx: Save) -> None:
    path = save_onnx("sigmoid")
    Path(f"{path}.json").write_text('{"output": "logits"}')
    images = torch.rand(2, 1, 16, 16)
    p = resolve_target(f"onnx:{path}").probability(images)
    torch.testing.assert_close(p, torch.sigmoid(torch.sigmoid(expected(images))))
    path = save_onnx("one")
    Path(f"{path}.json").write_text('{"output": "probabilities"}')
    with pytest.raises(TargetError, match=r"probabilities in \[0, 1\] .* got values from"):
        resolve_target(f"onnx:{path}").probability(torch.ones(1, 1, 16, 16))


@pytest.mark.parametrize(
    ("options", "about", "message"),
    [
        ({"shape": ("n", 5, 16, 16)}, {}, r"square images of 1 or 3 channels, got \['n', 5, 16, 16\]"),
        ({"shape": ("n", 1, 16, 32)}, {}, "square images"),
        ({"shape": ("n", 1, 4, 8, 8)}, {}, r"floating-point images \(N, C, H, W\), got tensor\(float\) \['n', 1, 4, 8, 8\]"),
        ({}, {"size": 32}, "the model takes size 16, its description says 32"),
        ({}, {"classes": ["a", "b", "covid"]}, r"expected outputs \(4, 3\), one for each of a, b, covid, got \(4, 2\)"),
        ({}, {"classes": []}, r"name its 2 outputs in order \(--classes"),
        ({}, {"classes": ["a", "b"]}, r"name the positive set \(--positive\)"),
        ({}, {"colour": 1}, r"model\.onnx\.json: .*colour"),
    ],
)
def test_models_that_do_not_fit_are_named(
    save_onnx: Save, options: dict[str, object], about: dict[str, object], message: str
) -> None:
    path = save_onnx(**options)
    Path(f"{path}.json").write_text(json.dumps({"classes": TWO, **about}))
    with pytest.raises(TargetError, match=message):
        resolve_target(f"onnx:{path}")


def test_files_that_are_no_models_are_named(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    with pytest.raises(TargetError, match=r"nowhere\.onnx: no such file"):
        resolve_target("onnx:nowhere.onnx")
    for content in (b"", b"hello", bytes(range(256)) * 40):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(TargetError, match=r"bad\.onnx: expected "):
            resolve_target(f"onnx:{tmp_path / 'bad.onnx'}")


def test_the_probe_finds_a_batch_that_matters_and_nan(save_onnx: Save) -> None:
    with pytest.raises(TargetError, match="independent of the batch"):
        probe(resolve_target(f"onnx:{save_onnx(batch_mean=True)}", classes=TWO))
    with pytest.raises(TargetError, match="finite logits"):
        probe(resolve_target(f"onnx:{save_onnx('nan')}", classes=TWO))


def test_without_the_extra_it_says_what_to_install(save_onnx: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_onnx()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(TargetError, match=r"needs onnxruntime .*pip install 'gan_explain\[onnx\]'"):
        resolve_target(f"onnx:{path}", classes=TWO)


def test_a_copy_asks_the_same_session(save_onnx: Save) -> None:
    target = resolve_target(f"onnx:{save_onnx()}", classes=TWO)
    images = torch.rand(2, 1, 16, 16)
    assert torch.equal(copy.deepcopy(target).logits(images), target.logits(images))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("lungs_only", [False, True])
def test_an_exported_network_answers_as_the_network(tmp_path: Path, lungs_only: bool) -> None:
    pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    network = build(ClassifierConfig(classes=2)).eval()
    dynamic = {"image": {0: "n"}}
    path = tmp_path / "net.onnx"
    names = {"input_names": ["image"], "output_names": ["logits"]}
    torch.onnx.export(network, (torch.rand(2, 1, 64, 64),), path, dynamic_axes=dynamic, dynamo=False, **names)
    Path(f"{path}.json").write_text(json.dumps({"classes": TWO, "lungs_only": lungs_only}))
    target = resolve_target(f"onnx:{path}")
    own = ModuleTarget(network, TargetConfig(classes=TWO, positive=("covid",), size=64, lungs_only=lungs_only, channels=1))
    images, lungs = torch.rand(3, 1, 96, 96), (torch.rand(3, 1, 96, 96) > 0.5).float()
    torch.testing.assert_close(target.logits(images, lungs), own.logits(images, lungs), atol=1e-4, rtol=1e-4)
    probe(target)
