"""`xrv:NAME[#WEIGHTS]`: the classifiers of torchxrayvision (Cohen et al., MIDL 2022, arXiv 2111.00595) with weights on this disk.

Their images lie in [-1024, 1024] and their outputs are findings, each with a sigmoid of its own. p is what the library's model
returns: the sigmoid, moved so that the finding's operating threshold is one half (`op_norm`) where the weights have thresholds.
Nothing is downloaded. The library's own files hold whole modules: only its layers and torch's are let out of them, as data.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from gan_explain.files.text import one_line
from gan_explain.targets.module import ModuleTarget
from gan_explain.targets.request import Request, assemble, described, named, target_errors
from gan_explain.targets.specs import scheme
from gan_explain.targets.weights import read_weights
from gan_explain.types import TargetError

RANGE = {"channels": 1, "mean": (0.5,), "std": (1 / 2048,)}  # [0, 1] -> [-1024, 1024]
CACHE = Path(".torchxrayvision", "models_data")  # of the library, in the home directory
DEFAULTS = ("Lung Opacity", "Pneumonia")  # the first of them that the weights know, where no positive set is named
RESNETS = {"resnet50": models.resnet50, "resnet101": models.resnet101}


def _library(spec: str) -> Any:
    try:
        with warnings.catch_warnings():  # the library silences all warnings for good when it is imported
            import torchxrayvision.models as library
    except ImportError as error:
        raise TargetError(f"target {spec} needs torchxrayvision ({error}): pip install 'gan_explain[xrv]'") from error
    return library


def _layers(library: Any) -> list[type]:
    """The classes that may stand in a file that holds a whole module."""
    own = [library.DenseNet, library._DenseLayer, library._DenseBlock, library._Transition]
    return [*own, nn.Sequential, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Linear]


def _file(request: Request, library: Any) -> tuple[str, Path]:
    """The name and the weights that the spec means: those it names, or those in the library's cache."""
    name, _, given = request.rest.partition("#")
    known = library.model_urls
    if name not in known and not name.startswith(("densenet", *RESNETS)):
        raise TargetError(f"expected xrv:NAME#WEIGHTS with a name of torchxrayvision ({', '.join(known)}), got {request.spec!r}")
    if given:
        return name, Path(given)
    if name not in known:
        raise TargetError(f"expected weights for the architecture {name}: xrv:{name}#WEIGHTS")
    url = known[name]["weights_url"]
    cached = Path.home() / CACHE / Path(url).name
    if not cached.is_file():
        raise TargetError(f"{cached}: no such weights file; nothing is downloaded: fetch {url}, or name yours: xrv:{name}#FILE")
    return name, cached


def _network(name: str, state: Mapping[str, Tensor], file: Path, library: Any) -> tuple[nn.Module, int]:
    """The architecture with the weights, and its number of outputs."""
    resnet = next((build for prefix, build in RESNETS.items() if name.startswith(prefix)), None)
    head = "fc" if resnet else "classifier"
    if f"{head}.weight" not in state:
        raise TargetError(f"{file}: expected weights of {name} with {head}.weight, got {', '.join(list(state)[:3])}, ...")
    outputs = len(state[f"{head}.weight"])
    with torch.random.fork_rng(devices=[]):  # these weights get replaced: the caller's random numbers are not spent on them
        if resnet:
            network: nn.Module = resnet(weights=None, num_classes=outputs)
            network.set_submodule("conv1", nn.Conv2d(1, 64, 7, 2, 3, bias=False))
        else:
            network = library.DenseNet(num_classes=outputs, **library.get_densenet_params(name))
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise TargetError(f"{file}: weights do not fit {name}: {one_line(error)}") from error
    return network, outputs


@scheme("xrv:NAME[#WEIGHTS]")
def xrv_target(request: Request) -> ModuleTarget:
    """`xrv:NAME#WEIGHTS`: NAME is one of the library's weights (densenet121-res224-all, resnet50-res512-all, ...) or an
    architecture (densenet121, resnet50), WEIGHTS a file of its state or module; without it the library's cache is looked into.

    The positive set is a finding, or several (their odds add up): Lung Opacity unless another is named, or Pneumonia where the
    weights do not know that. FILE.json may name classes, size, operating point, and say `"multi_label": false` of a softmax.
    Raises TargetError.
    """
    library = _library(request.spec)
    name, file = _file(request, library)
    with target_errors():
        state = {k.removeprefix("model."): v.float() for k, v in read_weights(file, known=_layers(library)).items()}
    about = library.model_urls.get(name, {})
    stored = state.pop("op_threshs", None)
    network, outputs = _network(name, state, file, library)
    findings = about.get("labels", library.DenseNet.targets)
    defaults = {**RANGE, "size": about.get("input_resolution", 224), "multi_label": True, "output": "logits", "arch": name}
    config = described(file, {**defaults, "classes": findings if len(findings) == outputs else ()})
    classes = request.classes or config.classes
    if len(classes) != outputs:
        raise TargetError(f"{file}: expected names for {outputs} outputs (--classes or FILE.json), got {len(classes)}")
    thresholds = about.get("op_threshs") if stored is None else stored.tolist()
    at = dict(zip(classes, thresholds, strict=True)) if thresholds and len(thresholds) == outputs else None
    known = [label for label in classes if label and (at is None or not math.isnan(at[label]))]
    positive = request.positive or config.positive or tuple(label for label in DEFAULTS if label in known)[:1]
    if not config.multi_label:
        return assemble(network, named(config, request), request)
    config = config.model_copy(update={"classes": classes, "positive": positive})
    return assemble(network, config, request, known=known, thresholds=at)
