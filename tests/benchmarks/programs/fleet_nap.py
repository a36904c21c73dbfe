"""`faust -A benchmarks.programs.fleet_nap worker`."""

from benchmarks import bound
from benchmarks.nap_flow import NapFlow
from fleet import serve

bound.begin()
app = serve(NapFlow)
