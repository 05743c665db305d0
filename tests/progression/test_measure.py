"""A patient whose disease is known: what is measured is what was put there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from gan_explain.data import Dataset
from gan_explain.progression import Models, dated_patients, measure_all, measure_patient
from gan_explain.progression.measure import share_in
from gan_explain.types import DataError

Course = Callable[..., Dataset]


def test_measures_are_those_of_the_doses(parts: Models, course: Course) -> None:
    doses = [0.0, 0.5, 1.0, 2.0]
    found = measure_patient(parts, course(a=list(enumerate(doses))), "a")
    assert found.days == (0, 1, 2, 3)
    assert found.series("opacity_load") == pytest.approx([0.25 * dose for dose in doses], abs=1e-3)
    assert found.series("opacity_area") == [0, 0.5, 0.5, 0.5]  # alpha passes 0.1 in the lower half
    means = [0.3 + 0.5 * 0.7 * (1 - math.exp(-0.5 * dose)) for dose in doses]
    assert found.series("probability") == pytest.approx([1 / (1 + math.exp(-20 * (m - 0.45))) for m in means], abs=1e-3)
    assert found.correlation("opacity_load", "probability") == pytest.approx(1)
    classes = torch.tensor([visit.class_probability for visit in found.visits])
    assert torch.allclose(classes[:, 1], torch.tensor(found.series("probability")), atol=1e-6)


def test_grad_cam_has_one_scale_for_the_patient(parts: Models, course: Course) -> None:
    """Heat is proportional to the brightness here: the healthy film is hot nowhere beside the brightest one."""
    found = measure_patient(parts, course(a=[(0, 0.0), (1, 4.0)]), "a")
    assert found.series("grad_cam_area") == [0, 0.5]
    alone = measure_patient(parts, course(a=[(0, 0.0), (1, 0.0)]), "a")
    assert alone.series("grad_cam_area") == [1, 1]


def test_visits_are_in_the_order_of_days_and_undated_ones_are_left_out(parts: Models, course: Course) -> None:
    found = measure_patient(parts, course(a=[(9, 1.0), ("", 2.0), (-1.5, 0.0), (3, 0.5)]), "a")
    assert found.days == (-1.5, 3, 9)
    assert found.series("opacity_load") == pytest.approx([0, 0.125, 0.25], abs=1e-3)


def test_who_has_enough_days(course: Course) -> None:
    data = course(a=[(0, 0), (1, 0), (2, 0)], b=[(0, 0), (0, 0), (1, 0)], c=[(0, 0)], d=[("", 0)])
    assert list(dated_patients(data)) == ["a"]
    assert list(dated_patients(data, 2)) == ["a", "b"]
    assert dated_patients(data, 2)["b"] == [3, 4, 5]


def test_all_measures_each_patient_as_if_alone(parts: Models, course: Course) -> None:
    data = course(a=[(0, 0.0), (1, 1.0), (2, 2.0)], b=[(0, 2.0), (4, 1.0), (5, 0.0)], c=[(0, 1.0)])
    both = list(measure_all(parts, data))
    assert [each.patient for each in both] == ["a", "b"]
    for each in both:
        assert each.series("grad_cam_area") == measure_patient(parts, data, each.patient).series("grad_cam_area")


def test_a_target_without_gradients_has_no_heat_and_says_why(parts: Models, course: Course) -> None:
    parts.target.differentiable = False
    found = measure_patient(parts, course(a=[(0, 0.0), (1, 1.0), (2, 2.0)]), "a")
    assert "gradients" in found.no_heat
    assert all(math.isnan(value) for value in found.series("grad_cam_area"))
    assert found.correlation("opacity_load", "probability") == pytest.approx(1)


def test_no_lungs_means_no_share(parts: Models, course: Course) -> None:
    blind = replace(parts, segmenter=torch.zeros_like)
    found = measure_patient(blind, course(a=[(0, 0.0), (1, 1.0)]), "a")
    assert all(math.isnan(value) for name in ("opacity_area", "grad_cam_area", "opacity_load") for value in found.series(name))
    assert share_in(torch.ones(1, 1, 2, 2, dtype=torch.bool), torch.tensor([[[[1.0, 0], [1, 1]]]])).tolist() == [1]


def test_what_is_missing_is_named(parts: Models, course: Course) -> None:
    data = course(a=[(0, 0.0), (1, 1.0)], b=[(0, 0.0), (0, 1.0)], c=[("", 0.0)])
    with pytest.raises(DataError, match="such as a; got 'nobody'"):
        measure_patient(parts, data, "nobody")
    with pytest.raises(DataError, match="such as a; got 'c'"):
        measure_patient(parts, data, "c")
    with pytest.raises(DataError, match="'b': expected images of two days or more, got one"):
        measure_patient(parts, data, "b")
    with pytest.raises(DataError, match="3 days or more, found none"):
        list(measure_all(parts, data))
    with pytest.raises(DataError, match="offset_days, found none"):
        measure_patient(parts, course(a=[("", 0.0)]), "a")
    for wrong in ("soon", "nan", "inf"):
        with pytest.raises(DataError, match="a/0.png: expected days as a number"):
            measure_patient(parts, course(a=[(wrong, 0.0), (1, 1.0)]), "a")
