"""The ping module against sockets on loopback, and ICMP where the system lets us."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadParameters
from investigator.modules.interface import Context, load_parameters
from investigator.modules.ping import MODULE
from investigator.modules.ping.probes import (
    REFUSED,
    TIMED_OUT,
    IcmpPinger,
    NotPermitted,
    ProbeFailed,
    echo_request,
    internet_checksum,
    is_reply,
    number_for,
)
from investigator.modules.ping.resolving import Unresolved, is_destination, resolve

HAS_IPV6 = Path("/proc/net/if_inet6").exists()
LOOPBACKS = ["127.0.0.1", *(["::1"] if HAS_IPV6 else [])]


def ask(destination, protocol, port=0, *, context=None, **more):
    parameters = {"destination": destination, "protocol": protocol, "destinationport": port, **more}
    result = MODULE.run(load_parameters(MODULE, parameters), context or Context())
    return orjson.loads(orjson.dumps(msgspec.to_builtins(result)))


def lines(result, *, everything=True):
    return list(MODULE.lines(result, everything=everything))


def family_of(ip):
    return socket.AF_INET6 if ":" in ip else socket.AF_INET


@contextlib.contextmanager
def udp_echo(ip, *, silent=False):
    """A port that sends back what comes, unless it is silent."""
    with socket.socket(family_of(ip), socket.SOCK_DGRAM) as server:
        server.bind((ip, 0))

        def serve():
            while (received := server.recvfrom(100))[0] != b"end":
                if not silent:
                    server.sendto(*received)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            with socket.socket(family_of(ip), socket.SOCK_DGRAM) as last:
                last.sendto(b"end", server.getsockname())
            thread.join()


@contextlib.contextmanager
def closed_port(ip, kind):
    """A port that refuses, kept so that nobody else takes it: bound and not listening, or connected to itself."""
    with socket.socket(family_of(ip), kind) as kept:
        kept.bind((ip, 0))
        if kind == socket.SOCK_DGRAM:
            kept.connect(kept.getsockname())
        yield kept.getsockname()[1]


@pytest.mark.parametrize("ip", LOOPBACKS)
def test_tcp_reaches_a_listener(ip):
    with socket.create_server((ip, 0), family=family_of(ip)) as server:
        port = server.getsockname()[1]
        result = ask(ip, "tcp", port, count=2)
    host = f"[{ip}]:{port} ({ip})" if ":" in ip else f"{ip}:{port} ({ip})"
    latencies = result["elements"].pop("latencies")
    assert result == {
        "foundanything": True,
        "success": True,
        "elements": {"protocol": "tcp", "resolvedhost": host, "failures": None},
        "statistics": None,
        "errors": None,
    }
    assert len(latencies) == 2
    assert all(0 < each < 5000 for each in latencies)


@pytest.mark.parametrize("ip", LOOPBACKS)
@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_closed_port_is_refused_not_a_crash(ip, protocol, kind):
    with closed_port(ip, kind) as port:
        result = ask(ip, protocol, port, count=1)
    assert (result["success"], result["foundanything"], result["elements"]["latencies"]) == (True, False, [-1])
    assert lines(result) == [
        f"{protocol} ping of {result['elements']['resolvedhost']} failed. Target is no reachable.",
        "ping #1 failed, target was unreachable",
    ]
    assert lines(result, everything=False) == []


@pytest.mark.parametrize("ip", LOOPBACKS)
def test_udp_that_is_answered_has_a_latency(ip):
    with udp_echo(ip) as port:
        result = ask(ip, "udp", port, count=1)
    (latency,) = result["elements"]["latencies"]
    assert 0 < latency < 5000


def test_udp_that_is_not_answered_may_have_succeeded():
    with udp_echo("127.0.0.1", silent=True) as port:
        result = ask("127.0.0.1", "udp", port, count=2, timeout=0.05)
    assert result["foundanything"]
    assert result["elements"]["latencies"] == [TIMED_OUT, TIMED_OUT]
    assert lines(result) == [
        f"udp ping of 127.0.0.1:{port} (127.0.0.1) succeeded. Target is reachable.",
        "ping #1 may have succeeded (no udp response)",
        "ping #2 may have succeeded (no udp response)",
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops connections on Linux")
def test_tcp_that_is_not_answered_is_a_timeout():
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # nobody accepts these, so later ones are dropped
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(server.getsockname())
        result = ask("127.0.0.1", "tcp", server.getsockname()[1], count=1, timeout=0.1)
    assert result["elements"]["latencies"] == [TIMED_OUT]
    assert not result["foundanything"]
    assert lines(result)[1] == "ping #1 failed, connection timed out"


def test_three_pings_are_the_default():
    with udp_echo("127.0.0.1") as port:
        assert len(ask("127.0.0.1", "udp", port)["elements"]["latencies"]) == 3


def test_a_name_is_resolved_and_its_address_is_said():
    with udp_echo("127.0.0.1") as port:
        result = ask("localhost", "udp", port, count=1, timeout=0.1)
    assert result["elements"]["resolvedhost"] in (f"localhost:{port} (127.0.0.1)", f"localhost:{port} (::1)")


def test_a_name_that_does_not_resolve_is_a_failure_with_its_reason(monkeypatch):
    def unknown(*_args, **_named):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    result = ask("nowhere.invalid", "tcp", 80)
    assert not result["success"]
    assert result["errors"] == ["tcp ping of nowhere.invalid failed: cannot resolve it: Name or service not known"]
    assert lines(result) == ["error: tcp ping of nowhere.invalid failed: cannot resolve it: Name or service not known"]


def test_a_resolver_that_hangs_is_left_behind_at_the_deadline(monkeypatch):
    ends = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: ends.wait(30) and [])
    try:
        with pytest.raises(Unresolved, match="did not answer in time"):
            resolve("slow.invalid", 80, kind=socket.SOCK_STREAM, deadline_s=0.0)
    finally:
        ends.set()


def test_when_the_time_is_up_it_says_how_many_were_sent():
    result = ask("127.0.0.1", "udp", 9, context=Context(deadline_s=0.0))
    assert result["errors"] in (
        ["warning: the time was up after 0 of 3 pings"],
        ["udp ping of 127.0.0.1 failed: cannot resolve it: the resolver did not answer in time"],
    )


def test_another_error_is_told_with_its_reason():
    with pytest.raises(ProbeFailed, match=r"^no route to host$"):
        number_for(OSError(113, "No route to host"))
    assert number_for(ConnectionRefusedError()) == REFUSED
    assert number_for(TimeoutError()) == TIMED_OUT
    result = {
        "foundanything": False, "success": True, "statistics": None, "errors": None,
        "elements": {
            "latencies": [0, 0.25, 27.4], "protocol": "icmp", "resolvedhost": "h (192.0.2.1)",
            "failures": ["ping #1 failed with error: no route to host"],
        },
    }  # fmt: skip
    assert lines(result)[1:] == [
        "ping #1 failed, reason unknown: no route to host",
        "ping #2 succeeded in 0.25ms",
        "ping #3 succeeded in 27ms",
    ]
    parameters = load_parameters(MODULE, {"destination": "h"})
    shown = MODULE.masked(result, parameters)
    assert shown["elements"]["resolvedhost"] == "masked"
    assert shown["elements"]["failures"] == ["masked"]
    assert lines(shown)[:2] == [
        "icmp ping of masked failed. Target is no reachable.",
        "ping #1 failed, reason unknown",
    ]
    assert MODULE.masked({**result, "errors": ["h"], "elements": None}, parameters)["errors"] == ["masked"]


@pytest.mark.parametrize("ip", LOOPBACKS)
def test_icmp_reaches_loopback_or_says_what_it_needs(ip):
    result = ask(ip, "icmp", count=2)
    if result["success"]:
        assert all(0 < each < 5000 for each in result["elements"]["latencies"])
        assert result["elements"]["resolvedhost"] == f"{ip} ({ip})"
        assert lines(result, everything=False) == [f"icmp ping of {ip} ({ip}) succeeded. Target is reachable."]
    else:
        assert os.geteuid() != 0
        assert "needs root, CAP_NET_RAW, or a group in net.ipv4.ping_group_range" in result["errors"][0]


UNPRIVILEGED = """
import ctypes, subprocess, socket
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
open("/proc/sys/net/ipv4/ping_group_range", "w").write("0 0")
real = socket.socket
def no_raw(family=-1, type=-1, proto=-1, fileno=None):
    if type == socket.SOCK_RAW:
        raise PermissionError(1, "Operation not permitted")
    return real(family, type, proto, fileno)
from investigator.modules.ping import probes
from investigator.modules.ping.resolving import Address
class Sockets:
    def __getattr__(self, name):
        return no_raw if name == "socket" else getattr(socket, name)
probes.socket = Sockets()
for family, ip in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    with probes.IcmpPinger(Address(family=family, sockaddr=(ip, 0))) as pinger:
        print(*(0 < pinger.ping(5.0) < 5000 for _ in range(3)))
"""


@pytest.mark.skipif(not (shutil.which("unshare") and shutil.which("ip") and HAS_IPV6), reason="needs namespaces")
def test_icmp_needs_no_raw_socket_where_the_groups_range_allows_it():
    mine = [] if os.geteuid() == 0 else ["--map-root-user"]
    ran = subprocess.run(
        ["unshare", *mine, "--net", sys.executable, "-c", UNPRIVILEGED],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if ran.returncode and "unshare failed" in ran.stderr:
        pytest.skip("no namespaces here")
    assert ran.stdout.splitlines() == ["True True True"] * 2, ran.stderr


def test_without_either_kind_of_socket_icmp_says_what_it_needs(monkeypatch):
    def refuse(*_args):
        raise PermissionError(1, "Operation not permitted")

    address = resolve("127.0.0.1", 0, kind=socket.SOCK_DGRAM, deadline_s=float("inf"))
    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(NotPermitted):
        IcmpPinger(address)
    result = ask("127.0.0.1", "icmp")
    assert (result["success"], result["elements"]) == (False, None)
    assert result["errors"] == [
        "icmp ping of 127.0.0.1 (127.0.0.1) failed: it needs root, CAP_NET_RAW, or a group in net.ipv4.ping_group_range"
    ]


def reply_to(request, family):
    return bytes((0 if family == socket.AF_INET else 129,)) + request[1:]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_only_the_reply_to_the_very_request_counts(family):
    token = b"t" * 32
    reply = reply_to(echo_request(family, 7, 3, token), family)
    assert is_reply(reply, family, 7, 3, token)
    assert not is_reply(echo_request(family, 7, 3, token), family, 7, 3, token)
    assert not is_reply(reply, family, 8, 3, token)
    assert not is_reply(reply, family, 7, 4, token)
    assert not is_reply(reply, family, 7, 3, b"u" * 32)
    assert not is_reply(reply + b"x", family, 7, 3, token)
    assert not is_reply(reply[:1] + b"\1" + reply[2:], family, 7, 3, token)
    if family == socket.AF_INET:
        header = bytes((0x46,)) + bytes(23)
        assert is_reply(header + reply, family, 7, 3, token)


@given(st.binary(max_size=100), st.sampled_from([socket.AF_INET, socket.AF_INET6]))
def test_no_packet_breaks_it(packet, family):
    assert not is_reply(packet, family, 7, 3, b"t" * 32)


@given(st.binary(max_size=64).filter(lambda data: len(data) % 2 == 0))
def test_a_packet_with_its_checksum_sums_to_nothing(data):
    assert internet_checksum(data + internet_checksum(data).to_bytes(2, "big")) == 0


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({}, "destination: there is none"),
        ({"destination": "a b"}, "destination: 'a b' is neither an address nor a host's name"),
        ({"destination": "-x"}, "destination: '-x' is neither"),
        ({"destination": "a" * 255}, "is neither an address nor"),
        ({"destination": "fe80::1%a/b"}, "is neither an address nor"),
        ({"destination": "münchen.example"}, "is neither an address nor"),
        ({"destination": "::1", "protocol": "sctp"}, "protocol: 'sctp' is not a supported ping protocol"),
        (
            {"destination": "::1", "protocol": "tcp", "destinationport": -1},
            "destinationport: tcp ping requires a valid destination port between 1 and 65535, got -1",
        ),
        ({"destination": "::1", "protocol": "udp"}, "destinationport: udp ping requires a valid destination port"),
        (
            {"destination": "::1", "protocol": "icmp", "destinationport": 80},
            "destinationport: icmp has no ports, got 80",
        ),
        ({"destination": "::1", "destinationport": 65536}, "destinationport: "),
        ({"destination": "::1", "count": 10**9}, "count: "),
        ({"destination": "::1", "count": -1}, "count: "),
        ({"destination": "::1", "timeout": 301}, "timeout: "),
        ({"destination": "::1", "timeout": "5s"}, "timeout: "),
        ({"destinaton": "::1"}, "did you mean 'destination'"),
    ],
)
def test_what_cannot_be_pinged_is_refused_by_name(parameters, says):
    with pytest.raises(BadParameters) as caught:
        load_parameters(MODULE, parameters)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["192.0.2.1", "::1", "fe80::1%eth0", "a_b.example.", "localhost", "9.example"])
def test_destinations(text):
    assert is_destination(text)


def test_migs_own_parameters_load():
    mig = {"count": 5, "destination": "google.com", "destinationport": 80, "protocol": "tcp", "timeout": 5}
    assert load_parameters(MODULE, mig).timeout == 5
    assert load_parameters(MODULE, {"destination": "::1", "protocol": "icmp", "destinationport": -1}).count == 0
