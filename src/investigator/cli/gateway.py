"""`investigator gateway`: answers scripts over NATS; and what scripts need: credentials, and a client for shells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from investigator.cli.options import Home, home_folder
from investigator.errors import BadInput, BrokerError, InvestigatorError, Refused

if TYPE_CHECKING:
    import asyncio

    from investigator.broker.connection import Broker, Message
    from investigator.broker.credentials import Credentials
    from investigator.broker.micro import Service
    from investigator.broker.tls import ClientTls
    from investigator.config import GatewayConfig
    from investigator.console.store import Store

STORE: Final = "gateway.sqlite"
app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def gateway(
    context: typer.Context,
    home: Home = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of requests and replies.")] = False,
) -> None:
    """Answer scripts on mig.api.run, agents, actions, results and cancel, until Ctrl-C or SIGTERM.

    It publishes what people signed and passes on what agents answer. No key that an agent obeys is needed here, and none
    that opens results.
    """
    import asyncio
    import json

    if context.invoked_subcommand is not None:
        return
    if schema:
        from investigator.protocol.api import schema as document

        print(json.dumps(document(), indent=2))
        return
    asyncio.run(_serve(home_folder(home)))


@app.command("script")
def script(
    name: Annotated[str, typer.Argument(help="What the script is called on the broker.")],
    out: Annotated[
        Path | None, typer.Option("-o", metavar="FILE", help="Where its credentials go; default: NAME.creds.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Shut it out, within seconds.")] = False,
    home: Home = None,
) -> None:
    """Make a script's broker credentials, which let it ask a gateway and do nothing else."""
    import time

    from investigator.broker.operator import add_person, remove_person
    from investigator.broker.scopes import Scope
    from investigator.config import load_broker

    folder, now_s = load_broker(home_folder(home)).store, int(time.time())
    if remove:
        if not remove_person(folder, name, now_s=now_s, scope=Scope.SCRIPT):
            raise BadInput(f"no script is called {name[:60]!r}")
        print(f"{name} is shut out")
        return
    file = out or Path(f"{name}.creds")
    if file.exists():
        raise BadInput(f"{file} is there already")
    add_person(folder, name, now_s=now_s, scope=Scope.SCRIPT).save(file)
    print(f"{file}: ask with it on mig.api.*, with the inbox prefix _INBOX.{name}")


@app.command("call")
def call(
    method: Annotated[str, typer.Argument(help="run, agents, actions, results or cancel.")],
    credentials: Annotated[Path, typer.Option("--credentials", metavar="FILE", help="The script's .creds file.")],
    *,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="The broker's; default: that of the deployment.")
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FILE", help="Whom to trust as a broker; default: the deployment's CA."),
    ] = None,
    wait: Annotated[
        str, typer.Option("--wait", metavar="DURATION", help="How long to wait for the next reply.")
    ] = "60s",
    home: Home = None,
) -> int:
    """Ask a gateway, for scripts in a shell: the request from standard input, each reply as a line of JSON.

    Leaves with 0 after the last reply, and with the code of docs/protocol.md where the gateway says what went wrong.
    """
    import asyncio
    import sys

    from investigator.broker.credentials import Credentials
    from investigator.broker.tls import ClientTls
    from investigator.cli.request import life_s
    from investigator.config import load_gateway
    from investigator.protocol.api import MAX_REQUEST_BYTES, METHODS

    if method not in METHODS:
        raise BadInput(f"a gateway has no method {method[:60]!r}", hint=f"It has {', '.join(METHODS)}.")
    link = None if url else load_gateway(home_folder(home)).broker
    server, ca = (url or "", ca) if link is None else (link.url, ca or link.ca)
    tls = ClientTls(ca) if ca is not None else None
    request = b"" if sys.stdin.isatty() else sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1)
    wait_s = life_s(wait, what="--wait")
    return asyncio.run(_call(server, Credentials.load(credentials), tls, method, request, wait_s))


async def _call(  # noqa: PLR0917 - what was typed
    url: str, credentials: Credentials, tls: ClientTls | None, method: str, request: bytes, wait_s: float
) -> int:
    import asyncio
    import secrets

    from investigator.broker.connection import connect
    from investigator.broker.link import STATUS
    from investigator.protocol.subjects import api_subject

    replies: asyncio.Queue[Message] = asyncio.Queue()
    async with await connect(url, credentials, name=f"script {credentials.name}", tls=tls) as broker:
        inbox = f"{broker.inbox}.{secrets.token_hex(11)}"
        await broker.subscribe(inbox, replies.put_nowait)
        await broker.publish(api_subject(method), request.strip(), reply=inbox)
        await broker.flush()
        while True:
            try:
                reply = await asyncio.wait_for(replies.get(), wait_s)
            except TimeoutError:
                raise BrokerError(f"no reply within {wait_s:g} s") from None
            if reply.headers.get(STATUS) == "503":
                raise BrokerError("no gateway listens", hint="`investigator gateway` runs one.")
            if not reply.data:
                return 0
            _show(reply.data)


def _show(document: bytes) -> None:
    """A reply as it came; one that says what went wrong is raised.

    Raises:
        InvestigatorError: that.
    """
    import orjson

    from investigator.protocol.codec import one_line

    said = orjson.loads(document)
    if isinstance(said, dict) and "error" in said and "type" not in said:
        raise _as_error(one_line(str(said["error"])), str(said.get("code", "")), one_line(str(said.get("hint", ""))))
    print(orjson.dumps(said).decode(), flush=True)


def _as_error(message: str, code: str, hint: str) -> InvestigatorError:
    """The kind of error that leaves with the same exit code: what was given, what was refused, or the gateway's own state."""
    kinds: dict[str, type[InvestigatorError]] = {
        **dict.fromkeys(("bad-input", "bad-target", "bad-parameters", "bad-regex"), BadInput),
        **dict.fromkeys(("broker", "busy", "too-long", "too-slow", "stopping", "stream-full"), BrokerError),
        **dict.fromkeys(("deployment", "internal"), InvestigatorError),
    }
    return kinds.get(code, Refused)(message, hint=hint)


async def _serve(home: Path) -> None:
    from investigator.cli.signals import stop_event
    from investigator.config import load_gateway
    from investigator.logs import Logs

    config = load_gateway(home)
    with Logs("gateway", config.log):
        await _serve_logged(home, config, stop_event())


async def _serve_logged(home: Path, config: GatewayConfig, stop: asyncio.Event) -> None:
    import math

    import orjson

    from investigator.broker.connection import connect
    from investigator.broker.credentials import Credentials
    from investigator.broker.service_stats import add_services, read_stats
    from investigator.console.store import Store
    from investigator.exporter import exporting
    from investigator.metrics import Page

    credentials = Credentials.load(config.broker.credentials)

    async def page() -> str:
        page = Page()
        page.gauge("investigator_broker_up", "1 while the broker answers.", int(broker.is_connected))
        add_services(page, [read_stats(orjson.dumps(service.stats()))])
        return str(page)

    async with (
        await connect(
            config.broker.url, credentials, name="gateway", tls=config.broker.tls, give_up_after_s=math.inf
        ) as broker,
        Store(home / STORE) as store,
    ):
        service = _service(home, config, broker, store)
        async with exporting(config.metrics, page):
            await service.start()
            print(f"gateway ready, id {service.id}", flush=True)
            await stop.wait()
            await service.stop()
    print("gateway stopped", flush=True)


def _service(home: Path, config: GatewayConfig, broker: Broker, store: Store) -> Service:
    from investigator import __version__
    from investigator.broker.micro import Service
    from investigator.console.gateway import Gateway
    from investigator.protocol.api import encode, failure
    from investigator.protocol.subjects import api_subject

    service = Service(
        broker,
        name="mig-api",
        version=__version__,
        description="Asks agents what people signed, and passes on their answers",
        failure=lambda error: encode(failure(error)),
        at_a_time=config.requests_at_a_time,
        life_s=config.request_life_s,
    )
    for name, handler in Gateway(home, config, broker, store).methods().items():
        service.add(name, api_subject(name), handler)
    return service
