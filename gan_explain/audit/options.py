"""How an audit is made."""

from __future__ import annotations

from dataclasses import dataclass

from gan_explain.metrics.change import Settings


@dataclass(frozen=True, kw_only=True)
class AuditOptions(Settings):
    """How to audit. `by`: columns of the manifest to compare subgroups by; `quick`: curves, flips, shares, transplants and the
    probe only; `show`: pictures to keep; `donors`: of each class, for a transplant; `transplanted`: about how many patients
    receive transplants; `marker`: share of positives with a marker in the positive control, None for none. ValueError for what is
    out of range."""

    by: tuple[str, ...] = ()
    quick: bool = False
    show: int = 200
    donors: int = 4
    transplanted: int = 128
    marker: float | None = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.show < 0 or self.donors < 1 or self.transplanted < 1 or not 0 <= (self.marker or 0) <= 1:
            raise ValueError(f"expected show >= 0, donors and transplanted >= 1 and a marker from 0 to 1, got {self}")

    def as_json(self) -> dict[str, object]:
        return {**vars(self), "by": list(self.by), "strengths": list(self.strengths)}
