"""Where bodies run. Each module builds one executor: a ``concurrent.futures.Executor``, perhaps with traits.

A trait is an attribute that says what more an executor can do, or must be done for it; all are False by default:

``inline``
    It runs everything in the thread that submits.
``in_process``
    Bodies share the memory of the process that coordinates: nothing is pickled.
``local``
    Its workers are on this machine: they take over working directory and environment.
``shares``
    Arguments of the class `shared.Shared` are sent to each worker once.
``affinity``
    ``assign(function, args, worker=...)`` has a certain worker do something; futures have the attribute ``worker``.
``breaks``
    The death of a worker ends all that is under way; build it again.
``remote``
    Its workers do not see the files of the process that coordinates: inputs are shipped, outputs brought back.
``elastic``
    It wants to see all work that is ready, to decide how many workers to have.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from d6tpipe import plugins
from d6tpipe.errors import PluginError

__all__ = ["Builder", "builder_of", "discard", "known", "register", "shutdown", "usable_processors", "warm"]

Builder = Callable[..., Executor]

_registered: dict[str, Builder] = {}
_warm: dict[str, tuple[int, Executor]] = {}
_guard = threading.Lock()


def register(name: str, builder: Builder) -> None:
    """Make an executor known by a name, for ``run(executor=name)``, settings and the command line.

    Parameters
    ----------
    name : str
        Not that of a built-in executor. A name that was registered before is replaced.
    builder : callable
        ``builder(n_workers=..., settings=...) -> concurrent.futures.Executor``; called once per run, which shuts down
        what it got. The executor may have traits, see `d6tpipe.executors`.

    Raises
    ------
    PluginError
        The name is taken, or `builder` cannot be called.
    """
    if name in plugins.BUILTIN["executors"]:
        raise PluginError(
            f"The executor {name!r} is built in",
            facts={"built in": ", ".join(plugins.BUILTIN["executors"])},
            hint="Choose another name.",
        )
    if not callable(builder):
        raise PluginError(
            f"What is registered as executor {name!r} cannot be called",
            facts={"got": repr(builder)},
            hint="Give a function of n_workers and settings that returns a concurrent.futures.Executor.",
        )
    _registered[name] = builder


def known() -> list[str]:
    """Return all names that can be asked for, sorted."""
    return sorted({*plugins.known("executors"), *_registered})


def builder_of(name: str) -> Builder:
    """Return what builds the executor of a name.

    Raises
    ------
    PluginError
        The name is unknown (the message lists the known ones), or its library is not installed.
    """
    found = _registered.get(name)
    if found is None:
        found = plugins.load("executors", name, also=_registered)
    return found


def warm(name: str, n_workers: int, settings: Any) -> Executor:
    """Return the pool of this name and size, which is kept from run to run; one of another size is ended."""
    with _guard:
        size, pool = _warm.get(name, (0, None))
        if pool is None or size != n_workers or getattr(pool, "_closed", False):
            if pool is not None:
                pool.shutdown(wait=False)
            pool = builder_of(name)(n_workers=n_workers, settings=settings)
            _warm[name] = n_workers, pool
        return pool


def discard(name: str) -> None:
    """Let go of the pool of this name, which is broken."""
    with _guard:
        _, pool = _warm.pop(name, (0, None))
    if pool is not None:
        pool.shutdown(wait=False)


def shutdown() -> None:
    """End the pools that are kept from run to run; the next run starts new ones."""
    with _guard:
        for _, pool in _warm.values():
            pool.shutdown(wait=True)
        _warm.clear()


def usable_processors() -> int:
    """Return how many processors this process may use: fewer than the machine has under taskset or in a container."""
    import os

    try:
        found = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        found = os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as stream:
            quota, period = stream.read().split()[:2]
        if quota != "max":
            found = min(found, -(-int(quota) // int(period)))
    except (OSError, ValueError):  # no such limit here
        pass
    return max(1, found)
