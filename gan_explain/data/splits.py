"""Train, val and test by patient, for data that comes without a split."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from gan_explain.types import Record

VAL_SHARE, TEST_SHARE = 0.1, 0.2


def split_by_patient(records: Sequence[Record], seed: int) -> list[Record]:
    """The records with `split` filled in: 70 % of the patients train, 10 % val, 20 % test, of each class alike.

    Patients of a class (that of their first image) are ordered by a hash of seed and id, so neither the order of the files nor
    the platform matters. With three patients a class has one in test, with five one in val.
    """
    label_of: dict[str, str] = {}
    for record in records:
        label_of.setdefault(record.patient_id, record.label)
    patients: defaultdict[str, list[str]] = defaultdict(list)
    for patient, label in label_of.items():
        patients[label].append(patient)
    split_of: dict[str, str] = {}
    for members in patients.values():
        members.sort(key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode()).digest())
        count = len(members)
        test = max(round(count * TEST_SHARE), int(count >= 3))
        val = max(round(count * VAL_SHARE), int(count >= 5))
        for rank, patient in enumerate(members):
            split_of[patient] = "test" if rank < test else "val" if rank < test + val else "train"
    return [replace(record, split=split_of[record.patient_id]) for record in records]
