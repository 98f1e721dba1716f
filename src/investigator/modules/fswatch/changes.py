"""From which state to which a path changed, as alerts: MIG's texts and severities. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from investigator.modules.interface import MASK
from investigator.protocol.alert import Alert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from investigator.modules.fswatch.seeing import Seen
    from investigator.protocol.alert import Severity

_UNREAD: Final = "unread"


def alerts_of(path: str, before: Seen | None, now: Seen | None, *, time_s: float, private: bool) -> list[Alert]:
    """What is to be told of a path that was so and is so now; nothing where no part that counts has changed."""
    shown = MASK if private else path
    details = {} if private else {"path": path}

    def made(found: tuple[Severity, str, str, dict[str, Any]]) -> Alert:
        severity, what, text, more = found
        return Alert(severity=severity, alert=text, time_s=time_s, details={"change": what, **details, **more})

    return [made(found) for found in _changes(shown, before, now, private=private)]


def _changes(
    path: str, before: Seen | None, now: Seen | None, *, private: bool
) -> Iterator[tuple[Severity, str, str, dict[str, Any]]]:
    if before is None:
        if now is not None:
            yield "medium", "new", f"new path {path} ({_described(now, private=private)})", _facts(now)
        return
    if now is None:
        yield "low", "removed", f"path {path} removed", {"old": before.sha256} if before.sha256 else {}
        return
    if before.kind != now.kind:
        text = f"{path} was a {before.kind} and is a {now.kind} ({_described(now, private=private)})"
        yield "critical", "kind", text, _facts(now)
        return
    yield from _content(path, before, now, private=private)
    if before.mode != now.mode:
        text = f"{path} mode changed {before.mode:04o} -> {now.mode:04o}"
        yield "medium", "mode", text, {"old": f"{before.mode:04o}", "new": f"{now.mode:04o}"}
    if (before.uid, before.gid) != (now.uid, now.gid):
        old, new = f"{before.uid}:{before.gid}", f"{now.uid}:{now.gid}"
        yield "medium", "owner", f"{path} owner changed {old} -> {new}", {"old": old, "new": new}


def _content(
    path: str, before: Seen, now: Seen, *, private: bool
) -> Iterator[tuple[Severity, str, str, dict[str, Any]]]:
    if before.kind == "link":
        if before.sha256 != now.sha256:
            old, new = (MASK, MASK) if private else (before.target, now.target)
            yield "medium", "link", f"{path} link changed {old} -> {new}", {} if private else {"old": old, "new": new}
        return
    # where one of the two was not read, a new size or time is all that can be told
    if before.sha256 != now.sha256 or (not now.sha256 and before.stamp[:2] != now.stamp[:2]):
        old, new = before.sha256 or _UNREAD, now.sha256 or _UNREAD
        why = next((f" ({seen.problem})" for seen in (now, before) if seen.problem), "")
        yield "critical", "signature", f"{path} signature changed {old} -> {new}{why}", {"old": old, "new": new}


def is_signature(alert: Alert) -> bool:
    """Whether it is the kind that MIG tells once in 15 minutes and file."""
    return alert.details.get("change") == "signature"


def _described(seen: Seen, *, private: bool) -> str:
    parts = [seen.kind, f"mode {seen.mode:04o}", f"owner {seen.uid}:{seen.gid}"]
    if seen.kind == "link":
        parts.append(f"to {MASK if private else seen.target}")
    elif seen.sha256:
        parts.append(f"sha256 {seen.sha256}")
    elif seen.problem:
        parts.append(f"not read: {seen.problem}")
    return ", ".join(parts)


def _facts(seen: Seen) -> dict[str, Any]:
    facts: dict[str, Any] = {"kind": seen.kind, "mode": f"{seen.mode:04o}", "owner": f"{seen.uid}:{seen.gid}"}
    if seen.kind == "file" and seen.sha256:
        facts["new"] = seen.sha256
    return facts
