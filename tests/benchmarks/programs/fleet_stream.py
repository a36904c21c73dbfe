"""`faust -A benchmarks.programs.fleet_stream worker`."""

from benchmarks import bound
from benchmarks.stream_flow import StreamFlow
from fleet import serve

bound.begin()
app = serve(StreamFlow)
