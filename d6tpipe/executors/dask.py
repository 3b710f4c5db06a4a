"""Dask: a cluster that is there, given by its address or its client, or one on this machine for the length of a run."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from d6tpipe import plugins
from d6tpipe.executors.shared import WorkerDied, WorkerLost

__all__ = ["DaskExecutor", "build", "of_client"]

_PATIENCE = 10.0
"""Seconds that the end of a run waits for the thread that fetches results."""


def build(n_workers: int, settings: Any = None, address: str = "") -> DaskExecutor:
    """Return an executor over a Dask cluster.

    Parameters
    ----------
    n_workers : int
        Processes of a local cluster, one thread each; not used with an address.
    address : str
        ``"dask://host:8786"`` or ``"tcp://host:8786"``: a scheduler that is running. Empty: the client that is current
        in this process, else a local cluster, which ends with the run.

    Raises
    ------
    PluginError
        dask.distributed is not installed.
    """
    distributed = plugins.need("distributed", "The executor dask")
    if address:
        client = distributed.Client(address.replace("dask://", "tcp://", 1), set_as_default=False)
        return DaskExecutor(client, [client])
    try:
        return DaskExecutor(distributed.get_client(), [])
    except ValueError:  # there is none
        pass
    cluster = distributed.LocalCluster(
        n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    client = distributed.Client(cluster, set_as_default=False)
    return DaskExecutor(client, [client, cluster])


def of_client(client: Any) -> DaskExecutor:
    """Return an executor over a client that the caller has and keeps."""
    return DaskExecutor(client, [])


class DaskExecutor(Executor):
    """Each piece of work is a Dask task of its own; Dask decides where it runs.

    Parameters
    ----------
    client : distributed.Client
    closing : list
        What `shutdown` closes.
    """

    elastic = True

    def __init__(self, client: Any, closing: list[Any]) -> None:
        self._client, self._closing = client, closing
        self._under_way: dict[Future[Any], Any] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._collector: threading.Thread | None = None

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have ``function(*args, **kwargs)`` called by a worker of the cluster."""
        return self.request(function, args, kwargs)

    def request(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        resources: dict[str, float] | None = None,
        priority: float = 0,
        name: str = "",
    ) -> Future[Any]:
        """Have a function called by a worker that has `resources`, as the workers of the cluster declare them."""
        options: dict[str, Any] = {"pure": False, "priority": priority}
        if resources:
            options["resources"] = resources
        remote = self._client.submit(function, *args, **options, **(kwargs or {}))
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._under_way[future] = remote  # Dask forgets a task when nobody holds its future
        remote.add_done_callback(lambda done: self._ended.put((future, done)))
        if self._collector is None:
            self._collector = threading.Thread(target=self._collect, name="d6tpipe dask", daemon=True)
            self._collector.start()
        return future

    def _collect(self) -> None:
        """Fetch results, all that are there at once: each question to the cluster takes about a millisecond."""
        while True:
            ended = [self._ended.get()]
            while not self._ended.empty():
                ended.append(self._ended.get())
            over = None in ended
            pairs = [pair for pair in ended if pair is not None]
            well = [pair for pair in pairs if pair[1].status == "finished"]
            try:
                results = self._client.gather([remote for _, remote in well]) if well else []
            except Exception:  # noqa: BLE001  (one by one, each with its own error)
                results, well = [], []
            for (future, _), result in zip(well, results, strict=True):
                self._under_way.pop(future, None)
                if not future.done():
                    future.set_result(result)
            done = {id(future) for future, _ in well}
            for future, remote in pairs:
                if id(future) not in done:
                    self._settle(future, remote)
            if over:
                return

    def _settle(self, future: Future[Any], remote: Any) -> None:
        self._under_way.pop(future, None)
        if future.done():  # it was abandoned
            return
        try:
            if remote.status == "cancelled":
                future.set_exception(WorkerDied(0, None))
                return
            error = remote.exception()
            if error is None:
                future.set_result(remote.result())
            elif type(error).__name__ == "KilledWorker":  # said of all that was on the worker
                future.set_exception(WorkerLost())
            else:
                future.set_exception(error)
        except Exception as error:  # noqa: BLE001  (reported: the connection ended meanwhile)
            future.set_exception(error)

    def abandon(self, future: Future[Any], error: Exception) -> None:
        """Wait no longer for a piece of work. Dask cannot stop a function that has begun: it goes on to its end."""
        remote = self._under_way.pop(future, None)
        if remote is not None:
            remote.cancel()
        if not future.done():
            future.set_exception(error)

    def interrupt(self) -> None:
        """Cancel what has not begun."""
        for future in list(self._under_way.values()):
            future.cancel()

    def offers(self, name: str) -> float:
        """Return how much of a resource the best worker has; 0: none declares it."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return max((worker.get("resources", {}).get(name, 0) for worker in workers), default=0)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close what was made for this executor; a client that was given stays open."""
        if cancel_futures:
            self.interrupt()
        if self._collector is not None:
            self._ended.put(None)
            self._collector.join(_PATIENCE)
            self._collector = None
        for closing in self._closing:
            closing.close()
        self._closing = []
