"""Training with a spectral filter: which images are filtered, and two networks trained in earnest on phantoms."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gan_explain.data import Dataset
from gan_explain.data.spectral import GaussianLowPass, SpectralImportance
from gan_explain.files.checkpoints import load_part
from gan_explain.stats import auroc
from gan_explain.targets import ModuleTarget, Preparation, TargetConfig, target_from_part
from gan_explain.train.loop import Interrupted
from gan_explain.train.masks import MaskedDataset
from gan_explain.train.objective import TargetObjective, Task, alternated
from gan_explain.train.options import TargetOptions
from gan_explain.train.spectral import SpectralOptions
from gan_explain.train.supervised import SupervisedTrainer, SupervisedTraining
from gan_explain.train.target import predict, train_target

SIDE, STEPS = 32, 4
TRAINING = SupervisedTraining(steps=STEPS, batch_size=4, save_every=2, log_every=1)
OPTIONS = TargetOptions(size=SIDE, spectral=SpectralOptions(filter="importance", spectrum_steps=2))


class Seen(nn.Module):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.images = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.images = x
        return x.mean((1, 2, 3))[:, None] * self.weight


def test_every_other_image_is_transformed(phantoms: Dataset) -> None:
    network, batch = Seen(), phantoms.batch([0, 1, 2, 3, 4])
    lungs = list[Tensor | None]()

    def inverted(images: Tensor, masks: Tensor | None) -> Tensor:
        lungs.append(masks)
        return 1 - images

    prepare = Preparation(TargetConfig(size=SIDE, channels=1))
    objective = TargetObjective(network, prepare, Task(tuple(phantoms.classes[::-1])), inverted)
    before = batch.images.clone()
    losses = objective(batch.images, batch.lungs, batch)
    assert list(losses) == ["cross_entropy"]
    torch.testing.assert_close(network.images[::2], batch.images[::2])
    torch.testing.assert_close(network.images[1::2], 1 - batch.images[1::2])
    assert torch.equal(batch.images, before)  # the batch itself is left as it is
    assert lungs[0] is not None
    assert torch.equal(lungs[0], batch.lungs[1::2])


def test_no_gradient_is_asked_of_the_filter() -> None:
    images = torch.rand(4, 1, 8, 8, requires_grad=True)
    assert not alternated(images, torch.ones(4, 1, 8, 8), GaussianLowPass()).requires_grad


def test_each_filter_has_its_transform(brightness: ModuleTarget) -> None:
    assert SpectralOptions().transform(None) is None
    assert SpectralOptions(filter="gaussian", sigma=2.0).transform(None) == GaussianLowPass(2.0)
    assert isinstance(SpectralOptions(filter="importance").transform(brightness), SpectralImportance)
    with pytest.raises(ValueError, match="expected a target that reads the spectrum"):
        SpectralOptions(filter="importance").transform(None)
    with pytest.raises(ValueError, match="low <= high"):
        SpectralOptions(low=2.0, high=1.0)


def train(phantoms: Dataset, out: Path, *, resume: bool = False) -> ModuleTarget:
    torch.manual_seed(0)
    return train_target(phantoms, None, out, OPTIONS, TRAINING, resume=resume)


def test_a_run_leaves_both_networks_and_goes_on_to_the_bit(
    phantoms: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(phantoms, tmp_path / "whole")
    reader = target_from_part(load_part(tmp_path / "whole" / "spectrum", "target"))
    assert (reader.prepare.domain, whole.prepare.domain) == ("spectrum", "image")
    assert target_from_part(load_part(tmp_path / "whole", "target")).prepare.domain == "image"
    step = SupervisedTrainer.step

    def stopped(self: SupervisedTrainer, index: int) -> dict[str, Tensor]:
        if self.config.steps == STEPS and index == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, index)

    with monkeypatch.context() as patched:
        patched.setattr(SupervisedTrainer, "step", stopped)
        with pytest.raises(Interrupted):
            train(phantoms, tmp_path / "parts")
    (tmp_path / "parts" / "spectrum" / "state.pt").unlink()  # what is finished is taken as it is
    resumed = train(phantoms, tmp_path / "parts", resume=True)
    expected = whole.network.state_dict()
    for name, value in resumed.network.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=2e-3, rtol=2e-3, msg=name)  # masks from 16-bit weights


def test_a_network_learns_from_spectra(phantoms: Dataset, tmp_path: Path) -> None:
    """Without augmentation it tells the images that it was trained on apart by their spectra alone."""
    torch.manual_seed(0)
    training = SupervisedTraining(steps=30, batch_size=16, learning_rate=4e-3, augment=0)
    target = train_target(phantoms, None, tmp_path, TargetOptions(size=SIDE, domain="spectrum"), training)
    p, positive = predict(target, MaskedDataset(phantoms.split("train"), None))
    assert auroc(p.numpy(), positive.numpy()) > 0.9
