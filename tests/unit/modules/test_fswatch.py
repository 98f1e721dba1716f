"""The fswatch module on real folders: looked at step by step, with a host that keeps what it is told."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadParameters
from investigator.modules.fswatch import MODULE, places, watching
from investigator.modules.fswatch.baseline import FILE, Baseline
from investigator.modules.fswatch.changes import alerts_of
from investigator.modules.fswatch.notifier import Notifier
from investigator.modules.fswatch.seeing import Seen
from investigator.modules.fswatch.settings import MAX_PATHS, Root, Settings, roots_of
from investigator.modules.fswatch.watching import Watch
from investigator.modules.persistent import NoParameters, load_settings
from investigator.protocol.alert import Alert, alert_bytes

SEEN = st.builds(
    Seen,
    kind=st.sampled_from(("file", "folder", "link", "other")),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 3),
    gid=st.integers(0, 3),
    stamp=st.tuples(*[st.integers(0, 3)] * 4),
    sha256=st.sampled_from(("", "aa", "bb")),
    target=st.sampled_from(("", "/secret/target")),
    problem=st.sampled_from(("", "Permission denied")),
)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Told:
    """A host that keeps what it is told, and may be asked to die first."""

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        self.folder = folder
        self.private = private
        self.alerts: list[Alert] = []
        self.dies = False

    def alert(self, *alerts: Alert) -> None:
        for alert in alerts:
            alert_bytes(alert)
        self.alerts += alerts
        if self.dies:
            raise KeyboardInterrupt

    def beat(self) -> None:
        pass

    def heard(self) -> list[tuple[str, str]]:
        """Severities and texts since the last call."""
        heard: list[tuple[str, str]] = [(alert.severity, alert.alert.partition(" (")[0]) for alert in self.alerts]
        self.alerts.clear()
        return heard


class Scene:
    def __init__(self, folder: Path, *, private: bool = False, paths: tuple[str, ...] = (), **settings: float) -> None:
        self.tree = folder / "tree"
        (self.tree / "sub").mkdir(parents=True, exist_ok=True)
        (self.tree / "passwd").write_text("one")
        (folder / "state").mkdir(exist_ok=True)
        self.host = Told(folder / "state", private=private)
        self.settings = Settings(paths=list(paths or (f"recursive:{self.tree}",)), **settings)  # type: ignore[arg-type]
        self.start()

    def start(self) -> None:
        self.watch = Watch(self.settings, self.host)

    def look(self) -> list[tuple[str, str]]:
        """Once everywhere, as the loop does it."""
        self.watch._places.find()
        self.watch._look_at(self.watch._places.folders)
        self.watch._take_roots()
        return self.host.heard()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    assert made.look() == [("medium", f"a baseline was taken of {made.tree}: 3 paths in all")]
    assert made.look() == []
    return made


def test_every_kind_of_change_is_told_with_migs_severity(scene: Scene) -> None:
    tree = scene.tree
    (tree / "passwd").write_text("two")
    (tree / "sub/new").write_text("")
    (tree / "sub").chmod(0o777)
    assert scene.look() == [
        ("critical", f"{tree}/passwd signature changed {sha('one')} -> {sha('two')}"),
        ("medium", f"{tree}/sub mode changed 0755 -> 0777"),
        ("medium", f"new path {tree}/sub/new"),
    ]
    (tree / "passwd").unlink()
    (tree / "passwd").symlink_to("/etc/passwd")
    assert scene.look() == [("critical", f"{tree}/passwd was a file and is a link")]
    (tree / "passwd").unlink()
    (tree / "passwd").symlink_to("/etc/shadow")
    assert scene.look() == [("medium", f"{tree}/passwd link changed /etc/passwd -> /etc/shadow")]
    (tree / "sub/new").unlink()
    (tree / "sub").rmdir()
    assert sorted(scene.look()) == [("low", f"path {tree}/sub removed"), ("low", f"path {tree}/sub/new removed")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_new_owner_is_told(scene: Scene) -> None:
    os.chown(scene.tree / "passwd", 1, 2)
    assert scene.look() == [("medium", f"{scene.tree}/passwd owner changed 0:0 -> 1:2")]


def test_a_touched_file_with_the_same_content_is_no_news(scene: Scene) -> None:
    os.utime(scene.tree / "passwd", (1, 1))
    assert scene.look() == []


def test_a_content_changed_under_the_same_stamp_is_seen_at_the_next_start(scene: Scene) -> None:
    """Who writes to the disk under the file system, or sets clocks back, changes no time that could be compared."""
    before = scene.watch._baseline.seen[os.fsencode(scene.tree / "passwd")]
    scene.watch._baseline.note([(os.fsencode(scene.tree / "passwd"), msgspec.structs.replace(before, sha256="00"))])
    assert scene.look() == []
    scene.start()
    assert scene.look() == [("critical", f"{scene.tree}/passwd signature changed 00 -> {sha('one')}")]


def test_a_signature_is_told_once_in_15_minutes_and_its_mode_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = scene.tree / "passwd"
    file.write_text("two")
    assert len(scene.look()) == 1
    file.write_text("three")
    file.chmod(0o600)
    assert scene.look() == [("medium", f"{file} mode changed 0644 -> 0600")]
    file.write_text("fourth")
    assert scene.look() == []
    assert list(scene.watch._due_s) == [os.fsencode(file)]
    later = time.monotonic() + watching.QUIET_S + 1
    monkeypatch.setattr("investigator.modules.fswatch.watching.time.monotonic", lambda: later)
    assert scene.look() == [("critical", f"{file} signature changed {sha('two')} -> {sha('fourth')}")]
    assert scene.watch._due_s == {}


def test_killed_before_it_noted_it_tells_again_rather_than_never(scene: Scene) -> None:
    (scene.tree / "passwd").write_text("two")
    scene.host.dies = True
    with pytest.raises(KeyboardInterrupt):
        scene.look()
    scene.host.dies = False
    first = scene.host.heard()
    scene.start()
    assert (
        scene.look() == first == [("critical", f"{scene.tree}/passwd signature changed {sha('one')} -> {sha('two')}")]
    )
    scene.start()
    assert scene.look() == []


def test_a_missing_path_is_awaited_and_its_coming_is_news(tmp_path: Path) -> None:
    scene = Scene(tmp_path, paths=(str(tmp_path / "not/yet"), str(tmp_path / "tree")))
    scene.look()
    assert MODULE.settings is Settings
    assert scene.watch.statistics["awaited"] == [str(tmp_path / "not/yet")]
    (tmp_path / "not/yet").mkdir(parents=True)
    (tmp_path / "not/yet/evil").write_text("x")
    assert scene.watch._places.came()
    assert scene.look() == [("medium", f"new path {tmp_path}/not/yet"), ("medium", f"new path {tmp_path}/not/yet/evil")]
    assert scene.watch.statistics["awaited"] == []


def test_a_folder_without_recursive_is_watched_one_level_deep(tmp_path: Path) -> None:
    scene = Scene(tmp_path, paths=(str(tmp_path / "tree"),))
    scene.look()
    (scene.tree / "sub/deep").write_text("")
    assert scene.look() == []
    (scene.tree / "flat").write_text("")
    assert scene.look() == [("medium", f"new path {scene.tree}/flat")]


def test_a_path_that_is_new_in_the_settings_is_taken_as_it_is(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.look()
    (tmp_path / "more").mkdir()
    (tmp_path / "more/file").write_text("")
    scene.settings = Settings(paths=[*scene.settings.paths, str(tmp_path / "more")])
    (scene.tree / "passwd").write_text("two")
    scene.start()
    assert [severity for severity, _ in scene.look()] == ["critical", "medium"]
    (tmp_path / "more/file").write_text("changed")
    assert [severity for severity, _ in scene.look()] == ["critical"]


def test_links_are_not_followed_whatever_they_replace(scene: Scene, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("")
    (scene.tree / "sub").rmdir()
    (scene.tree / "sub").symlink_to(outside)
    assert scene.look() == [("critical", f"{scene.tree}/sub was a folder and is a link")]
    (outside / "another").write_text("")
    assert scene.look() == []


def test_a_root_that_is_a_link_is_watched_with_the_folder_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("tree")
    scene = Scene(tmp_path, paths=(str(tmp_path / "link"),))
    scene.look()
    (scene.tree / "passwd").write_text("two")
    assert scene.look() == [("critical", f"{scene.tree}/passwd signature changed {sha('one')} -> {sha('two')}")]
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("elsewhere")
    assert ("medium", f"{tmp_path}/link link changed tree -> elsewhere") in scene.look()


def test_pipes_and_unreadable_things_block_nothing(scene: Scene) -> None:
    os.mkfifo(scene.tree / "pipe")
    assert scene.look() == [("medium", f"new path {scene.tree}/pipe")]


def test_large_files_are_told_by_size_and_time(tmp_path: Path) -> None:
    scene = Scene(tmp_path, max_hash_bytes=2)
    scene.look()
    (scene.tree / "passwd").write_text("four")
    (alert,) = scene.look()
    assert alert[1].startswith(f"{scene.tree}/passwd signature changed unread -> unread")


def test_more_paths_than_allowed_are_told_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path, max_paths=3)
    scene.look()
    for number in range(5):
        (scene.tree / str(number)).write_text("")
    assert scene.look() == [("high", "more than 3 paths: new ones are not watched")]
    assert scene.look() == []
    assert scene.watch.problems == ["more than 3 paths: new ones are not watched"]


def test_a_tree_deeper_than_calls_can_be_vanishes_whole(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.look()
    deep = [b"/".join([os.fsencode(scene.tree), *[b"d"] * depth]) for depth in range(1, 1500)]
    folder = Seen("folder", 0o755, 0, 0)
    scene.watch._baseline.note([(path, folder) for path in deep])
    told = scene.look()
    assert len(told) == len(deep)
    assert told[0] == ("low", f"path {scene.tree}/d removed")
    assert not scene.watch._baseline.names_in(deep[-2])


def test_a_root_with_more_folders_than_are_watched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_FOLDERS", 2)
    scene = Scene(tmp_path)
    (scene.tree / "sub/more").mkdir()
    scene.watch._places.find()
    assert scene.watch._places.cut == [os.fsencode(scene.tree)]
    monkeypatch.setattr(scene.watch, "_wait", lambda _notifier: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        scene.watch.run()
    assert ("high", f"more than 50,000 folders in {scene.tree}: the others are not watched") in scene.host.heard()


def test_any_name_can_be_told_and_noted(scene: Scene) -> None:
    folder = os.fsencode(scene.tree)
    for name in (b"\xff" * 255, b"a\nb", b"'$(x)", "\u202e".encode()):
        with open(folder + b"/" + name, "wb"):
            pass
    os.symlink(b"\xfe" * 4000, folder + b"/" + b"\xfd" * 255)  # noqa: PTH211 - bytes
    told = scene.look()
    assert len(told) == 5
    assert any("$'" in text for _, text in told)
    scene.start()
    assert scene.look() == []


def test_a_damaged_baseline_is_set_aside_and_told(scene: Scene) -> None:
    scene.watch._baseline._database.close()
    (scene.host.folder / FILE).write_bytes(b"no database" * 1000)
    for ending in ("-wal", "-shm"):
        (scene.host.folder / f"{FILE}{ending}").unlink(missing_ok=True)
    scene.start()
    assert "not a database" in scene.watch._baseline.damaged
    assert (scene.host.folder / f"{FILE}.damaged").exists()
    assert scene.look()[0][1].startswith("a baseline was taken of ")


def test_the_baseline_is_private_and_the_same_after_a_restart(tmp_path: Path) -> None:
    first = Baseline(tmp_path)
    seen = Seen("file", 0o644, 0, 0, (1, 2**62, 3, 4), "aa")
    first.note([(b"/a/b", seen), (b"/a/\xff", seen)])
    first.note([(b"/a/b", None), (b"/never", None)])
    first.take_roots([b"/a"])
    first._database.close()
    again = Baseline(tmp_path)
    assert (again.seen, again.roots, again.names_in(b"/a")) == ({b"/a/\xff": seen}, {b"/a"}, {b"\xff"})
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    with pytest.raises(sqlite3.Error):
        first.take_roots([])


@given(st.none() | SEEN, st.none() | SEEN)
def test_alerts_name_nothing_in_extra_privacy_mode_and_equal_things_are_no_news(
    before: Seen | None, now: Seen | None
) -> None:
    shown = alerts_of("/etc/secret", before, now, time_s=1.0, private=False)
    masked = alerts_of("/etc/secret", before, now, time_s=1.0, private=True)
    assert "secret" not in str(masked)
    assert [alert.severity for alert in shown] == [alert.severity for alert in masked]
    assert all("/etc/secret" in alert.alert for alert in shown)
    assert before != now or not shown
    assert all(alert_bytes(alert) for alert in [*shown, *masked])


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        ([], "modules.fswatch.paths: it is empty"),
        (["/etc", "etc"], "modules.fswatch.paths[1]: 'etc' is no absolute path"),
        (["recursive:"], "modules.fswatch.paths[0]: 'recursive:' is no absolute path"),
        (["/a\0b"], "modules.fswatch.paths[0]: this is no path"),
        (["/" + "x" * 4096], "modules.fswatch.paths[0]: this is no path"),
        ([f"/{n}" for n in range(MAX_PATHS + 1)], "modules.fswatch.paths: 257 paths; 256 at most"),
    ],
)
def test_paths_that_are_none_are_refused_by_name(paths: list[str], complaint: str) -> None:
    with pytest.raises(BadParameters) as caught:
        load_settings(MODULE, {"paths": paths})
    assert str(caught.value).startswith(complaint)


def test_paths_are_cleaned_and_each_is_there_once() -> None:
    roots = roots_of(Settings(paths=["/etc/", "//etc", "recursive:/etc/../var", "/etc"]))
    assert roots == [Root(b"/etc", recursive=False), Root(b"/var", recursive=True)]


def test_the_notifier_names_folders_and_is_spent_by_what_it_cannot_name(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    with Notifier([folder]) as notifier:
        assert notifier.wait(0.05) == set()
        (tmp_path / "file").write_text("")
        assert folder in (notifier.wait(10) or ())
        with open(folder + b"/\xff", "wb"):
            pass
        assert notifier.wait(10) is None
    with Notifier([folder, folder + b"/gone", folder + b"/\xff"]) as notifier:
        assert notifier.wait(0.05) in (None, set())


def test_a_folder_that_took_anothers_place_is_watched_anew(scene: Scene) -> None:
    sub, places = os.fsencode(scene.tree / "sub"), scene.watch._places
    assert not places.changed({sub, os.fsencode(scene.tree), b"/elsewhere"})
    (scene.tree / "sub").rename(scene.tree / "old")
    assert places.changed({sub})
    (scene.tree / "sub").mkdir()
    assert places.changed({sub})
    assert places.changed({os.fsencode(scene.tree / "old")})


def test_the_whole_loop_tells_of_a_new_folders_new_file(tmp_path: Path) -> None:
    scene = Scene(tmp_path)

    class Stopped(Exception):
        pass

    def stop() -> None:
        if any("deep/file" in alert.alert for alert in scene.host.alerts):
            raise Stopped

    scene.host.beat = stop  # type: ignore[method-assign]
    writer = threading.Thread(target=make_when_ready, args=(scene,))
    writer.start()
    with pytest.raises(Stopped):
        scene.watch.run()
    writer.join()


def make_when_ready(scene: Scene) -> None:
    while not scene.host.alerts:
        time.sleep(0.01)
    (scene.tree / "sub/deep").mkdir()
    while not any("deep" in alert.alert for alert in scene.host.alerts):
        time.sleep(0.01)
    (scene.tree / "sub/deep/file").write_text("x")


def test_it_answers_with_how_much_it_watches(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_watch", None)
    assert MODULE.answer(NoParameters()).elements == {"ok": False}
    monkeypatch.setattr(MODULE, "_watch", scene.watch)
    result = MODULE.answer(NoParameters())
    assert (result.elements, result.foundanything, result.errors) == ({"ok": True}, True, None)
    assert result.statistics == {"paths": 3, "folders": 3, "awaited": [], "alerts": 1, "running_s": 0}
