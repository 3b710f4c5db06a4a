"""Every executor, made the way its users make it."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

import d6tpipe
from d6tpipe import executors

EXECUTORS = ("serial", "threads", "processes", "loky", "dask", "ray", "registered", "elsewhere")


@pytest.fixture(scope="session")
def dask_client() -> Iterator[Any]:
    """A real Dask cluster of two worker processes."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """A real Ray of two processors."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield "ray"
    ray.shutdown()


def standard_library(n_workers: int, settings: Any) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("forkserver"))


class Elsewhere(ProcessPoolExecutor):
    """Workers that cannot touch the data folder."""

    remote = True
    breaks = True


def elsewhere(n_workers: int, settings: Any) -> Elsewhere:
    context = multiprocessing.get_context("forkserver")
    return Elsewhere(n_workers, mp_context=context, initializer=_forbid, initargs=(os.path.abspath(settings.dirpath),))


def _forbid(folder: str) -> None:
    """Make every attempt to open, list or change anything in a folder an error, in this process."""

    def check(event: str, args: tuple[Any, ...]) -> None:
        if event in ("open", "sqlite3.connect") or event.startswith(("os.", "shutil.")):
            for value in args:
                if isinstance(value, (str, bytes, os.PathLike)):
                    path = os.path.abspath(os.fsdecode(value))
                    if path == folder or path.startswith(folder + os.sep):
                        raise PermissionError(f"{event}: {path} is on another machine")

    os.chdir(tempfile.gettempdir())
    sys.addaudithook(check)


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> Iterator[Any]:
    """What ``run(executor=...)`` is given."""
    name = request.param
    if name == "dask":
        yield request.getfixturevalue("dask_client")
    elif name == "ray":
        yield request.getfixturevalue("ray_cluster")
    elif name in ("registered", "elsewhere"):
        executors.register("mine", standard_library if name == "registered" else elsewhere)
        yield "mine"
        executors._registered.clear()
    else:
        yield name


@pytest.fixture
def apart(executor: Any) -> bool:
    """Whether bodies run in other processes."""
    return executor not in ("serial", "threads")


@pytest.fixture
def remote(request: pytest.FixtureRequest, executor: Any) -> bool:
    """Whether workers do not see the data folder."""
    return bool(request.node.callspec.params["executor"] == "elsewhere")


@pytest.fixture(autouse=True)
def quiet() -> None:
    d6tpipe.settings.execution_summary = False
