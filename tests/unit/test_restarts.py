from producer.restarts import ALARMING, DELAY_LIMIT_SECONDS, REMEMBERED_SECONDS, Restarts


def test_the_first_start_is_at_once_and_each_end_doubles_the_wait() -> None:
    restarts = Restarts()
    assert restarts.may_start(0.0)
    restarts.ended(10.0)
    assert not restarts.may_start(10.05)
    assert restarts.may_start(10.11)
    restarts.ended(10.2)
    assert not restarts.may_start(10.35)
    assert restarts.may_start(10.41)


def test_it_is_tried_again_within_seconds_however_often_it_ended() -> None:
    restarts = Restarts()
    for number in range(50):
        restarts.ended(float(number))
    assert restarts.may_start(49.0 + DELAY_LIMIT_SECONDS)


def test_one_end_is_no_alarm_several_are_until_they_are_long_past() -> None:
    restarts = Restarts()
    for number in range(ALARMING):
        assert not restarts.is_alarming(float(number))
        restarts.ended(float(number))
    assert restarts.is_alarming(5.0)
    assert not restarts.is_alarming(REMEMBERED_SECONDS + 1.0)
