"""Every executor, made the way its users make it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

import d6tpipe
from d6tpipe import executors

EXECUTORS = ("serial", "threads", "processes", "loky", "dask", "ray", "registered")


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


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> Iterator[Any]:
    """What ``run(executor=...)`` is given."""
    name = request.param
    if name == "dask":
        yield request.getfixturevalue("dask_client")
    elif name == "ray":
        yield request.getfixturevalue("ray_cluster")
    elif name == "registered":
        executors.register("mine", standard_library)
        yield "mine"
        executors._registered.clear()
    else:
        yield name


@pytest.fixture
def apart(executor: Any) -> bool:
    """Whether bodies run in other processes."""
    return executor not in ("serial", "threads")


@pytest.fixture(autouse=True)
def quiet() -> None:
    d6tpipe.settings.execution_summary = False
