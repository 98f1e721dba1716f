"""A real broker for each test that wants one.

    async def test_something(running):
        async with running() as broker:
            agent, investigator = await broker.agent("a1"), await broker.investigator()

`broker_folder` is a deployment folder with credentials and nothing else; `wire` stands between a client and a broker
and can cut, freeze and forge.
"""

import asyncio
import contextlib
import re
import shutil
import time

import pytest

from investigator.broker import operator
from investigator.broker.connection import Message, connect
from investigator.broker.credentials import Credentials
from investigator.broker.scopes import Scope
from investigator.broker.server import EmbeddedServer
from investigator.broker.streams import ensure_streams

SOON_S = 20.0


class Running:
    """A started server, and the connections that a test makes to it."""

    def __init__(self, server):
        self.server = server
        self.open = []

    async def connect(self, user, **options):
        """A connection with these credentials, or as one of the users with which a deployment begins; closed with the server."""
        if isinstance(user, Scope):
            user = Credentials.load(self.server.folder / f"{user}.creds")
        options = {"name": user.name, "url": self.server.url, **options}
        broker = await connect(options.pop("url"), user, **options)
        self.open.append(broker)
        return broker

    def agents_credentials(self, agent_id, **options):
        """What an enrolled agent of this id has."""
        return minted(self.server.folder, agent_id, **options)

    async def agent(self, agent_id="a1", **options):
        return await self.connect(self.agents_credentials(agent_id), **options)

    async def investigator(self, **options):
        return await self.connect(Scope.INVESTIGATOR, **options)

    async def owner(self):
        """Who makes streams."""
        return await self.connect(Scope.SERVICES)

    async def restart(self):
        """The same server, store and port again."""
        await self.server.stop()
        await self.server.start()

    async def lose_store(self):
        """The same server and port again, with empty streams."""
        await self.server.stop()
        shutil.rmtree(self.server.folder / "store")
        await self.server.start()
        await ensure_streams(await self.owner())

    async def make_anew(self, owner, stream):
        """An empty stream in place of this one; nobody's connection notices."""
        await owner.request(f"$JS.API.STREAM.DELETE.{stream}", b"")
        await ensure_streams(owner)


def minted(folder, agent_id, *, lives_s=3600, now_s=None):
    """New credentials of an agent, from a deployment's broker folder."""
    made = Credentials.generate(agent_id)
    now_s = int(time.time()) if now_s is None else now_s
    return made.with_jwt(
        operator.mint_agent(folder, agent=agent_id, user_key=made.public_key, lives_s=lives_s, now_s=now_s)
    )


@pytest.fixture
def broker_folder(tmp_path):
    folder = tmp_path / "broker"
    operator.create(folder, now_s=int(time.time()))
    return folder


@pytest.fixture
def running(broker_folder):
    """`async with running() as broker`: a server on a free port, with its streams unless `streams=False`."""

    @contextlib.asynccontextmanager
    async def run(*, streams=True, **options):
        async with EmbeddedServer(broker_folder, **{"port": 0, "sync_always": False, **options}) as server:
            it = Running(server)
            try:
                if streams:
                    await ensure_streams(await it.connect(Scope.SERVICES))
                yield it
            finally:
                for broker in it.open:
                    await broker.close()

    return run


class Heard(list[Message]):
    """A callback that keeps what it is called with, and can be waited for."""

    def __init__(self):
        self._more = asyncio.Event()

    def __call__(self, item):
        self.append(item)
        self._more.set()

    async def until(self, enough):
        """Return when `enough(self)`; a number is as many items."""
        is_enough = enough if callable(enough) else lambda heard: len(heard) >= enough
        async with asyncio.timeout(SOON_S):
            while not is_enough(self):
                self._more.clear()
                await self._more.wait()


@pytest.fixture
def hear():
    """Make a `Heard`."""
    return Heard


class Wire:
    """A TCP relay to a server, which a test can freeze, cut, and speak through."""

    def __init__(self, target):
        host, _, port = target.removeprefix("nats://").rpartition(":")
        self._target = (host, int(port))
        self.heard = None
        """Called with all bytes that pass, in whichever direction."""
        self._writers = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pumps = set()
        self._hang_ups = 0
        self._swallows = None
        self.swallowed = 0

    async def __aenter__(self):
        self._listener = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._listener.close()
        self.cut()
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    @property
    def connections(self):
        """How many clients it holds."""
        return len(self._writers) // 2

    def freeze(self):
        """From now on both sides send into nothing, and nobody is told."""
        self._flowing.clear()

    def thaw(self):
        self._flowing.set()

    def hang_up_on(self, connections):
        """Let so many clients connect, hear the server's first line, and no more."""
        self._hang_ups = connections

    def swallow(self, prefix):
        """From now on no message to such a subject comes from the server; all else does, its pongs above all."""
        self._swallows = re.compile(rb"H?MSG " + re.escape(prefix.encode()))

    def cut(self):
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def say(self, line):
        """Speak to the clients in the server's name."""
        for writer in self._writers[::2]:
            writer.write(line)

    async def _relay(self, reader, writer):
        try:
            upstream_reader, upstream = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        if self._hang_ups:
            self._hang_ups -= 1
            writer.write(await upstream_reader.readline())
            await reader.readline()
            writer.close()
            upstream.transport.abort()
            return
        self._writers += [writer, upstream]
        for source, sink in ((reader, upstream), (upstream_reader, writer)):
            work = self._filter if self._swallows and source is upstream_reader else self._pump
            pump = asyncio.create_task(work(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source, sink):
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await self._flowing.wait()
                if self.heard is not None:
                    self.heard(data)
                sink.write(data)
                await sink.drain()
        sink.transport.abort()

    async def _filter(self, source, sink):
        """As `_pump`, frame by frame of NATS's protocol."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while line := await source.readline():
                frame = line
                if re.match(rb"H?MSG ", line):
                    frame += await source.readexactly(int(line.split()[-1]) + 2)
                if self._swallows is not None and self._swallows.match(line):
                    self.swallowed += 1
                else:
                    sink.write(frame)
        sink.transport.abort()


@pytest.fixture
def wire():
    """`async with wire(server.url) as between`: connect to `between.url`."""
    return Wire
