"""Language models: the openai client as an object that a workflow class can hold."""

from fleet.llm.client import LLM, Completion, MissingKey, UnusableAnswer

__all__ = ["LLM", "Completion", "MissingKey", "UnusableAnswer"]
