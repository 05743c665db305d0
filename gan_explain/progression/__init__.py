"""Progression: one patient's radiographs over days, each measured alike, and whether the measures agree within patients.

After Zebin, Rezvy, "COVID-19 detection and disease progression visualization: Deep learning on chest X-rays for classification
and coarse localization", Applied Intelligence 51, 2021 (doi 10.1007/s10489-020-01867-1), who follow Grad-CAM's regions over a
patient's radiographs. Here the layer of disease that the generator reads, which no target taught it, is measured beside it.
"""

from __future__ import annotations

from gan_explain.progression.agreement import PAIRS, agreement
from gan_explain.progression.measure import Models, measure_all, measure_patient, models
from gan_explain.progression.patients import DATES, DAY, dated_patients
from gan_explain.progression.result import MEASURES, Progression, Visit, as_json, csv_table, facts

__all__ = [
    "DATES",
    "DAY",
    "MEASURES",
    "PAIRS",
    "Models",
    "Progression",
    "Visit",
    "agreement",
    "as_json",
    "csv_table",
    "dated_patients",
    "facts",
    "measure_all",
    "measure_patient",
    "models",
]
