"""netstat, ping and timedrift in real workers: what they may do there, and that operations run side by side."""

import asyncio
import os
import socket
import threading
import time

from investigator.agent.limits import Limits
from investigator.agent.runner import Runner
from investigator.modules.ping.probes import IcmpPinger, NotPermitted
from investigator.modules.ping.resolving import Address
from investigator.modules.timedrift.sntp import timestamp


def run(*operations, state="done"):
    """All operations at once, each in a worker of its own, as an action's are; their results."""

    async def story():
        async with Runner(Limits(memory_bytes=256 << 20)) as runner:
            deadline_s = time.monotonic() + 30
            ran = await asyncio.gather(
                *(runner.run(module, parameters, deadline_s=deadline_s) for module, parameters in operations)
            )
        assert [each.state for each in ran] == [state] * len(ran), ran
        return [each.result.read() for each in ran]

    return asyncio.run(story())


def udp_socket():
    served = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    served.bind(("127.0.0.1", 0))
    return served


def test_the_pings_of_one_action_run_side_by_side():
    """Neither is answered before both have asked: one after the other, the first would end without an answer."""
    with udp_socket() as server:

        def serve():
            askers: dict[object, bytes] = {}
            while len(askers) < 3:
                data, address = server.recvfrom(100)
                askers[address] = data
            for address, data in askers.items():
                server.sendto(data, address)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        asked = {"destination": "127.0.0.1", "protocol": "udp", "destinationport": server.getsockname()[1]}
        results = run(*[("ping", {**asked, "count": 1, "timeout": 20})] * 3)
        thread.join(20)
    for result in results:
        (latency,) = result.elements["latencies"]
        assert 0 < latency < 20_000
        assert result.foundanything


def test_netstat_in_a_worker_sees_this_process_listen():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        (result,) = run(("netstat", {"listeningport": [port], "namespaces": True}))
    (element,) = result.elements["listeningport"][port]
    assert [owner["pid"] for owner in element["processes"]] == [os.getpid()]


def test_timedrift_in_a_worker_measures_and_says_so_where_it_cannot():
    with udp_socket() as server, udp_socket() as refusing:
        refusing.connect(refusing.getsockname())

        def serve():
            request, address = server.recvfrom(100)
            now = timestamp(time.time_ns() + 3_601_000_000_000)
            server.sendto(bytes((0x24, 1, 6, 0xEC)) + bytes(12) + now + request[40:48] + now + now, address)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        good, bad = (f"127.0.0.1:{each.getsockname()[1]}" for each in (server, refusing))
        (measured,) = run(("timedrift", {"drift": "60s", "servers": [bad, good]}))
        thread.join(20)
        (failed,) = run(("timedrift", {"drift": "60s", "servers": [bad]}), state="failed")
    assert measured.elements["drifts"][0].startswith(f"Local time is behind ntp host {good} by 1h0m")
    assert failed.errors == [f"no NTP server told the time ({bad}: Connection refused)"]


def test_icmp_in_a_worker_reaches_loopback_or_says_what_it_needs():
    operation = ("ping", {"destination": "127.0.0.1", "protocol": "icmp", "count": 1})
    try:
        IcmpPinger(Address(family=socket.AF_INET, sockaddr=("127.0.0.1", 0))).close()
    except NotPermitted:
        (result,) = run(operation, state="failed")
        assert "needs root" in result.errors[0]
    else:
        assert run(operation)[0].foundanything
