"""`ts:FILE` (TorchScript) and `pt2:FILE` (torch.export): archives that run code of their own when they are loaded.

The only file of the package that may load them (tests/test_floors.py), and only after `trusted`: nothing in such an archive is
looked at before the user has said --trust-code.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_explain.files.text import one_line
from gan_explain.targets.module import ModuleTarget
from gan_explain.targets.request import Request, described, in_batches, tried
from gan_explain.targets.specs import scheme
from gan_explain.types import TargetError

DESCRIPTION = "target.json"  # an extra file in the archive: a `TargetConfig`


def trusted(request: Request, kind: str) -> Path:
    """The archive's path, if its code may be run; TargetError if not."""
    path = request.file
    if not request.trust_code:
        raise TargetError(
            f"{path}: a {kind} file runs code of its own when it is loaded: --trust-code loads it, if you know where it comes "
            "from (an ONNX file or safetensors run none)"
        )
    return path


@scheme("ts:FILE")
def torchscript_target(request: Request) -> ModuleTarget:
    """`ts:FILE`: a scripted or traced network. FILE.json or the extra file target.json describes it; unless they say otherwise it
    takes 224 pixels and the channels of its first convolution."""
    path = trusted(request, "TorchScript")
    extra = {DESCRIPTION: ""}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated since torch 2.9, and still what many have
            network: nn.Module = torch.jit.load(path, map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever the archive's own code raises
        raise TargetError(f"{path}: expected a TorchScript file, got: {one_line(error, 200)}") from error
    channels = next((p.shape[1] for p in network.parameters() if p.ndim == 4 and p.shape[1] in (1, 3)), 3)
    return tried(network, described(path, {"channels": channels}, _text(extra)), request)


@scheme("pt2:FILE")
def exported_target(request: Request) -> ModuleTarget:
    """`pt2:FILE`: a network saved by torch.export. Size, channels and a fixed batch are read from its input; FILE.json or the
    extra file target.json describes the rest."""
    path = trusted(request, "torch.export")
    extra = {DESCRIPTION: ""}
    try:
        network = ExportedNetwork(torch.export.load(path, extra_files=extra))
    except TargetError as error:
        raise TargetError(f"{path}: {error}") from error
    except Exception as error:  # whatever the archive's own code raises
        raise TargetError(f"{path}: expected a torch.export file, got: {one_line(error, 200)}") from error
    return tried(network, described(path, network.takes, _text(extra)), request)


class ExportedNetwork(nn.Module):
    """An exported program as a network of any batch size. It keeps the mode that it was exported in: `train` does nothing.

    Raises TargetError unless it takes one batch of square images.
    """

    def __init__(self, program: Any) -> None:
        super().__init__()
        inputs = program.graph_signature.user_inputs
        given = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
        shape = [side if isinstance(side, int) else None for side in given[0].shape] if len(given) == 1 else []
        if len(shape) != 4 or shape[2] != shape[3] or shape[1] not in (1, 3, None):
            came = ", ".join(str(tuple(each.shape)) for each in given) or "none"
            raise TargetError(f"expected one input of square images of 1 or 3 channels (N, C, H, W), got {came}")
        self.batch = shape[0]
        self.takes = {key: value for key, value in (("channels", shape[1]), ("size", shape[2])) if value is not None}
        self.program = program.module()

    def forward(self, x: Tensor) -> Tensor:
        return in_batches(self.program, x, self.batch)

    def train(self, mode: bool = True) -> ExportedNetwork:
        self.training = False
        return self


def _text(extra: dict[str, Any]) -> str | None:
    text = extra[DESCRIPTION]
    return text.decode() if isinstance(text, bytes) else text or None
