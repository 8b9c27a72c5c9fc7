"""Tracks commits of other programs to our tables, so that their commits to other tables cost us nothing.

Every commit changes nftables' generation number. Without this tracker an engine would have to read its tables in full
after each one, which takes a second at 40,000 rules. The service listens to transactions anyway, and knows whether that
is necessary.
"""

from collections.abc import Collection
from threading import Condition

from hostfw.host.nftables.writing.transactions import NftNews

PATIENCE_S = 0.2
"""Longest wait for the event loop to read the events of a commit that is asked about."""


class ChangeTracker:
    """Hears of transactions in the event loop, and is asked on the thread that writes."""

    def __init__(self, writers: Collection[int]) -> None:
        """`writers` are the process ids of the nft workers of the thread that writes, and of nobody else."""
        self._writers = writers
        self._changed = Condition()
        self._seen_generation = 0
        self._touched = 0
        self._missed = False

    def note(self, news: NftNews) -> None:
        """Take in what nftables told."""
        with self._changed:
            self._missed |= news.missed
            others = (
                item.generation
                for item in news.transactions
                if not item.is_harmless and not item.is_ours(self._writers)
            )
            self._touched = max((self._touched, *others))
            if news.generation is None:
                return
            self._seen_generation = news.generation
            if self._missed:
                # Whatever it was, it was not after this.
                self._touched, self._missed = news.generation, False
            self._changed.notify_all()

    def untouched_since(self, since: int) -> int | None:
        """The newest generation of nftables that we heard of, if no other program touched our tables since another.

        `since` is as of `only_ours`.
        """
        with self._changed:
            known = not self._missed and self._touched <= since
            return max(self._seen_generation, since) if known else None

    def only_ours(self, since: int, until: int) -> bool:
        """True if no other program touched our tables between two generations of nftables.

        Nobody knows what was before we began to listen, so `since` has to be a generation that was read later.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._seen_generation >= until, PATIENCE_S)
            return self._seen_generation >= until and not self._missed and self._touched <= since
