"""What a drawing says about a run: beside its steps, in their details, and over all."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from fleet.drawing.about import About, Fact
from fleet.drawing.picture import Label, Picture
from fleet.drawing.runs.journey import Journey
from fleet.records import outcomes
from fleet.records.lifecycle import RAISED, RETRIED, RETURNED, SUSPENDED, StepRecord
from fleet.workflow.steps import Step

#: Attempts that the details of a step list one by one.
_LISTED = 20
#: Longest text of an error, in characters.
_ERROR = 500
_MOMENT, _MINUTE, _HOUR = 0.001, 60, 3600
_OUTCOMES = {RETURNED: "returned", RAISED: "raised", RETRIED: "raised", SUSPENDED: "suspended"}


def labelled(journey: Journey) -> Picture:
    """Return the picture with how many events went along its arrows, if more than one did."""
    picture, labels = journey.picture, dict(journey.picture.labels)
    for arrow, count in journey.taken.items():
        if count > 1:
            known = labels.get(arrow, Label(""))
            words = f"{known.words} ({count:,})" if known.words else f"{count:,} times"
            labels[arrow] = Label(words, known.is_list)
    return replace(picture, labels=labels)


def about(journey: Journey, node: int, known: About) -> About:
    """Return what is said about a node of the workflow, with what the run did there."""
    if not isinstance(journey.picture.nodes[node].subject, Step):
        return known
    attempts = journey.of_step(node)
    facts = [Fact("failed with", error(journey))] if _has_failed(journey, node) else []
    if node in journey.unfinished and not facts:
        facts.append(Fact("in this run", "has work that is not done"))
    if not attempts and not facts:
        facts.append(Fact("in this run", "did not run"))
    facts += [Fact(_name(one), _attempt(one, journey.began_ms)) for one in attempts[:_LISTED]]
    if len(attempts) > _LISTED:
        facts.append(Fact("more", f"{len(attempts) - _LISTED:,} attempts"))
    return replace(known, facts=(*facts, *known.facts), remark=_remark(journey, node, attempts))


def summary(journey: Journey) -> str:
    """Return the run in a line."""
    run, attempts = journey.run, len(journey.attempts)
    seconds = (journey.ended_ms - journey.began_ms) / 1000
    times = journey.began_ms and journey.ended_ms
    word = "after" if run.outcome != outcomes.RUNNING else ""
    outcome = run.outcome.replace("_", " ")
    took = f" {word} {duration(seconds)}" if times and word else ""
    counted = f"{attempts:,} attempt{'' if attempts == 1 else 's'}"
    return f"run {run.run_id} · {outcome}{took} · {counted}"


def error(journey: Journey) -> str:
    """Return what the run failed with; empty if it did not."""
    failed = journey.failure
    if failed is None:
        return ""
    text = f"{failed.failure.type}: {failed.failure.message}"
    return text if len(text) <= _ERROR else f"{text[: _ERROR - 1]}…"


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < _MOMENT:
        return "<1 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.3g} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"


def outcome(attempt: StepRecord) -> str:
    """Return how an attempt ended, in a word."""
    return _OUTCOMES.get(attempt.outcome, attempt.outcome)


def since(moment: float, began_ms: int) -> str:
    """Return when something was, counted from the run's beginning."""
    seconds = moment - began_ms / 1000
    # Clocks of a broker and a worker differ by a little.
    return f"+{duration(seconds) if seconds >= _MOMENT else '0 ms'}" if began_ms else ""


def _remark(journey: Journey, node: int, attempts: Sequence[StepRecord]) -> str:
    if not attempts:
        return "not done" if node in journey.unfinished else ""
    counts = Counter(map(outcome, attempts))
    several = f"{len(attempts):,} attempts" if len(attempts) > 1 else ""
    other = [f"{count:,} {word}" for word, count in counts.items() if word != "returned"]
    longest = max(attempt.finished - attempt.started for attempt in attempts)
    took = f"{'up to ' if several else ''}{duration(longest)}"
    if not several and other:
        other = [outcome(attempts[0])]
    return " · ".join([*filter(None, [several]), *other, took])


def _has_failed(journey: Journey, node: int) -> bool:
    step, failed = journey.picture.nodes[node].subject, journey.failure
    return failed is not None and isinstance(step, Step) and failed.step in step.names


def _name(attempt: StepRecord) -> str:
    return f"attempt {attempt.attempt} on {attempt.event_type}"


def _attempt(attempt: StepRecord, began_ms: int) -> str:
    took = duration(attempt.finished - attempt.started)
    sent = f", sent {', '.join(dict.fromkeys(attempt.sent))}" if attempt.sent else ""
    awaits = f", awaits {', '.join(attempt.children)}" if attempt.children else ""
    begun = since(attempt.started, began_ms)
    return f"{begun} {outcome(attempt)} after {took}{sent}{awaits}".strip()
