"""From measures to answers: pass, fail or abstain for each question of `audit.thresholds`, and why.

A question fails when one of its limits is broken, passes when all are kept, and abstains otherwise (`audit.checks`): who
validates a CNN should rather hear "open" than a coin toss. A target that does not move is not judged at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gan_explain.audit.checks import Check, Measures, check, movement
from gan_explain.audit.findings import controls, evidence
from gan_explain.audit.summary import summarise
from gan_explain.audit.thresholds import (
    CONTROL,
    FREE_MOVES,
    FREE_OUTSIDE,
    IDS,
    LEAST_IMAGES,
    LEAST_IN_SOURCE,
    QUESTIONS,
    READER,
    Question,
)
from gan_explain.audit.wording import interval, listed, number, percent, share
from gan_explain.metrics.persistence import DISTURBANCES

__all__ = ["check", "controls", "decide", "evidence", "failing", "summarise"]


def decide(
    measures: Measures,
    *,
    judges: Sequence[str] = (),
    has_free: bool = False,
    thresholds: Sequence[Question] = QUESTIONS,
) -> list[dict[str, Any]]:
    """The verdict: {"id", "question", "answer", "why", "checks"} for each question, in the order of the table.

    `judges`: names of the judging networks (transfer.NAME.rises); `has_free`: whether a free map took part.
    """
    moves, still = movement(measures)
    verdict = []
    for question in thresholds:
        checks = list(_checks(question, measures, judges, has_free))
        answer, why = _answer(question, checks, measures)
        if not moves and question.id != "informed":
            answer, why = "abstain", still
        verdict.append({"id": question.id, "question": question.question, "answer": answer, "why": why, "checks": checks})
    return verdict


def failing(verdict: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """The ids of the questions among `names` that fail, in the verdict's order. "any" stands for all of them; with "abstain"
    among the names an open question counts as failed too (of all of them where nothing else is named).

    ValueError, with the names that are known, for any other.
    """
    unknown = sorted(set(names) - {*IDS, "any", "abstain"})
    if unknown:
        raise ValueError(f"expected some of {', '.join((*IDS, 'any', 'abstain'))}, got {', '.join(unknown)}")
    bad = {"fail", "abstain"} if "abstain" in names else {"fail"}
    asked = set(IDS) if "any" in names or set(names) == {"abstain"} else set(names)
    return [each["id"] for each in verdict if each["id"] in asked and each["answer"] in bad]


def _checks(question: Question, measures: Measures, judges: Sequence[str], has_free: bool) -> Iterator[Check]:
    """The checks of a question, its patterns spelled out. Judges that could not be heard (they do not tell the labels apart
    themselves) are left out where another was heard."""
    for limit in question.limits:
        name = limit.measure.removesuffix(".*")
        if limit is FREE_OUTSIDE:
            if has_free and check(FREE_MOVES, measures.get(FREE_MOVES.measure))["answer"] == "pass":
                yield check(limit, measures.get(limit.measure))
        elif name == limit.measure:
            found = check(limit, measures.get(name))
            if found["value"] is not None or not limit.optional:
                yield found
        elif name == "transfer":
            keys = {f"{name}.{judge}.rises": judge for judge in judges}
            heard = [key for key in keys if measures.get(key, {}).get("value") is not None]
            for key in heard or keys:
                words = f"{limit.words} ({keys[key]})"
                yield check(replace(limit, measure=key, words=words), measures.get(key) or measures.get(name))
            if not keys:
                yield check(limit, {"value": None, "reason": "no other networks were given as judges"})
        elif name == "persistence":
            keys = {f"{name}.{each}{way}": each + way for way in ("", ".healed") for each in DISTURBANCES}
            for key, words in keys.items():
                if measures.get(key, {}).get("n", 0) >= LEAST_IMAGES:  # where so many flips are there to survive
                    yield check(replace(limit, measure=key, words=f"{limit.words} ({words})"), measures[key])
            if name in measures:
                yield check(limit, measures[name])
        else:
            for source, found in sorted(measures.get(name, {}).get("by", {}).items()):
                if found.get("value") is not None and found.get("patients", found.get("n", 0)) >= LEAST_IN_SOURCE:
                    words = f"{limit.words} in {source or 'the source without a name'}"
                    yield check(replace(limit, measure=f"{name}[{source}]", words=words), found)


def _answer(question: Question, checks: Sequence[Check], measures: Measures) -> tuple[str, str]:
    """The answer of a question and why, from its checks."""
    broken = [each for each in checks if each["answer"] == "fail"]
    unsure = [each for each in checks if each["answer"] == "abstain"]
    if broken and question.id in ("disease", "healing") and check(READER, measures.get(READER.measure))["answer"] == "fail":
        return "abstain", "what the generator reads does not follow rendered disease: what it lays on and takes off may be none"
    if broken:
        return "fail", "; ".join(map(_sentence, broken))
    if question.id == "outside" and _unseen(measures):
        return "abstain", "a marker planted as a control was not named: this audit could not have seen a shortcut here"
    if question.id == "sources" and max(Counter(each["measure"].partition("[")[0] for each in checks).values(), default=0) < 2:
        few = f"no class has {LEAST_IN_SOURCE} images in each of two sources"
        return "abstain", f"{few}: being right cannot be told from knowing the source"
    if unsure:
        return "abstain", "; ".join([*(_sentence(each) for each in unsure if each["value"] is not None), *_unknown(unsure)])
    if not checks:
        return "abstain", "none of its measures was taken"
    return "pass", "; ".join(map(_sentence, checks))


def _unseen(measures: Measures) -> bool:
    """Whether the positive control ran, and the audit did not name what was planted."""
    value = measures.get(CONTROL, {}).get("value")
    return value is not None and value < 1


def _unknown(checks: Sequence[Check]) -> list[str]:
    """What could not be measured, in words, put together by the reason."""
    reasons: dict[str, list[str]] = {}
    for each in checks:
        if each["value"] is None:
            reasons.setdefault(str(each["reason"]), []).append(each["words"].partition(" (")[0])
    return [f"not known: {listed(list(dict.fromkeys(words)))} ({reason})" for reason, words in reasons.items()]


def _sentence(found: Check) -> str:
    """A check that has a value in words: what, how much, against what."""
    at = found["threshold"]
    asked = f"{found['relation']} {percent(at) + ' %' if found['share'] else number(at)}"
    asked += " of 0" if found["relation"] == "within" else ""
    tail = f"; {found['reason']}" if found["reason"] else ""
    return f"{found['words']} is {share(found) if found['share'] else interval(found)} (asked: {asked}{tail})"
