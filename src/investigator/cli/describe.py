"""An action and its signatures, as people read them before they sign or send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from investigator.config import CONSOLE_FILE, load_console
from investigator.console.deployment import PEOPLE
from investigator.console.dispatch import Prepared
from investigator.console.people_file import owners, read_people
from investigator.console.signed_file import sealed_for
from investigator.console.verdict import Told, Verdict
from investigator.errors import BadInput
from investigator.printable import printable
from investigator.protocol.action import Action, Operation, utc_text


def names_of(folder: Path) -> dict[str, str]:
    """Names by sealing key, of the people whom this deployment knows."""
    return owners(read_people(load_console(folder).people if (folder / CONSOLE_FILE).exists() else folder / PEOPLE))


def head(action: Action, names: Mapping[str, str]) -> list[str]:
    """What nobody signs, verifies or sends unseen."""
    return [
        f"action      {action.id}  {printable(action.name)}",
        f"target      {printable(action.target)}",
        f"valid       {utc_text(action.validfrom)} to {utc_text(action.expireafter)}",
        f"operations  {', '.join(printable(operation.module) for operation in action.operations)}",
        f"results     can be opened by {sealed_for(action, names)}",
    ]


def description(prepared: Prepared, names: Mapping[str, str], *, now_s: float) -> list[str]:
    """All of it, parameters included."""
    action = prepared.action
    lines = head(action, names)
    lines[2] += f" ({_left(action, now_s)})"
    lines[2:2] = [f"condition   {_json(action.condition)}", f"subjects    {', '.join(prepared.subjects)}"]
    for number, operation in enumerate(action.operations, start=1):
        lines.append(f"{number:>9}.  {printable(operation.module)} {printable(_parameters(operation))}")
    for label, about in (("about", action.description), ("threat", action.threat)):
        if about:
            lines.append(f"{label:<12}{printable(_json(about))}")
    return [*lines, f"digest      {prepared.envelope.digest}"]


def document(prepared: Prepared, names: Mapping[str, str], signatures: Sequence[str]) -> str:
    """The same for programs."""
    action = prepared.action
    shown = {
        "action": orjson.loads(prepared.envelope.signed_bytes),
        "digest": prepared.envelope.digest,
        "subjects": prepared.subjects,
        "parameters": [_opened(operation) for operation in action.operations],
        "sealed_to": names.get(action.sealto or ""),
        "signatures": signatures,
    }
    return orjson.dumps(shown).decode()


def signature_lines(verdict: Verdict) -> list[str]:
    """A line for each signature: whether it counts, whose it is, and why it does not."""
    return [_signature(one) for one in verdict.told]


def weight_lines(verdict: Verdict) -> list[str]:
    """A line for each module: what it needs, and what the signers have."""
    lines = []
    for weighing in verdict.weighings:
        standing = f"{weighing.missing} missing" if weighing.missing else "enough"
        told = f"{weighing.module} needs {weighing.need}, has {weighing.got}: {weighing.signed}"
        lines.append(f"{standing:<12}{printable(told)}")
    return lines


def verdict_document(action: Action, verdict: Verdict, problem: str) -> str:
    """A verdict for programs."""
    shown = {
        "action": action.id,
        "problem": problem,
        "signatures": [
            {
                "place": one.place,
                "good": not one.problem,
                "altered": one.altered,
                "fingerprint": one.fingerprint or None,
                "name": one.name if one.fingerprint else None,
                "reason": one.problem,
                "created": one.created,
            }
            for one in verdict.told
        ],
        "operations": [
            {"module": one.module, "need": one.need, "got": one.got, "missing": one.missing}
            for one in verdict.weighings
        ],
        "sufficient": not problem and not verdict.altered and not verdict.missing,
    }
    return orjson.dumps(shown, option=orjson.OPT_UTC_Z).decode()


def _signature(one: Told) -> str:
    whose = printable(one.name) if not one.fingerprint else f"{printable(one.name)} {one.fingerprint}"
    when = f", {utc_text(one.created)}" if one.created else ""
    if not one.problem:
        return f"good        {whose}{when} ({printable(one.place)})"
    altered = "; the action, or the signature, is not what it was" if one.altered else ""
    return f"bad         {whose}: {printable(one.problem)}{altered} ({printable(one.place)})"


def _parameters(operation: Operation) -> str:
    opened = _opened(operation)
    return "parameters that do not open" if opened is None else _json(opened)


def _opened(operation: Operation) -> Any:
    try:
        return operation.opened()
    except BadInput:
        return None


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _left(action: Action, now_s: float) -> str:
    left_s = int(action.expireafter.timestamp() - now_s)
    if left_s <= 0:
        return "EXPIRED"
    for unit, size_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if left_s >= 2 * size_s:
            return f"{left_s // size_s} {unit} left"
    return f"{left_s} s left"
