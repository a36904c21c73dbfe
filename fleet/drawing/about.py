"""What a drawing tells about the node that you choose: types, fields, options, docstrings."""

import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from fleet.drawing.picture import Kind, Picture, counted, told
from fleet.records.events import Event, type_name
from fleet.workflow import definition
from fleet.workflow.collect import Take
from fleet.workflow.steps import DEFAULT_NUM_WORKERS, Step

#: A join of more parameters is counted, and not named, below the step.
_NAMED_SLOTS = 2


@dataclass(frozen=True, slots=True)
class Fact:
    """A line about a node: words, or the nodes it points to."""

    name: str
    words: str = ""
    nodes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an event."""

    name: str
    type: str
    #: `required`, or its default as Python writes it.
    default: str
    description: str


@dataclass(frozen=True, slots=True)
class About:
    """The details of a node."""

    what: str
    facts: tuple[Fact, ...]
    docstring: str = ""
    #: None if the node is no event.
    fields: tuple[Field, ...] | None = None
    #: The event takes more fields than it declares.
    takes_any: bool = False
    #: A line below a step's name in the drawing itself.
    remark: str = ""


def about(picture: Picture, node: int) -> About:
    """Tell about *node* of *picture*."""
    found = picture.nodes[node]
    if isinstance(found.subject, Step):
        return _step(found.subject, picture, node)
    if found.subject is not None:
        return _event(found.subject, picture, node)
    return About(found.name, _marker(found.kind, picture, node))


def _step(step: Step, picture: Picture, node: int) -> About:
    returns = [other for other in picture.after(node) if picture.nodes[other].subject is not None]
    returns = [other for other in returns if (node, other) not in picture.failures]
    taken = [other for other in picture.before(node) if (other, node) not in picture.failures]
    facts = (
        Fact("takes", _taken(step), tuple(taken)),
        _handles(step, picture, node),
        Fact("returns", _returned(step), tuple(returns)),
        Fact("its failures go to", nodes=tuple(to for by, to in picture.failures if by == node)),
        Fact("num_workers", f"{step.options.num_workers} attempts at a time in each run"),
        Fact("timeout", _timeout(step) or "none of its own"),
        Fact("defined in", _home(step.function)),
    )
    return About("step", facts, told(step), remark=_remark(step))


def _taken(step: Step) -> str:
    failure = "a StepFailedEvent" if step.options.catches is not None else ""
    return "; ".join(filter(None, [_joined(step), _subclasses(step), failure]))


def _handles(step: Step, picture: Picture, node: int) -> Fact:
    catches = step.options.catches
    if catches is None:
        return Fact("handles failures of")
    most = f"at most {catches.max_recoveries} in one lineage"
    sources = sorted(source for source, target in picture.failures if target == node)
    return Fact("handles failures of", most, tuple(sources))


def _joined(step: Step) -> str:
    if step.collect is None:
        return "one of each, and begins with the last of them" if step.is_join else ""
    if isinstance(step.collect.cardinality, Take):
        return f"as a list; it begins with the {counted(step.collect)} of a fan-out"
    return "as a list; it begins when every branch of a fan-out has ended"


def _subclasses(step: Step) -> str:
    if not step.options.accept_event_subclasses:
        return ""
    return f"also subclasses of {' and '.join(type_name(event) for event in step.accepts)}"


def _returned(step: Step) -> str:
    if not step.returns:
        return "None: its branch ends here, the run goes on"
    ways = [
        f"a list of {' and '.join(type_name(event) for event in step.fans_out)}, each a branch"
        if step.fans_out
        else "",
        "or None, which ends its branch" if step.may_end else "",
    ]
    return ", ".join(filter(None, ways))


def _remark(step: Step) -> str:
    workers, timeout = step.options.num_workers, step.options.timeout_seconds
    usual = DEFAULT_NUM_WORKERS if step.options.catches is None else 1
    remarks = [
        _joins(step),
        "handles failures" if step.options.catches is not None else "",
        "fans out" if step.fans_out else "",
        f"num_workers {workers}" if workers != usual else "",
        f"timeout {timeout:g} s" if timeout is not None else "",
        "may end its branch" if step.may_end and step.returns else "",
    ]
    return " · ".join(filter(None, remarks))


def _joins(step: Step) -> str:
    if step.collect is not None:
        return f"joins {counted(step.collect)}"
    if len(step.slots) > _NAMED_SLOTS:
        return f"joins {len(step.slots)} events"
    return f"joins {' and '.join(slot.parameter for slot in step.slots)}" if step.is_join else ""


def _timeout(step: Step) -> str:
    seconds = step.options.timeout_seconds
    return "" if seconds is None else f"{seconds:g} s for each attempt"


def _event(event: type[Event], picture: Picture, node: int) -> About:
    start, steps = definition.graph(picture.workflow).start, {Kind.STEP}
    made_by = [other for other in picture.before(node) if picture.nodes[other].kind in steps]
    taken_by = [other for other in picture.after(node) if picture.nodes[other].kind in steps]
    ends = picture.nodes[node].kind is Kind.RESULT
    facts = (
        Fact("returned by", "the caller, who starts a run" * (event is start), tuple(made_by)),
        Fact("accepted by", "the caller, as the result" * ends, tuple(taken_by)),
        Fact("defined in", _home(event)),
    )
    what = "result event" if ends else "start event" if event is start else "event"
    fields = tuple(_field(*item) for item in event.model_fields.items())
    takes_any = event.model_config.get("extra") == "allow"
    return About(what, facts, told(event), fields, takes_any)


def _field(name: str, field: FieldInfo) -> Field:
    default = "required" if field.is_required() else _default(field)
    return Field(name, shown_type(field.annotation), default, field.description or "")


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return f"{getattr(field.default_factory, '__name__', 'made')}()"
    return repr(field.default)


def _marker(kind: Kind, picture: Picture, node: int) -> tuple[Fact, ...]:
    before, after = tuple(picture.before(node)), tuple(picture.after(node))
    near = {
        Kind.START: (Fact("a run begins with", nodes=after),),
        Kind.DONE: (Fact("a run ends with", nodes=before),),
        Kind.DEAD_END: (Fact("a branch ends after", nodes=before),),
        Kind.OUTSIDE: (Fact("is asked with", nodes=before), Fact("answers with", nodes=after)),
    }
    return near[kind]


def _home(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def shown_type(hint: object) -> str:
    """Write *hint* as in source code, without modules."""
    if hint is None or hint is types.NoneType:
        return "None"
    if hint is Ellipsis:
        return "..."
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(shown_type, arguments))
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is typing.Annotated:
        return shown_type(arguments[0])
    name = getattr(origin or hint, "__name__", str(hint))
    return f"{name}[{_listed(arguments)}]" if arguments else name


def _listed(hints: Iterable[object]) -> str:
    shown = (f"[{_listed(hint)}]" if isinstance(hint, list) else shown_type(hint) for hint in hints)
    return ", ".join(shown)
