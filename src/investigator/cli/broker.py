"""`investigator broker`: the embedded nats-server of a deployment, in the foreground; and a cluster's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from investigator.cli.options import Home, home_folder

if TYPE_CHECKING:
    import asyncio

    from investigator.broker.connection import Broker
    from investigator.broker.housekeeping import Housekeeper
    from investigator.broker.server import EmbeddedServer
    from investigator.config import BrokerConfig, Cluster

app = typer.Typer(name="broker", invoke_without_command=True)


@app.callback()
def broker(ctx: typer.Context, home: Home = None) -> None:
    """Run the deployment's broker, and the service that enrols agents, until Ctrl-C or SIGTERM; or make what a cluster needs."""
    import asyncio

    if ctx.invoked_subcommand is None:
        asyncio.run(_serve(home_folder(home)))


@app.command()
def config(
    cluster: Annotated[
        list[str],
        typer.Option(metavar="SERVERS", help="[NAME=]HOST[:PORT[:ROUTEPORT[:LEAFPORT]]], three or five, with commas."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A folder for each server goes there.")],
    leaf: Annotated[
        list[str] | None, typer.Option(metavar="SERVERS", help="[NAME=]HOST[:PORT]: leaf nodes, for agents elsewhere.")
    ] = None,
    home: Home = None,
) -> None:
    """Write the configuration of a cluster's NATS servers; run again, change what has to change, and say what."""
    import time

    from investigator.broker.cluster import parse_servers
    from investigator.broker.cluster_files import write_cluster
    from investigator.config import load_broker
    from investigator.errors import BadInput

    settings = load_broker(home_folder(home))
    if settings.tls is None:
        raise BadInput("broker.toml has no table [tls]; servers of a cluster speak TLS")
    servers, leaves = parse_servers(cluster, what="--cluster"), parse_servers(leaf or [], what="--leaf")
    done = write_cluster(settings.store, out, servers, leaves, tls=settings.tls, now_s=time.time())
    print("\n".join(done or ["nothing had to change"]))
    print(
        f"next: {out / 'README'} says what goes where, and what to write into the configuration of agents and consoles"
    )


@app.command()
def streams(home: Home = None) -> None:
    """On a cluster: make its streams, or bring them up to date, and say what was done."""
    import asyncio

    from investigator.config import load_broker

    done = asyncio.run(_make_streams(load_broker(home_folder(home))))
    print("\n".join(done or ["the streams are as they should be"]))


@app.command()
def push(home: Home = None) -> None:
    """On a cluster: tell its servers and leaf nodes again who was shut out."""
    import asyncio

    from investigator.broker.elsewhere import push_accounts
    from investigator.config import load_broker
    from investigator.errors import BrokerError

    settings = load_broker(home_folder(home))
    _need_cluster(settings)
    problems = asyncio.run(push_accounts(settings))
    for problem in problems:
        _tell(problem)
    if problems:
        raise BrokerError(f"{len(problems)} of the deployment's servers were not told")
    print("the servers know the accounts as they are here")


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder for it.")], home: Home = None
) -> None:
    """Save all streams of the broker that runs into files."""
    import asyncio

    print("\n".join(asyncio.run(_back_up(home_folder(home), folder))))


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `backup` made.")], home: Home = None
) -> None:
    """Read saved streams into a new broker or cluster, whose streams are empty."""
    import asyncio

    print("\n".join(asyncio.run(_restore(home_folder(home), folder))))


async def _back_up(home: Path, folder: Path) -> list[str]:
    from investigator.broker.backup import back_up
    from investigator.config import load_broker

    async with await _as_services(load_broker(home), name="backup") as link:
        return await back_up(link, folder)


async def _restore(home: Path, folder: Path) -> list[str]:
    from investigator.broker.backup import restore
    from investigator.broker.streams import when_ready
    from investigator.config import load_broker

    config = load_broker(home)
    async with await _as_services(config, name="restore") as link:
        await when_ready(link)
        return await restore(link, folder, replicas=config.cluster.replicas if config.cluster is not None else 1)


async def _as_services(config: BrokerConfig, *, name: str) -> Broker:
    from investigator.broker.connection import connect
    from investigator.broker.credentials import Credentials
    from investigator.broker.server_tls import services_address

    url, tls = services_address(config)
    return await connect(url, Credentials.load(config.credentials), name=name, tls=tls, give_up_after_s=10)


@app.command("new-ca")
def new_ca(home: Home = None) -> None:
    """Make another CA beside the one that ends or was stolen; agents and consoles then need the new ca.pem."""
    import time

    from investigator.broker.certificates import CA, RENEW_WITH_DAYS_LEFT, SERVER, renew_authority
    from investigator.config import load_broker

    folder = load_broker(home_folder(home)).store
    renew_authority(folder, name=f"of {time.strftime('%Y-%m-%d')}", now_s=time.time())
    print(
        f"{folder / CA} holds the new CA and the old one: copy it over every agent's and console's, no restart needed"
    )
    print(f"then remove {folder / SERVER} and restart the broker: its certificate is the new CA's")
    print(
        f"(a broker that runs does so by itself when its certificate has {RENEW_WITH_DAYS_LEFT} days left: be done by then)"
    )


@app.command("client-certificate")
def client_certificate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, for those who read it.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="client.pem and client.key go there.")],
    home: Home = None,
) -> None:
    """Make a certificate for agents or a console, where the broker asks for one ([tls] verify = true)."""
    import time

    from investigator.broker.certificates import CLIENT, CLIENT_KEY, save_client
    from investigator.config import load_broker

    save_client(load_broker(home_folder(home)).store, name, into=out, now_s=time.time())
    print(f"made {out / CLIENT} and {out / CLIENT_KEY}; under [broker] of agent.toml or console.toml:")
    print(f'certificate = "{CLIENT}"\nkey = "{CLIENT_KEY}"')


async def _make_streams(config: BrokerConfig) -> list[str]:
    from investigator.broker.streams import ensure_streams, when_ready

    cluster = _need_cluster(config)
    async with await _as_services(config, name="streams") as link:
        await when_ready(link)
        return await ensure_streams(link, replicas=cluster.replicas)


def _need_cluster(config: BrokerConfig) -> Cluster:
    from investigator.errors import DeploymentError

    if config.cluster is None:
        raise DeploymentError(
            "broker.toml has no table [cluster]: its broker is the embedded one, which needs none of this",
            hint="`investigator broker` runs it.",
        )
    return config.cluster


def _tell(line: str) -> None:
    import sys

    print(f"investigator: the broker: {line}", file=sys.stderr, flush=True)


async def _serve(home: Path) -> None:
    from contextlib import AsyncExitStack

    from investigator.broker.connection import connect
    from investigator.broker.credentials import Credentials
    from investigator.broker.housekeeping import Housekeeper
    from investigator.broker.server import EmbeddedServer
    from investigator.broker.server_tls import server_tls
    from investigator.broker.service_stats import ServiceCounts
    from investigator.broker.streams import ensure_streams
    from investigator.cli.enrolment_service import serving_beside
    from investigator.cli.service_watch import watched
    from investigator.cli.signals import stop_event
    from investigator.config import load_broker
    from investigator.errors import DeploymentError
    from investigator.logs import Logs

    config = load_broker(home)
    if config.cluster is not None:
        raise DeploymentError(
            f"the broker of this deployment is a cluster: {config.cluster.url}",
            hint="`investigator broker streams` makes its streams; without [cluster] in broker.toml this runs one here.",
        )
    stop, counts = stop_event(), ServiceCounts()
    tls = server_tls(config)
    server = EmbeddedServer(config.store, host=config.host, port=config.port, tls=tls, sync_always=config.sync_always)
    with Logs("broker", config.log) as logs:
        async with server:
            credentials = Credentials.load(config.credentials)
            own = tls.as_client() if tls is not None else None
            link = await connect(server.url, credentials, name="broker", tls=own, give_up_after_s=10)
            async with link, AsyncExitStack() as beside:
                changes = await ensure_streams(link, records_days=config.records_days)
                await beside.enter_async_context(watched(link, counts, logs, config.metrics))
                for line in [*server.notices, *changes]:
                    _say(line)
                if config.enrolment.serve:
                    problem = await beside.enter_async_context(serving_beside(link, home, config, counts))
                    if problem:
                        _tell(f"no agent can be enrolled: {problem}; trying on")
                _say(f"broker ready at {server.url}, pid {server.pid}")
                await _until_ended(server, Housekeeper(link, counts=counts), stop)
    print("broker stopped", flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


async def _until_ended(server: EmbeddedServer, housekeeper: Housekeeper, stop: asyncio.Event) -> None:
    """Until somebody ends us, or the server ends by itself, which raises; recorded results are purged meanwhile."""
    import asyncio

    stopped, ended = (
        asyncio.create_task(stop.wait()),
        asyncio.create_task(server.wait(on_error=_tell, on_notice=_say)),
    )
    keeping = asyncio.create_task(housekeeper.run(_say))
    await asyncio.wait({stopped, ended, keeping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopped, ended, keeping):
        if task.done():
            task.result()
        task.cancel()
