"""What a run would do, and why, as a table."""

from __future__ import annotations

from typing import Any

from d6tpipe import flow
from d6tpipe.engine.graph import Node
from d6tpipe.errors import shown
from d6tpipe.explanations import root_causes
from d6tpipe.interfaces import ReasonKind, Standing, State
from d6tpipe.wording import Words, columns_of, named

__all__ = ["plan"]

_FIRST = ("task", "family")
_KINDS = tuple(str(kind) for kind in ReasonKind)
_LAST = ("state", *_KINDS, "reasons", "because_of")
_CAUSES = 3  # root causes that are named for a task


def plan(
    tasks: Any,
    *,
    stale: str | None = None,
    freeze: Any = None,
    no_freeze: bool = False,
    stale_ok: Any = None,
    forced: Any = None,
    forced_all: bool = False,
    forced_all_upstream: bool = False,
) -> Any:
    """Return a DataFrame that tells what a run of these tasks with these options would do, and why.

    Parameters
    ----------
    tasks : task, collection or mapping of tasks
    stale, freeze, no_freeze, stale_ok, forced, forced_all, forced_all_upstream
        As `flow.run` has them.

    Returns
    -------
    pandas.DataFrame
        One row per task, in the order of building. Columns: ``task`` (text), ``family``, one per significant parameter
        (as text; NaN where a task has no such parameter; ``parameter_<name>`` where there is another column of that
        name), ``state`` (pending, stale, frozen or fresh), one of type bool for each `interfaces.ReasonKind`,
        ``reasons`` (the same in a few words) and ``because_of`` (the tasks upstream that are at the bottom of it; of
        many the first).

        ``upstream`` is true where something has to be built before: such a task is looked at again in the run, and is
        not built if what it needs comes out as it was.

    Effects
    -------
    None: nothing is run, made or written.
    """
    import pandas as pd

    result = flow.run(
        tasks,
        forced,
        forced_all,
        forced_all_upstream,
        execution_summary=False,
        stale=stale,
        freeze=freeze,
        no_freeze=no_freeze,
        stale_ok=stale_ok,
        dry_run=True,
    )
    nodes = [node for node in result._nodes if node.state is not None]
    because, words = _because(nodes), Words()
    taken = (*_FIRST, *_LAST)
    rows = []
    for node in nodes:
        kinds = _kinds(node)
        rows.append(
            {
                "task": shown(node.task),
                "family": node.task.task_family,
                **columns_of(node.task, taken),
                "state": str(node.state),
                **{kind: kind in kinds for kind in _KINDS},
                "reasons": words.of(node),
                "because_of": because[node],
            }
        )
    frame = pd.DataFrame(rows, columns=None if rows else [*_FIRST, *_LAST])
    frame = frame[[column for column in frame.columns if column not in _LAST] + list(_LAST)]
    return frame.astype(dict.fromkeys(_KINDS, bool))


def _kinds(node: Node) -> set[str]:
    if node.complete and node.standing is Standing.MISSING:  # its own complete() knows better
        return set()
    found = {str(reason.kind) for reason in node.reasons}
    if node.state is State.PENDING:
        if node.standing is None and not node.present:
            found.add(str(ReasonKind.MISSING))
        if any([need.state is State.PENDING for need in node.needs]):
            found.add(str(ReasonKind.UPSTREAM))
    return found


def _because(nodes: list[Node]) -> dict[Node, str]:
    """Return for each node which root causes upstream concern it, as text."""
    causes = root_causes(nodes)
    known: dict[Node, tuple[list[Node], bool]] = {}  # up to _CAUSES of them, the node itself among them; are there more
    texts = {}
    for node in nodes:
        above: dict[Node, None] = {}
        more = False
        for need in node.needs:
            if need in known:
                found, others = known[need]
                above.update(dict.fromkeys(found))
                more = more or others
        first = list(above)[:_CAUSES]
        more = more or len(above) > _CAUSES
        tasks = [cause.task for cause in first]
        if node in causes:  # fed by tasks that are sound and hold other data than then
            tasks += [reason.because_of for reason in node.reasons if reason.because_of is not None]
        names = dict.fromkeys([named(task) for task in tasks[: 2 * _CAUSES]])
        texts[node] = _joined(list(names), more or len(tasks) > 2 * _CAUSES)
        passed = [node, *first] if node in causes else first
        known[node] = (passed[:_CAUSES], more or len(passed) > _CAUSES)
    return texts


def _joined(names: list[str], more: bool) -> str:
    return ", ".join(names[:_CAUSES]) + (", ..." if more or len(names) > _CAUSES else "")
