"""One measurement in a process of its own; prints one line of JSON.

::

    python worker.py SYSTEM CASE SHAPE SIZE FOLDER

SYSTEM is luigi, d6tflow, d6tpipe or floor; it is imported here, so this runs in that system's environment.
CASE is construct, cold (build everything) or noop (everything is there; nothing may run).
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import sys
from time import perf_counter

bodies = 0  # how many run() methods were executed, to know that a cold run did its work and a no-op did none


def payload(number: int) -> dict:
    """Return what each task saves: the floor writes the same bytes."""
    return {"number": number, "text": "a small result", "values": [number, number + 1, number + 2]}


def declare(base: type, library) -> dict:
    """Return the task classes of one library: the same text for all three, only the base class differs."""
    integer = library.IntParameter

    class Leaf(base):
        i = integer()

        def run(self):
            keep(self, self.i)

    class Fan(base):
        """All leaves under one root."""

        size = integer()

        def requires(self):
            return [Leaf(i=i) for i in range(self.size - 1)]

        def run(self):
            keep(self, self.size)

    class Chain(base):
        i = integer()

        def requires(self):
            return [Chain(i=self.i - 1)] if self.i else []

        def run(self):
            keep(self, self.i)

    class Rung(base):
        """Each of the two tasks of a layer requires both of the layer before: 2 ** layers paths."""

        layer = integer()
        side = integer()

        def requires(self):
            return [Rung(layer=self.layer - 1, side=side) for side in (0, 1)] if self.layer else []

        def run(self):
            keep(self, self.layer)

    class Ladder(base):
        layers = integer()

        def requires(self):
            return [Rung(layer=self.layers - 1, side=side) for side in (0, 1)]

        def run(self):
            keep(self, self.layers)

    class Four(base):
        site = library.Parameter()
        year = library.IntParameter()
        rate = library.FloatParameter()
        clean = library.BoolParameter()

    def keep(task, number):
        global bodies
        bodies += 1
        task.save(payload(number))

    return {
        "fan": lambda size: Fan(size=size),
        "chain": lambda size: Chain(i=size - 1),
        "ladder": lambda size: Ladder(layers=(size - 1) // 2),
        "four": Four,
    }


# ------------------------------------------------------------------------------------------------ systems


def luigi_system(folder: str, case: str):
    import luigi
    from luigi.format import Nop

    class Saving(luigi.Task):
        def output(self):
            path = os.path.join(folder, self.task_family, self.task_id + ".pkl")
            return luigi.LocalTarget(path, format=Nop)

        def save(self, value):
            with self.output().open("w") as file:
                pickle.dump(value, file)

    class Asking(Saving):
        # luigi looks at the root's output and no further. A no-op that looks at every output is comparable;
        # this works for a fan only (a chain would recurse, a ladder take for ever).
        def complete(self):
            needed = luigi.task.flatten(self.requires())
            return super().complete() and all(task.complete() for task in needed)

    def run(root):
        return luigi.build([root], local_scheduler=True, log_level="WARNING")

    return declare(Asking if case == "noop-all" else Saving, luigi), run


def d6tflow_system(folder: str, case: str):
    import luigi

    import d6tflow

    d6tflow.set_dir(folder)
    return declare(d6tflow.tasks.TaskPickle, luigi), lambda root: d6tflow.run(root, execution_summary=False)


def d6tpipe_system(folder: str, case: str):
    import d6tpipe

    d6tpipe.set_dir(folder)

    def run(root):
        return d6tpipe.run(root, execution_summary=False, progress=False)

    return declare(d6tpipe.tasks.TaskPickle, d6tpipe), run


# --------------------------------------------------------------------------------------------------- cases


def construct(classes: dict, size: int) -> dict:
    four = classes["four"]
    values = [{"site": f"site{i % 7}", "year": i, "rate": i / 8, "clean": bool(i % 2)} for i in range(size)]
    four(site="warm", year=-1, rate=0.5, clean=True)
    start = perf_counter()
    kept = [four(**value) for value in values]
    middle = perf_counter()
    again = [four(**value) for value in values]
    end = perf_counter()
    if len({task.year for task in kept}) != size or any(a is not b for a, b in zip(kept, again, strict=True)):
        raise AssertionError("the constructor made the wrong tasks")
    return {"tasks": size, "seconds": middle - start, "again": end - middle}


def resident() -> int:
    """Return the memory in use now, bytes; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def peak() -> int:
    """Return the most memory ever in use, bytes."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        return 0


def build(classes: dict, run, shape: str, size: int, expected: int) -> dict:
    before = resident()
    start = perf_counter()
    done = run(classes[shape](size))
    seconds = perf_counter() - start
    if not done or bodies != expected:
        raise AssertionError(f"{bodies} bodies ran, {expected} were expected; result {done!r}")
    return {"tasks": size, "seconds": seconds, "memory": peak() - before}


def floor(folder: str, size: int) -> dict:
    """Write the same bytes under a temporary name and rename: what no engine can do without."""
    blobs = [pickle.dumps(payload(number)) for number in range(size)]
    os.makedirs(folder)
    start = perf_counter()
    for number, blob in enumerate(blobs):
        path = f"{folder}/task_{number:032d}.pkl"
        temporary = path + ".tmp"
        with open(temporary, "wb") as file:
            file.write(blob)
        os.replace(temporary, path)
    return {"tasks": size, "seconds": perf_counter() - start}


def main(system: str, case: str, shape: str, size: int, folder: str) -> dict:
    if system == "floor":
        return floor(folder, size)
    make = {"luigi": luigi_system, "d6tflow": d6tflow_system, "d6tpipe": d6tpipe_system}[system]
    classes, run = make(folder, case)
    if case == "construct":
        return construct(classes, size)
    return build(classes, run, shape, size, size if case == "cold" else 0)


if __name__ == "__main__":
    system, case, shape, size, folder = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is not the result
        result = main(system, case, shape, int(size), folder)
    print(json.dumps(result))
