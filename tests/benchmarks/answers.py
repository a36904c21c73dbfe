"""What the joke flow says at each of its steps: the same words by all contenders, and checkable."""


def joke(topic: str) -> str:
    """Return what the first step makes."""
    return f"a joke about {topic}"


def verdict(told: str) -> str:
    """Return what the second step makes of a joke."""
    return f"good: {told}"


def expected(topic: str) -> str:
    """Return the right result of a run."""
    return verdict(joke(topic))
