"""`investigator run` against the fleet: write, sign, print, explain, or ask and follow."""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from investigator.cli.request import DEFAULT_LIFE_S, RunRequest
from investigator.config import CONSOLE_FILE, ConsoleConfig, default_home, load_console
from investigator.console.action_file import AskedFor
from investigator.console.dispatch import Prepared, add_signature, prepare, sign_action, write_action
from investigator.console.keys import load_sealing_key, load_sealto, load_signer
from investigator.console.passphrase import Passphrase
from investigator.console.people_file import owners, read_people
from investigator.console.rules import Rules, rules_in_force
from investigator.console.signed_file import check_same_target
from investigator.errors import BadInput, Incomplete, Refused
from investigator.protocol.action import Action, compressed
from investigator.protocol.sealing import public_sealing_key

DEFAULT_TARGET: Final = "status='online'"
INTERRUPTED: Final = 130


class Asking:
    """One request, with the deployment's settings."""

    def __init__(self, request: RunRequest, asked: AskedFor) -> None:
        self.request = request
        self.asked = asked
        self.config: ConsoleConfig = _settings(request)
        self.passphrase = Passphrase("the investigator's key", self.config.passphrase_command)

    def go(self) -> int:
        """Print, sign and print, explain, or ask."""
        if self.asked.envelope is not None:
            prepared = prepare(self.asked.envelope)
            check_same_target(prepared.action)
            if self.request.sign_only:  # the next signer's turn
                prepared = add_signature(prepared, load_signer(self.config.signer, self.passphrase))
        else:
            action = self.write()
            if self.request.print_action:
                _print_unsigned(action)
                return 0
            prepared = sign_action(action, load_signer(self.config.signer, self.passphrase))
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
        return write_action(
            name=request.name if request.named or request.file is None else asked.name,
            target=target,
            operations=operations,
            now_s=time.time(),
            life=timedelta(seconds=request.expire_s or DEFAULT_LIFE_S),
            macros=self.config.targets,
            sealto=None if self.config.sealing_key is None else load_sealto(self.config.sealing_key, self.passphrase),
            description=asked.description,
            threat=asked.threat,
            validfrom=asked.validfrom if with_times else None,
            expireafter=asked.expireafter if with_times else None,
            found=request.target_found,
            notfound=request.target_notfound,
        )

    def _refuse_unreadable(self, action: Action, private_key: bytes | None) -> None:
        """Whoever follows an action must be able to open its results: to all others every agent would seem silent."""
        own = None if private_key is None else base64.b64encode(public_sealing_key(private_key)).decode()
        if action.sealto not in (None, own):
            owner = owners(read_people(self.config.people)).get(action.sealto or "", f"another key, {action.sealto}")
            raise Refused(
                f"action {action.id}: its results are sealed to {owner}, and this console could not open them",
                hint="Who wrote the action sends it.",
            )

    def rules(self) -> Rules | None:
        """Whose word about agents counts."""
        return rules_in_force(deployment_folder(self.request), _warn)

    def _private_key(self) -> bytes:
        if self.config.sealing_key is None:
            raise BadInput("console.toml names no sealing_key")
        return load_sealing_key(self.config.sealing_key, self.passphrase)

    async def _investigate(self, prepared: Prepared) -> int:
        from investigator.cli.signals import stop_event
        from investigator.console.investigation import investigate
        from investigator.console.link import console_link
        from investigator.console.render import renderer
        from investigator.console.store import Store

        modules = [operation.module for operation in prepared.action.operations]
        audience = renderer(self.request.output, show=self.request.show, modules=modules)
        private_key = None if self.config.sealing_key is None else self._private_key()
        self._refuse_unreadable(prepared.action, private_key)
        async with console_link(self.config) as broker, Store(self.config.store) as store:
            summary = await investigate(
                prepared,
                broker,
                store,
                audience,
                rules=self.rules(),
                policy=self.config.enrolment,
                private_key=private_key,
                wait=self.request.wait,
                stop=stop_event(),
            )
        if summary.interrupted:
            print(f"`investigator cancel {prepared.action.id}` stops it on the agents", file=sys.stderr)
            return INTERRUPTED
        answered = summary.states.get("found", 0) + summary.states.get("notfound", 0)
        return 0 if answered == summary.targeted else Incomplete.exit_code

    async def _explain(self, prepared: Prepared) -> int:
        """`--dry-run`: everything about the action, and the agents that it would reach; nothing is sent."""
        from investigator.console.enrolled import load_fleet
        from investigator.console.forewarning import forewarnings
        from investigator.console.link import console_link
        from investigator.console.store import Store
        from investigator.console.table import write_agents
        from investigator.printable import printable
        from investigator.protocol.action import utc

        async with console_link(self.config) as broker, Store(self.config.store) as store:
            inventory, enrolled = await load_fleet(broker, store, self.rules(), self.config.enrolment)
        now = utc(time.time())
        matching = inventory.matching(prepared.condition, now)
        hosts = [host for host in matching if enrolled.counts(host)]
        for line in [
            *enrolled.warnings(matching, inventory.hosts.values()),
            *forewarnings(hosts, prepared.action),
        ]:
            print(f"warning: {printable(line)}", file=sys.stderr)
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
        write_agents([enrolled.row(host, now) for host in hosts], output="text", now=now)
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
