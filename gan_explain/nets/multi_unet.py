"""A U-Net with two outputs: the decoder segments the lungs, a linear layer on the encoder's pooled deepest features classifies.

The pooling and the single linear layer are those of Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR
2016, arXiv 1512.04150: a class' logit is the mean over the deepest map of w_k . A plus a bias, so that w_k . A, its class
activation map, is the logit's exact decomposition over the cells.
"""

from __future__ import annotations

from torch import Tensor, nn

from gan_explain.nets.blocks import pooled_head
from gan_explain.nets.unet import UNet, UNetConfig

WIDTHS = (24, 48, 96, 160)
LITE_WIDTHS = (24, 32, 48, 64)  # of a decoder on an EfficientNet-Lite


class MultiUNet(nn.Module):
    """(N, C, H, W), standardised as (image - 0.5) / 0.25 -> class logits (N, K); `outputs` gives the lungs too.

    0.8 M parameters; at 160 px 0.4 GFLOP an image to classify, 0.9 with the lungs. `encoder` names an EfficientNet-Lite that
    takes the place of the contracting half, up to stride 16. H and W are multiples of 16. `unet` alone is a lung segmenter: of an
    image in [0, 1] it gives the lung logits that `outputs` gives of the same image standardised.
    """

    def __init__(
        self, classes: int, channels: int = 1, dropout: float = 0.2, widths: tuple[int, ...] = WIDTHS, encoder: str = ""
    ) -> None:
        super().__init__()
        self.unet = UNet(UNetConfig(resolution=2 ** len(widths), widths=widths, channels=channels, encoder=encoder))
        self.head = pooled_head(self.unet.deepest, classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self._classify(self._encode(x))

    def outputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lung logits (N, 1, H, W) and class logits (N, K) in one pass through the encoder."""
        features = self._encode(x)
        return self.unet.decode(features), self._classify(features)

    def _encode(self, x: Tensor) -> list[Tensor]:
        return self.unet.encode(x / 2)  # from [-2, 2] to the U-Net's [-1, 1]

    def _classify(self, features: list[Tensor]) -> Tensor:
        logits: Tensor = self.head(features[-1].mean((2, 3)))  # (N, C, H/16, W/16) -> (N, K)
        return logits
