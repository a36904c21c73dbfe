"""Stand-ins on a laptop for a broker and a model."""

from fleet.config import platforms

# Before any module of this package: several import what only POSIX systems have.
platforms.check_here()
