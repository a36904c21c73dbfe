"""Code of others that ours calls: what it may raise, and a sentence about it."""

#: What a validator, a constructor or a `__str__` may raise: extensions in other languages raise
#: errors that are not an Exception. Use it only around code that awaits nothing: there, none of
#: these is a cancellation.
FOREIGN: tuple[type[BaseException], ...] = (BaseException,)


def told(error: BaseException) -> str:
    """Return *error* as text, even if its own text fails; raise it if it ends the process."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - a foreign __str__ may need what its constructor never set
        return type(error).__name__
