"""`faust -A benchmarks.programs.fleet_joke worker`."""

from benchmarks import bound
from benchmarks.joke_flow import JokeFlow
from fleet import serve

bound.begin()
app = serve(JokeFlow)
