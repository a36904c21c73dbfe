"""What all tests share: the broker."""

pytest_plugins = ["fleet.dev.pytest_plugin"]
