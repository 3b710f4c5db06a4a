"""``transient = True | "remove"``: intermediate tasks whose outputs need not be there."""

from __future__ import annotations

import io
import threading
from contextlib import redirect_stdout

import pytest

import d6tpipe as dp
from d6tpipe.errors import BuildError, DeclarationError
from d6tpipe.interfaces import ReasonKind

LOG = io.StringIO()  # what a list holds would count as code of those who use it


def ran(name):
    LOG.write(f"{name} ")


class Flow:
    """Raw > Mid (transient) > Top; what the classes say may be changed, and what runs is noted."""

    def __init__(self, transient=True) -> None:
        class Raw(dp.tasks.TaskJson):
            def run(self):
                ran("Raw")
                self.save(1)

        class Mid(dp.tasks.TaskJson):
            n = dp.IntParameter(default=1)

            def requires(self):
                return Raw()

            def run(self):
                ran("Mid")
                self.save(self.inputLoad() * 10)

        class Top(dp.tasks.TaskJson):
            def requires(self):
                return Mid()

            def run(self):
                ran("Top")
                self.save(self.inputLoad() + 1)

        Mid.transient = transient
        self.Raw, self.Mid, self.Top = Raw, Mid, Top


def run(tasks, **options):
    """Run, and return what ran and the states by family."""
    LOG.seek(0)
    LOG.truncate()
    result = dp.run(tasks, execution_summary=False, progress=False, abort=False, **options)
    return LOG.getvalue().split(), {task.task_family: str(state) for task, state in result.states.items()}


def lose(task):
    task.reset(confirm=False)


@pytest.fixture
def flow():
    return Flow()


@pytest.fixture
def removing():
    return Flow("remove")


# ---- the hardest: whether it is needed is only known when the others have come out


def test_it_is_called_for_by_a_body_that_turns_out_to_have_to_run(flow):
    class Side(dp.tasks.TaskJson):
        def run(self):
            ran("Side")
            self.save(5)

    class Both(dp.tasks.TaskJson):
        def requires(self):
            return [flow.Mid(), Side()]

        def run(self):
            ran("Both")
            self.save(sum(self.inputLoad()))

    run(Both())
    lose(flow.Mid())
    lose(Side())
    bodies, states = run(Both())
    assert ["Side"] == bodies
    assert {"Raw": "fresh", "Mid": "fresh", "Side": "built", "Both": "cached"} == states
    Side.run = lambda self: (ran("Side"), self.save(6))[1]
    lose(Side())
    bodies, states = run(Both())
    assert ["Side", "Mid", "Both"] == bodies
    assert {"Raw": "fresh", "Mid": "built", "Side": "built", "Both": "built"} == states
    assert 16 == Both().outputLoad()


def test_it_stays_as_long_as_one_between_may_call_for_it(flow):
    class Far(dp.tasks.TaskJson):
        transient = True

        def run(self):
            ran("Far")
            self.save(3)

    class Near(dp.tasks.TaskJson):
        transient = True

        def requires(self):
            return Far()

        def run(self):
            ran("Near")
            self.save(self.inputLoad())

    class Both(dp.tasks.TaskJson):
        def requires(self):
            return [Near(), flow.Raw()]

        def run(self):
            ran("Both")
            self.save(sum(self.inputLoad()))

    run(Both())
    lose(Near())
    lose(flow.Raw())
    Far.transient = "remove"
    flow.Raw.run = lambda self: (ran("Raw"), self.save(2))[1]
    bodies, _ = run(Both())
    assert ["Raw", "Near", "Both"] == bodies  # and not Far, which was there
    assert not Far().complete()


def test_it_stands_aside_if_what_it_needs_comes_out_as_it_was(flow):
    run(flow.Top())
    lose(flow.Mid())
    lose(flow.Raw())
    bodies, states = run(flow.Top())
    assert ["Raw"] == bodies
    assert {"Raw": "built", "Mid": "cached", "Top": "cached"} == states
    assert not flow.Mid().complete()


def test_it_is_built_if_what_it_needs_comes_out_differently(flow):
    run(flow.Top())
    lose(flow.Mid())
    lose(flow.Raw())
    flow.Raw.run = lambda self: (ran("Raw"), self.save(2))[1]
    assert ["Raw", "Mid", "Top"] == run(flow.Top())[0]
    assert 21 == flow.Top().outputLoad()


# ---- completeness


def test_complete_skips_through_it_and_says_the_truth_of_it(flow):
    run(flow.Top())
    lose(flow.Mid())
    assert flow.Top().complete()
    assert not flow.Mid().complete()
    assert 11 == flow.Top().outputLoad()
    assert ([], "fresh") == (run(flow.Top())[0], run(flow.Top())[1]["Mid"])


def test_outputs_without_any_record_are_complete(flow):
    run(flow.Top())
    lose(flow.Mid())
    dp.forget([flow.Top(), flow.Mid()])
    bodies, states = run(flow.Top(), stale="rerun")
    assert [] == bodies
    assert "fresh" == states["Top"]


def test_asked_for_itself_it_is_built(flow):
    run(flow.Top())
    lose(flow.Mid())
    assert ["Mid"] == run(flow.Mid())[0]
    lose(flow.Mid())
    assert ["Mid"] == run([flow.Top(), flow.Mid()])[0]


def test_forced_it_is_built(flow):
    run(flow.Top())
    lose(flow.Mid())
    assert ["Mid", "Top"] == run(flow.Top(), forced=flow.Mid())[0]


# ---- freshness


def test_a_change_of_its_code_is_named_and_not_built_with_warn(flow):
    run(flow.Top())
    lose(flow.Mid())
    flow.Mid.run = lambda self: (ran("Mid"), self.save(self.inputLoad() * 100))[1]
    bodies, states = run(flow.Top())
    assert [] == bodies
    assert {"Raw": "fresh", "Mid": "stale", "Top": "fresh"} == states


def test_a_change_of_its_code_builds_it_with_rerun_and_stops_where_it_comes_out_equal(flow):
    run(flow.Top())
    lose(flow.Mid())
    flow.Mid.run = lambda self: (ran("Mid"), self.save(10 * self.inputLoad()))[1]
    bodies, states = run(flow.Top(), stale="rerun")
    assert ["Mid"] == bodies
    assert "cached" == states["Top"]
    lose(flow.Mid())
    flow.Mid.run = lambda self: (ran("Mid"), self.save(100 * self.inputLoad()))[1]
    assert ["Mid", "Top"] == run(flow.Top(), stale="rerun")[0]
    assert [] == run(flow.Top(), stale="rerun")[0]


def test_ignore_looks_at_files_only(flow):
    run(flow.Top())
    lose(flow.Mid())
    flow.Mid.run = lambda self: (ran("Mid"), self.save(0))[1]
    bodies, states = run(flow.Top(), stale="ignore")
    assert [] == bodies
    assert {"Raw": "fresh", "Mid": "fresh", "Top": "fresh"} == states


def test_the_option_is_no_part_of_the_code(flow):
    run(flow.Top())
    for word in ("remove", False, True):
        flow.Mid.transient = word
        bodies, states = run(flow.Mid(), stale="rerun")
        assert ([], "fresh") == (bodies, states["Mid"])


# ---- removal


def test_outputs_go_and_the_record_stays(removing):
    bodies, states = run(removing.Top())
    assert ["Raw", "Mid", "Top"] == bodies
    assert {"Raw": "built", "Mid": "built", "Top": "built"} == states
    assert not removing.Mid().complete()
    assert removing.Top().complete()
    catalog = dp.catalog().set_index("family")
    assert ("finished", False) == (catalog.state["Mid"], bool(catalog.exists["Mid"]))
    assert [] == run(removing.Top(), stale="rerun")[0]


def test_what_was_asked_for_itself_stays_for_good(removing):
    run(removing.Mid())
    assert removing.Mid().complete()
    run(removing.Top())
    assert removing.Mid().complete()


def test_what_was_there_and_is_asked_for_stays_from_then_on(removing):
    removing.Mid.transient = True
    run(removing.Top())
    removing.Mid.transient = "remove"
    run(removing.Mid())
    run(removing.Top(), forced=removing.Top())
    assert removing.Mid().complete()


def test_what_was_built_by_hand_stays(removing):
    run(removing.Raw())
    removing.Mid().run()
    run(removing.Top())
    assert removing.Mid().complete()


def test_outputs_stay_as_long_as_what_needs_them_fails(removing):
    good = removing.Top.run

    def bad(self):
        raise ValueError("no")

    removing.Top.run = bad
    with pytest.raises(BuildError):
        dp.run(removing.Top(), execution_summary=False)
    assert removing.Mid().complete()
    removing.Top.run = good
    assert ["Top"] == run(removing.Top())[0]
    assert not removing.Mid().complete()


def test_what_was_edited_or_accepted_or_has_no_record_stays(removing):
    removing.Mid.transient = True
    run(removing.Top())
    removing.Mid.transient = "remove"
    path = removing.Mid().output().path
    path.write_text('{"data": 10 }')
    run(removing.Top())
    assert path.exists()
    dp.accept(removing.Mid())
    run(removing.Top())
    assert path.exists()
    dp.forget(removing.Mid())
    run(removing.Top())
    assert path.exists()


def test_outputs_in_memory_go_too(removing):
    class Held(dp.tasks.TaskCache):
        transient = "remove"

        def run(self):
            ran("Held")
            self.save([1, 2])

    class Use(dp.tasks.TaskJson):
        def requires(self):
            return Held()

        def run(self):
            self.save(sum(self.inputLoad()))

    run(Use())
    assert (3, False) == (Use().outputLoad(), Held().complete())
    assert [] == run(Use(), stale="rerun")[0]


def test_what_a_body_asks_for_is_removed_after_it(removing):
    class Asks(dp.tasks.TaskJson):
        def run(self):
            ran("Asks")
            target = yield removing.Mid()
            self.save(target.load())

    bodies, states = run(Asks())
    assert ["Asks", "Raw", "Mid"] == bodies
    assert (10, False) == (Asks().outputLoad(), removing.Mid().complete())
    bodies, states = run(Asks(), stale="rerun")
    assert [] == bodies
    assert {"Asks": "fresh", "Mid": "fresh", "Raw": "fresh"} == states
    removing.Mid.run = lambda self: (ran("Mid"), self.save(7))[1]
    assert ["Mid", "Asks"] == run(Asks(), stale="rerun")[0]
    assert (7, False) == (Asks().outputLoad(), removing.Mid().complete())


def test_what_a_body_binds_is_removed_after_it(removing):
    class Binds(dp.tasks.TaskJson):
        def requires(self):
            return removing.Mid

        def run(self):
            ran("Binds")
            self.save(self.input(n=2).load())

    bodies, _ = run(Binds())
    assert ["Binds", "Raw", "Mid"] == bodies
    assert (10, False) == (Binds().outputLoad(), removing.Mid(n=2).complete())


def test_a_run_inside_a_body_removes_nothing(removing):
    class Inside(dp.tasks.TaskJson):
        def run(self):
            dp.run(removing.Top(), execution_summary=False)
            self.save(removing.Mid().complete())

    run(Inside())
    assert Inside().outputLoad() is True


def elsewhere(tasks):
    """Run in a thread, which knows nothing of the body that this is called in."""
    errors = []

    def work():
        try:
            dp.run(tasks, execution_summary=False, progress=False)
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    return errors


@pytest.mark.parametrize("memory", [False, True])
def test_another_run_does_not_remove_what_a_body_reads(removing, memory):
    class Held(dp.tasks.TaskCache):
        transient = "remove"

        def run(self):
            self.save(10)

    source = Held if memory else removing.Mid

    class Other(dp.tasks.TaskJson):
        def requires(self):
            return source()

        def run(self):
            ran("Other")
            self.save(self.inputLoad())

    class Long(dp.tasks.TaskJson):
        def requires(self):
            return source()

        def run(self):
            errors = elsewhere(Other())
            self.save([repr(errors), self.inputLoad()])

    run(Long())
    assert ["[]", 10] == Long().outputLoad()
    assert not source().complete()


def test_another_run_does_not_remove_what_a_body_has_bound(removing):
    class Other(dp.tasks.TaskJson):
        def requires(self):
            return removing.Mid(n=2)

        def run(self):
            self.save(self.inputLoad())

    class Long(dp.tasks.TaskJson):
        def requires(self):
            return removing.Mid

        def run(self):
            target = self.input(n=2)
            errors = elsewhere(Other())
            self.save([repr(errors), target.load()])

    run(Long())
    assert ["[]", 10] == Long().outputLoad()
    assert not removing.Mid(n=2).complete()


@pytest.mark.parametrize("known", [False, True])
def test_what_a_body_has_bound_may_be_gone_before_its_end_is_noted(removing, monkeypatch, known):
    from d6tpipe.readers import Reading

    class Other(dp.tasks.TaskJson):
        def requires(self):
            return removing.Mid(n=2)

        def run(self):
            self.save(self.inputLoad())

    class Binds(dp.tasks.TaskJson):
        def requires(self):
            return removing.Mid

        def run(self):
            ran("Binds")
            self.save(self.input(n=2).load())

    def close_late(self):
        close(self)
        if reading and self is reading[0] and not closed:
            closed.append(self)
            assert [] == elsewhere(Other())

    class First(dp.tasks.TaskJson):
        """Makes the graph know of it, and has it removed before the other body binds it."""

        priority = 1

        def requires(self):
            return removing.Mid(n=2)

        def run(self):
            self.save(self.inputLoad())

    reading, closed = [], []
    close, begin = Reading.close, Reading.begin

    def begin_first(self, task):
        reading.append(self)  # the first one is that of the body
        return begin(self, task)

    if known:
        run(First())
    monkeypatch.setattr(Reading, "begin", begin_first)
    monkeypatch.setattr(Reading, "close", close_late)
    bodies, states = run([First(), Binds()] if known else Binds())
    assert closed and (["Binds", "Mid"] if known else ["Binds", "Raw", "Mid"]) == bodies
    assert "built" == states["Binds"]
    assert not removing.Mid(n=2).complete()
    monkeypatch.undo()
    assert [] == run(Binds(), stale="rerun")[0]


def test_what_another_run_has_removed_before_a_body_starts_is_built_again(removing):
    class Other(dp.tasks.TaskJson):
        def requires(self):
            return removing.Mid()

        def run(self):
            self.save(self.inputLoad())

    class First(dp.tasks.TaskJson):
        priority = 1

        def run(self):
            self.save(repr(elsewhere(Other())))

    class Second(dp.tasks.TaskJson):
        def requires(self):
            return [First(), removing.Mid()]

        def run(self):
            ran("Second")
            self.save(self.inputLoad())

    removing.Mid.transient = True
    run(removing.Top())
    removing.Mid.transient = "remove"
    bodies, states = run(Second())
    assert ["Mid", "Second"] == bodies
    assert "built" == states["Mid"]
    assert ["[]", 10] == Second().outputLoad()
    assert not removing.Mid().complete()


# ---- questions say the same


def printed(question, *arguments, **options):
    with redirect_stdout(io.StringIO()) as out:
        question(*arguments, **options)
    return out.getvalue()


def test_questions_agree_with_the_run(removing):
    run(removing.Top())
    result = dp.run(removing.Top(), dry_run=True, execution_summary=False)
    assert {"fresh"} == {str(state) for state in result.states.values()}
    plan = dp.plan(removing.Top()).set_index("family")
    assert "fresh" == plan.state["Mid"]
    assert "transient, removed" in plan.reasons["Mid"]
    assert not plan.loc["Mid", [str(kind) for kind in ReasonKind]].any()
    text = printed(dp.preview, removing.Top())
    assert "[Mid-{'n': '1'} (TRANSIENT)] removed; built again when needed" in text
    assert "1 transient task upstream is not there: it is built when it is needed." in str(dp.explain(removing.Top()))
    assert "to be built: missing" in str(dp.explain(removing.Mid()))  # to ask for it is to need it
    lose(removing.Top())
    result = dp.run(removing.Top(), dry_run=True, execution_summary=False)
    assert {"Raw": "fresh", "Mid": "pending", "Top": "pending"} == {
        task.task_family: str(state) for task, state in result.states.items()
    }
    plan = dp.plan(removing.Top()).set_index("family")
    assert ["pending", True] == [plan.state["Mid"], bool(plan.missing["Mid"])]


def test_tables_and_selection_call_it_removed(removing):
    run(removing.Top())
    sweep = dp.sweep(removing.Mid, {"one": {"n": 1}, "two": {"n": 2}})
    assert {"one": "removed", "two": "missing"} == dict(sweep.table().state)
    assert [removing.Mid()] == list(sweep.select("@state=removed").values())
    result = dp.run(removing.Top(), execution_summary=False)
    assert "transient, removed" in set(result.table().reasons)


def test_the_table_of_a_run_names_what_it_has_built_and_removed(removing):
    result = dp.run(removing.Top(), execution_summary=False)
    table = result.table().set_index("family")
    assert ["built", "missing, removed"] == [table.state["Mid"], table.reasons["Mid"]]
    assert "missing" == table.reasons["Top"]


def test_what_was_removed_and_is_stale_can_be_accepted(removing):
    run(removing.Top())
    removing.Mid.run = lambda self: (ran("Mid"), self.save(10 * self.inputLoad()))[1]
    assert "stale" == run(removing.Top())[1]["Mid"]
    text = printed(dp.preview, removing.Top())
    assert "(TRANSIENT)] stale: " in text and "; removed; built again when needed" in text
    assert [removing.Mid()] == dp.accept(removing.Top())
    assert [] == run(removing.Top(), stale="rerun")[0]


def test_a_session_builds_it_again_for_what_is_submitted_later(removing):
    class Later(dp.tasks.TaskJson):
        def requires(self):
            return removing.Mid()

        def run(self):
            self.save(self.inputLoad())

    with dp.Session("night", execution_summary=False) as session:
        session.submit(removing.Top())
        session.wait()
        assert not removing.Mid().complete()
        session.submit(Later())
        session.wait()
        assert not removing.Mid().complete()
        session.submit(removing.Mid())
        session.wait()
    assert 10 == Later().outputLoad() == removing.Mid().outputLoad()
    assert {"built"} == {str(state) for state in session.result.states.values()}


# ---- what a class may say


@pytest.mark.parametrize("value", ["removed", 1, None, "yes", ["remove"]])
def test_anything_else_is_an_error(flow, value):
    flow.Mid.transient = value
    if value is None:
        run(flow.Top())
        return
    with pytest.raises(DeclarationError, match="transient") as caught:
        dp.run(flow.Top())
    if value == "removed":
        assert "Did you mean 'remove'" in str(caught.value)


def test_an_external_class_cannot_be_transient(flow):
    flow.Mid.external = True
    with pytest.raises(DeclarationError, match="external"):
        dp.run(flow.Top())


def test_an_aggregator_cannot_be_transient(flow):
    class Group(dp.tasks.TaskAggregator):
        transient = True

        def run(self):
            yield flow.Raw()

    with pytest.raises(DeclarationError, match="stands for other tasks"):
        dp.run(Group())


def test_a_parameter_of_that_name_is_a_parameter():
    class Fades(dp.tasks.TaskJson):
        transient = dp.BoolParameter(default=True)

        def run(self):
            self.save(self.transient)

    class Over(dp.tasks.TaskJson):
        def requires(self):
            return Fades()

        def run(self):
            self.save(self.inputLoad())

    run(Over())
    lose(Fades())
    assert not Over().complete()
