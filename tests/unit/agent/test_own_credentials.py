"""An agent's user key: made once, its own, and never its identity."""

import shutil
import stat

import pytest

from investigator.agent.own_credentials import USER_KEY_FILE, load_or_make_user_key, own_credentials
from investigator.broker import nkeys
from investigator.errors import DeploymentError

ID = "a" * 26


def test_the_key_is_made_once_and_nobody_else_reads_it(tmp_path):
    made = load_or_make_user_key(tmp_path, agent=ID)
    assert load_or_make_user_key(tmp_path, agent=ID) == made
    assert stat.S_IMODE((tmp_path / USER_KEY_FILE).stat().st_mode) == 0o600


def test_a_key_that_others_can_read_is_not_used(tmp_path):
    load_or_make_user_key(tmp_path, agent=ID)
    (tmp_path / USER_KEY_FILE).chmod(0o640)
    with pytest.raises(DeploymentError, match="others than its owner can read it"):
        load_or_make_user_key(tmp_path, agent=ID)


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", bytes(9000), nkeys.encode_seed(nkeys.Kind.ACCOUNT, bytes(32)).encode()]
)
def test_a_file_that_holds_no_users_key_is_one_line(tmp_path, content):
    path = tmp_path / USER_KEY_FILE
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(DeploymentError, match=rf"^{path}: .+"):
        load_or_make_user_key(tmp_path, agent=ID)


def test_where_the_deployments_keys_are_they_make_its_token(tmp_path, broker_folder):
    first, second = (own_credentials(tmp_path, broker_folder, agent=ID) for _ in range(2))
    assert (first.name, first.public_key) == (ID, second.public_key)
    assert first.jwt
    assert own_credentials(None, broker_folder, agent=ID).public_key != first.public_key


def test_where_they_are_not_it_says_so(tmp_path, broker_folder):
    shutil.rmtree(broker_folder / "keys")
    with pytest.raises(DeploymentError, match="no keys to make some with"):
        own_credentials(tmp_path, broker_folder, agent=ID)
