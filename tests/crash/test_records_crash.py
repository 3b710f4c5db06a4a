"""Records after a kill: what was promised is there, nothing is half there, and the next run needs no help."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from d6tpipe.failpoints import VARIABLE
from d6tpipe.records import Record
from d6tpipe.storage.sqlite_records import SqliteRecords

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed"),
]

# The package itself would load luigi, a quarter of a second for each of several hundred processes.
BARE = f"""
import sys, types
package = types.ModuleType("d6tpipe")
package.__path__ = [{str(ROOT / "d6tpipe")!r}]
sys.modules["d6tpipe"] = package
"""

# Three batches of three tasks, as the engine brackets them. It prints what it was promised.
RUN = (
    BARE
    + """
from d6tpipe.records import Record
from d6tpipe.storage.sqlite_records import SqliteRecords

folder, label, network = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
store = SqliteRecords(folder, network=network)
def say(*words):
    print(*words, flush=True)
for batch in range(3):
    tasks = [f"T_{batch * 3 + n}" for n in range(3)]
    store.building([("T", task) for task in tasks], label)
    say("announced", *tasks)
    if batch:
        say("kept", *before)
    store.write([Record(task, "T", version=label, seal=label.encode(), members={label: "1"}) for task in tasks])
    before = tasks
store.put_source(label, "text of " + label)
store.flush()
say("kept", *before)
store.close()
say("closed")
"""
)

POINTS = ["made", "renamed", "opened", "begin", "rows", "committed", "close", "closed"]


def start(folder: Path, label: str, network: bool, point: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", VARIABLE: point}
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", RUN, str(folder), label, str(network)],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip


def state(folder: Path) -> dict[str, tuple[str, str]]:
    """Return {task: (stage, version of the record)} as a question sees it; a warning is an error here."""
    store = SqliteRecords(folder)
    try:
        found = {record.task_id: (record.stage, record.version) for record in store.all()}
        hot = store.load_hot()
        assert {task: stage for task, (stage, _) in found.items()} == {task: row[0] for task, row in hot.items()}
        for record in store.all():
            assert record.version.encode() == record.seal == hot[record.task_id][2]
            assert record == store.get(record.task_id)
            assert record.version == "" or {record.version: "1"} == record.members
        return found
    finally:
        store.close()


@pytest.mark.parametrize("network", [False, True], ids=["wal", "network"])
@pytest.mark.parametrize("again", [False, True], ids=["fresh store", "second run"])
def test_killed_at_any_step_what_was_promised_is_there_and_the_next_run_ends_as_a_clean_one(
    again: bool, network: bool, tmp_path: Path
) -> None:
    kills = 0
    for point in [*POINTS, *(f"{point}*{turn}" for point in ("begin", "rows", "committed") for turn in (2, 3, 4))]:
        folder = tmp_path / point
        if again:
            assert 0 == start(folder, "old", network).returncode
        done = start(folder, "new", network, f"records.{point}")
        promised = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
        if "closed" not in promised:
            assert -signal.SIGKILL == done.returncode, done.stderr
            kills += 1
        found = state(folder)
        for word, *tasks in (line.split() for line in done.stdout.splitlines()):
            for task in tasks:
                stage, version = found[task]
                if word == "announced":
                    assert "building" == stage or "new" == version
                elif word == "kept":
                    assert ("finished", "new") == (stage, version)
        if again:
            assert 9 == len(found), "a record from before got lost"
        last = start(folder, "last", network)
        assert (0, "") == (last.returncode, last.stderr)
        assert {f"T_{n}": ("finished", "last") for n in range(9)} == state(folder)
        store = SqliteRecords(folder)
        assert "text of last" == store.get_source("last")
        store.close()
        left = {path.name for path in (folder / ".d6tpipe").iterdir() if not path.name.startswith(".tmp-")}
        assert {"records.db", "records.db.lock"} <= left <= {"records.db", "records.db.lock", "records.db-journal"}
    # A second run makes no database; everything else is passed.
    assert kills == (15 if again else 17)


def test_killed_while_a_damaged_database_is_moved_aside_the_next_run_starts_afresh(tmp_path: Path) -> None:
    for turn in range(1, 5):
        folder = tmp_path / str(turn)
        assert 0 == start(folder, "old", False).returncode
        (folder / ".d6tpipe" / "records.db").write_bytes(b"nonsense" * 1000)
        done = start(folder, "new", False, f"records.aside*{turn}")
        assert -signal.SIGKILL == done.returncode, done.stderr
        last = start(folder, "last", False)
        assert (0, "") == (last.returncode, last.stderr)
        assert 9 == len(state(folder))


# -- truncation --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What a kill leaves: a database with records, and a log with more of them, one commit per task."""
    folder = tmp_path_factory.mktemp("remains")
    store = SqliteRecords(folder / "live")
    for n in range(300):
        store.write([Record(f"T_{n:03}", "T", version="db", seal=b"db", members={"db": "1"}, parameters="x" * 200)])
    store.close()
    for n in range(300, 312):
        store.write([Record(f"T_{n:03}", "T", version="log", seal=b"log", members={"log": "1"})])
        store.flush()
    shutil.copytree(folder / "live", folder / "dead", ignore=shutil.ignore_patterns("*-shm"))
    store.close()
    yield folder / "dead" / ".d6tpipe"


def cut(remains: Path, tmp_path: Path, name: str, size: int) -> Path:
    folder = tmp_path / f"{name}-{size}"
    shutil.copytree(remains, folder / ".d6tpipe")
    os.truncate(folder / ".d6tpipe" / name, size)
    return folder


def positions(size: int, step: int) -> list[int]:
    """Return every `step`-th byte, the edges of all pages and frames, and every few bytes of the last record."""
    edges = [at + near for at in range(0, size, 4096) for near in (-1, 0)]
    frames = [32 + at + near for at in range(0, size, 4120) for near in (-1, 0, 24)]
    found = {*range(0, size, step), *edges, *frames, *range(size - 4120, size, 331)}
    return sorted(at for at in found if 0 <= at < size)


def test_a_log_cut_anywhere_gives_the_records_up_to_some_commit(remains: Path, tmp_path: Path) -> None:
    size = (remains / "records.db-wal").stat().st_size
    before = 300
    for at in positions(size, 9001):
        folder = cut(remains, tmp_path, "records.db-wal", at)
        found = state(folder)
        assert [f"T_{n:03}" for n in range(len(found))] == sorted(found)
        assert before <= len(found) <= 312
        before = len(found)
        store = SqliteRecords(folder)
        store.write([Record("T_new", "T")])
        store.close()
        assert {*found, "T_new"} == set(state(folder))
        shutil.rmtree(folder)
    assert 312 == len(state(cut(remains, tmp_path, "records.db-wal", size)))
    assert before >= 311


@pytest.mark.parametrize("log", [True, False], ids=["with its log", "alone"])
@pytest.mark.filterwarnings("ignore:.*(cannot be read|moved to)")
def test_a_database_cut_anywhere_gives_true_records_or_none_and_can_be_written_to(
    log: bool, remains: Path, tmp_path: Path
) -> None:
    size = (remains / "records.db").stat().st_size
    for at in positions(size, 1777):
        folder = cut(remains, tmp_path, "records.db", at)
        if not log:
            (folder / ".d6tpipe" / "records.db-wal").unlink()
        store = SqliteRecords(folder)
        truth = {f"T_{n:03}": ("finished", b"db" if n < 300 else b"log") for n in range(312)}
        assert {(task, (stage, seal)) for task, (stage, _, seal) in store.load_hot().items()} <= set(truth.items())
        assert {(r.task_id, (r.stage, r.version.encode())) for r in store.all()} <= set(truth.items())
        store.building([("T", "T_new")], "run")
        store.write([Record("T_new", "T")])
        store.close()
        assert "finished" == store.load_hot()["T_new"][0]
        assert Record("T_new", "T") == store.get("T_new")
        store.close()
        shutil.rmtree(folder)


# -- many processes ----------------------------------------------------------------------------------------

WRITER = (
    BARE
    + """
from d6tpipe.records import Record
from d6tpipe.storage.sqlite_records import SqliteRecords

folder, number, network = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
store = SqliteRecords(folder, network=network)
print("ready", flush=True)
sys.stdin.readline()
for n in range(int(sys.argv[4])):
    task = f"T_{number}_{n}"
    store.building([("T", task), ("T", "T_shared")], number)
    store.write([Record(task, "T", run_id=number, members={number: "1"}), Record("T_shared", "T", run_id=number)])
    store.flush()
    assert "finished" == store.load_hot(["T"], run_id=number)[task][0]
    if n % 50 == 49:
        store.close()
store.close()
"""
)


def race(folder: Path, network: bool, writes: int) -> list[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error::UserWarning", "-c", WRITER, str(folder)]
    started = [
        subprocess.Popen(
            [*command, str(number), str(network), str(writes)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for process in started:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return started


@pytest.mark.parametrize(("network", "writes", "rounds"), [(False, 200, 2), (False, 2, 6), (True, 20, 1)])
def test_eight_processes_on_a_fresh_store_lose_nothing_and_are_never_locked_out(
    network: bool, writes: int, rounds: int, tmp_path: Path
) -> None:
    for turn in range(rounds):
        folder = tmp_path / str(turn)
        for process in race(folder, network, writes):
            _, said = process.communicate()
            assert (0, "") == (process.returncode, said)
        store = SqliteRecords(folder)
        found = store.load_hot()
        assert {f"T_{p}_{n}" for p in range(8) for n in range(writes)} | {"T_shared"} == set(found)
        assert {"finished"} == {stage for stage, _, _ in found.values()}
        assert all(record.run_id in record.members for record in store.all() if record.task_id != "T_shared")
        store.close()
        assert not {path.name for path in (folder / ".d6tpipe").iterdir()} & {"records.db-wal", "records.db-shm"}


def test_questions_are_answered_while_eight_processes_write(tmp_path: Path) -> None:
    started = race(tmp_path, False, 100)
    most = 0
    while any(process.poll() is None for process in started):
        question = SqliteRecords(tmp_path)  # a warning, such as "cannot be read", is an error here
        # The task that all of them build is announced again and again.
        count = len([task for task, hot in question.load_hot().items() if hot[0] == "finished" and task != "T_shared"])
        assert count >= most, "what was there is gone"
        most = count
        question.close()
    for process in started:
        _, said = process.communicate()
        assert (0, "") == (process.returncode, said)
    assert 801 == len(state(tmp_path))
