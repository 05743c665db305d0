"""Which patients have radiographs of several days, and in what order."""

from __future__ import annotations

import math

from gan_explain.data import Dataset
from gan_explain.types import DataError, Record

DAY = "offset_days"  # column of the manifest: days since symptoms or admission
DATES = 3  # different days that a patient needs for a correlation


def day_of(record: Record, where: object) -> float | None:
    """The day of a record, None where it has none; DataError when it is no number."""
    text = record.extra.get(DAY, "").strip()
    if not text:
        return None
    try:
        day = float(text)
    except ValueError:
        day = float("nan")
    if not math.isfinite(day):
        raise DataError(f"{where}: {record.path}: expected days as a number in column {DAY}, got {text!r}")
    return day


def dated_patients(dataset: Dataset, dates: int = DATES) -> dict[str, list[int]]:
    """Patients with at least `dates` different days: places of their dated images, in the order of days.

    DataError where no record has a day, or one has a day that is no number.
    """
    days = [day_of(record, dataset.root) for record in dataset.records]
    if all(day is None for day in days):
        raise DataError(f"{dataset.root}: expected days in a column {DAY}, found none")
    places: dict[str, list[int]] = {}
    for i, (record, day) in enumerate(zip(dataset.records, days, strict=True)):
        if day is not None:
            places.setdefault(record.patient_id, []).append(i)
    ordered = {patient: sorted(each, key=lambda i: (days[i], i)) for patient, each in places.items()}
    return {patient: each for patient, each in sorted(ordered.items()) if len({days[i] for i in each}) >= dates}


def of_patient(dataset: Dataset, patient: str) -> list[int]:
    """Places of one patient's dated images, in the order of days; DataError names the patient with fewer than two days."""
    found = dated_patients(dataset, 1).get(patient)
    if found is None:
        some = ", ".join(list(dated_patients(dataset, 2))[:4]) or "none"
        raise DataError(f"{dataset.root}: expected a patient with dated images, such as {some}; got {patient!r}")
    if len({day_of(dataset.records[i], dataset.root) for i in found}) < 2:
        raise DataError(f"{dataset.root}: patient {patient!r}: expected images of two days or more, got one")
    return found
