"""
The words for how a run stands, in the log, in metrics and on the command line.

Without pydantic: `fleet runs list --help` shows them, and waits for nothing.
"""

#: A run that has begun and has no end.
RUNNING = "running"
COMPLETED = "completed"
FAILED = "failed"
CANCELLED = "cancelled"
TIMED_OUT = "timed_out"

#: How a run can end.
ENDS = (COMPLETED, FAILED, CANCELLED, TIMED_OUT)
#: How a run can stand.
OUTCOMES = (RUNNING, *ENDS)
