"""Several people, one action: two laptops, two keys, one of them gpg's; and people who come and go. All by the command line."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from deployment import Deployment, read_answer
from own_gpg import Gpg

from investigator.console.deployment import create_deployment
from investigator.program import own_command

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed")


class Team:
    """Ada's deployment with an agent that wants two signatures, and Bob, whose key is gpg's."""

    def __init__(self, ada: Deployment, gpg: Gpg, folder: Path) -> None:
        self.ada = ada
        self.gpg = gpg
        self.folder = folder
        self.action = folder / "action.json"
        (self.adas,) = (path.stem for path in (ada.home / "keyring").iterdir())
        self.bobs = gpg.make("ed25519")

    def call(self, *words: str, code: int = 0, stdin: bytes = b"") -> tuple[str, str]:
        """A command on Ada's laptop; what it said on stdout and on stderr."""
        environment = {**self.ada.environment, "GNUPGHOME": str(self.gpg.home)}
        done = subprocess.run(
            [*own_command(), *words],
            env=environment, cwd=self.folder, input=stdin, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        out, err = done.stdout.decode(), done.stderr.decode()
        assert done.returncode == code, (words, out, err)
        assert "Traceback" not in err
        return out, err

    def trust_bob(self) -> None:
        self.folder.joinpath("bob.asc").write_bytes(self.gpg.public(self.bobs, "--armor"))
        self.call("keys", "trust", "bob.asc", "--name", "bob", "--weight", "1")

    def need_both(self) -> None:
        acl = self.ada.home / "acl.json"
        document = orjson.loads(acl.read_bytes())
        document["enrol"] = orjson.loads(orjson.dumps(document["default"]))  # ada alone says which hosts are theirs
        document["default"]["minimumweight"] = 2
        acl.write_bytes(orjson.dumps(document))

    def write(self, *words: str) -> None:
        self.call(
            "action", "new", *words, "file", "-path", "/etc", "-name", "^passwd$", "-maxdepth", "0", "-o", "action.json"
        )


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    gpg = Gpg(Path(os.path.realpath(tmp_path)) / "g")
    with Deployment(tmp_path / "ada") as ada:
        yield Team(ada, gpg, tmp_path)
    gpg.stop()


def test_two_people_sign_one_action_and_it_is_sent_once_the_weights_suffice(team: Team) -> None:
    team.trust_bob()
    team.need_both()
    team.ada.broker()
    team.ada.agent("web-1")
    team.write("-t", "os='linux'")
    before = team.action.read_bytes()

    _, err = team.call("action", "send", "action.json", code=3)
    assert "not sent: permission denied for operation file" in err
    assert "2 missing" in err
    team.call("action", "verify", "action.json", code=3)

    out, _ = team.call("action", "sign", "action.json")
    assert f"signed by {team.adas} in action.json.{team.adas}.asc" in out
    assert "still missing: permission denied for operation file" in out
    assert "1 missing" in team.call("action", "send", "action.json", code=3)[1]
    out, _ = team.call("action", "sign", "action.json")
    assert "nothing was changed" in out

    out, _ = team.call("action", "sign", "action.json", "--gpg", team.bobs)  # bob, through gpg-agent
    assert "still missing" not in out
    out, _ = team.call("action", "verify", "action.json")
    assert out.count("\ngood ") == 2
    assert "can be opened by" in out
    assert team.action.read_bytes() == before

    team.gpg("--import", data=next((team.ada.home / "keyring").glob(f"{team.adas}.asc")).read_bytes())
    for person in (team.adas, team.bobs):  # anybody can verify
        team.gpg("--verify", str(team.folder / f"action.json.{person}.asc"), str(team.action))

    done = team.ada.call("action", "send", "--output", "ndjson", str(team.action))
    answer = read_answer(done.returncode, done.stdout, done.stderr)
    assert (answer.code, answer.states) == (0, {"web-1": "found"}), answer
    again = team.ada.ask("-i", str(team.action))  # `run -i` reads the same files; the agent has it done already
    assert again.code == 0


def test_bob_signs_with_nothing_but_gpg_and_order_does_not_matter(team: Team) -> None:
    team.trust_bob()
    team.need_both()
    team.write()
    (team.folder / "action.json.asc").write_bytes(team.gpg.sign(team.bobs, "--armor", data=team.action.read_bytes()))
    team.call("action", "sign", "action.json")
    document = orjson.loads(team.call("action", "verify", "action.json", "--json")[0])
    assert document["sufficient"] is True
    assert {one["fingerprint"] for one in document["signatures"]} == {team.adas, team.bobs}
    assert document["operations"] == [{"module": "file", "need": 2, "got": 2, "missing": 0}]


def test_an_envelope_collects_the_signatures_too(team: Team) -> None:
    team.trust_bob()
    team.need_both()
    team.write("-envelope")
    team.call("action", "sign", "action.json", "--gpg", team.bobs)
    team.call("action", "sign", "action.json")
    team.call("action", "verify", "action.json")
    assert len(orjson.loads(team.action.read_bytes())["pgpsignatures"]) == 2
    out, _ = team.call("action", "show", "-", stdin=team.action.read_bytes())
    assert "condition   " in out
    assert "file {" in out
    assert [path.name for path in team.folder.glob("action.json*")] == ["action.json"]


@pytest.mark.parametrize("command", ["sign", "verify", "send"])
def test_whoever_alters_a_signed_action_gets_clear_words_and_3(team: Team, command: str) -> None:
    team.write()
    team.call("action", "sign", "action.json")
    team.action.write_bytes(team.action.read_bytes().replace(b"^passwd$", b"^shadow$"))
    _, err = team.call("action", command, "action.json", code=3)
    first, *hint = err.splitlines()
    assert "action.json: altered since it was signed" in first
    assert all(line.startswith("  ") for line in hint)


@pytest.mark.parametrize("command", ["sign", "verify", "send", "show"])
def test_a_condition_that_is_not_what_the_target_says_is_neither_signed_nor_sent(team: Team, command: str) -> None:
    team.write("-t", "name='db-1'")
    team.action.write_bytes(team.action.read_bytes().replace(b'["text","db-1"]', b'["text","web-1"]'))
    _, err = team.call("action", command, "action.json", code=3)
    assert "its condition is not what its target" in err


def test_results_that_others_alone_can_open_are_told_and_not_waited_for(team: Team) -> None:
    team.write()
    document = orjson.loads(team.action.read_bytes())
    document["sealto"] = "7Dy8XToU4/YzqP+WjisB1EDHSv/LOuqkRrjOv1LJNF4="
    team.action.write_bytes(orjson.dumps(document))
    out, _ = team.call("action", "sign", "action.json")
    assert "can be opened by UNKNOWN" in out
    _, err = team.call("action", "send", "action.json", code=3)
    assert "sealed to another key" in err


BAD = [
    (("action", "sign", "none.json"), 2, "none.json: No such file or directory"),
    (("action", "sign", "rubbish.json"), 2, "rubbish.json: no JSON"),
    (("action", "sign", "migs.json"), 2, "neither an action as it is signed nor an envelope"),
    (("action", "verify", "."), 2, "Is a directory"),
    (("action", "send"), 2, "no action file"),
    (("action", "send", "action.json", "-t", "all"), 2, "unknown flag -t"),
    (("action", "new", "file", "-path", "/etc", "-name", "x"), 2, "no file to write the action into (-o)"),
    (("action", "new", "-t", "all", "-o", "action.json", "file", "-path", "/etc", "-name", "x"), 5, "is there already"),
    (("action", "new", "-o", "x", "-t", "local", "file", "-path", "/etc", "-name", "x"), 2, "needs nobody's signature"),
    (("action", "sign", "action.json", "--gpg", "Bob"), 2, "is not a full fingerprint"),
    (("action", "sign", "action.json", "--gpg", "0" * 40), 5, "gpg has no secret key"),
    (("action", "sign", "action.json", "--key", "rubbish.json"), 5, "others than its owner can read"),
    (("action", "sign", "action.json", "--key", "x", "--gpg", "y"), 2, "one of the two"),
    (("action", "sign", "action.json", "--passphrase-command", "'"), 2, "No closing quotation"),
    (("keys", "trust", "rubbish.json"), 3, "rubbish.json: not one armored PGP PUBLIC KEY BLOCK"),
    (("keys", "trust", "secret.asc"), 3, "not one armored PGP PUBLIC KEY BLOCK"),
    (("keys", "trust", "bob.asc", "--weight", "1"), 2, "--name and --weight go together"),
    (
        ("keys", "trust", "bob.asc", "--name", "b", "--weight", "1", "--entry", "nomodule"),
        2,
        "it has no entry 'nomodule'",
    ),
    (("keys", "import", "rubbish.json"), 5, "secret key file: "),
    (("keys", "import", "secret.asc"), 2, "the key in it has no passphrase"),
    (("keys", "import", "0" * 40), 5, "gpg has no secret key"),
    (("keys", "revoke"), 2, "a revocation cannot be taken back"),
    (("keys", "revoke", "--yes", "rubbish.json"), 3, "not one key revocation and nothing else"),
    (("keys", "revoke", "--yes", "0" * 40), 5, f"there is no secret key {'0' * 40} here"),
    (("keys", "generate", "--name", "<x>"), 2, "empty passphrase protects nothing"),
    (("keys", "generate", "--no-passphrase", "--name", "<x>"), 2, "name '<x>'"),
    (("keys", "generate", "--no-passphrase", "--lifetime", "soon"), 2, "is no duration"),
    (("people", "join", "rubbish.json"), 2, "rubbish.json: "),
    (("people", "invite", "services"), 5, "cannot be a broker user's name"),
    (("people", "remove", "nobody"), 5, "nobody is called 'nobody' here"),
    (
        ("people", "add", "bob.asc", "--name", "b", "--weight", "1", "--sealto", "x"),
        2,
        "is not the base64 of a 32-byte",
    ),
]


@pytest.mark.timeout(300)  # some forty processes
def test_bad_input_is_one_clear_line_and_changes_nothing(team: Team) -> None:
    team.write()
    (team.folder / "bob.asc").write_bytes(team.gpg.public(team.bobs, "--armor"))
    (team.folder / "rubbish.json").write_text("rubbish")
    (team.folder / "migs.json").write_text('{"name": "n", "target": "all", "operations": []}')
    (team.folder / "secret.asc").write_bytes(team.gpg("--armor", "--export-secret-keys", team.bobs))
    before = contents(team.ada.home), contents(team.folder)
    for words, code, message in BAD:
        _, err = team.call(*words, code=code)
        first, *others = err.splitlines()
        assert first.startswith("investigator: "), (words, err)
        assert message in first, (words, err)
        assert all(line.startswith("  ") for line in others), (words, err)
    assert (contents(team.ada.home), contents(team.folder)) == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.parent.name != "g"}


def test_keys_are_made_listed_trusted_used_and_given_up(team: Team) -> None:
    public, err = team.call("keys", "generate", "--name", "Carol", "--use", stdin=b"correct horse\n")
    (team.folder / "carol.asc").write_text(public)
    carol = err.split()[2]
    assert (team.ada.home / "secrets" / f"{carol}.asc").stat().st_mode & 0o777 == 0o600
    assert "is not in the keyring" in team.call("keys", "list")[0]
    out, _ = team.call("keys", "trust", "carol.asc")
    assert f'"NAME": {{"fingerprint": "{carol}", "weight": 1}}' in out
    team.call("keys", "trust", "carol.asc", "--name", "carol", "--weight", "3")
    (listed,) = (one for one in orjson.loads(team.call("keys", "list", "--json")[0]) if one["fingerprint"] == carol)
    assert (listed["weights"], listed["own"]["signs"], listed["state"]) == ({"default": 3}, True, "good")

    team.write()
    _, err = team.call("action", "sign", "action.json", code=5)
    assert "no terminal to ask on" in err
    wrong, right = ("printf", "wrong"), ("printf", "correct horse\\nsecond line")
    team.call("action", "sign", "action.json", "--passphrase-command", " ".join(wrong), code=2)
    console = team.ada.home / "console.toml"
    console.write_text(
        f'passphrase_command = ["{right[0]}", "{right[1]}"]\n'.replace("\\", "\\\\") + console.read_text()
    )
    team.call("action", "sign", "action.json")
    team.call("action", "verify", "action.json")
    console.chmod(0o620)
    assert "it names a command to run" in team.call("action", "sign", "action.json", code=5)[1]
    console.chmod(0o600)

    team.call("keys", "revoke", "-o", "carol.rev", "--reason", "compromised", "--text", "stolen")
    team.call("action", "verify", "action.json")  # making it revokes nothing
    out, _ = team.call("keys", "revoke", "carol.rev", "--yes")
    assert f"revoked {carol}" in out
    _, err = team.call("action", "verify", "action.json", code=3)
    assert "insufficient signatures weight" in err
    assert "revoked" in team.call("keys", "list")[0]
    assert "is revoked here" in team.call("keys", "trust", "carol.asc", code=2)[1]


def test_a_key_of_gpg_is_taken_by_its_fingerprint_and_revoked_through_gpg(team: Team) -> None:
    team.trust_bob()
    _, err = team.call("keys", "import", team.bobs, "--use")
    assert f'gpg = "{team.bobs}"' in err
    team.write()
    team.call("action", "sign", "action.json")
    team.call("action", "verify", "action.json")
    team.call("keys", "revoke", "--yes")
    team.call("action", "verify", "action.json", code=3)


def test_a_key_file_that_others_can_read_is_not_used(team: Team) -> None:
    team.write()
    (team.ada.home / "secrets" / "investigator.asc").chmod(0o640)
    assert "others than its owner can read" in team.call("action", "sign", "action.json", code=5)[1]


def test_a_second_investigator_comes_in_asks_and_is_shut_out(team: Team, tmp_path: Path) -> None:
    broker = team.ada.broker()
    agent = team.ada.agent("web-1")
    bob = tmp_path / "bob"
    team.call("people", "invite", "bob")
    invitation = team.folder / "bob.invitation"
    assert invitation.stat().st_mode & 0o777 == 0o600

    joined = team.ada.call("people", "join", str(invitation), "--no-passphrase", home=bob)
    assert joined.returncode == 0, joined.stderr
    (team.folder / "bobs.asc").write_bytes(joined.stdout)
    command = joined.stderr.decode().splitlines()[-1].split()
    sealto = command[command.index("--sealto") + 1]
    assert team.ada.call("agents", home=bob).returncode == 0
    refused = team.ada.ask("file", "-path", "/etc", "-name", "^passwd$", "-maxdepth", "0", home=bob)
    assert refused.states == {"web-1": "refused"}  # a credential for the broker is no signature

    out, _ = team.call("people", "add", "bobs.asc", "--name", "bob", "--weight", "1", "--sealto", sealto)
    assert '"bob": {"fingerprint": "' in out
    agent.until("in force")
    asked = team.ada.ask("file", "-path", "/etc", "-name", "^passwd$", "-maxdepth", "0", home=bob)
    assert asked.states == {"web-1": "found"}, asked
    (team.folder / "bobs.json").unlink(missing_ok=True)
    done = team.ada.call(
        "action", "new", "-o", str(team.folder / "bobs.json"), "file", "-path", "/", "-name", "x", home=bob
    )
    assert done.returncode == 0, done.stderr
    assert "can be opened by bob alone" in team.call("action", "show", "bobs.json")[0]

    out, _ = team.call("people", "remove", "bob")
    assert "bob's credential is void" in out
    broker.until("accounts changed")
    gone = team.ada.call("agents", home=bob)
    assert gone.returncode == 4
    assert b"does not know these credentials" in gone.stderr
    assert team.ada.call("agents").returncode == 0
    assert "bob" not in team.call("keys", "list")[0]


def test_an_invitation_that_others_can_read_or_with_a_spoiled_keyring_makes_no_deployment(team: Team) -> None:
    team.call("people", "invite", "bob", "-o", "i.json", "--url", "nats://broker.example.net:4222")
    path = team.folder / "i.json"
    home = team.folder / "elsewhere"
    path.chmod(0o644)
    assert b"others can read it" in team.ada.call("people", "join", str(path), home=home).stderr
    document = orjson.loads(path.read_bytes())
    for changed in (
        {"keyring": {"../x.asc": ""}},
        {"keyring": {"x.asc": "rubbish"}},
        {"name": "../x"},
        {"credentials": "rubbish"},
        {"type": "action"},
        {"more": 1},
    ):
        path.write_bytes(orjson.dumps({**document, **changed}))
        path.chmod(0o600)
        done = team.ada.call("people", "join", "--no-passphrase", str(path), home=home)
        assert done.returncode in (2, 5), (changed, done)
        assert done.stderr.decode().startswith("investigator: ")
        assert not (home / "console.toml").exists()
        assert not list(home.rglob("*.creds"))


def test_nobody_is_removed_without_whom_the_minimum_cannot_be_reached(team: Team) -> None:
    team.trust_bob()
    team.need_both()
    before = contents(team.ada.home)
    _, err = team.call("people", "remove", "bob", code=2)
    assert "minimumweight" in err
    assert "cannot be reached" in err
    assert contents(team.ada.home) == before


def test_a_published_revocation_reaches_agents_that_run(team: Team) -> None:
    team.trust_bob()
    team.ada.broker()
    agent = team.ada.agent("web-1")
    team.write()
    team.call("action", "sign", "action.json", "--gpg", team.bobs)
    rules = team.folder / "rules"
    shutil.copytree(team.ada.home, rules, ignore=shutil.ignore_patterns("lock", "*.lock", "agents", "store", "run"))
    revocation = team.gpg.home / "openpgp-revocs.d" / f"{team.bobs}.rev"
    (team.folder / "bob.rev").write_text(revocation.read_text())  # as gpg prepared it, its colon included
    # published from a laptop whose keyring the agent does not share
    done = team.ada.call("keys", "revoke", str(team.folder / "bob.rev"), "--yes", "--publish", home=rules)
    assert done.returncode == 0, done.stderr
    agent.until(f"key {team.bobs} was revoked by its owner")
    sent = team.ada.ask("-i", str(team.action))
    assert sent.states == {"web-1": "refused"}, sent
    assert "revoked" in str(sent.outcomes)


def test_a_fresh_deployment_knows_its_own_investigator_by_name(tmp_path: Path) -> None:
    made = create_deployment(tmp_path / "home", port=0, passphrase="correct horse")
    people = orjson.loads((tmp_path / "home" / "people.json").read_bytes())
    ((_, person),) = people.items()
    assert person["fingerprint"] == made.fingerprint
    assert person["sealto"]
