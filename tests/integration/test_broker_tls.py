"""TLS with real servers: who is trusted, what is refused before a byte is sent, and certificates that change meanwhile."""

import asyncio
import contextlib
import logging
import time
from types import SimpleNamespace

import pytest

from investigator.broker import certificates
from investigator.broker.certificates import CA, SERVER, SERVER_DAYS, make_authority, make_client, make_server
from investigator.broker.connection import State, connect
from investigator.broker.credentials import Credentials
from investigator.broker.server import EmbeddedServer
from investigator.broker.server_tls import ServerTls
from investigator.broker.tls import ClientTls
from investigator.errors import BrokerError, DeploymentError
from real_broker import minted

ANYONE = Credentials.generate("anyone")
DAY_S = 86400


@pytest.fixture
def authority(broker_folder):
    """The deployment's CA; `broker_folder` holds it."""
    make_authority(broker_folder, name="test", now_s=time.time())
    return broker_folder


@pytest.fixture
def other(tmp_path):
    """Another CA, in its own folder."""
    folder = tmp_path / "other"
    folder.mkdir()
    make_authority(folder, name="other", now_s=time.time())
    return folder


def tls_of(folder, **options):
    return ServerTls.of_deployment(folder, **{"names": (), **options})


def pinned(folder):
    return ClientTls(folder / CA)


async def refused(server, **options):
    """Why a connection does not come about."""
    with pytest.raises(BrokerError) as caught:
        async with await connect(server.url, minted(server.folder, "a1"), name="a", give_up_after_s=1, **options):
            pass
    return str(caught.value)


async def test_who_pins_the_ca_is_connected_and_what_is_sent_is_tls_1_3_from_the_first_byte(authority, wire):
    async with EmbeddedServer(authority, port=0, tls=tls_of(authority)) as server:
        between = wire(server.url.replace("tls://", "nats://"))
        async with between:
            url = between.url.replace("nats://", "tls://")
            heard: list[bytes] = []
            between.heard = heard.append
            async with await connect(url, minted(server.folder, "a1"), name="a", tls=pinned(authority)) as broker:
                await broker.flush()
                assert certificates.describe_der(broker.peer().certificate).hosts == ("localhost", "127.0.0.1", "::1")
            said = b"".join(heard)
            assert said.startswith(b"\x16\x03")  # a handshake record, whoever spoke first
            assert b"INFO" not in said
            assert b"nonce" not in said


async def test_a_broker_of_another_ca_is_refused(authority, other):
    async with EmbeddedServer(authority, port=0, tls=tls_of(authority)) as server:
        assert "not of the CA that we trust" in await refused(server, tls=pinned(other))


async def test_an_expired_certificate_is_refused_and_said_to_be(authority):
    then_s = time.time() - (SERVER_DAYS + 1) * DAY_S
    make_server(authority, (), now_s=then_s)
    files = ServerTls(authority / SERVER, authority / "server.key", authority / CA, now_s=lambda: then_s)
    async with EmbeddedServer(authority, port=0, tls=files) as server:
        assert "has expired" in await refused(server, tls=pinned(authority))


async def test_a_certificate_of_another_host_is_refused_by_its_name(authority):
    async with EmbeddedServer(authority, port=0, host="127.0.0.2", tls=tls_of(authority)) as server:
        assert "another host's" in await refused(server, tls=pinned(authority))
    async with EmbeddedServer(
        authority, port=0, host="127.0.0.2", tls=tls_of(authority, names=["127.0.0.2"])
    ) as server:
        assert server.notices[-1].startswith("renewed the certificate (it was not for 127.0.0.2)")
        async with await connect(server.url, minted(server.folder, "a1"), name="a", tls=pinned(authority)):
            pass


@pytest.mark.parametrize(
    "url", ["nats://198.51.100.7:4222", "broker.example.net:4222", "nats://127.0.0.1:1,nats://h:1"]
)
async def test_plain_text_to_another_machine_is_refused_before_anything_is_sent(url, monkeypatch, tmp_path):
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", None)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", None)
    for tls in (None, ClientTls(tmp_path / CA)):
        with pytest.raises(DeploymentError, match="plain text is spoken on this machine's loopback addresses only"):
            await connect(url, ANYONE, name="agent", tls=tls, give_up_after_s=None)


async def test_without_a_ca_nobody_is_trusted(monkeypatch, tmp_path):
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", None)
    with pytest.raises(DeploymentError, match="no CA to know it by"):
        await connect("tls://broker.example.net:4222", ANYONE, name="agent")
    with pytest.raises(DeploymentError, match=r"ca\.pem: No such file"):
        await connect("tls://broker.example.net:4222", ANYONE, name="agent", tls=pinned(tmp_path))
    (tmp_path / CA).write_text("nothing\n")
    with pytest.raises(DeploymentError, match=r"ca\.pem: not in PEM form"):
        await connect("tls://broker.example.net:4222", ANYONE, name="agent", tls=pinned(tmp_path))


async def test_tls_is_never_given_up_for_a_broker_that_speaks_plain_text(authority, running):
    async with running(streams=False) as broker:
        url = broker.server.url.replace("nats://", "tls://")
        with pytest.raises(BrokerError, match="it does not answer in TLS"):
            await connect(url, ANYONE, name="agent", tls=pinned(authority), give_up_after_s=1)


async def test_plain_text_gets_no_word_out_of_a_broker_with_tls(authority):
    async with EmbeddedServer(authority, port=0, tls=tls_of(authority)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"CONNECT {}\r\nPING\r\n")
        assert b"INFO" not in await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_broker_that_stops_speaking_in_the_handshake_is_left_in_time(authority):
    async def serve(reader, writer):
        await reader.read(65536)
        writer.write(b"\x16\x03\x03\x00\x7a\x02")  # the beginning of a ServerHello
        await reader.read()
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        url = f"tls://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        with pytest.raises(BrokerError, match="no answer in time"):
            await connect(url, ANYONE, name="agent", tls=pinned(authority), give_up_after_s=0.5)


@pytest.mark.parametrize(
    "said", [b"", b"INFO {}\r\n", b"\x16\x03\x03\x00\x02\xff\xff", b"\x15\x03\x03\x00\x02\x02\x28"]
)
async def test_rubbish_instead_of_a_handshake_is_one_clear_error(authority, said):
    async def serve(reader, writer):
        await reader.read(65536)
        writer.write(said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        url = f"tls://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        with pytest.raises(BrokerError, match=r"^broker tls://127\.0\.0\.1:\d+: \w"):
            await connect(url, ANYONE, name="agent", tls=pinned(authority), give_up_after_s=0.5)


async def test_the_certificate_is_renewed_while_the_broker_runs_and_connections_stay(authority, hear):
    half_s = (SERVER_DAYS - certificates.RENEW_WITH_DAYS_LEFT + 1) * DAY_S
    clock, states, notices = SimpleNamespace(now_s=time.time() - half_s), hear(), hear()
    tls = tls_of(authority, now_s=lambda: clock.now_s)
    async with EmbeddedServer(authority, port=0, tls=tls) as server:
        user = minted(server.folder, "a1")
        watching = asyncio.create_task(server.wait(on_notice=notices))
        async with await connect(server.url, user, name="old", tls=pinned(authority), on_state=states) as old:
            before = old.peer().certificate
            clock.now_s += half_s
            await notices.until(1)
            assert notices[0].startswith("renewed the certificate (half of its life is over): good until ")
            shown = before
            while shown == before:  # the server reads it within moments
                async with await connect(server.url, user, name="new", tls=pinned(authority)) as new:
                    shown = new.peer().certificate
            assert certificates.describe_der(shown).not_after_s > certificates.describe_der(before).not_after_s
            await old.flush()
            assert old.peer().certificate == before
            assert states == [State.CONNECTED]
        watching.cancel()


async def test_a_certificate_that_is_still_good_serves_while_the_cas_key_is_elsewhere(authority):
    make_server(authority, (), now_s=time.time() - (SERVER_DAYS - 10) * DAY_S)
    (authority / "ca.key").unlink()
    async with EmbeddedServer(authority, port=0, tls=tls_of(authority)) as server:
        assert "the certificate is not renewed, though half of its life is over" in server.notices[-1]
        async with await connect(server.url, minted(server.folder, "a1"), name="a", tls=pinned(authority)):
            pass
    (authority / SERVER).unlink()
    with pytest.raises(DeploymentError, match=r"ca\.key: No such file"):
        await EmbeddedServer(authority, port=0, tls=tls_of(authority)).start()


async def test_ones_own_files_are_used_and_taken_anew_when_they_change(broker_folder, other, hear):
    make_server(other, (), now_s=time.time())
    notices, problems = hear(), hear()
    files = ServerTls(other / SERVER, other / "server.key", other / CA)
    async with EmbeddedServer(broker_folder, port=0, tls=files) as server:
        watching = asyncio.create_task(server.wait(on_notice=notices, on_error=problems))
        user = minted(server.folder, "a1")
        async with await connect(server.url, user, name="a", tls=pinned(other)) as broker:
            first = broker.peer().certificate
        certificate = (other / SERVER).read_bytes()
        (other / SERVER).write_bytes(certificate[:200])
        await problems.until(1)
        assert "the certificate stays as it was" in problems[0]
        make_server(other, ["renewed.example"], now_s=time.time())
        await notices.until(1)
        assert "renewed.example" in notices[0]
        shown = first
        while shown == first:
            async with await connect(server.url, user, name="a", tls=pinned(other)) as broker:
                shown = broker.peer().certificate
        assert "renewed.example" in certificates.describe_der(shown).hosts
        watching.cancel()
    assert not (broker_folder / SERVER).exists()


async def test_a_key_that_is_not_the_certificates_is_said_before_the_start(broker_folder, other, authority):
    make_server(other, (), now_s=time.time())
    make_server(authority, (), now_s=time.time())
    mixed = ServerTls(other / SERVER, authority / "server.key", other / CA)
    with pytest.raises(DeploymentError, match=r"server\.key: not the key of"):
        await EmbeddedServer(broker_folder, port=0, tls=mixed).start()


def client(folder, by):
    certificate, key = make_client(by, "agents", now_s=time.time())
    (folder / "client.pem").write_bytes(certificate)
    (folder / "client.key").write_bytes(key)
    return folder / "client.pem", folder / "client.key"


async def test_a_broker_that_asks_for_a_certificate_takes_those_of_its_ca_only(authority, other, tmp_path):
    asking = tls_of(authority, verify=True)
    async with EmbeddedServer(authority, port=0, tls=asking) as server:
        mine = ClientTls(authority / CA, *client(tmp_path, authority))
        async with await connect(server.url, minted(server.folder, "a1"), name="a", tls=mine) as broker:
            await broker.flush()
        async with await connect(
            server.url, Credentials.load(authority / "services.creds"), name="b", tls=asking.as_client()
        ) as broker:
            await broker.flush()
        assert "it asks for a certificate of ours" in await refused(server, tls=pinned(authority))
        strangers = ClientTls(authority / CA, *client(other, other))
        assert "it does not take our certificate" in await refused(server, tls=strangers)


async def test_a_host_takes_another_ca_with_its_next_connection(authority, other, tmp_path, hear):
    """How a CA is changed: both in the file, everywhere, then the server's certificate by the new one."""
    make_server(authority, (), now_s=time.time())
    bundle, states = tmp_path / "bundle.pem", hear()
    bundle.write_bytes((authority / CA).read_bytes())
    server = EmbeddedServer(authority, port=0, tls=tls_of(authority))
    async with server:
        user = minted(server.folder, "a1")
        async with await connect(server.url, user, name="a", tls=ClientTls(bundle), on_state=states):
            bundle.write_bytes((authority / CA).read_bytes() + (other / CA).read_bytes())
            await server.stop()
            server.tls = tls_of(other)
            await server.start()
            await states.until(lambda heard: State.RECONNECTED in heard)


async def test_closing_says_nothing(authority, caplog):
    """asyncio warns of streams that nats-py made for TLS, at each close."""
    caplog.set_level(logging.DEBUG)
    async with EmbeddedServer(authority, port=0, tls=tls_of(authority)) as server:
        user, tls = minted(server.folder, "a1"), pinned(authority)
        async with await connect(server.url, user, name="a", tls=tls, give_up_after_s=1):
            await server.stop()
    assert "eof_received" not in caplog.text


async def test_the_systems_own_authorities_are_never_loaded(authority, monkeypatch):
    monkeypatch.setattr("ssl.create_default_context", None)
    async with (
        EmbeddedServer(authority, port=0, tls=tls_of(authority)) as server,
        await connect(server.url, minted(server.folder, "a1"), name="a", tls=pinned(authority)) as broker,
    ):
        await broker.flush()
