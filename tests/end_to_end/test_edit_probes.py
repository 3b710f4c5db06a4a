"""What an edit makes run: the table of edits, each made on the files of a project and looked at by new processes.

Each row of `PROBES` is one edit of a built project. Four questions are asked of it, by processes that have never seen
the project before the edit: what a dry run with ``stale="rerun"`` says, what a run with ``stale="warn"`` says and does,
what a run with ``stale="rerun"`` does, and whether a second one has anything left to do. Bodies write down that they
ran. Besides, a run that only warned must leave a later one what there is to do: both come to the same bytes.

`MISSES` are the edits that are not noticed, each with what to do about it. A miss that disappears fails here, too.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from xxhash import _xxhash

from d6tpipe.records import Record, source_key
from d6tpipe.storage.sqlite_records import SqliteRecords

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

# ---- the project
#
#   Raw (external file) > Load > Clean > Fit ols, Fit ridge > Compare > Report (aggregator) > Page
#                        > Clean > Region north, Region south > Regions (yields them) > Report
#                        > Clean > Sample (in memory) > Card
#                        > Blind (uses what cannot be seen)
#                        > Regions
#   Raw > Lines > Double (plain luigi tasks)
#   Prices (external task of ours) > Priced (two outputs)
#   Remote (external, no file) > Ask

MODULES = {
    "shop/__init__.py": "",
    "shop/trace.py": '''
        """What the tests read: which bodies ran."""
        import os

        def label(task):
            given = task.to_str_params(only_significant=True)
            return " ".join([task.task_family, *[given[name] for name in given if name in ("model", "name")]])

        def note(task):
            with open(os.environ["PROBE_LOG"], "a") as log:
                log.write(label(task) + "\\n")
        ''',
    "shop/deep.py": '''
        """Helpers of helpers."""
        FLOOR = 0.5
        WEIGHTS = {"north": 1, "south": 2, "east": 3, "west": 4}

        def floor(x):
            return max(x, FLOOR)

        def weight(name):
            return WEIGHTS[name]

        def rate_low(x):
            return x

        def quick(x):
            return x + 1

        def declared(x):
            return x + 1
        ''',
    "shop/helpers.py": '''
        """Helpers."""
        import functools
        import math

        from shop import deep as below

        RATE = 2
        LEVELS = {"ols": [1], "ridge": [2], "lasso": [3]}

        def logged(times):
            def decorate(function):
                @functools.wraps(function)
                def wrapper(*args):
                    """Call it."""
                    result = function(*args)
                    return result * times
                return wrapper
            return decorate

        def parse(text, separator=","):
            """Parse lines."""
            # a comment
            lines = [line.split(separator) for line in text.splitlines() if not line.startswith("#")]
            return [[name, float(value)] for name, value in lines]

        @logged(1)
        def clean(rows):
            return [[name, below.floor(value)] for name, value in rows if useful(value)]

        def useful(value):
            return value > 0

        def total(values, start=0):
            return (math.fsum(values) + start) * RATE

        class Scaler:
            factor = 3

            def fit(self, values):
                return [value * self.factor for value in values]

        class Robust(Scaler):
            def fit(self, values):
                return sorted(super().fit(values))

        double = lambda x: x * 2

        def by(weight):
            def inner(x):
                return x * weight
            return inner

        heavier = by(5)

        def power(x, n):
            return x ** n

        square = functools.partial(power, n=2)

        def unused(x):
            return x
        ''',
    "shop/base.py": '''
        """What all models have in common."""
        import d6tpipe

        class Model(d6tpipe.tasks.TaskJson):
            unit = 10

            def finish(self, values):
                return [round(value * self.unit) for value in values]
        ''',
    "shop/blind.py": '''
        """What the code does not name."""
        import lucky
        from shop import deep

        class Counter:
            def __init__(self, start):
                self.start = start

        COUNTER = Counter(1)
        BOX = lucky.Box(1)
        LARGE = [1] * 20_000
        STATE = {}

        @lucky.register
        def tidy(x):
            return x + 1
        ''',
    "shop/patches.py": '''
        """Puts things where others do not look for them."""
        import lucky

        lucky.patched = lambda: 1
        ''',
    "shop/extra.json": '{"rate": 1}',
    "shop/regions.txt": "north\nsouth\neast\n",
    "shop/tasks.py": '''
        """The tasks."""
        import json
        import os
        from pathlib import Path

        import d6tpipe
        import luigi
        import lucky
        from shop import _xxhash, blind, deep, helpers, patches
        from shop.base import Model
        from shop.trace import note

        def beside(name):
            return Path(__file__).parent / name

        class Raw(luigi.ExternalTask):
            def output(self):
                return luigi.LocalTarget(str(beside("../raw.txt")))

        class Table(luigi.Target):
            def exists(self):
                return True

            def read(self):
                return beside("../table.txt").read_text()

        class Remote(luigi.ExternalTask):
            def output(self):
                return Table()

        class Load(d6tpipe.tasks.TaskJson):
            def requires(self):
                return Raw()

            def run(self):
                note(self)
                blind.STATE["left"] = 1
                with self.input().open() as file:
                    self.save(helpers.parse(file.read()))

        class Clean(d6tpipe.tasks.TaskJson):
            low = d6tpipe.IntParameter(default=0)
            threads = d6tpipe.IntParameter(default=1, significant=False)

            def requires(self):
                return Load()

            def run(self):
                """Clean it."""
                note(self)
                rows = helpers.clean(self.inputLoad())
                self.save([row for row in rows if row[1] > self.low])

        class Fit(Model):
            model = d6tpipe.Parameter()
            seed = d6tpipe.IntParameter(default=0, ignore_default=True)
            depends_on = ["lucky", d6tpipe.env("REGION")]
            depth = 4

            def requires(self):
                return Clean()

            def run(self):
                note(self)
                values = [helpers.double(value) for _, value in self.inputLoad()]
                values = helpers.Robust().fit(values) + [helpers.heavier(self.depth), helpers.square(self.seed)]
                found = [helpers.total(values), *helpers.LEVELS[self.model], lucky.factor(), os.environ["REGION"]]
                self.save(self.finish(found[:-1]) + found[-1:])

        class Compare(d6tpipe.tasks.TaskJson):
            depends_on = [deep.declared]

            def requires(self):
                return {"ols": Fit(model="ols"), "ridge": Fit(model="ridge")}

            def run(self):
                note(self)
                shift = getattr(deep, "decl" + "ared")
                self.save({name: shift(fit[0]) for name, fit in self.inputLoad(as_dict=True).items()})

        class Region(d6tpipe.tasks.TaskJson):
            name = d6tpipe.Parameter()

            def requires(self):
                return Clean()

            def run(self):
                note(self)
                values = [value for name, value in self.inputLoad() if name == self.name]
                self.save(sum(values) * deep.weight(self.name))

        class Regions(d6tpipe.tasks.TaskJson):
            depends_on = [Path("regions.txt")]

            def requires(self):
                return Load()

            def run(self):
                note(self)
                allowed = beside("regions.txt").read_text().split()
                names = sorted({name for name, _ in self.inputLoad() if name in allowed})
                targets = yield [Region(name=name) for name in names]
                self.save([target.load() for target in targets])

        class Report(d6tpipe.tasks.TaskAggregator):
            def run(self):
                yield Compare()
                yield Regions()

        class Page(d6tpipe.tasks.TaskJson):
            def requires(self):
                return Report()

            def run(self):
                note(self)
                self.save(self.inputLoad())

        class Sample(d6tpipe.tasks.TaskCache):
            def requires(self):
                return Clean()

            def run(self):
                note(self)
                self.save(self.inputLoad()[:1])

        class Card(d6tpipe.tasks.TaskJson):
            def requires(self):
                return Sample()

            def run(self):
                note(self)
                self.save({"sample": self.inputLoad()})

        class Blind(d6tpipe.tasks.TaskJson):
            def requires(self):
                return Load()

            def run(self):
                note(self)
                tools = deep
                self.save([
                    getattr(deep, "rate_" + "low")(1), lucky.apply("tidy", 1), blind.STATE.get("left"), lucky.patched(),
                    json.loads(beside("extra.json").read_text()), os.environ.get("UNDECLARED"), blind.COUNTER.start,
                    blind.BOX.content, blind.LARGE[0], tools.quick(1), lucky.factor(), _xxhash.xxh32.digest.__doc__,
                ])

        class Prices(d6tpipe.tasks.TaskJson):
            external = True
            save_attrib = False

        class Priced(d6tpipe.tasks.TaskData):
            persist = {"sum": "json", "count": "pickle"}

            def requires(self):
                return Prices()

            def run(self):
                note(self)
                prices = self.inputLoad()
                self.save({"sum": sum(prices), "count": len(prices)})

        class Lines(luigi.Task):
            def requires(self):
                return Raw()

            def output(self):
                return luigi.LocalTarget("lines.txt")

            def run(self):
                note(self)
                with self.input().open() as file, self.output().open("w") as out:
                    out.write(str(len(helpers.parse(file.read()))))

        class Double(luigi.Task):
            def requires(self):
                return Lines()

            def output(self):
                return luigi.LocalTarget("double.txt")

            def run(self):
                note(self)
                with self.input().open() as file, self.output().open("w") as out:
                    out.write(str(helpers.double(int(file.read()))))

        class Ask(d6tpipe.tasks.TaskJson):
            def requires(self):
                return Remote()

            def run(self):
                note(self)
                self.save(self.input().read())

        def goals():
            return [Page(), Card(), Blind()]
        ''',
    "data/Prices/data.json": '{"data": [1, 2]}',
    "table.txt": "what a server would answer",
    "raw.txt": "# region, value\nnorth,3\nsouth,0.2\nnorth,4\nsouth,-1\nwest,2\n",
    "lib/site-packages/lucky/__init__.py": '''
        """A library."""
        REGISTRY = {}

        class Box:
            def __init__(self, content):
                self.content = content

        def register(function):
            REGISTRY[function.__name__] = function
            return function

        def apply(name, x):
            return REGISTRY[name](x)

        def factor():
            return 7
        ''',
    "lib/site-packages/lucky-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: lucky\nVersion: 1.0\n",
}

# Takes orders from standard input, one per line, and has each carried out by a process of its own. These are forked
# from one that has imported d6tpipe and nothing of any project: to import d6tpipe is most of what a process costs.
DRIVER = """
import contextlib, io, json, os, sys
import d6tpipe

def words(label, reason):
    kind = str(reason.kind)
    if kind == "input_data" and reason.because_of is not None:
        return f"{kind} {label(reason.because_of)}"
    return kind if kind in ("input_set", "missing", "expired", "failed") else f"{kind} {reason.subject}".strip()

def told(label, result):
    found = {}
    for node in result._nodes:
        reasons = list(dict.fromkeys([words(label, reason) for reason in node.reasons]))
        found[label(node.task)] = ["" if node.state is None else str(node.state), reasons]
    return found

def carry_out(order):
    os.environ.update(order["env"])
    os.chdir(order["folder"])
    sys.path[:0] = [".", "lib/site-packages"]
    d6tpipe.set_dir(order["data"])
    from shop import tasks, trace
    for step in order["steps"]:
        open(os.environ["PROBE_LOG"], "w").close()
        answer = {}
        if "call" in step:
            exec(step["call"])
        else:
            step["tasks"] = eval(step["tasks"])
            step["forced"] = eval(step.get("forced", "None"))
            answer = told(trace.label, d6tpipe.run(**step, execution_summary=False, progress=False))
        with open(os.environ["PROBE_LOG"]) as log:
            yield answer, log.read().splitlines()

def main():
    for line in sys.stdin:
        print(json.dumps(in_a_child(json.loads(line))), flush=True)

def in_a_child(order):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with open(writing, "w") as pipe:
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                try:
                    answers = list(carry_out(order))
                except BaseException:
                    import traceback
                    traceback.print_exc()
                    answers = []
            json.dump([answers, output.getvalue()], pipe)
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        answer = json.load(pipe)
    os.waitpid(child, 0)
    return answer

if len(sys.argv) > 1:
    print(json.dumps([list(carry_out(json.loads(sys.argv[1]))), ""]))
else:
    main()
"""

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("D6TPIPE_")},
    "PYTHONPATH": str(ROOT),
    "PYTHONDONTWRITEBYTECODE": "1",
}
Answer = tuple[dict[str, tuple[str, list[str]]], list[str]]
"""What is told of each task, (state, reasons), and which bodies ran."""


class Processes:
    """Where the processes come from: one driver per thread."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._drivers: list[subprocess.Popen[str]] = []

    def carry_out(self, order: str) -> Any:
        driver = getattr(self._local, "driver", None)
        if driver is None:
            driver = self._local.driver = subprocess.Popen(
                [sys.executable, "-c", DRIVER],
                env=ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._drivers.append(driver)
        driver.stdin.write(order + "\n")
        driver.stdin.flush()
        return json.loads(driver.stdout.readline())

    def close(self) -> None:
        for driver in self._drivers:
            driver.communicate()


class Project:
    """A project in a folder, to be edited and run.

    Attributes
    ----------
    folder : Path
    data : str
        The data folder, relative to `folder`.
    env : dict of str to str
        What is added to the environment of its processes.
    python : str
    processes : Processes or None
        None: each process starts with a new interpreter, `python`.
    """

    def __init__(self, folder: Path, processes: Processes | None = None) -> None:
        self.folder, self.data, self.env = folder, "data", {"REGION": "eu"}
        self.python, self.processes = sys.executable, processes if hasattr(os, "fork") else None

    def write(self, extension: str) -> None:
        """Write the files of the project, and the file of a C extension."""
        for name, text in MODULES.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(textwrap.dedent(text).lstrip("\n"))
        shutil.copy(extension, self.folder / "shop")

    def copy(self, folder: Path) -> Project:
        """Return a copy, with the times of all files as they are."""
        shutil.copytree(self.folder, folder)
        found = copy.copy(self)
        found.folder, found.env = folder, dict(self.env)
        return found

    def move(self, folder: Path) -> None:
        self.folder = self.folder.rename(folder)

    def replace(self, name: str, *pairs: str) -> None:
        """Replace text of one file: old, new, old, new ...; each old one has to be there exactly once."""
        path = self.folder / name
        text = path.read_text()
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert 1 == text.count(old), f"{text.count(old)} times in {name}: {old}"
            text = text.replace(old, new)
        path.write_text(text)

    def run(self, *steps: Mapping[str, Any], complaints: str = "") -> list[Answer]:
        """Have a new process take these steps; return its answers, one per step.

        With `complaints` these words, and else nothing, have to be among what it writes.
        """
        order = {
            "folder": str(self.folder),
            "data": self.data,
            "env": {"PROBE_LOG": str(self.folder / "bodies.log"), **self.env},
            "steps": [{"tasks": GOALS, **step} for step in steps],
        }
        if self.processes is not None:
            answers, written = self.processes.carry_out(json.dumps(order))
        else:
            command = [self.python, "-c", DRIVER, json.dumps(order)]
            done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
            assert not done.returncode, done.stderr
            (answers, _), written = json.loads(done.stdout), done.stderr
        assert answers, written
        assert complaints in written if complaints else not written, written
        return [({task: (state, why) for task, (state, why) in told.items()}, ran) for told, ran in answers]

    def output(self, pattern: str) -> Path:
        """Return the one output that matches a pattern."""
        (found,) = (self.folder / self.data).glob(pattern)
        return found

    def saved(self) -> dict[str, bytes]:
        """Return what the outputs hold, by path below the data folder."""
        data = self.folder / self.data
        return {str(path.relative_to(data)): path.read_bytes() for path in data.rglob("*-*.*") if path.is_file()}

    def rewrite_records(self, change: Callable[[Record, SqliteRecords], None], family: str = "") -> None:
        """Change all records, or those of a family, to what another process would have written."""
        records = SqliteRecords(self.folder / self.data)
        found = [record for record in records.all() if family in ("", record.family)]
        assert found
        for record in found:
            change(record, records)
        records.write(found)
        records.close()


GOALS = "[tasks.Page(), tasks.Card(), tasks.Blind()]"
OTHERS = "[tasks.Double(), tasks.Priced()]"

# ---- the table


@dataclass(frozen=True)
class Probe:
    """One edit, and what follows from it.

    Attributes
    ----------
    name : str
    about : str
        What users should know, in a line.
    edit : callable
        Makes the edit in a built project.
    told : dict of str to tuple of str
        Which tasks are stale or missing before anything is run, and why. A run with ``stale="warn"`` names those that
        are stale and builds those that are missing.
    ran : tuple of str
        Which bodies a run with ``stale="rerun"`` runs. Not told here: `Sample` is kept in memory, so that each process
        runs it.
    cached : tuple of str
        Which tasks this run looks at again and keeps, because all that they need came out equal.
        `Card`, which needs `Sample`, is always kept if it does not run.
    warn_ran, warn_cached : tuple of str
        The same of a run with ``stale="warn"``.
    later : tuple of str
        Tasks in `ran` of which nobody can know before a body asks for them.
    unneeded : tuple of str
        Tasks that a dry run counts because a body once asked for them, and that it does not ask for any more.
    state : str
        What tasks in `told` are when they are not built; "fresh" for those that are trusted.
    warn_sees : bool
        False: a run with ``stale="warn"`` says nothing of what is told by the dry run.
    differs : bool
        The edit changes what `Blind` would save, though nothing is told.
    tasks : str
        What the runs are asked for.
    xfail : str
        Why this is not so yet.
    """

    name: str
    about: str
    edit: Callable[[Project], object]
    told: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ran: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    warn_ran: tuple[str, ...] = ()
    warn_cached: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    unneeded: tuple[str, ...] = ()
    state: str = "stale"
    warn_sees: bool = True
    differs: bool = False
    tasks: str = GOALS
    xfail: str = ""


def edit(name: str, *pairs: str) -> Callable[[Project], None]:
    return lambda project: project.replace(name, *pairs)


def in_turn(*edits: Callable[[Project], object]) -> Callable[[Project], object]:
    return lambda project: [one(project) for one in edits]


FITS = ("Fit ols", "Fit ridge")
REGIONS = ("Region north", "Region south")
AFTER_CLEAN = (*FITS, "Compare", *REGIONS, "Regions", "Page", "Card")
AFTER_LOAD = ("Clean", *AFTER_CLEAN, "Blind")
EVERYTHING = sorted(["Load", *AFTER_LOAD, "Sample"]), ["Double", "Lines", "Priced"]


def because(reason: str, *tasks: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(tasks, (reason,))


# ---- edits that are more than a replacement of text


def older_content(project: Project) -> None:
    project.replace("raw.txt", "north,3", "north,5")
    os.utime(project.folder / "raw.txt", ns=(0, 1_000_000_000))


def lose_times(project: Project) -> None:
    for path in (project.folder / project.data).rglob("*.json"):
        os.utime(path)


def lose_data(project: Project) -> None:
    shutil.rmtree(project.folder / project.data)


def swap_functions(project: Project) -> None:
    path = project.folder / "shop/deep.py"
    first, *functions = path.read_text().split("\ndef ")
    path.write_text("\ndef ".join([first, *reversed(functions)]) + "\n")


def move_helper(project: Project) -> None:
    project.replace("shop/deep.py", "def floor(x):\n    return max(x, FLOOR)\n", "")
    (project.folder / "shop/deeper.py").write_text("FLOOR = 0.5\n\ndef floor(x):\n    return max(x, FLOOR)\n")
    project.replace("shop/helpers.py", "from shop import deep as below", "from shop import deeper as below")


def move_tasks(project: Project) -> None:
    (project.folder / "shop/tasks.py").rename(project.folder / "shop/flow.py")
    (project.folder / "shop/tasks.py").write_text("from shop.flow import *\n")


def move_tasks_away(project: Project) -> None:
    move_tasks(project)
    (project.folder / "shop/tasks.py").write_text("from shop.flow import Page, Card, Blind\n")


def touch(pattern: str) -> Callable[[Project], None]:
    def edited(project: Project) -> None:
        (path,) = project.folder.glob(pattern)
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))

    return edited


def overwrite(pattern: str, text: str) -> Callable[[Project], None]:
    def edited(project: Project) -> None:
        path = project.output(pattern)
        assert path.read_text() != text
        path.write_text(text)

    return edited


def overwrite_bytes(pattern: str, content: bytes) -> Callable[[Project], object]:
    return lambda project: project.output(pattern).write_bytes(content)


def falsify(pattern: str) -> Callable[[Project], None]:
    """Change a digit of an output, and neither its size nor its time."""

    def edited(project: Project) -> None:
        path = project.output(pattern)
        before, text = path.stat(), path.read_text()
        assert "1" in text
        path.write_text(text.replace("1", "2"))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (before.st_size, before.st_mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)

    return edited


def delete(pattern: str) -> Callable[[Project], None]:
    return lambda project: project.output(pattern).unlink()


def move_data(project: Project) -> None:
    (project.folder / "elsewhere").mkdir()
    (project.folder / project.data).rename(project.folder / "elsewhere/store")
    project.data = "elsewhere/store"


def other_python(record: Record, records: SqliteRecords) -> None:
    """Make a record one that another minor version of Python has written."""
    record.python = "3.7.1"
    if record.code_fast:
        record.code_fast = f"3.7-{record.code_fast.partition('-')[2][::-1]}"
        record.seal = bytes([byte ^ 0xFF for byte in record.seal[:16]]) + record.seal[16:]
        for name, digest in record.members.items():
            text = records.get_source(source_key(name, digest))
            assert text is not None
            records.put_source(source_key(name, digest[::-1]), text)
        record.members = {name: digest[::-1] for name, digest in record.members.items()}


def other_start(record: Record, records: SqliteRecords) -> None:
    """Make a record one that was written before the machine was last started."""
    record.boot_id = "0f0f0f0f"
    if record.code_fast:
        record.seal = record.seal[:16] + b"00000000" + record.seal[24:]


def other_machine(record: Record, records: SqliteRecords) -> None:
    other_start(record, records)
    record.host = "elsewhere"


def two_days_ago(record: Record, records: SqliteRecords) -> None:
    record.started -= 2 * 24 * 3600


def another_module(record: Record, records: SqliteRecords) -> None:
    record.module = "another.module"


def on_records(change: Callable[[Record, SqliteRecords], None], family: str = "") -> Callable[[Project], None]:
    return lambda project: project.rewrite_records(change, family)


def lose_records(project: Project) -> None:
    (project.folder / project.data / ".d6tpipe/records.db").unlink()


def interrupt(project: Project) -> None:
    records = SqliteRecords(project.folder / project.data)
    (clean,) = [record for record in records.all() if record.family == "Clean"]
    records.building([("Clean", clean.task_id)], "a run that was killed")
    records.close()


def setenv(name: str, value: str) -> Callable[[Project], None]:
    return lambda project: project.env.update({name: value})


def runs(**step: Any) -> Callable[[Project], object]:
    return lambda project: project.run(step)


def patch_extension(project: Project) -> None:
    (path,) = project.folder.glob("shop/_xxhash*")
    before = path.read_bytes()
    after = before.replace(b"Return the digest of the data", b"Return the DIGEST of the data")
    assert before != after
    path.write_bytes(after)


def move_project(project: Project) -> None:
    project.move(project.folder.with_name("moved"))


def in_load(text: str) -> Callable[[Project], None]:
    head = "class Load(d6tpipe.tasks.TaskJson):"
    return edit("shop/tasks.py", head, f"{head}\n    {text}\n")


def in_fit(text: str) -> Callable[[Project], None]:
    return edit("shop/tasks.py", "depth = 4", f"depth = 4\n    {text}")


LOUDER = edit("shop/helpers.py", "float(value)]", "float(value) + 1]")  # Load saves something else
STRICTER = edit("shop/tasks.py", "row[1] > self.low", "row[1] > self.low + 1")  # so does Clean, but for its first row
REWRITTEN = edit("shop/tasks.py", "if row[1] > self.low", "if not row[1] <= self.low")  # Clean saves the same

UNCHANGED = [
    Probe("nothing", "Nothing has changed: nothing runs.", lambda project: None),
    Probe("comment", "Comments do not count.",
          edit("shop/helpers.py", "# a comment", "# another\n    # comment")),
    Probe("docstring", "Docstrings do not count: of a module, a task's run, a helper, a decorator's wrapper.",
          in_turn(edit("shop/tasks.py", '"""The tasks."""', "", '"""Clean it."""', '"""Clean it better."""'),
                  edit("shop/helpers.py", '"""Parse lines."""', "", '"""Call it."""', ""))),
    Probe("reformat", "Formatting does not count: line breaks, blank lines, quotes, parentheses.",
          in_turn(edit("shop/helpers.py", "[line.split(separator) for line in text.splitlines() if",
                       "[\n        line.split(separator)\n\n        for line in text.splitlines() if",
                       'not line.startswith("#")]', "(not line.startswith('#'))\n    ]"),
                  edit("shop/tasks.py", "self.save([row for row in rows if row[1] > self.low])",
                       "self.save(\n            [row for row in rows if row[1] > self.low],\n        )"))),
    Probe("order of functions", "Where in its module a function stands does not count.", swap_functions),
    Probe("local variable renamed", "Names of local variables do not count.",
          edit("shop/helpers.py", "result = function(*args)\n            return result * times",
               "found = function(*args)\n            return found * times")),
    Probe("import alias renamed", "Under which name a module is imported does not count.",
          edit("shop/helpers.py", "deep as below", "deep as d", "below.floor", "d.floor")),
    Probe("annotation", "Annotations do not count.",
          edit("shop/helpers.py", "def clean(rows):", "def clean(rows: list) -> list:")),
    Probe("helper renamed", "Names of helpers do not count, only what they do.",
          edit("shop/helpers.py", "def useful(", "def wanted(", "if useful(", "if wanted(")),
    Probe("helper moved", "In which module a helper stands does not count.", move_helper),
    Probe("unused helper", "Code that no task uses does not count.",
          edit("shop/helpers.py", "def unused(x):\n    return x", "def unused(x):\n    return 3")),
    Probe("priority", "When and where a task runs does not count.",
          edit("shop/tasks.py", "low = d6tpipe", "priority = 5\n    low = d6tpipe")),
    Probe("requirements written differently", "How requires() finds its tasks does not count, only which.",
          edit("shop/tasks.py", '{"ols": Fit(model="ols"), "ridge": Fit(model="ridge")}',
               '{name: Fit(model=name) for name in ("ols", "ridge")}')),
    Probe("touched input file", "Of an input file the content counts, not its time.", touch("raw.txt")),
    Probe("touched output", "Of an output the content counts, not its time.", touch("data/Clean/*.json")),
    Probe("touched file in depends_on", "Of a file in depends_on the content counts.", touch("shop/regions.txt")),
    Probe("data copied without times", "All outputs are read again once, and hold.", lose_times),
    Probe("moved data folder", "A data folder can be moved, or copied with its times.", move_data),
    Probe("moved project", "A project can be moved with its data.", move_project),
    Probe("tasks moved to another module", "Tasks can be moved to another module.", move_tasks),
    Probe("tasks moved, nothing left behind", "A move may leave nothing behind.", move_tasks_away),
    Probe("new parameter with ignore_default", "A new parameter with ignore_default leaves tasks what they were.",
          in_fit("alpha = d6tpipe.IntParameter(default=1, ignore_default=True)")),
    Probe("new insignificant parameter", "A new parameter with significant=False leaves tasks what they were.",
          in_fit("jobs = d6tpipe.IntParameter(default=1, significant=False)")),
    Probe("default of an insignificant parameter", "Insignificant parameters do not count.",
          edit("shop/tasks.py", "default=1, significant=False", "default=2, significant=False")),
    Probe("other Python minor version", "Records of another version of Python hold: the source is compared instead.",
          on_records(other_python)),
    Probe("machine restarted", "After a restart of the machine outputs are read again once, and hold.",
          on_records(other_start)),
    Probe("other machine", "Records that another machine wrote into a shared folder hold.", on_records(other_machine)),
    Probe("upstream rebuilt equal", "What was built again with the same bytes makes nothing run.",
          runs(tasks="[tasks.Load()]", forced="[tasks.Load()]")),
    Probe("cache in a global", "What bodies have left in a global dict does not count in the next process.",
          in_turn(edit("shop/deep.py", "def floor(x):\n    return max(x, FLOOR)",
                       "CACHE = {}\n\ndef floor(x):\n    CACHE[x] = max(x, FLOOR)\n    return CACHE[x]"),
                  edit("shop/tasks.py", "sum(values) * deep", "deep.floor(sum(values)) * deep"),
                  lose_data, runs())),
    Probe("global changed by a body run by hand", "What it has left in a global does not count later.",
          runs(call="tasks.Load().run()")),
    Probe("edit taken back", "Only how things are counts: an edit that was taken back is none.",
          in_turn(edit("shop/tasks.py", "row[1] > self.low", "row[1] > 9"), runs(stale="warn"),
                  edit("shop/tasks.py", "row[1] > 9", "row[1] > self.low"))),
    Probe("ignore_code", "With ignore_code = True only data and version count.",
          edit("shop/tasks.py", "low = d6tpipe", "ignore_code = True\n    low = d6tpipe",
               "row[1] > self.low", "row[1] > 9")),
]  # fmt: skip

CHANGED = [
    # -- code
    Probe("task's own body", "What run() does counts. What came out equal stops the rebuild: the Card is kept.",
          STRICTER,
          told=because("code Clean.run", "Clean"), ran=("Clean", *AFTER_CLEAN[:-1]), cached=("Card",)),
    Probe("own body, same result", "A task that was only rewritten runs, and nothing after it.",
          REWRITTEN,
          told=because("code Clean.run", "Clean"), ran=("Clean",), cached=AFTER_CLEAN),
    Probe("local helper", "What a helper does counts.",
          edit("shop/helpers.py", "* RATE", "* RATE + 1"),
          told=because("code shop.helpers.total", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("helper two modules away", "A helper of a helper counts, in whatever module.",
          edit("shop/deep.py", "max(x, FLOOR)", "min(x, FLOOR)"),
          told=because("code shop.deep.floor", "Clean"), ran=("Clean", *AFTER_CLEAN)),
    Probe("constant two modules away", "A value that a helper of a helper uses counts.",
          edit("shop/deep.py", "FLOOR = 0.5", "FLOOR = 1"),
          told=because("code shop.deep.FLOOR", "Clean"), ran=("Clean", *AFTER_CLEAN[:-1]), cached=("Card",)),
    Probe("helper class method", "A method of a helper class counts. Here Fit came out equal.",
          edit("shop/helpers.py", "sorted(super().fit(values))", "sorted(super().fit(values), reverse=True)"),
          told=because("code shop.helpers.Robust.fit", *FITS), ran=FITS, cached=("Compare", "Page")),
    Probe("method of a helper class's base", "A method that a helper class inherits counts.",
          edit("shop/helpers.py", "value * self.factor", "value * self.factor + 1"),
          told=because("code shop.helpers.Scaler.fit", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("attribute of a helper class", "An attribute of a helper class counts.",
          edit("shop/helpers.py", "factor = 3", "factor = 4"),
          told=because("code shop.helpers.Scaler.factor", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("decorator body", "What a decorator adds counts.",
          edit("shop/helpers.py", "result * times", "result * times * 2"),
          told=because("code shop.helpers.clean@wrapper", "Clean"), ran=("Clean", *AFTER_CLEAN[:-1]), cached=("Card",)),
    Probe("decorator argument", "What a decorator was given counts.",
          edit("shop/helpers.py", "@logged(1)", "@logged(2)"),
          told=because("code shop.helpers.clean@wrapper", "Clean"), ran=("Clean", *AFTER_CLEAN[:-1]), cached=("Card",)),
    Probe("global constant", "Global numbers and text count by value.",
          edit("shop/helpers.py", "RATE = 2", "RATE = 3"),
          told=because("code shop.helpers.RATE", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("dict constant", "Global lists and dicts count as a whole; Fit ridge came out equal, and so did Compare.",
          edit("shop/helpers.py", '"ols": [1]', '"ols": [5]'),
          told=because("code shop.helpers.LEVELS", *FITS), ran=(*FITS, "Compare"), cached=("Page",)),
    Probe("dict constant in another module", "A global list or dict of another module counts.",
          edit("shop/deep.py", '"south": 2', '"south": 5'),
          told=because("code shop.deep.WEIGHTS", *REGIONS), ran=(*REGIONS, "Regions", "Page")),
    Probe("default argument", "Default arguments count.",
          edit("shop/helpers.py", "start=0", "start=1"),
          told=because("code shop.helpers.total", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("class attribute", "Attributes of the task class that are no parameters count.",
          edit("shop/tasks.py", "depth = 4", "depth = 5"),
          told=because("code Fit.depth", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("base-class method", "Methods of base classes in the project count.",
          edit("shop/base.py", "round(value * self.unit)", "round(value * self.unit) + 1"),
          told=because("code shop.base.Model.finish", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("base-class attribute", "Attributes of base classes in the project count.",
          edit("shop/base.py", "unit = 10", "unit = 20"),
          told=because("code shop.base.Model.unit", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("lambda", "Lambdas count.",
          edit("shop/helpers.py", "lambda x: x * 2", "lambda x: x * 3"),
          told=because("code shop.helpers.double", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("closure", "Functions that functions return count.",
          edit("shop/helpers.py", "return x * weight", "return x + weight"),
          told=because("code shop.helpers.by.<locals>.inner", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("value in a closure", "The values that such functions hold count.",
          edit("shop/helpers.py", "by(5)", "by(6)"),
          told=because("code shop.helpers.by.<locals>.inner", *FITS), ran=(*FITS, "Compare", "Page")),
    Probe("partial", "The arguments of functools.partial count.",
          edit("shop/helpers.py", "power, n=2", "power, n=3"),
          told=because("code shop.helpers.square", *FITS), ran=FITS, cached=("Compare", "Page")),
    Probe("other task's body", "Only the task itself and what needs it: what it requires does not run.",
          edit("shop/tasks.py", "shift(fit[0])", "shift(fit[0]) + 1"),
          told=because("code Compare.run", "Compare"), ran=("Compare", "Page")),
    Probe("helper renamed, named by module", "helpers.total: here the name is part of the code.",
          in_turn(edit("shop/helpers.py", "def total(", "def summed("),
                  edit("shop/tasks.py", "helpers.total(", "helpers.summed(")),
          told=dict.fromkeys(FITS, ("code Fit.run", "code shop.helpers.summed", "code shop.helpers.total")),
          ran=FITS, cached=("Compare", "Page")),
    Probe("path made of __file__", "A global Path counts as text, so that it is another one in another folder.",
          in_turn(edit("shop/tasks.py", "def beside(", "HERE = Path(__file__).parent\n\ndef beside(",
                       'beside("regions.txt")', '(HERE / "regions.txt")'),
                  runs(stale="rerun"), move_project),
          told=because("code HERE", "Regions"), ran=("Regions",), cached=("Page",)),
    Probe("edits upstream and downstream", "Both run; what is between them is kept if the first came out equal.",
          in_turn(REWRITTEN, edit("shop/tasks.py", "shift(fit[0])", "shift(fit[0]) + 1")),
          told={**because("code Clean.run", "Clean"), **because("code Compare.run", "Compare")},
          ran=("Clean", "Compare", "Page"), cached=(*FITS, *REGIONS, "Regions", "Card")),
    Probe("edit, and an output is missing", "stale='warn' builds what is missing of what there is, however stale.",
          in_turn(STRICTER, delete("Page/*.json")),
          told={**because("code Clean.run", "Clean"), **because("missing", "Page")},
          ran=("Clean", *AFTER_CLEAN[:-1]), cached=("Card",), warn_ran=("Page",)),
    Probe("two edits", "All that has changed is told.",
          in_turn(edit("shop/helpers.py", "* RATE", "* RATE + 1"), edit("shop/base.py", "unit = 10", "unit = 20")),
          told=dict.fromkeys(FITS, ("code shop.base.Model.unit", "code shop.helpers.total")),
          ran=(*FITS, "Compare", "Page")),
    Probe("method that nobody calls", "All methods of a task class count, also one that run() does not call.",
          in_fit("def idle(self):\n        return 1"),
          told=because("code Fit.idle", *FITS), ran=FITS, cached=("Compare", "Page")),
    Probe("edit under another Python", "Code that was recorded by another version of Python is compared by its source.",
          in_turn(on_records(other_python), edit("shop/helpers.py", "* RATE", "* RATE + 1")),
          told=because("code shop.helpers.total", *FITS), ran=(*FITS, "Compare", "Page")),
    # -- parameters
    Probe("parameter default", "Another value makes another task; the outputs of the other value stay.",
          edit("shop/tasks.py", "low = d6tpipe.IntParameter(default=0)", "low = d6tpipe.IntParameter(default=1)"),
          told={**because("missing", "Clean"), **because("input_set", *FITS, *REGIONS)},
          ran=("Clean", *AFTER_CLEAN[:-1]), cached=("Card",),
          warn_ran=("Clean", *AFTER_CLEAN[:-1])),
    Probe("new parameter", "A new parameter makes other tasks, unless it has ignore_default=True.",
          in_fit("alpha = d6tpipe.IntParameter(default=0)"),
          told={**because("missing", *FITS), **because("input_set", "Compare")},
          ran=(*FITS, "Compare"), cached=("Page",), warn_ran=(*FITS, "Compare"), warn_cached=("Page",)),
    Probe("default of a parameter with ignore_default", "The task is the same, but was built with another value.",
          edit("shop/tasks.py", "default=0, ignore_default", "default=1, ignore_default"),
          told=because("default_parameter seed", *FITS), ran=(*FITS, "Compare", "Page")),
    # -- declared
    Probe("version", "Raising version says that results are others.",
          in_load("version = 2"),
          told=because("version", "Load"), ran=("Load",), cached=AFTER_LOAD),
    Probe("package in depends_on", "Another version of a library counts where depends_on names it.",
          edit("lib/site-packages/lucky-1.0.dist-info/METADATA", "Version: 1.0", "Version: 1.1"),
          told=because("package lucky", *FITS), ran=FITS, cached=("Compare", "Page")),
    Probe("environment variable", "An environment variable counts where depends_on names it.",
          setenv("REGION", "us"),
          told=because("env REGION", *FITS), ran=(*FITS, "Compare"), cached=("Page",)),
    Probe("file in depends_on", "A file counts where depends_on names it. Here the body asks for one Region more.",
          edit("shop/regions.txt", "east", "east\nwest"),
          told=because("file regions.txt", "Regions"), ran=("Regions", "Region west", "Page"), later=("Region west",)),
    Probe("function in depends_on", "A function counts that depends_on names and the code does not.",
          edit("shop/deep.py", "def declared(x):\n    return x + 1", "def declared(x):\n    return x + 2"),
          told=because("code declared", "Compare"), ran=("Compare", "Page")),
    Probe("depends_on grown", "What was not named before may have changed.",
          in_load('depends_on = ["lucky"]'),
          told=because("package lucky", "Load"), ran=("Load",), cached=AFTER_LOAD),
    Probe("expires", "What is older than expires says is built again.",
          in_turn(in_load("expires = __import__('datetime').timedelta(days=1)"), on_records(two_days_ago)),
          told=because("expired", "Load"), ran=("Load",), cached=AFTER_LOAD),
    Probe("freeze", "Outputs of a frozen class are accepted as they are.",
          edit("shop/tasks.py", "low = d6tpipe", "freeze = True\n    low = d6tpipe", "row[1] > self.low", "row[1] > 9"),
          told=because("code Clean.run", "Clean"), state="frozen"),
    # -- input files
    Probe("input file content", "Another content of an input file makes all run that comes of it.",
          edit("raw.txt", "north,3", "north,5"),
          told=because("input_data Raw", "Load"), ran=("Load", *AFTER_LOAD)),
    Probe("older input file", "A file that is older than the outputs counts as well.", older_content,
          told=because("input_data Raw", "Load"), ran=("Load", *AFTER_LOAD)),
    Probe("input file content that does not matter", "Where what is read from it came out equal, the rebuild stops.",
          edit("raw.txt", "# region", "# the region"),
          told=because("input_data Raw", "Load"), ran=("Load",), cached=AFTER_LOAD),
    Probe("external task in the data folder", "Another content of what an external task stands for counts.",
          edit("data/Prices/data.json", "[1, 2]", "[1, 2, 3]"),
          told=because("input_data Prices", "Priced"), ran=("Priced",), tasks=OTHERS),
    # -- plain luigi tasks
    Probe("luigi task's helper", "Plain luigi tasks are recorded and compared as well.",
          edit("shop/helpers.py", "lambda x: x * 2", "lambda x: x * 3"),
          told=because("code shop.helpers.double", "Double"), ran=("Double",), tasks=OTHERS),
    Probe("luigi task's input", "As luigi does, stale='warn' looks no further below a complete luigi task.",
          edit("raw.txt", "# region", "# the region"),
          told=because("input_data Raw", "Lines"), ran=("Lines",), cached=("Double",), warn_sees=False, tasks=OTHERS),
    Probe("luigi task's input, another result", "stale='rerun' looks at all that is below a complete luigi task.",
          edit("raw.txt", "west,2", "west,2\neast,1"),
          told=because("input_data Raw", "Lines"), ran=("Lines", "Double"), warn_sees=False, tasks=OTHERS),
    Probe("luigi task's output deleted", "As luigi does, stale='warn' does not miss what nobody needs.",
          lambda project: (project.folder / "lines.txt").unlink(),
          told=because("missing", "Lines"), ran=("Lines",), cached=("Double",), warn_sees=False, tasks=OTHERS),
    # -- outputs
    Probe("output edited by hand", "It is built again; what was built of it is kept if it comes out equal.",
          overwrite("Clean/*.json", '{"data": [["north", 9.0]]}'),
          told={**because("output_modified data", "Clean"), **because("input_data Clean", *FITS, *REGIONS)},
          ran=("Clean",), cached=AFTER_CLEAN, warn_ran=("Card",)),
    Probe("last output edited by hand", "It is built again, and nothing else if nothing else needs it.",
          overwrite("Page/*.json", '{"data": []}'), told=because("output_modified data", "Page"), ran=("Page",)),
    Probe("output edited, verify=hash", "With verify = hash an edit is seen that keeps size and time.",
          in_turn(falsify("Page/*.json"), setenv("D6TPIPE_VERIFY", "hash")),
          told=because("output_modified data", "Page"), ran=("Page",)),
    Probe("output damaged in a power cut", "After a restart of the machine size and time are not enough: it is read.",
          in_turn(falsify("Page/*.json"), on_records(other_start)),
          told=because("output_modified data", "Page"), ran=("Page",)),
    Probe("output deleted", "It is built in every mode; what was built of it before is kept if it comes out equal.",
          delete("Clean/*.json"), told=because("missing", "Clean"),
          ran=("Clean",), cached=AFTER_CLEAN, warn_ran=("Clean",), warn_cached=AFTER_CLEAN),
    Probe("last output deleted", "It is built again in every mode, and nothing else runs.",
          delete("Page/*.json"), told=because("missing", "Page"), ran=("Page",), warn_ran=("Page",)),
    Probe("output deleted that a body asked for", "It is found again without running the body that asked for it.",
          delete("Region/*north*.json"), told=because("missing", "Region north"), ran=("Region north",),
          cached=("Regions", "Page"), warn_ran=("Region north",), warn_cached=("Regions", "Page")),
    Probe("new output", "A new name in persist is an output that does not exist.",
          edit("shop/tasks.py", 'self.save({"sample": self.inputLoad()})',
               'self.save({"data": {"sample": self.inputLoad()}, "more": 1})\n\n    persist = ["data", "more"]'),
          told=because("missing", "Card"), ran=("Card",), warn_ran=("Card",)),
    Probe("output format", "An output in another format is one that does not exist.",
          edit("shop/tasks.py", "class Compare(d6tpipe.tasks.TaskJson)", "class Compare(d6tpipe.tasks.TaskPickle)"),
          told=because("missing", "Compare"), ran=("Compare", "Page"), warn_ran=("Compare", "Page")),
    Probe("task renamed", "A task of another name is another task.",
          edit("shop/tasks.py", "class Compare(", "class Comparison(", "yield Compare()", "yield Comparison()"),
          told=because("missing", "Comparison"),
          ran=("Comparison", "Page"), warn_ran=("Comparison", "Page")),
    Probe("one of several outputs edited", "The output that was modified is named.",
          overwrite_bytes("Priced/*count*", b"x"),
          told=because("output_modified count", "Priced"), ran=("Priced",), tasks=OTHERS),
    Probe("killed while it ran", "Nobody knows what a body that was killed has left: it counts as missing.",
          interrupt, told=because("interrupted", "Clean"),
          ran=("Clean",), cached=AFTER_CLEAN, warn_ran=("Clean",), warn_cached=AFTER_CLEAN),
    Probe("another class of the same name", "What another class has built counts as missing.",
          in_turn(on_records(another_module, "Compare"), edit("shop/tasks.py", "shift(fit[0])", "shift(fit[0]) + 1")),
          told=because("other_class Compare", "Compare"), ran=("Compare", "Page"), warn_ran=("Compare", "Page")),
    Probe("records lost", "Without records outputs are trusted; Card runs because nothing says what it was built of.",
          lose_records, state="fresh",
          told=because("untracked", "Load", "Clean", *FITS, "Compare", "Regions", "Page", "Card", "Blind"),
          ran=("Card",), warn_ran=("Card",)),
    # -- upstream
    Probe("upstream rebuilt different", "What another run has built since is seen.",
          in_turn(LOUDER, runs(tasks="[tasks.Load()]", stale="rerun")),
          told=because("input_data Load", "Clean", "Regions", "Blind"), ran=AFTER_LOAD, later=REGIONS),
    Probe("upstream rebuilt by hand", "What task.run() has built since is seen.",
          in_turn(STRICTER, runs(call="tasks.Clean().run()")),
          told=because("input_data Clean", *FITS, *REGIONS), ran=AFTER_CLEAN[:-1], cached=("Card",)),
    Probe("requirement set grown", "The new one is missing: it is built in every mode, and so is what needs it.",
          edit("shop/tasks.py", '{"ols": Fit', '{"lasso": Fit(model="lasso"), "ols": Fit'),
          told={**because("missing", "Fit lasso"), **because("input_set", "Compare")},
          ran=("Fit lasso", "Compare", "Page"), warn_ran=("Fit lasso", "Compare", "Page")),
    Probe("requirement set shrunk", "Fewer requirements count.",
          edit("shop/tasks.py", ', "ridge": Fit(model="ridge")}', "}"),
          told=because("input_set", "Compare"), ran=("Compare", "Page")),
    Probe("requirement renamed", "Names of requirements count: the body gets them.",
          edit("shop/tasks.py", '"ols": Fit', '"first": Fit'),
          told=because("input_set", "Compare"), ran=("Compare", "Page")),
    Probe("order of requirements", "The order of requirements counts: the body gets them in it.",
          edit("shop/tasks.py", '{"ols": Fit(model="ols"), "ridge": Fit(model="ridge")}',
               '{"ridge": Fit(model="ridge"), "ols": Fit(model="ols")}'),
          told=because("input_set", "Compare"), ran=("Compare", "Page")),
    Probe("aggregator grown", "What needs an aggregator gets other data.",
          edit("shop/tasks.py", "yield Regions()", "yield Regions()\n        yield Blind()"),
          told=because("input_data Report", "Page"), ran=("Page",)),
    Probe("dynamic requirement added", "What a body asked for is asked for again when it runs.",
          edit("raw.txt", "west,2", "west,2\neast,1"),
          told=because("input_data Raw", "Load"),
          ran=("Load", *AFTER_LOAD[:-2], "Region east", "Blind"), cached=("Card",), later=("Region east",)),
    Probe("dynamic requirement changed", "What it does not ask for any more does not run.",
          edit("raw.txt", "south,0.2", "east,0.2", "south,-1", "east,-1"),
          told=because("input_data Raw", "Load"),
          ran=("Load", "Clean", *FITS, "Region north", "Region east", "Regions", "Page", "Blind"),
          cached=("Compare", "Card"), later=("Region east",), unneeded=("Region south",),
          xfail="what a body once asked for is built although it is known by then that the body has to run"),
    Probe("dynamic requirement that is not asked for any more", "It need not be possible to build it.",
          in_turn(edit("raw.txt", "south,0.2", "east,0.2", "south,-1", "east,-1"),
                  edit("shop/tasks.py", "self.save(sum(values)", "assert values\n        self.save(sum(values)")),
          told={**because("input_data Raw", "Load"), **because("code Region.run", *REGIONS)},
          ran=("Load", "Clean", *FITS, "Region north", "Region east", "Regions", "Page", "Blind"),
          cached=("Compare", "Card"), later=("Region east",), unneeded=("Region south",),
          xfail="the body that would not ask for it any more is not started, because it has failed"),
    Probe("code of a dynamic requirement", "What a body once asked for is looked at without running the body.",
          edit("shop/tasks.py", "sum(values) * deep", "sum(values) * 2 * deep"),
          told=because("code Region.run", *REGIONS), ran=(*REGIONS, "Regions", "Page")),
    Probe("class moved and edited", "At once: nobody knows whether it is the same class, so it counts as another one.",
          in_turn(move_tasks_away, edit("shop/flow.py", "sum(values) * deep", "sum(values) * 2 * deep")),
          told=because("other_class Region", *REGIONS), ran=(*REGIONS, "Regions", "Page"),
          warn_ran=(*REGIONS, "Regions", "Page")),
    Probe("class moved, then edited", "Another class, as far as anybody can tell: it is built again with 'warn', too.",
          in_turn(move_tasks_away, runs(stale="warn"),
                  edit("shop/flow.py", "sum(values) * deep", "sum(values) * 2 * deep")),
          told=because("other_class Region", *REGIONS), ran=(*REGIONS, "Regions", "Page"),
          warn_ran=(*REGIONS, "Regions", "Page")),
    Probe("built under stale='ignore'", "What it builds is recorded as always, and what was recorded before is kept.",
          in_turn(delete("Clean/*.json"), runs(stale="ignore"), LOUDER),
          told=because("code shop.helpers.parse", "Load"), ran=("Load", *AFTER_LOAD)),
    Probe("what needs a memory task", "It runs with stale='warn', too: what it needs has been built anew.",
          edit("shop/tasks.py", '{"sample": self', '{"samples": self'),
          told=because("code Card.run", "Card"), ran=("Card",), warn_ran=("Card",)),
    Probe("memory task's body", "It runs in each process anyway; the Card is built again where it came out different.",
          edit("shop/tasks.py", "self.inputLoad()[:1]", "self.inputLoad()[:2]"),
          ran=("Card",), warn_ran=("Card",)),
]  # fmt: skip

DECLARE = "Name it in depends_on, or raise version."

MISSES = [
    Probe("computed name", f"getattr(module, name) with a name that is worked out. {DECLARE}",
          edit("shop/deep.py", "def rate_low(x):\n    return x", "def rate_low(x):\n    return x + 5"), differs=True),
    Probe("registry of a library", f"A function that a library finds in a registry of its own. {DECLARE}",
          edit("shop/blind.py", "return x + 1", "return x + 2"), differs=True),
    Probe("module in a local variable", f"tools = module; tools.f(). {DECLARE}",
          edit("shop/deep.py", "def quick(x):\n    return x + 1", "def quick(x):\n    return x + 2"), differs=True),
    Probe("data file", "A file that a body opens on its own. Name its Path in depends_on, or make it an external task.",
          edit("shop/extra.json", "1", "2"), differs=True),
    Probe("environment variable that nobody declares", 'Name it: depends_on = [d6tpipe.env("UNDECLARED")].',
          setenv("UNDECLARED", "1"), differs=True),
    Probe("C extension", "Compiled code, also of the project. Name the Path of its file in depends_on.",
          patch_extension, differs=True),
    Probe("code of a library", "Edited where it is installed, under the same version. Raise version.",
          edit("lib/site-packages/lucky/__init__.py", "return 7", "return 8"), differs=True),
    Probe("patched library", f"What is put into a library from elsewhere. {DECLARE}",
          edit("shop/patches.py", "lambda: 1", "lambda: 2"), differs=True),
    Probe("state of an instance", f"Attributes of an instance of an ordinary class in a global. {DECLARE} "
          "Dataclasses are seen.", edit("shop/blind.py", "Counter(1)", "Counter(2)"), differs=True),
    Probe("library object in a global", f"A DataFrame, a model, a session in a global. {DECLARE}",
          edit("shop/blind.py", "Box(1)", "Box(2)"), differs=True),
    Probe("large value", "Of a list or dict of more than 10,000 items only the size counts. Keep it in a file.",
          edit("shop/blind.py", "[1] * 20_000", "[2] * 20_000"), differs=True),
    Probe("global changed while running", "A global that another body leaves a value in, here that of Load. Save it "
          "as an output instead.", edit("shop/tasks.py", 'STATE["left"] = 1', 'STATE["left"] = 2'),
          told=because("code Load.run", "Load"), ran=("Load",), cached=AFTER_LOAD, differs=True),
    Probe("output edited, size and time kept", "As of a file in make. settings.verify = 'hash' reads the bytes.",
          falsify("Page/*.json")),
    Probe("external task that is no file", "A table in a database: only whether it exists is asked. Give the task that "
          "reads it expires, or version.",
          in_turn(runs(tasks="[tasks.Ask()]"), edit("table.txt", "would answer", "answers")), tasks="[tasks.Ask()]"),
]  # fmt: skip

PROBES = [*UNCHANGED, *CHANGED, *MISSES]

# ---- asking


@dataclass
class Found:
    """The answers to the four questions, and the contents of the outputs.

    Attributes
    ----------
    dry, warn, rerun, left : Answer
    saved, saved_later : dict of str to bytes
        What the outputs hold after `rerun`, and after a run with ``stale="rerun"`` that came after `warn`.
    blind : tuple of str
        What `Blind` saves before the edit and after it.
    """

    dry: Answer
    warn: Answer
    rerun: Answer
    left: Answer
    saved: dict[str, bytes]
    saved_later: dict[str, bytes]
    blind: tuple[str, str]


def answers_to(probe: Probe, base: Project, folder: Path) -> Found:
    """Edit a copy of a built project, and ask."""
    folder.mkdir()
    one = base.copy(folder / "one")
    probe.edit(one)
    two = one.copy(folder / "two")
    asked = {"tasks": probe.tasks, "stale": "rerun"}
    (dry,) = one.run({**asked, "dry_run": True})
    (warn,) = one.run({**asked, "stale": "warn"})
    (rerun,) = two.run(asked)
    (left,) = two.run(asked)
    one.run(asked)
    saved, saved_later = two.saved(), one.saved()
    if probe.differs:
        one.run({"tasks": "[tasks.Blind()]", "forced": "[tasks.Load()]", "stale": "ignore"})
    blind = base.output("Blind/*").read_text(), one.output("Blind/*").read_text()
    return Found(dry, warn, rerun, left, saved, saved_later, blind)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    processes = Processes()
    project = Project(tmp_path_factory.mktemp("base"), processes)
    project.write(_xxhash.__file__)
    try:
        (_, ran), (_, others) = project.run({}, {"tasks": OTHERS})
    except AssertionError as error:  # would pass for the failure that an xfail waits for
        pytest.fail(f"the project was not built: {error}", pytrace=False)
    if EVERYTHING != (sorted(ran), sorted(others)):
        pytest.fail(f"the project was not built, but: {ran}, {others}", pytrace=False)
    yield project
    processes.close()


@pytest.fixture(scope="module")
def found(base: Project, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a function that waits for the answers to a probe. All selected ones are asked from the start."""
    folder = tmp_path_factory.mktemp("probes")
    calls = [getattr(item, "callspec", None) for item in request.session.items if item.path == Path(__file__)]
    probes = [call.params["probe"] for call in calls if call is not None and "probe" in call.params]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {
            probe.name: pool.submit(answers_to, probe, base, folder / str(number))
            for number, probe in enumerate(probes)
        }
        yield lambda probe: futures[probe.name].result()
        pool.shutdown(cancel_futures=True)


def parameters(probes: Iterable[Probe]) -> list[Any]:
    found = []
    for probe in probes:
        marks = [pytest.mark.xfail(reason=probe.xfail, raises=AssertionError)] if probe.xfail else []
        found.append(pytest.param(probe, id=probe.name, marks=marks))
    return found


ALWAYS = ("Sample",)  # kept in memory
WITHOUT_BODY = ("Raw", "Prices", "Remote", "Report")


def states(answer: Answer) -> dict[str, str]:
    return {task: state for task, (state, _) in answer[0].items() if task not in WITHOUT_BODY}


def reasons(answer: Answer) -> dict[str, tuple[str, ...]]:
    others = (*WITHOUT_BODY, *ALWAYS)
    return {task: tuple(sorted(why)) for task, (_, why) in answer[0].items() if why and task not in others}


@pytest.mark.parametrize("probe", parameters(PROBES))
def test_what_follows_from_an_edit(probe: Probe, found: Callable[[Probe], Found]) -> None:
    answers = found(probe)
    always = [*ALWAYS] if probe.tasks == GOALS else []
    told = {task: tuple(sorted(why)) for task, why in probe.told.items()}

    # What a dry run tells.
    assert told == reasons(answers.dry)
    pending = {*probe.ran, *probe.cached, *always, *(["Card"] if always else [])} - {*probe.later} | {*probe.unneeded}
    assert pending == {task for task, state in states(answers.dry).items() if state == "pending"}
    assert [] == answers.dry[1]

    # What a run with stale="warn" does.
    if not probe.warn_sees:
        told = {}
    assert sorted([*always, *probe.warn_ran]) == sorted(answers.warn[1])
    kept = {"Card", *probe.warn_cached} - {*probe.warn_ran} if always else {*probe.warn_cached}
    expected = dict.fromkeys(states(answers.warn), "fresh") | dict.fromkeys(told, probe.state)
    expected |= dict.fromkeys(kept, "cached") | dict.fromkeys([*always, *probe.warn_ran], "built")
    assert expected == states(answers.warn)
    assert {task: why for task, why in told.items() if expected[task] == probe.state} == {
        task: why for task, why in reasons(answers.warn).items() if expected[task] == probe.state
    }

    # What a run with stale="rerun" does.
    assert sorted([*always, *probe.ran]) == sorted(answers.rerun[1])
    kept = {"Card", *probe.cached} - {*probe.ran} if always else {*probe.cached}
    expected = dict.fromkeys(states(answers.rerun), "fresh")
    if probe.state != "stale":
        expected |= dict.fromkeys(told, probe.state)
    expected |= dict.fromkeys(kept, "cached") | dict.fromkeys([*always, *probe.ran], "built")
    assert expected == states(answers.rerun)

    assert [] == [task for task in probe.ran if not answers.rerun[0][task][1]]  # each is told why

    # What is left.
    assert always == answers.left[1]
    assert {} == {task: why for task, why in reasons(answers.left).items() if why != ("untracked",)}

    # A run that only warned leaves nothing behind that would hide from a later one what has to run.
    assert answers.saved == answers.saved_later

    # A miss is one only if the result would be another one.
    if probe.differs:
        assert answers.blind[0] != answers.blind[1]


def test_a_new_interpreter_finds_the_same(base: Project, tmp_path: Path) -> None:
    probes = {probe.name: probe for probe in PROBES}
    for number, name in enumerate(["reformat", "helper two modules away", "dynamic requirement added"]):
        project = base.copy(tmp_path / str(number))
        project.processes = None
        probe = probes[name]
        probe.edit(project)
        (dry,) = project.run({"stale": "rerun", "dry_run": True})
        assert probe.told == reasons(dry)
        for ran in (probe.ran, ()):
            (rerun,) = project.run({"stale": "rerun"})
            assert sorted([*ALWAYS, *ran]) == sorted(rerun[1])


def test_an_edit_that_fails_blocks_what_needs_it_and_its_repair_runs_only_that(base: Project, tmp_path: Path) -> None:
    project = base.copy(tmp_path / "project")
    before = project.output("Page/*.json").read_text()
    project.replace("shop/tasks.py", "rows = helpers.clean(", "raise ValueError('no')\n        rows = helpers.clean(")
    ((told, ran),) = project.run({"stale": "rerun", "abort": False}, complaints="ValueError: no")
    assert ["Clean"] == ran
    blocked = dict.fromkeys([*AFTER_CLEAN, "Sample"], "upstream_failed")
    assert {"Load": "fresh", "Clean": "failed", **blocked, "Blind": "fresh"} == states((told, ran))
    assert before == project.output("Page/*.json").read_text()

    # Its outputs are there, and nobody knows what they are: in every mode it has to run.
    ((told, ran),) = project.run({"stale": "warn", "abort": False}, complaints="ValueError: no")
    assert ["Clean"] == ran
    assert ("failed", ["failed"]) == told["Clean"]

    project.replace("shop/tasks.py", "raise ValueError('no')\n        rows", "rows")
    ((told, ran),) = project.run({"stale": "warn"})
    assert ["Clean", "Sample"] == ran
    assert dict.fromkeys(AFTER_CLEAN, "cached") == {task: told[task][0] for task in AFTER_CLEAN}


def test_nothing_is_stale_because_a_memory_output_is_of_another_process(base: Project, tmp_path: Path) -> None:
    project = base.copy(tmp_path / "project")
    project.env["D6TPIPE_CHECK_DEPENDENCIES"] = "false"
    ((told, ran),) = project.run({"stale": "warn"})
    assert ([], {}) == (ran, reasons((told, ran)))


def test_an_aggregator_of_what_was_kept_was_not_built(base: Project, tmp_path: Path) -> None:
    project = base.copy(tmp_path / "project")
    REWRITTEN(project)
    ((told, _),) = project.run({"stale": "rerun"})
    assert ("cached", "cached", "cached") == (told["Compare"][0], told["Regions"][0], told["Report"][0])


# ---- another version of Python


def other_python_and_extension() -> tuple[str, str]:
    """Return an interpreter of another minor version that can import d6tpipe, and the file of its C extension."""
    listed = os.environ.get("OTHER_PYTHONS", "").split()
    ask = "import sys, xxhash._xxhash as x, d6tpipe; print(*sys.version_info[:2], x.__file__)"
    for python in listed:
        done = subprocess.run([python, "-c", ask], env=ENVIRONMENT, capture_output=True, text=True)
        if not done.returncode:
            *version, extension = done.stdout.split(maxsplit=2)
            if [*map(int, version)] != [*sys.version_info[:2]]:
                return python, extension.strip()
    pytest.skip(f"no other version of Python with the dependencies of d6tpipe is listed in OTHER_PYTHONS ({listed})")


def test_two_versions_of_python_share_a_data_folder(tmp_path: Path) -> None:
    other, extension = other_python_and_extension()
    project = Project(tmp_path / "project")
    project.write(_xxhash.__file__)
    project.write(extension)
    project.python = other
    ((_, ran),) = project.run({})
    assert EVERYTHING[0] == sorted(ran)

    for python in (sys.executable, other, sys.executable):
        project.python = python
        ((told, ran),) = project.run({"stale": "rerun"})
        assert (["Sample"], {}) == (ran, reasons((told, ran)))

    project.replace("shop/helpers.py", "* RATE", "* RATE + 1")
    project.python = other
    ((told, ran),) = project.run({"stale": "rerun", "dry_run": True})
    assert because("code shop.helpers.total", *FITS) == reasons((told, ran))
    ((told, ran),) = project.run({"stale": "rerun"})
    assert sorted(["Sample", *FITS, "Compare", "Page"]) == sorted(ran)


# ---- the table for the documentation


def as_rst() -> str:
    """Return the tables of edits as reStructuredText; ``python tests/end_to_end/test_edit_probes.py`` prints them."""
    import re

    codes = re.compile(r"depends_on = \[.*?\]|[\w.]+\([\w, ]*\)|[\w.]+ ?= ?(?:'\w+'|\w+)|\w*_\w+")

    def name_of(probe: Probe) -> str:
        return codes.sub(r"``\g<0>``", probe.name)

    def about(probe: Probe) -> str:
        not_yet = f" *Not so yet:* {probe.xfail}." if probe.xfail else ""
        return codes.sub(r"``\g<0>``", probe.about + not_yet)

    def tasks(labels: Iterable[str]) -> str:
        left = dict.fromkeys(labels)
        if left.keys() == {"Load", *AFTER_LOAD}:
            return "all"
        found = []
        for label in left:
            kin = next((kin for kin in (FITS, REGIONS) if label in kin and left.keys() >= {*kin}), (label,))
            if label == kin[0]:
                found.append(label if len(kin) == 1 else label.split()[0])
        return ", ".join(found)

    def reasons_of(probe: Probe) -> str:
        alike: dict[tuple[str, ...], list[str]] = {}
        for label, why in probe.told.items():
            alike.setdefault(why, []).append(label)
        return "; ".join([f"{tasks(who)}: ``{'``, ``'.join(why)}``" for why, who in alike.items()])

    def table(widths: str, *rows: tuple[str, ...]) -> list[str]:
        lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
        for row in rows:
            lines += [f"   {'*' if number == 0 else ' '} - {cell}".rstrip() for number, cell in enumerate(row)]
        return [*lines, ""]

    lines = ["**Not a change.** Nothing runs, and nothing is named.", ""]
    lines += table("30 70", ("Edit", "Rule"), *[(name_of(probe), about(probe)) for probe in UNCHANGED])
    lines += ["**A change.**", ""]
    lines += table(
        "38 26 18 18",
        ("Edit, and the rule", "Told", 'Runs with ``"rerun"``; looked at again and kept', 'Runs with ``"warn"``'),
        *[
            (
                f"{name_of(probe)}: {about(probe)}",
                reasons_of(probe),
                "; ".join(filter(None, [tasks(probe.ran), f"kept: {tasks(probe.cached)}" if probe.cached else ""])),
                tasks(probe.warn_ran),
            )
            for probe in CHANGED
        ],
    )
    lines += ["**Not seen.** The result may be another one, and nobody is told.", ""]
    lines += table("30 70", ("Edit", "What it is, and what to do"), *[(name_of(one), about(one)) for one in MISSES])
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_rst(), end="")
