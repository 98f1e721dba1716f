"""The timedrift module against NTP servers of its own on loopback."""

import contextlib
import os
import re
import socket
import struct
import threading
import time

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadParameters
from investigator.modules.durations import parse_duration
from investigator.modules.interface import Context, load_parameters
from investigator.modules.notes import Notes
from investigator.modules.timedrift import MODULE, TimeDriftModule, rfc3339
from investigator.modules.timedrift.asking import ask_in_turn
from investigator.modules.timedrift.servers import (
    MAX_CONFIGURED,
    Server,
    chrony_servers,
    configured_servers,
    ntp_servers,
    parse_server,
    timesyncd_servers,
    windows_servers,
)
from investigator.modules.timedrift.sntp import BadAnswer, make_request, measure, timestamp

SECOND = 1_000_000_000


def answer(
    request, *, ahead_ns=0, first=0x24, stratum=2, origin=None, root_delay=0, dispersion=66, reference=b"GPS\0", **times
):
    """A server's answer to a request; its clock is ahead of ours by that."""
    now_ns = time.time_ns() + ahead_ns
    received, sent = times.get("received_ns", now_ns), times.get("sent_ns", now_ns)
    head = struct.pack(">BBbbII4s", first, stratum, 6, -20, root_delay, dispersion, reference)
    origin = request[40:48] if origin is None else origin
    return head + timestamp(now_ns) + origin + timestamp(received) + timestamp(sent)


@contextlib.contextmanager
def ntp_server(reply, ip="127.0.0.1"):
    """A server that sends what `reply` makes of a request (bytes, several, or nothing); `HOST:PORT`."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((ip, 0))

        def serve():
            while (received := server.recvfrom(1000))[0] != b"end":
                made = reply(received[0])
                for packet in [made] if isinstance(made, bytes) else made or ():
                    server.sendto(packet, received[1])

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        finally:
            with socket.socket(family, socket.SOCK_DGRAM) as last:
                last.sendto(b"end", server.getsockname())
            thread.join()


@contextlib.contextmanager
def closed_port():
    """A port that refuses, kept so that nobody else takes it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as kept:
        kept.bind(("127.0.0.1", 0))
        kept.connect(kept.getsockname())
        yield f"127.0.0.1:{kept.getsockname()[1]}"


def ask(module=MODULE, context=None, **parameters):
    result = module.run(load_parameters(module, parameters), context or Context())
    return orjson.loads(orjson.dumps(msgspec.to_builtins(result)))


def lines(result, *, everything=True):
    return list(MODULE.lines(result, everything=everything))


def test_without_a_drift_the_local_time_is_told_and_nobody_asked():
    before_ns = time.time_ns()
    result = ask()
    local = result["elements"]["localtime"]
    assert rfc3339(before_ns) <= local <= rfc3339(time.time_ns())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", local)
    assert result["elements"] == {"localtime": local}
    assert (result["foundanything"], result["success"], result["statistics"]["ntpstats"]) == (True, True, None)
    assert lines(result, everything=False) == [f"local time is {local}"]
    assert lines(result)[-1] == "timedrift module has succeeded"


@pytest.mark.parametrize(("ahead_s", "direction"), [(-90, "ahead of"), (90, "behind")])
def test_a_clock_that_is_off_is_found_with_how_far_and_how_sure(ahead_s, direction):
    with ntp_server(lambda request: answer(request, ahead_ns=ahead_s * SECOND)) as server:
        result = ask(drift="60s", servers=[server])
    elements = result["elements"]
    assert result["foundanything"]
    assert result["success"]
    assert elements["hascheckeddrift"]
    assert "iswithindrift" not in elements
    drift_ns, uncertainty_ns = parse_duration(elements["drift"]), parse_duration(elements["uncertainty"])
    assert abs(drift_ns + ahead_s * SECOND) <= uncertainty_ns < 5 * SECOND
    shown = elements["drift"].removeprefix("-")
    assert elements["drifts"] == [f"Local time is {direction} ntp host {server} by {shown}"]
    assert lines(result, everything=False)[1:] == ["local time is out of sync from NTP servers", elements["drifts"][0]]
    (stat,) = result["statistics"]["ntpstats"]
    assert (stat["host"], stat["reachable"], stat["stratum"], stat["drift"]) == (server, True, 2, elements["drift"])
    (line,) = [line for line in lines(result) if line.startswith(f"stat: {server}")]
    assert re.fullmatch(
        rf"stat: {re.escape(server)} responded in \S+ with time \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC\. "
        r"local time drifts by \S+, uncertain by \S+",
        line,
    )


def test_a_clock_that_is_right_is_within():
    with ntp_server(answer) as server:
        result = ask(drift="5s", servers=[server])
    assert not result["foundanything"]
    assert result["success"]
    assert result["elements"]["iswithindrift"]
    assert "drifts" not in result["elements"]
    assert lines(result, everything=False)[1:] == ["local time is within acceptable drift from NTP servers"]


def test_a_drift_that_is_too_near_the_limit_to_tell_is_said_to_be():
    distant = 3 << 16  # the server is three seconds from its own source
    with ntp_server(lambda request: answer(request, ahead_ns=61 * SECOND + SECOND // 2, dispersion=distant)) as server:
        result = ask(drift="60s", servers=[server])
    assert result["foundanything"]
    (warning,) = result["errors"]
    assert warning.startswith("warning: the drift of -1m1")
    assert "other side of the limit of 1m0s" in warning
    assert warning in lines(result, everything=False)


def test_nobody_reached_is_a_failure_and_not_within():
    with closed_port() as server:
        result = ask(drift="5s", servers=[server])
    assert (result["success"], result["foundanything"]) == (False, False)
    assert set(result["elements"]) == {"localtime"}
    assert result["errors"] == [f"no NTP server told the time ({server}: Connection refused)"]
    assert f"stat: {server} was unreachable: Connection refused" in lines(result)
    assert lines(result)[-1] == "timedrift module has failed"
    (stat,) = result["statistics"]["ntpstats"]
    assert stat == {
        "host": server, "time": "0001-01-01T00:00:00Z", "latency": "", "drift": "", "reachable": False,
        "problem": "Connection refused",
    }  # fmt: skip


def test_the_next_one_is_asked_when_one_refuses_or_declines_and_the_first_good_answer_decides():
    with (
        closed_port() as refusing,
        ntp_server(lambda request: answer(request, stratum=0, reference=b"RATE")) as declining,
        ntp_server(lambda request: answer(request, ahead_ns=-3601 * SECOND)) as good,
        ntp_server(answer) as never_asked,
    ):
        result = ask(drift="5s", servers=[refusing, declining, good, never_asked])
    stats = result["statistics"]["ntpstats"]
    assert [(stat["host"], stat["reachable"]) for stat in stats] == [
        (refusing, False), (declining, False), (good, True),
    ]  # fmt: skip
    assert stats[1]["problem"] == "the server declines (kiss code RATE)"
    assert result["elements"]["drifts"][0].startswith(f"Local time is ahead of ntp host {good} by 1h0m")


def test_a_silent_server_does_not_hold_up_the_next():
    with ntp_server(lambda _: None) as silent, ntp_server(answer) as good:
        result = ask(drift="5s", servers=[silent, good])
    assert result["elements"]["iswithindrift"]
    assert [stat["reachable"] for stat in result["statistics"]["ntpstats"]] == [False, True]


def test_answers_to_others_are_passed_over():
    def reply(request):
        forged = answer(request, ahead_ns=3600 * SECOND, origin=bytes(8))
        return [forged, b"", b"x" * 47, answer(request, ahead_ns=3600 * SECOND, origin=b"12345678"), answer(request)]

    with ntp_server(reply) as server:
        assert ask(drift="5s", servers=[server])["elements"]["iswithindrift"]


def test_over_ipv6():
    try:
        with ntp_server(answer, ip="::1") as server:
            assert ask(drift="5s", servers=[server])["elements"]["iswithindrift"]
    except OSError:
        pytest.skip("no IPv6 here")


def test_when_the_time_is_up_nobody_is_asked():
    result = ask(context=Context(deadline_s=0.0), drift="5s", servers=["127.0.0.1"])
    assert result["errors"] == ["no NTP server was asked: the time was up before, or there is none"]
    assert ask_in_turn([Server("127.0.0.1")], deadline_s=0.0) == []


def test_the_hosts_own_servers_are_asked_first_then_the_public_ones(tmp_path):
    configuration = tmp_path / "chrony.conf"
    places = ((str(configuration), chrony_servers),)
    with ntp_server(answer) as own, closed_port() as refusing:
        configuration.write_text(f"# mine\nserver 127.0.0.1 iburst port {own.partition(':')[2]}\n")
        result = ask(TimeDriftModule(places, ("localhost",)), drift="5s")
        assert [stat["host"] for stat in result["statistics"]["ntpstats"]] == [own]
        configuration.write_text(f"server 127.0.0.1 port {refusing.partition(':')[2]}\n")
        result = ask(TimeDriftModule(places, ("name..invalid",)), drift="5s")
    assert [stat["host"] for stat in result["statistics"]["ntpstats"]] == [refusing, "name..invalid"]
    assert not result["success"]


def test_configurations_are_read_from_all_places(tmp_path):
    folder = tmp_path / "sources.d"
    folder.mkdir()
    (folder / "b.sources").write_text("pool b.example.net iburst\n")
    (folder / "a.sources").write_text("server a.example.net\n")
    (folder / "ignored.txt").write_text("server c.example.net\n")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "ntp.conf")
    notes = Notes()
    places = (
        (str(tmp_path / "missing.conf"), ntp_servers),
        (str(tmp_path / "ntp.conf"), ntp_servers),
        (str(folder / "*.sources"), chrony_servers),
        (str(tmp_path / "nowhere/*.conf"), ntp_servers),
    )
    assert configured_servers(notes, places) == [Server("a.example.net"), Server("b.example.net")]
    assert notes.texts() == [f"could not read {tmp_path / 'ntp.conf'}: is a FIFO, not a regular file"]


def test_of_many_configured_servers_the_first_are_asked(tmp_path):
    (tmp_path / "ntp.conf").write_text("".join(f"server {number}.example.net\n" for number in range(20)))
    notes = Notes()
    servers = configured_servers(notes, ((str(tmp_path / "ntp.conf"), ntp_servers),))
    assert servers == [Server(f"{number}.example.net") for number in range(MAX_CONFIGURED)]
    assert notes.texts() == [f"warning: 20 NTP servers are configured; the first {MAX_CONFIGURED} were asked"]


def test_each_kind_of_configuration():
    ntp = (
        "driftfile /x\nserver 127.127.1.0\nserver -4 four.example.net iburst # mine\npool  2.pool.example.org\n"
        "#server no.example.net\nserver\nserver $(reboot)\n  SERVER ::1\n"
    )
    assert list(ntp_servers(ntp)) == [Server("four.example.net"), Server("2.pool.example.org"), Server("::1")]
    chrony = "! no\nserver a.example.net port 1123 iburst\npool b.example.net port\nserver c.example.net port 99999\n"
    assert list(chrony_servers(chrony)) == [
        Server("a.example.net", 1123), Server("b.example.net"), Server("c.example.net"),
    ]  # fmt: skip
    timesyncd = (
        "[Time]\n#NTP=no.example.net\nFallbackNTP=f.example.net\nNTP=a.example.net 192.0.2.1\nNTP=b.example.net\n"
    )
    assert [server.host for server in timesyncd_servers(timesyncd)] == [
        "a.example.net", "192.0.2.1", "b.example.net", "f.example.net",
    ]  # fmt: skip
    assert list(windows_servers("time.windows.com,0x9 other.example.net,0x8 <bad>")) == [
        Server("time.windows.com"), Server("other.example.net"),
    ]  # fmt: skip


@given(st.text(max_size=300))
def test_no_configuration_breaks_the_parsers(text):
    for read in (ntp_servers, chrony_servers, timesyncd_servers, windows_servers):
        for line in (text, f"server {text}", f"NTP={text}", f"server a port {text}"):
            for server in read(line):
                assert 0 < server.port < 65_536
                assert " " not in server.host


@given(
    st.integers(-(10**9), 10**9), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6),
    st.integers(1_000_000_000, 4_000_000_000),
)  # fmt: skip
def test_the_drift_is_within_its_uncertainty_of_the_truth(ahead_us, out_us, held_us, back_us, now_s):
    """Whatever the delays are, and on both sides of 2036."""
    request = make_request()
    sent_ns = now_s * SECOND
    received_ns = sent_ns + (out_us + held_us + back_us) * 1000
    server_received_ns = sent_ns + (ahead_us + out_us) * 1000
    reply = answer(
        request, received_ns=server_received_ns, sent_ns=server_received_ns + held_us * 1000, root_delay=0, dispersion=0
    )
    found = measure(request, reply, sent_ns=sent_ns, received_ns=received_ns)
    assert abs(found.drift_ns + ahead_us * 1000) <= found.uncertainty_ns
    assert abs(found.delay_ns - (out_us + back_us) * 1000) <= 4
    assert abs(found.time_ns - (server_received_ns + held_us * 1000)) <= 1


@pytest.mark.parametrize(
    ("given_answer", "says"),
    [
        (lambda request: answer(request)[:47], "an answer of 47 bytes"),
        (lambda request: answer(request, first=0x23), "mode 3, not a server's"),
        (lambda request: answer(request, origin=bytes(8)), "an answer to another question"),
        (lambda request: answer(request, stratum=0, reference=b"DE\0Y"), r"kiss code DE\?Y"),
        (lambda request: answer(request, stratum=16), "not synchronized"),
        (lambda request: answer(request, first=0xE4), "not synchronized"),
        (lambda request: answer(request)[:40] + bytes(8), "not synchronized"),
        (lambda request: answer(request, dispersion=20 << 16), "too far from its own source"),
        (lambda request: answer(request, received_ns=2 * SECOND, sent_ns=SECOND), "times do not fit"),
        (lambda request: answer(request, received_ns=10**18, sent_ns=10**18 + 60 * SECOND), "times do not fit"),
    ],
)
def test_an_answer_that_tells_no_time_is_refused(given_answer, says):
    request = make_request()
    now_ns = time.time_ns()
    with pytest.raises(BadAnswer, match=says):
        measure(request, given_answer(request), sent_ns=now_ns, received_ns=now_ns + 1000)


@given(st.binary(min_size=40, max_size=100), st.binary(max_size=8))
def test_no_answer_breaks_it(data, tail):
    request = make_request()
    reply = data[:24] + request[40:48] + data[32:] + tail
    with contextlib.suppress(BadAnswer):
        assert measure(request, reply, sent_ns=0, received_ns=1000).uncertainty_ns >= 0


def test_a_request_tells_nothing_of_this_host():
    first, second = make_request(), make_request()
    assert first[:40] == second[:40] == b"\x23" + bytes(39)
    assert first[40:] != second[40:]


def test_masked_it_names_no_server():
    with (
        closed_port() as refusing,
        ntp_server(lambda request: answer(request, ahead_ns=-9 * SECOND - SECOND // 2)) as server,
    ):
        result = ask(drift="5s", servers=[refusing, server])
    parameters = load_parameters(MODULE, {"drift": "5s"})
    shown = MODULE.masked(result, parameters)
    text = orjson.dumps(shown).decode() + "\n".join(lines(shown))
    assert server not in text
    assert refusing not in text
    assert shown["elements"]["drifts"][0].startswith("Local time is ahead of ntp host masked by 9")
    assert shown["elements"]["drift"] == result["elements"]["drift"]
    assert MODULE.masked({**result, "errors": [server]}, parameters)["errors"] == ["masked"]
    assert MODULE.masked({"elements": None, "statistics": None, "errors": None}, parameters)["elements"] is None


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"drift": "5"}, "drift: invalid duration '5'"),
        ({"drift": "1d"}, "drift: invalid duration '1d'"),
        ({"drift": "-5s"}, "drift: -5s is negative"),
        ({"drift": 5}, "drift: "),
        ({"servers": ["::1"]}, "servers: they are asked only with a drift"),
        ({"drift": "5s", "servers": ["a b"]}, "servers: 'a b' is no server"),
        ({"drift": "5s", "servers": ["a:0"]}, "servers: 'a:0' is no server"),
        ({"drift": "5s", "servers": ["::1"] * 9}, "servers: 9 values; 8 at most"),
        ({"drfit": "5s"}, "did you mean 'drift'"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(parameters, says):
    with pytest.raises(BadParameters) as caught:
        load_parameters(MODULE, parameters)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_how_a_server_is_written():
    assert parse_server("ntp.example.net") == Server("ntp.example.net")
    assert parse_server("192.0.2.1:1123") == Server("192.0.2.1", 1123)
    assert parse_server("2001:db8::1") == Server("2001:db8::1")
    assert parse_server("[2001:db8::1]:1123") == Server("2001:db8::1", 1123)
    assert Server("2001:db8::1", 1123).text == "[2001:db8::1]:1123"
    assert parse_server("[a]:1") is None
    assert parse_server("[::1]") is None
