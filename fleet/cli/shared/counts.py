"""How many, in words."""


def of(count: int, what: str) -> str:
    """Return `1 run` or `2,000 runs`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def runs(count: int) -> str:
    """Say how many runs."""
    return of(count, "run")


def events(count: int) -> str:
    """Say how many events."""
    return of(count, "event")


def letters(count: int) -> str:
    """Say how many dead letters."""
    return of(count, "dead letter")
