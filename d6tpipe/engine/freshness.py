"""What is complete, what is stale, and why: the rules, as pure functions over nodes.

*Complete* is luigi's word: the outputs exist, and so do those of all it needs. *Fresh* is more: the record of how they
came about still matches. Cheapest first:

1. An output is missing. Nothing else matters.
2. One comparison of bytes (`records.seal`) with what was recorded: equal is fresh. This is all that 100,000 unchanged
tasks
   cost.
3. Only where the two differ, the whole record is read and compared (`TaskView.examine`), needs before users, because
what a
   task needs may turn out to hold other data than its record says.
4. Whether a stale task is built again depends on its mode: "ignore" (records do not count), "warn" (no), "rerun"
(yes), "frozen" (no,
   and what has changed is waived). What cannot be used is built again in all modes but "ignore".
5. A task that has to wait for something below it, and is otherwise sound, is looked at again when its turn comes
(`again`): if
   what it needs came out equal, it does not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from d6tpipe.engine.graph import Node
from d6tpipe.interfaces import FAILURES, Evidence, Finding, Reason, ReasonKind, Standing, Stats, TaskView
from d6tpipe.records import same_but_outputs, seal

__all__ = [
    "MISSING", "UNUSABLE", "again", "close", "expected_seal", "holds", "is_lost", "joined_digest", "judge",
    "may_be_kept", "reason", "tolerates",
]  # fmt: skip

UNUSABLE = frozenset({ReasonKind.INTERRUPTED, ReasonKind.FAILED, ReasonKind.OTHER_CLASS})
"""With one of these the outputs count as missing."""

MISSING = (Reason(ReasonKind.MISSING),)
_UNTRACKED = (Reason(ReasonKind.UNTRACKED),)


def judge(nodes: Iterable[Node], view: TaskView) -> None:
    """Set ``complete`` of every node that is not judged yet, and ``standing``, ``reasons``, ``digest`` where records
    count.

    A task is complete when there is nothing to do for it: its own outputs exist and can be used, or are *spared* (see
    `transients`), and, where it cascades, all that it needs is complete.

    Parameters
    ----------
    nodes : iterable of Node
        Each after all that it needs.
    view : TaskView
        Asked once for outputs and records of all nodes together.
    """
    unjudged = [node for node in nodes if node.complete is None]
    suspects: dict[Node, tuple[Any, Stats | None]] = {}
    for evidence in view.look(unjudged):
        _compare(evidence, suspects)
    altered: set[Node] = set()
    spares = view.spares
    for node in unjudged:
        present = node.present
        if present is None:  # it has a rule of its own, which may ask about what it needs: by now that is known
            present = node.present = view.ask(node)
        done = present
        if node in suspects:
            _examine(node, *suspects[node], view, altered)
        elif altered:
            _inherit(node, altered, view)
        if spares and not present:
            done = _may_be_spared(node, view)
        if node.standing is Standing.LOST or (node.standing is Standing.STALE and view.mode(node) == "rerun"):
            done = False
        if done:
            for need in node.needs:
                if not need.complete:
                    done = not view.cascades(node) or tolerates(node, view)
                    break
        if node.recalled and not (done or _asks_the_same(node)):
            node.needs = node.needs[: -node.recalled]  # it will run anyway, and may ask for others
            node.recalled, node.dropped = 0, True
        if spares:
            node.spared = bool(
                done and (not present or (view.joins(node) and any([need.spared for need in node.needs])))
            )
        node.complete = done


def _may_be_spared(node: Node, view: TaskView) -> bool:
    """Return whether a node counts as complete although an output is missing, as far as it depends on itself."""
    if not view.transient(node):
        return False
    unusable = UNUSABLE.intersection([reason.kind for reason in node.reasons])
    return not unusable or view.mode(node) != "rerun"


def tolerates(node: Node, view: TaskView) -> bool:
    """Return whether a node is complete without some of those that it stands for: they have failed, and may."""
    if not view.joins(node):
        return False
    open_ = [need for need in node.needs if not need.complete]
    if len(open_) > view.tolerance(node) or not all(map(is_lost, open_)):
        return False
    node.digest = view.together(node)
    return True


_FAILED = frozenset({ReasonKind.MISSING, ReasonKind.FAILED})


def _has_failed(node: Node) -> bool:
    """Return whether a body has failed, in this run or when it ran last, and nothing has changed since."""
    kinds = {reason.kind for reason in node.reasons}
    return node.state in FAILURES or (ReasonKind.FAILED in kinds and kinds <= _FAILED)


def is_lost(node: Node) -> bool:
    """Return whether a node cannot be built because a body has failed: its own, or one of something that it needs."""
    seen, pending = {node}, [node]
    while pending:
        other = pending.pop()
        if _has_failed(other):
            return True
        for need in other.needs:
            if not need.complete and need not in seen:
                seen.add(need)
                pending.append(need)
    return False


def _compare(evidence: Evidence, suspects: dict[Node, tuple[Any, Stats | None]]) -> None:
    """Settle what one comparison can settle; the rest are suspects."""
    code, observed = evidence.code, evidence.observed
    fresh, untracked, missing = Standing.FRESH, Standing.UNTRACKED, Standing.MISSING
    transient = evidence.transient
    for node, row, stats in evidence.members:
        if stats is None or node.present is False:
            node.standing, node.reasons = missing, MISSING
            if row is not None and row[0] != "finished":
                suspects[node] = (row, None)
            elif row is not None and transient:
                if holds(node, code, row[2], None):
                    node.standing, node.reasons = fresh, ()
                else:
                    suspects[node] = (row, None)
            continue
        if row is None:
            node.standing, node.reasons = untracked, _UNTRACKED
            continue
        if row[0] == "finished":
            found = expected_seal(node, code, stats)
            if found == row[2]:
                node.standing = fresh
                continue
            if row[2] == seal(observed, (), stats):
                node.standing, node.reasons = untracked, _UNTRACKED
                continue
        suspects[node] = (row, stats)


def expected_seal(node: Node, code: bytes, stats: Stats) -> bytes | None:
    """Return the seal that a record of `node` has if nothing has changed; None if what it needs is not known."""
    needs = node.needs
    if not needs:
        return seal(code, (), stats)
    upstream = [need.digest for need in needs]
    if None in upstream:
        return None
    if node.names:
        upstream.append(node.names)
    if node.recalled:  # what was required is not the same as what was asked for
        upstream.append(b"%d asked for" % node.recalled)
    return seal(code, upstream, stats)  # type: ignore[arg-type]


def holds(node: Node, code: bytes, recorded: bytes, stats: Stats | None) -> bool:
    """Return whether a seal is one of today; without `stats` whatever the outputs were, as far as that can be told."""
    if stats is not None:
        return expected_seal(node, code, stats) == recorded
    bare = expected_seal(node, code, ())
    return bare is not None and same_but_outputs(recorded, bare)


def joined_digest(node: Node, name: str, tolerant: bool = False) -> bytes | None:
    """Return the digest of a node that only stands for what it needs; None if one of them is not known.

    With its `name`: two that stand for the same are still two requirements. `tolerant`: it may do without those that
    have failed.
    """
    parts = [b"failed" if tolerant and not need.complete and is_lost(need) else need.digest for need in node.needs]
    return None if None in parts else seal(b"together " + name.encode(errors="surrogatepass"), parts, ())  # type: ignore[arg-type]


def _examine(node: Node, row: Any, stats: Stats | None, view: TaskView, altered: set[Node]) -> None:
    before = node.digest
    close(node, view.examine(node, row, stats))
    if node.digest != before:
        altered.add(node)


def close(node: Node, finding: Finding) -> None:
    """Take over what a close look has shown."""
    node.reasons, node.digest = finding.reasons, finding.digest
    kinds = {reason.kind for reason in finding.reasons}
    if ReasonKind.MISSING in kinds:
        node.standing = Standing.MISSING
    elif kinds & UNUSABLE:
        node.standing = Standing.LOST
    elif ReasonKind.UNTRACKED in kinds:
        node.standing = Standing.UNTRACKED
    else:
        node.standing = Standing.STALE if kinds else Standing.FRESH


def _inherit(node: Node, altered: set[Node], view: TaskView) -> None:
    """Judge a node whose record matches those of what it needs, of which some have turned out to be wrong."""
    changed = [need for need in node.needs if need in altered]
    if not changed:
        return
    if view.joins(node):
        node.digest = view.together(node)
        altered.add(node)
    elif node.standing is Standing.FRESH:
        node.standing = Standing.STALE
        node.reasons = tuple([Reason(ReasonKind.INPUT_DATA, because_of=need.task) for need in changed])


def _asks_the_same(node: Node) -> bool:
    """Return whether a body would ask for what it asked for last time, as far as can be told.

    Nothing has changed but what it asked for, or what is built before it: that may come out as it was, and then the
    body does not run at all.
    """
    if node.standing is not Standing.STALE:
        return node.standing is Standing.FRESH
    place = len(node.needs) - node.recalled
    open_ = {id(need.task) for number, need in enumerate(node.needs) if number >= place or not need.complete}
    return all(reason.kind is ReasonKind.INPUT_DATA and id(reason.because_of) in open_ for reason in node.reasons)


def may_be_kept(node: Node, view: TaskView) -> bool:
    """Return whether a node that waits for what it needs may have nothing to do, if that comes out as it was."""
    if node.dropped or node.standing in (None, Standing.MISSING, Standing.LOST):
        return False
    if view.mode(node) == "frozen":
        return True
    return node.standing is not Standing.UNTRACKED and _asks_the_same(node)


def again(node: Node, code: bytes, row: Any, stats: Stats | None, view: TaskView) -> bool:
    """Return whether there is nothing to do any more for a node that was to be built.

    Its needs are settled by now; in the meantime another run may have built it, too.

    Parameters
    ----------
    node : Node
        Not forced.
    code : bytes
    row : hot row or None
        As recorded now.
    stats : Stats or None
        Of its outputs now; None if one is missing: then of a transient node it is whether it would come out equal.
    view : TaskView

    Notes
    -----
    One comparison; only where the seals differ a close look.
    """
    if row is None or row[0] != "finished" or node.dropped or (stats is None and not view.transient(node)):
        return False
    if holds(node, code, row[2], stats):
        node.standing, node.reasons, node.digest = Standing.FRESH, (), row[1]
        return True
    close(node, view.examine(node, row, stats))
    return node.standing is Standing.FRESH


def reason(node: Node) -> str:
    """Return why a judged node is not complete, in a word or two; empty if it is complete."""
    if node.complete:
        return ""
    kinds: Sequence[Reason] = node.reasons
    if kinds:
        return ", ".join(dict.fromkeys(str(reason.kind) for reason in kinds))
    return "upstream" if node.present else "missing"
