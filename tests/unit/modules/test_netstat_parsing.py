"""What the kernel, or a hostile host in its place, may give: tables of /proc/net and netlink's messages."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.modules.netstat.linux import parse_address, parse_link, parse_neighbour
from investigator.modules.netstat.netlink import attributes, messages
from investigator.modules.netstat.procnet import arp_table, parse_arp, parse_socket, socket_tables, state_name
from investigator.modules.netstat.rows import Neighbour, Socket, Unreadable, mac_text

HEADING = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TCP = b"   1: 0100007F:1F90 0200007F:A1B2 01 00000000:00000000 00:00000000 00000000  1000        0 885261 2 0000 100 0 0 10 0"
TCP6 = (
    b"   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000"
    b" 00000000     0        0 1151 1 0000000000000000 100 0 0 10 0"
)


def test_a_line_of_each_table():
    assert parse_socket(TCP, "tcp") == Socket(
        "tcp", "ESTABLISHED", b"\x7f\0\0\x01", 8080, b"\x7f\0\0\x02", 0xA1B2, 885261, 1000
    )
    found = parse_socket(TCP6, "tcp")
    assert found is not None
    assert (found.local, found.localport, found.state) == (socket.inet_pton(socket.AF_INET6, "::1"), 22, "LISTEN")
    assert parse_arp(b"192.0.2.1        0x1         0x2         02:fc:00:00:00:05     *        eth0") == Neighbour(
        b"\xc0\0\x02\x01", "02:fc:00:00:00:05", "REACHABLE", "eth0"
    )
    gone = parse_arp(b"192.0.2.7        0x1         0x0         00:00:00:00:00:00     *        eth0")
    assert gone == Neighbour(b"\xc0\0\x02\x07", "", "INCOMPLETE", "eth0")


@pytest.mark.parametrize(
    "line",
    [
        b"", b"   1: 0100007F:1F90", TCP[:60], TCP.replace(b"0100007F", b"0100007G"), TCP.replace(b"0100007F", b"01007F"),
        TCP.replace(b"0200007F", b"0" * 32), TCP.replace(b"885261", b"9" * 40), HEADING.rstrip(),
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_left_out(line):
    assert parse_socket(line, "tcp") is None


@pytest.mark.parametrize("line", [b"300.0.2.1 0x1 0x2 02:fc:00:00:00:05 * eth0", b"1.2.3.4 0x1 0x2 0:1: * eth0", b"x"])
def test_an_arp_line_that_is_none_is_left_out(line):
    assert parse_arp(line) is None


def test_tables_are_read_whole_without_heading_and_ipv6s_may_be_missing(tmp_path):
    for table in ("tcp", "udp"):
        (tmp_path / table).write_bytes(HEADING + (TCP + b"\n") * 2000 + b"x" * 300_000 + b"\n" + TCP)
    found = list(socket_tables(str(tmp_path)))
    assert [each.protocol for each in found] == ["tcp"] * 2001 + ["udp"] * 2001
    (tmp_path / "tcp").unlink()
    with pytest.raises(Unreadable, match="tcp: no such file"):
        list(socket_tables(str(tmp_path)))
    with pytest.raises(Unreadable, match="arp: "):
        list(arp_table(str(tmp_path)))


@given(st.binary(max_size=300))
def test_no_line_breaks_the_parsers(line):
    for found in (parse_socket(line, "udp"), parse_arp(line)):
        assert found is None or isinstance(found, tuple)


@given(st.text(alphabet="0123456789ABCDEF: *x", max_size=200))
def test_no_line_of_the_tables_own_letters_breaks_them_either(line):
    parse_socket(line.encode(), "tcp")
    parse_arp(line.encode())


@given(st.binary(max_size=400), st.integers(0, 400), st.integers(0, 400))
def test_no_message_breaks_netlinks_parsers(data, start, end):
    end = min(end, len(data))
    attributes(data, start, end)
    for parsed in (
        parse_neighbour(data, start, end, 4, {}),
        parse_address(data, start, end),
        parse_link(data, start, end),
    ):
        assert parsed is None or isinstance(parsed, tuple)
    try:
        for _, _, first, last in messages(data):
            assert 16 <= first <= last <= len(data)
    except OSError:
        pass


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def test_neighbours_are_those_that_somebody_asked_for():
    def parsed(state, mac=b"\x02\0\0\0\0\x01", address=b"\xc0\0\x02\x09"):
        entry = struct.pack("=BxxxiHBB", 2, 3, state, 0, 1) + attribute(1, address) + attribute(2, mac)
        return parse_neighbour(entry, 0, len(entry), 4, {3: "eth0"})

    assert parsed(0x04) == Neighbour(b"\xc0\0\x02\x09", "02:00:00:00:00:01", "STALE", "eth0")
    assert parsed(0x20, mac=b"") == Neighbour(b"\xc0\0\x02\x09", "", "FAILED", "eth0")
    assert parsed(0x40) is None
    assert parsed(0x00) is None
    assert parsed(0x02, address=b"\xc0") is None


def test_an_error_of_the_kernels_is_raised_and_a_success_is_not():
    def error(code):
        return struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -code) + bytes(16)

    with pytest.raises(OSError, match="Operation not permitted"):
        list(messages(error(1)))
    assert list(messages(error(0))) == []
    with pytest.raises(OSError, match="was cut"):
        list(messages(struct.pack("=IHHII", 400, 20, 0, 1, 0)))
    with pytest.raises(OSError, match="was cut"):
        list(messages(struct.pack("=IHHII", 3, 20, 0, 1, 0)))


def test_states_and_hardware_addresses_in_words():
    assert [state_name("tcp", number) for number in (1, 10, 99, 0)] == ["ESTABLISHED", "LISTEN", "STATE_99", "STATE_0"]
    assert [state_name("udp", number) for number in (1, 7)] == ["ESTABLISHED", "UNCONNECTED"]
    assert mac_text(bytes(6)) == mac_text(b"") == mac_text(b"\x0a\0\0\x01") == mac_text(bytes(15) + b"\1") == ""
    assert mac_text(bytes(range(20))).startswith("00:01:02")
