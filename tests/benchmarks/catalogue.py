"""Which workloads and contenders there are: the names that the command line takes."""

from importlib import import_module
from typing import cast

from benchmarks.scene import Contender, Workload

#: Names on the command line, modules under `workloads`.
WORKLOADS = {
    "W0": "overhead",
    "W1": "burst",
    "W2": "latency",
    "W3": "growth",
    "W4": "workers",
    "W5": "loading",
    "W6": "takeover",
    "W7": "llm",
    "W8": "steady",
    "W9": "in_flight",
    "W10": "fan_out",
    "W11": "wide",
    "W12": "sleeping",
    "W13": "streams",
}
#: Names on the command line, modules under `contenders`.
CONTENDERS = {
    "fleet": "fleet_worker",
    "fleet-uvloop": "fleet_uvloop",
    "floor": "floor",
    "faust": "plain_faust",
    "faust-100": "plain_faust_100",
    "llama": "llama",
    "quix": "quix",
    "round-trip": "round_trip",
    "transaction": "transaction",
    "fleet-llm": "fleet_llm",
    "openai": "bare_openai",
    "fleet-fan-out": "fleet_fan_out",
    "floor-fan-out": "floor_fan_out",
    "faust-fan-out": "faust_fan_out",
    "llama-fan-out": "llama_fan_out",
    "asyncio-fan-out": "asyncio_fan_out",
    "fleet-nap": "fleet_nap",
    "fleet-stream": "fleet_stream",
}


def workload(name: str) -> Workload:
    """Return a workload by its name."""
    return cast("Workload", import_module(f"benchmarks.workloads.{WORKLOADS[name]}"))


def contender(name: str) -> Contender:
    """Return a contender by its name."""
    return cast("Contender", import_module(f"benchmarks.contenders.{CONTENDERS[name]}"))


def cells(workloads: list[str], contenders: list[str]) -> list[tuple[str, str]]:
    """Return which workload goes with which contender, workload by workload."""
    return [
        (each, name)
        for each in workloads
        for name in contenders
        if WORKLOADS[each] in contender(name).WORKLOADS
    ]
