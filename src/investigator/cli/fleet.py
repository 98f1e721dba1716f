"""`investigator run` against the fleet: write, sign, print, explain, or ask and follow."""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from investigator.cli.request import RunRequest
from investigator.config import CONSOLE_FILE, ConsoleConfig, default_home, load_console
from investigator.console.action_file import AskedFor
from investigator.console.author import DEFAULT_TARGET, Author
from investigator.console.dispatch import Prepared, prepare
from investigator.console.passphrase import Passphrase
from investigator.console.signed_file import check_same_target
from investigator.errors import Incomplete
from investigator.protocol.action import DEFAULT_LIFE_S, Action, compressed

if TYPE_CHECKING:
    from investigator.console.audience import Audience, Summary

INTERRUPTED: Final = 130


class Asking:
    """One request, with the deployment's settings."""

    def __init__(self, request: RunRequest, asked: AskedFor) -> None:
        self.request = request
        self.asked = asked
        config = _settings(request)
        self.author = Author(
            deployment_folder(request), config, Passphrase("the investigator's key", config.passphrase_command)
        )

    def go(self) -> int:
        """Print, sign and print, explain, or ask."""
        if self.asked.envelope is not None:
            prepared = prepare(self.asked.envelope)
            check_same_target(prepared.action)
            if self.request.sign_only:  # the next signer's turn
                prepared = self.author.add_signature(prepared)
        else:
            action = self.write()
            if self.request.print_action:
                _print_unsigned(action)
                return 0
            prepared = self.author.sign(action)
        if self.request.sign_only:
            print(prepared.envelope.encode().decode())
            return 0
        if self.request.dry_run:
            return asyncio.run(self._explain(prepared))
        return asyncio.run(self._investigate(prepared))

    def write(self) -> Action:
        """The action that was asked for: target compiled, times set, sealed to this console's key."""
        request, asked = self.request, self.asked
        target = request.target or asked.target
        if not target:
            target = DEFAULT_TARGET
            print(f"[notice] no target specified, defaulting to all online agents ({DEFAULT_TARGET})", file=sys.stderr)
        operations = [compressed(operation) if request.compress else operation for operation in asked.operations]
        with_times = asked.validfrom is not None and asked.expireafter is not None and request.expire_s is None
        return self.author.write(
            name=request.name if request.named or request.file is None else asked.name,
            target=target,
            operations=operations,
            life=timedelta(seconds=request.expire_s or DEFAULT_LIFE_S),
            description=asked.description,
            threat=asked.threat,
            validfrom=asked.validfrom if with_times else None,
            expireafter=asked.expireafter if with_times else None,
            found=request.target_found,
            notfound=request.target_notfound,
        )

    async def _investigate(self, prepared: Prepared) -> int:
        from investigator.cli.console_log import console_log
        from investigator.console.render import renderer

        modules = [operation.module for operation in prepared.action.operations]
        audience = renderer(self.request.output, show=self.request.show, modules=modules)
        self.author.refuse_unreadable(prepared.action)  # before anybody is connected to
        with console_log(self.author.config, self.request.log):
            summary = await self._followed(prepared, audience)
        if summary.interrupted:
            print(f"`investigator cancel {prepared.action.id}` stops it on the agents", file=sys.stderr)
            return INTERRUPTED
        answered = summary.states.get("found", 0) + summary.states.get("notfound", 0)
        return 0 if answered == summary.targeted else Incomplete.exit_code

    async def _followed(self, prepared: Prepared, audience: Audience) -> Summary:
        from investigator.cli.signals import stop_event
        from investigator.console.investigator import Investigator

        async with Investigator(author=self.author) as console:
            return await console.send(prepared, wait=self.request.wait).follow(audience, stop_event())

    async def _explain(self, prepared: Prepared) -> int:
        """`--dry-run`: everything about the action, and the agents that it would reach; nothing is sent."""
        from investigator.console.fleet import load_fleet
        from investigator.console.forewarning import forewarnings
        from investigator.console.link import console_link
        from investigator.console.session import Session
        from investigator.console.store import Store
        from investigator.console.table import write_agents
        from investigator.protocol.action import utc

        async with console_link(self.author.config) as broker, Store(self.author.config.store) as store:
            fleet = await load_fleet(Session(broker, store, self.author.rules(_warn), self.author.config.enrolment))
        now = utc(time.time())
        matching = fleet.inventory.matching(prepared.condition, now)
        hosts = fleet.counted(matching)
        for line in [*fleet.warnings, *fleet.standings(matching), *forewarnings(hosts, prepared.action)]:
            _warn(line)
        document = {
            "action": orjson.loads(prepared.envelope.signed_bytes),
            "condition": prepared.action.condition,
            "subjects": prepared.subjects,
            "agents": [{"id": host.id, "name": host.name} for host in hosts],
        }
        if self.request.output != "text":
            print(orjson.dumps(document).decode())
            return 0
        print(orjson.dumps(document["action"], option=orjson.OPT_INDENT_2).decode())
        print(f"condition  {orjson.dumps(prepared.action.condition).decode()}")
        print(f"subjects   {', '.join(prepared.subjects)}")
        print(f"agents     {len(hosts)}; nothing was sent")
        write_agents([fleet.enrolled.row(host, now) for host in hosts], output="text", now=now)
        return 0


def _warn(line: str) -> None:
    from investigator.printable import printable

    print(f"warning: {printable(line)}", file=sys.stderr)


def deployment_folder(request: RunRequest) -> Path:
    """The folder of the deployment that a request means."""
    if request.config is not None:
        return Path(request.config).absolute().parent
    return request.home.absolute() if request.home is not None else default_home()


def _settings(request: RunRequest) -> ConsoleConfig:
    file = CONSOLE_FILE if request.config is None else request.config.name
    return load_console(deployment_folder(request), file)


def _print_unsigned(action: Action) -> None:
    """MIG's `-p`: for a file that somebody completes, signs and sends; its times are not set yet."""
    document: dict[str, Any] = orjson.loads(action.encode())
    for key in ("id", "type", "condition", "sealto"):
        del document[key]
    document["validfrom"] = document["expireafter"] = "0001-01-01T00:00:00Z"
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
