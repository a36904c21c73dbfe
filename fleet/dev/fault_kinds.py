"""What can go wrong at the scripted model; without pydantic, for `fleet dev llm --help`."""

from typing import Literal, get_args

#: `429` too many requests, `500` an error, `hang` no answer ever, `cut` the connection is closed
#: (in the middle of the answer if it is streamed).
FaultKind = Literal["429", "500", "hang", "cut"]
KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
