"""`onnx:FILE`: a model in the Open Neural Network Exchange format (https://onnx.ai), run forward by onnxruntime on the CPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gan_explain.files.text import one_line
from gan_explain.targets.module import ModuleTarget
from gan_explain.targets.onnx_data import digest, external_files
from gan_explain.targets.request import Request, described, in_batches, tried
from gan_explain.targets.specs import scheme
from gan_explain.types import TargetError

logger = logging.getLogger(__name__)

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
FATAL = 4  # of onnxruntime's log: what goes wrong is told by the exception


@dataclass(frozen=True)
class Layout:
    """The one image input of a model. `batch`, `channels`, `size`: None where the model leaves them open."""

    name: str
    dtype: Any
    batch: int | None
    channels: int | None
    size: int | None
    channels_last: bool


class OnnxNetwork(nn.Module):
    """A model file as a function (N, C, H, W) -> (N, K) float32, without gradients, on the CPU whatever the device of x.

    A model of a fixed batch is asked that many at a time; half precision is asked one at a time, so that no image's rounding
    depends on its neighbours. Raises TargetError when the file is no model of one image input, or names files beyond its
    folder.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise TargetError(f"{path}: onnx:FILE needs onnxruntime ({error}): pip install 'gan_explain[onnx]'") from error
        external = external_files(path)  # before anything is opened that it names
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the cores to torch
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a dozen kinds, none of them public
            raise TargetError(f"{path}: expected an ONNX model, got: {one_line(error, 200)}") from error
        self.layout = _layout(path, session.get_inputs())
        self.output = _output(path, session.get_outputs())
        self.description: str | None = session.get_modelmeta().custom_metadata_map.get("target")
        self.sha256 = digest(path, external)
        self._session = session

    def forward(self, x: Tensor) -> Tensor:
        batch = 1 if self.layout.dtype is np.float16 and self.layout.batch is None else self.layout.batch
        return in_batches(self._run, x.detach(), batch)

    def _run(self, x: Tensor) -> Tensor:
        fed = x.cpu().numpy().astype(self.layout.dtype)
        if self.layout.channels_last:
            fed = np.ascontiguousarray(fed.transpose(0, 2, 3, 1))
        out = torch.from_numpy(np.asarray(self._session.run([self.output], {self.layout.name: fed})[0], dtype=np.float32))
        if out.ndim > 2 and out[0].numel() == out.shape[1]:
            out = out.flatten(1)  # (N, K, 1, 1) -> (N, K)
        return out.to(x.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        return self  # it has no state that could be changed


def _layout(path: Path, inputs: list[Any]) -> Layout:
    if len(inputs) != 1:
        raise TargetError(f"{path}: expected a model of one input, got {', '.join(i.name for i in inputs) or 'none'}")
    (given,) = inputs
    shape = [side if isinstance(side, int) and side > 0 else None for side in given.shape]
    if given.type not in TYPES or len(shape) != 4:
        raise TargetError(f"{path}: expected floating-point images (N, C, H, W), got {given.type} {given.shape}")
    channels_last = shape[1] not in (1, 3) and shape[3] in (1, 3)
    n, c, h, w = (shape[i] for i in ((0, 3, 1, 2) if channels_last else (0, 1, 2, 3)))
    if c not in (1, 3, None) or (h is not None and w is not None and h != w):
        raise TargetError(f"{path}: expected square images of 1 or 3 channels, got {given.shape}")
    return Layout(given.name, TYPES[given.type], n, c, h or w, channels_last)


def _output(path: Path, outputs: list[Any]) -> str:
    floating = [o.name for o in outputs if o.type in TYPES]
    if not floating:
        raise TargetError(f"{path}: expected a floating-point output, got {', '.join(o.type for o in outputs) or 'none'}")
    if len(floating) > 1:
        logger.warning("%s: %d outputs (%s); %s is taken for the classes", path, len(floating), ", ".join(floating), floating[0])
    return str(floating[0])


@scheme("onnx:FILE")
def onnx_target(request: Request) -> ModuleTarget:
    """`onnx:FILE`. Size and channels are the model's; the rest is described by FILE.json or by the model's metadata entry
    `target` (a `TargetConfig`): by default 224 pixels where the model takes any, 3 channels, pixels in [0, 1] as they are.

    Probabilities (told from the outputs, or `"output": "probabilities"`) are taken back to logits. Forward only.
    """
    path = request.file
    network = OnnxNetwork(path)
    own = {key: value for key in ("size", "channels") if (value := getattr(network.layout, key)) is not None}
    config = described(path, own, network.description)
    for key, value in own.items():
        if getattr(config, key) != value:
            raise TargetError(f"{path}: the model takes {key} {value}, its description says {getattr(config, key)}")
    return tried(network, config, request, forward_only=True)
