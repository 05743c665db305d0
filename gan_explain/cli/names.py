"""What results call patients, images and datasets: pseudonyms under a salt, contents in place of names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gan_explain.cli.hiding import is_phantom
from gan_explain.cli.run import Run

if TYPE_CHECKING:
    from gan_explain.files.pseudonyms import Pseudonyms
    from gan_explain.types import Record


class Salt:
    """The salt of one invocation: that of --salt, else of the output folder (`beside`: of the folder that holds it), where later
    runs find it. It is read at once and made when the first names are asked for; at once in its place where the output folder
    `fills` up while the command works (and other processes may work in it), else put there by `keep`. DataError where it cannot
    be read."""

    def __init__(self, run: Run, *, beside: bool = False, fills: bool = False) -> None:
        from gan_explain.files.pseudonyms import SALT, read_salt

        self._run, self._inside = run, run.salt is None and not (beside or fills)
        self.path = run.salt or (run.out.absolute().parent if beside else run.out) / SALT
        self._value = read_salt(self.path) if not run.plain_names and self.path.exists() else None

    def names(self, records: Sequence[Record] = ()) -> Pseudonyms:
        """The public names of the patients and images of a dataset, noted in run.json; their own with --salt none."""
        from gan_explain.files.pseudonyms import Pseudonyms, new_salt, shared_salt

        if self._run.plain_names:
            return Pseudonyms(None, records)
        if self._value is None:
            self._value = new_salt() if self._inside or self._run.dry_run else shared_salt(self.path)
        found = Pseudonyms(self._value, records)
        self._run.record(patient_ids={"method": "HMAC-SHA256", "salt": found.mark})
        return found

    def keep(self, folder: Path) -> None:
        """Put the salt of an output folder among its files."""
        from gan_explain.files.pseudonyms import SALT, write_salt

        if self._inside and self._value is not None:
            write_salt(folder / SALT, self._value)


def shown_name(run: Run, path: Path, sha256: str) -> str:
    """What a result calls an image file: by its content, since its name may be the patient's; its name with --salt none."""
    return path.name if run.plain_names else f"radiograph {sha256[:8]}"


def shown_data(run: Run, data: str, fingerprint: str) -> str:
    """What a result calls a dataset: a phantom by its options, any other by its content; its name with --salt none."""
    if is_phantom(data):
        return data
    return Path(data).name if run.plain_names else f"dataset {fingerprint[:8]}"
