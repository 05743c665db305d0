"""A CNN of your own under the shipped generator: wrap it, probe it, chart its response to growing COVID opacities.

    python examples/explain_your_cnn.py

Prints the response of a small untrained network to a synthetic patient; replace `MyCNN` and its numbers by yours. Expected: 11
lines, strengths 0.00 to 1.00, probabilities that hardly move (an untrained network has learned nothing to respond to).
"""

from __future__ import annotations

import torch
from torch import nn

from gan_explain.checkpoints import load_generator, load_synthesis
from gan_explain.latent.pathology import prior_code
from gan_explain.latent.synthetic import draw_structure
from gan_explain.latent.traverse import traverse
from gan_explain.segmenter import load_segmenter
from gan_explain.targets import ModuleTarget, probe


class MyCNN(nn.Module):
    """Any network (N, C, H, W) -> (N, K) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(x))
        return logits


def main() -> None:
    torch.manual_seed(0)
    target = ModuleTarget(
        MyCNN(), classes=("negative", "covid"), positive=("covid",), size=224, channels=3,
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )  # fmt: skip
    probe(target)
    generator, synthesis, segmenter = load_generator("cxr128"), load_synthesis("cxr128"), load_segmenter("lungs128")
    structure, lungs = draw_structure(synthesis, generator, segmenter, torch.randn(1, synthesis.config.z_dim))
    walk = traverse(generator, target, structure, prior_code(generator, seed=0), lungs, torch.linspace(0, 1, 11))
    for strength, p in zip(walk.strengths.tolist(), walk.probability.tolist(), strict=True):
        print(f"strength {strength:.2f}  p(covid) {p:.3f}")


if __name__ == "__main__":
    main()
