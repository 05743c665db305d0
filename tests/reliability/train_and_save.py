"""Run by test_kill.py until it is killed: trains a segmenter, saves its state every two steps and a checkpoint every four.

`train_and_save.py OUT [STEPS]` begins or goes on, for ever without STEPS. The network is so large that writing takes as long as
training does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from small_trainers import SIDE, phantoms

from gan_explain.files.checkpoints import save_part
from gan_explain.nets.unet import UNet, UNetConfig
from gan_explain.train.loop import STATE, run
from gan_explain.train.segmenter import SegmenterObjective
from gan_explain.train.supervised import SupervisedTrainer, SupervisedTraining
from gan_explain.train.training import Training


def main(out: Path, steps: int) -> None:
    torch.manual_seed(0)
    config = UNetConfig(resolution=SIDE, widths=(8, 64, 192))
    data = phantoms()
    trainer = SupervisedTrainer(
        SegmenterObjective(UNet(config)), data, [r.source for r in data.records], SupervisedTraining(steps=1000, batch_size=2)
    )
    trainer.sheet = lambda path: None  # type: ignore[method-assign]
    resume = (out / STATE).is_file()
    done = int(torch.load(out / STATE, weights_only=True)["step"]) if resume else 0
    while done < steps:
        done = min(steps, done - done % 4 + 4)
        run(trainer, Training(steps=done, save_every=2, log_every=1), out, resume=resume)
        resume = True
        save_part(out, "segmenter", "segmenter", config.model_dump(mode="json"), trainer.averaged().state_dict())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10**9)
