"""Records: what they look like as text, what is compared, and the file that holds them when things go wrong."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from d6tpipe import records as module
from d6tpipe.errors import PipeError, StorageError
from d6tpipe.records import SCHEMA, NewerRecordError, OutputRecord, Record, combined_digest, seal
from d6tpipe.storage import sqlite_files, sqlite_questions
from d6tpipe.storage.mounts import on_network
from d6tpipe.storage.sqlite_records import SqliteRecords

needs_posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="fork and file modes")


def record(task_id: str = "T_1", **changes: Any) -> Record:
    output = OutputRecord("data", f"/data/{task_id}.pkl", 3, 4, b"\1\2", "pickle")
    return Record(task_id, "T", outputs=[output], seal=b"seal", run_id="run", **changes)


def names(folder: Path) -> set[str]:
    found = folder / ".d6tpipe"
    return {path.name for path in found.iterdir()} if found.exists() else set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".d6tpipe" / "records.db"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[SqliteRecords]:
    """A store with one finished task, closed."""
    store = SqliteRecords(tmp_path)
    store.write([record()])
    store.close()
    yield store
    store.close()


# -- text and seals ----------------------------------------------------------------------------------------


def test_a_record_is_one_line_of_json_and_comes_back() -> None:
    before = record(members={"f": "1"}, parameters='{"a":"\ud800 \u2028"}')
    text = before.to_json()
    assert "\n" not in text and text.isascii()
    assert before == Record.from_json(text)
    assert SCHEMA == json.loads(text)["schema"]


def test_a_record_of_a_newer_schema_is_refused_with_what_to_do() -> None:
    found = record().to_dict() | {"schema": SCHEMA + 1}
    with pytest.raises(NewerRecordError, match=r"(?s)newer d6tpipe.*Upgrade") as caught:
        Record.from_dict(found)
    assert isinstance(caught.value, PipeError)


def test_older_records_are_migrated_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    old = record().to_dict()
    old["took"] = old.pop("seconds") + 9.0
    monkeypatch.setattr(module, "SCHEMA", SCHEMA + 2)
    monkeypatch.setitem(module.MIGRATIONS, SCHEMA, lambda o: {**o, "lasted": o["took"]})
    monkeypatch.setitem(module.MIGRATIONS, SCHEMA + 1, lambda o: {**o, "seconds": o["lasted"]})
    assert 9.0 == Record.from_dict(old).seconds


def test_fields_that_are_not_known_yet_or_not_written_yet_do_no_harm() -> None:
    found = record().to_dict()
    del found["git_commit"]
    assert "" == Record.from_dict({**found, "colour": "red"}).git_commit


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"schema":"x"}', '{"schema":1,"outputs":[[1]]}', '{"schema":1}']
)
def test_a_damaged_record_is_a_storage_error(text: str) -> None:
    with pytest.raises(StorageError, match="damaged"):
        Record.from_json(text)


def test_a_seal_changes_with_every_part_and_with_nothing_else() -> None:
    parts: tuple[Any, ...] = (b"code", [b"a" * 16, b"b" * 16], [(1, 2), (3, 4)])
    assert seal(*parts) == seal(b"code", iter(parts[1]), tuple(parts[2]))
    others = [
        seal(b"codE", *parts[1:]),
        seal(b"code", [b"b" * 16, b"a" * 16], parts[2]),
        seal(b"code", [b"a" * 16], parts[2]),
        seal(b"code", parts[1], [(1, 2), (3, 5)]),
        seal(b"code", parts[1], [(3, 4), (1, 2)]),
        seal(b"code" + b"a" * 16, [b"b" * 16], parts[2]),
        seal(b"code", [*parts[1], (1).to_bytes(8, "little") + (2).to_bytes(8, "little")], [(3, 4)]),
    ]
    assert len({seal(*parts), *others}) == len(others) + 1


def test_a_long_seal_is_hashed_and_still_tells_the_difference() -> None:
    many = [bytes([n % 256]) * 16 for n in range(1000)]
    assert 32 == len(seal(b"code", many, []))
    assert seal(b"code", many, []) != seal(b"code", [*many[:-1], b"x" * 16], [])


def test_equal_bytes_have_an_equal_digest_wherever_and_whenever_they_are_written() -> None:
    later = record(started=99.0, attempt=3)
    later.outputs = [OutputRecord("data", "/moved", 3, 5, b"\1\2", "pickle")]
    assert record().digest == later.digest
    assert 16 == len(later.digest)


def test_the_digest_changes_with_content_key_and_format() -> None:
    made = {combined_digest("A", [OutputRecord(*row)]) for row in [
        ("data", "", 1, 1, b"x", "csv"), ("data", "", 1, 1, b"y", "csv"),
        ("date", "", 1, 1, b"x", "csv"), ("data", "", 1, 1, b"x", "text"),
    ]}  # fmt: skip
    assert 4 == len(made)


def test_an_output_without_a_digest_counts_as_changed_when_built_again() -> None:
    def built(started: float) -> bytes:
        return Record("T_1", "T", outputs=[OutputRecord("data", "memory")], run_id="r", started=started).digest

    assert built(1.0) == built(1.0)
    assert built(1.0) != built(2.0)


# -- grouping ----------------------------------------------------------------------------------------------


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def seen(folder: Path) -> set[str]:
    """What another process would find."""
    other = SqliteRecords(folder)
    try:
        return set(other.load_hot())
    finally:
        other.close()


def test_writes_are_grouped_until_50_ms_have_passed(tmp_path: Path) -> None:
    clock = Clock()
    store = SqliteRecords(tmp_path, clock=clock)
    store.write([record("T_1")])  # nothing was written for long: at once
    assert {"T_1"} == seen(tmp_path)
    clock.now += 0.049
    store.write([record("T_2")])
    assert {"T_1"} == seen(tmp_path)
    clock.now += 0.002
    store.write([record("T_3")])
    assert {"T_1", "T_2", "T_3"} == seen(tmp_path)
    store.write([record("T_4")])
    store.flush()
    assert 4 == len(seen(tmp_path))
    store.close()


def test_an_announcement_carries_out_what_waits(tmp_path: Path) -> None:
    store = SqliteRecords(tmp_path, clock=Clock())
    store.write([record("T_1")])
    store.write([record("T_2")])
    store.building([("T", "T_3"), ("T", "T_4")], "run")
    assert {"T_1", "T_2", "T_3", "T_4"} == seen(tmp_path)
    store.close()


def test_a_clock_that_is_set_back_delays_nothing(tmp_path: Path) -> None:
    clock = Clock()
    store = SqliteRecords(tmp_path, clock=clock)
    store.write([record("T_1", started=2e9)])
    clock.now = 1.0
    store.write([record("T_1", started=1e9)])
    other = SqliteRecords(tmp_path)
    assert 1e9 == other.get("T_1").started  # type: ignore[union-attr]  # the last one written, not the latest time
    other.close()
    store.close()


def test_closing_removes_the_log(tmp_path: Path) -> None:
    store = SqliteRecords(tmp_path)
    store.write([record()])
    assert {"records.db", "records.db-wal", "records.db-shm", "records.db.lock"} == names(tmp_path)
    store.close()
    assert {"records.db", "records.db.lock"} == names(tmp_path)


# -- network file systems ----------------------------------------------------------------------------------

MOUNTS = r"""/dev/sda / ext4 rw 0 0
server:/x /home nfs4 rw 0 0
/dev/sdb /home/local ext4 rw 0 0
me@host: /mnt/my\040files fuse.sshfs rw 0 0
/dev/sdc /mnt/ntfs fuseblk rw 0 0
tmpfs /over tmpfs rw 0 0
//s/share /over cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("/data", False), ("/home/me", True), ("/homer", False), ("/home/local/x", False), ("/mnt/my files/a", True),
     ("/mnt/ntfs", False), ("/over/x", True)],
)  # fmt: skip
def test_network_file_systems_are_told_by_the_mount_that_is_seen(folder: str, expected: bool) -> None:
    assert expected == on_network(folder, MOUNTS)


def test_on_a_network_no_memory_is_mapped(tmp_path: Path) -> None:
    store = SqliteRecords(tmp_path, network=True)
    store.write([record()])
    assert {"T_1"} == seen(tmp_path)
    assert not {name for name in names(tmp_path) if name.endswith(("-wal", "-shm"))}
    store.close()


def test_a_folder_that_moves_to_a_network_and_back_changes_its_journal(tmp_path: Path, path: Path) -> None:
    for network in (False, True, False):
        store = SqliteRecords(tmp_path, network=network)
        store.write([record(f"T_{network}")])
        store.close()
        assert (path.read_bytes()[18] == 2) is not network
    assert {"T_True", "T_False"} == seen(tmp_path)


# -- questions ---------------------------------------------------------------------------------------------


def ask_everything(store: SqliteRecords) -> set[str]:
    """Every question there is; returns the task ids."""
    found = set(store.load_hot())
    assert found == set(store.load_hot(["T", "Other"])) == {each.task_id for each in store.all()}
    store.get("T_1")
    store.get_source("x")
    store.withdraw([("T", "T_9")], "run") if not found else None
    store.forget(["T_9"]) if not found else None
    store.flush()
    store.close()
    return found


def test_questions_create_nothing_where_nothing_is(tmp_path: Path) -> None:
    assert set() == ask_everything(SqliteRecords(tmp_path / "nowhere"))
    assert [] == list(tmp_path.iterdir())


def test_questions_about_a_database_at_rest_leave_no_trace(made: SqliteRecords, tmp_path: Path, path: Path) -> None:
    before = path.stat()
    assert {"T_1"} == ask_everything(SqliteRecords(tmp_path))
    assert {"records.db", "records.db.lock"} == names(tmp_path)
    assert before.st_mtime_ns == path.stat().st_mtime_ns


@pytest.mark.parametrize("size", [0, 32])
def test_a_log_without_content_that_a_kill_has_left_is_not_waited_for(
    made: SqliteRecords, tmp_path: Path, path: Path, size: int
) -> None:
    made.write([record("T_2")])
    made.flush()
    log, index = Path(f"{path}-wal").read_bytes()[:size], Path(f"{path}-shm").read_bytes()
    made.close()
    Path(f"{path}-wal").write_bytes(log)  # begun, and killed before the first page
    Path(f"{path}-shm").write_bytes(bytes(len(index)))
    question = sqlite_questions.open_question(str(path))
    assert question is not None and question.kind == "immutable"  # what SQLite can only find out by waiting, 10 s
    question.close()
    assert {"T_1", "T_2"} == ask_everything(SqliteRecords(tmp_path))
    made.write([record("T_3")])
    made.close()
    assert {"T_1", "T_2", "T_3"} == ask_everything(SqliteRecords(tmp_path))


def test_an_open_question_sees_what_is_written_later(made: SqliteRecords, tmp_path: Path) -> None:
    question = SqliteRecords(tmp_path)
    assert {"T_1"} == set(question.load_hot())
    for n in range(2, 5):
        made.write([record(f"T_{n}")])
        made.flush()
        assert n == len(question.load_hot())
        if n % 2:
            made.close()
            assert n == len(question.load_hot())
    question.close()


def test_a_database_written_to_while_it_is_read_is_read_again(
    made: SqliteRecords, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question, calls = SqliteRecords(tmp_path), []

    def interfering(self: Any) -> bool:
        calls.append(1)
        if len(calls) == 1:
            made.write([record("T_2")])
            made.close()
        return current(self)

    current = sqlite_questions.Question.current
    monkeypatch.setattr(sqlite_questions.Question, "current", interfering)
    assert {"T_1", "T_2"} == set(question.load_hot())
    question.close()


@pytest.mark.parametrize("network", [False, True])
def test_a_log_without_its_index_is_recovered_in_memory(tmp_path: Path, path: Path, network: bool) -> None:
    """What a reboot in the middle of a run leaves, or a copy of the folder."""
    store = SqliteRecords(tmp_path, network=network)
    store.write([record("T_1")])
    store.building([("T", "T_2")], "run")
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / ".d6tpipe", copy / ".d6tpipe", ignore=shutil.ignore_patterns("*-shm"))
    store.close()
    before = names(copy)
    assert {"T_1", "T_2"} == ask_everything(SqliteRecords(copy))
    assert before == names(copy)


def as_ordinary_user(work: Callable[[], Any]) -> Any:
    """Return what `work` returns (JSON) in a child process that is not root."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            answer = json.dumps(work())
        except BaseException as error:  # noqa: BLE001  (reported; nothing of pytest may run in the child)
            answer = json.dumps(f"{type(error).__name__}: {error}")
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return json.loads(text)


@needs_posix
@pytest.mark.parametrize("state", ["at rest", "being written", "killed", "killed, no index", "network"])
def test_questions_are_answered_in_a_read_only_folder_for_an_ordinary_user(state: str) -> None:
    root = Path(tempfile.mkdtemp())  # tmp_path is below a folder that only its owner may enter
    try:
        store = SqliteRecords(root, network=state == "network")
        store.write([record("T_1"), record("T_2")])
        if state in ("at rest", "network"):
            store.close()
        elif state.startswith("killed"):
            shutil.copytree(root / ".d6tpipe", root / "copy")
            store.close()
            shutil.rmtree(root / ".d6tpipe")
            os.rename(root / "copy", root / ".d6tpipe")
            if state.endswith("no index"):
                os.unlink(root / ".d6tpipe" / "records.db-shm")
        before = names(root)
        for path in (root / ".d6tpipe").iterdir():
            path.chmod(0o444)
        for folder in (root / ".d6tpipe", root):
            folder.chmod(0o555)

        def questions() -> Any:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = ask_everything(SqliteRecords(root))
            return [sorted(found), [str(warning.message) for warning in caught]]

        if state == "being written":
            # Forking closes the parent's connection: open it again before the child looks.
            with sqlite3.connect(root / ".d6tpipe" / "records.db") as held:
                held.execute("SELECT count(*) FROM hot").fetchone()
                assert [["T_1", "T_2"], []] == as_ordinary_user(questions)
            held.close()
        else:
            assert [["T_1", "T_2"], []] == as_ordinary_user(questions)
            assert before == names(root)
        store.close()
    finally:
        root.chmod(0o755)
        (root / ".d6tpipe").chmod(0o755)
        shutil.rmtree(root)


@needs_posix
def test_a_run_in_a_read_only_folder_warns_once_and_goes_on() -> None:
    root = Path(tempfile.mkdtemp())
    try:
        root.chmod(0o555)

        def run() -> Any:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                store = SqliteRecords(root)
                store.building([("T", "T_1")], "run")
                store.write([record("T_1")])
                store.flush()
                store.write([record("T_2")])
                store.flush()
                found = [warning.category.__name__ for warning in caught]
            return [found, str(caught[0].message), sorted(store.load_hot())]

        kinds, text, found = as_ordinary_user(run)
        assert (["UserWarning"], []) == (kinds, found)
        assert "cannot be written" in text and "outputs are saved" in text
        assert set() == names(root)
    finally:
        root.chmod(0o755)
        shutil.rmtree(root)


def test_an_unreadable_place_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".d6tpipe").write_text("a file where a folder should be")
    store = SqliteRecords(tmp_path)
    assert {} == store.load_hot()
    with pytest.warns(UserWarning, match="cannot be written"):
        store.write([record()])
        store.flush()


# -- damage ------------------------------------------------------------------------------------------------


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes(title)")
    connection.close()


def without_a_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE hot")
    connection.close()


def no_text(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE hot SET task_id = CAST(x'ff00fe' AS TEXT)")
    connection.close()


def torn(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xaa" * 4096
    path.write_bytes(content)


DAMAGE: list[Callable[[Path], Any]] = [
    lambda path: path.write_bytes(b"nonsense " * 1000),
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[:5000]),
    lambda path: path.write_bytes(path.read_bytes()[:8192]),
    lambda path: path.write_bytes(path.read_bytes()[:50]),
    foreign,
    without_a_table,
    torn,
    no_text,
]
DAMAGE_NAMES = ["nonsense", "empty", "torn end", "half", "50 bytes", "foreign", "no table", "torn page", "no text"]


@pytest.mark.parametrize("damage", DAMAGE, ids=DAMAGE_NAMES)
def test_a_question_to_a_damaged_database_warns_and_changes_nothing(
    damage: Callable[[Path], Any], made: SqliteRecords, tmp_path: Path, path: Path
) -> None:
    damage(path)
    content = path.read_bytes()
    question = SqliteRecords(tmp_path)
    with pytest.warns(UserWarning, match="cannot be read") as caught:
        assert {} == question.load_hot()
        assert {} == question.load_hot()
    assert 1 == len(caught)
    question.close()
    assert content == path.read_bytes()
    assert {"records.db", "records.db.lock"} == names(tmp_path)


@pytest.mark.parametrize("damage", DAMAGE, ids=DAMAGE_NAMES)
@pytest.mark.parametrize("looked", [True, False], ids=["looked first", "blind"])
def test_the_next_writer_moves_a_damaged_database_aside_and_goes_on(
    damage: Callable[[Path], Any], looked: bool, made: SqliteRecords, tmp_path: Path, path: Path
) -> None:
    damage(path)
    store = SqliteRecords(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if looked:
            store.load_hot()
        store.building([("T", "T_2")], "run")
        store.write([record("T_2")])
        store.close()
        store = SqliteRecords(tmp_path)
        found = store.load_hot()
        store.close()
    texts = [str(warning.message) for warning in caught]
    blind = not looked and damage in (no_text, torn)  # writing did not touch what is damaged: the next run finds it
    if not blind:
        assert {"T_2"} == set(found)
        assert 1 == sum("moved to" in text for text in texts)
        assert [name for name in names(tmp_path) if name.startswith("records.db.corrupt-")]
        assert len(texts) == 1 + looked, texts


def test_one_damaged_row_costs_one_record(made: SqliteRecords, tmp_path: Path, path: Path) -> None:
    made.write([record("T_2"), record("T_3")])
    made.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE hot SET stage = 77 WHERE task_id = 'T_2'")
        connection.execute("UPDATE records SET own = '{' WHERE id = (SELECT record FROM hot WHERE task_id = 'T_3')")
    connection.close()
    assert {"T_1", "T_3"} == set(made.load_hot())
    with pytest.warns(UserWarning, match="T_3.*damaged"):
        assert made.get("T_3") is None
    made.close()
    with pytest.warns(UserWarning, match=r"damaged"):
        assert ["T_1"] == [each.task_id for each in made.all()]


def test_a_database_deleted_while_in_use_is_made_again(tmp_path: Path) -> None:
    store = SqliteRecords(tmp_path)
    store.write([record("T_1")])
    store.flush()
    shutil.rmtree(tmp_path / ".d6tpipe")
    assert {} == store.load_hot()
    store.building([("T", "T_2")], "run")
    store.write([record("T_2", members={"f": "1"})])
    store.close()
    store = SqliteRecords(tmp_path)
    assert record("T_2", members={"f": "1"}) == store.get("T_2")
    store.close()


def test_a_log_whose_database_was_deleted_is_not_played_into_the_next(tmp_path: Path, path: Path) -> None:
    store = SqliteRecords(tmp_path)
    store.write([record("T_1")])
    shutil.copytree(path.parent, tmp_path / "copy")
    store.close()
    shutil.rmtree(path.parent)
    os.rename(tmp_path / "copy", path.parent)
    path.unlink()
    store.write([record("T_2")])
    store.close()
    assert {"T_2"} == seen(tmp_path)


# -- schemas -----------------------------------------------------------------------------------------------


def test_a_newer_database_is_neither_read_nor_written(made: SqliteRecords, tmp_path: Path, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = '99'")
    connection.close()
    content = path.read_bytes()
    store = SqliteRecords(tmp_path)
    with pytest.warns(UserWarning, match="(?s)newer d6tpipe.*99.*Upgrade") as caught:
        store.building([("T", "T_2")], "run")
        store.write([record("T_2")])
        store.flush()
        assert {} == store.load_hot()
        assert store.get("T_1") is None
        store.forget(["T_1"])
        store.close()
    assert 1 == len(caught)
    with pytest.warns(UserWarning, match="newer"):
        assert {} == SqliteRecords(tmp_path).load_hot()
    assert content == path.read_bytes()
    assert {"records.db", "records.db.lock"} == names(tmp_path)


def test_an_older_database_is_migrated_by_writers_and_read_through_a_copy(
    made: SqliteRecords, tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (module, sqlite_files, sqlite_questions):
        monkeypatch.setattr(place, "SCHEMA", SCHEMA + 1)
    monkeypatch.setitem(sqlite_files.MIGRATIONS, SCHEMA, "UPDATE hot SET seal = x'01';")
    before = path.read_bytes()
    question = SqliteRecords(tmp_path)
    assert b"\1" == question.load_hot()["T_1"][2]
    question.close()
    assert before == path.read_bytes()
    made.building([("T", "T_2")], "run")
    made.close()
    with sqlite3.connect(path) as connection:
        assert ("2",) == connection.execute("SELECT value FROM meta").fetchone()
        assert (b"\1",) == connection.execute("SELECT seal FROM hot").fetchone()
    connection.close()


# -- threads and forks -------------------------------------------------------------------------------------


def test_threads_may_share_one_store(tmp_path: Path) -> None:
    store = SqliteRecords(tmp_path)

    def work(number: int) -> None:
        for n in range(50):
            store.write([record(f"T_{number}_{n}")])
            store.load_hot(["T"])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 200 == len(store.load_hot())
    store.close()


@needs_posix
@pytest.mark.parametrize("network", [False, True])
def test_parent_and_child_of_a_fork_both_go_on(tmp_path: Path, network: bool) -> None:
    store = SqliteRecords(tmp_path, network=network, clock=Clock())
    store.write([record("T_1")])
    store.write([record("T_waiting")])
    pid = os.fork()
    if pid == 0:
        try:
            waits = len(store._rows)
            for n in range(20):
                store.building([("T", f"T_child_{n}")], "child")
                store.write([record(f"T_child_{n}")])
            store.close()
            os._exit(waits)
        except BaseException:  # noqa: BLE001  (reported)
            os._exit(99)
    for n in range(20):
        store.building([("T", f"T_parent_{n}")], "parent")
        store.write([record(f"T_parent_{n}")])
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    store.flush()
    found = store.load_hot()
    assert 42 == len(found)
    assert {"finished"} == {stage for stage, _, _ in found.values()}
    store.close()
    assert {"records.db", "records.db.lock"} == names(tmp_path) - {"records.db-journal"}


def test_a_process_made_behind_pythons_back_does_not_touch_the_parents_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from d6tpipe.storage import sqlite_store

    store = SqliteRecords(tmp_path)
    store.write([record("T_1")])
    inherited = store._writer
    store._pid -= 1
    store.write([record("T_2")])
    assert store._writer is not inherited and inherited in sqlite_store._graveyard
    assert {"T_1", "T_2"} == set(store.load_hot())
    store.close()
    sqlite_store._graveyard.clear()
    assert inherited is not None
    inherited.close()


@needs_posix
def test_a_full_disk_costs_a_warning_and_what_waits_is_written_when_there_is_room(
    run_python: Callable[..., Any], tmp_path: Path
) -> None:
    code = f"""
import resource, signal, warnings
from d6tpipe.records import Record
from d6tpipe.storage.sqlite_records import SqliteRecords
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SqliteRecords({str(tmp_path)!r})
store.write([Record("T_0", "T")])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for n in range(600):
        store.building([("T", f"T_{{n}}")], "run")
        store.write([Record(f"T_{{n}}", "T", parameters="x" * 500)])
    store.flush()
print(len(caught), "cannot be written" in str(caught[0].message))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.flush()
print(sum(hot[0] == "finished" for hot in store.load_hot().values()))
store.close()
"""
    assert ["1", "True", "600"] == run_python("-c", code).stdout.split()


def test_text_that_cannot_be_stored_is_dropped_and_does_not_block_the_rest(tmp_path: Path) -> None:
    store = SqliteRecords(tmp_path)
    with pytest.warns(UserWarning, match="cannot be written"):
        store.write([Record("T_\ud800", "T")])
    store.write([record("T_1")])
    store.flush()
    assert {"T_1"} == set(store.load_hot())
    store.close()


def test_warnings_made_errors_leave_the_store_usable(tmp_path: Path, made: SqliteRecords, path: Path) -> None:
    path.write_bytes(b"nonsense" * 100)
    with pytest.raises(UserWarning, match="cannot be read"):  # the test suite turns warnings into errors
        made.load_hot()
    with pytest.raises(UserWarning, match="moved to"):
        made.building([("T", "T_2")], "run")
    assert {"T_2"} == set(made.load_hot())


def test_fail_points_do_nothing_unless_asked_for() -> None:
    from d6tpipe import failpoints

    assert failpoints.fail_point is failpoints._pass
    assert "sqlite3" in sys.modules
