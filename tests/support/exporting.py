"""The export of a run from a world, as `fleet runs export` makes it on Kafka."""

from task_world import TOPICS, World

from fleet.config.settings import Settings
from fleet.control.runs.export import Reading
from fleet.control.runs.log import RunLog
from fleet.control.source import Source
from fleet.records.exported.run_export import RunExport
from fleet.records.log import Delivered


def exported(world: World, run_id: str = "r") -> RunExport:
    """Return the export of a run, as its file has it."""
    log = RunLog([run_id])
    for record in world.topics[TOPICS.runs]:
        log.take(record)
    run = log.get(run_id)
    assert run is not None
    reading = Reading(Source(type(world.flow), Settings(prefix=TOPICS.prefix)), run)
    for topic in reading.logs:
        for record in world.topics[topic]:
            reading.take(record)
    for key, value in world.state.items():
        reading.take_entry(Delivered(TOPICS.state, 0, 0, 0, key, value, []))
    made = reading.document().model_copy(update={"exported_ms": round(world.clock.ms)})
    return RunExport.model_validate_json(made.to_json())
