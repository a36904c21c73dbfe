"""The engine, on Faust and in memory."""

from fleet.config import platforms

# Before any module of this package: several import what only POSIX systems have.
platforms.check_here()
