"""A broker that lets everybody do everything, for benches that play a hundred thousand agents at once: the real streams, no users."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import nats

from investigator.broker.server import EmbeddedServer

PUBLISHED_AT_ONCE = 5000


class OpenServer(EmbeddedServer):
    """No operator, no accounts."""

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        for key in ("operator", "system_account", "resolver", "resolver_preload", "authorization"):
            settings.pop(key, None)
        return settings


async def fill(url: str, messages: Iterable[tuple[str, bytes]]) -> None:
    """Publish, without waiting for each to be stored."""
    client = await nats.connect(url)
    try:
        for number, (subject, payload) in enumerate(messages):
            await client.publish(subject, payload)
            if number % PUBLISHED_AT_ONCE == 0:
                await client.flush(60)
                await asyncio.sleep(0)
        await client.flush(60)
    finally:
        await client.close()
