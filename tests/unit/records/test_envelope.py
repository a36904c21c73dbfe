"""The envelope: what the engine knows of a record, in headers and back."""

import random
import re

import pytest

from fleet.records.envelope import (
    BrokenEnvelope,
    Envelope,
    Headers,
    child_id,
    idempotency_key,
    parse,
)

PLAIN = Envelope(run_id="r1", event_id="e1", type="JokeEvent")
FULL = Envelope(
    run_id="Lauf ü/1",
    event_id="e2",
    type="JokeEvent",
    epoch=3,
    parent_id="e1",
    step="critique",
    replays=2,
    timeout_seconds=1.5,
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    recoveries=(("rescue", 2), ("später", 1)),
)
NEEDED = ["fleet-run-id", "fleet-event-id", "fleet-type"]


def with_header(name: str, value: bytes | None) -> Headers:
    """Return the headers of FULL with one of them changed; None is a header without a value."""
    headers = {**dict(FULL.headers()), name: value}
    return list(headers.items())  # type: ignore[arg-type]


class TestRoundTrip:
    @pytest.mark.parametrize("envelope", [PLAIN, FULL], ids=["plain", "full"])
    def test_headers_say_everything(self, envelope: Envelope) -> None:
        """What is written into headers comes back as it was."""
        assert parse(envelope.headers()) == envelope

    def test_defaults_are_not_written(self) -> None:
        """A record carries only the headers that say something."""
        assert [name for name, _ in PLAIN.headers()] == NEEDED

    def test_an_integer_of_seconds_is_a_number_of_seconds(self) -> None:
        """A time limit survives whether it was given as 5 or as 5.0."""
        limited = Envelope(run_id="r", event_id="e", type="T", timeout_seconds=5)
        assert parse(limited.headers()).timeout_seconds == 5.0

    def test_the_order_of_headers_does_not_matter(self) -> None:
        """Another client may write headers in another order, and more of them."""
        headers = [*FULL.headers(), ("other", b"\xff")]
        random.Random(1).shuffle(headers)
        assert parse(headers) == FULL


class TestBroken:
    @pytest.mark.parametrize("missing", NEEDED)
    def test_a_missing_header_is_named(self, missing: str) -> None:
        """Without run id, event id or type a record belongs nowhere, and the error says why."""
        headers = [header for header in FULL.headers() if header[0] != missing]
        with pytest.raises(BrokenEnvelope, match=missing):
            parse(headers)

    @pytest.mark.parametrize("name", NEEDED)
    def test_a_header_without_a_value_is_missing(self, name: str) -> None:
        """Kafka has headers whose value is null; such a one says nothing."""
        with pytest.raises(BrokenEnvelope, match=name):
            parse(with_header(name, None))

    def test_a_null_beside_what_is_needed_is_its_default(self) -> None:
        """An optional header without a value is as good as none."""
        assert parse(with_header("fleet-epoch", None)).epoch == 0

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("fleet-run-id", b"\xff\xfe"),
            ("fleet-epoch", b"one"),
            ("fleet-replays", b""),
            ("fleet-timeout-seconds", b"'5'"),
            ("fleet-context", b"\xff"),
            ("fleet-recoveries", b"rescue"),
            ("fleet-recoveries", b"rescue=-1"),
            ("fleet-recoveries", b"=1"),
            ("fleet-recoveries", b"rescue=1,rescue=2"),
            ("fleet-recoveries", b"a\0b=1"),
            ("fleet-recoveries", b"rescue=1" + b"0" * 1_000),
            ("fleet-recoveries", b",".join(b"r%d=1" % number for number in range(1_000))),
        ],
    )
    def test_a_header_that_cannot_be_read_is_refused(self, name: str, value: bytes) -> None:
        """Foreign bytes in our headers raise an error of ours, never another."""
        with pytest.raises(BrokenEnvelope, match="cannot be read"):
            parse(with_header(name, value))

    @pytest.mark.parametrize("name", ["fleet-run-id", "fleet-event-id"])
    @pytest.mark.parametrize("value", [b"", b"a\0b"], ids=["empty", "nul"])
    def test_an_id_that_is_no_key_is_refused(self, name: str, value: bytes) -> None:
        """A NUL in an id would reach into another run's state; an empty id names nothing."""
        with pytest.raises(BrokenEnvelope, match=re.escape(repr(value.decode()))):
            parse(with_header(name, value))


class TestIds:
    def test_the_same_attempt_sends_the_same_ids(self) -> None:
        """An event's id follows from its parent, step and position, so a repeat has it again."""
        assert child_id("e1", "generate", 0) == child_id("e1", "generate", 0)

    def test_every_sent_event_has_an_id_of_its_own(self) -> None:
        """Parent, step and position all tell events apart, also where their texts run together."""
        ids = {
            child_id(parent, step, index)
            for parent in ("e1", "e1s", "e")
            for step in ("s", "ss", "1s")
            for index in (0, 1, 10)
        }
        assert len(ids) == 27

    def test_ids_do_not_change_between_versions(self) -> None:
        """Ids are wire format: a worker of another version derives the same."""
        assert child_id("e1", "generate", 0) == "0b3834c36dbd40b60d6fca86"
        assert idempotency_key("e1", "generate") == "11fe7bc967640bc9ed82a271"

    def test_an_idempotency_key_belongs_to_event_and_step(self) -> None:
        """Attempts of one step on one event share a key that no other step has."""
        assert idempotency_key("e1", "a") == idempotency_key("e1", "a")
        others = {idempotency_key("e1", "b"), idempotency_key("e2", "a"), child_id("e1", "a", 0)}
        assert idempotency_key("e1", "a") not in others
