"""What was found, as MIG's JSON: elements, statistics, errors; within the bytes that a result may have.

Elements are small objects that share what they can, so that tens of thousands of them stay cheap; orjson and msgspec
write them as the JSON that MIG has. Many of them are handed over in pieces.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from investigator.modules.durations import duration_text, utc_text
from investigator.modules.file.checks import Check, Plan, mode_text
from investigator.modules.file.opening import path_text, split
from investigator.modules.findings import Findings
from investigator.protocol.result import Result

if TYPE_CHECKING:
    import os

    from investigator.modules.interface import Context

MAX_ERROR_BYTES: Final = 1 << 20
"""Of the texts of errors, where nothing else limits them."""

_mode_text = lru_cache(maxsize=256)(mode_text)
_time_text = lru_cache(maxsize=1024)(utc_text)


@dataclass(slots=True)
class FileInfo:
    """A file's metadata."""

    size: int
    mode: str
    lastmodified: str


@dataclass(slots=True)
class HashedFileInfo(FileInfo):
    """A file's metadata, and the digest that was asked for."""

    sha256: str


@dataclass(slots=True)
class Element:
    """One finding: a file, and what it was found by."""

    file: str
    search: dict[str, Any]
    fileinfo: FileInfo


_NO_FILE: Final = FileInfo(0, "", "")
_UNCHECKED: Final = {
    "maxdepth": 0, "maxerrors": 0, "matchall": False, "macroal": False, "mismatch": None, "matchlimit": 0,
}  # fmt: skip
_FRAME_BYTES: Final = len(b'{"file":,"search":,"fileinfo":},')


class Report:
    """Collects while the searches run; `result` is what comes of it."""

    def __init__(self, plans: list[Plan], context: Context) -> None:
        self._plans = plans
        self._searches = {plan: search_json(plan) for plan in plans if plan.matchall}
        self._findings = Findings(context, room_bytes=MAX_ERROR_BYTES)
        self._slots = {
            (plan, check): self._findings.slot(plan.label, nothing=self._nothing(plan, check))
            for plan in plans
            for check in ((None,) if plan.matchall else tuple(plan.checks()))
        }
        self._unreturned: dict[str, int] = {}
        self._shared: dict[tuple[Check, bytes], dict[str, Any]] = {}
        self._sized: tuple[dict[str, Any], int] = ({}, 2)
        self._errors: list[str] = []
        self._seen: set[str] = set()
        self._error_bytes = 0
        self._error_count = 0
        self._notes: list[str] = []
        self._started = time.monotonic_ns()
        limits = [plan.search.options.maxerrors for plan in plans]
        self._max_errors = max(limits) if limits and all(limits) else 0
        self.files_count = 0
        self.open_failed = 0

    def hit(self, plan: Plan, check: Check | None, path: bytes, found: os.stat_result, sha256: str | None) -> None:
        """A file that all checks (None) or one check of a search hold for; beyond the search's limit it is not taken."""
        if plan.done:
            return
        plan.hits += 1
        if plan.label in self._unreturned:
            self._unreturned[plan.label] += 1
            return
        mode, modified = _mode_text(found.st_mode), _time_text(found.st_mtime_ns)
        info = (
            HashedFileInfo(found.st_size, mode, modified, sha256) if sha256 else FileInfo(found.st_size, mode, modified)
        )
        search = self._searches[plan] if check is None else self._one_check(check, split(path)[0])
        file = path_text(path)
        size = _FRAME_BYTES + len(orjson.dumps(file)) + len(orjson.dumps(info)) + self._size(search)
        if not self._findings.add(self._slots[plan, check], Element(file, search, info), size=size):
            self._unreturned[plan.label] = 1

    def error(self, text: str) -> None:
        """A soft error; the same one is said once."""
        if text in self._seen:
            return
        self._error_count += 1
        full = 0 < self._max_errors <= len(self._errors) or self._error_bytes + len(text) > MAX_ERROR_BYTES
        if not full:
            self._seen.add(text)
            self._errors.append(text)
            self._error_bytes += len(text)

    def failed_to_open(self, text: str) -> None:
        """What could not be opened counts besides."""
        if text not in self._seen:
            self.open_failed += 1
        self.error(text)

    def note(self, text: str) -> None:
        """Something that must be said whatever the number of errors: what was left out, and why."""
        if text not in self._notes:
            self._notes.append(f"warning: {text}")

    def result(self) -> Result:
        """The whole, in MIG's shape."""
        errors = self._errors
        dropped = self._error_count - len(errors)
        if dropped:
            errors = [*errors, f"{dropped} errors were not returned (max errors = {self._max_errors or len(errors)})"]
        for plan in self._plans:
            if plan.done:
                self.note(f"search '{plan.label}' reached its limit of {plan.hits} matches; there may be more")
        for label, count in self._unreturned.items():
            self.note(f"search '{label}' found {count} more than a result can hold; they are counted, not returned")
        total = sum(plan.hits for plan in self._plans)
        return Result(
            foundanything=total > 0,
            success=True,
            elements={plan.label: None for plan in self._plans} | self._findings.rest(),
            statistics={
                "filescount": self.files_count,
                "openfailed": self.open_failed,
                "totalhits": total,
                "exectime": duration_text(time.monotonic_ns() - self._started),
            },
            errors=[*errors, *self._notes] or None,
        )

    def _nothing(self, plan: Plan, check: Check | None) -> Element:
        """A search, or a check that reports its own files, that found nothing at all, as MIG tells it."""
        search = self._searches[plan] if check is None else _check_json(check, plan.paths)
        return Element("", search, _NO_FILE)

    def _size(self, search: dict[str, Any]) -> int:
        """Bytes of a search's JSON, which neighbours among the hits share."""
        if search is not self._sized[0]:
            self._sized = (search, len(orjson.dumps(search)))
        return self._sized[1]

    def _one_check(self, check: Check, folder: bytes) -> dict[str, Any]:
        """MIG's `search` of a single check; hits in one folder share it."""
        shared = self._shared.get((check, folder))
        if shared is None:
            if len(self._shared) > 256:
                self._shared.clear()
            shared = self._shared[check, folder] = _check_json(check, [path_text(folder)])
        return shared


def search_json(plan: Plan) -> dict[str, Any]:
    """A whole search as MIG reports it: paths cleaned, the limits 0, empty lists and unset options left out."""
    search, options = plan.search, plan.search.options
    shown: dict[str, Any] = {"description": search.description} if search.description else {}
    shown["paths"] = plan.paths
    lists = {
        "contents": [*search.contents, *search.regexes], "names": search.names, "sizes": search.sizes,
        "modes": search.modes, "mtimes": search.mtimes, "md5": search.md5, "sha1": search.sha1, "sha2": search.sha2,
        "sha3": search.sha3,
    }  # fmt: skip
    shown |= {name: values for name, values in lists.items() if values}
    shown["options"] = _UNCHECKED | {
        "matchall": options.matchall, "macroal": options.macroal, "mismatch": options.mismatch or None,
    }  # fmt: skip
    for name in ("returnsha256", "decompress", "debug"):
        if getattr(options, name):
            shown["options"][name] = getattr(options, name)
    return shown


def _check_json(check: Check, paths: list[str]) -> dict[str, Any]:
    return {"paths": paths, check.field: [check.value], "options": _UNCHECKED}
