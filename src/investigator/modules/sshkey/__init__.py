"""The sshkey module: SSH keys on the host, private, public and authorized, by their fingerprints.

The file module's search finds candidates, `keys` reads what one file holds, with `private`, `der` and `wire` below it.
MIG's JSON, flags and printed lines. No key material is ever in a result.
"""

from __future__ import annotations

import os
import sys
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from investigator.errors import BadParameters
from investigator.modules.file.hunt import Hunt, make_plans
from investigator.modules.file.opening import on_one_line, open_file, path_text, reason, split
from investigator.modules.file.parameters import Options, Search, is_absolute
from investigator.modules.findings import Findings
from investigator.modules.interface import MASK, Context, Need, Spec, flag
from investigator.modules.notes import Notes, note_lines
from investigator.modules.sshkey.keys import CANDIDATE, Key, keys_of
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.modules.file.checks import Check, Plan

MAX_FILE_BYTES: Final = 1 << 20
MAX_PATHS: Final = 1000
DEFAULT_DEPTH: Final = 8
_ROOM_BYTES: Final = 256 << 10


def default_paths(platform: str = sys.platform) -> list[str]:
    """Where people's and root's homes are."""
    if platform == "win32":
        return ["c:\\Users"]
    return ["/var/root", "/Users"] if platform == "darwin" else ["/root", "/home"]


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where to look."""

    paths: Annotated[
        list[str], flag("path", "file or folder to search in (default: the homes, /root and /home)", value="PATH")
    ] = []
    maxdepth: Annotated[
        int,
        msgspec.Meta(ge=0, le=1000),
        flag("maxdepth", "how many levels of folders to enter, 1 to 1000; 0: 8", value="N"),
    ] = 0


class SshKeyModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="sshkey",
        summary="find SSH keys, private, public and authorized, by their fingerprints",
        parameters=Parameters,
        flags=Parameters,
        needs=(Need(kind="root", why="read other users' homes", essential=False),),
        help_when_bare=False,
        details=(
            "Looks at every file of up to 1 MiB below the paths. Private keys are found in all formats: PEM (RSA, DSA, EC), "
            "PKCS#8, OpenSSH's and PuTTY's; a file's public key is the first in it; files called authorized_keys or "
            "authorized_keys2 yield each of their keys, options or not. Of a certificate the certified key's fingerprint is "
            "returned, as by ssh-keygen -l.\n\n"
            "Fingerprints are those of public keys. A private key with a passphrase has none, nor has one of a kind that SSH "
            "does not use, as in TLS certificates. Of a file's other lines nothing is returned.\n\n"
            "Links to files are looked at, links to folders are not entered. Default paths that a host does not have are left "
            "out in silence; others are errors."
        ),
        examples=(
            ("all keys of all homes", ""),
            ("what may log in as root", "-path /root/.ssh -maxdepth 1"),
            ("the host's own keys", "-path /etc/ssh"),
        ),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:
        """Raise `BadParameters`, starting with the parameter's name."""
        if len(parameters.paths) > MAX_PATHS:
            raise BadParameters(f"paths: {len(parameters.paths):,} of them; {MAX_PATHS:,} at most")
        for path in parameters.paths:
            if not path or "\0" in path:
                raise BadParameters(f"paths: {path!r} is no path")
            if not local and not is_absolute(path):
                raise BadParameters(
                    f"paths: {path!r} is relative; other hosts have no current folder",
                    hint="Give an absolute path, or ask this machine with -t local.",
                )

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The flags are the parameters."""
        return dict(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Walk the paths once, and read each candidate."""
        # the homes that a host does not have are no mistake of who asked
        paths = parameters.paths or [path for path in default_paths() if Path(path).exists()]
        options = Options(matchall=True, maxdepth=parameters.maxdepth or DEFAULT_DEPTH)
        small = [f"<{MAX_FILE_BYTES}"]
        searches = {
            "keys": Search(paths=paths, sizes=small, contents=[CANDIDATE], options=options),
            "authorized": Search(paths=paths, sizes=small, names=["^authorized_keys2?$"], options=options),
        }
        found = _Found(context)
        if paths:
            Hunt(make_plans(searches, folder=context.folder), context, found).run()
        else:
            found.note(f"this host has none of {', '.join(default_paths())}")
        return found.result()

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """MIG's lines: keys, and warnings; with `everything` all errors."""
        for key in (result.get("elements") or {}).get("keys") or ():
            encrypted = f" encrypted={str(key['encrypted']).lower()}" if key["type"] == "private" else ""
            md5, sha256 = key["fingerprint_md5"] or "unknown", key["fingerprint_sha256"] or "unknown"
            yield f"{on_one_line(key['path'])} [{key['type']}]{encrypted} md5fp={md5} sha256fp={sha256}"
        yield from note_lines(result, everything=everything)

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002 - the interface's
        """The result for extra privacy mode: no file's path and no error's text; fingerprints stay."""
        elements, errors = result.get("elements"), result.get("errors")
        keys = (elements or {}).get("keys")
        return {
            **result,
            "elements": elements and {**elements, "keys": keys and [{**key, "path": MASK} for key in keys]},
            "errors": errors and [MASK for _ in errors],
        }


class _Found(Notes):
    """What the search tells: each candidate is read as it comes."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.files_count = 0
        self._findings = Findings(context, room_bytes=_ROOM_BYTES)
        self._keys = self._findings.slot("keys", order=itemgetter("path"))
        self._seen: set[bytes] = set()
        self._unreturned = 0

    def hit(self, plan: Plan, check: Check | None, path: bytes, found: os.stat_result, sha256: str | None) -> None:  # noqa: ARG002 - the search's interface
        """A candidate; both searches may name it."""
        if path in self._seen:
            return
        self._seen.add(path)
        shown = path_text(path)
        try:
            text = _read(path)
        except OSError as error:
            self.error(f"ERROR: read {shown}: {reason(error)}")
            return
        held = keys_of(split(path)[1], text)
        if held.unparsable:
            self.error(f"{shown} contained unparsable data")
        for key in held.keys:
            if not self._findings.add(self._keys, _element(shown, key)):
                self._unreturned += 1

    def result(self) -> Result:
        """MIG's shape, sorted by path, in each file in its order; where there are pieces, each is."""
        if self._unreturned:
            self.note(f"{self._unreturned} more keys than a result can hold; they are counted, not returned")
        anything = self._keys.found + self._unreturned > 0
        return Result(foundanything=anything, success=True, elements=self._findings.rest(), errors=self.texts())

    failed_to_open = Notes.error


def _element(path: str, key: Key) -> dict[str, Any]:
    return {
        "fingerprint_md5": key.md5,
        "fingerprint_sha256": key.sha256,
        "path": path,
        "encrypted": key.encrypted,
        "type": key.kind,
    }


def _read(path: bytes) -> bytes:
    """As much of it as a candidate may have, though it grew since."""
    descriptor = open_file(path, follow=True)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_FILE_BYTES)


MODULE = SshKeyModule()
