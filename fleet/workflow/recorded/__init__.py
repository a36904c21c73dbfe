"""Calls that are made once: `ctx.memo`."""
