"""The run: files, then processes, in a thread that can be left behind.

A read can hang for ever, on a network's file system or on a process's memory: then what was found until the time was up
is the answer, and the thread ends with the worker.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from investigator.errors import BadParameters
from investigator.modules.processes.crew import GRACE_S, end_before
from investigator.modules.yara.files import FileScan
from investigator.modules.yara.parameters import file_plans, name_pattern
from investigator.modules.yara.processes import ProcessScan
from investigator.modules.yara.rules import compile_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.modules.interface import Context
    from investigator.modules.yara.parameters import Parameters
    from investigator.modules.yara.report import Report

READS_MEMORY: Final = sys.platform == "linux"
NO_MEMORY: Final = "processes: their memory can be read on Linux alone"


def scan(parameters: Parameters, context: Context, report: Report) -> None:
    """Apply the rules to all that was asked for, until the time is up.

    Raises:
        BadParameters, BadRegex: what `YaraModule.check` would say; or nothing of it can be done on this system.
    """
    plans = file_plans(parameters, folder=context.folder, local=True)
    pattern = name_pattern(parameters)
    rules = compile_rules(parameters.yara)
    assert rules is not None
    deadline_s = end_before(context.deadline_s)
    if plans:
        files = FileScan(rules, report, deadline_s)
        _in_time(lambda: files.run(plans, context), files.say_out_of_time, report, deadline_s)
    if pattern is not None and not READS_MEMORY:
        if not plans:
            raise BadParameters(NO_MEMORY)
        report.notes.error(NO_MEMORY)
    elif pattern is not None:
        processes = ProcessScan(rules, report, deadline_s)
        _in_time(lambda: processes.run(pattern), processes.say_out_of_time, report, deadline_s)


def _in_time(work: Callable[[], None], say: Callable[[], None], report: Report, deadline_s: float) -> None:
    """Do it in a thread, and report what it tells; where it does not end in time, `say` so. What it raises is raised here."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
            raised.append(error)
        finally:
            report.scan_ended()

    if time.monotonic() >= deadline_s:
        say()
        return
    threading.Thread(target=run, name="yara-scan", daemon=True).start()
    if not report.listen(deadline_s + GRACE_S):
        say()
    elif raised:
        raise raised[0]
