"""`investigator sync`: the console's store, from the streams."""

from __future__ import annotations

from pathlib import Path

from investigator.cli.options import Home, home_folder


def sync(home: Home = None) -> None:
    """Add to the console's store what the streams have and it lacks: records, and the answers that this console can open.

    Nothing is ever taken away, and a second time adds nothing. All of the store is looked at first; a damaged one is moved
    aside, and what the streams still have makes a new one. `investigator results` then tells states and findings.
    """
    import asyncio

    asyncio.run(_sync(home_folder(home)))


async def _sync(home: Path) -> None:
    import base64

    from investigator.config import load_console
    from investigator.console.keys import load_sealto
    from investigator.console.link import console_link
    from investigator.console.passphrase import Passphrase
    from investigator.console.store import Store
    from investigator.console.sync import synchronize

    config = load_console(home)
    sealtos: set[str | None] = {None}
    if config.sealing_key is not None:
        passphrase = Passphrase("the investigator's key", config.passphrase_command)
        sealtos.add(base64.b64encode(load_sealto(config.sealing_key, passphrase)).decode())
    async with console_link(config) as broker, Store(config.store, thorough=True) as store:
        lines = await synchronize(store, broker, sealtos=sealtos)
    for line in lines:
        print(line if line.endswith(("alone", "nothing")) else f"added {line}")
    if not lines:
        print("nothing to add: the store has all that the streams have")
