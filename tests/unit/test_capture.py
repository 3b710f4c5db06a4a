"""Capture: what a body prints, warns and logs goes to its record, and nowhere else than it would have gone."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import io
import logging
import os
import pickle
import subprocess
import sys
import threading
import warnings

import cloudpickle
import pytest

from d6tpipe import capture as capture_module
from d6tpipe.capture import LIMIT, Captured, DescriptorCapture, PythonCapture

BOTH = pytest.mark.parametrize("kind", [PythonCapture, DescriptorCapture])


def taken(capture, body):
    """Run `body` as a task of `capture` and return what was captured."""
    record = capture.task()
    with record:
        body()
    return record.captured()


@pytest.fixture
def quiet_logger():
    """Return a logger whose records nobody shows."""
    logger = logging.getLogger("d6tpipe.test.quiet")
    logger.propagate = False
    handler = logging.NullHandler()
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


# ---- both kinds


@BOTH
def test_stdout_and_stderr_are_told_apart(kind):
    def body():
        print("out")
        print("err", file=sys.stderr)

    with kind() as capture:
        found = taken(capture, body)
    assert ("out\n", "err\n") == (found.stdout, found.stderr)


@BOTH
def test_a_silent_body_has_nothing(kind):
    with kind() as capture:
        found = taken(capture, lambda: None)
    assert not found
    assert found == Captured()


@BOTH
def test_two_bodies_have_their_own_text(kind):
    with kind() as capture:
        found = [taken(capture, lambda n=n: print("body", n)).stdout for n in range(3)]
    assert ["body 0\n", "body 1\n", "body 2\n"] == found


@BOTH
def test_all_steps_of_a_body_are_one_text(kind):
    with kind() as capture:
        first, second = capture.task(), capture.task()
        with first:
            print("a1")
        with second:
            print("b")
        with first:
            print("a2")
    assert ("a1\na2\n", "b\n") == (first.captured().stdout, second.captured().stdout)


@BOTH
def test_what_is_printed_between_bodies_belongs_to_none(kind):
    with kind() as capture:
        before = taken(capture, lambda: print("a"))
        print("in between", flush=True)
        after = taken(capture, lambda: print("b"))
    assert ("a\n", "b\n") == (before.stdout, after.stdout)


@BOTH
def test_a_body_that_raises_keeps_what_it_printed(kind):
    with kind() as capture:
        record = capture.task()
        with pytest.raises(ValueError), record:
            print("before")
            raise ValueError
        found = record.captured(), taken(capture, lambda: print("next"))
    assert ["before\n", "next\n"] == [one.stdout for one in found]


@BOTH
def test_streams_and_hooks_are_put_back(kind):
    before = sys.stdout, sys.stderr, warnings.showwarning, logging.Logger.callHandlers
    with pytest.raises(ValueError), kind():
        raise ValueError
    assert before == (sys.stdout, sys.stderr, warnings.showwarning, logging.Logger.callHandlers)


@BOTH
def test_log_records_are_text_and_not_printed_a_second_time(kind):
    logger = logging.getLogger("d6tpipe.test.capture")

    def body():
        logger.warning("slow: %s s", 3)
        logger.debug("not wanted by the logger")

    with kind() as capture:
        found = taken(capture, body)
    (text,) = found.logs
    assert text.endswith(" WARNING d6tpipe.test.capture: slow: 3 s")
    assert "" == found.stderr


@BOTH
def test_the_traceback_of_a_log_record_is_part_of_it(kind):
    def body():
        try:
            raise KeyError("lost")
        except KeyError:
            logging.getLogger("d6tpipe.test.capture").exception("it happened")

    with kind() as capture:
        (text,) = taken(capture, body).logs
    assert "it happened\nTraceback" in text and text.endswith("KeyError: 'lost'")


@BOTH
def test_a_log_record_that_cannot_be_formatted_is_told(kind, run_python):
    code = f"""
import logging
from d6tpipe.capture import {kind.__name__}
logging.raiseExceptions = False
with {kind.__name__}() as capture:
    record = capture.task()
    with record:
        logging.getLogger("a").error("%d items", "no number")
print(record.captured().logs)
"""
    assert "(\"ERROR a: '%d items' (its text raised TypeError)\",)\n" == run_python("-c", code).stdout


@BOTH
def test_warnings_are_recorded_with_their_place_and_not_as_text(kind, capsys):
    def body():
        warnings.warn("old", UserWarning, stacklevel=1)

    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        with kind() as capture:
            found = taken(capture, body)
    ((category, message, file, line),) = found.warnings
    assert ("UserWarning", "old", __file__) == (category, message, file)
    assert line == body.__code__.co_firstlineno + 1
    assert "" == found.stderr


@BOTH
def test_filters_of_warnings_count(kind):
    def body():
        warnings.warn("ignored", DeprecationWarning, stacklevel=1)
        warnings.warn("raises", UserWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("error", UserWarning)
        with kind() as capture:
            record = capture.task()
            with pytest.raises(UserWarning), record:
                body()
    assert not record.captured()


@BOTH
def test_a_long_text_keeps_its_beginning_and_its_end(kind, monkeypatch):
    monkeypatch.setattr(capture_module, "LIMIT", 1000)
    monkeypatch.setattr(capture_module, "_HALF", 500)

    def pieces():
        for number in range(1000):
            print(f"line {number:5}")

    with kind() as capture:
        many, one = taken(capture, pieces).stdout, taken(capture, lambda: print("<" + "x" * 5000 + ">")).stdout
    assert many.startswith("line     0\nline     1\n") and many.endswith("line   998\nline   999\n")
    assert "characters left out" in many and len(many) < 1100
    assert one.endswith("x>\n") and len(one) < 1100
    assert "characters left out" in one


@BOTH
def test_of_many_log_records_and_warnings_some_are_kept(kind, monkeypatch, quiet_logger):
    monkeypatch.setattr(capture_module, "_HALF", 500)
    monkeypatch.setattr(capture_module, "_MOST_WARNINGS", 3)

    def body():
        for number in range(100):
            quiet_logger.warning("record %s", number)
            warnings.warn(f"warning {number}", UserWarning, stacklevel=1)
        quiet_logger.warning("x" * 10_000)

    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        with kind() as capture:
            found = taken(capture, body)
    assert found.logs[0].endswith("record 0") and len("".join(found.logs)) < 1700
    assert any("characters left out" in entry for entry in found.logs)
    assert ["warning 0", "warning 1", "warning 2", "... and 97 more"] == [entry[1] for entry in found.warnings]


def test_captured_values_can_be_pickled_and_compared():
    value = Captured("out", "err", (("UserWarning", "old", "f.py", 3),), ("text",))
    assert value == pickle.loads(pickle.dumps(value))
    assert value


def test_sections_are_chosen_by_one_word():
    value = Captured("out\n", "err\n", (("UserWarning", "old", "f.py", 3),), ("WARNING slow",))
    names = {word: [name for name, _ in value.sections(word)] for word in capture_module.SHOW_CAPTURE}
    assert names == {
        "no": [],
        "stdout": ["stdout"],
        "stderr": ["stderr", "warnings"],
        "log": ["log"],
        "all": ["stdout", "stderr", "warnings", "log"],
    }
    assert "----- stderr -----\nerr\n----- warnings -----\nUserWarning: old (f.py:3)\n" == value.text("stderr")
    assert "" == Captured().text()


def test_a_summary_shows_the_last_lines_as_a_terminal_would():
    value = Captured("".join(f"{n}\n" for n in range(30)), "10 %\r50 %\r100 %\r\ndone\n" + "x" * 5000)
    lines = value.last_lines(most=3)
    assert ["----- captured stdout, last 3 of 30 lines -----", "27", "28", "29"] == lines[:4]
    assert ["----- captured stderr -----", "100 %", "done"] == lines[4:7]
    assert len(lines[7]) == 1000


# ---- in the process of the user


def test_what_is_printed_still_appears_at_once(capsys):
    with PythonCapture() as capture:
        record = capture.task()
        with record:
            print("out")
            print("err", file=sys.stderr)
            assert ("out\n", "err\n") == tuple(capsys.readouterr())
    assert ("out\n", "err\n") == (record.captured().stdout, record.captured().stderr)


def test_capture_of_pytest_at_the_level_of_descriptors_goes_on(capfd):
    with PythonCapture() as capture:
        record = capture.task()
        with record:
            print("python")
            sys.stdout.flush()
            os.write(1, b"descriptor\n")
    assert "python\ndescriptor\n" == capfd.readouterr().out
    assert "python\n" == record.captured().stdout


def test_bodies_in_threads_are_not_mixed(capsys):
    turn = threading.Barrier(2, timeout=30)
    found = {}

    def body(name):
        record = capture.task()
        with record:
            for number in range(20):
                turn.wait()
                print(name, number)
                print(name, number, file=sys.stderr)
                logging.getLogger("d6tpipe.test.capture").warning("%s %s", name, number)
        found[name] = record.captured()

    with PythonCapture() as capture:
        threads = [threading.Thread(target=body, args=(name,)) for name in "ab"]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    for name in "ab":
        text = "".join(f"{name} {number}\n" for number in range(20))
        assert (text, text) == (found[name].stdout, found[name].stderr)
        logged = [entry.rpartition(": ")[2] for entry in found[name].logs]
        assert text.splitlines() == logged


def test_a_thread_that_the_only_body_starts_belongs_to_it(capsys):
    def body():
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()

    with PythonCapture() as capture:
        assert "from a thread\n" == taken(capture, body).stdout


def test_a_thread_stays_with_the_body_in_which_it_printed_first(capsys):
    go, done = threading.Event(), threading.Event()

    def printing():
        print("first")
        done.set()
        go.wait(30)
        print("late")

    thread = threading.Thread(target=printing)
    with PythonCapture() as capture:
        first, second = capture.task(), capture.task()
        with first:
            thread.start()
            done.wait(30)
        with second:
            go.set()
            thread.join()
    assert "" == second.captured().stdout
    assert first.captured().stdout.startswith("first\n")


def test_a_thread_that_was_there_before_belongs_to_nobody(capsys):
    go, done = threading.Event(), threading.Event()

    def printing():
        go.wait(30)
        print("of somebody else")
        done.set()

    thread = threading.Thread(target=printing)
    thread.start()
    with PythonCapture() as capture:

        def body():
            go.set()
            done.wait(30)

        assert not taken(capture, body)
    thread.join()
    assert "of somebody else\n" == capsys.readouterr().out


def test_coroutines_belong_to_the_body_that_runs_them(capsys):
    async def speak():
        await asyncio.to_thread(print, "in a thread of the loop")
        print("in the loop")

    with PythonCapture() as capture:
        found = taken(capture, lambda: asyncio.run(speak()))
    assert "in a thread of the loop\nin the loop\n" == found.stdout


def test_a_run_inside_a_body_keeps_its_own_text(capsys):
    with PythonCapture() as outer:
        record = outer.task()
        with record:
            print("outer 1")
            with PythonCapture() as inner:
                found = taken(inner, lambda: print("inner"))
                print("between")
            print("outer 2")
    assert "inner\n" == found.stdout
    assert "outer 1\nbetween\nouter 2\n" == record.captured().stdout
    assert "outer 1\ninner\nbetween\nouter 2\n" == capsys.readouterr().out


def test_a_run_inside_a_redirection_is_captured_and_redirected(capsys):
    buffer = io.StringIO()
    with PythonCapture() as outer:
        record = outer.task()
        with record:
            with contextlib.redirect_stdout(buffer), PythonCapture() as inner:
                found = taken(inner, lambda: print("inner"))
            print("outer")
    assert "inner\n" == buffer.getvalue() == found.stdout
    assert "outer\n" == record.captured().stdout == capsys.readouterr().out


def test_of_two_overlapping_runs_the_second_goes_on_when_the_first_has_ended(capsys):
    before = sys.stdout
    first, second = PythonCapture(), PythonCapture()
    with contextlib.ExitStack() as stack:
        first.__enter__()
        stack.enter_context(second)
        first.__exit__()
        assert "still\n" == taken(second, lambda: print("still")).stdout
    assert sys.stdout is before


def test_a_stream_that_somebody_puts_there_for_good_stays(monkeypatch):
    theirs, mine = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", mine)
    with PythonCapture() as capture:

        def body():
            sys.stdout = theirs
            print("theirs")

        taken(capture, body)
    assert sys.stdout is theirs
    sys.stdout = mine  # who keeps the old one over the end of the run finds it as it was
    print("mine")
    assert ("theirs\n", "mine\n") == (theirs.getvalue(), mine.getvalue())


def test_a_stream_kept_from_a_run_goes_on_writing(capsys):
    with PythonCapture():
        kept = sys.stdout
    print("later", file=kept)
    assert "later\n" == capsys.readouterr().out


class NotebookStream(io.TextIOBase):
    """As a notebook has it: no descriptor, text only, methods of its own."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str")
        self.seen.append(text)
        return len(text)

    def set_parent(self, parent):
        self.parent = parent


def test_a_stream_of_a_notebook_keeps_its_ways(monkeypatch):
    stream = NotebookStream()
    monkeypatch.setattr(sys, "stdout", stream)
    with PythonCapture() as capture:

        def body():
            sys.stdout.set_parent("cell 7")
            sys.stdout.note = 1
            sys.stdout.writelines(["a", "b"])
            assert isinstance(sys.stdout, NotebookStream)
            with pytest.raises(TypeError):
                sys.stdout.write(b"bytes")
            with pytest.raises(io.UnsupportedOperation):
                sys.stdout.fileno()

        found = taken(capture, body)
    assert ("cell 7", 1, ["a", "b"], "ab") == (stream.parent, stream.note, stream.seen, found.stdout)


def test_a_process_without_streams_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with PythonCapture() as capture:
        assert not taken(capture, lambda: print("nowhere"))
        assert sys.stdout is None


def test_the_replaced_stream_is_pickled_and_copied_as_the_stream_of_the_process(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with PythonCapture():
        packed = cloudpickle.dumps({"stream": sys.stdout})
        assert copy.deepcopy(sys.stdout) is sys.stdout
    assert pickle.loads(packed)["stream"] is stream


def test_a_warning_is_shown_to_the_user_as_ever(run_python):
    code = """
import warnings
from d6tpipe.capture import PythonCapture
filters = list(warnings.filters)
with PythonCapture() as capture:
    for _ in range(2):
        record = capture.task()
        with record:
            warnings.warn("shown")
        assert filters == warnings.filters
        print(len(record.captured().warnings))
"""
    done = run_python("-c", code)
    assert "<string>:9: UserWarning: shown\n" == done.stderr  # once, as Python does
    assert "1\n0\n" == done.stdout


def test_warnings_that_the_user_collects_are_collected(capsys):
    with warnings.catch_warnings(record=True) as collected:
        warnings.simplefilter("always")
        with PythonCapture() as capture:
            found = taken(capture, lambda: warnings.warn("collected", UserWarning, stacklevel=1))
    assert ["collected"] == [str(one.message) for one in collected] == [one[1] for one in found.warnings]


def test_handlers_of_the_user_are_called_and_may_be_set_up_in_a_body(caplog, capsys):
    logger = logging.getLogger("d6tpipe.test.of_the_user")
    with PythonCapture() as capture:

        def body():
            logger.addHandler(logging.StreamHandler())
            logger.warning("hello")

        found = taken(capture, body)
    logger.handlers.clear()
    assert "hello\n" == capsys.readouterr().err
    assert ["hello"] == caplog.messages
    assert ("", 1) == (found.stderr, len(found.logs))


def test_logging_is_set_up_as_if_nobody_captured(run_python):
    code = """
import logging
from d6tpipe.capture import PythonCapture
with PythonCapture() as capture, capture.task() as _:
    logging.getLogger("a").warning("without a handler")
    logging.basicConfig(format="set up: %(message)s")
    logging.getLogger("a").warning("with one")
"""
    assert "without a handler\nset up: with one\n" == run_python("-c", code).stderr


def test_a_logger_that_does_not_propagate_is_captured_too():
    logger = logging.getLogger("d6tpipe.test.alone")
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    with PythonCapture() as capture:
        assert 1 == len(taken(capture, lambda: logger.error("alone")).logs)


def test_a_progress_bar_of_rich_in_a_body_is_printed_and_captured_once(monkeypatch):
    from rich.console import Console
    from rich.progress import Progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Progress(console=Console(stderr=True, force_terminal=True), auto_refresh=False), PythonCapture() as capture:
        found = taken(capture, lambda: print("a line"))
    assert ("a line\n", "") == (found.stdout, found.stderr)
    assert "a line" in sys.stderr.getvalue()  # rich prints it above its bar


# ---- in a worker process


def test_child_processes_and_descriptors_are_captured():
    def body():
        print("python")
        subprocess.run("echo child; echo child error >&2", shell=True, check=True)
        os.write(1, b"descriptor\n")
        print("the end of a line is missing", end="")

    with DescriptorCapture() as capture:
        found = taken(capture, body)
    assert "python\nchild\ndescriptor\nthe end of a line is missing" == found.stdout
    assert "child error\n" == found.stderr


def test_text_that_the_c_library_holds_back_belongs_to_the_body_that_printed_it():
    ctypes = pytest.importorskip("ctypes")
    library = ctypes.CDLL(None)
    with DescriptorCapture() as capture:
        first = taken(capture, lambda: library.printf(b"from C"))
        second = taken(capture, lambda: library.puts(b"again"))
    assert ("from C", "again\n") == (first.stdout, second.stdout)


def test_a_shell_that_writes_to_the_device_is_captured():
    def body():
        subprocess.run("echo one > /dev/stderr", shell=True, check=True)
        subprocess.run("echo two >> /dev/stderr", shell=True, check=True)

    if not os.path.exists("/dev/stderr"):
        pytest.skip("no /dev/stderr here")
    with DescriptorCapture() as capture:
        taken(capture, lambda: print("x" * 1000, file=sys.stderr))
        found, again = taken(capture, body), taken(capture, body)
        after = taken(capture, lambda: print("after", file=sys.stderr))
    assert ("one\ntwo\n", "one\ntwo\n", "after\n") == (found.stderr, again.stderr, after.stderr)


def test_a_warning_shown_to_one_body_is_recorded_for_the_next_again():
    def body():
        for _ in range(3):
            warnings.warn("again", UserWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.resetwarnings()
        warnings.simplefilter("default")
        with DescriptorCapture() as capture:
            found = [taken(capture, body) for _ in range(3)]
    assert [["again"]] * 3 == [[one[1] for one in each.warnings] for each in found]  # once per body, as the filter says


def test_what_a_body_does_to_filters_ends_with_it():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with DescriptorCapture() as capture:
            taken(capture, lambda: warnings.simplefilter("ignore"))
            assert taken(capture, lambda: warnings.warn("heard", UserWarning, stacklevel=1)).warnings


@pytest.mark.parametrize("deed", ["close", "replace", "redirect"])
def test_what_a_body_does_to_the_streams_does_not_reach_the_next(deed, tmp_path):
    def body():
        if deed == "close":
            sys.stdout.close()
        elif deed == "replace":
            sys.stdout = io.StringIO()
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                print("not for us")

    before = sys.stdout
    with DescriptorCapture() as capture:
        taken(capture, body)
        assert "next\n" == taken(capture, lambda: print("next")).stdout
    assert sys.stdout is before


def test_files_of_a_worker_do_not_grow():
    with DescriptorCapture() as capture:
        for _ in range(100):
            assert 1001 == len(taken(capture, lambda: print("x" * 1000)).stdout)
            assert 0 == os.fstat(1).st_size


def test_text_that_is_not_utf_8_is_kept_readable():
    def body():
        os.write(1, b"caf\xe9 \xe2\x82\xac\n")
        print("lone surrogate \udce9")

    with DescriptorCapture() as capture:
        assert "caf\\xe9 \u20ac\nlone surrogate \\udce9\n" == taken(capture, body).stdout


def test_files_given_can_be_read_by_whoever_gave_them(tmp_path):
    paths = [tmp_path / "out", tmp_path / "err"]
    files = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND) for path in paths]
    with DescriptorCapture(files) as capture:
        taken(capture, lambda: print("of the body before"))
        with capture.task():
            print("last words")
            seen = paths[0].read_text()  # as if the process had died now
    [os.close(file) for file in files]
    assert "last words\n" == seen


def test_two_bodies_at_once_are_refused_in_a_worker():
    with DescriptorCapture() as capture, capture.task(), pytest.raises(RuntimeError, match="one body at a time"):
        capture.task().__enter__()


def test_descriptors_are_put_back(capfd):
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    with DescriptorCapture() as capture:
        taken(capture, lambda: print("captured"))
    os.write(1, b"afterwards\n")
    assert "afterwards\n" == capfd.readouterr().out
    if before:
        assert before == len(os.listdir("/proc/self/fd"))


def test_a_run_inside_a_body_of_a_worker_keeps_its_own_text():
    with DescriptorCapture() as outer:
        record = outer.task()
        with record:
            with PythonCapture() as inner:
                found = taken(inner, lambda: print("inner"))
            print("outer")
    assert "inner\n" == found.stdout
    assert "inner\nouter\n" == record.captured().stdout


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "most"), [("PythonCapture", 10e-6), ("DescriptorCapture", 20e-6)])  # 0.8 and 3.8
def test_a_silent_body_costs_next_to_nothing(run_python, kind, most):
    code = f"""
import sys
from time import perf_counter
from d6tpipe.capture import {kind}

def measure(n):
    begin = perf_counter()
    for _ in range(n):
        record = capture.task()
        with record:
            pass
        record.captured()
    return (perf_counter() - begin) / n

with {kind}() as capture:
    best = min([measure(5_000) for _ in range(30)])
print(best)
"""
    assert float(run_python("-c", code).stdout) <= most


def test_the_limit_is_one_million_characters():
    assert 1_000_000 == LIMIT


def test_who_puts_a_function_over_write_gets_what_was_there(capsys):  # as IPython does for each cell
    heard = []
    with PythonCapture():
        stream = sys.stdout
        before = stream.write

        def write(text):
            heard.append(text)
            return before(text)

        stream.write = write
        print("over it")
        stream.write = before
        print("without")
    assert "".join(heard) == "over it\n"
    assert capsys.readouterr().out == "over it\nwithout\n"
