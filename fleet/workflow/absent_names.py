"""What to write instead of a name that `fleet` does not have."""

import difflib
import importlib.util
from collections.abc import Iterable

#: Names that a later version will have, and what to do until then.
LATER = {
    "compose": "write one class for the whole workflow",
}


def sentence(name: str, names: Iterable[str]) -> str:
    """Return what to do about *name*, which `fleet` does not have beside *names*; "" if unknown."""
    if name in LATER:
        return f"it is not available in this version; {LATER[name]}"
    if importlib.util.find_spec(f"fleet.{name}") is not None:
        return ""
    by_lower = {known.lower(): known for known in (*names, *LATER)}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.75)
    return f"did you mean {by_lower[near[0]]}?" if near else ""
