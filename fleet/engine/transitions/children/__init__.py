"""Runs that steps await: how they are started, how their ends come back, how they are cancelled."""
