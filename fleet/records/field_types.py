"""
What the types of an event's fields promise about their values, read from pydantic's schema.

There are three kinds of types. Of the first, every value comes back as it was (text, dates, lists
of those): Fleet checks nothing when it writes such an event. Of the second, no value comes back:
that is a finding at import. Of the rest, Fleet checks each value when it writes it. A type whose
schema says something unknown belongs to the rest.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, Flag
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel, PydanticUserError, TypeAdapter

from fleet.records.clear_text import MARK
from fleet.records.values import SECRETS, plain

#: Tells at once whether a value comes back as it was; False: try it.
Quick = Callable[[Any], bool]
Node = Mapping[str, Any]

#: Settings of a model that change no value on its way.
_HARMLESS = frozenset(
    {
        "arbitrary_types_allowed",
        "defer_build",
        "extra",
        "from_attributes",
        "frozen",
        "ignored_types",
        "json_schema_extra",
        "populate_by_name",
        "protected_namespaces",
        "ser_json_bytes",
        "ser_json_inf_nan",
        "title",
        "use_attribute_docstrings",
        "val_json_bytes",
        "validate_assignment",
        "validate_by_alias",
        "validate_by_name",
        "validate_default",
    }
)
#: What a schema may say of a plain type without narrowing it. Other limits may not hold: a value
#: can get past the validation (`model_copy`, `model_construct`).
_SAYS_NOTHING = frozenset(
    {"type", "metadata", "ref", "strict", "cls", "members", "sub_type", "microseconds_precision"}
)
#: In a union of these, JSON itself tells the members apart.
_DISTINCT = frozenset({"str", "int", "float", "bool", "none"})
#: Types of dictionary keys that never come back: keys are text in JSON.
_NO_KEYS = {
    "tuple": "a tuple",
    "list": "a list",
    "set": "a set",
    "frozenset": "a frozenset",
    "dict": "a dict",
    "model": "a model",
    "dataclass": "a dataclass",
    "typed-dict": "a dict",
    "none": "None",
}
_MOST_MEMBERS = 1_000
_CLEAR = "and topics are clear text"


@dataclass(frozen=True, slots=True)
class Promise:
    """What the field types of one event type promise."""

    #: Why no such event can ever be read: a finding names its field and the way out.
    findings: tuple[str, ...]
    #: Tells whether an event surely comes back as it is; False: try it.
    kept: Quick


def promise(event_type: type[BaseModel]) -> Promise:
    """Return what the fields of *event_type* promise, as far as its names resolve now."""
    reader = _Reader()
    quick = reader.read(event_type)
    fields = len(event_type.model_fields)
    kept = _never if quick is None else partial(_kept, event_type, fields, tuple(quick.items()))
    return Promise(tuple(dict.fromkeys(reader.findings)), kept)


def _never(_: Any) -> bool:
    return False


def _small(value: Any) -> bool:
    return type(value) is int and -(10**18) < value < 10**18


def _finite(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _finite_decimal(value: Any) -> bool:
    return type(value) is Decimal and value.is_finite()


def _exact(kind: type, value: Any) -> bool:
    return type(value) is kind


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_date(value: Any) -> bool:
    return type(value) is date


def _whole_minutes(value: Any) -> bool:
    """Tell whether JSON can carry a time's zone: it has offsets in whole minutes."""
    if type(value) is not datetime and type(value) is not time:
        return False
    if value.tzinfo is None:
        return True
    offset = value.utcoffset()
    return offset is not None and not offset.total_seconds() % 60


def _of_many(quick: Quick | None) -> Quick | None:
    """Return the check that a collection's members need: none for text and dates."""
    return None if quick in (_is_text, _is_date) else quick


def _none_or(quick: Quick, value: Any) -> bool:
    return value is None or quick(value)


def _each(quick: Quick, values: Any) -> bool:
    return all(map(quick, values))


def _entries(keys: Quick | None, values: Quick | None, entries: Any) -> bool:
    return (keys is None or all(map(keys, entries))) and (
        values is None or all(map(values, entries.values()))
    )


def _with(quick: Quick) -> "Callable[[_Reader, Node, str], Quick | None]":
    """Return a reader of a plain type whose values need a check."""
    return lambda _, node, __: quick if _SAYS_NOTHING.issuperset(node) else _never


def _refused(what: str, instead: str) -> "Callable[[_Reader, Node, str], Quick | None]":
    """Return a reader of a type that JSON lacks."""

    def reader(self: "_Reader", _: Node, where: str) -> Quick:
        self.findings.append(f"{where} is {what}, which JSON does not have; {instead}")
        return _never

    return reader


class _Reader:
    """Walks a schema. `None` stands for a type that promises everything."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self._definitions: dict[str, Node] = {}
        self._entered: set[str] = set()

    def read(self, event_type: type[BaseModel]) -> dict[str, Quick] | None:
        """Return the fields that need a look; None if the whole event has to be tried."""
        if not event_type.__pydantic_complete__:
            try:
                event_type.model_rebuild(raise_errors=False)
            except (PydanticUserError, NameError, TypeError):
                return None
        schema: Any = event_type.__pydantic_core_schema__
        if not event_type.__pydantic_complete__ or not isinstance(schema, dict):
            return None
        model, doubtful = self._model(schema)
        if model is None:
            return None
        quick = self._fields(model, event_type.__name__)
        sure = not doubtful and _harmless(event_type) and _plain_model(model)
        return quick if sure else None

    def _model(self, node: Node) -> tuple[Node | None, bool]:
        """Return the schema of the event itself, and whether validators come before it."""
        doubtful = False
        while node["type"] != "model":
            if node["type"] == "definitions":
                self._definitions |= {schema["ref"]: schema for schema in node["definitions"]}
            elif node["type"] == "definition-ref":
                self._entered.add(node["schema_ref"])
                node = self._definitions[node["schema_ref"]]
                continue
            else:
                doubtful = True
            if "schema" not in node:
                return None, True
            node = node["schema"]
        self._entered.add(node.get("ref", ""))
        return node, doubtful

    def _fields(self, model: Node, where: str) -> dict[str, Quick]:
        inner, found = model["schema"], {}
        while inner["type"] != "model-fields":
            if "schema" not in inner:
                return {}
            inner = inner["schema"]
        for name, field in inner["fields"].items():
            quick = self._field(field, f"{where}.{name}")
            if quick is not None:
                found[name] = quick
        return found

    def _field(self, field: Node, where: str) -> Quick | None:
        quick = self.look(field["schema"], where)
        if field.get("serialization_exclude"):
            if field["schema"]["type"] != "default":
                self.findings.append(
                    f"{where} is required and never written (exclude=True); give it a default, or "
                    "let it be written"
                )
            return _never
        aliased = field.get("validation_alias") not in (None, where.rpartition(".")[2])
        return _never if aliased or "serialization_exclude_if" in field else quick

    def look(self, node: Node, where: str) -> Quick | None:
        """Return the check that a type's values need; note findings."""
        if node.get("metadata", {}).get(MARK):
            return _never
        kind = node["type"]
        reader = self._BY_KIND.get(kind)
        if reader is None:
            self._look_inside(node, where)
            return _never
        quick = reader(self, node, where)
        return _never if "serialization" in node else quick

    def _look_inside(self, node: Node, where: str) -> None:
        """Look for secrets only: a validator may turn JSON into what its inner schema needs."""
        before = len(self.findings)
        for key in ("schema", "lax_schema", "items_schema"):
            inner = node.get(key)
            if isinstance(inner, dict):
                self.look(inner, where)
        self._forget_from(before)

    def _forget_from(self, number: int) -> None:
        self.findings[number:] = [
            finding for finding in self.findings[number:] if _CLEAR in finding
        ]

    # -- kinds of types -------------------------------------------------------------------------

    def _plain(self, node: Node, where: str) -> Quick | None:
        return None if _SAYS_NOTHING.issuperset(node) else _never

    def _inner(self, node: Node, where: str) -> Quick | None:
        return self.look(node["schema"], where)

    def _nullable(self, node: Node, where: str) -> Quick | None:
        quick = self.look(node["schema"], where)
        return quick and partial(_none_or, quick)

    def _members(self, node: Node, where: str) -> Quick | None:
        inner = node.get("items_schema", {"type": "any"})
        quick = _of_many(self.look(inner, where))
        if not _SAYS_NOTHING.issuperset(set(node) - {"items_schema", "fail_fast"}):
            return _never
        return quick and partial(_each, quick)

    def _tuple(self, node: Node, where: str) -> Quick | None:
        quick = [_of_many(self.look(schema, where)) for schema in node["items_schema"]]
        known = {*_SAYS_NOTHING, "items_schema", "variadic_item_index"}
        return None if not any(quick) and known.issuperset(node) else _never

    def _dict(self, node: Node, where: str) -> Quick | None:
        keys, values = node.get("keys_schema", {"type": "any"}), node.get("values_schema")
        if "serialization" not in keys and keys["type"] in _NO_KEYS:
            self.findings.append(
                f"{where} has {_NO_KEYS[keys['type']]} as a key, and keys are text in JSON; use "
                "text as keys, or a list of pairs"
            )
        of_keys = _of_many(self.look(keys, where)) if keys["type"] in {"str", "int"} else _never
        if keys["type"] == "any":
            of_keys = partial(_exact, str)
        of_values = _of_many(self.look(values or {"type": "any"}, where))
        if not _SAYS_NOTHING.issuperset(set(node) - {"keys_schema", "values_schema", "fail_fast"}):
            return _never
        both_sure = of_keys is None and of_values is None
        return None if both_sure else partial(_entries, of_keys, of_values)

    def _union(self, node: Node, where: str) -> Quick | None:
        choices = [choice[0] if isinstance(choice, tuple) else choice for choice in node["choices"]]
        quick, before, without = [], len(self.findings), 0
        for choice in choices:
            known = len(self.findings)
            quick.append(self.look(choice, where))
            without += known == len(self.findings)
        if without:
            # Such a field may only ever hold one of the types.
            self._forget_from(before)
        distinct = _DISTINCT.issuperset(choice["type"] for choice in choices)
        return plain if distinct and _never not in quick else _never

    def _tagged(self, node: Node, where: str) -> Quick | None:
        for choice in node["choices"].values():
            if isinstance(choice, dict):
                self.look(choice, where)
        return _never

    def _reference(self, node: Node, where: str) -> Quick | None:
        name = node["schema_ref"]
        if name in self._entered or name not in self._definitions:
            # It may hold another of its type, and JSON is read to a depth of 200.
            return _never
        self._entered.add(name)
        quick = self.look(self._definitions[name], where)
        self._entered.discard(name)
        return quick

    def _with_definitions(self, node: Node, where: str) -> Quick | None:
        self._definitions |= {schema["ref"]: schema for schema in node["definitions"]}
        return self.look(node["schema"], where)

    def _nested(self, node: Node, where: str) -> Quick | None:
        quick = self._fields(node, where)
        kind: type[BaseModel] = node["cls"]
        if not _plain_model(node) or not _harmless(kind):
            return _never
        # It may be of a subclass, so every value needs a check.
        return partial(_kept, kind, len(kind.model_fields), tuple(quick.items()))

    def _dataclass(self, node: Node, where: str) -> Quick | None:
        inner = node["schema"]
        while "fields" not in inner and "schema" in inner:
            inner = inner["schema"]
        for field in inner.get("fields", ()):
            self.look(field["schema"], f"{where}.{field['name']}")
        return _never

    def _typed_dict(self, node: Node, where: str) -> Quick | None:
        for name, field in node["fields"].items():
            self.look(field["schema"], f"{where}.{name}")
        return _never

    def _enum(self, node: Node, where: str) -> Quick | None:
        enum: type[Enum] = node["cls"]
        if issubclass(enum, Flag) or not 0 < len(enum) <= _MOST_MEMBERS:
            return _never
        adapter = TypeAdapter(enum)
        kept = [member for member in enum if _comes_back(adapter, member)]
        if not kept:
            self.findings.append(
                f"{where} is a {enum.__name__}, of which no member comes back from JSON; give its "
                "members text or numbers as values"
            )
        return partial(_exact, enum) if len(kept) == len(enum) else _never

    def _literal(self, node: Node, where: str) -> Quick | None:
        kinds = {type(value) for value in node["expected"]}
        return None if kinds <= {str} or kinds <= {int, bool} else _never

    def _either(self, node: Node, where: str) -> Quick | None:
        for secret in _secrets(node.get("python_schema")):
            self._secret(secret, where)
        self.look(node["json_schema"], where)
        return _never

    def _secret(self, secret: type, where: str) -> None:
        name = secret.__name__.partition("[")[0]
        self.findings.append(
            f"{where} is a {name}, {_CLEAR}; send where the secret is kept, or "
            f"declare the field as `Annotated[{name}, ClearText]` to write it all the same"
        )

    def _instance(self, node: Node, where: str) -> Quick | None:
        name = getattr(node.get("cls"), "__name__", "class")
        self.findings.append(
            f"{where} is a {name}, which cannot be read from JSON; use a pydantic model or a "
            f"dataclass, or give {name} a `__get_pydantic_core_schema__`"
        )
        return _never

    _BY_KIND: ClassVar[dict[str, Callable[["_Reader", Node, str], Quick | None]]] = {
        "str": _with(_is_text),
        "bool": _plain,
        "none": _plain,
        "date": _with(_is_date),
        "timedelta": _plain,
        "int": _with(_small),
        "float": _with(_finite),
        "decimal": _with(_finite_decimal),
        "uuid": _with(partial(_exact, UUID)),
        "datetime": _with(_whole_minutes),
        "time": _with(_whole_minutes),
        "any": _with(plain),
        "enum": _enum,
        "literal": _literal,
        "default": _inner,
        "custom-error": _inner,
        "nullable": _nullable,
        "list": _members,
        "set": _members,
        "frozenset": _members,
        "tuple": _tuple,
        "dict": _dict,
        "union": _union,
        "tagged-union": _tagged,
        "definition-ref": _reference,
        "definitions": _with_definitions,
        "model": _nested,
        "dataclass": _dataclass,
        "typed-dict": _typed_dict,
        "json-or-python": _either,
        "is-instance": _instance,
        "is-subclass": _refused("a class", "put its name in"),
        "callable": _refused("a function", "put its name in"),
        "generator": _refused("an Iterable, read only once", "declare a list"),
    }


def _kept(
    kind: type[BaseModel], size: int, quick: tuple[tuple[str, Quick], ...], model: Any
) -> bool:
    """Tell whether a model surely comes back as it is."""
    if type(model) is not kind:
        return False
    values, extra = model.__dict__, model.__pydantic_extra__
    if len(values) < size or (extra and not plain(extra)):
        return False
    # No generator: every event that is written pays for this loop.
    for name, look in quick:  # noqa: SIM110
        if not look(values.get(name)):
            return False
    return True


def _harmless(kind: type[BaseModel]) -> bool:
    return all(name in _HARMLESS or not value for name, value in kind.model_config.items())


def _plain_model(model: Node) -> bool:
    """Tell whether a model consists of its fields alone."""
    said = {"post_init", "custom_init", "root_model", "serialization"}
    private = getattr(model["cls"], "__private_attributes__", None)
    return (
        model["schema"]["type"] == "model-fields"
        and not private
        and said.isdisjoint({name for name in said if model.get(name)})
    )


def _comes_back(adapter: TypeAdapter[Any], member: Enum) -> bool:
    try:
        return adapter.validate_json(adapter.dump_json(member)) is member
    except Exception:  # noqa: BLE001 - the boundary: an enum may have its own code
        return False


def _secrets(node: Any) -> Iterator[type]:
    """Yield the secret classes that a schema names."""
    if isinstance(node, dict):
        if isinstance(node.get("cls"), type) and issubclass(node["cls"], SECRETS):
            yield node["cls"]
        for below in node.values():
            yield from _secrets(below)
    elif isinstance(node, list | tuple):
        for below in node:
            yield from _secrets(below)
