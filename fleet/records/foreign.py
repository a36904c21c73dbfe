"""Code of others that ours calls: what it may raise, and a sentence about it."""

#: What a validator, a constructor or a `__str__` of others may raise: extensions in other languages
#: raise errors that are no Exception. Only around code that awaits nothing: none is a cancellation.
FOREIGN: tuple[type[BaseException], ...] = (BaseException,)


def told(error: BaseException) -> str:
    """Say what *error* is, also if its own text cannot be had; raise what ends the process."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - a foreign __str__ may miss what its constructor sets
        return type(error).__name__
