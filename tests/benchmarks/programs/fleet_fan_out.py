"""`faust -A benchmarks.programs.fleet_fan_out worker`."""

from benchmarks import bound
from benchmarks.fan_out_flow import FanOutFlow
from fleet import serve

bound.begin()
app = serve(FanOutFlow)
