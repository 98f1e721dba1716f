"""Whom an investigation waits for, and where in the stream its action stands for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from investigator.protocol.subjects import agent_routes, route_subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from investigator.console.inventory import Host


def awaited(targeted: list[Host], now: datetime) -> set[str]:
    """The agents that the investigation waits for: those seen within three of their heartbeats."""
    return {host.id for host in targeted if host.is_online(now)}


def placed_for(hosts: Iterable[Host], sequences: Mapping[str, int]) -> dict[str, int]:
    """Where an action stands for each of these agents, of the sequences by subject; agents that no subject leads to are left out."""
    placed = {}
    for host in hosts:
        row = host.facts.row
        tags = row.get("tags")
        tags = {str(key): str(value) for key, value in tags.items()} if isinstance(tags, dict) else {}
        leads = {route_subject(route) for route in agent_routes(host.id, str(row.get("os")), tags)}
        found = [sequence for subject, sequence in sequences.items() if subject.rpartition(".")[0] in leads]
        if found:
            placed[host.id] = min(found)
    return placed
