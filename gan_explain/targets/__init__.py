"""Targets: the CNN under explanation behind one contract (`gan_explain.types.Target`)."""

import importlib
import pkgutil

from gan_explain.targets.config import TargetConfig
from gan_explain.targets.load import as_target, load_target
from gan_explain.targets.module import ModuleTarget, device_of, masks_for, target_from_part, weights_digest
from gan_explain.targets.preparation import Preparation
from gan_explain.targets.probe import probe
from gan_explain.targets.specs import resolve_target, scheme
from gan_explain.targets.weights import load_torchvision_weights, read_weights

__all__ = [
    "ModuleTarget",
    "Preparation",
    "TargetConfig",
    "as_target",
    "device_of",
    "load_target",
    "load_torchvision_weights",
    "masks_for",
    "probe",
    "read_weights",
    "resolve_target",
    "scheme",
    "target_from_part",
    "weights_digest",
]

for _file in pkgutil.iter_modules(__path__, f"{__name__}."):  # each enters the kinds of spec that it makes
    importlib.import_module(_file.name)
