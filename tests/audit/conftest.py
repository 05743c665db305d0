"""Measures made by hand: what audits of four kinds of target look like."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gan_explain.audit.document import Answer, Findings
from gan_explain.metrics.measure import Measure

Measures = dict[str, Measure]
DISTURBED = ("png8", "jpeg90", "blur", "shift")


def m(value: float, low: float | None = None, high: float | None = None, n: int = 100, by: Any = None) -> Measure:
    """A measure; without bounds its interval has no width."""
    return Measure(value, value if low is None else low, value if high is None else high, n, by=by or {})


def null(reason: str) -> Measure:
    return Measure.missing(reason)


def balanced() -> Measures:
    """Sees opacities, ignores the outside, right in each of two sources; follows real disease."""
    return {
        "spread": m(0.41, 0.40, 0.42),
        "auroc": m(0.958, 0.938, 0.975),
        "opacity_probe.rises": m(0.977, 0.954, 0.995, 216),
        "opacity_probe.slope": m(0.509, 0.461, 0.554, 216),
        "specificity": m(0.9, 0.87, 0.93, by={"a": m(0.98, 0.95, 1.0), "b": m(0.8, 0.72, 0.88), "tiny": m(0.3, 0.0, 1.0, 3)}),
        "sensitivity": m(0.9, 0.87, 0.93, by={"a": m(0.95, 0.92, 0.97), "b": m(0.78, 0.7, 0.86), "tiny": null("no positives")}),
        "shortcut": m(0.0),
        "transplant[outside].excess": m(0.0),
        "transplant[outside].positive": m(0.0),
        "transplant[outside].negative": m(0.0),
        "transplant[lungs].excess": m(0.43, 0.4, 0.46),
        "rise": m(0.3, 0.27, 0.33),
        "rises": m(0.95, 0.92, 0.98),
        "rise.excess": m(0.12, 0.1, 0.14),
        "heal.fall": m(0.4, 0.36, 0.44),
        "heal.falls": m(0.97, 0.95, 0.99),
        "heal.excess": m(0.2, 0.17, 0.23),
        "monotonicity.rho": m(0.99, 0.98, 0.995),
        "monotonicity.violation": m(0.004, 0.002, 0.006),
        "flip.negative": m(0.31, 0.25, 0.37),
        "random.excess": m(0.179, 0.13, 0.236),
        "transfer[judge].rises": m(0.863, 0.819, 0.903),
        "exact.zero": m(0.0),
        "exact.one": m(0.0),
        "reader.rho[veils]": m(0.88, 0.82, 0.92),
        "reread": m(0.1, 0.08, 0.12),
        **{f"persistence[{name}]": m(1.0) for name in DISTURBED},
        "null.shuffled.flip": m(0.0),
        "control.marker.named": m(1.0),
        "control.marker.shortcut": m(0.55, 0.4, 0.7, 32),
    }


def naive() -> Measures:
    """Reads the source: blind to opacities, moved from outside, wrong in source b, AUROC over all no better than chance."""
    return {
        **balanced(),
        "auroc": m(0.545, 0.472, 0.629, 730),
        "opacity_probe.rises": m(0.578, 0.503, 0.655, 154),
        "opacity_probe.slope": m(0.0096, 0.0051, 0.0150, 154),
        "specificity": m(0.233, 0.191, 0.275, by={"a": m(0.76, 0.69, 0.82), "b": m(0.0045, 0.0, 0.012, 442)}),
        "sensitivity": m(1.0, by={"a": m(1.0), "b": null("no positives")}),
        "shortcut": m(0.198, 0.157, 0.239, 91),
        "transplant[outside].excess": m(0.198, 0.157, 0.239, 91),
        "transplant[border].excess": m(0.084, 0.05, 0.12, 91),
        "transplant[corners].excess": m(0.011, -0.002, 0.02, 91),
        "transplant[whole].excess": m(0.748, 0.69, 0.8, 91),
        "transplant[text].excess": null("no donor has letters"),
        "statistic[exposure].excess": m(0.003, -0.01, 0.02, 91),
        "rise.free": m(0.9, 0.85, 0.95),
        "flip.negative.free": m(1.0),
        "causal.outside_share.free": m(0.902, 0.874, 0.929),
    }


def constant() -> Measures:
    zero = m(0.0)
    return {
        **balanced(),
        "spread": zero,
        "auroc": m(0.5),
        "opacity_probe.rises": zero,
        "opacity_probe.slope": zero,
        "shortcut": zero,
    }


def untrained() -> Measures:
    """As measured of a ResNet-18 with random weights: its AUROC is .77, yet p hardly moves."""
    faint = {"spread": m(0.0125, 0.011, 0.014, 362), "auroc": m(0.773, 0.7, 0.83), "opacity_probe.slope": m(0.002, 0.001, 0.003)}
    return {**balanced(), **faint}


def findings(measures: Measures, verdict: tuple[Answer, ...], **more: Any) -> Findings:
    return Findings({"target": {"spec": "checkpoint:it"}}, measures, verdict=verdict, **more)


@pytest.fixture
def made() -> SimpleNamespace:
    """The functions above, for tests of what is concluded from measures."""
    targets = {"balanced": balanced, "naive": naive, "constant": constant, "untrained": untrained}
    return SimpleNamespace(m=m, null=null, findings=findings, targets=targets, **targets)
