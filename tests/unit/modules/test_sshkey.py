"""Keys as ssh-keygen, openssl and PuTTY write them are found with ssh-keygen's fingerprints; nothing of a key is returned."""

import asyncio
import base64
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.agent.limits import Limits
from investigator.agent.runner import Runner
from investigator.errors import BadParameters
from investigator.modules import get_module
from investigator.modules.interface import MASK, Context, load_parameters
from investigator.modules.sshkey import MAX_FILE_BYTES, default_paths
from investigator.modules.sshkey.keys import AUTHORIZED_NAMES, CANDIDATE, authorized_key, keys_of
from investigator.modules.sshkey.private import of_openssh, of_pem
from investigator.modules.sshkey.wire import KEY_TYPES, Unparsable, public_key, string
from investigator.protocol.regex import compile_regex

MODULE = get_module("sshkey")
PASSPHRASE = "correct-horse-battery"
needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="makes its keys with ssh-keygen")
ED25519 = "AAAAC3NzaC1lZDI1NTE5AAAAI" + "Ab" * 21 + "A"
SK = string(b"sk-ssh-ed25519@openssh.com") + string(b"\7" * 32) + string(b"ssh:")


def keygen(*arguments: Any) -> str:
    done = subprocess.run(["ssh-keygen", *map(str, arguments)], check=True, capture_output=True, text=True)
    return done.stdout


def make(path: Path, kind: str, *options: Any, passphrase: str = "") -> Path:
    keygen("-q", "-t", kind, "-N", passphrase, "-C", "someone", "-f", path, *options)
    return path


def told_by_keygen(public: Path) -> tuple[str, str]:
    """MD5 and SHA-256, as ssh-keygen has them."""
    md5 = keygen("-l", "-E", "md5", "-f", public).split()[1].removeprefix("MD5:")
    return md5, keygen("-l", "-f", public).split()[1]


def run(*paths: Path, **more: Any) -> dict[str, Any]:
    parameters = load_parameters(MODULE, {"paths": [str(path) for path in paths], **more})
    result = MODULE.run(parameters, Context())
    shown: dict[str, Any] = orjson.loads(orjson.dumps(msgspec.structs.asdict(result)))
    return shown


def found(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    names = ("type", "encrypted", "fingerprint_md5", "fingerprint_sha256")
    return [(Path(key["path"]).name, *(key[name] for name in names)) for key in result["elements"]["keys"] or ()]


@needs_keygen
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rsa", ()),
        ("dsa", ()),
        ("ecdsa", ()),
        ("ecdsa", ("-b", "384")),
        ("ed25519", ()),
        ("rsa", ("-m", "PEM")),
        ("dsa", ("-m", "PEM")),
        ("ecdsa", ("-b", "521", "-m", "PEM")),
        ("rsa", ("-m", "PKCS8")),
        ("dsa", ("-m", "PKCS8")),
        ("ecdsa", ("-m", "PKCS8")),
    ],
)
def test_a_private_key_and_its_public_half_have_the_fingerprints_that_keygen_tells(
    tmp_path: Path, kind: str, options: tuple[str, ...]
) -> None:
    try:
        key = make(tmp_path / "key", kind, *options)
    except subprocess.CalledProcessError:
        pytest.skip(f"this ssh-keygen makes no {kind}")  # DSA left OpenSSH in version 10
    expected = told_by_keygen(tmp_path / "key.pub")
    result = run(tmp_path)
    assert found(result) == [("key", "private", False, *expected), ("key.pub", "public", False, *expected)]
    assert (result["foundanything"], result["success"], result["errors"]) == (True, True, None)
    assert key.read_text().splitlines()[1] not in str(result)


@needs_keygen
@pytest.mark.parametrize("options", [(), ("-m", "PEM"), ("-m", "PKCS8")])
def test_a_private_key_with_a_passphrase_is_encrypted_and_has_no_fingerprints(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    make(tmp_path / "key", "rsa", *options, passphrase=PASSPHRASE)
    (tmp_path / "key.pub").unlink()
    assert found(run(tmp_path)) == [("key", "private", True, "", "")]


@needs_keygen
def test_of_a_certificate_the_certified_keys_fingerprint_is_told_as_keygen_does(tmp_path: Path) -> None:
    authority = make(tmp_path / "authority", "ed25519")
    make(tmp_path / "key", "ecdsa")
    keygen("-q", "-s", authority, "-I", "someone", "-n", "root", tmp_path / "key.pub")
    (key,) = found(run(tmp_path / "key-cert.pub"))
    assert key == ("key-cert.pub", "public", False, *told_by_keygen(tmp_path / "key-cert.pub"))


@needs_keygen
def test_an_rfc_4716_file_holds_the_same_key(tmp_path: Path) -> None:
    make(tmp_path / "key", "rsa")
    (tmp_path / "other").write_text(keygen("-e", "-f", tmp_path / "key.pub"))
    assert found(run(tmp_path / "other")) == [("other", "public", False, *told_by_keygen(tmp_path / "key.pub"))]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its keys with openssl")
def test_pkcs8_ed25519_has_its_fingerprints_and_a_key_that_ssh_does_not_use_has_none(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    for kind in ("ed25519", "x25519"):
        subprocess.run(["openssl", "genpkey", "-algorithm", kind, "-out", tmp_path / kind], check=True)
    first, second = found(run(tmp_path))
    line = load_pem_private_key((tmp_path / "ed25519").read_bytes(), None).public_key()
    public = line.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (expected,) = keys_of(b"x.pub", public).keys
    assert first == ("ed25519", "private", False, expected.md5, expected.sha256)
    assert second == ("x25519", "private", False, "", "")


def test_an_ec_key_without_its_public_point_has_it_computed() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.derive_private_key(7, ec.SECP256R1())
    curve = bytes.fromhex("a00a06082a8648ce3d030107")
    inner = b"\x02\x01\x01\x04\x20" + (7).to_bytes(32, "big") + curve
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
    assert of_pem("EC", b"\x30" + bytes([len(inner)]) + inner) == base64.b64decode(public)


@needs_keygen
def test_every_parsable_line_of_authorized_keys_is_a_key_options_comments_and_certificates_included(
    tmp_path: Path,
) -> None:
    public = [make(tmp_path / kind, kind).with_suffix(".pub").read_text().strip() for kind in ("rsa", "ed25519")]
    home = tmp_path / "home/.ssh"
    home.mkdir(parents=True)
    lines = [
        "# a comment",
        "",
        f'command="echo \\"a # b\\" ssh-rsa AAAA",no-pty {public[0]}',
        f'\tcert-authority,principals="a b" {public[1]}\r',
        f"sk-ssh-ed25519@openssh.com {base64.b64encode(SK).decode()} token",
    ]
    (home / "authorized_keys2").write_text("\n".join(lines))
    told = [told_by_keygen(tmp_path / f"{kind}.pub") for kind in ("rsa", "ed25519")]
    result = run(home)
    keys = found(result)
    assert [key[3:] for key in keys[:2]] == told
    assert [key[:3] for key in keys] == [("authorized_keys2", "authorizedkeys", False)] * 3
    assert result["errors"] is None
    (home / "authorized_keys2").rename(home / "authorized_keys")
    (home / "authorized_keys").write_text("\n".join([*lines, "rubbish", "ssh-rsa AAAAB3NzaC1yc2E"]))
    result = run(home)
    assert len(found(result)) == 3
    assert result["errors"] == [f"{home}/authorized_keys contained unparsable data"]


def test_putty_keys_are_private_and_say_whether_they_have_a_passphrase(tmp_path: Path) -> None:
    body = f"Public-Lines: 2\r\n{ED25519[:40]}\r\n{ED25519[40:]}\r\nPrivate-Lines: 1\r\nAAAAIPRIVATE\r\n"
    for name, cipher in (("closed.ppk", "aes256-cbc"), ("open.ppk", "none")):
        head = f"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: {cipher}\r\nComment: someone\r\n"
        (tmp_path / name).write_text(head + body)
    (expected,) = keys_of(b"key.pub", f"ssh-ed25519 {ED25519}".encode()).keys
    closed, opened = found(run(tmp_path))
    assert closed == ("closed.ppk", "private", True, "", "")
    assert opened == ("open.ppk", "private", False, expected.md5, expected.sha256)


def test_a_bundle_yields_each_of_its_private_keys_and_what_is_cut_off_is_unparsable(tmp_path: Path) -> None:
    encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
    (tmp_path / "bundle.pem").write_text(encrypted * 2 + "-----BEGIN PRIVATE KEY-----\nMIIE")
    result = run(tmp_path)
    assert found(result) == [("bundle.pem", "private", True, "", "")] * 2
    assert result["errors"] == [f"{tmp_path}/bundle.pem contained unparsable data"]


def test_what_only_looks_like_a_key_is_an_error_and_no_finding(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("# how to\nssh-rsa is old\n")
    (tmp_path / "plain").write_text("about ssh-rsa keys\n")
    result = run(tmp_path)
    assert (result["elements"], result["foundanything"]) == ({"keys": None}, False)
    assert result["errors"] == [f"{tmp_path}/notes contained unparsable data"]


def test_files_of_more_than_a_mebibyte_and_folders_deeper_than_asked_are_left_out(tmp_path: Path) -> None:
    line = f"ssh-ed25519 {ED25519}\n"
    deep = tmp_path.joinpath(*"1234567")
    deep.mkdir(parents=True)
    (deep / "in.pub").write_text(line)
    (deep / "8").mkdir()
    (deep / "8/out.pub").write_text(line)
    (tmp_path / "large.pub").write_text(line.ljust(MAX_FILE_BYTES + 1, "#"))
    (tmp_path / "full.pub").write_text(line.ljust(MAX_FILE_BYTES, "#"))
    assert [key[0] for key in found(run(tmp_path))] == ["in.pub", "full.pub"]
    assert [key[0] for key in found(run(tmp_path, maxdepth=9))] == ["out.pub", "in.pub", "full.pub"]
    assert [key[0] for key in found(run(tmp_path, maxdepth=1))] == ["full.pub"]


def test_what_cannot_be_walked_is_an_error(tmp_path: Path) -> None:
    assert run(tmp_path / "gone")["errors"] == [f"ERROR: open {tmp_path}/gone: no such file or directory"]


def test_a_result_is_cut_within_its_limit_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "authorized_keys").write_text(f"ssh-ed25519 {ED25519}\n" * 3000)
    parameters = load_parameters(MODULE, {"paths": [str(tmp_path)]})
    result = MODULE.run(parameters, Context(result_bytes=300_000))
    assert len(orjson.dumps(result.elements)) < 300_000
    assert "more keys than a result can hold" in result.errors[0]  # type: ignore[index]


def test_without_paths_the_homes_of_the_platform_are_searched() -> None:
    assert default_paths("linux") == ["/root", "/home"]
    assert default_paths("win32") == ["c:\\Users"]
    assert MODULE.run(load_parameters(MODULE, {}), Context()).success


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"paths": ["home"]}, "paths: 'home' is relative; other hosts have no current folder"),
        ({"paths": [""]}, "paths: '' is no path"),
        ({"paths": ["/a"] * 1001}, "paths: 1,001 of them; 1,000 at most"),
        ({"maxdepth": 1001}, "module sshkey: maxdepth: Expected `int` <= 1000"),
        ({"maxdepth": "3"}, "module sshkey: maxdepth: Expected `int`, got `str`"),
        ({"path": []}, "module sshkey: parameters: there is no parameter 'path'; did you mean 'paths'?"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(BadParameters) as caught:
        load_parameters(MODULE, parameters)
    assert str(caught.value).replace("`", "'") == told.replace("`", "'")


KEYS = {
    "elements": {
        "keys": [
            {"fingerprint_md5": "aa:bb", "fingerprint_sha256": "SHA256:x", "path": "/r/k", "encrypted": False, "type": "private"},
            {"fingerprint_md5": "", "fingerprint_sha256": "", "path": "/r/e", "encrypted": True, "type": "private"},
            {"fingerprint_md5": "cc", "fingerprint_sha256": "SHA256:y", "path": "/r/a\nb", "encrypted": False, "type": "public"},
        ]
    },
    "errors": ["/r/z contained unparsable data"],
}  # fmt: skip


def test_the_lines_are_migs() -> None:
    lines = [
        "/r/k [private] encrypted=false md5fp=aa:bb sha256fp=SHA256:x",
        "/r/e [private] encrypted=true md5fp=unknown sha256fp=unknown",
        "$'/r/a\\nb' [public] md5fp=cc sha256fp=SHA256:y",
    ]
    assert list(MODULE.lines(KEYS, everything=False)) == lines
    assert list(MODULE.lines(KEYS, everything=True)) == [*lines, "/r/z contained unparsable data"]
    assert list(MODULE.lines({"elements": {"keys": None}, "errors": None}, everything=True)) == []


def test_masked_results_name_no_path_and_no_error() -> None:
    masked = MODULE.masked(KEYS, load_parameters(MODULE, {}))
    assert "/r/" not in str(masked)
    assert [key["path"] for key in masked["elements"]["keys"]] == [MASK] * 3
    assert next(iter(MODULE.lines(masked, everything=True))).startswith("masked [private] encrypted=false md5fp=aa:bb")


def test_it_runs_in_a_worker(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(f"ssh-ed25519 {ED25519}\n")

    async def ask() -> Any:
        async with Runner(Limits()) as runner:
            return await runner.run("sshkey", {"paths": [str(tmp_path)]}, deadline_s=time.monotonic() + 60)

    ran = asyncio.run(ask())
    assert ran.state == "done", ran
    assert [key["path"] for key in ran.result.read().elements["keys"]] == [f"{tmp_path}/key.pub"]


def test_every_type_is_a_candidate_with_blanks_before_it_or_not() -> None:
    regex = compile_regex(CANDIDATE)
    for name in KEY_TYPES:
        assert regex.search(f"{name} AAAA".encode())
        assert regex.search(f" \t{name}\tAAAA".encode())
    assert not regex.search(b"github.com ssh-rsa AAAA")
    assert "ssh-ed25519-cert-v01@openssh.com" in KEY_TYPES
    assert "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" in KEY_TYPES


PIECES = st.sampled_from(
    [
        b"-----BEGIN RSA PRIVATE KEY-----\n", b"-----BEGIN PRIVATE KEY-----\n", b"-----END PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\r\n", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", b"ssh-rsa ", b"\\", b'"',
        b"PuTTY-User-Key-File-2: ssh-rsa\n", b"Public-Lines: 9\n", b"Encryption: none\n", b"---- BEGIN SSH2 PUBLIC KEY ----\n",
        b"---- END SSH2 PUBLIC KEY ----", f"ssh-ed25519 {ED25519}\n".encode(), base64.b64encode(b"openssh-key-v1\0" + string(b"none") * 3),
    ]
)  # fmt: skip


@given(st.lists(st.one_of(PIECES, st.binary(max_size=40))).map(b"".join), st.sampled_from((*AUTHORIZED_NAMES, b"id")))
def test_no_file_breaks_the_reader_and_what_it_tells_are_fingerprints(text: bytes, name: bytes) -> None:
    for key in keys_of(name, text).keys:
        assert key.md5 == "" or re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){15}", key.md5)
        assert key.sha256 == "" or re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", key.sha256)


@given(st.sampled_from(("RSA", "DSA", "EC", "")), st.binary(max_size=200))
def test_no_der_breaks_the_reader(label: str, data: bytes) -> None:
    for read in (of_openssh, public_key, authorized_key, lambda data: of_pem(label, data)):
        try:
            read(data)
        except Unparsable:
            continue


@given(st.data())
def test_a_private_key_with_changed_bytes_yields_a_key_or_is_unparsable(data: st.DataObject) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.derive_private_key(99, ec.SECP384R1())
    der = bytearray(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    for at in data.draw(st.lists(st.integers(0, len(der) - 1), max_size=4)):
        der[at] = data.draw(st.integers(0, 255))
    try:
        of_pem("", bytes(der))
    except Unparsable:
        return
