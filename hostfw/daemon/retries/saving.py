"""State that could not be written down, as on a full disk: remembered, and tried again until it is."""

import asyncio

from hostfw.daemon.reports.troubles import Part, Troubles
from hostfw.daemon.retries.backoff import Retry
from hostfw.daemon.writer import WriterThread
from hostfw.engine.outcomes import Failed


class Saving:
    """The state of what is in force on disk: trouble for as long as something is missing there."""

    def __init__(self, writer: WriterThread, troubles: Troubles) -> None:
        self._writer = writer
        self._troubles = troubles
        self._is_unsaved = asyncio.Event()

    def note(self, unsaved: tuple[str, ...]) -> None:
        """Keep for as long as it is so that what is in force could not be written down."""
        if unsaved:
            self._troubles.report(Part.STATE, unsaved[0])
            self._is_unsaved.set()
        else:
            self._troubles.clear(Part.STATE)
            if self._writer.done.owed is None:
                self._is_unsaved.clear()

    def written(self) -> None:
        """Look at what came of a write."""
        if self._writer.done.owed is None:
            self._troubles.clear(Part.RECORD)
        else:
            self._troubles.report(Part.RECORD, "what is in force could not be noted in the run directory")
            self._is_unsaved.set()
        if self._writer.done.unsaved:
            self._is_unsaved.set()

    async def run(self) -> None:
        """Try again to write down what could not be written down."""
        retry = Retry()
        while True:
            await self._is_unsaved.wait()
            await asyncio.sleep(retry.failed())
            if not self._is_unsaved.is_set():
                continue
            unsaved = await self._writer.write(lambda engine: engine.save(self._writer.current))
            if unsaved == ():
                retry.succeeded()
            if not isinstance(unsaved, Failed):
                self.note(unsaved)
