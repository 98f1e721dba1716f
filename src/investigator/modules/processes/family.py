"""Which processes are this run's own: they hold what is searched for, because they were asked to search for it.

These are this process, its ancestors up to the first process of the host, and, in a worker, all that the fork server
started: the workers of other operations and what they run. Nothing a stranger can set makes it a member.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from investigator.modules.processes.procfs import Ended, Process, pids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from investigator.modules.processes.parsing import Stat

MARK: Final = "INVESTIGATOR_WORKERS"
"""The variable in a fork server's environment, and so in ours; that of other processes is not asked."""
INIT: Final = 1


def own_family(stats: Mapping[int, Stat], *, me: int | None = None, in_worker: bool | None = None) -> frozenset[int]:
    """The pids among `stats` that are our own.

    The host's first process is an ancestor of all. It counts as our own only where it shares a session with us: where a
    container was started for this program, not on a host whose service manager started the agent.
    """
    me = os.getpid() if me is None else me
    in_worker = MARK in os.environ if in_worker is None else in_worker
    ancestors = _ancestors(me, stats)
    if ancestors[-1] == INIT and len(ancestors) > 1:
        sessions = {stats[pid].session for pid in ancestors[:-1] if pid in stats}
        if INIT not in stats or stats[INIT].session not in sessions:
            ancestors.pop()
    server = stats[me].parent if in_worker and me in stats else 0
    return frozenset(ancestors) | (_below(server, stats) if server > INIT else frozenset())


def all_stats() -> dict[int, Stat]:
    """The `stat` of every process that can be seen."""
    found = {}
    for pid in pids():
        try:
            with Process(pid) as process:
                found[pid] = process.stat()
        except (Ended, OSError):
            continue
    return found


def _ancestors(pid: int, stats: Mapping[int, Stat]) -> list[int]:
    chain = [pid]
    while (known := stats.get(chain[-1])) is not None and known.parent > 0 and known.parent not in chain:
        chain.append(known.parent)
    return chain


def _below(root: int, stats: Mapping[int, Stat]) -> frozenset[int]:
    children: dict[int, list[int]] = {}
    for pid, known in stats.items():
        children.setdefault(known.parent, []).append(pid)
    found: set[int] = set()
    pending = [root]
    while pending:
        for child in children.get(pending.pop(), ()):
            if child not in found:
                found.add(child)
                pending.append(child)
    return frozenset(found)
