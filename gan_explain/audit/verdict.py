"""From measures to answers: pass, fail or abstain for each question of `audit.thresholds`, and why.

A question fails when one of its limits is broken, passes when all are kept, and abstains otherwise (`audit.checks`): who
validates a CNN should rather hear "open" than a coin toss. A target that does not move is not judged at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gan_explain.audit.checks import UNKNOWN, Measures, check, movement
from gan_explain.audit.document import Answer, Check, Outcome
from gan_explain.audit.thresholds import (
    CONTROL,
    FREE_MOVES,
    FREE_OUTSIDE,
    IDS,
    LEAST_IMAGES,
    LEAST_IN_SOURCE,
    QUESTIONS,
    READER,
    Limit,
    Question,
)
from gan_explain.audit.wording import interval, listed, number, percent, share
from gan_explain.metrics.measure import Measure
from gan_explain.metrics.persistence import DISTURBANCES
from gan_explain.metrics.registry import Key


def decide(
    measures: Measures,
    *,
    judges: Sequence[str] = (),
    has_free: bool = False,
    thresholds: Sequence[Question] = QUESTIONS,
) -> tuple[Answer, ...]:
    """The verdict: an answer to each question, in the order of the table.

    `judges`: names of the judging networks; `has_free`: whether a free map took part.
    """
    moves, still = movement(measures)
    verdict = []
    for question in thresholds:
        checks = list(_checks(question, measures, judges, has_free))
        answer, why = _answer(question, checks, measures)
        if not moves and question.id != "informed":
            answer, why = "abstain", still
        verdict.append(Answer(question.id, question.question, answer, why, tuple(checks)))
    return tuple(verdict)


def failing(verdict: Sequence[Answer], names: Sequence[str]) -> list[str]:
    """The ids of the questions among `names` that fail, in the verdict's order. "any" stands for all of them; with "abstain"
    among the names an open question counts as failed too (of all of them where nothing else is named).

    ValueError, with the names that are known, for any other.
    """
    unknown = sorted(set(names) - {*IDS, "any", "abstain"})
    if unknown:
        raise ValueError(f"expected some of {', '.join((*IDS, 'any', 'abstain'))}, got {', '.join(unknown)}")
    bad = {"fail", "abstain"} if "abstain" in names else {"fail"}
    chosen = set(IDS) if "any" in names or set(names) == {"abstain"} else set(names)
    return [each.id for each in verdict if each.id in chosen and each.answer in bad]


def _checks(question: Question, measures: Measures, judges: Sequence[str], has_free: bool) -> Iterator[Check]:
    """The checks of a question, those of each judge, disturbance or source one by one."""
    for limit in question.limits:
        if limit.each == "judge":
            yield from _of_judges(limit, measures, judges)
        elif limit.each == "disturbance":
            yield from _of_disturbances(limit, measures)
        elif limit.each == "source":
            for source, found in sorted(measures.get(limit.measure, UNKNOWN).by.items()):
                if found.value is not None and (found.patients or found.n or 0) >= LEAST_IN_SOURCE:
                    words = f"{limit.words} in {source or 'the source without a name'}"
                    yield check(replace(limit, measure=str(Key(limit.measure, source)), words=words), found)
        elif limit != FREE_OUTSIDE or (has_free and check(FREE_MOVES, measures.get(FREE_MOVES.measure)).answer == "pass"):
            each = check(limit, measures.get(limit.measure))
            if each.found.value is not None or not limit.optional:
                yield each


def _of_judges(limit: Limit, measures: Measures, judges: Sequence[str]) -> Iterator[Check]:
    """Judges that could not be heard (they do not tell the labels apart themselves) are left out where another was heard."""
    keys = {str(Key(limit.measure, judge, "rises")): judge for judge in judges}
    heard = [key for key in keys if measures.get(key, UNKNOWN).value is not None]
    for key in heard or keys:
        found = measures.get(key) or measures.get(limit.measure)
        yield check(replace(limit, measure=key, words=f"{limit.words} ({keys[key]})"), found)
    if not keys:
        yield check(limit, Measure.missing("no other networks were given as judges"))


def _of_disturbances(limit: Limit, measures: Measures) -> Iterator[Check]:
    """Those with enough flips that may survive."""
    for key in (Key(limit.measure, each, variant) for variant in ("", "healed") for each in DISTURBANCES):
        found = measures.get(str(key), UNKNOWN)
        if (found.n or 0) >= LEAST_IMAGES:
            words = f"{limit.words} ({key.of}{'.healed' if key.variant else ''})"
            yield check(replace(limit, measure=str(key), words=words), found)
    if limit.measure in measures:
        yield check(limit, measures[limit.measure])


def _answer(question: Question, checks: Sequence[Check], measures: Measures) -> tuple[Outcome, str]:
    """The answer of a question and why, from its checks."""
    broken = [each for each in checks if each.answer == "fail"]
    unsure = [each for each in checks if each.answer == "abstain"]
    if broken and question.id in ("disease", "healing") and check(READER, measures.get(READER.measure)).answer == "fail":
        return "abstain", "what the generator reads does not follow rendered disease: what it lays on and takes off may be none"
    if broken:
        return "fail", "; ".join(map(_sentence, broken))
    if question.id == "outside" and _unseen(measures):
        return "abstain", "a marker planted as a control was not named: this audit could not have seen a shortcut here"
    if question.id == "sources" and max(Counter(Key.parse(each.limit.measure).name for each in checks).values(), default=0) < 2:
        few = f"no class has {LEAST_IN_SOURCE} images in each of two sources"
        return "abstain", f"{few}: being right cannot be told from knowing the source"
    if unsure:
        return "abstain", "; ".join([*(_sentence(each) for each in unsure if each.found.value is not None), *_unknown(unsure)])
    if not checks:
        return "abstain", "none of its measures was taken"
    return "pass", "; ".join(map(_sentence, checks))


def _unseen(measures: Measures) -> bool:
    """Whether the positive control ran, and the audit did not name what was planted."""
    value = measures.get(CONTROL, UNKNOWN).value
    return value is not None and value < 1


def _unknown(checks: Sequence[Check]) -> list[str]:
    """What could not be measured, in words, put together by the reason."""
    reasons: dict[str, list[str]] = {}
    for each in checks:
        if each.found.value is None:
            reasons.setdefault(each.reason, []).append(each.limit.words.partition(" (")[0])
    return [f"not known: {listed(list(dict.fromkeys(words)))} ({reason})" for reason, words in reasons.items()]


def _sentence(each: Check) -> str:
    """A check that has a value in words: what, how much, against what."""
    limit = each.limit
    at = f"{percent(limit.threshold)} %" if limit.share else number(limit.threshold)
    bound = f"{limit.relation} {at}{' of 0' if limit.relation == 'within' else ''}"
    tail = f"; {each.reason}" if each.reason else ""
    return f"{limit.words} is {share(each.found) if limit.share else interval(each.found)} (limit: {bound}{tail})"
