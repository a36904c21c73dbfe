"""What Fleet has written: the records of each topic, and the entries of its state."""

from collections import Counter

import bare

from benchmarks.scene import Figures
from fleet.records import state
from fleet.records.topics import Topics
from fleet.workflow import definition
from fleet.workflow.workflow import Workflow

#: Kinds of entries that do not grow with what a run did, by the first letters of their keys.
_STAY = (state.META, state.POSITION, state.END)


async def written(bootstrap: str, topics: Topics, workflow: type[Workflow]) -> Figures:
    """Return how many records, markers of transactions left out, each topic has."""
    events = {name: topics.event(name) for name in definition.graph(workflow).accepting}
    others = {"runs": topics.runs, "history": topics.history, "state": topics.state}
    return {
        name: len(await bare.read(bootstrap, topic)) for name, topic in {**events, **others}.items()
    }


async def left(bootstrap: str, topics: Topics) -> Figures:
    """Return how many entries the state has of runs, besides one for the end of each."""
    entries: dict[bytes, bytes | None] = {}
    for record in await bare.read(bootstrap, topics.state):
        entries[record.key or b""] = record.value
    kinds = Counter(key[:1] for key, value in entries.items() if value is not None)
    ends = kinds.pop(state.END[:1], 0)
    for kind in _STAY:
        kinds.pop(kind[:1], None)
    return {"state_left": kinds.total(), "ends_left": ends}
