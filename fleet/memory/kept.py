"""Records of one topic that the in-process log keeps, so that they can be read again."""

from collections import OrderedDict, deque
from collections.abc import Callable

from fleet.records.log import Delivered

#: What a record costs beside its value, in bytes, roughly.
_RECORD_BYTES = 500


class KeptRecords:
    """Records by key. Beyond *most_bytes* the oldest go."""

    def __init__(self, most_bytes: int | None = None) -> None:
        self._most_bytes = most_bytes
        self._by_key: dict[bytes, deque[Delivered]] = {}
        #: The keys of what is kept, by offset, in the order of the records.
        self._order: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        #: Offset behind the last one that went because there were too many.
        self.begin = 0

    def add(self, record: Delivered) -> None:
        """Keep a record."""
        key = record.key or b""
        self._by_key.setdefault(key, deque()).append(record)
        if self._most_bytes is None:
            return
        self._order[record.offset] = key
        self._bytes += _size(record)
        while self._bytes > self._most_bytes:
            self._drop_oldest()

    def of(self, key: bytes, within: Callable[[int], bool]) -> list[Delivered]:
        """Return the records of *key* whose offsets are *within*."""
        return [record for record in self._by_key.get(key, ()) if within(record.offset)]

    def first(self, key: bytes) -> int | None:
        """Return the offset of the first record of *key* that is kept; None if none is."""
        kept = self._by_key.get(key)
        return kept[0].offset if kept else None

    def forget(self, key: bytes) -> None:
        """Keep nothing of *key* any more."""
        for record in self._by_key.pop(key, ()):
            if self._order.pop(record.offset, None) is not None:
                self._bytes -= _size(record)

    def _drop_oldest(self) -> None:
        offset, key = self._order.popitem(last=False)
        self.begin = offset + 1
        kept = self._by_key[key]
        self._bytes -= _size(kept.popleft())
        if not kept:
            del self._by_key[key]


def _size(record: Delivered) -> int:
    return _RECORD_BYTES + len(record.value or b"")
