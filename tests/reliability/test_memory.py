"""Resident memory does not grow with the steps of a training or the images of an audit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_trainers import TRAINERS

SCRIPT = Path(__file__).parent / "memory.py"
MOST = 0.1  # megabytes a step, or an image
Start = Callable[..., Any]


def slope(values: list[float]) -> float:
    """Megabytes a step, by least squares, without the first fifth (what is made once)."""
    later = values[len(values) // 5 :]
    return float(np.polyfit(np.arange(len(later)), later, 1)[0])


def measured(start: Start, *words: object) -> list[float]:
    job = start(SCRIPT, *words)
    assert job.wait(3000) == 0, job.said
    return [float(line) for line in job.said.splitlines() if line.replace(".", "", 1).isdigit()]


def test_a_leak_would_be_seen() -> None:
    rng = np.random.default_rng(0)
    assert slope(list(100 + rng.normal(0, 2, 500))) < MOST
    assert slope(list(100 + np.minimum(np.arange(500), 50) + rng.normal(0, 2, 500))) < MOST
    assert slope(list(100 + 0.12 * np.arange(500) + rng.normal(0, 2, 500))) > MOST


def test_a_training_of_a_hundred_steps(start: Start) -> None:
    found = measured(start, "segmenter", 100)
    assert len(found) == 100
    assert slope(found) < MOST


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINERS)
def test_a_training_of_five_hundred_steps(start: Start, name: str) -> None:
    found = measured(start, name, 500)
    assert len(found) == 500
    assert slope(found) < MOST, slope(found)


@pytest.mark.slow
def test_an_audit_of_five_hundred_images(start: Start) -> None:
    found = measured(start, "audit", 500)
    assert len(found) == 500
    assert slope(found) < MOST, slope(found)
