"""What can be wrong with a workflow, and what a run can end with."""

from collections.abc import Iterable

from fleet.records import limits, printable
from fleet.records.errors import ExitCode, FleetError
from fleet.records.events import UndecodableEvent


class WorkflowValidationError(FleetError):
    """Raised when a workflow's steps do not fit together; it names step, event and fix.

    What to do: Correct each finding that the message lists; `fleet draw` shows the graph
    afterwards.
    """

    def __init__(self, workflow: str, findings: Iterable[str]) -> None:
        self.findings = list(findings)
        listed = "\n".join(f"  - {finding}" for finding in self.findings)
        super().__init__(f"{workflow} is not a valid workflow:\n{listed}")


class Unresolved(WorkflowValidationError):
    """Raised when an annotation names a type that is not known, or not known yet.

    What to do: Define or import the type, and not only for type checkers.
    """


class WorkflowConfigurationError(FleetError):
    """Raised when a workflow, a step or a run gets arguments that it cannot take.

    What to do: Correct the argument that the message names. Nothing was started.
    """


class UnclearEnds(WorkflowValidationError, WorkflowConfigurationError):
    """Raised when it is not clear which event starts a run of a workflow, or none ends one.

    What to do: Annotate one step with `StartEvent`, or with one subclass of it, and return a
    `StopEvent` from the last step.
    """


class BadOption(WorkflowConfigurationError, WorkflowValidationError):
    """Raised when `@step` or a workflow gets an option that it cannot take.

    What to do: Correct the option that the message names.
    """

    def __init__(self, finding: str) -> None:
        self.findings = [finding]
        FleetError.__init__(self, finding)


class WorkflowRuntimeError(FleetError):
    """Raised when a run cannot go on, and for a step's error of a type that this process lacks.

    What to do: Read the notes of the error for the step and its traceback. Correct the cause, then
    resume the run with `fleet dead redrive`.
    """


class WorkflowTimeoutError(WorkflowRuntimeError, TimeoutError):
    """Raised when a run took longer than its timeout.

    What to do: Raise the run's `timeout`, or look at `fleet runs show` for the step that took the
    time. A run that waits for a person needs a long one, or `timeout=None`.
    """

    def __init__(
        self,
        timeout_seconds: float,
        active_steps: Iterable[str],
        waiting: Iterable[str] = (),
    ) -> None:
        #: What suspended steps of the run waited for: an answer, the next attempt, a time.
        self.waiting = tuple(waiting)
        active = ", ".join(active_steps)
        sentences = [
            f"Operation timed out after {timeout_seconds:g} seconds",
            f"Currently active steps: {active}" if active else "No steps active",
            *([f"Waiting: {'; '.join(self.waiting)}"] if self.waiting else []),
        ]
        super().__init__(". ".join(sentences))


class RunUnheard(WorkflowTimeoutError):
    """Raised when a caller stops waiting for a run without hearing of its end.

    The run itself may go on; the same run id finds it again.

    What to do: Ask again with the same run id: the run itself may continue. Check whether a worker
    runs with `fleet groups list`.
    """

    def __init__(self, timeout_seconds: float, advice: str) -> None:
        self.waiting = ()
        FleetError.__init__(
            self, f"Operation timed out after {timeout_seconds:g} seconds. {advice}"
        )


class StepTimeoutError(WorkflowRuntimeError, TimeoutError):
    """Raised in a step whose attempt took longer than `@step(timeout=...)`.

    What to do: Raise `@step(timeout=...)`, or make the step faster.
    """

    #: A call that hangs may answer the next time.
    permanent = False

    def __init__(self, step: str, timeout_seconds: float) -> None:
        super().__init__(
            f"step {step} took longer than its timeout of {timeout_seconds:g} seconds; "
            "raise @step(timeout=...) or make the step faster"
        )


class UnknownStep(WorkflowRuntimeError):
    """Raised for a run that waits for a step which no version of its workflow has had for hours.

    `FLEET_UNKNOWN_STEP_HOURS` says how many.

    What to do: Deploy a version that has the step, or that names it in
    `@step(formerly=...)` of the step that replaces it. Then resume the run with `fleet dead
    redrive`.
    """

    def __init__(self, engine_id: str, step: str, event: str) -> None:
        super().__init__(
            f"no version of {engine_id} that ran lately has a step {printable.line(step)} that "
            f"takes {printable.line(event)}; deploy the version that has it, or write "
            f"@step(formerly={printable.line(step)!r}) at the step that replaces it, then resume "
            "the run with `fleet dead redrive`"
        )


class WorkflowCancelledByUser(WorkflowRuntimeError):
    """Raised by `await handler` when the run was cancelled.

    What to do: Nothing. `fleet audit list` shows who cancelled it from the command line; `fleet
    dead redrive` resumes it.
    """

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(
            f"run {printable.line(run_id)} was cancelled{f': {reason}' if reason else ''}"
        )


class RunConflict(WorkflowRuntimeError):
    """Raised when a run id is used again for a start event with other fields.

    What to do: Use another run id, or the same fields to get the first run's result.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {printable.line(run_id)} "
            f"was started earlier with other fields, so nothing was started now. "
            "Use another run_id, or the same fields to get the first run's result"
        )


class RunEnded(WorkflowRuntimeError):
    """Raised when an event is sent to a run that has ended.

    What to do: Start another run with the event.
    """

    def __init__(self, run_id: str, event_type: str) -> None:
        super().__init__(
            f"run {printable.line(run_id)} "
            f"has ended, so no step would take this {event_type}; it was not sent. "
            "Start another run with it"
        )


class RunUnknown(WorkflowRuntimeError):
    """Raised when you ask for a run by its id alone, and its group has nothing of it.

    What to do: Check the id. If the run was just started, its worker has not read the start yet:
    ask again, or call `run` with the same id and fields.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"no run {printable.line(run_id)} is known: no worker has read its start yet, or it "
            "ended so long ago that it is forgotten (FLEET_DEDUPE_DAYS); check the id, or call "
            "run with the same run_id and fields"
        )


class EndGone(WorkflowRuntimeError):
    """Raised when a run ended earlier and the log no longer has the record of its end.

    What to do: Use another run id. Keep the `runs` topic at least as long as `FLEET_DEDUPE_DAYS`.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"run {printable.line(run_id)} "
            f"ended earlier, and the log no longer has the record of its end; use "
            "another run_id, or keep the runs topic at least as long as FLEET_DEDUPE_DAYS"
        )


class UnfitResult(UndecodableEvent):
    """Raised when the `.result` of a plain StopEvent is not of the workflow's stated type.

    What to do: Return such a result, or change what `Workflow[...]` says.
    """

    def __init__(self, stated: str, reason: str) -> None:
        self.reason = reason
        FleetError.__init__(
            self,
            f"the result is no {stated}, as the workflow says: {reason}; return such a "
            f"result, or change Workflow[{stated}]",
        )


class UnexpectedResult(WorkflowRuntimeError):
    """Raised when a step returns something that is neither an event nor None.

    What to do: Return an event, or None to end this branch.
    """

    def __init__(self, step: str, returned: object, *, in_list: bool = False) -> None:
        kind = type(returned).__name__
        if isinstance(returned, type):
            kind = f"the class {returned.__name__}"
        what, advice = kind, "return an event, or None to end this branch"
        if in_list:
            what, advice = f"a list containing {kind}", "put only events into the list"
        elif isinstance(returned, list):
            advice = "annotate it `-> list[E]`, with the type of the events in the list"
        super().__init__(
            f"Step function {step} returned {what} instead of an Event instance; {advice}"
        )


class NoEvent(WorkflowRuntimeError):
    """Raised when a step sends something other than an event.

    What to do: Make an object of a subclass of `Event`, and send that.
    """

    def __init__(self, sent: object, method: str) -> None:
        what = f"the class {sent.__name__}" if isinstance(sent, type) else type(sent).__name__
        super().__init__(
            f"ctx.{method} takes an event, not {what}; make an object of a subclass of Event"
        )


class OtherReturned(WorkflowRuntimeError):
    """Raised when a step returns something other than its annotation says.

    What to do: Return what the annotation says, or add the type to the annotation.
    """

    def __init__(self, step: str, returned: str, stated: Iterable[str]) -> None:
        listed = " | ".join(stated) or "None"
        super().__init__(
            f"step {step} returned {returned}, and its annotation says {listed}; return what it "
            f"says, or annotate it `-> {listed} | {returned}`"
        )


class BareReturned(OtherReturned):
    """Raised when a step returns one event, and its annotation has that type in a list only.

    What to do: Return a list with that one event, or add the type to the annotation.
    """

    def __init__(self, step: str, returned: str, stated: Iterable[str]) -> None:
        listed = " | ".join(stated)
        WorkflowRuntimeError.__init__(
            self,
            f"step {step} returned a bare {returned}, and its annotation says {listed}; return a "
            f"list with it to fan out, or annotate the step `-> {listed} | {returned}`",
        )


class UnacceptedEvent(WorkflowConfigurationError):
    """Raised when you send a run an event that no step takes.

    What to do: Send an event that a step takes, or name the step that takes it.
    """

    def __init__(self, workflow: str, problem: str, instead: str) -> None:
        super().__init__(f"{workflow}: {problem}, so it was not sent; {instead}")


class UnroutableEvent(WorkflowRuntimeError):
    """Raised in a step that sends an event to one step, which does not exist or does not take it.

    What to do: Name a step that takes the event, or leave `step=` out: every step that accepts the
    event gets it then.
    """

    def __init__(self, step: str, event_type: str, problem: str, instead: str) -> None:
        super().__init__(f"step {step} sends {event_type}, and {problem}; {instead}")


class ContextStateError(FleetError, ValueError):
    """Raised when the context cannot hold a value, take a change or use a path.

    What to do: Use names with dots between them as path, and values that JSON has. Keep a model in
    a field of the model that the steps name, `ctx: Context[MyState]`.
    """


class ContextValueTooLarge(ContextStateError):
    """Raised when you set a value in the context that is larger than one record may be.

    What to do: Keep large data in a file store or a database, and set where it is.
    """

    def __init__(self, path: str, size: int) -> None:
        super().__init__(
            f"the value at {path!r} has {size:,} bytes, and one value of the context holds "
            f"{limits.VALUE_BYTES:,}; keep large data elsewhere and set where it is"
        )


class NestedEdit(ContextStateError, RuntimeError):
    """Raised when a step changes the context inside an `edit_state()` block of its own.

    What to do: Change the state that the block gives you.
    """

    def __init__(self, method: str) -> None:
        super().__init__(
            f"ctx.store.{method}() was called inside edit_state(); change the state that the block "
            "gives you instead"
        )


class EditTooLate(ContextStateError):
    """Raised when a block of `edit_state()` ends after its step has ended.

    What to do: Await the block before the step returns.
    """

    def __init__(self, step: str) -> None:
        super().__init__(
            f"a block of edit_state() ended after step {step} had ended, so nothing was changed; "
            "await it in the step"
        )


class CallTooLate(WorkflowRuntimeError):
    """Raised when a call that is to be recorded is made after its step has ended.

    What to do: Await the call before the step returns.
    """

    def __init__(self, step: str) -> None:
        super().__init__(
            f"a call was to be recorded after step {step} had ended, so nothing was recorded; "
            "await it in the step"
        )
