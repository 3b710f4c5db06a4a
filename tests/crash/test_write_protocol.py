"""Whole runs after a kill, a damaged database, a full disk, a changed clock: the next run needs no help.

One process has everything imported and forks for each run (a new interpreter would cost half a second, and here are a
thousand of them). What the runs are about is the module `FLOW`, in two editions: the second one is an edit. Each of its
tasks with two outputs writes into both which attempt it was, so outputs of two attempts show.
"""

from __future__ import annotations

import json
import os
import queue
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from d6tpipe.failpoints import VARIABLE
from d6tpipe.storage.files import temporary_owner

ROOT = Path(__file__).resolve().parents[2]
# Not D6TPIPE_...: those are settings, and tests start without any.
NIGHTLY = bool(os.environ.get("NIGHTLY"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, and killed"),
]

# ---- what is run
#
#   Raw > Pair (two outputs) > Mem (in memory) > Card (pickle)   > Everything (aggregator)
#                            > Direct (writes two files itself)  >
#                            > Asks (asks for three Parts)       >
#                            > Plain (plain luigi)               >
#                            > Passing (two outputs, removed when Final is there) > Final >

FLOW = '''
    import json
    import os
    import uuid

    import luigi

    import d6tpipe as dp
    from d6tpipe.failpoints import fail_point

    EDITION = 1

    def begins(task):
        """Write down that a body runs, and return what tells this attempt from all others."""
        with open(os.environ["RAN"], "a") as log:
            log.write(task.task_family + "\\n")
        return uuid.uuid4().hex

    class Raw(dp.tasks.TaskPickle):
        def run(self):
            begins(self)
            self.save({"value": EDITION})

    class Pair(dp.tasks.TaskData):
        persist = {"a": "pickle", "b": "json"}

        def requires(self):
            return Raw()

        def run(self):
            attempt, value = begins(self), 10 * EDITION + self.inputLoad()["value"]
            self.save({"a": {"value": value, "attempt": attempt}, "b": {"value": value, "attempt": attempt}})

    class Mem(dp.tasks.TaskCache):
        def requires(self):
            return Pair()

        def run(self):
            begins(self)
            self.save([each["value"] * EDITION for each in self.inputLoad()])

    class Card(dp.tasks.TaskPickle):
        def requires(self):
            return Mem()

        def run(self):
            begins(self)
            self.save({"value": [EDITION, *self.inputLoad()]})

    class Direct(dp.tasks.TaskData):
        persist = {"x": "json", "y": "json"}

        def requires(self):
            return Pair()

        def run(self):
            attempt, value = begins(self), [EDITION, self.inputLoad(keys="a")["value"]]
            for target in self.output().values():
                with open(target.path, "w") as stream:
                    json.dump({"data": {"value": value, "attempt": attempt}}, stream)
                    fail_point("body.file")

    class Part(dp.tasks.TaskPickle):
        n = dp.IntParameter()

        def run(self):
            begins(self)
            self.save({"value": self.n * EDITION})

    class Asks(dp.tasks.TaskPickle):
        def requires(self):
            return Pair()

        def run(self):
            begins(self)
            parts = yield [Part(n=n) for n in range(3)]
            fail_point("body.asked")
            values = [part.load()["value"] for part in parts]
            self.save({"value": [EDITION, self.inputLoad(keys="b")["value"], *values]})

    class Plain(luigi.Task):
        def requires(self):
            return Pair()

        def output(self):
            return luigi.LocalTarget(os.path.join(dp.settings.dir, "plain", "out.json"))

        def run(self):
            begins(self)
            with self.output().open("w") as stream:
                json.dump({"value": [EDITION, self.requires().outputLoad(keys="a")["value"]]}, stream)

    class Passing(dp.tasks.TaskData):
        persist = {"p": "json", "q": "json"}
        transient = "remove"

        def requires(self):
            return Pair()

        def run(self):
            attempt, value = begins(self), [EDITION, self.inputLoad(keys="a")["value"]]
            self.save({"p": {"value": value, "attempt": attempt}, "q": {"value": value, "attempt": attempt}})

    class Final(dp.tasks.TaskPickle):
        def requires(self):
            return Passing()

        def run(self):
            begins(self)
            one, other = self.inputLoad()
            if one != other:
                raise ValueError(f"outputs of two attempts: {one}, {other}")
            self.save({"value": one["value"]})

    class Everything(dp.tasks.TaskAggregator):
        def run(self):
            yield [Card(), Final()]
            yield [Direct(), Asks()]
            yield Plain()

    class OnDisk(dp.tasks.TaskAggregator):
        def run(self):
            yield [Direct(), Asks()]
            yield Plain()

    def contents():
        """Return what lies on the disk: value by task, and of those with two outputs the attempt of each."""
        values, attempts = {}, {}
        for task in [Raw(), Pair(), Card(), Direct(), Asks(), Passing(), Final(), *[Part(n=n) for n in range(3)]]:
            name = task.task_id
            for target in luigi.task.flatten(task.output()):
                if target.exists():
                    held = target.load()
                    values.setdefault(name, []).append(held["value"])
                    if "attempt" in held:
                        attempts.setdefault(name, []).append(held["attempt"])
        if Plain().output().exists():
            with Plain().output().open() as stream:
                values["Plain"] = [json.load(stream)["value"]]
        return {"values": values, "attempts": attempts}
'''

# Reads one job per line, forks, and tells what came of the child. All that a run loads late is loaded here, once.
WORKER = '''
import atexit, faulthandler, gc, importlib, io, json, os, pkgutil, sys, traceback, warnings
from contextlib import redirect_stdout

import luigi
import d6tpipe as dp
# An ordinary user may not be able to read the folder of the checkout: nothing may be left to import.
for found in pkgutil.walk_packages(dp.__path__, "d6tpipe."):
    if found.name not in ("d6tpipe.__main__", "d6tpipe.executors.dask", "d6tpipe.executors.ray"):
        importlib.import_module(found.name)
import json.decoder, linecache, encodings.idna, sqlite3, pickle, uuid, shutil, tempfile, resource
from d6tpipe import failpoints

class Counter(dict):
    """A wanted point that is never reached, and notes which ones are passed."""
    __hash__ = None
    def __eq__(self, name):
        self[name] = self.get(name, 0) + 1
        return False

def run(task, **options):
    """Run, and write down what is known of each task afterwards."""
    done = dp.run(task, execution_summary=False, progress=False, abort=False, **options)
    answer["states"] = {t.task_id: str(state) for t, state in done.states.items()}
    answer["failures"] = {f.task.task_id: [type(f.error).__name__, str(f.error)] for f in done.failures}
    answer["reasons"] = {node.task.task_id: [str(r) for r in node.reasons] for node in done._nodes}
    return done

def by_hand(*tasks):
    for task in tasks:
        body = task.run()
        if body is not None:
            wanted = next(body)
            while True:
                dp.run(wanted, execution_summary=False)
                try:
                    wanted = body.send([t.output() for t in wanted])
                except StopIteration:
                    break

def work(job):
    faulthandler.dump_traceback_later(60, exit=True)
    counter = Counter()
    failpoints._wanted, _, count = job["point"].partition("*")
    failpoints._left = int(count or 1)
    if not job["point"]:
        failpoints._wanted = counter
    os.environ["RAN"] = job["ran"]
    os.environ.update(job["env"])
    os.chdir(job["home"])
    if job["ordinary"] and os.getuid() == 0:
        import pandas, pandas.io.formats.string  # somebody else may not be able to read the interpreter's folders
        str(pandas.DataFrame({"a": ["b"]}))
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    sys.path.insert(0, job["edition"])
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as said, redirect_stdout(printed):
        warnings.simplefilter("always")
        dp.set_dir(job["root"])
        try:
            import shop
            names = {**vars(shop), "dp": dp, "run": run, "by_hand": by_hand, "answer": answer}
            exec(compile(job["code"], "job", "exec"), names)
        except BaseException:
            answer["error"] = traceback.format_exc()
        atexit._run_exitfuncs()
    answer["warnings"] = [str(each.message) for each in said]
    answer["printed"] = printed.getvalue()
    answer["passed"] = dict(counter)

gc.collect()
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        answer = {}
        try:
            work(job)
            with open(writing, "w") as pipe:
                json.dump(answer, pipe)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    print(json.dumps({"status": os.waitstatus_to_exitcode(status), **json.loads(said or "{}")}), flush=True)
'''


class Worker:
    """A process that does jobs in forks of itself."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/",
            # With any point wanted, points count; this one is never passed.
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", VARIABLE: "none"},
        )  # fmt: skip
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self._line()
        assert answer, "the worker itself has died"
        return json.loads(answer)  # type: ignore[no-any-return]


class Done(dict[str, Any]):
    """What came of one job: ``status``, ``states``, ``warnings`` ... , and ``ran``: the bodies, in order."""

    @property
    def killed(self) -> bool:
        return bool(self["status"] == -signal.SIGKILL)

    def ok(self) -> Done:
        """Return itself, after demanding that the process has ended by itself and raised nothing."""
        assert (0, "") == (self["status"], self.get("error", "")), self
        return self


class Case:
    """One data folder, and the runs in it."""

    def __init__(self, workers: queue.Queue[Worker], folder: Path, editions: dict[int, Path]) -> None:
        self.workers, self.folder, self.editions = workers, folder, editions
        self.root = folder / "data"
        self.runs = 0

    def do(
        self, code: str, edition: int = 1, point: str = "", ordinary: bool = False, env: dict[str, str] | None = None
    ) -> Done:
        """Do `code` in a process of its own; `point`: and kill it there."""
        self.runs += 1
        ran = self.folder / f"ran-{self.runs}"
        ran.touch()
        ran.chmod(0o666)
        worker = self.workers.get()
        try:
            done = worker(
                {
                    "code": textwrap.dedent(code), "root": str(self.root), "home": str(self.folder), "ran": str(ran),
                    "edition": str(self.editions[edition]), "point": point, "ordinary": ordinary, "env": env or {},
                }
            )  # fmt: skip
        finally:
            self.workers.put(worker)
        return Done(done, ran=ran.read_text().split())

    def contents(self, edition: int = 1) -> dict[str, Any]:
        return self.do("answer.update(contents())", edition).ok()

    def leftovers(self) -> list[str]:
        """Return what nobody will ever look at again: temporary files, logs of the database."""
        return [
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if temporary_owner(path.name)
            or "luigi-tmp" in path.name
            or path.name.endswith(("-wal", "-shm", "-journal"))
        ]

    def remove(self) -> None:
        for path in self.folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(self.folder)


class Cases:
    """Makes cases; at its end the processes end."""

    def __init__(self, count: int) -> None:
        # In memory where that can be had: the disk is not what is tested.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="d6tpipe-test-", dir=memory))
        self.folder.chmod(0o755)
        self.editions = {}
        for edition in (1, 2):
            place = self.editions[edition] = self.folder / f"edition-{edition}"
            place.mkdir()
            text = textwrap.dedent(FLOW).replace("EDITION = 1", f"EDITION = {edition}")
            (place / "shop.py").write_text(text)
        self.workers: queue.Queue[Worker] = queue.Queue()
        self.all = [Worker() for _ in range(count)]
        for worker in self.all:
            self.workers.put(worker)
        self.threads = ThreadPoolExecutor(count)
        self.number = 0
        self.built: dict[str, Path] = {}

    def new(self, start: str = "") -> Case:
        """Return a case in a folder of its own, empty or like what `prepared` returned."""
        self.number += 1
        folder = self.folder / f"case-{self.number}"
        folder.mkdir()
        case = Case(self.workers, folder, self.editions)
        if start:
            shutil.copytree(self.built[start], case.root, copy_function=shutil.copy2, symlinks=True)
        return case

    def prepare(self, name: str, code: str, edition: int = 1, point: str = "", start: str = "") -> None:
        """Keep the data folder that `code` makes, for `new` to copy."""
        if name not in self.built:
            case = self.new(start)
            done = case.do(code, edition, point)
            assert done.killed if point else done.ok()
            self.built[name] = case.root

    def each(self, work: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Call ``work(item)`` for each item, as many at once as there are workers; return the answers."""
        return list(self.threads.map(work, items))

    def close(self) -> None:
        self.threads.shutdown()
        for worker in self.all:
            worker.process.communicate(timeout=60)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cases() -> Iterator[Cases]:
    found = Cases(2)
    try:
        found.prepare("built", "run(Everything())")
        found.prepare("touched", "run(Everything())")
        for path in found.built["touched"].rglob("*"):
            if ".d6tpipe" not in path.parts:
                os.utime(path)
        found.prepare("untracked", "run(Everything())")
        shutil.rmtree(found.built["untracked"] / ".d6tpipe")
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def clean(cases: Cases) -> dict[int, Any]:
    """What a run that nothing has happened to leaves, by edition."""
    found = {}
    for edition in (1, 2):
        case = cases.new()
        case.do("run(Everything())", edition).ok()
        found[edition] = case.contents(edition)["values"]
    assert found[1] != found[2]
    return found


# ---- kills

BY_HAND = "by_hand(Raw(), Pair(), Mem(), Card(), Direct(), Asks())"
SCENARIOS = {
    # name: (data folder before, what is killed, edition, runs that put it right)
    "first build": ("", "run(Everything())", 1, ["warn"]),
    "rebuild after an edit": ("built", "run(Everything(), stale='rerun')", 2, ["warn", "rerun"]),
    "rebuild after an edit, no warning first": ("built", "run(Everything(), stale='rerun')", 2, ["rerun"]),
    "forced rebuild": ("built", "run(Everything(), forced_all_upstream=True)", 1, ["warn", "rerun"]),
    "forced rebuild where records do not count": (
        "built", "run(Everything(), forced_all_upstream=True, stale='ignore')", 2, ["warn", "rerun"],
    ),
    "records of files that were copied": ("touched", "run(Everything())", 1, ["warn"]),
    "records of files that have none": ("untracked", "run(Everything())", 1, ["warn"]),
    "first build by hand": ("", BY_HAND, 1, ["warn"]),
    "rebuild by hand": ("built", BY_HAND, 1, ["warn", "rerun"]),
    "rebuild by hand after an edit": (
        "built", BY_HAND, 2, ["warn", "rerun"],
    ),
}  # fmt: skip

# Fail points that a run does not pass: of damaged databases and of folders as outputs (see test_records_crash and
# test_save_crash), and of what is no run.
# Not on the way of a run: damage, removal, and what methods keep (test_caches_crash.py).
ELSEWHERE = {
    "records.aside", "write.aside", "removal.files", "accept.written",
    "caches.locked", "caches.computed", "caches.filled", "caches.aside",
}  # fmt: skip


def points_in_code() -> set[str]:
    found = set()
    for path in (ROOT / "d6tpipe").rglob("*.py"):
        found |= set(re.findall(r'^\s+fail_point\("([\w.]+)"\)', path.read_text(), re.M))
    return found


def chosen(count: int, some: int) -> list[int]:
    """Return the passings 1 ... `count`, or a few of them spread out, always with the first and the last."""
    if NIGHTLY or count <= some:
        return list(range(1, count + 1))
    return sorted({1 + round(step * (count - 1) / (some - 1)) for step in range(some)})


NEWER = "was modified since it was built"
"""What is said of a pickle when its record was lost: it is newer than the one from before."""


def after_a_kill(
    case: Case, code: str, edition: int, point: str, modes: list[str], clean: dict[int, Any], said: str = "nothing"
) -> bool:
    """Kill a run at a point, put it right, and return whether it was killed; raise if anything is wrong.

    Without `code` whatever there is to be put right is there already. Warnings may only be those with `said` in them.
    """
    done = case.do(code, edition, point)
    if not done.killed:  # groups depend on time, so now and then there is one less
        done.ok()
    for mode in modes:
        held = case.do(f"run(Everything(), stale='{mode}'); answer.update(contents())", edition).ok()
        assert not held["failures"], held
        assert all(said in text for text in held["warnings"]), held["warnings"]
        for task, found in held["attempts"].items():
            assert 1 == len(set(found)), f"{mode}: outputs of two attempts of {task}: {held}"
            assert 2 == len(found) or task.startswith("Passing"), held  # which is not needed in mode warn
        for task in ("Pair", "Direct"):
            one, other = next(held["values"][name] for name in held["values"] if name.startswith(task))
            assert one == other, held
    assert clean[edition] == held["values"]
    last = case.do(f"run(Everything(), stale='{modes[-1]}')", edition).ok()
    assert last["ran"] == ["Mem"], "what is in memory ends with its process; nothing else has to run again"
    assert [] == case.leftovers()
    return done.killed


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_point_the_next_run_ends_as_a_clean_one(
    scenario: str, cases: Cases, clean: dict[int, Any]
) -> None:
    start, code, edition, modes = SCENARIOS[scenario]
    passed = cases.new(start).do(code, edition).ok()["passed"]
    kills = [
        f"{point}*{turn}"
        for point, count in passed.items()
        for turn in chosen(count, 3 if "by hand" not in scenario else 2)
    ]

    def one(point: str) -> tuple[str, Any]:
        case = cases.new(start)
        try:
            killed = after_a_kill(case, code, edition, point, modes, clean)
        except AssertionError as wrong:
            return point, wrong
        case.remove()
        return point, killed

    found = cases.each(one, kills)
    wrong = {point: str(error) for point, error in found if isinstance(error, AssertionError)}
    assert not wrong, f"{len(wrong)} of {len(kills)}: {list(wrong)}\n" + next(iter(wrong.values()))
    assert sum(killed for _, killed in found) >= 0.9 * len(kills)


def test_killed_again_and_again_the_last_run_ends_as_a_clean_one(cases: Cases, clean: dict[int, Any]) -> None:
    rebuild = "run(Everything(), stale='rerun')"
    passed = cases.new("built").do(rebuild, 2).ok()["passed"]
    points = [f"{point}*{turn}" for point, count in sorted(passed.items()) for turn in range(1, count + 1)]

    def one(seed: int) -> str:
        pick = random.Random(seed)
        case = cases.new("built")
        kills = [pick.choice(points) for _ in range(4)]
        for point in kills[:3]:
            case.do(pick.choice([rebuild, "run(Everything())", BY_HAND]), 2, point)
        try:
            after_a_kill(case, pick.choice([rebuild, BY_HAND]), 2, kills[3], ["warn", "rerun"], clean)
        except AssertionError as wrong:
            return f"{seed}: {kills}: {wrong}"
        case.remove()
        return ""

    assert not list(filter(None, cases.each(one, range(300 if NIGHTLY else 12))))


def test_every_fail_point_of_a_run_is_among_those(cases: Cases) -> None:
    passed: set[str] = set()
    for start, code, edition, _ in SCENARIOS.values():
        passed |= set(cases.new(start).do(code, edition).ok()["passed"])
    assert points_in_code() - ELSEWHERE <= passed
    assert not ELSEWHERE & passed


def test_a_database_that_was_killed_while_it_was_made_leaves_nothing(cases: Cases) -> None:
    case = cases.new()
    assert case.do("run(Everything())", point="records.made").killed
    case.do("run(Everything())").ok()
    assert [] == case.leftovers()


def test_a_body_run_by_hand_removes_what_a_killed_one_has_left(cases: Cases) -> None:
    case = cases.new("built")
    assert case.do("by_hand(Pair())", point="write.filled").killed
    assert any(".tmp-" in name for name in case.leftovers())
    case.do("by_hand(Pair())").ok()
    case.do("run(Everything())").ok()
    assert [] == case.leftovers()


# ---- records that are damaged, gone, or out of reach


def nothing_is_lost(case: Case, clean: dict[int, Any], warned: str = "") -> Done:
    """Demand that a run finds all outputs, and so do those after it; return the first.

    What it may say of the records matches `warned`, and ends when something has been built.
    """
    first = case.do("run(OnDisk()); answer.update(contents())").ok()
    again = case.do("run(OnDisk(), stale='rerun'); answer.update(contents())").ok()
    write = case.do("run(Raw(), forced_all=True); answer.update(contents())").ok()
    last = case.do("run(OnDisk(), stale='rerun'); answer.update(contents())").ok()
    assert [[], [], ["Raw"], []] == [done["ran"] for done in (first, again, write, last)]
    for done in (first, again, write, last):
        assert clean[1] == done["values"] and not done["failures"]
        said = [text for text in done["warnings"] if not (warned and re.search(warned, text))]
        assert [] == said
    assert bool(first["warnings"]) == bool(warned)
    assert [] == last["warnings"]
    assert [] == case.leftovers()
    return first


@pytest.mark.parametrize("what", [".d6tpipe", ".d6tpipe/records.db", ".d6tpipe/locks", ".d6tpipe/records.db.lock"])
def test_deleted_records_lose_no_output(what: str, cases: Cases, clean: dict[int, Any]) -> None:
    case = cases.new("built")
    path = case.root / what
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    first = nothing_is_lost(case, clean)
    reasons = {name.partition("_")[0]: found for name, found in first["reasons"].items()}
    told = ["untracked"] if "lock" not in what else []
    assert {"fresh"} == set(first["states"].values())
    assert [told] * 5 == [reasons[name] for name in ("Raw", "Pair", "Direct", "Asks", "Plain")]


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "nonsense": lambda path: path.write_bytes(b"nonsense" * 3000),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "nothing": lambda path: path.write_bytes(b""),
    "another database": lambda path: (path.unlink(), sqlite3.connect(path).executescript("CREATE TABLE t(x)").close()),
    "half of it": lambda path: os.truncate(path, path.stat().st_size // 2),
    "a page in the middle": lambda path: _overwrite(path, path.stat().st_size // 2 // 4096 * 4096, os.urandom(4096)),
}


def _overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(data)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_records_lose_no_output(damage: str, cases: Cases, clean: dict[int, Any]) -> None:
    case = cases.new("built")
    DAMAGE[damage](case.root / ".d6tpipe" / "records.db")
    first = nothing_is_lost(case, clean, "records.*(cannot be read|was damaged)")
    assert {"fresh"} == set(first["states"].values())
    assert len(first["warnings"]) == 1


@pytest.mark.xfail(reason="only who writes moves it aside, and nothing is written where all is complete")
def test_a_run_moves_a_damaged_database_aside_so_that_the_next_one_has_nothing_to_say(cases: Cases) -> None:
    case = cases.new("built")
    (case.root / ".d6tpipe" / "records.db").write_bytes(b"nonsense" * 3000)
    assert case.do("run(OnDisk())").ok()["warnings"]
    assert [] == case.do("run(OnDisk())").ok()["warnings"]


def test_a_folder_in_place_of_the_records_stops_nothing(cases: Cases, clean: dict[int, Any]) -> None:
    case = cases.new("built")
    path = case.root / ".d6tpipe" / "records.db"
    path.unlink()
    path.mkdir()
    for _ in range(2):
        first = case.do("run(OnDisk()); answer.update(contents())").ok()
        assert first["warnings"] and not first["ran"] and not first["failures"]
        assert clean[1] == first["values"]
    path.rmdir()
    nothing_is_lost(case, clean)


def places(size: int, last: int, some: int) -> list[int]:
    """Return where to cut a file of `size` bytes: near its start, at edges, and in the `last` bytes."""
    edges = {at + near for at in (0, size // 2, size - last, size) for near in (-1, 0)}
    step = 5 if NIGHTLY else last // some + 1
    return sorted(at for at in {*edges, *range(size - last, size, step)} if 0 <= at < size)


@pytest.mark.parametrize("modes", [["warn", "rerun"], ["rerun"]], ids=" ".join)
def test_a_log_cut_anywhere_in_its_end_and_the_next_run_ends_as_a_clean_one(
    modes: list[str], cases: Cases, clean: dict[int, Any]
) -> None:
    # Everything is built again and recorded, in a log that the kill has left.
    cases.prepare("logged", "run(Everything(), stale='rerun')", 2, "records.close", start="built")
    size = (cases.built["logged"] / ".d6tpipe" / "records.db-wal").stat().st_size

    def one(at: int) -> str:
        case = cases.new("logged")
        log = case.root / ".d6tpipe" / "records.db-wal"
        os.truncate(log, at)
        if at % 2:  # after a power cut there is no index either
            log.with_name("records.db-shm").unlink()
        try:
            after_a_kill(case, "", 2, "", modes, clean, NEWER)
        except AssertionError as wrong:
            return f"{at}: {wrong}"
        case.remove()
        return ""

    assert not list(filter(None, cases.each(one, places(size, 2 * 4120, 4))))


def test_a_database_cut_anywhere_in_its_last_page_loses_no_output(cases: Cases, clean: dict[int, Any]) -> None:
    size = (cases.built["built"] / ".d6tpipe" / "records.db").stat().st_size

    def one(at: int) -> str:
        case = cases.new("built")
        os.truncate(case.root / ".d6tpipe" / "records.db", at)
        try:
            nothing_is_lost(case, clean, "records.*(cannot be read|was damaged)")
        except AssertionError as wrong:
            return f"{at}: {wrong}"
        case.remove()
        return ""

    assert not list(filter(None, cases.each(one, places(size, 4096, 4))))


@pytest.mark.parametrize(
    ("records", "modes"),
    [
        ("missing", ["warn", "rerun"]),
        ("there", ["warn", "rerun"]),
        ("there", ["rerun"]),
    ],
)
def test_records_that_cannot_be_written_stop_no_run(
    records: str, modes: list[str], cases: Cases, clean: dict[int, Any]
) -> None:
    case = cases.new("built")
    own = case.root / ".d6tpipe"
    if records == "missing":
        shutil.rmtree(own)
        own.mkdir()
    for path in [case.root, *case.root.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    for path in own.rglob("*"):
        path.chmod(0o444)
    own.chmod(0o555)
    for options in ("", ", stale='rerun'"):
        done = case.do(f"run(OnDisk(){options})", ordinary=True).ok()
        assert not done["ran"] and not done["failures"] and not done["warnings"]
    # Now there is something to write down.
    done = case.do("run(Pair(), forced_all=True); answer.update(contents())", ordinary=True).ok()
    assert ["Pair"] == done["ran"] and not done["failures"]
    assert clean[1] == done["values"]
    assert ["Records", "Tasks"] == sorted({text.split()[0] for text in done["warnings"]})
    # The record, if there is one, is of other files: they are not taken for what it says.
    own.chmod(0o777)
    for path in own.rglob("*"):
        path.chmod(0o666)
    after_a_kill(case, "", 1, "", modes, clean, NEWER)


# ---- a full disk


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    """Give a file system of two megabytes, where that can be had."""
    folder = Path(tempfile.mkdtemp(prefix="d6tpipe-disk-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no small disk to fill: {mounted.stderr.decode().strip() or 'mount failed'}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


NO_OWN_FILES = "[Card(), Asks()]"  # what bodies write by themselves is as safe as they make it


def on_small_disk(cases: Cases, disk: Path, start: str, free: int) -> Case:
    """Return a case on the small disk, all but `free` bytes of which are taken."""
    case = cases.new()
    case.root = disk / case.folder.name
    if start:
        shutil.copytree(cases.built[start], case.root)
    facts = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(max(0, facts.f_bavail * facts.f_frsize - free)))
    return case


@pytest.mark.parametrize(("start", "edition"), [("", 1), ("built", 2)], ids=["first build", "rebuild after an edit"])
def test_a_full_disk_fails_tasks_and_keeps_what_was_there(
    start: str, edition: int, cases: Cases, clean: dict[int, Any], small_disk: Path
) -> None:
    before = cases.new(start).contents()["values"] if start else {}
    failed = finished = 0
    for pages in range(0, 120, 1 if NIGHTLY else 12):
        case = on_small_disk(cases, small_disk, start, pages * 4096)
        done = case.do(f"run({NO_OWN_FILES}, stale='rerun'); answer.update(contents())", edition).ok()
        failed += bool(done["failures"])
        finished += not done["failures"]
        assert {"StorageError"} >= {kind for kind, _ in done["failures"].values()}
        assert all("No space left" in text and "Free some space" in text for _, text in done["failures"].values())
        for name, old in before.items():
            assert done["values"][name] in (old, clean[2][name])
        for one, other in done["attempts"].values():
            assert one == other
        (small_disk / "filler").unlink()
        for mode in ("warn", "rerun", "rerun"):
            again = case.do(f"run({NO_OWN_FILES}, stale='{mode}'); answer.update(contents())", edition).ok()
            assert not again["failures"] and all(NEWER in text for text in again["warnings"])
        assert ["Mem"] == again["ran"]
        for name in ("Raw", "Pair", "Card", "Asks"):
            (value,) = [found for key, found in again["values"].items() if key.startswith(name)]
            assert value == next(found for key, found in clean[edition].items() if key.startswith(name))
        assert [] == case.leftovers()
        shutil.rmtree(case.root)
    assert failed and finished


# ---- a folder that may only be read

QUESTIONS = """
    import re
    answer["complete"] = [task.complete() for task in (Raw(), Pair(), Direct(), Asks(), Part(n=1), Plain())]
    dp.preview(OnDisk())
    answer["dry"] = {t.task_id: str(s) for t, s in dp.run(OnDisk(), dry_run=True).states.items()}
    answer["rerun"] = {t.task_id: str(s) for t, s in dp.run(OnDisk(), dry_run=True, stale="rerun").states.items()}
    answer["explain"] = [re.sub(r"\\d+ s ago", "", str(dp.explain(task))) for task in (Pair(), Direct(), Plain())]
    answer["plan"] = str(dp.plan(OnDisk()))
    answer["catalog"] = str(dp.catalog())
"""


def look(folder: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in sorted([folder, *folder.rglob("*")])
    }


def test_a_task_that_asks_for_others_is_explained_after_a_kill(cases: Cases) -> None:
    cases.prepare("half", "run(Everything(), stale='rerun')", 2, "save.between", start="built")
    done = cases.new("half").do("print(dp.explain(Asks()))", 2).ok()
    assert "Pair() is to be built: interrupted" in done["printed"]


def lock_up(case: Case) -> None:
    for path in [*case.root.rglob("*"), case.root]:
        path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.mark.parametrize("start", ["built", "logged", "half"])
def test_in_a_folder_that_may_only_be_read_questions_are_answered_and_nothing_changes(start: str, cases: Cases) -> None:
    cases.prepare("logged", "run(Everything(), stale='rerun')", 2, "records.close", start="built")
    cases.prepare("half", "run(Everything(), stale='rerun')", 2, "save.between", start="built")
    edition = 1 if start == "built" else 2
    case = cases.new(start)
    expected = case.do(QUESTIONS, edition).ok()
    lock_up(case)
    before = look(case.root)
    done = case.do(QUESTIONS, edition, ordinary=True).ok()
    assert before == look(case.root)
    assert {True} == set(done["complete"])
    for question in ("complete", "dry", "rerun", "explain", "plan", "catalog"):
        assert expected[question] == done[question], question
    wanted = {"built": {"fresh"}, "logged": {"fresh"}, "half": {"fresh", "pending"}}[start]
    assert wanted == set(done["rerun"].values())
    assert [] == done["warnings"]


@pytest.mark.parametrize("start", ["built", "logged", "untracked"])
def test_in_a_folder_that_may_only_be_read_a_run_with_nothing_to_do_succeeds(start: str, cases: Cases) -> None:
    cases.prepare("logged", "run(Everything(), stale='rerun')", 2, "records.close", start="built")
    case = cases.new(start)
    lock_up(case)
    before = look(case.root)
    for mode in ("warn", "rerun"):
        done = case.do(f"run(OnDisk(), stale='{mode}')", 2 if start == "logged" else 1, ordinary=True).ok()
        assert {"fresh"} == set(done["states"].values())
        assert [] == done["ran"] + done["warnings"]
    assert before == look(case.root)


def test_in_a_folder_that_may_only_be_read_a_run_with_something_to_do_fails_and_changes_nothing(cases: Cases) -> None:
    case = cases.new("built")
    lock_up(case)
    before = look(case.root)
    done = case.do("run([Pair(), Card()], stale='rerun')", 2, ordinary=True).ok()
    assert {"Raw__99914b932b": "failed"} == {k: v for k, v in done["states"].items() if v == "failed"}
    ((kind, text),) = done["failures"].values()
    assert "StorageError" == kind and "Permission denied" in text
    assert before == look(case.root)


# ---- the clock

CLOCK = """
    import datetime, time
    def set_clock(seconds):
        real, real_ns = time.time, time.time_ns
        import d6tpipe.ledger, d6tpipe.examiner
        time.time = lambda: real() + seconds
        time.time_ns = lambda: real_ns() + seconds * 10**9
        d6tpipe.ledger.time = time.time
    set_clock(-86400)
"""


def test_a_clock_that_was_set_back_builds_nothing_again_and_hides_no_edit(cases: Cases, clean: dict[int, Any]) -> None:
    case = cases.new("built")
    for mode in ("warn", "rerun"):
        done = case.do(f"{CLOCK}\n    run(OnDisk(), stale='{mode}'); answer['told'] = str(dp.explain(Pair()))").ok()
        assert [] == done["ran"] + done["warnings"]
        assert "is fresh" in done["told"] and not re.search(r"(^|\s)-\d", done["told"])
    done = case.do(f"{CLOCK}\n    run(Everything(), stale='rerun'); answer.update(contents())", 2).ok()
    assert clean[2] == done["values"] and not done["warnings"]
    # Written a day ago, so to speak; and now the clock is right again.
    for _ in range(2):
        done = case.do("run(Everything(), stale='rerun'); answer.update(contents())", 2).ok()
        assert ["Mem"] == done["ran"] and clean[2] == done["values"]
    done = case.do("run(Everything(), stale='rerun'); answer.update(contents())", 1).ok()
    assert clean[1] == done["values"]


EXPIRES = """
    class Brief(dp.tasks.TaskPickle):
        expires = __import__("datetime").timedelta(hours=1)
        def run(self):
            begins(self)
            self.save(1)
    run(Brief(), stale="rerun")
    answer["told"] = str(dp.explain(Brief())); answer["plan"] = str(dp.plan(Brief()))
"""


def test_what_expires_does_so_by_the_clock_and_a_clock_that_was_set_back_stops_nothing(cases: Cases) -> None:
    case = cases.new()
    later = CLOCK.replace("-86400", "86400")
    assert ["Brief"] == case.do(EXPIRES).ok()["ran"]
    assert [] == case.do(EXPIRES).ok()["ran"]
    done = case.do(CLOCK + EXPIRES).ok()
    assert [] == done["ran"] + done["warnings"], "it is not a day old, it is from tomorrow"
    assert ["Brief"] == case.do(later + EXPIRES).ok()["ran"]
    assert [] == case.do(EXPIRES).ok()["ran"], "recorded tomorrow"
