"""Stage 7, what people and programs see of an investigation, as it comes in.

`--output ndjson`: a line of JSON for each agent as it reaches its final state, and one at the end. Stable:

    {"type":"outcome","action":ID,"agent":{"id":…,"name":…},"state":…,"code":…,"reason":…,"results":[…]}
    {"type":"summary","action":ID,"targeted":3,"states":{"found":2,"notfound":1},"elapsed_s":0.41}

`state` is one of `protocol.tally.STATES`, or `working`: see below; `code` and `reason` are empty where there is nothing to say; `results` are
MIG's result JSON, one per operation that ran, and empty for an agent that said nothing. The summary also has
`"working":N` where N agents had no state yet when it was cut short, `"interrupted":true` after Ctrl-C, and `"dropped":N`
where N answers did not verify, and `"sealed":N` where N agents' answers are sealed to another key. `--output json` is one document of the same, written as it grows:

    {"type":"investigation","action":ID,"outcomes":[…],"summary":{…}}

`"unfinished":true` stands in an outcome of which some came and not all: `results` are then what did. Its state is `working`
where Ctrl-C, or a broker that went away, came first (it counts in `working`); `expired` where the agent never ended; else its
own, and some of its findings did not arrive, which its `errors` name.

Both hold every agent whatever `-show` says; that is for text and csv (`render_text`, `render_csv`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal, TextIO

from investigator.console.audience import Audience
from investigator.console.render_parts import ModuleLines

Output = Literal["text", "json", "ndjson", "csv"]
Show = Literal["found", "notfound", "all"]


def renderer(
    output: Output,
    *,
    show: Show = "found",
    modules: Sequence[str],
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> Audience:
    """The renderer for an `--output`; `modules` are the operations' modules, in order."""
    from investigator.console.render_csv import CsvRenderer
    from investigator.console.render_json import JsonRenderer
    from investigator.console.render_text import TextRenderer

    out, err = stdout or sys.stdout, stderr or sys.stderr
    lines = ModuleLines(modules)
    if output == "text":
        return TextRenderer(out, err, show=show, lines=lines)
    if output == "csv":
        return CsvRenderer(out, err, show=show, lines=lines)
    return JsonRenderer(out, err, one_document=output == "json")
