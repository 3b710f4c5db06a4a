"""Tokens: so many processes at a time, whatever becomes of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import d6tpipe as dp
from d6tpipe.errors import ParameterError

HOLDER = """
import sys
import d6tpipe as dp
dp.set_dir(sys.argv[1])
with dp.Token("db", 2, scope="folder").take(int(sys.argv[2])):
    print("in", flush=True)
    sys.stdin.readline()
"""


def holder(folder: Path, number: int = 1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def is_in(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() == "in\n"


def has_entered(token: dp.Token) -> threading.Event:
    """Return what is set once a thread has got in; it leaves again at once."""
    found = threading.Event()

    def enter() -> None:
        with token:
            found.set()

    threading.Thread(target=enter, daemon=True).start()
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dp.set_dir(tmp_path)
    return tmp_path


def test_a_place_is_free_again_when_its_process_was_killed(folder: Path) -> None:
    both = [holder(folder), holder(folder)]
    assert all(map(is_in, both))
    entered = has_entered(dp.Token("db", 2, scope="folder"))
    assert not entered.wait(0.3)
    both[0].kill()
    assert entered.wait(30)
    for each in both:
        each.kill()
        each.communicate()


def test_several_places_are_taken_together_or_not_at_all(folder: Path) -> None:
    one = holder(folder)
    assert is_in(one)
    entered = has_entered(dp.Token("db", 2, scope="folder").take(2))
    assert not entered.wait(0.3)
    with dp.Token("db", 2, scope="folder"):  # the other place is not kept by who waits for two
        pass
    one.communicate("\n")
    assert entered.wait(30)


def test_threads_of_one_process_share_the_places_too() -> None:
    token = dp.Token(f"threads {os.getpid()}", 1)
    with token:
        entered = has_entered(dp.Token(f"threads {os.getpid()}", 1))
        assert not entered.wait(0.2)
    assert entered.wait(30)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("",), "needs a name"), (("db", 0), "1 or more"), (("db", True), "1 or more"), (("db", 1, "world"), "two words")],
)
def test_what_cannot_be_is_refused(arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        dp.Token(*arguments)  # type: ignore[arg-type]


def test_more_than_there_is_is_an_error_at_once() -> None:
    with pytest.raises(ParameterError, match="can never be taken"):
        dp.Token("db", 2).take(3)
