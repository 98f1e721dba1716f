"""Rules, compiled and applied by YARA-X: the only place that imports it, when it is first needed (60 ms, 20 MB)."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any, Final

from investigator.errors import BadParameters

MAX_RULES_CHARACTERS: Final = 1 << 20
SCAN_S: Final = 10
"""For one file, or one block of memory; MIG's."""
_MAX_MESSAGE_CHARACTERS: Final = 300


class TimeIsUp(Exception):
    """A scan that took longer than it may."""


class CannotScan(Exception):
    """YARA-X gave up on something; the message says why."""


class Rules:
    """Compiled rules."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    def scanner(self) -> Scanner:
        """For the thread that asks, and for no other: YARA-X panics where one is used, or let go, elsewhere."""
        return Scanner(self._compiled)


class Scanner:
    """Applies rules; see `Rules.scanner`."""

    def __init__(self, compiled: Any) -> None:
        import yara_x

        self._compiled = compiled
        self._yara_x = yara_x
        self._renew()

    def _renew(self) -> None:
        self._scanner = self._yara_x.Scanner(self._compiled)
        self._scanner.fast_scan(yes=True)
        self._scanner.max_matches_per_pattern(_MAX_MATCHES)
        self._timeout_s = 0

    def matching(self, data: bytes, *, deadline_s: float) -> list[str]:
        """The names of the rules that match, sorted. The interpreter's lock is held meanwhile.

        Raises:
            TimeIsUp: after `SCAN_S`, or when `deadline_s` on `time.monotonic()`'s scale comes, to the next second.
            CannotScan: for another reason of YARA-X.
        """
        left_s = min(float(SCAN_S), deadline_s - time.monotonic())
        if left_s <= 0:
            raise TimeIsUp
        timeout_s = max(int(left_s), 1)
        if timeout_s != self._timeout_s:
            self._scanner.set_timeout(timeout_s)
            self._timeout_s = timeout_s
        try:
            return sorted(rule.identifier for rule in self._scanner.scan(data).matching_rules)
        except self._yara_x.TimeoutError:
            raise TimeIsUp from None
        except self._yara_x.ScanError as error:
            raise CannotScan(_one_line(str(error))) from None
        except BaseException as error:
            if type(error).__name__ != _PANIC:
                raise
            self._renew()
            raise CannotScan(_one_line(f"YARA-X gave up: {error}")) from None


_PANIC: Final = "PanicException"
"""What pyo3 makes of a bug in Rust; it has no name that could be imported, and is no Exception."""
_MAX_MATCHES: Final = 10_000
"""Of one string in one object; a condition that counts further sees that many."""


def is_installed() -> bool:
    """Whether yara-x is here."""
    import importlib.util

    return importlib.util.find_spec("yara_x") is not None


def compile_rules(text: str, *, missing_ok: bool = False) -> Rules | None:
    """The rules of a text; None where yara-x is not installed and `missing_ok`.

    Raises:
        BadParameters: `yara: ...`, with line and column; or there is no yara-x.
    """
    if not text.strip():
        raise BadParameters("yara: no rules")
    if len(text) > MAX_RULES_CHARACTERS:
        raise BadParameters(f"yara: rules of more than {MAX_RULES_CHARACTERS:,} characters")
    try:
        return Rules(_compiled(text))
    except ImportError:
        if missing_ok:
            return None
        raise BadParameters("yara: yara-x is not installed here") from None


@lru_cache(maxsize=1)
def _compiled(text: str) -> Any:
    import yara_x

    compiler = yara_x.Compiler(includes_enabled=False)
    try:
        compiler.add_source(text)
    except (yara_x.CompileError, UnicodeEncodeError) as error:
        raise BadParameters(f"yara: {_first_error(compiler, error)}") from None
    rules = compiler.build()
    if not any(True for _ in rules):
        raise BadParameters("yara: no rules")
    return rules


def _first_error(compiler: Any, error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "a lone surrogate in the rules"
    errors = compiler.errors()
    return _located(errors[0]) if errors else _one_line(str(error))


def _located(found: dict[str, Any]) -> str:
    """`line 3, column 5: unknown identifier: this identifier has not been declared`."""
    labels = [label.get("text", "") for label in found.get("labels", ()) if label.get("text")]
    text = f"line {found.get('line')}, column {found.get('column')}: {found.get('title')}"
    return _one_line(f"{text}: {labels[0]}" if labels else text)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MAX_MESSAGE_CHARACTERS]
