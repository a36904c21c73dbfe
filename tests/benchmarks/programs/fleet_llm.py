"""`faust -A benchmarks.programs.fleet_llm worker`."""

from benchmarks import bound
from benchmarks.llm_flow import LlmFlow
from fleet import serve

bound.begin()
app = serve(LlmFlow)
