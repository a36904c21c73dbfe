"""
Which model the state of a workflow's runs has: what its steps name in `ctx: Context[MyState]`.

Steps may name several models if one of them inherits from all others. That one is the state's, so
each step gets an object of the model that it names.
"""

import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, RootModel

from fleet.records import field_types
from fleet.workflow.context_state.dict_state import DictState
from fleet.workflow.errors import WorkflowValidationError

Model = type[BaseModel]


def named(hint: Any, step: str) -> Model | None:
    """Return the model that a step's annotation of its context names; None if it names none.

    Raises WorkflowValidationError if it names something else.
    """
    arguments = typing.get_args(hint)
    if not arguments or arguments[0] in (Any, DictState) or _is_open(arguments[0]):
        return None
    (found,) = arguments
    is_model = isinstance(found, type) and issubclass(found, BaseModel)
    if is_model and not issubclass(found, RootModel):
        model: Model = found
        return model
    shown, kind = getattr(found, "__name__", found), "model with fields" if is_model else "model"
    finding = (
        f"step {step} names the state {shown}, which is no pydantic {kind}; write "
        "`ctx: Context`, or subclass pydantic.BaseModel"
    )
    raise WorkflowValidationError(step, [finding])


def _is_open(argument: Any) -> bool:
    return isinstance(argument, typing.TypeVar)


def most_derived(models: Iterable[Model | None]) -> Model | None:
    """Return the model that inherits from all others; None if there is none."""
    found = list(dict.fromkeys(model for model in models if model is not None))
    return next((model for model in found if all(issubclass(model, one) for one in found)), None)


def findings(by_step: Mapping[str, Model | None]) -> Iterator[str]:
    """Yield why the steps' models make no state, each finding with the way out."""
    models = list(dict.fromkeys(model for model in by_step.values() if model is not None))
    if models and most_derived(models) is None:
        listed = ", ".join(f"{model.__name__} ({_steps(by_step, model)})" for model in models)
        yield (
            f"the steps name states of which none inherits from all others: {listed}; let one "
            "inherit from the others, or name one in all steps"
        )
    for model in models:
        for field in (name for name, info in model.model_fields.items() if info.is_required()):
            yield (
                f"the state {model.__name__} ({_steps(by_step, model)}) has no default for "
                f"{field}, and a run begins with defaults; give it one"
            )
        yield from field_types.promise(model).findings


def _steps(by_step: Mapping[str, Model | None], model: Model) -> str:
    names = [step for step, its_model in by_step.items() if its_model is model]
    return f"step {names[0]}" if len(names) == 1 else f"steps {', '.join(names)}"
