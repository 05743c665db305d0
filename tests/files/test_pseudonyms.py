"""Pseudonyms: keyed, stable under one salt, one name a patient; salts on disk."""

from __future__ import annotations

import hashlib
import hmac
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan_explain.files.pseudonyms import BYTES, DIGITS, Pseudonyms, new_salt, read_salt, shared_salt, write_salt
from gan_explain.types import DataError, Record

SALT = bytes(range(BYTES))
RECORDS = [
    Record("b/1.png", "covid", "Smith^John", "test", "here", mask="m.png", extra={"mrn": "77"}),
    Record("a/2.png", "normal", "other", "test"),
    Record("a/1.png", "covid", "Smith^John", "test"),
]


def test_a_pseudonym_is_the_hmac_of_the_id() -> None:
    digest = hmac.new(SALT, b"Smith^John", hashlib.sha256).hexdigest()
    names = Pseudonyms(SALT, RECORDS)
    assert names.patient("Smith^John") == "p" + digest[:12]
    assert [names.image(record.path) for record in RECORDS] == [
        f"p{digest[:12]}-1",
        names.patient("other") + "-1",
        f"p{digest[:12]}-2",
    ]
    assert names.real("p" + digest[:12]) == "Smith^John"
    assert names.real("Smith^John") == "Smith^John"
    assert names.real("nobody") == "nobody"


def test_a_record_keeps_nothing_but_its_groups() -> None:
    names = Pseudonyms(SALT, RECORDS)
    shown = names.record(RECORDS[0])
    assert (shown.label, shown.split, shown.source) == ("covid", "test", "here")
    assert (shown.path, shown.patient_id) == (names.image("b/1.png"), names.patient("Smith^John"))
    assert shown.mask == ""
    assert shown.extra == {}
    rows = names.rows([{"path": "a/2.png", "patient_id": "other", "p": 0.5}])
    assert rows == [{"path": names.image("a/2.png"), "patient_id": names.patient("other"), "p": 0.5}]


def test_without_a_salt_names_stay() -> None:
    names = Pseudonyms(None, RECORDS)
    assert names.mark == ""
    assert names.record(RECORDS[0]) == RECORDS[0]
    assert names.image("a/2.png") == "a/2.png"


@given(st.lists(st.text(), unique=True, max_size=50))
def test_names_are_distinct_and_depend_on_the_salt(patients: list[str]) -> None:
    ours, theirs = ({Pseudonyms(salt).patient(each) for each in patients} for salt in (SALT, SALT[::-1]))
    assert len(ours) == len(theirs) == len(patients)
    assert not ours & theirs
    assert all(len(each) == 1 + DIGITS and each[0] == "p" and each.isascii() for each in ours)


def test_the_mark_tells_salts_apart_and_does_not_hold_them() -> None:
    assert Pseudonyms(SALT).mark != Pseudonyms(SALT[::-1]).mark
    assert Pseudonyms(SALT).mark not in SALT.hex()
    assert len({new_salt() for _ in range(10)}) == 10


def test_a_salt_is_for_its_owner_alone_and_comes_back(tmp_path: Path) -> None:
    write_salt(tmp_path / "salt", SALT)
    assert stat.S_IMODE((tmp_path / "salt").stat().st_mode) == 0o600
    assert read_salt(tmp_path / "salt") == SALT == shared_salt(tmp_path / "salt")
    with pytest.raises(FileExistsError):
        write_salt(tmp_path / "salt", SALT)


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "zz" * 32, "\u00e9" * 64])
def test_a_damaged_salt_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "salt").write_text(text)
    with pytest.raises(DataError, match="salt: expected a salt of 64"):
        shared_salt(tmp_path / "salt")
    with pytest.raises(DataError, match="none: expected"):
        read_salt(tmp_path / "none")


def test_processes_that_ask_at_one_time_get_one_salt(tmp_path: Path) -> None:
    code = "import sys, pathlib, gan_explain.files.pseudonyms as p; print(p.shared_salt(pathlib.Path(sys.argv[1])).hex())"
    args = [sys.executable, "-c", code, str(tmp_path / "deep" / "salt")]
    runs = [subprocess.Popen(args, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({run.communicate(timeout=300)[0] for run in runs}) == 1
    assert [run.returncode for run in runs] == [0] * 4
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["salt"]
