"""A result as MIG prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from investigator.modules.file.opening import on_one_line
from investigator.modules.notes import note_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KINDS: Final = {
    "names": "name", "sizes": "size", "modes": "mode", "mtimes": "mtime", "contents": "content",
    "md5": "md5", "sha1": "sha1", "sha2": "sha2", "sha3": "sha3",
}  # fmt: skip


def result_lines(result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """Positive findings and warnings; with `everything` also what was not found, errors and statistics."""
    for label, elements in (result.get("elements") or {}).items():
        for element in elements or ():
            if element["file"]:
                yield _found(label, element)
            elif everything:
                yield f"0 match found in search '{label}'{_on_checks(element['search'])}"
    yield from note_lines(result, everything=everything)
    statistics = result.get("statistics")
    if everything and statistics:
        yield (
            f"Statistics: {statistics['filescount']} files checked, {statistics['openfailed']} failed to open, "
            f"{statistics['totalhits']} matched, ran in {statistics['exectime']}."
        )


def _found(label: str, element: Mapping[str, Any]) -> str:
    info = element["fileinfo"]
    sha256 = f", sha256:{info['sha256'].lower()}" if info.get("sha256") else ""
    return (
        f"{on_one_line(element['file'])} [lastmodified:{info['lastmodified']}, mode:{info['mode']}, size:{info['size']}"
        f"{sha256}] in search '{label}'{_on_checks(element['search'])}"
    )


def _on_checks(search: Mapping[str, Any]) -> str:
    """Which check it was, where each reports its own files."""
    if search["options"]["matchall"]:
        return ""
    return next((f" on checks {kind}='{search[name][0]}'" for name, kind in _KINDS.items() if search.get(name)), "")
