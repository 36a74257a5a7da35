"""What a slow reader gets: the newest."""

from media_manager.domain.backlog import Backlog


def test_what_fits_is_kept_in_order() -> None:
    backlog = Backlog(3)
    assert backlog.put([b"1", b"2"]) == 0
    assert backlog.put([b"3"]) == 0
    assert backlog.take() == [b"1", b"2", b"3"]
    assert backlog.take() == []


def test_the_oldest_goes_and_is_counted() -> None:
    backlog = Backlog(3)
    backlog.put([b"1", b"2"])
    assert backlog.put([b"3", b"4"]) == 1
    assert backlog.put([b"5", b"6", b"7", b"8"]) == 4
    assert backlog.take() == [b"6", b"7", b"8"]
