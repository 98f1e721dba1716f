"""A deployment's status as Prometheus' metrics: what `investigator status` knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from investigator.broker.service_stats import add_services, add_streams
from investigator.metrics import Page

if TYPE_CHECKING:
    from investigator.console.status import Status


def status_page(status: Status) -> str:
    """The text; a broker that does not answer leaves out what only it knows."""
    page = Page()
    page.gauge(
        "investigator_needs_care", "Things that need somebody; `investigator status` names them.", len(status.care)
    )
    page.gauge("investigator_broker_up", "1 where a server of the broker answers.", int(status.answers))
    for server, answers in status.servers.items():
        page.gauge("investigator_broker_server_up", "1 where this server answers.", int(answers), server=server)
    if status.answers:
        page.gauge(
            "investigator_broker_info",
            "The server that answered first; always 1.",
            1,
            server=status.server,
            version=status.version,
            cluster=status.cluster,
        )
        page.gauge("investigator_broker_encrypted", "1 where the connection is TLS.", int(status.encrypted))
        page.gauge("investigator_broker_round_trip_seconds", "The quickest of three.", status.round_trip_s)
    add_streams(page, status.streams)
    for state, count in status.agents.items():
        page.gauge("investigator_agents", "Agents by status: online, idle, offline.", count, status=state)
    for one in status.expiries:
        left = "Seconds until it ends: certificates, credentials; below 0: it has."
        page.gauge("investigator_expires_in_seconds", left, round(one.days_left * 86_400), what=one.what, name=one.name)
    add_services(page, status.services)
    return str(page)
