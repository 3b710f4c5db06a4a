"""Locks within one process, and between it and the children it forks; many processes are in tests/crash."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from d6tpipe.storage import locks as module
from d6tpipe.storage.locks import Locks, locks_for

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="asks another process")


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Fail where something hangs."""

    def hangs(*anything: object) -> None:
        raise TimeoutError("it hangs")

    if not hasattr(signal, "alarm"):
        yield
        return
    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(40)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Give a data folder whose locks nobody has used, and forget them afterwards."""
    before = dict(module._known)
    yield tmp_path / "data"
    module._known.clear()
    module._known.update(before)


@pytest.fixture
def locks(root: Path) -> Iterator[Locks]:
    found = locks_for(str(root))
    yield found
    found.release(list(found._held))


@pytest.fixture
def always_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every use look whether the file is still the one at the path."""
    monkeypatch.setattr(module, "SECOND_LOOK", 0.0)


def in_child(work: Callable[[], Any], ordinary: bool = False) -> Any:
    """Return what `work` returns (JSON) in a forked child; `ordinary`: one that permissions stop."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(20)  # a child that hangs must not hang the tests
            if ordinary and os.geteuid() == 0:
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
    return json.loads(text or '"it hung"')


def elsewhere(locks: Locks, *keys: str) -> list[bool]:
    """Return which of `keys` another process can get."""
    found: list[bool] = in_child(lambda: [locks.acquire(key) for key in keys])
    return found


def in_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join(20)
    return found[0]


class Refusing:
    """A `lockf` that fails, after some successes."""

    def __init__(self, number: int, successes: int = 0) -> None:
        self.number, self.successes, self.real = number, successes, module.lockf

    def __call__(self, descriptor: int, command: int, *where: int) -> Any:
        if command != module.LOCK_UN:
            self.successes -= 1
            if self.successes < 0:
                raise OSError(self.number, os.strerror(self.number))
        return self.real(descriptor, command, *where)


# -- one process -------------------------------------------------------------------------------------------


def test_a_key_is_held_once_until_it_is_released(locks: Locks) -> None:
    assert locks.acquire("a")
    assert not locks.acquire("a")
    assert locks.acquire("b")
    assert (True, True, False) == (locks.holds("a"), locks.holds("b"), locks.holds("c"))
    locks.release(["a", "b"])
    assert (False, False) == (locks.holds("a"), locks.holds("b"))
    assert locks.acquire("a")


def test_another_thread_does_not_get_what_is_held(locks: Locks) -> None:
    assert locks.acquire("a")
    assert [False, True] == in_thread(lambda: [locks.acquire("a"), locks.acquire("b")])
    assert locks.holds("b")
    locks.release(["b"])  # by another thread than the one that acquired
    assert in_thread(lambda: locks.acquire("b"))


def test_of_many_threads_one_at_a_time_holds_a_key(locks: Locks, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.lockf

    def yielding(*arguments: int) -> None:
        time.sleep(0)  # lets another thread run, as a slow system call does
        real(*arguments)
        time.sleep(0)

    monkeypatch.setattr(module, "lockf", yielding)
    inside: list[int] = []
    most: list[int] = []
    barrier = threading.Barrier(6)

    def work() -> None:
        barrier.wait()
        for n in range(300):
            key = str(n % 3)
            if locks.acquire(key):
                inside.append(n % 3)
                time.sleep(0)
                most.append(inside.count(n % 3))
                inside.remove(n % 3)
                locks.release([key])
            else:
                locks.wait([key])

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert 1 == max(most)
    assert not locks._held and not locks._bytes


def test_release_passes_over_what_is_not_held(locks: Locks) -> None:
    locks.acquire("a")
    locks.release(["b", "a", "a"])
    assert not locks.holds("a")
    locks.release([])


def test_one_instance_for_a_folder_however_it_is_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir()
    link = root.parent / "link"
    link.symlink_to(root)
    monkeypatch.chdir(root.parent)
    first = locks_for(str(root))
    for same in ("data", "./data/", "link", f"{root}/../data", str(link)):
        assert first is locks_for(same)
    assert first is not locks_for("other")


def test_instances_are_made_under_a_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that open a folder at the same moment must get one table."""
    seen = []

    class Watched(Locks):
        def __init__(self, path: str) -> None:
            seen.append(module._guard.locked())
            super().__init__(path)

    monkeypatch.setattr(module, "Locks", Watched)
    assert locks_for(str(root)) is locks_for(str(root))
    assert [True] == seen


def test_every_process_takes_the_same_byte_for_a_key() -> None:
    assert 394555785373735880 == module._offset("Task_1")
    found = {module._offset(f"Task_{n}") for n in range(2000)}
    assert 2000 == len(found)
    assert max(found) < 2**62 and max(found) > 2**61
    assert module._offset("\ud800") != module._offset("é\0")  # whatever a parameter holds can be locked


def test_the_file_stays_empty(locks: Locks, root: Path) -> None:
    assert [] == list(root.parent.iterdir())
    for n in range(50):
        locks.acquire(str(n))
    locks.release(map(str, range(50)))
    assert ["locks"] == [path.name for path in (root / ".d6tpipe").iterdir()]
    assert 0 == (root / ".d6tpipe" / "locks").stat().st_size


@needs_fork
def test_keys_of_one_hash_exclude_each_other_and_do_not_free_each_other(
    locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_offset", lambda key: 7)
    assert locks.acquire("a")
    assert not locks.acquire("b")
    assert not locks.holds("b")
    locks.release(["b"])
    assert [False, False] == elsewhere(locks, "a", "b")
    locks.release(["a"])
    assert locks.acquire("b")


@needs_fork
def test_ctrl_c_while_a_key_is_granted_leaves_nothing_held(locks: Locks, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.lockf

    def interrupted(descriptor: int, command: int, *where: int) -> None:
        real(descriptor, command, *where)
        if command != module.LOCK_UN:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "lockf", interrupted)
    with pytest.raises(KeyboardInterrupt):
        locks.acquire("a")
    monkeypatch.setattr(module, "lockf", real)
    assert not locks.holds("a")
    assert [True] == elsewhere(locks, "a")
    assert locks.acquire("a")


# -- waiting -----------------------------------------------------------------------------------------------


def when_waiting(locks: Locks, *steps: Callable[[], Any]) -> threading.Thread:
    """Start a thread that does one of `steps` each time that somebody has begun to wait."""
    begun = threading.Semaphore(0)
    real = locks._freed.wait

    def wait(timeout: float | None = None) -> bool:
        begun.release()
        return real(timeout)

    def work() -> None:
        for step in steps:
            assert begun.acquire(timeout=20)
            step()

    locks._freed.wait = wait  # type: ignore[method-assign]
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_wait_ends_when_one_of_the_keys_is_released_here(locks: Locks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_WAIT", 5.0)
    for key in "abc":
        locks.acquire(key)
    thread = when_waiting(locks, lambda: locks.release(["b"]))
    start = time.monotonic()
    locks.wait(["a", "b"])
    assert time.monotonic() - start < 4, "it was not told, it looked"
    thread.join()
    assert locks.acquire("b")


def test_wait_goes_on_while_other_keys_are_released(locks: Locks) -> None:
    locks.acquire("a")
    locks.acquire("b")
    done: list[str] = []

    def step(key: str) -> None:
        done.append(key)
        locks.release([key])

    thread = when_waiting(locks, lambda: step("b"), lambda: step("a"))
    locks.wait(["a"])
    assert ["b", "a"] == done
    thread.join()


def test_wait_returns_at_once_for_what_is_free_and_for_nothing(locks: Locks, root: Path) -> None:
    locks.wait([])
    locks.wait(["a"])
    assert not root.exists()
    locks.acquire("a")
    locks.wait(["a", "b"])
    locks.wait([])


def test_wait_ends_after_the_timeout(locks: Locks) -> None:
    locks.acquire("a")
    locks.wait(["a"], timeout=0.01)
    locks.wait(["a"], timeout=0)
    assert not locks._waiting


@pytest.mark.parametrize("mine", [True, False], ids=["here", "in another process"])
@needs_fork
def test_ctrl_c_ends_a_wait(mine: bool, locks: Locks, monkeypatch: pytest.MonkeyPatch) -> None:
    if mine:
        locks.acquire("a")
    else:
        monkeypatch.setattr(Locks, "_owner", lambda self, offset: 1)
    me = threading.get_ident()
    thread = when_waiting(locks, lambda: signal.pthread_kill(me, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        locks.wait(["a"])
    thread.join()
    assert not locks._waiting
    assert in_thread(lambda: locks.acquire("b"))  # the mutex is free


# -- other processes ---------------------------------------------------------------------------------------


@needs_fork
def test_another_process_gets_what_is_free_and_learns_who_holds_the_rest(locks: Locks) -> None:
    locks.acquire("a")
    assert [False, True] == elsewhere(locks, "a", "b")
    assert [os.getpid(), None] == in_child(lambda: [locks.holder("a"), locks.holder("b")])
    assert (os.getpid(), None) == (locks.holder("a"), locks.holder("b"))
    locks.release(["a"])
    assert [True] == elsewhere(locks, "a")
    assert locks.holder("a") is None


@needs_fork
def test_a_fork_inherits_nothing_and_takes_nothing_from_its_parent(locks: Locks) -> None:
    locks.acquire("a")

    def child() -> Any:
        found = [locks.holds("a"), locks.acquire("a"), locks.acquire("b"), locks.holds("b")]
        locks.release(["a", "b"])
        os.close(locks._descriptor)  # drops the locks of the process that closes it, and of no other
        return found

    assert [False, False, True, True] == in_child(child)
    assert locks.holds("a")
    assert [False, True] == elsewhere(locks, "a", "b")
    locks.release(["a"])
    assert [True] == elsewhere(locks, "a")


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_while_a_thread_is_inside_does_not_hang(locks: Locks) -> None:
    entered, leave = threading.Event(), threading.Event()

    def work() -> None:
        with locks._mutex, module._guard:
            entered.set()
            leave.wait(20)

    thread = threading.Thread(target=work)
    thread.start()
    entered.wait(20)
    try:
        assert [True, True] == in_child(lambda: [locks.acquire("a"), locks_for("elsewhere").acquire("a")])
    finally:
        leave.set()
        thread.join()


@needs_fork
@pytest.mark.usefixtures("always_looking")
def test_descriptors_closed_by_a_daemon_are_opened_again(locks: Locks) -> None:
    locks.acquire("a")

    def daemon() -> bool:
        os.close(locks._descriptor)
        return locks.acquire("b") and not locks.acquire("a")

    assert True is in_child(daemon)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_busy_is_said_in_two_ways_by_different_systems(
    number: int, locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "lockf", Refusing(number))
        assert not locks.acquire("a")  # a warning would be an error here
    assert locks.acquire("a")


# -- questions ---------------------------------------------------------------------------------------------


def test_a_question_makes_no_file_and_no_folder(locks: Locks, root: Path) -> None:
    for _ in range(2):
        assert locks.holder("a") is None
        assert not locks.holds("a")
        locks.wait(["a"])
    root.mkdir()
    assert locks.holder("a") is None
    assert [] == list(root.iterdir())
    assert locks.acquire("a")  # and is no obstacle to what comes later


@needs_fork
def test_questions_are_answered_in_a_read_only_folder_for_an_ordinary_user() -> None:
    top = Path(tempfile.mkdtemp())  # tmp_path is below a folder that only its owner may enter
    try:
        locks = locks_for(str(top))
        locks.acquire("a")
        file = top / ".d6tpipe" / "locks"
        file.chmod(0o444)
        for folder in (top / ".d6tpipe", top):
            folder.chmod(0o555)
        before = file.stat()

        def ask() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                fresh = Locks(locks.path)
                return [fresh.holder("a"), fresh.holder("b"), fresh.holds("a")]

        assert [os.getpid(), None, False] == in_child(ask, ordinary=True)
        after = file.stat()
        assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
        locks.release(["a"])
    finally:
        for folder in (top, top / ".d6tpipe"):
            folder.chmod(0o755)
        shutil.rmtree(top)


@needs_fork
def test_who_could_only_ask_can_lock_as_soon_as_it_may() -> None:
    top = Path(tempfile.mkdtemp())
    file = top / "locks"

    def work() -> Any:
        file.touch()
        file.chmod(0o444)
        locks = Locks(str(file))
        assert locks.holder("a") is None and locks._descriptor >= 0
        file.chmod(0o644)
        return [locks.acquire("a")]

    try:
        top.chmod(0o777)
        assert [True] == in_child(work, ordinary=True)
    finally:
        shutil.rmtree(top)


@needs_fork
def test_an_answer_of_another_host_is_no_process_id_of_this_one() -> None:
    question = list(module._FLOCK.unpack(module._question(7)))
    question[2 if module._BSD else 4] = -4711
    assert 0 == module._owner_in(module._FLOCK.pack(*question))


# -- where locking is impossible ---------------------------------------------------------------------------


@needs_fork
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EIO])
def test_a_file_system_without_locks_warns_once_and_locks_threads(
    number: int, locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "lockf", Refusing(number))
    with pytest.warns(UserWarning) as caught:
        assert locks.acquire("a")
        assert locks.acquire("b")
        assert not locks.acquire("a")
        assert not in_thread(lambda: locks.acquire("b"))
        locks.wait(["a", "c"])
        locks.wait(["a"], timeout=0.001)
        assert (os.getpid(), None) == (locks.holder("a"), locks.holder("c"))
        locks.release(["a"])
        assert locks.acquire("a")
    (text,) = [str(warning.message) for warning in caught]
    assert str(locks.path) in text
    assert os.strerror(number) in text
    assert "two processes that run at the same time may do the same work twice" in text
    assert __file__ == caught[0].filename


@needs_fork
def test_what_was_locked_before_locking_failed_stays_so_until_it_is_released(
    locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks.acquire("a")
    with monkeypatch.context() as patch:
        patch.setattr(module, "lockf", Refusing(errno.ENOLCK))
        with pytest.warns(UserWarning, match="cannot be locked"):
            assert locks.acquire("b")
        assert [False] == in_child(lambda: [locks.holder("a") is None])
        locks.release(["a", "b"])
    assert locks.holder("a") is None
    assert [None] == in_child(lambda: [locks.holder("a")])


@pytest.mark.parametrize("obstacle", ["no fcntl", "a file where the folder should be"])
def test_other_obstacles_warn_once_too(
    obstacle: str, locks: Locks, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if obstacle == "no fcntl":
        monkeypatch.setattr(module, "_CAN_LOCK", False)
    else:
        root.write_text("")
    with pytest.warns(UserWarning, match="cannot be locked") as caught:
        assert locks.acquire("a") and locks.acquire("b") and not locks.acquire("a")
    assert 1 == len(caught)
    assert locks.holder("c") is None


@needs_fork
def test_who_cannot_lock_does_not_wait_for_those_who_can(locks: Locks, monkeypatch: pytest.MonkeyPatch) -> None:
    locks.acquire("a")

    def child() -> Any:
        monkeypatch.setattr(module, "lockf", Refusing(errno.ENOLCK))
        with pytest.warns(UserWarning, match="cannot be locked"):
            locks.acquire("b")
        locks._freed.wait = None  # type: ignore[method-assign, assignment]  # an exception, if it is called
        locks.wait(["a"])
        return [locks.acquire("a")]

    assert [True] == in_child(child)


@needs_fork
def test_a_read_only_folder_warns_once_and_locks_threads() -> None:
    top = Path(tempfile.mkdtemp())
    try:
        top.chmod(0o555)

        def run() -> Any:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                locks = Locks(str(top / ".d6tpipe" / "locks"))
                found = [locks.acquire("a"), locks.acquire("b"), locks.acquire("a")]
                return [found, [str(warning.message) for warning in caught]]

        found, said = in_child(run, ordinary=True)
        assert [True, True, False] == found
        assert 1 == len(said) and "Permission denied" in said[0]
        assert [] == list(top.iterdir())
    finally:
        top.chmod(0o755)
        shutil.rmtree(top)


def test_a_warning_made_an_error_leaves_nothing_held(locks: Locks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "lockf", Refusing(errno.ENOLCK))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            locks.acquire("a")
        assert not locks.holds("a")
        assert locks.acquire("a")


@needs_fork
def test_a_lock_that_cannot_be_given_back_is_reported_and_no_longer_held_here(
    locks: Locks, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks.acquire("a")
    locks.acquire("b")

    def refusing(*anything: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(module, "lockf", refusing)
    with pytest.warns(UserWarning, match="broken") as caught:
        locks.release(["a", "b"])
    assert 1 == len(caught)
    assert not locks.holds("a") and not locks.holds("b")
    assert locks.acquire("a")


# -- a file that is deleted or moved -----------------------------------------------------------------------


@needs_fork
@pytest.mark.usefixtures("always_looking")
@pytest.mark.parametrize("how", ["folder deleted", "folder moved", "file replaced"])
def test_a_new_file_is_used_when_the_old_one_is_gone(how: str, locks: Locks, root: Path) -> None:
    locks.acquire("a")
    locks.release(["a"])
    old = locks._descriptor
    file = root / ".d6tpipe" / "locks"
    if how == "folder deleted":
        shutil.rmtree(root)
    elif how == "folder moved":
        root.rename(root.parent / "old")
    else:
        file.with_name("new").touch()
        file.with_name("new").replace(file)
    assert locks.acquire("b")
    assert file.exists()
    assert [False, True] == in_child(lambda: [(fresh := Locks(locks.path)).acquire("b"), fresh.acquire("c")])
    os.fstat(old)  # raises if it is closed: that would free what others of this process hold on that file
    assert old != locks._descriptor


@needs_fork
@pytest.mark.usefixtures("always_looking")
def test_what_is_held_stays_on_the_file_it_was_locked_in(locks: Locks, root: Path) -> None:
    locks.acquire("a")
    shutil.rmtree(root)
    assert locks.acquire("b")
    assert not root.exists()
    old = locks._descriptor

    def owners() -> list[int | None]:
        questions = [module._question(module._offset(key)) for key in "ab"]
        return [module._owner_in(module.fcntl(old, module.F_GETLK, question)) for question in questions]

    assert [os.getpid()] * 2 == in_child(owners)
    locks.release(["a", "b"])
    assert [None, None] == in_child(owners)
    assert locks.acquire("a")
    assert (root / ".d6tpipe" / "locks").exists()


@needs_fork
@pytest.mark.usefixtures("always_looking")
def test_a_question_looks_at_the_new_file(locks: Locks, root: Path) -> None:
    locks.acquire("a")
    asking = Locks(locks.path)
    assert True is in_child(lambda: asking.holder("a") is not None)
    locks.release(["a"])
    shutil.rmtree(root)
    assert locks.holder("a") is None
    assert not root.exists()


def test_the_path_is_looked_at_now_and_then_only(locks: Locks, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(module, "time", type("Clock", (), {"monotonic": staticmethod(lambda: clock[0])}))
    locks.acquire("a")
    locks.release(["a"])
    shutil.rmtree(root)
    clock[0] += module.SECOND_LOOK * 0.9
    locks.acquire("a")
    locks.release(["a"])
    assert not root.exists()
    clock[0] += module.SECOND_LOOK * 0.2
    locks.acquire("a")
    assert root.exists()


@needs_fork
def test_a_task_is_not_free_while_the_body_runs_elsewhere_though_who_lent_it_was_killed(locks: Locks) -> None:
    ready, report = os.pipe()
    go, start = os.pipe()
    coordinator = os.fork()
    if coordinator == 0:
        theirs = Locks(locks.path)
        theirs.acquire("a")
        theirs.lend("a")
        worker = os.fork()
        if worker == 0:
            with Locks(locks.path).borrow("a"):
                os.write(report, str(os.getpid()).encode() + b"\n")
                os.close(start)
                os.read(go, 1)  # the body
            os._exit(0)
        signal.pause()
    os.close(go)
    worker = int(os.read(ready, 20))
    os.kill(coordinator, signal.SIGKILL)
    os.waitpid(coordinator, 0)
    assert not locks.acquire("a")
    assert locks.holder("a") == worker
    os.close(start)
    locks.wait(["a"])
    assert locks.acquire("a")
    assert locks.holder("a") == os.getpid()


@needs_fork
def test_what_is_lent_is_still_held_for_others(locks: Locks) -> None:
    locks.acquire("a")
    locks.lend("a")
    assert in_child(lambda: Locks(locks.path).acquire("a")) is False
    locks.release(["a"])
    assert in_child(lambda: Locks(locks.path).acquire("a")) is True
