"""What bodies on workers say to luigi's scheduler while they run: messages, progress, links."""

from __future__ import annotations

import logging
import threading
from time import monotonic
from typing import Any

from d6tpipe.central.connection import Call, Connection
from d6tpipe.central.protocol import RUNNING, announcement, central_id
from d6tpipe.errors import SchedulerError

__all__ = ["RemoteStatus"]

logger = logging.getLogger("d6tpipe")

_EVERY = 0.5  # seconds between two calls about one task: a body may say how far it is a thousand times a second


class RemoteStatus:
    """Tells a scheduler what a body says, directly from the worker that runs it (see `interfaces.Status`).

    Parameters
    ----------
    url, worker : str
        Of the scheduler, and the name of the run there.
    """

    def __init__(self, url: str, worker: str) -> None:
        self._connection = Connection(url)
        self._worker = worker
        self._sent: dict[str, float] = {}  # when something about a task was sent last
        self._waiting: dict[str, dict[str, Call]] = {}
        self._failed = False
        self._lock = threading.Lock()  # workers of Dask may have several threads

    def message(self, task: Any, text: str) -> None:
        """Show a message of a body that runs."""
        self._say(task, "set_task_status_message", {"status_message": text})

    def progress(self, task: Any, percent: float) -> None:
        """Show how far a body is."""
        self._say(task, "set_task_progress_percentage", {"progress_percentage": percent})

    def tracking_url(self, task: Any, url: str) -> None:
        """Show a link for a body that runs."""
        with self._lock:
            call = announcement(task, self._worker, RUNNING, tracking_url=url)
            self._waiting.setdefault(central_id(task), {})["add_task"] = ("add_task", call)
            self._send(central_id(task))

    def messages(self, task: Any) -> None:
        """Return None: what is sent from the page does not reach bodies on workers."""

    def ended(self, task: Any) -> None:
        """Send what was said last."""
        key = central_id(task)
        with self._lock:
            if self._waiting.get(key):
                self._send(key)
            self._waiting.pop(key, None)
            self._sent.pop(key, None)

    def _say(self, task: Any, method: str, said: dict[str, Any]) -> None:
        key = central_id(task)
        with self._lock:
            waiting = self._waiting.setdefault(key, {})
            if key not in self._sent:  # what is said of tasks that the server does not know is lost
                waiting["add_task"] = ("add_task", announcement(task, self._worker, RUNNING))
            waiting[method] = (method, {"task_id": key, **said})
            if monotonic() - self._sent.get(key, -_EVERY) >= _EVERY:
                self._send(key)

    def _send(self, key: str) -> None:
        waiting, self._waiting[key] = self._waiting[key], {}
        self._sent[key] = monotonic()
        if self._failed:
            return
        try:
            self._connection.send(list(waiting.values()))
        except SchedulerError as error:
            self._failed = True  # each further try would hold the body up
            logger.warning("%s\nWhat the bodies on this worker say is not to be seen there.", error)
