"""Phantoms with a marker in nearly every positive, and a CNN that was trained on it."""

from __future__ import annotations

import pytest

from gan_explain.bench.shortcuts import GENTLE, silent
from gan_explain.data import Dataset, open_dataset
from gan_explain.data.marker import planted
from gan_explain.targets import ModuleTarget
from gan_explain.train.options import TargetOptions
from gan_explain.train.supervised import SupervisedTraining
from gan_explain.train.target import train_target
from gan_explain.train.training import quiet


@pytest.fixture(scope="session")
def marked() -> Dataset:
    """64 px; 30 % of the normals count as covid, so that the lungs do not settle the class."""
    phantoms = silent(open_dataset("phantom:n=220,covid=0.4", size=64), 0.3)
    return planted(phantoms, lambda record: record.label == "covid", 0.9, 0.05, seed=3)


@pytest.fixture(scope="session")
def reads_markers(marked: Dataset, tmp_path_factory: pytest.TempPathFactory) -> ModuleTarget:
    training = quiet(SupervisedTraining(steps=70, batch_size=16, ranges=GENTLE))
    return train_target(marked, None, tmp_path_factory.mktemp("marked"), TargetOptions(size=64), training)
