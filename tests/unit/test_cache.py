"""What is in memory, and by what a record can tell one value from another."""

from __future__ import annotations

import copy
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest

from d6tpipe import cache
from d6tpipe.formats.content import content_digest
from d6tpipe.targets import CacheTarget


@pytest.fixture(autouse=True)
def empty() -> None:
    cache.data.clear()


def test_a_saved_value_has_a_number_of_its_own_and_the_digest_of_its_content() -> None:
    stamps = []
    for value in ([1], [1], [2]):
        CacheTarget("x").save(value)
        stamps.append(cache.stamp("x"))
    assert [content_digest(value) for value in ([1], [1], [2])] == [stamp[1] for stamp in stamps if stamp]
    assert 3 == len({stamp[0] for stamp in stamps if stamp})


def test_a_value_that_cannot_be_told_has_a_number_and_no_digest() -> None:
    CacheTarget("x").save(object())
    stamp = cache.stamp("x")
    assert stamp is not None and stamp[1] == b""


def test_numbers_fit_into_the_records_whatever_chance_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_numbers", None)
    monkeypatch.setattr("d6tpipe.cache.os.urandom", lambda size: b"\xff" * size)
    cache._count()
    CacheTarget("x").save(1)
    stamp = cache.stamp("x")
    assert stamp is not None and 0 <= stamp[0] < 2**63 - 10**9


BY_HAND: dict[str, Callable[[], Any]] = {
    "put": lambda: cache.data.__setitem__("x", [1]),
    "deleted": lambda: cache.data.__delitem__("x"),
    "popped": lambda: cache.data.pop("x"),
    "popped, put again": lambda: cache.data.__setitem__("x", cache.data.pop("x")),
    "last popped": lambda: cache.data.popitem(),
    "cleared": lambda: cache.data.clear(),
    "updated": lambda: cache.data.update(x=[1]),
    "merged": lambda: cache.data.__ior__({"x": [1]}),
    "cleared, put by default": lambda: (cache.data.clear(), cache.data.setdefault("x", [1])),
    "invalidated": lambda: CacheTarget("x").invalidate(),
}


@pytest.mark.parametrize("change", BY_HAND.values(), ids=BY_HAND)
def test_a_change_by_hand_takes_the_stamp_away(change: Callable[[], Any]) -> None:
    CacheTarget("x").save([1])
    assert cache.stamp("x") is not None
    change()
    assert cache.stamp("x") is None
    assert "x" not in cache.stamps


def test_a_dict_put_in_the_place_of_data_has_no_stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    CacheTarget("x").save([1])
    before = cache.stamp("x")
    with monkeypatch.context() as patched:
        patched.setattr(cache, "data", {"x": [2]})
        assert cache.stamp("x") is None
        CacheTarget("x").save([3])
        assert cache.stamp("x") is None
        assert CacheTarget("x").load() == [3]
    assert before == cache.stamp("x")


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data)), dict.copy],
    ids=["copy", "deepcopy", "pickle", "dict.copy"],
)
def test_a_copy_of_data_is_a_plain_dict_and_changes_no_stamp(duplicate: Callable[[Any], Any]) -> None:
    CacheTarget("x").save([1])
    before = cache.stamp("x")
    copied = duplicate(cache.data)
    copied["x"] = copied["y"] = [2]
    assert type(copied) is dict
    assert before == cache.stamp("x")
    assert {"x": [1]} == cache.data


def test_keeping_is_saving_for_who_has_the_digest_already() -> None:
    cache.keep("x", [1], b"digest")
    stamp = cache.stamp("x")
    assert stamp is not None and stamp[1] == b"digest"
    assert CacheTarget("x").load() == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_gives_out_other_numbers() -> None:
    CacheTarget("x").save(1)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        CacheTarget("x").save(2)
        os.write(write_end, str((cache.stamp("x") or (0,))[0]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = int(os.read(read_end, 200))
    os.close(read_end)
    os.close(write_end)
    CacheTarget("x").save(3)
    stamp = cache.stamp("x")
    assert stamp is not None and abs(theirs - stamp[0]) > 1000
