"""For your own tests: a run from production that fails again on your machine."""

from fleet.testing.replay import replay

__all__ = ["replay"]
