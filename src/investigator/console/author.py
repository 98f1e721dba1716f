"""Stages 1 and 2 with a deployment's settings and keys: an investigator who writes, signs, and knows what can be opened."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from investigator.broker.connection import Broker
from investigator.config import ConsoleConfig
from investigator.console.cancelling import Cancelling, sign_cancel, write_cancel
from investigator.console.dispatch import Prepared, add_signature, sign_action, write_action
from investigator.console.keys import load_sealing_key, load_sealto, load_signer, quiet_signer, signer_fingerprint
from investigator.console.passphrase import Passphrase
from investigator.console.people_file import owners, read_people
from investigator.console.recording import Recorder
from investigator.console.rules import Rules, rules_in_force
from investigator.errors import Refused
from investigator.pgp.signer import Signer
from investigator.protocol.action import DEFAULT_LIFE_S, Action, Operation

DEFAULT_TARGET: Final = "status='online'"


@dataclass(slots=True)
class Author:
    """Whoever holds the keys that console.toml names; nothing here needs a broker."""

    home: Path
    """The deployment's folder, whose agent.toml says whose signatures count."""
    config: ConsoleConfig
    passphrase: Passphrase
    """Asked for when a key turns out to need it."""
    may_prompt: bool = True
    """Whether gpg may ask for a passphrase by its own means."""
    _private_key: bytes | None = field(default=None, repr=False)

    def rules(self, warn: Callable[[str], None]) -> Rules | None:
        """Whose word about agents counts; see `rules.rules_in_force`."""
        return rules_in_force(self.home, warn)

    def sealto(self) -> bytes | None:
        """The public key that results are sealed to; None where console.toml has none.

        Raises:
            DeploymentError, BadInput: the key's file, or its passphrase.
        """
        return None if self.config.sealing_key is None else load_sealto(self.config.sealing_key, self.passphrase)

    def private_key(self) -> bytes | None:
        """What opens results, read once; None where console.toml has none.

        Raises:
            DeploymentError, BadInput: the key's file, or its passphrase.
        """
        if self._private_key is None and self.config.sealing_key is not None:
            self._private_key = load_sealing_key(self.config.sealing_key, self.passphrase)
        return self._private_key

    def key_for(self, action: Action) -> bytes | None:
        """What opens this action's results; None where nothing here does, and then no passphrase is asked for.

        Raises:
            DeploymentError, BadInput: the key's file, or its passphrase.
        """
        own = self.sealto()
        if own is None or action.sealto != base64.b64encode(own).decode():
            return None
        return self.private_key()

    def write(
        self,
        *,
        name: str,
        target: str,
        operations: Sequence[Operation],
        life: timedelta = timedelta(seconds=DEFAULT_LIFE_S),
        description: dict[str, Any] | None = None,
        threat: dict[str, Any] | None = None,
        validfrom: datetime | None = None,
        expireafter: datetime | None = None,
        found: str | None = None,
        notfound: str | None = None,
    ) -> Action:
        """Stage 1; see `dispatch.write_action`. The target may be one of console.toml's macros."""
        return write_action(
            name=name,
            target=target,
            operations=operations,
            now_s=time.time(),
            life=life,
            macros=self.config.targets,
            sealto=self.sealto(),
            description=description,
            threat=threat,
            validfrom=validfrom,
            expireafter=expireafter,
            found=found,
            notfound=notfound,
        )

    def sign(self, action: Action) -> Prepared:
        """Stage 2.

        Raises:
            DeploymentError, BadInput: the key, or its passphrase.
        """
        return sign_action(action, self._signer())

    def add_signature(self, prepared: Prepared) -> Prepared:
        """One more signature over the same bytes; raises as `sign`."""
        return add_signature(prepared, self._signer())

    def write_cancel(self, action_id: str, action: Prepared | None, *, digest: str | None, reason: str) -> Cancelling:
        """What is to be signed; see `cancelling.write_cancel`."""
        return write_cancel(action_id, action, digest=digest, reason=reason, sealto=self.sealto(), now_s=time.time())

    def sign_cancel(self, cancelling: Cancelling) -> Cancelling:
        """One more signature; raises as `sign`."""
        return sign_cancel(cancelling, self._signer())

    def can_read(self, action: Action) -> bool:
        """Whether the results that an action asks for can be opened here.

        Raises:
            DeploymentError, BadInput: the key's file, or its passphrase.
        """
        return action.sealto is None or self.key_for(action) is not None

    def recorder(self, broker: Broker) -> Recorder:
        """Who puts on record how this investigator's actions stand; it signs where nobody has to be asked."""
        signing = self.config.signer
        return Recorder(broker, by=signer_fingerprint(signing), signer=quiet_signer(signing, self.passphrase))

    def refuse_unreadable(self, action: Action) -> None:
        """Whoever follows an action must be able to open its results: to all others every agent would seem silent.

        Raises:
            Refused: they are sealed to somebody else.
            DeploymentError, BadInput: the key's file, or its passphrase.
        """
        if not self.can_read(action):
            owner = owners(read_people(self.config.people)).get(action.sealto or "", f"another key, {action.sealto}")
            raise Refused(
                f"action {action.id}: its results are sealed to {owner}, and this console could not open them",
                hint="Who wrote the action sends it.",
            )

    def _signer(self) -> Signer:
        return load_signer(self.config.signer, self.passphrase, may_prompt=self.may_prompt)
