"""What contenders ask the scripted model, and how they know its answer for the right one."""

from benchmarks import answers


def joke(topic: str) -> str:
    """Return what the first step asks."""
    return f"Write your best joke about {topic}."


def verdict(told: str) -> str:
    """Return what the second step asks."""
    return f"Give a thorough analysis and critique of the following joke: {told}"


def subject(topic: str) -> str:
    """Return a topic as words that are in no other one's answers."""
    return f"<{topic}>"


def checked(topic: str, said: str) -> str:
    """Return the verdict that is right where the model's words are about the topic."""
    return answers.expected(topic) if subject(topic) in said else said
