"""
What the scripted model says.

Pure and deterministic: the same conversation always gets the same answer. An answer carries the
part of the prompt that it is about, word for word, so that a load test can check that a result
belongs to its input.
"""

import hashlib
import re

#: The two prompts of the joke flow. Whichever phrase comes first in a prompt decides.
_SUBJECT = re.compile(
    r"joke about (?P<topic>.+?)[.!?]?\s*\Z|following joke:\s?(?P<joke>.+)",
    re.DOTALL | re.IGNORECASE,
)

_JOKES = (
    "I bought a book about {0}. I could not put it down: the shop takes nothing back.",
    "My therapist asked me how I deal with {0}. I said: by the hour, the same as you.",
    (
        "How many experts on {0} does it take to change a light bulb? Nobody knows. They are still "
        "discussing whether the dark is a question of {0} or of definition."
    ),
    (
        "I went to a talk about {0}. There was time for one question at the end, and all of us had "
        "the same one: was that about {0}?"
    ),
    (
        'I called my cat "{0}". So now {0} wakes me at five, ignores me until noon and sleeps on '
        "the keyboard, and my boss has stopped asking for details."
    ),
    (
        "Two friends fell out over {0} and met again after ten years. They laughed, shook hands "
        "and agreed that it had never mattered. Then one of them said what {0} is really about."
    ),
)

_CRITIQUES = (
    (
        "The joke under review:\n\n{0}\n\nStructure: a plain setup, one turn, no second ending; "
        "the listener is led one way for exactly as long as needed. Language: short words, and the "
        "surprise stands last, where it belongs. Weakness: whoever does not care for the subject "
        "gets nothing else to hold on to. Verdict: it works in company, less so on paper. 7 of 10."
    ),
    (
        "Take it as it stands:\n\n{0}\n\nWhat carries it is contrast: an everyday scene treated as "
        "though it were serious. The premise is clear within the first few words, so the timing is "
        "in the hands of the teller. What it lacks is a detail that only this subject could give; "
        "change the noun and it would still run. Verdict: honest craft, little risk. 6 of 10."
    ),
    (
        "The text first:\n\n{0}\n\nIt asks the audience to do the last step alone, which is "
        "its best decision: nobody laughs at an explanation. The setup could lose a word. Tone: "
        "dry, without malice, fit for any table. Originality: the form is old, the filling is not. "
        "Verdict: tell it early in the evening, and only once. 8 of 10."
    ),
)

_ECHO = "Scripted answer, there is no model behind it. The prompt was:\n\n{0}"


def answer(prompt: str, key: str) -> str:
    """Answer *prompt*; *key* (hexadecimal, of the whole conversation) picks among the texts."""
    found = _SUBJECT.search(prompt)
    if found is None:
        return _ECHO.format(prompt)
    if found["topic"] is not None:
        return _pick(_JOKES, key).format(found["topic"])
    return _pick(_CRITIQUES, key).format(found["joke"])


def _pick(texts: tuple[str, ...], key: str) -> str:
    return texts[int(key, 16) % len(texts)]


def key(conversation: str) -> str:
    """Return the short hash that names a conversation, in answers and in the counts."""
    return hashlib.sha256(conversation.encode()).hexdigest()[:16]


def tokens(text: str) -> int:
    """Guess how many tokens *text* is: four characters each, as English roughly has it."""
    return -(-len(text) // 4)


def pieces(text: str) -> list[str]:
    """Cut *text* into words, as a model streams it; joined they are the text again."""
    return re.findall(r"\s*\S+\s*\Z|\s*\S+|\s+", text)
