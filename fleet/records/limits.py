"""
Limits of what an envelope carries, for writers and readers of records alike.

Each check returns the problem, with the way out, or an empty text.
"""

#: Longest run id, in bytes of UTF-8. It is a key on every topic and part of state keys.
RUN_ID_BYTES = 255
#: Longest time limit of a run, in seconds: ten years. Deadlines are computed in milliseconds.
TIMEOUT_SECONDS = 10 * 365 * 86_400.0

#: Largest value of a record, in bytes: below the broker's default limit of 1 MiB for a batch.
VALUE_BYTES = 1_000_000
#: Longest path of a value in a run's context, in characters. It is part of a state key.
PATH_LENGTH = 1_000


def run_id_problem(run_id: object) -> str:
    """Return why *run_id* cannot be a run's id."""
    if not isinstance(run_id, str):
        return f"a run id is text, not {type(run_id).__name__}; use run_id=str(...)"
    if not run_id or "\0" in run_id:
        return f"{run_id!r} cannot be a run id; use text that is not empty and has no NUL"
    try:
        size = len(run_id.encode())
    except UnicodeEncodeError:
        return f"{run_id[:40]!r} cannot be a run id: it is not valid text; leave out surrogates"
    if size > RUN_ID_BYTES:
        return (
            f"a run id has at most {RUN_ID_BYTES} bytes in UTF-8, and {run_id[:40]!r}... has "
            f"{size:,}; use a shorter one, such as a hash of it"
        )
    return ""


def timeout_problem(seconds: object) -> str:
    """Return why *seconds* cannot be a time limit."""
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    # In this order: NaN is not greater than 0, and an integer may be too large for a float.
    if is_number and seconds > 0 and seconds <= TIMEOUT_SECONDS:  # type: ignore[operator]
        return ""
    return (
        "timeout is a number of seconds greater than 0 and at most "
        f"{TIMEOUT_SECONDS:,.0f} (ten years), not {_shown(seconds)}; use None for no limit"
    )


def _shown(value: object) -> str:
    try:
        return repr(value)[:60]
    except Exception:  # noqa: BLE001 - it may be anything, and Python refuses huge integers
        return f"this {type(value).__name__}"
