"""
The API part of the reference: classes and functions as their sources describe them.

Sources are read, not imported (griffe), so that annotations are shown as they are written.
"""  # noqa: INP001 - beside a script, no package

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import griffe

import fleet

#: Columns of a signature.
_WIDTH = 92
#: A default that has a name.
_CONSTANT = re.compile(r"(?<== )_?[A-Z][A-Z_]{2,}\b")
#: Objects that public names hand out; you never make them yourself.
_HANDED_OUT = (
    "client.connection.Connection",
    "workflow.store.Store",
    "llm.client.Completion",
    "api.serving.FleetApp",
)
#: Public names of `fleet.dev.kafka` that are no functions.
_KAFKA_TYPES = ("Broker", "LocalBroker")
#: What `fleet.testing` has, each with its home.
_TEST_KIT = (
    "runner.WorkflowTestRunner",
    "runner.WorkflowTestResult",
    "fake_llm.FakeLLM",
    "clock.virtual_time",
    "clock.VirtualTime",
    "failures.fail_step",
    "failures.StepFailures",
    "failures.WorkerCrash",
    "failures.crash_worker",
    "replaying.replay",
)
#: Names for other parts of Fleet, not for you.
_INTERNAL = {
    "Connection": {"control"},
    "Context": {"changes", "sent"},
    "Event": {"type_name"},
    "FleetApp": {"host"},
    "Store": {"edit_state"},
    "Workflow": {"app", "event_type", "make_start_event", "result_of", "timeout"},
    "WorkflowHandler": {"end_stream", "fail", "judged", "show", "succeed"},
}


def load(root: Path) -> griffe.Module:
    """Return the package `fleet` below *root*, as its sources have it."""
    package = griffe.load("fleet", search_paths=[root], resolve_aliases=True)
    assert isinstance(package, griffe.Module), "fleet is a package"
    return package


def sections(package: griffe.Module) -> Iterator[str]:
    """Yield the API, what it hands out, and what there is for development, as Markdown."""
    yield "## API\n\nImport these from `fleet`."
    for name in sorted(fleet.__all__, key=str.lower):
        found = _object(package, name)
        # Errors have a section of their own.
        if not is_error(found):
            yield from _described(found)
    yield "### Handed out\n\nWhat the names above return or carry; you do not make these yourself."
    for path in _HANDED_OUT:
        yield from _described(_object(package, path), "####")
    yield from _development(package)


def errors(package: griffe.Module) -> Iterator[griffe.Class]:
    """Yield every error of the package, by name."""
    found = {each.path: each for each in _classes(package) if is_error(each)}
    yield from sorted(found.values(), key=lambda each: each.name)


def is_error(found: object) -> bool:
    """Tell whether this is one of Fleet's errors."""
    return isinstance(found, griffe.Class) and any(
        each.name == "FleetError" for each in (found, *found.mro())
    )


def text(found: griffe.Object) -> str:
    """Return a docstring as Markdown."""
    return found.docstring.value.strip() if found.docstring else ""


def comment(member: griffe.Object) -> str:
    """Return the `#:` lines above an attribute or field, as one."""
    assert isinstance(member.filepath, Path), "our modules are files"
    lines = member.filepath.read_text().splitlines()[: (member.lineno or 1) - 1]
    found: list[str] = []
    while lines and (line := lines.pop().strip()).startswith("#:"):
        found.insert(0, line.removeprefix("#:").strip())
    return " ".join(found)


def _development(package: griffe.Module) -> Iterator[str]:
    yield "## Development and tests"
    kafka = package["dev.kafka"]
    yield _module(kafka)
    for member in _own(kafka):
        if isinstance(member, griffe.Function) or member.name in _KAFKA_TYPES:
            yield from _described(member, "####")
    yield _module(package["testing"])
    for path in _TEST_KIT:
        yield from _described(package[f"testing.{path}"], "####")
    yield _module(package["testing.pytest_plugin"])
    for name in ("fleet_broker", "scripted_llm"):
        yield from _described(package[f"testing.pytest_plugin.{name}"], "####")
    yield from _described(package["testing.scripted.ScriptedModel"], "####")
    llm = package["dev.llm"]
    yield _module(llm)
    for name in sorted(str(each).strip("'\"") for each in llm.exports or ()):
        if not is_error(found := _object(llm, name)):
            yield from _described(found, "####")


def _module(module: griffe.Module) -> str:
    return f"### `{module.path}`\n\n{text(module)}"


def _own(module: griffe.Module) -> Iterator[griffe.Object]:
    for name, member in module.members.items():
        if not name.startswith("_") and not member.is_alias:
            assert isinstance(member, griffe.Object), "an object that is no alias"
            yield member


def _classes(module: griffe.Module) -> Iterator[griffe.Class]:
    for member in module.members.values():
        if isinstance(member, griffe.Module):
            yield from _classes(member)
        elif isinstance(member, griffe.Class) and not member.name.startswith("_"):
            yield member


def _object(within: griffe.Object, path: str) -> Any:
    found = within[path]
    return found.final_target if found.is_alias else found


def _described(found: griffe.Object, level: str = "###") -> Iterator[str]:
    """Yield heading, signature and text of a class or function, then what a class has."""
    yield f"{level} `{found.name}`"
    yield _code(_declarations(found))
    yield text(found) or comment(found)
    if isinstance(found, griffe.Class):
        yield from _attributes(found)
        yield from _methods(found)


def _declarations(found: griffe.Object) -> Iterator[str]:
    if isinstance(found, griffe.Class):
        yield _constructor(found)
    elif isinstance(found, griffe.Function):
        yield _decorators(found) + _signature(found, found.name)
    elif isinstance(found, griffe.Attribute):
        yield f"{found.name} = {found.value}"


def _constructor(found: griffe.Class) -> str:
    init = found.all_members.get("__init__")
    if isinstance(init, griffe.Function) and found.name not in _handed_out():
        return _signature(init, f"class {found.name}", returns=False)
    bases = ", ".join(str(base) for base in found.bases)
    return f"class {found.name}({bases})" if bases else f"class {found.name}"


def _handed_out() -> Iterable[str]:
    # A step and a caller get these two as well.
    return ["Context", "WorkflowHandler", *(path.rpartition(".")[2] for path in _HANDED_OUT)]


def _decorators(function: griffe.Function) -> str:
    shown = ("classmethod", "staticmethod", "contextmanager", "pytest.fixture")
    return "".join(
        f"@{decorator.value}\n"
        for decorator in function.decorators
        if str(decorator.value).startswith(shown)
    )


def _signature(function: griffe.Function, name: str, *, returns: bool = True) -> str:
    """Return a signature as it is written, over several lines where it is long."""
    parameters = _parameters(function)
    before = "async def " if "async" in function.labels else ""
    after = f" -> {function.returns}" if returns and function.returns is not None else ""
    line = f"{before}{name}({', '.join(parameters)}){after}"
    if len(line) <= _WIDTH:
        return line
    inner = "".join(f"    {each},\n" for each in parameters)
    return f"{before}{name}(\n{inner}){after}"


def _parameters(function: griffe.Function) -> list[str]:
    # Without `self` and `cls`, by griffe's own care.
    written = str(function.signature(return_type=False, name="f"))
    parameters = [
        _CONSTANT.sub(lambda found: _value(found[0], function), each)
        for each in _split(written.removeprefix("f(").removesuffix(")"))
    ]
    return parameters[1:] if parameters[:1] == ["/"] else parameters


def _value(constant: str, function: griffe.Function) -> str:
    """Return a default as a reader wants it: the value of a constant, dots for a private one."""
    if constant.startswith("_"):
        return "..."
    found = _object(function.module, constant)
    return str(found.value) if isinstance(found, griffe.Attribute) else constant


def _split(parameters: str) -> Iterator[str]:
    """Split at the commas that are in no brackets."""
    depth, piece = 0, ""
    for character in parameters:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and not depth:
            yield piece.strip()
            piece = ""
        else:
            piece += character
    if piece.strip():
        yield piece.strip()


def _attributes(found: griffe.Class) -> Iterator[str]:
    lines = [
        _attribute(member) for member in _public(found) if isinstance(member, griffe.Attribute)
    ]
    if lines:
        yield "\n".join(lines)


def _attribute(member: griffe.Attribute) -> str:
    kind = f": {member.annotation}" if member.annotation is not None else ""
    # What a constructor assigns, and what a property computes, is no default.
    is_field = member.value is not None and "class-attribute" in member.labels
    default = f" = {member.value}" if is_field else ""
    about = " ".join((text(member) or comment(member)).split())
    return f"- `{member.name}{kind}{default}`" + (f": {about}" if about else "")


def _methods(found: griffe.Class) -> Iterator[str]:
    for member in _public(found):
        if isinstance(member, griffe.Function):
            signature = f"{_decorators(member)}{_signature(member, member.name)}"
            yield f"**`{found.name}.{member.name}`**"
            yield _code([signature])
            yield text(member)


def _public(found: griffe.Class) -> Iterator[griffe.Object]:
    hidden = {"model_config", *_INTERNAL.get(found.name, ())}
    for name in [*found.members, *found.inherited_members]:
        member = _object(found, name)
        # What a public base has is said there.
        is_elsewhere = member.parent is not found and member.parent.name in fleet.__all__
        if not (name.startswith("_") or name in hidden or is_elsewhere):
            yield member


def _code(declarations: Iterable[str]) -> str:
    return "```text\n" + "\n".join(declarations) + "\n```"
