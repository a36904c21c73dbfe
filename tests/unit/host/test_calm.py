"""The Kafka client's lines in a process that calls: each once in a while."""

import logging

import pytest

from fleet.config import logs


def test_a_line_of_the_client_is_written_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever partition it is about; other lines, and other loggers, are not touched."""
    logger, other = logging.getLogger("calmed.producer"), logging.getLogger("application")
    logs.calm("calmed")
    logs.calm("calmed")
    for partition in range(50):
        logger.warning("Got error produce response on %s, retrying", partition)
        other.warning("line %s", partition)
    logger.warning("Another line")
    said = [each.getMessage() for each in caplog.records if each.name == "calmed.producer"]
    assert said == ["Got error produce response on 0, retrying", "Another line"]
    assert len(caplog.records) == 50 + 2
    assert len(logger.filters) == 1
