"""The netstat module on this machine: sockets that a test opens, a namespace that it makes, psutil as a second witness."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import orjson
import pytest

from investigator.errors import BadParameters, BadRegex
from investigator.modules.interface import Context, load_parameters
from investigator.modules.netstat import MODULE
from investigator.modules.netstat.linux import LinuxHost
from investigator.modules.netstat.netlink import Netlink
from investigator.modules.netstat.portable import PortableHost, interfaces_of, sockets_of
from investigator.modules.netstat.procnet import socket_tables
from investigator.modules.netstat.rows import Unreadable, is_listening
from investigator.modules.notes import Notes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's")
HAS_IPV6 = Path("/proc/net/if_inet6").exists()


def link(path):
    return str(Path(path).readlink())


def ask(context=None, **parameters):
    result = MODULE.run(load_parameters(MODULE, parameters), context or Context())
    return orjson.loads(orjson.dumps(msgspec.to_builtins(result)))


def lines(result, *, everything=False):
    return list(MODULE.lines(result, everything=everything))


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def connection(listener):
    """A connected pair on loopback: the client's end, and the server's."""
    with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
        yield client, server


def elements_of(result, kind, value, port):
    """Those of this process: a port may be that of another's connection too, to somewhere else, or of one in TIME_WAIT."""
    return [
        each
        for each in result["elements"][kind][value] or ()
        if each.get("localport") == port and os.getpid() in [one["pid"] for one in each.get("processes") or ()]
    ]


def test_a_connection_is_found_by_its_peer_with_the_process_that_has_it(connection):
    client, server = connection
    here, there = client.getsockname()[1], server.getsockname()[1]
    result = ask(connectedip=["127.0.0.0/8", "198.51.100.7"])
    (element,) = elements_of(result, "connectedip", "127.0.0.0/8", here)
    (owner,) = element.pop("processes")
    assert element == {
        "localaddr": "127.0.0.1", "localport": here, "remoteaddr": "127.0.0.1", "remoteport": there,
        "namespace": "default", "protocol": "tcp", "state": "ESTABLISHED", "uid": os.getuid(),
    }  # fmt: skip
    assert owner["pid"] == os.getpid()
    assert owner["executable"] == link("/proc/self/exe")
    assert result["elements"]["connectedip"]["198.51.100.7"] is None
    assert list(result["elements"]) == ["connectedip"]
    assert result["foundanything"]
    assert result["success"]
    assert result["statistics"]["totalhits"] == len(result["elements"]["connectedip"]["127.0.0.0/8"])


def test_the_line_is_migs_with_ours_behind_it(connection):
    client, server = connection
    here, there = client.getsockname()[1], server.getsockname()[1]
    found = lines(ask(connectedip=["127.0.0.1/32"]))
    start = (
        f"found connected tuple 127.0.0.1:{there} with local tuple 127.0.0.1:{here} "
        "for netstat connectedip:'127.0.0.1/32'"
    )
    (line,) = [line for line in found if line.startswith(start)]
    rest = f" protocol:[tcp] state:[ESTABLISHED] process:[{os.getpid()} {link('/proc/self/exe')}]"
    assert line == start + rest


def test_a_listener_is_found_by_its_port_and_by_the_network_of_all(listener):
    port = listener.getsockname()[1]
    result = ask(listeningport=[str(port)], connectedip=["0.0.0.0/0"])
    (element,) = elements_of(result, "listeningport", str(port), port)
    assert (element["localaddr"], element["localport"], element["state"]) == ("127.0.0.1", port, "LISTEN")
    assert "remoteaddr" not in element
    (same,) = elements_of(result, "connectedip", "0.0.0.0/0", port)
    assert same["remoteaddr"] == "0.0.0.0"
    assert "remoteport" not in same
    assert f"found connected tuple 0.0.0.0:0 with local tuple 127.0.0.1:{port} for" in "\n".join(lines(result))


def test_an_established_or_outgoing_socket_listens_on_nothing(connection):
    client, server = connection
    here, there = client.getsockname()[1], server.getsockname()[1]
    result = ask(listeningport=[str(here), str(there)])
    assert elements_of(result, "listeningport", str(here), here) == []
    assert len(elements_of(result, "listeningport", str(there), there)) == 1


def test_a_udp_socket_listens_until_it_is_connected():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        port = str(udp.getsockname()[1])
        (element,) = elements_of(ask(listeningport=[port]), "listeningport", port, int(port))
        assert (element["protocol"], element["state"]) == ("udp", "UNCONNECTED")
        udp.connect(("127.0.0.1", 9))
        assert elements_of(ask(listeningport=[port]), "listeningport", port, int(port)) == []
        (element,) = elements_of(ask(connectedip=["127.0.0.1"]), "connectedip", "127.0.0.1", int(port))
        assert (element["remoteport"], element["state"]) == (9, "ESTABLISHED")


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_ipv6_is_found_by_ipv6_networks_and_ipv4_within_it_by_ipv4_ones():
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 0))
        server.listen()
        port = server.getsockname()[1]
        with (
            socket.create_connection(("127.0.0.1", port)),
            server.accept()[0] as mapped,
            socket.create_connection(("::1", port)),
            server.accept()[0] as plain,
        ):
            assert mapped.getpeername()[0] == "::ffff:127.0.0.1"
            result = ask(connectedip=["127.0.0.1", "::1/128", "::ffff:127.0.0.0/104"], listeningport=[str(port)])
            (element,) = elements_of(result, "connectedip", "127.0.0.1", port)
            assert (element["remoteaddr"], element["localaddr"]) == ("127.0.0.1", "127.0.0.1")
            assert element["remoteport"] == mapped.getpeername()[1]
            assert elements_of(result, "connectedip", "::ffff:127.0.0.0/104", port) == [element]
            (element,) = elements_of(result, "connectedip", "::1/128", port)
            assert (element["remoteaddr"], element["remoteport"]) == ("::1", plain.getpeername()[1])
            (element,) = elements_of(result, "listeningport", str(port), port)
            assert element["localaddr"] == "::"


def test_local_addresses_are_compared_as_addresses_not_as_text():
    asked = ["127.0.0.1", "127.9.9.9/8", "198.51.100.0/24"] + (["0:0:0:0:0:0:0:1"] if HAS_IPV6 else [])
    found = ask(localip=asked)["elements"]["localip"]
    assert found["127.0.0.1"] == [{"localaddr": "127.0.0.1", "interface": "lo"}]
    assert found["127.0.0.1"][0] in found["127.9.9.9/8"]
    assert found["198.51.100.0/24"] is None
    if HAS_IPV6:
        assert found["0:0:0:0:0:0:0:1"] == [{"localaddr": "::1", "interface": "lo"}]


def test_interfaces_without_a_hardware_address_match_no_regex():
    found = ask(localmac=[".*"])["elements"]["localmac"][".*"] or []
    assert "lo" not in [each["interface"] for each in found]
    assert all(re.fullmatch("[0-9a-f]{2}(:[0-9a-f]{2})+", each["localmacaddr"]) for each in found)


def test_both_ways_to_the_sockets_and_psutil_agree(connection, listener):
    """The three ways see the same of this process's sockets."""
    ports = {each.getsockname()[1] for each in (*connection, listener)}

    def of_ours(rows):
        # a port that was another test's may still be in TIME_WAIT towards a third one
        return sorted(row[:6] for row in rows if row.localport in ports and row.state != "TIME_WAIT")

    with next(LinuxHost(Notes()).networks(all_namespaces=False)) as network:
        by_netlink = of_ours(network.sockets(listening=False))
        listening = [row for row in network.sockets(listening=True) if row.localport in ports]
    assert len(by_netlink) == 3
    assert by_netlink == of_ours(socket_tables("/proc/self/net"))
    with next(PortableHost(Notes()).networks(all_namespaces=False)) as portable:
        assert by_netlink == of_ours(portable.sockets(listening=False))
        with pytest.raises(Unreadable, match="not available on this system"):
            next(iter(portable.neighbours()))
    assert [(row.localport, is_listening(row)) for row in listening] == [(listener.getsockname()[1], True)]


def test_psutils_owners_and_interfaces_are_those_of_netlink(listener):
    notes = Notes()
    owners = PortableHost(notes).owners({os.getpid(), 0}, deadline_s=float("inf"))
    (owner,) = owners[os.getpid()]
    assert (owner.pid, owner.executable) == (os.getpid(), link("/proc/self/exe"))
    with next(PortableHost(notes).networks(all_namespaces=True)) as whole:
        portable = {each.name: (each.mac, sorted(each.addresses)) for each in whole.interfaces()}
    with next(LinuxHost(notes).networks(all_namespaces=False)) as network:
        linux = {each.name: (each.mac, sorted(each.addresses)) for each in network.interfaces()}
    assert {name: found for name, found in linux.items() if found[1]}.items() <= portable.items()
    assert notes.texts() == ["warning: network namespaces are Linux's; the whole of this host was looked at"]


def test_what_windows_and_macos_tell_is_understood():
    class Row:
        def __init__(self, family, kind, laddr, raddr, status, pid):
            self.family, self.type, self.status, self.pid = family, kind, status, pid
            self.laddr, self.raddr = laddr, raddr

    class End:
        def __init__(self, ip, port):
            self.ip, self.port = ip, port

    class Address:
        def __init__(self, family, address):
            self.family, self.address = family, address

    rows = [
        Row(socket.AF_INET6, socket.SOCK_STREAM, End("fe80::1%en0", 22), (), "LISTEN", 7),
        Row(socket.AF_INET, socket.SOCK_DGRAM, End("0.0.0.0", 53), (), "NONE", None),
        Row(socket.AF_INET, socket.SOCK_STREAM, End("192.0.2.1", 49000), End("192.0.2.2", 443), "DELETE_TCB", 8),
        Row(socket.AF_UNIX, socket.SOCK_STREAM, "", "", "NONE", 9),
    ]
    found = list(sockets_of(rows))
    assert [(each.protocol, each.state, each.localport, each.remoteport, each.owner) for each in found] == [
        ("tcp", "LISTEN", 22, 0, 7), ("udp", "UNCONNECTED", 53, 0, 0), ("tcp", "CLOSE", 49000, 443, 8),
    ]  # fmt: skip
    assert found[0].local == socket.inet_pton(socket.AF_INET6, "fe80::1")
    known = {
        "Ethernet": [Address(-1, "02-00-5E-10-00-01"), Address(socket.AF_INET, "192.0.2.1")],
        "Loopback": [Address(-1, ""), Address(socket.AF_INET6, "::1")],
        "Odd": [Address(-1, "no address")],
    }
    assert [(each.name, each.mac, len(each.addresses)) for each in interfaces_of(known, link=-1)] == [
        ("Ethernet", "02:00:5e:10:00:01", 1), ("Loopback", "", 1), ("Odd", "", 0),
    ]  # fmt: skip


LISTEN_AND_WAIT = """
import socket, subprocess, sys
for command in sys.argv[1:]:
    if subprocess.run(command.split(), stderr=subprocess.DEVNULL).returncode:
        print("no", command, flush=True)
with socket.create_server(("0.0.0.0", 0)) as server:
    print("port", server.getsockname()[1], flush=True)
    sys.stdin.read()
"""
BRIDGE = (
    "ip link add bridge9 address 02:00:5e:10:00:01 type bridge",
    "ip link set bridge9 up",
    "ip address add 192.0.2.1/24 dev bridge9",
    "ip neighbour add 192.0.2.9 lladdr 02:00:5E:10:00:AB dev bridge9 nud permanent",
    "ip neighbour add 2001:db8::9 lladdr 02:00:5e:10:00:cd dev bridge9 nud permanent",
)


@pytest.fixture
def elsewhere():
    """A process that listens in a network namespace of its own: its pid, its port, and whether it has neighbours."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare here")
    mine = [] if os.geteuid() == 0 else ["--map-root-user"]
    with subprocess.Popen(
        [unshare, *mine, "--net", sys.executable, "-c", LISTEN_AND_WAIT, *(BRIDGE if shutil.which("ip") else ())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            said = [line := child.stdout.readline()]
            while line.startswith("no "):
                said.append(line := child.stdout.readline())
            if not line:
                pytest.skip("no namespaces here")
            yield child.pid, line.split()[1], len(said) == 1 and shutil.which("ip") is not None
        finally:
            child.stdin.close()
            child.wait()


def test_other_namespaces_are_looked_into_when_asked(elsewhere):
    pid, port, _ = elsewhere
    name = link(f"/proc/{pid}/ns/net")
    own = link("/proc/self/ns/net")
    assert ask(listeningport=[port])["elements"]["listeningport"][port] is None
    result = ask(listeningport=[port], namespaces=True)
    (element,) = result["elements"]["listeningport"][port]
    assert element["namespace"] == name != own
    assert [owner["pid"] for owner in element["processes"]] == [pid]
    (line,) = [line for line in lines(result) if line.startswith("found")]
    assert line.startswith(f"found listening port {port} for netstat listeningport:'{port}' namespace:[{name}]")
    assert link("/proc/thread-self/ns/net") == own


def test_a_namespace_that_may_not_be_entered_is_looked_at_through_proc(elsewhere, monkeypatch):
    _, port, has_neighbours = elsewhere
    monkeypatch.setattr("investigator.modules.netstat.namespaces._libc_setns", lambda descriptor: -1)
    result = ask(listeningport=[port], neighborip=["192.0.2.9"], namespaces=True)
    assert len(result["elements"]["listeningport"][port]) == 1
    assert "could not read IPv6's neighbours: netlink does not serve" in result["errors"]
    if has_neighbours:
        assert result["elements"]["neighborip"]["192.0.2.9"][0]["remotemacaddr"] == "02:00:5e:10:00:ab"


def test_neighbours_are_found_by_address_and_by_hardware_address_in_any_case(elsewhere):
    pid, _, has_neighbours = elsewhere
    if not has_neighbours:
        pytest.skip("no bridges here")
    result = ask(
        neighborip=["192.0.2.0/28", "2001:db8::/32", "198.51.100.1"],
        neighbormac=["^02:00:5E:10:00:AB$"],
        namespaces=True,
    )
    name = link(f"/proc/{pid}/ns/net")
    rest = {"namespace": name, "interface": "bridge9", "state": "PERMANENT"}
    four = {"remotemacaddr": "02:00:5e:10:00:ab", "remoteaddr": "192.0.2.9", **rest}
    six = {"remotemacaddr": "02:00:5e:10:00:cd", "remoteaddr": "2001:db8::9", **rest}
    assert four in result["elements"]["neighborip"]["192.0.2.0/28"]
    assert six in result["elements"]["neighborip"]["2001:db8::/32"]
    assert result["elements"]["neighborip"]["198.51.100.1"] is None
    assert result["elements"]["neighbormac"] == {"^02:00:5E:10:00:AB$": [four]}
    shown = lines(result, everything=True)
    where = f"namespace:[{name}] interface:[bridge9] state:[PERMANENT]"
    assert f"found neighbor IP 2001:db8::9 02:00:5e:10:00:cd for netstat neighborIP:'2001:db8::/32' {where}" in shown
    assert (
        f"found neighbor mac 02:00:5e:10:00:ab 192.0.2.9 for netstat neighbormac:'^02:00:5E:10:00:AB$' {where}" in shown
    )
    assert "did not find anything for netstat neighborIP:'198.51.100.1'" in shown


def test_without_netlink_the_tables_of_proc_serve(connection, monkeypatch):
    def refuse(self, protocol):
        raise Unreadable("netlink: Operation not permitted")

    here = connection[0].getsockname()[1]
    whole = elements_of(ask(connectedip=["127.0.0.1"]), "connectedip", "127.0.0.1", here)
    monkeypatch.setattr(Netlink, "__init__", refuse)
    result = ask(connectedip=["127.0.0.1"], localip=["127.0.0.1"])
    assert elements_of(result, "connectedip", "127.0.0.1", here) == whole
    assert result["elements"]["localip"] == {"127.0.0.1": None}
    assert "could not read what localip ask for: netlink does not serve" in result["errors"]
    assert result["success"]
    assert not ask(localip=["127.0.0.1"])["success"]


def test_a_kernel_that_refuses_one_protocol_has_it_read_from_proc(connection, monkeypatch):
    real = Netlink.dump

    def refuse(self, kind, body):
        if kind == 20 and body[1] == socket.IPPROTO_TCP:
            raise Unreadable("netlink: No such file or directory")
        return real(self, kind, body)

    monkeypatch.setattr(Netlink, "dump", refuse)
    here = connection[0].getsockname()[1]
    assert elements_of(ask(connectedip=["127.0.0.1"]), "connectedip", "127.0.0.1", here)


def test_a_result_is_cut_to_its_size_and_says_so(connection):
    result = ask(Context(result_bytes=(1 << 20) + 600), connectedip=["127.0.0.0/8", "0.0.0.0/0"])
    kept = sum(len(found or ()) for found in result["elements"]["connectedip"].values())
    assert 0 < kept < result["statistics"]["totalhits"]
    missing = result["statistics"]["totalhits"] - kept
    assert len(orjson.dumps(result["elements"])) < 600 + 100
    said = f"warning: found {missing} more than a result can hold; they are counted, not returned"
    assert said in result["errors"]
    assert said in lines(result)


def test_when_the_time_is_up_it_says_so(connection):
    result = ask(Context(deadline_s=0.0), connectedip=["127.0.0.1"])
    assert "warning: the time was up before every namespace was looked into" in result["errors"]


def test_the_lines_of_a_result_without_hits():
    result = ask(connectedip=["198.51.100.1"], localmac=["^zz"], listeningport=["1"])
    shown = lines(result, everything=True)
    assert shown[:3] == [
        "did not find anything for netstat localmac:'^zz'",
        "did not find anything for netstat connectedip:'198.51.100.1'",
        "did not find anything for netstat listeningport:'1'",
    ]
    assert re.fullmatch(r"Statistics: total hits 0 examined \d+ items exectime \S+", shown[-1])
    assert lines(result) == []
    failed = {"elements": None, "statistics": None, "errors": ["out of luck"], "success": False}
    assert lines(failed, everything=True) == ["error: out of luck"]


def test_masked_it_names_no_peer_no_neighbour_and_no_process(connection):
    parameters = load_parameters(MODULE, {"connectedip": ["127.0.0.0/8"]})
    neighbour = {"remotemacaddr": "02:00:5e:10:00:ab", "remoteaddr": "192.0.2.9", "namespace": "default"}
    result = ask(connectedip=["127.0.0.0/8"], localip=["127.0.0.1"])
    result["elements"] |= {"neighborip": {"192.0.2.9": [neighbour]}, "neighbormac": {"^02": [neighbour], "^03": None}}
    result["errors"] = ["could not read 192.0.2.9"]
    shown = MODULE.masked(result, parameters)
    found = shown["elements"]["connectedip"]["127.0.0.0/8"]
    assert found
    assert {each["remoteaddr"] for each in found} == {"masked"}
    assert {owner["executable"] for each in found for owner in each.get("processes", ())} == {"masked"}
    assert {owner["name"] for each in found for owner in each.get("processes", ())} == {"masked"}
    masked = {"remotemacaddr": "masked", "remoteaddr": "masked", "namespace": "default"}
    assert shown["elements"]["neighborip"] == {"192.0.2.9": [masked]}
    assert shown["elements"]["neighbormac"] == {"^02": [masked], "^03": None}
    assert shown["elements"]["localip"]["127.0.0.1"][0]["localaddr"] == "127.0.0.1"
    assert shown["errors"] == ["masked"]
    assert "found connected tuple masked:" in "\n".join(lines(shown))
    assert result["elements"]["neighborip"]["192.0.2.9"] == [neighbour]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({}, "netstat: nothing is asked"),
        ({"namespaces": True}, "netstat: nothing is asked"),
        ({"connectedip": ["1.2.3.400"]}, "connectedip: invalid IPv4 1.2.3.400. Must be an IP or a CIDR."),
        ({"localip": ["10.0.0.0/33"]}, "localip: invalid IPv4 10.0.0.0/33. Must be"),
        ({"localip": ["10.0.0.0/255.0.0.0"]}, "localip: invalid IPv4 10.0.0.0/255.0.0.0"),
        ({"neighborip": ["fe80::1%eth0"]}, "neighborip: invalid IPv6 fe80::1%eth0"),
        ({"neighborip": ["::1\n"]}, "neighborip: invalid IPv6 '::1\\n'"),
        ({"connectedip": [""]}, "connectedip: an empty value"),
        ({"connectedip": ["1" * 1001]}, "connectedip: a value of 1,001 characters"),
        ({"connectedip": ["::1"] * 10_001}, "connectedip: 10,001 values; 10,000 at most"),
        ({"listeningport": ["http"]}, "listeningport: http is not a valid port"),
        ({"listeningport": ["0"]}, "listeningport: port 0 out of range. must be between 1 and 65535"),
        ({"listeningport": ["65536"]}, "listeningport: port 65536 out of range"),
        ({"listeningport": ["1" * 900]}, "listeningport: port '1"),
        ({"listeningport": [22]}, "listeningport"),
        ({"conectedip": ["::1"]}, "did you mean 'connectedip'"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(parameters, says):
    with pytest.raises(BadParameters) as caught:
        load_parameters(MODULE, parameters)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_regex_that_does_not_compile_says_where():
    with pytest.raises(BadRegex, match=r"^neighbormac: Invalid MAC regexp: .*does not compile") as caught:
        load_parameters(MODULE, {"neighbormac": ["^aa", "(bb"]})
    assert caught.value.position == 0


def test_bits_beyond_the_mask_are_dropped_as_in_mig(connection):
    here = connection[0].getsockname()[1]
    assert elements_of(ask(connectedip=["127.1.2.3/8"]), "connectedip", "127.1.2.3/8", here)
