"""As much of DER (X.690) as private keys need; a cursor that refuses what is longer than what holds it."""

from __future__ import annotations

from typing import Final

from investigator.modules.sshkey.wire import Unparsable

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
OID: Final = 0x06
SEQUENCE: Final = 0x30
_LONG_FORM: Final = 0x80
_MAX_LENGTH_BYTES: Final = 4


class Der:
    """The elements of one constructed value, taken in their order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def peek(self) -> int:
        """The next element's tag; 0 at the end."""
        return self._data[self._at] if self._at < len(self._data) else 0

    def take(self, tag: int) -> bytes:
        """The content of the next element, which must have this tag.

        Raises:
            Unparsable: another tag, or a length that is none, not definite, or beyond the end.
        """
        if self.peek() != tag:
            raise Unparsable(f"no DER element {tag:#x}")
        start = self._at + 2
        first = self._data[start - 1] if start <= len(self._data) else _LONG_FORM
        length = first
        if first >= _LONG_FORM:
            count = first - _LONG_FORM
            length = int.from_bytes(self._data[start : start + count], "big")
            start += count
            if not 0 < count <= _MAX_LENGTH_BYTES:
                raise Unparsable("a DER length that is none")
        content = self._data[start : start + length]
        if len(content) < length:
            raise Unparsable("a DER element beyond the end")
        self._at = start + length
        return content

    def sequence(self) -> Der:
        """The next element, a SEQUENCE, as a cursor of its own."""
        return Der(self.take(SEQUENCE))

    def number(self) -> int:
        """The next element, an INTEGER that is not negative."""
        content = self.take(INTEGER)
        if not content or content[0] >= _LONG_FORM:
            raise Unparsable("a number that is none or negative")
        return int.from_bytes(content, "big")
