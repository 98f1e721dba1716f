"""Which of two versions is newer, as the package manager that installed them would say.

One file per manager; all are pure and total but for dpkg's, which refuses what dpkg refuses. `compare` picks by a
package's type. A differential corpus holds dpkg's, rpm's and pacman's own verdicts on some thousands of pairs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from investigator.errors import BadInput
from investigator.modules.versions import apk, dpkg, pacman, rpm

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CHARACTERS: Final = 16_384
_ORDERS: Final[dict[str, Callable[[str, str], int]]] = {
    "dpkg": dpkg.compare,
    "rpm": rpm.compare,
    "apk": apk.compare,
    "pacman": pacman.compare,
}


def compare(kind: str, left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is older than, equal to or newer than `right`, in the order of that kind of package.

    Kinds without an order of their own (Homebrew, Windows, texts that are no package's version) have rpm's.

    Raises:
        BadInput: a version that dpkg does not take, or a text that is longer than any version.
    """
    longest = max(len(left), len(right))
    if longest > MAX_CHARACTERS:
        raise BadInput(f"a text of {longest:,} characters is no version; {MAX_CHARACTERS:,} at most")
    return _ORDERS.get(kind, rpm.compare)(left, right)
