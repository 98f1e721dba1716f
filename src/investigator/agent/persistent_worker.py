"""A persistent module in its worker: `watch` in the main thread, the agent's questions in another."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from investigator.agent.persistent_channel import Alive, Answered, Asked, Ended, FromAgent, Kept, Raised, frame
from investigator.agent.privacy import MASKED_FAILURE
from investigator.agent.worker import answer_by, encode, one_line, receive_frame
from investigator.errors import InvestigatorError
from investigator.modules import get_module
from investigator.modules.needs import missing
from investigator.modules.persistent import NotAvailable, load_settings
from investigator.protocol.alert import MAX_ALERT_BYTES, MAX_ALERTS, alert_bytes

if TYPE_CHECKING:
    import socket

    from investigator.agent.channel import Request
    from investigator.modules.interface import Spec
    from investigator.protocol.alert import Alert

STACK_BYTES: Final = 1 << 20
_RAISED_BYTES: Final = 1 << 20


def stay(connection: socket.socket, request: Request) -> None:
    """Run the module until it ends; why it did is the last thing said."""
    host = WorkersHost(connection, request)
    try:
        module: Any = get_module(request.module)
        _check_needs(module.spec)
        settings = load_settings(module, request.parameters)
        threading.stack_size(STACK_BYTES)
        threading.Thread(target=host.listen, args=(module,), daemon=True).start()
        module.watch(settings, host)
        said = Ended(code="ended", text=f"module {request.module} came to an end")
    except NotAvailable as error:
        said = Ended(code="unavailable", text=str(error))
    except InvestigatorError as error:
        said = Ended(code=error.code, text=MASKED_FAILURE if request.private else str(error))
    except MemoryError:
        said = Ended(code="memory", text=f"out of memory: the limit is {request.limits.memory_bytes:,} bytes")
    except BaseException as error:  # noqa: BLE001 - module code is the only code we distrust; SystemExit included
        text = one_line(error, private=request.private)
        said = Ended(code="raised", text=f"module {request.module} raised {text}")
    host.say(said)


class WorkersHost:
    """`modules.persistent.Host`, over the socket to the agent."""

    def __init__(self, connection: socket.socket, request: Request) -> None:
        self.folder = Path(request.keeps or "")
        self.private = request.private
        self._connection = connection
        self._request = request
        self._sending = threading.Lock()
        self._kept = threading.Condition()
        self._raised = 0
        self._known = 0
        self._waiting = False
        self._beat_s = time.monotonic()

    def alert(self, *alerts: Alert) -> None:
        """As the contract says; several small ones travel together."""
        batch: list[Alert] = []
        size = 0
        for alert in alerts:
            batch.append(alert)
            size += alert_bytes(alert)
            if len(batch) == MAX_ALERTS or size > _RAISED_BYTES - MAX_ALERT_BYTES:
                self._raise(batch)
                batch, size = [], 0
        if batch:
            self._raise(batch)

    def beat(self) -> None:
        """As the contract says."""
        self._beat_s = time.monotonic()

    def say(self, message: Raised | Alive | Answered | Ended) -> None:
        """One frame, whole."""
        with self._sending:
            self._connection.sendall(frame(message))

    def listen(self, module: Any) -> None:
        """The agent's side of the conversation, until it is gone, and this process with it."""
        decoder: msgspec.json.Decoder[FromAgent] = msgspec.json.Decoder(FromAgent)
        try:
            while True:
                message = decoder.decode(receive_frame(self._connection))
                if isinstance(message, Kept):
                    with self._kept:
                        self._known = message.number
                        self._kept.notify_all()
                elif isinstance(message, Asked):
                    self._answer(module, message)
                else:
                    idle_s = 0.0 if self._waiting else time.monotonic() - self._beat_s
                    self.say(Alive(idle_s=idle_s))
        except (EOFError, OSError):
            pass
        except BaseException as error:  # noqa: BLE001 - a thread that ends alone would leave a module that nobody can ask
            print(one_line(error), file=sys.stderr)  # noqa: T201 - the agent reads it
        os._exit(1)

    def _answer(self, module: Any, asked: Asked) -> None:
        request = replace(self._request, parameters=asked.parameters)
        answer = answer_by(module, lambda parameters, _: module.answer(parameters), request)
        self.say(Answered(number=asked.number, answer=msgspec.Raw(encode(answer, request.limits))))

    def _raise(self, batch: list[Alert]) -> None:
        self._raised += 1
        with self._kept:
            self._waiting = True
            self.say(Raised(number=self._raised, alerts=batch))
            while self._known < self._raised:
                self._kept.wait()
            self._waiting = False
        self.beat()


def _check_needs(spec: Spec) -> None:
    lacks = missing(spec)
    if lacks is not None:
        raise NotAvailable(lacks)
