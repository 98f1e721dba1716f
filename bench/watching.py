"""What counting and logging cost an agent for each action, against one Ed25519 signature, which it makes for each answer.

    .venv/bin/python bench/watching.py [ROUNDS]

An action of one operation has seven lines in the log: not written (the default: nobody wants `info`), and written to a file.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from figures import figure
from investigator.agent.counts import Counts
from investigator.logs import Logs, LogSettings, about
from investigator.metrics import Page
from investigator.protocol.identity import Identity

PER_ROUND: Final = 2000
ACTION, DIGEST = "5f0c2b" * 5, "ab" * 32
_log = logging.getLogger("investigator.agent.bench")


def one_action(counts: Counts) -> None:
    """As `agent.actions`, `answers` and `delivery` count and log one."""
    counts.heard += 1
    _log.info(
        "action %s received on %s", ACTION, "all", extra=about("received", action=ACTION, digest=DIGEST, live=True)
    )
    counts.admit()
    _log.info(
        "action %s %r admitted", ACTION, "name", extra=about("admitted", action=ACTION, digest=DIGEST, signers=["A"])
    )
    on = {"action": ACTION, "digest": DIGEST}
    _log.info("action %s: operation %d started", ACTION, 0, extra=about("started", **on, operation=0, module="file"))
    counts.operation("file", "", 0.01)
    _log.info("action %s: operation %d done", ACTION, 0, extra=about("operation-ended", **on, operation=0, took_s=0.01))
    counts.ended["found"] += 1
    _log.info("action %s ended: %s", ACTION, "found", extra=about("ended", **on, state="found", took_s=0.01))
    _log.info("action %s: the answer is in the outbox", ACTION, extra=about("answered", **on, state="found"))
    counts.delivered += 1
    if _log.isEnabledFor(logging.INFO):
        _log.info("action %s: the stream has the answer", ACTION, extra=about("delivered", action=ACTION, bytes=1400))


def microseconds(work: Callable[[], object], times: int) -> float:
    """Of one call."""
    began_ns = time.perf_counter_ns()
    for _ in range(times):
        work()
    return (time.perf_counter_ns() - began_ns) / times / 1000


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    identity, counts = Identity.generate(), Counts()
    signing, silent, written = [], [], []
    with tempfile.TemporaryDirectory(prefix="watching-") as folder:
        for _ in range(rounds):
            signing.append(microseconds(lambda: identity.sign("bench", b"x" * 500), PER_ROUND))
            with Logs("agent", LogSettings(), bare=True):
                silent.append(microseconds(lambda: one_action(counts), PER_ROUND))
            with Logs("agent", LogSettings(file=Path(folder) / "agent.jsonl"), bare=True):
                written.append(microseconds(lambda: one_action(counts), PER_ROUND))
    sign_us, silent_us, written_us = map(statistics.median, (signing, silent, written))
    figure("watching.counted", silent_us / sign_us, against="one Ed25519 signature", goal=1.0, note="an action, no log")
    figure(
        "watching.logged",
        written_us / sign_us,
        against="one Ed25519 signature",
        note="an action, seven lines in a file",
    )
    figure("watching.counted_us", silent_us, unit="us")
    figure("watching.logged_us", written_us, unit="us")
    page = microseconds(_page, 200)
    figure("watching.page_us", page, unit="us", note="a page of 100 samples")


def _page() -> str:
    page = Page()
    for number in range(100):
        page.counter("investigator_agent_operations_total", "Operations.", number, module="file", code=str(number))
    return str(page)


if __name__ == "__main__":
    main()
