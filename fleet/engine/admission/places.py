"""Where suspects run: a few of them together, or one and no other."""

import asyncio

#: How many suspects of a worker that have survived no process run at once before the last time.
FEW = 32


class Places:
    """The places of one worker's suspects."""

    def __init__(self) -> None:
        self._few = asyncio.Semaphore(FEW)
        self._last = asyncio.Semaphore(1)
        #: How many run together, and whether that is none.
        self._together = 0
        self._nobody = asyncio.Event()
        self._nobody.set()
        #: Set while none runs alone.
        self._open = asyncio.Event()
        self._open.set()

    async def join(self, *, few: bool) -> None:
        """Run with others, once none runs alone; with *few* if it may have killed one."""
        if few:
            await self._few.acquire()
        try:
            # Again after the wait: another one may run alone by now.
            while not self._open.is_set():
                await self._open.wait()
        except BaseException:
            if few:
                self._few.release()
            raise
        self._together += 1
        self._nobody.clear()

    def leave(self, *, few: bool) -> None:
        """Run no more with others."""
        if few:
            self._few.release()
        self._together -= 1
        if not self._together:
            self._nobody.set()

    async def be_alone(self) -> None:
        """Run when no other suspect does; a death then says which of them it was."""
        await self._last.acquire()
        try:
            while self._together:
                await self._nobody.wait()
        except BaseException:
            self._last.release()
            raise
        self._open.clear()

    def let_others(self) -> None:
        """Run no more alone."""
        self._open.set()
        self._last.release()
