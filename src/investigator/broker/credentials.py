"""What a user proves itself to a broker with: a token that an account's scope signed, and the key that it names.

The file is NATS's own (`.creds`), so that any NATS client reads it.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from investigator.broker import jwt, nkeys
from investigator.broker.jwt import BadToken
from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path

MAX_CREDENTIALS_BYTES: Final = 16 << 10
_BLOCK: Final = re.compile(
    r"^-{3,}BEGIN ([A-Z ]{1,40})-{3,}\s*\n\s*([\w.=-]+)\s*\n-{3,}END [A-Z ]{1,40}-{3,}\s*$", re.MULTILINE
)
_BLOCKS: Final = {"NATS USER JWT": None, "USER NKEY SEED": None}.keys()
_FILE: Final = """\
-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

The seed below is secret: whoever has it is this user to the broker.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that a connection needs to be let in."""

    name: str
    """The user's name; its inboxes are `_INBOX.<name>.…`, and its subjects hold it."""
    seed: str = field(repr=False)
    """The nkey seed, "SU…"."""
    jwt: str = ""
    """The token that lets this key in; empty until one is minted."""
    expires_s: int = 0
    """When the token ends, in seconds since 1970; 0: never, or there is none."""

    @classmethod
    def generate(cls, name: str) -> Credentials:
        """A new key, with no token yet."""
        return cls(name, nkeys.generate_seed(nkeys.Kind.USER))

    @classmethod
    def load(cls, path: Path) -> Credentials:
        """Read a `.creds` file.

        Raises:
            DeploymentError: there is no such file, or no user's credentials in it.
        """
        try:
            with path.open("rb") as file:
                text = file.read(MAX_CREDENTIALS_BYTES).decode("ascii", "replace")
        except OSError as error:
            raise DeploymentError(
                f"broker credentials {path}: {error.strerror}",
                hint="Those of a deployment are made by `investigator init`, a script's by `investigator gateway script`.",
            ) from None
        return cls.parse(text, what=f"broker credentials {path}")

    @classmethod
    def parse(cls, text: str, *, what: str) -> Credentials:
        """Read the text of a `.creds` file.

        Raises:
            DeploymentError: there are no user's credentials in it.
        """
        blocks = dict(_BLOCK.findall(text))
        if set(blocks) != _BLOCKS:
            raise DeploymentError(f"{what}: not a token and a seed, as NATS's .creds files have them")
        token, seed = (blocks[name] for name in _BLOCKS)
        try:
            kind, _ = nkeys.decode_seed(seed)
        except ValueError as error:
            raise DeploymentError(f"{what}: {error}") from None
        if kind is not nkeys.Kind.USER:
            raise DeploymentError(f"{what}: the seed of an {kind.name.lower()}, not of a user")
        return cls("", seed).with_jwt(token, what=what)

    def with_jwt(self, token: str, *, what: str = "broker credentials") -> Credentials:
        """The same key with this token, and the token's name.

        Raises:
            DeploymentError: it is none, or about another key.
        """
        try:
            claims = jwt.decode(token)
        except BadToken as error:
            raise DeploymentError(f"{what}: {error}") from None
        if claims.sub != self.public_key or claims.nats.get("type") != "user":
            raise DeploymentError(f"{what}: a token about another key")
        return replace(self, jwt=token, name=claims.name, expires_s=claims.exp)

    def save(self, path: Path) -> None:
        """Write a new `.creds` file that only its owner can read.

        Raises:
            DeploymentError: the file exists already, or cannot be written.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise DeploymentError(f"{path}: {error.strerror}") from None
        with os.fdopen(descriptor, "w") as file:
            file.write(self.text)

    @property
    def text(self) -> str:
        """The content of a `.creds` file."""
        return _FILE.format(jwt=self.jwt, seed=self.seed)

    @property
    def public_key(self) -> str:
        """What a token names this user by, "U…"."""
        return nkeys.public_of(self.seed)

    def sign(self, nonce: str) -> bytes:
        """The proof that a server asks for: base 64 of the signature over its nonce."""
        _, private = nkeys.decode_seed(self.seed)
        return base64.b64encode(private.sign(nonce.encode()))
