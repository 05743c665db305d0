"""A CNN of your own under the shipped generator: wrap it, and chart its response to growing COVID opacities.

    python examples/explain_your_cnn.py IMAGE.png

Prints the response of a small untrained network to a radiograph; replace `MyCNN` and its numbers by yours. Expected: 11 lines,
strengths 0.00 to 1.00, probabilities that hardly move (an untrained network has learned nothing to respond to).
"""

from __future__ import annotations

import sys

import torch
from torch import nn

import gan_explain as gx


class MyCNN(nn.Module):
    """Any network (N, C, H, W) -> (N, K) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(x))
        return logits


def main(path: str) -> None:
    torch.manual_seed(0)
    imagenet = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    target = gx.as_target(MyCNN(), classes=("negative", "covid"), positive="covid", size=224, **imagenet)
    found = gx.traverse(
        gx.load_generator(), target, gx.read_radiograph(path), pathology="prior", strengths=torch.linspace(0, 1, 11)
    )
    for strength, p in zip(found.strengths.tolist(), found.probability.tolist(), strict=True):
        print(f"strength {strength:.2f}  p(covid) {p:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
