"""Ray: a cluster that is there, or one on this machine for the length of a run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from d6tpipe import plugins
from d6tpipe.executors.shared import WorkerDied

__all__ = ["RayExecutor", "build"]


def build(n_workers: int, settings: Any = None, address: str = "") -> RayExecutor:
    """Return an executor over Ray.

    Parameters
    ----------
    n_workers : int
        Processors of a local Ray; not used with an address, or when this process is connected already.
    address : str
        ``"ray://host:10001"``. Empty: what this process is connected to, else a local Ray, which ends with the run.

    Raises
    ------
    PluginError
        Ray is not installed.
    """
    ray = plugins.need("ray", "The executor ray")
    if ray.is_initialized():
        return RayExecutor(ray, ends=False)
    options: dict[str, Any] = {"address": address} if address else {"num_cpus": n_workers, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level="ERROR", **options)
    return RayExecutor(ray, ends=True)


class RayExecutor(Executor):
    """Each piece of work is a Ray task of its own; Ray decides where it runs.

    Parameters
    ----------
    ray : module
    ends : bool
        Whether `shutdown` ends the connection.
    """

    elastic = True

    def __init__(self, ray: Any, ends: bool) -> None:
        self._ray, self._ends = ray, ends
        self._functions: dict[Any, Any] = {}
        self._under_way: dict[Future[Any], Any] = {}

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
        """Have a function called where there are `resources`: "CPU", "GPU", "memory" (bytes), or of your own."""
        remote = self._functions.get(function)
        if remote is None:
            remote = self._functions[function] = self._ray.remote(max_retries=0)(function)
        options: dict[str, Any] = {}
        for key, amount in (resources or {}).items():
            if key in _OWN:
                options[_OWN[key]] = amount
            else:
                options.setdefault("resources", {})[key] = amount
        if options:
            remote = remote.options(**options)
        reference = remote.remote(*args, **(kwargs or {}))
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._under_way[future] = reference
        reference.future().add_done_callback(lambda done: self._settle(future, done))
        return future

    def _settle(self, future: Future[Any], done: Future[Any]) -> None:
        self._under_way.pop(future, None)
        if future.done():
            return
        error = done.exception()
        if error is None:
            future.set_result(done.result())
            return
        exceptions = self._ray.exceptions
        if isinstance(error, exceptions.RayTaskError):
            future.set_exception(error.cause or error)
        elif isinstance(error, (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError, exceptions.NodeDiedError)):
            future.set_exception(WorkerDied(0, None))
        else:
            future.set_exception(error)

    def abandon(self, future: Future[Any], error: Exception) -> None:
        """End the process that does a piece of work."""
        reference = self._under_way.pop(future, None)
        if not future.done():
            future.set_exception(error)
        if reference is not None:
            self._ray.cancel(reference, force=True)

    def interrupt(self) -> None:
        """End all that is under way."""
        for reference in list(self._under_way.values()):
            self._ray.cancel(reference, force=True)

    def offers(self, name: str) -> float:
        """Return how much of a resource the cluster has."""
        return float(self._ray.cluster_resources().get(name, 0))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the connection, if it was made for this executor."""
        if self._ends:
            self._ray.shutdown()
            self._ends = False


_OWN = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
