"""OpenPGP: who signed these bytes, by a strict policy; and signing them. The only place that imports PGPy.

`policy` is the numbered list to read first. `framing`, `key`, `signature` and `certificate_file` take bytes apart,
`certificate` judges by time, `keyring` answers, `folder` keeps a keyring as current as its files. `signer` signs, with gpg
or with a key file, of which `secret` knows the format. `verifying` and, with PGPy, `secret_numbers` compute.
"""

from investigator.pgp.keyring import Keyring, Listed, Verified
from investigator.pgp.policy import OtherBytes, Policy, SignatureRefused

__all__ = ["Keyring", "Listed", "OtherBytes", "Policy", "SignatureRefused", "Verified"]
