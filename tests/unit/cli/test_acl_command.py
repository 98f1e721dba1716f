"""`investigator acl`: the table of who may do what, and the verdict on an action before anything is sent."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from investigator.cli import main
from investigator.console.deployment import create_deployment
from investigator.modules import MODULES
from investigator.pgp.secret import generate_key
from investigator.pgp.signer import KeyFileSigner
from investigator.protocol.acl import HIGHEST
from signed import ACTION_ID, rfc3339

NOW_S = 4_000_000_000.0
RULED = sorted(set(MODULES) - HIGHEST)


@dataclass
class Scene:
    """A keyring of three, an ACL, and an action in a folder."""

    folder: Path
    signers: dict[str, KeyFileSigner]
    said: Callable[[], Any]

    def rule(self, **entries: Any) -> None:
        (self.folder / "acl.json").write_text(json.dumps(entries))

    def entry(self, minimum: int, **weights: int) -> dict[str, Any]:
        return {
            "minimumweight": minimum,
            "investigators": {
                name: {"fingerprint": self.signers[name.lower()].fingerprint, "weight": weight}
                for name, weight in weights.items()
            },
        }

    def call(self, *words: str) -> tuple[int, str, str]:
        options = ["--acl", str(self.folder / "acl.json"), "--keyring", str(self.folder / "keyring")]
        code = main(["acl", words[0], *options, *words[1:]])
        out, err = self.said()
        return code, out, err

    def action(self, *signers: str) -> str:
        """The exact bytes with a signature file each beside them."""
        path = self.folder / "action.json"
        document = {
            "type": "action", "id": ACTION_ID, "name": "who", "target": "all", "condition": ["bool", True],
            "validfrom": rfc3339(NOW_S), "expireafter": rfc3339(NOW_S + 60), "syntaxversion": 2,
            "operations": [{"module": "file", "parameters": {}}],
        }  # fmt: skip
        path.write_text(json.dumps(document))
        for name in signers:
            self.sign(name, path.with_name(f"action.json.{self.signers[name].fingerprint}.asc"))
        return str(path)

    def sign(self, name: str, to: Path) -> None:
        to.write_text(self.signers[name].sign((self.folder / "action.json").read_bytes()))

    def envelope(self, *signers: str) -> str:
        data = Path(self.action()).read_bytes()
        path = self.folder / "envelope.json"
        signatures = [self.signers[name].sign(data) for name in signers]
        path.write_text(json.dumps({"v": 1, "action": data.decode(), "pgpsignatures": signatures}))
        return str(path)


@pytest.fixture
def scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scene:
    keyring = tmp_path / "keyring"
    keyring.mkdir(mode=0o755)
    signers = {}
    for name in ("alice", "bob", "carol"):
        made = generate_key(name, f"{name}@example.net", None)
        signers[name] = KeyFileSigner(made.secret.encode())
        (keyring / f"{name}.asc").write_text(made.public)
        (keyring / f"{name}.asc").chmod(0o644)
    scene = Scene(tmp_path, signers, capsys.readouterr)
    scene.rule(default=scene.entry(2, Alice=2, Bob=1, Carol=1), cancel=scene.entry(1, Carol=1))
    return scene


def test_the_table_says_who_may_do_what_alone_and_together(scene: Scene) -> None:
    code, out, _ = scene.call("explain")
    assert code == 0
    alice = scene.signers["alice"].fingerprint
    assert "a signature counts for 7 days" in out
    assert out.split("\n\n")[1].splitlines() == [
        f"default: minimum weight 2; rules {', '.join(RULED)}",
        f"  Alice  weight 2  {alice}",
        f"  Bob    weight 1  {scene.signers['bob'].fingerprint}",
        f"  Carol  weight 1  {scene.signers['carol'].fingerprint}",
        "  alone:    Alice",
        "  together: Bob + Carol",
    ]
    assert out.split("\n\n")[2].splitlines()[-2:] == ["  alone:    Carol", "  together: nobody else"]


def test_what_ends_agents_has_a_table_of_its_own_that_asks_for_everybody(scene: Scene) -> None:
    _, out, _ = scene.call("explain")
    lines = out.split("\n\n")[3].splitlines()
    assert lines[0] == "agentdestroy: minimum weight 4; rules agentdestroy"
    assert lines[-2:] == ["  alone:    nobody", "  together: Alice + Bob + Carol"]
    scene.rule(default=scene.entry(2, Alice=2), agentdestroy=scene.entry(1, Carol=1))
    _, out, _ = scene.call("explain")
    assert out.count("agentdestroy: minimum weight 1; rules agentdestroy") == 1


def test_who_is_alike_is_told_as_a_number_and_who_has_no_weight_is_named(scene: Scene) -> None:
    scene.rule(maxsignatureage_s=3600, default=scene.entry(2, Alice=1, Bob=1, Carol=0))
    _, out, _ = scene.call("explain")
    assert "a signature counts for 3600 s" in out
    assert "  together: Alice + Bob" in out
    assert f"in the keyring, and without weight for anything:\n  {scene.signers['carol'].fingerprint}  carol" in out
    scene.rule(default=scene.entry(2, Alice=1, Bob=1, Carol=1))
    _, out, _ = scene.call("explain")
    assert "  alone:    nobody\n  together: any 2 of Alice, Bob, Carol" in out


def test_a_revoked_investigator_is_shown_and_counted_out(scene: Scene) -> None:
    (scene.folder / "keyring" / "alice.rev").write_text(scene.signers["alice"].revoke())
    _, out, _ = scene.call("explain")
    assert "COUNTS NOTHING: revoked by a revocation in alice.rev" in out
    assert "  alone:    nobody\n  together: Bob + Carol" in out
    (scene.folder / "keyring" / "bob.rev").write_text(scene.signers["bob"].revoke())
    _, out, _ = scene.call("explain")
    assert "  together: nobody: 2 cannot be reached now" in out
    assert "would do: nobody else" in scene.call("check", scene.action())[1]
    document = json.loads(scene.call("explain", "--output", "json")[1])
    first = document["entries"][0]
    assert [one["counts"] for one in first["investigators"]] == [False, False, True]
    assert (first["alone"], first["together"], first["more"]) == ([], [], False)
    assert first["rules"] == RULED
    assert document["maxsignatureage_s"] == 7 * 86_400


def test_an_unsigned_action_is_told_what_it_would_need(scene: Scene) -> None:
    code, out, err = scene.call("check", scene.action())
    assert code == 3
    assert out.splitlines() == [
        "file: needs 2, has 0 (by entry default): nobody signed; 2 MISSING",
        "      would do: Alice; Bob + Carol",
    ]
    assert (
        "would refuse it: permission denied for operation file, insufficient signatures weight (need 2, got 0)" in err
    )


def test_so_is_an_action_file_of_migs(scene: Scene) -> None:
    path = scene.folder / "mig.json"
    search = {"s1": {"paths": ["/etc"], "names": ["^passwd$"]}}
    operation = {"module": "file", "parameters": {"searches": search}}
    path.write_text(json.dumps({"name": "x", "target": "all", "operations": [operation], "syntaxversion": 2}))
    code, out, _ = scene.call("check", str(path))
    assert code == 3
    assert "would do: Alice; Bob + Carol" in out
    scene.action()
    scene.sign("alice", scene.folder / "loose.asc")
    code, _, err = scene.call("check", str(path), "--signature", str(scene.folder / "loose.asc"))
    assert code == 2
    assert "neither an action as it is signed nor an envelope" in err


@pytest.mark.parametrize("form", ["beside", "envelope"])
def test_signatures_beside_an_action_or_in_its_envelope_are_weighed(scene: Scene, form: str) -> None:
    write = scene.action if form == "beside" else scene.envelope
    code, out, err = scene.call("check", write("bob"))
    assert code == 3
    assert f"good  {scene.signers['bob'].fingerprint} (" in out
    assert "file: needs 2, has 1 (by entry default): signed by Bob (1); 1 MISSING\n      would do: Alice; Carol" in out
    assert "(need 2, got 1): signed by Bob (1); 1 missing" in err
    code, out, err = scene.call("check", write("bob", "carol"))
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].endswith("; enough")


def test_one_more_signature_can_be_given_by_its_file(scene: Scene) -> None:
    path = scene.action("bob")
    scene.sign("carol", scene.folder / "elsewhere.asc")
    code, out, _ = scene.call("check", path, "--signature", str(scene.folder / "elsewhere.asc"))
    assert code == 0
    assert "elsewhere.asc" in out


def test_the_same_signer_twice_counts_once(scene: Scene) -> None:
    path = scene.action("bob")
    scene.sign("bob", scene.folder / "again.asc")
    code, out, _ = scene.call("check", path, "--signature", str(scene.folder / "again.asc"))
    assert code == 3
    assert "has 1" in out


def test_what_counts_nothing_is_said_with_its_reason(scene: Scene) -> None:
    path = scene.action("alice")
    Path(path).write_bytes(Path(path).read_bytes() + b" ")
    (scene.folder / "rubbish.asc").write_bytes(b"\x99rubbish")
    code, out, _ = scene.call("check", path, "--signature", str(scene.folder / "rubbish.asc"))
    assert code == 3
    assert "bad   signature is not over these bytes (action.json." in out
    assert "rubbish.asc)" in out
    assert "would do: Alice; Bob + Carol" in out


def test_programs_read_the_same_as_json(scene: Scene) -> None:
    code, out, _ = scene.call("check", scene.action("bob"), "--output", "json")
    assert code == 3
    document = json.loads(out)
    assert document["sufficient"] is False
    assert [one["signer"] for one in document["signatures"]] == [scene.signers["bob"].fingerprint]
    assert document["operations"] == [
        {
            "module": "file", "entry": "default", "need": 2, "got": 1, "missing": 1,
            "signed": [{"name": "Bob", "weight": 1}], "without_weight": [], "would_do": [["Alice"], ["Carol"]], "more": False,
        }
    ]  # fmt: skip
    assert json.loads(scene.call("check", scene.action("alice"), "--output", "json")[1])["sufficient"] is True


def test_the_acls_age_limit_counts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scene.action("alice")
    assert scene.call("check", path)[0] == 0
    scene.rule(maxsignatureage_s=60, default=scene.entry(1, Alice=1))
    import time

    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    code, out, _ = scene.call("check", path)
    assert code == 3
    assert "s old; 60 s at most" in out


def test_an_acl_that_is_wrong_is_one_line_with_its_place(scene: Scene) -> None:
    (scene.folder / "acl.json").write_text('{\n"default": {"minimumweight": 1,\n"investigators": {}}}')
    code, out, err = scene.call("explain")
    assert (code, out) == (2, "")
    place = f"investigator: {scene.folder}/acl.json, line 2: default: minimumweight: 1 cannot be reached"
    assert err.startswith(place)
    assert scene.call("explain", "--output", "csv")[0] == 2


def test_the_deployments_own_rules_are_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = create_deployment(tmp_path / "home", port=0, passphrase=None)
    assert main(["acl", "explain", "--home", str(made.home)]) == 0
    assert made.fingerprint in capsys.readouterr().out
    (made.home / "agent.toml").unlink()  # an investigator's laptop may have no agent
    assert main(["acl", "explain", "--home", str(made.home)]) == 0
    (made.home / "acl.json").rename(made.home / "acl.toml")
    assert main(["acl", "explain", "--home", str(made.home)]) == 2
    assert "acl.toml: no TOML" in capsys.readouterr().err
