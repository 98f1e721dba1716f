"""The part of an answer that no code of ours can make quicker: the cryptography that the chain of trust asks for, alone.

At the agent: the action's OpenPGP signature (Ed25519, as `investigator init` makes keys), whether its sealing key is a good
point, the signature of the answer, its sealing (HPKE: a new X25519 key and two exchanges), the heartbeat's signature. At the
console: opening, both signatures. No JSON, no OpenPGP framing, no Python but the calls.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from investigator.protocol.sealing import can_seal_to, generate_sealing_key, public_sealing_key, seal, unseal

ROUNDS = 300


def cryptography_s() -> float:
    """Processor seconds for one agent's answer, agent and console together."""
    key, message = Ed25519PrivateKey.generate(), os.urandom(1500)
    public, signature = key.public_key(), key.sign(message)
    private = generate_sealing_key()
    recipient = public_sealing_key(private)
    box = seal(recipient, message, context=b"context")

    def agent() -> None:
        public.verify(signature, message)
        can_seal_to(recipient)
        key.sign(message)
        seal(recipient, message, context=b"context")
        key.sign(message[:200])

    def console() -> None:
        unseal(private, box, context=b"context")
        public.verify(signature, message)
        public.verify(signature, message)

    return each_s(agent) + each_s(console)


def each_s(what: Callable[[], None]) -> float:
    """The median."""
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        what()
        took.append(time.perf_counter() - started)
    return statistics.median(took)
