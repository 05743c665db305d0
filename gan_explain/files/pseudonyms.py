"""Names that may be shown: patients as salted pseudonyms, images as a patient's first, second, ...

A patient's id goes through HMAC-SHA256 (RFC 2104) under 32 random bytes, the salt: without it, nobody can try hospital numbers
until one fits; with it, the owner of the data finds a patient again. One salt gives one patient one name, in every result.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan_explain.types import DataError, Record

SALT = "patient_salt"  # file name
BYTES = 32  # of a salt
DIGITS = 12  # hexadecimal, of a pseudonym: of 100,000 patients two share one with a probability of 2e-5


class Pseudonyms:
    """Public names of the patients and images of a dataset; without a salt, their own.

    `records` (in the order of the dataset) number the images of a patient: "p0a1b2c3d4e5f-2" is the second one.
    """

    def __init__(self, salt: bytes | None, records: Sequence[Record] = ()) -> None:
        self._salt = salt
        self._patients = dict.fromkeys(record.patient_id for record in records)
        self._images: dict[str, str] = {}
        counts: dict[str, int] = {}
        for record in records:
            counts[record.patient_id] = counts.get(record.patient_id, 0) + 1
            self._images[record.path] = f"{self.patient(record.patient_id)}-{counts[record.patient_id]}"

    @property
    def mark(self) -> str:
        """What tells salts apart without giving them away: 16 digits of the salt's SHA-256; "" without a salt."""
        return "" if self._salt is None else hashlib.sha256(self._salt).hexdigest()[:16]

    def patient(self, patient_id: str) -> str:
        if self._salt is None:
            return patient_id
        found = hmac.new(self._salt, patient_id.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return f"p{found.hexdigest()[:DIGITS]}"  # a letter first: a spreadsheet would take 1e5... for a number

    def image(self, path: str) -> str:
        """The public name of an image of the records; KeyError for another."""
        return path if self._salt is None else self._images[path]

    def real(self, patient: str) -> str:
        """The id of the patient of the records who is called so here; where there is none, the name as it is."""
        if patient in self._patients:
            return patient
        return next((own for own in self._patients if self.patient(own) == patient), patient)

    def record(self, record: Record) -> Record:
        """The same record under its public names, without its masks and further columns (which may hold anything)."""
        if self._salt is None:
            return record
        return replace(record, path=self.image(record.path), patient_id=self.patient(record.patient_id), mask="", extra={})

    def answers(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A benchmark's result with the images, by which its columns `p` and `dosed` are keyed, under public names."""
        return {
            **row,
            **{key: {self.image(path): each for path, each in row[key].items()} for key in ("p", "dosed") if key in row},
        }

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows of a table with their columns `path` and `patient_id` under public names."""
        return [{**row, "path": self.image(row["path"]), "patient_id": self.patient(row["patient_id"])} for row in rows]


def new_salt() -> bytes:
    return secrets.token_bytes(BYTES)


def read_salt(path: Path) -> bytes:
    """The salt that a file holds. DataError, naming the file, for anything else."""
    try:
        salt = bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a salt of {2 * BYTES} hexadecimal digits, got: {error}") from error
    if len(salt) != BYTES:
        raise DataError(f"{path}: expected a salt of {2 * BYTES} hexadecimal digits, got {2 * len(salt)}")
    return salt


def write_salt(path: Path, salt: bytes) -> None:
    """Write a salt that its owner alone may read (mode 0600). FileExistsError where there is a file."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(salt.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def shared_salt(path: Path) -> bytes:
    """The salt in a file, made where there is none; processes that ask at one time get one salt."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        write_salt(temporary, new_salt())
        try:
            os.link(temporary, path)  # whole or not at all, and never in the place of another
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return read_salt(path)
