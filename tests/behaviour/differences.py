"""
What the reference has and Fleet has not, each with its reason.

`test_surface.py` looks that nothing else is missing, and that nothing here is there after all.
"""

_SUSPENDED = "retries, waits and people in the loop are a later part of the model"
_IN_THE_LOG = "a run's state is in the log, and continues there: no caller packs it up"
_NOT_THE_USERS = "an inner part of the reference, of no use to a workflow"
_OLD = "deprecated in the reference"
_JSON = "events and state travel as JSON, and no other serializer is needed"
_PLACE = "`serve`, `connect` and `app=` say what a workflow runs on"
_NEXT_RUN = "a run begins with a state of its own; its start event carries what it is to know"
_POSITION = "given by position"

#: Members of classes, by `Class.member`.
MEMBERS = {
    "Workflow.runtime": _PLACE,
    "Workflow.serializer": _JSON,
    "Context.from_dict": _IN_THE_LOG,
    "Context.to_dict": _IN_THE_LOG,
    "Context.get_result": _OLD,
    "Context.get_step_context": "a step that needs its context asks for it: `ctx: Context`",
    "Context.stream_events": _OLD,
    "Context.streaming_queue": _OLD,
    "Event.custom_model_dump": _NOT_THE_USERS,
    "StopEvent.custom_model_dump": _NOT_THE_USERS,
    "Store.add_seed": _NOT_THE_USERS,
    "Store.checkpoint": _NOT_THE_USERS,
    "Store.ensure_seeded": _NOT_THE_USERS,
    "Store.from_dict": _IN_THE_LOG,
    "Store.run_id": "`ctx.run_id`, or the handler's",
    "Store.serialize_for_handoff": _NOT_THE_USERS,
    "Store.snapshot": _NOT_THE_USERS,
}

#: Parameters, by `Class.method.parameter`.
PARAMETERS = {
    "Workflow.__init__.runtime": _PLACE,
    "Workflow.__init__.serializer": _JSON,
    "Workflow.__init__.resource_manager": "each worker keeps its resources itself",
    "Workflow.__init__.workflow_name": "part of topic names, so the class has it",
    "Workflow.run.ctx": _NEXT_RUN,
    "Workflow.add_step.func": _POSITION,
    "Context.send_event.message": _POSITION,
    "Context.write_event_to_stream.ev": _POSITION,
    "Event.get.key": _POSITION,
    "StopEvent.get.key": _POSITION,
    "Store.to_dict.serializer": _JSON,
    "step.func": _POSITION,
}

#: Public classes of `workflows`, `workflows.events` and `workflows.errors`.
CLASSES = {
    "CollectionReleaseEvent": _SUSPENDED,
    "ContextSerdeError": _IN_THE_LOG,
    "DictLikeModel": _NOT_THE_USERS,
    "IdleReleasedEvent": _NOT_THE_USERS,
    "JsonSerializer": _JSON,
    "StepState": _NOT_THE_USERS,
    "StepStateChanged": _NOT_THE_USERS,
    "UnreconstructedException": _NOT_THE_USERS,
    "WorkflowDone": _NOT_THE_USERS,
    "WorkflowIdleEvent": _NOT_THE_USERS,
    "WorkflowStepDoesNotExistError": _OLD,
}
