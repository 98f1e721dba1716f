"""Whether the results' stream has room: what an answer is worth that nobody can read later."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from investigator.broker.streams import how_full
from investigator.errors import BrokerError
from investigator.protocol.answer import MAX_PART_BYTES
from investigator.protocol.subjects import RESULTS

if TYPE_CHECKING:
    from investigator.broker.connection import Broker
    from investigator.console.audience import Audience

NEARLY_FULL_FROM: Final = 0.9


async def warn_of_full_stream(broker: Broker, audience: Audience) -> None:
    """One line where the results' stream takes nothing more, or soon will.

    What was heard live is told all the same; who asks later, or elsewhere, has it once there is room again. Whether there is
    is not worth an error: a broker that does not say is as good as one that has.
    """
    if not broker.is_connected:
        return
    with contextlib.suppress(BrokerError):
        state = await how_full(broker, RESULTS)
        who = "`investigator enrol list` says who sends how much, and `enrol revoke` shuts out who floods"
        if state.room_bytes < MAX_PART_BYTES:
            audience.warn(f"stream {RESULTS} takes nothing more: answers wait on their hosts; {who}")
        elif state.full >= NEARLY_FULL_FROM:
            audience.warn(
                f"stream {RESULTS} is {int(100 * state.full)} % full; at 100 % answers wait on their hosts; {who}"
            )
