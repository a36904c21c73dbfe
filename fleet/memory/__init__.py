"""The log and the store of a workflow that runs in one process, without a broker."""
