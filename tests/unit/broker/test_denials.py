"""What the server does not allow is told once, to the one who tried it."""

from __future__ import annotations

from investigator.broker.denials import MAX_DENIED, Denials


def test_a_denied_subscription_is_told_once_whatever_its_case():
    denials = Denials()
    denials.heard("subscription", "mig.result.x.>")
    assert not denials.take_subscription("mig.result.y.>")
    assert denials.take_subscription("mig.result.X.>")
    assert not denials.take_subscription("mig.result.X.>")


def test_denied_publishes_are_told_one_after_the_other_and_are_no_subscriptions():
    denials = Denials()
    denials.heard("publish", "mig.hb.b")
    denials.heard("publish", "mig.hb.a")
    assert not denials.take_subscription("mig.hb.b")
    assert [denials.take_publish() for _ in range(3)] == ["mig.hb.b", "mig.hb.a", None]


def test_what_is_tried_again_is_told_again_but_logged_once(caplog):
    denials = Denials()
    for _ in range(3):
        denials.heard("publish", "mig.hb.a")
        assert denials.take_publish() == "mig.hb.a"
    assert caplog.messages == ["the broker does not allow the publish of mig.hb.a"]


def test_a_server_that_denies_everything_fills_neither_memory_nor_log(caplog):
    denials = Denials()
    for number in range(3 * MAX_DENIED):
        denials.heard("publish", f"x.{number}")
    assert len(caplog.messages) == MAX_DENIED
    told = [denials.take_publish() for _ in range(MAX_DENIED + 1)]
    assert told == [*(f"x.{number}" for number in range(MAX_DENIED)), None]
