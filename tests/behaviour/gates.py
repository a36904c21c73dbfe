"""
Gates between steps of one process: a step waits until another has come somewhere.

So an order is fixed without sleeping. A gate's name begins with the key of its run.
"""

import asyncio
from collections import Counter, defaultdict

PATIENCE_SECONDS = 10.0
#: Results of one turn of the loop have no order in the reference.
SEEN_SECONDS = 0.03

_gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
_inside: Counter[str] = Counter()
_most: Counter[str] = Counter()


def open_gate(name: str) -> None:
    """Let through everything that waits at *name*, now and later."""
    _gates[name].set()


def open_gate_after_me(name: str) -> None:
    """Open *name* when the step that calls this has returned and its runtime has seen that."""
    asyncio.get_running_loop().call_later(SEEN_SECONDS, open_gate, name)


async def at_gate(name: str) -> None:
    """Wait until *name* is open; raise TimeoutError if it stays shut."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        await _gates[name].wait()


def enter(name: str) -> int:
    """Count one more inside of *name*; return how many are inside now."""
    _inside[name] += 1
    _most[name] = max(_most[name], _inside[name])
    return _inside[name]


def leave(name: str) -> None:
    """Count one less."""
    _inside[name] -= 1


def most(name: str) -> int:
    """Return the largest number that was ever inside of *name* at once."""
    return _most[name]
