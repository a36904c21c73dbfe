"""The engine inside a Faust worker: the only room that imports Faust."""

from fleet.config import platforms

# Before any module of this package: several import what only POSIX systems have.
platforms.check_here()
