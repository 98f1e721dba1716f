"""`investigator enrol`: who is one of ours: tokens for new agents, approvals, revocations, and the service that lets agents in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from investigator.cli.options import Home, Output, home_folder
from investigator.errors import BadInput

if TYPE_CHECKING:
    from investigator.console.inventory import Inventory
    from investigator.protocol.enrolment import Known
    from investigator.protocol.envelope import Envelope
    from investigator.protocol.statement import Statement

app = typer.Typer(name="enrol", help="Who is one of ours.", no_args_is_help=True)

Agent = Annotated[
    str, typer.Argument(metavar="AGENT", help="Its id, the beginning of it, or a name that only one has.")
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; the agent hears it, and consoles tell it.")]
SignOnly = Annotated[
    bool, typer.Option("--sign-only", help="Print the signed statement instead of sending it: for the next signer.")
]


@app.callback()
def enrol() -> None:
    """Who is one of ours: tokens for new agents, approvals, revocations, the service."""


@app.command()
def token(
    *,
    count: Annotated[int, typer.Option(min=1, metavar="N", help="For how many agents.")] = 1,
    expires: Annotated[str, typer.Option(metavar="DURATION", help="Until when new agents may come with it.")] = "7d",
    name: Annotated[str, typer.Option(metavar="GLOB", help="Which names they may have, such as 'web-*'.")] = "*",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="A new private file for it.")
    ] = None,
    add: Annotated[
        Path | None,
        typer.Option("--add", metavar="FILE", help="Add your signature to this token: where one is not enough."),
    ] = None,
    home: Home = None,
) -> None:
    """Make a token, for agent.toml's [enrolment] (token = "..."), or as a file (token_file). It is a secret."""
    import asyncio

    asyncio.run(_token(home_folder(home), count, expires, name, output, add))


async def _token(home: Path, count: int, expires: str, name: str, output: Path | None, add: Path | None) -> None:  # noqa: PLR0917 - as typed
    import time
    from datetime import timedelta

    from investigator.cli.request import life_s
    from investigator.config import load_console
    from investigator.console.enrolling import add_signature, make_token, secret_token, send_statement
    from investigator.console.files import PRIVATE, read_input, write_new
    from investigator.console.keys import load_signer
    from investigator.console.link import console_link
    from investigator.console.passphrase import Passphrase
    from investigator.errors import BrokerError
    from investigator.protocol.statement import Token, decode_statement_envelope, parse_statement
    from investigator.protocol.token import MAX_TOKEN_CHARACTERS, decode_token

    config = load_console(home)
    signer = load_signer(config.signer, Passphrase("the investigator's key", config.passphrase_command))
    if add is not None:
        old = decode_token(read_input(add, max_bytes=MAX_TOKEN_CHARACTERS).decode("ascii", "replace"))
        envelope = add_signature(decode_statement_envelope(old.statement.encode()), signer)
        made = secret_token(old.private, envelope)
    else:
        life = timedelta(seconds=life_s(expires, what="--expires"))
        made, _ = make_token(signer, count=count, life=life, now_s=time.time(), names=name)
        envelope = decode_statement_envelope(made.statement.encode())
    statement = parse_statement(envelope.signed_bytes)
    assert isinstance(statement, Token)
    problem = _shortage(home, envelope)
    if problem:
        _say(f"[notice] not good yet: {problem}; `investigator enrol token --add FILE` adds a signature")
    if output is None:
        print(made.encode())
    else:
        write_new(output, made.encode().encode() + b"\n", mode=PRIVATE)
    _say(
        f"token {statement.key}: {statement.count} new agents named {statement.names}, until {statement.expires:%Y-%m-%dT%H:%M:%SZ}"
    )
    if not problem:
        try:  # it travels with the token as well; the records are for people
            async with console_link(config) as broker:
                await send_statement(broker, envelope)
        except BrokerError as error:
            _say(f"[notice] not recorded: {error}; it is good all the same")


@app.command("list")
def list_agents(
    state: Annotated[str, typer.Option(metavar="STATE", help="Only enrolled, pending, denied or revoked ones.")] = "",
    output: Annotated[Output, typer.Option(help="How to write them.")] = Output.TEXT,
    home: Home = None,
) -> None:
    """List whom the enrolment service knows: id, name, state, since when, until when, bytes heard, and what is odd."""
    import asyncio

    if state not in ("", "enrolled", "pending", "denied", "revoked"):
        raise BadInput(f"--state {state[:40]!r}: enrolled, pending, denied or revoked")
    asyncio.run(_list(home_folder(home), state, output))


async def _list(home: Path, state: str, output: Output) -> None:
    from investigator.config import load_console
    from investigator.console.enrolling import known_agents
    from investigator.console.link import console_link
    from investigator.console.render_enrolment import write_known

    async with console_link(load_console(home)) as broker:
        agents, policy = await known_agents(broker, state)
    write_known(agents, policy=policy, output=output.value)


@app.command()
def approve(
    agents: Annotated[list[str], typer.Argument(metavar="AGENT...", help="Ids, beginnings of ids, or names.")],
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="Which name it gets; default: the one it says.")] = "",
    replaces: Annotated[
        str, typer.Option(metavar="AGENT", help="Who had the name, and is let go; default: who has it here.")
    ] = "",
    sign_only: SignOnly = False,
    home: Home = None,
) -> None:
    """Sign that an agent is who it says: a new one, one that was denied, or one whose name was another's."""
    import asyncio

    if len(agents) > 1 and (name or replaces):
        raise BadInput("--name and --replaces are for one agent at a time")
    asyncio.run(_approve(home_folder(home), agents, name, replaces, sign_only=sign_only))


async def _approve(home: Path, words: list[str], name: str, replaces: str, *, sign_only: bool) -> None:
    import time

    from investigator.console.enrolling import candidates, find_candidate, write_pin

    async with _Signing(home) as signing:
        inventory, known = await signing.look()
        among = candidates(known, list(inventory.hosts.values()))
        for word in words:
            found = find_candidate(word, among)
            before = (
                find_candidate(replaces, among).agent
                if replaces
                else signing.holder(name or found.name, but=found.agent)
            )
            pin = write_pin(found, name=name or found.name, replaces=before, now_s=time.time())
            _say(f"{found.agent} is {pin.name}" + (f"; {before}, which had the name, is let go" if before else ""))
            await signing.sign_and_send(pin, sign_only=sign_only)


@app.command()
def deny(agent: Agent, reason: Reason = "", sign_only: SignOnly = False, home: Home = None) -> None:
    """Sign that an agent that waits is none of ours."""
    import asyncio

    asyncio.run(_revoke(home_folder(home), agent, "", reason, sign_only=sign_only))


@app.command()
def revoke(
    agent: Annotated[
        str, typer.Argument(metavar="AGENT", help="Its id, the beginning of it, or a name that only one has.")
    ] = "",
    *,
    token_key: Annotated[
        str, typer.Option("--token", metavar="KEY", help="Close a token instead: nobody more comes in by it.")
    ] = "",
    reason: Reason = "",
    sign_only: SignOnly = False,
    home: Home = None,
) -> None:
    """Shut an agent out, within seconds, and purge what the streams hold of it; or close a token."""
    import asyncio

    if bool(agent) == bool(token_key):
        raise BadInput("an agent, or --token KEY: one of the two")
    asyncio.run(_revoke(home_folder(home), agent, token_key, reason, sign_only=sign_only))


async def _revoke(home: Path, word: str, token_key: str, reason: str, *, sign_only: bool) -> None:
    import time
    from datetime import UTC, datetime

    from investigator.console.enrolling import candidates, find_candidate
    from investigator.protocol.statement import MAX_KEPT, Unenrol

    async with _Signing(home) as signing:
        inventory, known = await signing.look()
        created = datetime.fromtimestamp(int(time.time()), UTC)
        if word:
            agent = find_candidate(word, candidates(known, list(inventory.hosts.values()))).agent
            await signing.sign_and_send(Unenrol(agent=agent, reason=reason, created=created), sign_only=sign_only)
            return
        kept = sorted((await signing.store.vouched()).get(token_key, []))
        _say(f"{len(kept)} agents that came by it, as far as this console knows, stay")
        for start in range(0, len(kept) or 1, MAX_KEPT):
            keep = tuple(kept[start : start + MAX_KEPT])
            statement = Unenrol(token=token_key, keep=keep, reason=reason, created=created)
            await signing.sign_and_send(statement, sign_only=sign_only)


@app.command()
def send(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A statement that somebody signed (--sign-only).")],
    sign_only: SignOnly = False,
    home: Home = None,
) -> None:
    """Add your signature to a statement, and send it."""
    import asyncio

    asyncio.run(_send(home_folder(home), file, sign_only=sign_only))


async def _send(home: Path, file: Path, *, sign_only: bool) -> None:
    from investigator.console.enrolling import add_signature
    from investigator.console.files import read_input
    from investigator.protocol.statement import MAX_STATEMENT_ENVELOPE_BYTES, decode_statement_envelope, parse_statement

    envelope = decode_statement_envelope(read_input(file, max_bytes=MAX_STATEMENT_ENVELOPE_BYTES))
    parse_statement(envelope.signed_bytes)
    _say(f"signing {envelope.action}")
    async with _Signing(home) as signing:
        await signing.send(add_signature(envelope, signing.signer), sign_only=sign_only)


@app.command()
def serve(
    url: Annotated[str, typer.Option(metavar="URL", help="Where the broker is; default: as broker.toml says.")] = "",
    home: Home = None,
) -> None:
    """Run the enrolment service beside a broker that runs elsewhere, until Ctrl-C or SIGTERM."""
    import asyncio

    from investigator.cli.enrolment_service import serve_alone

    asyncio.run(serve_alone(home_folder(home), url))


class _Signing:
    """An investigator at a console, with a broker, a store and a key."""

    def __init__(self, home: Path) -> None:
        from contextlib import AsyncExitStack

        self._home = home
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        from investigator.config import load_console
        from investigator.console.keys import load_signer
        from investigator.console.link import console_link
        from investigator.console.passphrase import Passphrase
        from investigator.console.store import Store

        self._config = load_console(self._home)
        passphrase = Passphrase("the investigator's key", self._config.passphrase_command)
        self.signer = load_signer(self._config.signer, passphrase)
        self.broker = await self._open.enter_async_context(console_link(self._config))
        self.store = await self._open.enter_async_context(Store(self._config.store))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    async def look(self) -> tuple[Inventory, list[Known]]:
        """The fleet, and whom the service knows; without a service, nobody."""
        from investigator.console.enrolling import known_agents
        from investigator.console.fleet import load_fleet
        from investigator.console.rules import load_rules
        from investigator.console.session import Session
        from investigator.errors import BrokerError

        session = Session(self.broker, self.store, load_rules(self._home), self._config.enrolment)
        fleet = await load_fleet(session)
        self._enrolled = fleet.enrolled
        try:
            known, _ = await known_agents(self.broker)
        except BrokerError as error:
            _say(f"[notice] the enrolment service does not answer: {error}")
            known = []
        return fleet.inventory, known

    def holder(self, name: str, *, but: str) -> str:
        """The id of the other agent that has a name here; empty: nobody."""
        agent = self._enrolled.owner(name)
        return "" if agent == but else agent

    async def sign_and_send(self, statement: Statement, *, sign_only: bool) -> None:
        from investigator.console.enrolling import sign_statement

        await self.send(sign_statement(statement, self.signer), sign_only=sign_only)

    async def send(self, envelope: Envelope, *, sign_only: bool) -> None:
        from investigator.console.enrolling import send_statement
        from investigator.errors import Refused
        from investigator.printable import printable

        if sign_only:
            print(envelope.encode().decode())
            return
        problem = _shortage(self._home, envelope)
        if problem:
            raise Refused(problem, hint="--sign-only prints it for the next signer, who adds theirs with `enrol send`.")
        print(printable(await send_statement(self.broker, envelope)))


def _shortage(home: Path, envelope: Envelope) -> str:
    """Why this console's own rules would not take a statement; empty: they do."""
    import time

    from investigator.console.rules import load_rules
    from investigator.errors import Refused
    from investigator.protocol.statement import judge_statement

    rules = load_rules(home)
    try:
        judge_statement(envelope, keyring=rules.keyring, acl=rules.acl, now_s=time.time())
    except Refused as error:
        return str(error)
    return ""


def _say(line: str) -> None:
    from investigator.printable import printable

    print(printable(line), file=sys.stderr)
