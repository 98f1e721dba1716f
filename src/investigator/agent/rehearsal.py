"""Stage 5, before the first operation: the fork server goes once through what every worker will go through.

Whatever Python makes at the first use of a function (specialised code, decoders, caches) a worker would otherwise make in its
own memory, and lose with it: each page that it writes to is copied. Docs/adr/0029 has the figures.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec
import orjson

from investigator.agent.channel import Request
from investigator.agent.limits import Limits
from investigator.agent.worker import answer, encode
from investigator.modules import file


def rehearse() -> None:
    """Answer a search for one file of our own, in one folder of our own."""
    here = Path(file.__file__).parent
    search = {"paths": [str(here)], "names": ["^__init__\\.py$"], "options": {"maxdepth": 1, "matchall": True}}
    request = Request(
        module="file",
        parameters={"searches": {"own": search}},
        deadline_s=time.monotonic() + 1.0,
        folder="/",
        local=False,
        limits=Limits(),
    )
    with contextlib.suppress(Exception):  # what is wrong, an operation will say
        asked = msgspec.convert(orjson.loads(orjson.dumps(request)), Request)
        encode(answer(asked), asked.limits)
