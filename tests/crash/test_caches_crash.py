"""What methods keep, among many processes: computed once, and whoever is killed is replaced at once.

One process has everything imported and forks for each that a test wants; a new interpreter would cost half a second.
What they say, and what they are told, goes through named pipes, so a test knows where each of them is.
"""

from __future__ import annotations

import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from d6tpipe.failpoints import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, and killed"),
]

STARTER = '''
import faulthandler, json, os, signal, sys, traceback
import d6tpipe as dp
from d6tpipe import failpoints
from d6tpipe.caches import cache_path, cached
import d6tpipe.formats.basic, d6tpipe.storage.files
from d6tpipe.storage.locks import Locks

said = told = log = None

def say(*words):
    os.write(said, (" ".join(map(str, words)) + "\\n").encode())

def listen():
    os.read(told, 1)

def body(name):
    """Write down that a body runs; in a race, say so and stop there until the test lets go."""
    os.write(log, f"{name} {os.getpid()}\\n".encode())
    if racing:
        say("body")
        listen()

racing = False

class Terms(dp.tasks.TaskPickle):
    n = dp.IntParameter(default=1)

    @cached("terms.pkl")
    def value(self):
        body("value")
        return [self.n, os.getpid()]

    @cache_path("terms.txt")
    def file(self, path):
        if not path.exists():
            path.write_text("a part")
            body("file")
            path.write_text(f"{self.n} whole")
        return path.read_text()

    @cache_path("terms")
    def folder(self, path):
        if not path.exists():
            path.mkdir()
            for name in "ab":
                (path / name).write_text(name)
            body("folder")
        return sorted(os.listdir(path))

def race():
    global racing
    racing, real, waited = True, Locks.wait, []
    def wait(*arguments):
        if not waited:
            waited.append(1)
            say("waits")
        real(*arguments)
    Locks.wait = wait
    say("ready")
    listen()

def child(job):
    global said, told, log
    faulthandler.dump_traceback_later(50)
    said = os.open(job["said"], os.O_WRONLY)
    told = os.open(job["told"], os.O_RDONLY)
    log = os.open(job["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    failpoints._wanted = job["point"]
    dp.set_dir(job["root"])
    if job["race"]:
        race()
    say(eval(job["code"]))

for line in sys.stdin:
    job = json.loads(line)
    if "wait" in job:
        print(os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1]), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        try:
            child(job)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    print(pid, flush=True)
'''


class Process:
    """One process that the starter has forked."""

    def __init__(self, starter: Starter, code: str, point: str, race: bool) -> None:
        number = next(starter.numbers)
        said, told = [str(starter.folder / f"{word}-{number}") for word in ("said", "told")]
        for pipe in (said, told):
            os.mkfifo(pipe)
        self._starter = starter
        job = {"code": code, "point": point, "race": race, "said": said, "told": told}
        self.pid = starter.ask({**job, "root": str(starter.root), "log": str(starter.log)})
        self._said = open(said)  # noqa: SIM115  (for as long as the process lives)
        self._told = os.open(told, os.O_WRONLY)
        self._ended = False
        starter.processes.append(self)

    def line(self) -> str:
        """Return what it says next; the empty text when it has ended."""
        return self._said.readline().strip()

    def go(self) -> None:
        os.write(self._told, b".")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Return its exit code, negative for a signal."""
        code = self._starter.ask({"wait": self.pid})
        self._ended = True
        self.close()
        return code

    def close(self) -> None:
        if not self._ended:
            self.kill()
        if not self._said.closed:
            self._said.close()
            os.close(self._told)

    def fileno(self) -> int:
        return self._said.fileno()


class Starter:
    """Forks processes that share a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.log = folder, folder / "data", folder / "log"
        self.numbers = iter(range(1000))
        self.processes: list[Process] = []
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", STARTER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, VARIABLE: "none yet", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip

    def ask(self, job: dict[str, Any]) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, code: str, point: str = "", race: bool = False) -> Process:
        return Process(self, code, point, race)

    def do(self, code: str, point: str = "") -> tuple[int, str]:
        """Return exit code and value of an expression in a process of its own."""
        process = self.start(code, point)
        said = process.line()
        return process.end(), said

    def race(self, code: str, number: int) -> list[Process]:
        """Return processes that evaluate an expression at the same time; the first is in the body, the others wait."""
        processes = [self.start(code, race=True) for _ in range(number)]
        assert ["ready"] * number == [process.line() for process in processes]
        for process in processes:
            process.go()
        where = {process: process.line() for process in processes}
        assert ["body"] + ["waits"] * (number - 1) == sorted(where.values())
        return sorted(processes, key=where.__getitem__)

    def bodies(self) -> list[int]:
        """Return the process of each body that has run."""
        return [int(line.split()[1]) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def kept(self) -> list[str]:
        """Return what lies in the folders of entries."""
        return sorted(path.name for path in self.root.glob("Terms/cached/*/*"))

    def close(self) -> None:
        for process in self.processes:
            process.close()
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Starter]:
    """Give a starter; what hangs for a minute is an error."""

    def hangs(*anything: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(60)
    found = Starter(tmp_path)
    try:
        yield found
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        found.close()


VALUES = [("Terms().value()", "[1, {pid}]"), ("Terms().file()", "1 whole"), ("Terms().folder()", "['a', 'b']")]


@pytest.mark.parametrize(("code", "value"), VALUES)
def test_twenty_processes_compute_once(code: str, value: str, starter: Starter) -> None:
    first, *others = starter.race(code, 20)
    assert [first.pid] == starter.bodies()
    first.go()
    assert [value.format(pid=first.pid)] * 20 == [process.line() for process in (first, *others)]
    assert [0] * 20 == [process.end() for process in (first, *others)]
    assert [first.pid] == starter.bodies()
    assert 1 == len(starter.kept())


@pytest.mark.parametrize(("code", "value"), VALUES)
def test_one_of_those_who_wait_takes_over_from_a_process_that_is_killed(
    code: str, value: str, starter: Starter
) -> None:
    first, *others = starter.race(code, 8)
    first.kill()
    assert -signal.SIGKILL == first.end()
    with selectors.DefaultSelector() as selector:  # select() knows no descriptor beyond 1,024
        for one in others:
            selector.register(one, selectors.EVENT_READ)
        (second,) = [key.fileobj for key, _ in selector.select()]
    assert "body" == second.line()
    assert [first.pid, second.pid] == starter.bodies()
    second.go()
    assert [value.format(pid=second.pid)] * 7 == [process.line() for process in others]
    assert [0] * 7 == [process.end() for process in others]
    assert [first.pid, second.pid] == starter.bodies()
    assert 1 == len(starter.kept())


NAMES = {"value": "terms.pkl", "file": "terms.txt", "folder": "terms"}
POINTS = [
    ("value", "caches.locked", False, 1),
    ("value", "caches.computed", False, 2),
    ("value", "write.opened", False, 2),
    ("value", "write.filled", False, 2),
    ("value", "write.renamed", True, 1),
    ("file", "caches.locked", False, 1),
    ("file", "caches.filled", False, 2),
    ("file", "write.opened", False, 2),
    ("file", "write.filled", False, 2),
    ("file", "write.renamed", True, 1),
    ("folder", "caches.filled", False, 2),
    ("folder", "write.opened", False, 2),
    ("folder", "write.filled", False, 2),
    ("folder", "write.renamed", True, 1),
]


@pytest.mark.parametrize(("method", "point", "there", "bodies"), POINTS)
def test_killed_at_any_step_an_entry_is_whole_or_missing_and_the_rest_is_swept(
    method: str, point: str, there: bool, bodies: int, starter: Starter
) -> None:
    code = f"Terms().{method}()"
    assert (-signal.SIGKILL, "") == starter.do(code, point)
    assert (NAMES[method] in starter.kept()) is there
    assert (0, str(there)) == starter.do(f"Terms().{method}.exists()")
    ended, value = starter.do(code)
    assert 0 == ended and value
    assert (0, value) == starter.do(code)
    assert bodies == len(starter.bodies())
    assert [NAMES[method]] == starter.kept()


@pytest.mark.parametrize("method", ["value", "file", "folder"])
@pytest.mark.parametrize(("point", "there"), [("caches.locked", True), ("caches.aside", False)])
def test_killed_while_it_is_deleted_an_entry_is_whole_or_missing(
    method: str, point: str, there: bool, starter: Starter
) -> None:
    _, value = starter.do(f"Terms().{method}()")
    assert (-signal.SIGKILL, "") == starter.do(f"Terms().{method}.invalidate()", point)
    assert (0, str(there)) == starter.do(f"Terms().{method}.exists()")
    ended, again = starter.do(f"Terms().{method}()")
    assert 0 == ended and (value == again or (method == "value" and not there))
    assert 1 == len(starter.kept())
    assert (0, "True") == starter.do(f"Terms().{method}.invalidate()")
    assert [] == starter.kept() == list((starter.root / "Terms" / "cached").iterdir())


def test_a_file_that_is_cut_off_is_computed_again_by_one_of_many(starter: Starter) -> None:
    starter.do("Terms().value()")
    (path,) = starter.root.glob("Terms/cached/*/terms.pkl")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    first, *others = starter.race("__import__('warnings').simplefilter('ignore') or Terms().value()", 5)
    first.go()
    assert [str([1, first.pid])] * 5 == [process.line() for process in (first, *others)]
    assert [0] * 5 == [process.end() for process in (first, *others)]
    assert 2 == len(starter.bodies())
    assert [1, first.pid] == pickle.loads(path.read_bytes())
