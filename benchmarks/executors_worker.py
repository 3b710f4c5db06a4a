"""One measurement of `executors` in a process of its own; prints one line of JSON: {figure: [[tasks, seconds], ...]}.

::

    python executors_worker.py CASE SYSTEM ROUND FOLDER

What takes part in a ratio that is close to one is measured in one process, over the same cluster or server, and takes
turns by the number of the round. Pools and clusters are warm: they have done some work of the same kind before.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter, sleep

TINY, FEW, CHAIN, ENGINE, ENGINE_RUN, MIRROR = 2_000, 300, 300, 1_000, 500, 2_000
"""How many tasks: luigi starts a process for each, a chain waits for each."""
WARM = 50
Figures = dict[str, list[list[float]]]
"""By name: tasks and seconds, as often as it was measured."""


def nothing(number: int) -> int:
    return number


def nap(number: int) -> int:
    sleep(1)
    return number


def timed(size: int, work: Callable[[], object], expected: object) -> list[float]:
    """Return how long `work` takes; it has to return what is expected."""
    start = perf_counter()
    found = work()
    seconds = perf_counter() - start
    if found != expected:
        raise AssertionError(f"{found!r:.200} came back, {expected!r:.200} was expected")
    return [size, seconds]


def in_turn(parts: dict[str, Callable[[], list[float]]], number: int, times: int = 1) -> Figures:
    """Return the figures of all parts, each measured `times` times; another one is first each time."""
    names = list(parts)
    figures: Figures = {name: [] for name in names}
    for time in range(times):
        turn = (number + time) % len(names)
        for name in names[turn:] + names[:turn]:
            figures[name].append(parts[name]())
    return figures


# ----------------------------------------------------------------------------------------------- d6tpipe


def run_of(tasks: list, **options) -> None:
    import d6tpipe

    done = d6tpipe.run(tasks, execution_summary=False, progress=False, **options)
    if not done:
        raise AssertionError(f"the run says {done!r}")


_runs = count()


def timed_run(cls: type, size: int, folder: str, **options) -> list[float]:
    """Return how long a run takes that builds `size` tasks of a class, which no run has seen before."""
    import d6tpipe

    folder, first = os.path.join(folder, f"run{next(_runs)}"), next(_runs) * 1_000_000
    d6tpipe.set_dir(folder)
    if cls.__name__ == "Link":
        tasks = [cls(number=size - 1, chain=first)]
    else:
        tasks = [cls(number=number) for number in range(first, first + size)]
    start = perf_counter()
    run_of(tasks, **options)
    seconds = perf_counter() - start
    saved = sum(name.endswith(".pkl") for _, _, names in os.walk(folder) for name in names)
    if saved != (0 if cls.__name__ == "Silent" else size):
        raise AssertionError(f"{saved} of {size} tasks have an output")
    return [size, seconds]


def warm_run(folder: str, **options) -> None:
    import executors_flow as flow

    for cls in (flow.Tiny, flow.Silent, flow.Link):
        timed_run(cls, WARM, folder, **options)


def d6tpipe_overlap(number: int, folder: str) -> Figures:
    import executors_flow as flow

    warm_run(folder, workers=2)
    return {"d6tpipe": [timed_run(flow.Nap, 4, folder, workers=2)]}


def d6tpipe_tiny(number: int, folder: str) -> Figures:
    import executors_flow as flow

    warm_run(folder, workers=2)
    warm_run(folder)
    parts = {}
    for name, cls, size in (("", flow.Tiny, TINY), (", no output", flow.Silent, TINY), (", chain", flow.Link, CHAIN)):
        parts[f"d6tpipe run{name}"] = partial(timed_run, cls, size, folder, workers=2)
        parts[f"d6tpipe run{name}, serial"] = partial(timed_run, cls, size, folder)
    return in_turn(parts, number, 2)


def pool_tiny(number: int, folder: str) -> Figures:
    """Measure the pool by itself, without tasks."""
    from d6tpipe.executors.processes import ProcessExecutor

    with ProcessExecutor(2) as pool:
        later = partial(pool.assign, nothing, later=True)

        def assigned() -> int:
            futures = [later((i,)) for i in range(TINY)]
            pool.flush()
            return sum([future.result() for future in futures])

        more = {"pool, assigned": lambda: timed(TINY, assigned, sum(range(TINY)))}
        return _futures("pool", pool, number, more)


def futures_tiny(number: int, folder: str) -> Figures:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as pool:
        return _futures("concurrent.futures", pool, number)


def _futures(name: str, pool, number: int, more: dict[str, Callable[[], list[float]]] | None = None) -> Figures:
    expected = sum(range(TINY))
    for future in [pool.submit(nothing, i) for i in range(WARM)]:
        future.result()

    def together() -> int:
        return sum([future.result() for future in [pool.submit(nothing, i) for i in range(TINY)]])

    def one_by_one() -> int:
        return sum([pool.submit(nothing, i).result() for i in range(TINY)])

    parts = {
        name: lambda: timed(TINY, together, expected),
        f"{name}, one by one": lambda: timed(TINY, one_by_one, expected),
    }
    return in_turn({**parts, **(more or {})}, number, 3)


# ------------------------------------------------------------------------------------------------- peers


def luigi_overlap(number: int, folder: str) -> Figures:
    return {"luigi": [_luigi(folder, 4, nap)]}


def luigi_tiny(number: int, folder: str) -> Figures:
    return {"luigi": [_luigi(folder, FEW, nothing)]}


def _luigi(folder: str, size: int, work: Callable[[int], int]) -> list[float]:
    import luigi
    from luigi.format import Nop

    class Saving(luigi.Task):
        number = luigi.IntParameter()

        def output(self):
            return luigi.LocalTarget(os.path.join(folder, self.task_id + ".pkl"), format=Nop)

        def run(self):
            with self.output().open("w") as file:
                pickle.dump(work(self.number), file)

    tasks = [Saving(number=i) for i in range(size)]
    figure = timed(size, lambda: luigi.build(tasks, workers=2, local_scheduler=True, log_level="WARNING"), True)
    if not all([task.complete() for task in tasks]):
        raise AssertionError("luigi has not done all")
    return figure


def joblib_overlap(number: int, folder: str) -> Figures:
    return {"joblib": [_joblib(4, nap)]}


def joblib_tiny(number: int, folder: str) -> Figures:
    return {"joblib": [_joblib(TINY, nothing) for _ in range(3)]}


def _joblib(size: int, work: Callable[[int], int]) -> list[float]:
    from joblib import Parallel, delayed

    Parallel(n_jobs=2)(delayed(nothing)(i) for i in range(WARM))
    return timed(size, lambda: sum(Parallel(n_jobs=2)(delayed(work)(i) for i in range(size))), sum(range(size)))


def pytask_overlap(number: int, folder: str) -> Figures:
    import pytask
    import pytask_parallel  # noqa: F401  (asked whether they are there)

    os.makedirs(folder)
    body = "from time import sleep\n" + "".join(f"\ndef task_{i}():\n    sleep(1)\n" for i in range(4))
    Path(folder, "task_naps.py").write_text(body)
    command = [sys.executable, "-m", "pytask", "build", "-n", "2", "--disable-warnings"]
    start = perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    seconds = perf_counter() - start
    if done.returncode or "4  Succeeded" not in done.stdout:
        raise AssertionError(f"pytask {pytask.__version__} says {done.returncode}: {done.stdout[-2000:]}")
    return {"pytask": [[4, seconds]]}


@contextlib.contextmanager
def dask_client():
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:  # noqa: SIM117
        with Client(cluster) as client:
            client.wait_for_workers(2)
            client.gather(client.map(nothing, range(WARM), pure=False))
            yield client


def dask_overlap(number: int, folder: str) -> Figures:
    with dask_client() as client:
        return {"dask": [timed(4, lambda: sum(client.gather(client.map(nap, range(4), pure=False))), 6)]}


def dask_tiny(number: int, folder: str) -> Figures:
    with dask_client() as client:
        work = lambda: sum(client.gather(client.map(nothing, range(TINY), pure=False)))  # noqa: E731
        return {"dask": [timed(TINY, work, sum(range(TINY))) for _ in range(3)]}


# ----------------------------------------------------------------------------------------------- engines


def dask_engines(number: int, folder: str) -> Figures:
    from d6tpipe.executors.dask import of_client

    with dask_client() as client:

        def own(size: int) -> int:
            return sum(client.gather([client.submit(nothing, i, pure=False) for i in range(size)]))

        def own_futures(size: int) -> int:
            """Ask each for its result, as anybody has to who does not wait for all."""
            return sum([future.result() for future in [client.submit(nothing, i, pure=False) for i in range(size)]])

        adapter = of_client(client)
        return _engine("dask", {"submit": own, "submit, each result": own_futures}, adapter, number, folder)


def ray_engines(number: int, folder: str) -> Figures:
    import ray

    from d6tpipe.executors.ray import build

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        remote = ray.remote(max_retries=0)(nothing)

        def own(size: int) -> int:
            return sum(ray.get([remote.remote(i) for i in range(size)]))

        def own_futures(size: int) -> int:
            """Ask each for its result, as anybody has to who does not wait for all."""
            return sum([future.result() for future in [remote.remote(i).future() for i in range(size)]])

        return _engine("ray", {"submit": own, "submit, each result": own_futures}, build(2), number, folder)
    finally:
        ray.shutdown()


def _engine(name: str, own: dict[str, Callable[[int], int]], adapter, number: int, folder: str) -> Figures:
    import executors_flow as flow

    def adapted(size: int) -> int:
        return sum([future.result() for future in [adapter.submit(nothing, i) for i in range(size)]])

    def requested(size: int) -> int:
        futures = [adapter.request(nothing, (i,), resources={}, priority=0) for i in range(size)]
        return sum([future.result() for future in futures])

    ways = {**own, "adapter.submit": adapted, "adapter.request": requested}
    for way in ways.values():
        way(WARM)
    warm_run(folder, executor=name, workers=2)
    warm_run(folder)
    parts = {
        f"{name} {title}": partial(timed, ENGINE, partial(way, ENGINE), sum(range(ENGINE)))
        for title, way in ways.items()
    }
    parts[f"{name} d6tpipe run"] = partial(timed_run, flow.Tiny, ENGINE_RUN, folder, executor=name, workers=2)
    parts[f"{name} d6tpipe run, serial"] = partial(timed_run, flow.Tiny, ENGINE_RUN, folder)
    return in_turn(parts, number, 3)


# ------------------------------------------------------------------------------------------------ mirror


@contextlib.contextmanager
def luigid(folder: str):
    """Run luigi's scheduler; yields its address."""
    import socket
    from urllib.request import urlopen

    program = Path(sys.executable).parent / "luigid"
    if not program.exists():
        raise ImportError("luigid is not there", name="luigid")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.makedirs(folder, exist_ok=True)
    command = [program, "--address", "127.0.0.1", "--port", str(port), "--state-path", os.path.join(folder, "state")]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urlopen(url + "/api/is_paused").close()
                break
            except OSError:
                sleep(0.05)
        yield url
    finally:
        server.terminate()
        server.wait()


def d6tpipe_mirror(number: int, folder: str) -> dict:
    import executors_flow as flow

    from d6tpipe.central import Mirror

    close, drained = Mirror.close, 0.0

    def timed_close(mirror) -> None:
        nonlocal drained
        start = perf_counter()
        close(mirror)
        drained = perf_counter() - start

    def mirrored(**options) -> list[float]:
        """Return also how long it took to send what was left when all bodies had run."""
        return [*timed_run(flow.Tiny, MIRROR, folder, scheduler=url, **options), drained]

    Mirror.close = timed_close
    with luigid(os.path.join(folder, "server")) as url:
        warm_run(folder, workers=2, scheduler=url)
        warm_run(folder, scheduler=url)
        before = done_there(url)
        parts = {
            "serial": partial(timed_run, flow.Tiny, MIRROR, folder),
            "serial, mirrored": mirrored,
            "processes": partial(timed_run, flow.Tiny, MIRROR, folder, workers=2),
            "processes, mirrored": partial(mirrored, workers=2),
        }
        measured = in_turn(parts, number)
        told = done_there(url) - before
    figures: dict = {}
    if told != 2 * MIRROR:
        figures["note"] = f"luigid was told of {told} of {2 * MIRROR} tasks in time\n"
    for name, found in measured.items():
        figures[name] = [figure[:2] for figure in found]
        if name.endswith("mirrored"):
            figures[f"{name}, before the drain"] = [[size, seconds - rest] for size, seconds, rest in found]
    return figures


def done_there(url: str) -> int:
    """Return of how many tasks of the measurement the server knows that they are done."""
    from urllib.parse import quote
    from urllib.request import urlopen

    arguments = quote(json.dumps({"status": "DONE", "upstream_status": "", "limit": False}))
    with urlopen(f"{url}/api/task_list?data={arguments}") as answer:
        return len(json.load(answer)["response"])


def main() -> None:
    case, system, number, folder = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is not the result
        try:
            result: dict = globals()[f"{system}_{case}"](int(number), folder)
        except ImportError as error:
            result = {"missing": (error.name or str(error)).partition(".")[0]}
    print(json.dumps(result))


if __name__ == "__main__":
    import executors_worker  # what is defined here is called by its name in other processes, which import it

    executors_worker.main()
