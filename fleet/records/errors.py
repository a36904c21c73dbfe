"""
What can go wrong, in sentences.

An error states a fact, the evidence and the way out. `permanent` says whether trying again can
help, so that a retry asks the error instead of matching its text.
"""


class FleetError(Exception):
    """Base of all errors that Fleet raises on purpose; its text is meant for people."""

    #: True when the same attempt cannot succeed later.
    permanent = True
