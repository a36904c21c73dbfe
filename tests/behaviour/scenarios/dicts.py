"""Events that are read as dicts."""

from pydantic import PrivateAttr

from fleet import Event, StartEvent, StopEvent


class Declared(Event):
    name: str
    _hidden: str = PrivateAttr(default="hidden")


class Open(StartEvent):
    pass


class Verdict(StopEvent):
    text: str
    score: int


__all__ = ["Declared", "Event", "Open", "StartEvent", "StopEvent", "Verdict"]
