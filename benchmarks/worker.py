"""One measurement in a process of its own; prints one line of JSON.

::

    python worker.py SYSTEM CASE SHAPE SIZE FOLDER

SYSTEM is luigi, d6tflow, d6tpipe or floor; it is imported here, so this runs in that system's environment.
CASE is construct, cold (build everything), noop (everything is there; nothing may run), exists (the same without
looking at records), record (what recording costs in a cold run) or fingerprint (what the code of a class amounts to).
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

    stale = "ignore" if case == "exists" else None

    def run(root):
        return d6tpipe.run(root, execution_summary=False, progress=False, stale=stale)

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


def record(classes: dict, run, shape: str, size: int) -> dict:
    """Measure what locks and records add to a cold run: the time spent in the ledger."""
    from d6tpipe.ledger import TaskLedger

    spent = 0.0

    def timed(method):
        def call(*args, **options):
            nonlocal spent
            start = perf_counter()
            try:
                return method(*args, **options)
            finally:
                spent += perf_counter() - start

        return call

    for name in ("claim", "settle", "close"):
        setattr(TaskLedger, name, timed(getattr(TaskLedger, name)))
    build(classes, run, shape, size, size)
    return {"tasks": size, "seconds": spent}


HELPER = """
LIMIT_{0} = {0}
TABLE_{0} = {{"low": {0}, "high": [{0}, 1, 2]}}

def scale_{0}(values, by=2):
    return [value * by for value in values if value < LIMIT_{0}]

def shift_{0}(values):
    found = scale_{0}(values)
    for name, bound in TABLE_{0}.items():
        found.append((name, bound))
    return found
"""
CLASS = """
class Task_{0}(d6tpipe.tasks.TaskPickle):
    rate = d6tpipe.FloatParameter(default=0.5)
    unit = "m"
{1}
    def run(self):
        self.save([self.part_0(shift_{0}([1, 2, 3])), self.unit])
"""
METHOD = """
    def part_{0}(self, values):
        total = 0
        for value in values:
            if value and self.rate > {0}:
                total += {0}
        return self.part_{1}(values) + total if {1} < 8 else total
"""


def fingerprints(size: int, folder: str) -> dict:
    """Measure the definition of `size` classes of 14 members: first sight, and again."""
    import d6tpipe
    from d6tpipe.definitions import definition

    os.makedirs(folder)
    methods = "".join(METHOD.format(n, n + 1) for n in range(8))
    text = "import d6tpipe\n" + "".join(HELPER.format(n) + CLASS.format(n, methods) for n in range(size))
    with open(os.path.join(folder, "many_classes.py"), "w") as file:
        file.write(text)
    sys.path.insert(0, folder)
    import many_classes

    classes = [getattr(many_classes, f"Task_{n}") for n in range(size)]
    for cls in classes:
        cls()  # the constructor is compiled at the first task, whatever comes after
    definition(d6tpipe.tasks.TaskPickle)
    start = perf_counter()
    codes = {definition(cls).code for cls in classes}
    middle = perf_counter()
    for cls in classes:
        definition(cls)
    end = perf_counter()
    if len(codes) != size:
        raise AssertionError("two classes have the same code")
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
    if case == "record":
        return record(classes, run, shape, size)
    if case == "fingerprint":
        return fingerprints(size, folder)
    return build(classes, run, shape, size, size if case == "cold" else 0)


if __name__ == "__main__":
    system, case, shape, size, folder = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is not the result
        result = main(system, case, shape, int(size), folder)
    print(json.dumps(result))
