"""The timedrift module: this host's time, and how far it is off that of an NTP server, with the uncertainty.

`servers` says whom the host is set up to follow, `asking` asks them, `sntp` is one question and its answer. MIG's JSON,
flags and printed lines. Nothing here needs root, and no clock is touched.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from investigator.errors import BadInput, BadParameters
from investigator.modules.durations import duration_text, parse_duration
from investigator.modules.interface import MASK, Context, Spec, flag
from investigator.modules.notes import Notes, note_lines
from investigator.modules.timedrift.asking import Reply, ask_in_turn
from investigator.modules.timedrift.servers import PLACES, PUBLIC, Server, configured_servers, parse_server
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_SERVERS: Final = 8
_MARGIN_S: Final = 1.0
_NEVER: Final = "0001-01-01T00:00:00Z"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - as `datetime` itself names it
_DRIFT_HOST: Final = re.compile(r"( ntp host ).*( by \S+)\Z", re.DOTALL)


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How far off is too far; without it only the local time is told."""

    drift: Annotated[
        str, flag("drift", "report a clock that is off by more than that, such as 5s", value="DURATION")
    ] = ""
    servers: Annotated[
        list[str],
        flag("server", "NTP server to compare with (default: those that the host follows)", value="HOST[:PORT]"),
    ] = []


class TimeDriftModule:
    """See the package's docstring; `places` and `public` are where servers are looked for, and who else is asked."""

    spec = Spec(
        name="timedrift",
        summary="tell the local time, and how far it is off NTP's",
        parameters=Parameters,
        flags=Parameters,
        help_when_bare=False,
        details=(
            "Without -drift the local time is told, and that counts as found. With it, found are hosts whose clock is off by "
            "more than that: -drift 60s finds those that are more than a minute ahead or behind.\n\n"
            "Asked are the servers in the configuration of ntpd, ntpsec, chrony or systemd-timesyncd (on Windows of its time "
            "service), then time.nist.gov and pool.ntp.org; with -server these alone. The first good answer decides. One that "
            "is silent for a second has the next one asked too; each has five seconds. A host that reaches none has failed: "
            "nothing is known about its drift.\n\n"
            "The drift is corrected for the time that question and answer were under way. Its uncertainty is half of that "
            "time, and what the server says of its own distance from its source. Where drift and limit are closer than "
            "that, a warning says so."
        ),
        examples=(("what time is it there", ""),),
    )

    def __init__(self, places: Any = PLACES, public: tuple[str, ...] = PUBLIC) -> None:
        self._places = places
        self._public = public

    def check(self, parameters: Parameters, *, local: bool) -> None:  # noqa: ARG002 - the same everywhere
        """Raise `BadParameters`, starting with the parameter's name."""
        _limit_ns(parameters)
        _given_servers(parameters)
        if parameters.servers and not parameters.drift:
            raise BadParameters(
                "servers: they are asked only with a drift", hint="-drift DURATION says what is too far."
            )

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The flags are the parameters."""
        return dict(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Tell the time; compare it, if asked to."""
        started_ns = time.monotonic_ns()
        now_ns = time.time_ns()
        notes = Notes()
        limit_ns = _limit_ns(parameters)
        replies = [] if limit_ns is None else self._ask(parameters, notes, context.deadline_s - _MARGIN_S)
        best = next((reply for reply in replies if reply.measurement is not None), None)
        elements: dict[str, Any] = {"localtime": rfc3339(now_ns)}
        success, found = True, True
        if limit_ns is not None:
            success = best is not None
            found = best is not None and _judge(best, limit_ns, elements, notes)
            if best is None:
                notes.error(_nobody(replies))
        statistics = {
            "exectime": duration_text(time.monotonic_ns() - started_ns),
            "ntpstats": [_stat(reply) for reply in replies] or None,
        }
        return Result(
            foundanything=found, success=success, elements=elements, statistics=statistics, errors=notes.texts()
        )

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """The time and the verdict; with `everything` errors and what each server said."""
        yield from _verdict_lines(result.get("elements") or {})
        yield from note_lines(result, everything=everything, prefix="error: ")
        if everything:
            statistics = result.get("statistics") or {}
            if "exectime" in statistics:
                yield f"stat: execution time was {statistics['exectime']}"
            for stat in statistics.get("ntpstats") or ():
                yield _stat_line(stat)
            yield f"timedrift module has {'succeeded' if result.get('success') else 'failed'}"

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002
        """The result for extra privacy mode: no server's name, no error's text."""
        elements, statistics, errors = result.get("elements"), result.get("statistics"), result.get("errors")
        if elements and elements.get("drifts"):
            elements = {**elements, "drifts": [_DRIFT_HOST.sub(rf"\1{MASK}\2", text) for text in elements["drifts"]]}
        if statistics and statistics.get("ntpstats"):
            shown = [
                {**stat, "host": MASK, **({"problem": MASK} if "problem" in stat else {})}
                for stat in statistics["ntpstats"]
            ]
            statistics = {**statistics, "ntpstats": shown}
        return {
            **result, "elements": elements, "statistics": statistics, "errors": errors and [MASK for _ in errors],
        }  # fmt: skip

    def _ask(self, parameters: Parameters, notes: Notes, deadline_s: float) -> list[Reply]:
        given = _given_servers(parameters)
        if given:
            return ask_in_turn(given, deadline_s=deadline_s)
        own = configured_servers(notes, self._places)
        replies = ask_in_turn(own, deadline_s=deadline_s) if own else []
        if any(reply.measurement is not None for reply in replies):
            return replies
        others = [Server(host) for host in self._public if Server(host) not in own]
        return replies + (ask_in_turn(others, deadline_s=deadline_s) if others else [])


def rfc3339(ns: int) -> str:
    """A time in UTC to the nanosecond: `2015-04-07T15:35:00.768951216Z`."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _limit_ns(parameters: Parameters) -> int | None:
    if not parameters.drift:
        return None
    try:
        limit_ns = parse_duration(parameters.drift)
    except BadInput as error:
        raise BadParameters(f"drift: {error}", hint=error.hint) from None
    if limit_ns < 0:
        raise BadParameters(f"drift: {parameters.drift[:40]} is negative; both directions count anyway")
    return limit_ns


def _given_servers(parameters: Parameters) -> list[Server]:
    if len(parameters.servers) > MAX_SERVERS:
        raise BadParameters(f"servers: {len(parameters.servers):,} values; {MAX_SERVERS} at most")
    found = []
    for text in dict.fromkeys(parameters.servers):
        server = parse_server(text)
        if server is None:
            raise BadParameters(f"servers: {text[:80]!r} is no server", hint="HOST, HOST:PORT or [IPV6]:PORT.")
        found.append(server)
    return found


def _judge(reply: Reply, limit_ns: int, elements: dict[str, Any], notes: Notes) -> bool:
    """Whether the clock is off by more than the limit; what MIG tells of it goes into `elements`."""
    measurement = reply.measurement
    assert measurement is not None
    off_ns, uncertainty_ns = abs(measurement.drift_ns), measurement.uncertainty_ns
    is_out = off_ns > limit_ns
    elements["hascheckeddrift"] = True
    if is_out:
        direction = "ahead of" if measurement.drift_ns > 0 else "behind"
        elements["drifts"] = [f"Local time is {direction} ntp host {reply.server.text} by {duration_text(off_ns)}"]
    else:
        elements["iswithindrift"] = True
    elements["drift"] = duration_text(measurement.drift_ns)
    elements["uncertainty"] = duration_text(uncertainty_ns)
    if off_ns - uncertainty_ns <= limit_ns < off_ns + uncertainty_ns:
        notes.note(
            f"the drift of {duration_text(measurement.drift_ns)} is uncertain by {duration_text(uncertainty_ns)}; "
            f"so it may lie on the other side of the limit of {duration_text(limit_ns)}"
        )
    return is_out


def _nobody(replies: list[Reply]) -> str:
    if not replies:
        return "no NTP server was asked: the time was up before, or there is none"
    problems = ", ".join(f"{reply.server.text}: {reply.problem}" for reply in replies)
    return f"no NTP server told the time ({problems})"


def _stat(reply: Reply) -> dict[str, Any]:
    measurement = reply.measurement
    if measurement is None:
        return {
            "host": reply.server.text, "time": _NEVER, "latency": "", "drift": "", "reachable": False,
            "problem": reply.problem,
        }  # fmt: skip
    return {
        "host": reply.server.text,
        "time": rfc3339(measurement.time_ns),
        "latency": duration_text(measurement.delay_ns),
        "drift": duration_text(measurement.drift_ns),
        "reachable": True,
        "uncertainty": duration_text(measurement.uncertainty_ns),
        "stratum": measurement.stratum,
    }


def _verdict_lines(elements: Mapping[str, Any]) -> Iterator[str]:
    if "localtime" in elements:
        yield f"local time is {elements['localtime']}"
    if elements.get("hascheckeddrift"):
        if elements.get("iswithindrift"):
            yield "local time is within acceptable drift from NTP servers"
        else:
            yield "local time is out of sync from NTP servers"
            yield from elements.get("drifts") or ()


def _stat_line(stat: Mapping[str, Any]) -> str:
    if not stat["reachable"]:
        return f"stat: {stat['host']} was unreachable" + (f": {stat['problem']}" if stat.get("problem") else "")
    more = f", uncertain by {stat['uncertainty']}" if "uncertainty" in stat else ""
    return (
        f"stat: {stat['host']} responded in {stat['latency']} with time {_go_time(stat['time'])}. "
        f"local time drifts by {stat['drift']}{more}"
    )


def _go_time(text: str) -> str:
    """RFC 3339 as Go prints a time: `2015-04-07 15:35:00.5 +0000 UTC`."""
    day, _, clock = text.removesuffix("Z").partition("T")
    clock = clock.rstrip("0").removesuffix(".") if "." in clock else clock
    return f"{day} {clock} +0000 UTC"


MODULE = TimeDriftModule()
