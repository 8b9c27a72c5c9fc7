"""Notifications to systemd, sent on a thread, so that a slow service manager holds nothing up."""

from collections.abc import Callable
from threading import Condition, Thread

from hostfw.host.systemd import notify as service_manager

_RETRY_S = 1.0
_CLOSING_S = 2.0

_READY, _STOPPING, _STATUS, _ALIVE = "READY", "STOPPING", "STATUS", "WATCHDOG"


class Notifier:
    """Tells systemd the latest of each thing; what it was not told before something newer came is never told."""

    def __init__(self, notify: Callable[[str], None] = service_manager.notify) -> None:
        """The thread starts with the first thing that is to be told."""
        self._notify = notify
        self._changed = Condition()
        self._news: dict[str, str] = {}
        self._is_closing = False
        self._thread: Thread | None = None

    def ready(self, status: str) -> None:
        """Say that the service is up, and what it does."""
        self._tell(**{_READY: "1", _STATUS: service_manager.status_line(status)})

    def status(self, status: str) -> None:
        """Say on one line what the service does: what `systemctl status` shows."""
        self._tell(**{_STATUS: service_manager.status_line(status)})

    def alive(self) -> None:
        """Say that the service still works, for the watchdog."""
        self._tell(**{_ALIVE: "1"})

    def stopping(self, status: str) -> None:
        """Say that the service is about to end."""
        self._tell(**{_STOPPING: "1", _STATUS: service_manager.status_line(status)})

    def close(self) -> None:
        """Tell what is left, for a short while at most."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_CLOSING_S)

    def _tell(self, **news: str) -> None:
        if not service_manager.is_there():
            return
        with self._changed:
            self._news |= news
            if self._thread is None and not self._is_closing:
                self._thread = Thread(target=self._deliver, name="notifier", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _deliver(self) -> None:
        """On a thread of its own."""
        while True:
            with self._changed:
                while not self._news:
                    if self._is_closing:
                        return
                    self._changed.wait()
                news, self._news = self._news, {}
            try:
                self._notify("\n".join(f"{name}={value}" for name, value in news.items()))
            except Exception:  # noqa: BLE001  whatever it is, the service goes on without, and tries again
                with self._changed:
                    if self._is_closing:
                        return
                    # A sign of life is about its own moment.
                    news.pop(_ALIVE, None)
                    self._news = news | self._news
                    self._changed.wait_for(lambda: self._is_closing, _RETRY_S)
