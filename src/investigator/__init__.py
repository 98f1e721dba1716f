"""Ask thousands of hosts one question, and have every answer seconds later.

The story of one action is the order in which to read this package:

1. Written.  An investigator writes an action: a target, a validity window, operations.
   `protocol.action` is its shape; `modules` says what an operation may ask; `cli.request` takes it
   from the command line, `console.action_file` from a file.
2. Signed.   `pgp.signer` signs its exact bytes; `protocol.envelope` carries bytes and signatures.
3. Routed.   `console.condition` compiles the target's SQL to the nodes of `protocol.target`;
   `protocol.subjects` names where it goes; `console.dispatch` publishes it over `broker`.
4. Admitted. `agent.service` hears it and `agent.actions` takes it through the one gate,
   `protocol.admission`, with `pgp.keyring` for the signatures and `protocol.acl` for the weights.
5. Run.      `agent.runner` has each operation run by `agent.worker`, forked from
   `agent.forkserver`, under `agent.limits`.
6. Answered. `protocol.result` is what came of it; `protocol.answer` puts it on the wire, signed by
   `protocol.identity`, sealed by `protocol.sealing`; `agent.outbox` keeps it until the stream has it.
7. Tallied.  `console.collect` opens what comes back, `protocol.tally` folds it until every
   targeted agent is in one state, `console.render` shows it; `console.investigation` leads 3 to 7.

For programs there are `Investigator`, which leads through all of it (`console.investigator`), what its methods give, and
`investigator.errors`. They are imported when they are first asked for, so that an agent has nothing of them.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know the name; `typing` itself would cost each start 9 ms
if TYPE_CHECKING:
    from investigator.console.audience import Summary
    from investigator.console.following import AgentOutcome, Investigation
    from investigator.console.investigator import Agent, Investigator, RecordedAction
    from investigator.console.stopping import Stopped
    from investigator.protocol.action import Operation
    from investigator.protocol.result import Result

__version__ = "0.1.0"
__all__ = [
    "Agent",
    "AgentOutcome",
    "Investigation",
    "Investigator",
    "Operation",
    "RecordedAction",
    "Result",
    "Stopped",
    "Summary",
]

_PLACES = {
    "Agent": "console.investigator",
    "AgentOutcome": "console.following",
    "Investigation": "console.following",
    "Investigator": "console.investigator",
    "Operation": "protocol.action",
    "RecordedAction": "console.investigator",
    "Result": "protocol.result",
    "Stopped": "console.stopping",
    "Summary": "console.audience",
}


def __getattr__(name: str) -> object:
    """The library's names, on demand (PEP 562)."""
    from importlib import import_module

    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
