"""The tail of a job's live events, as readers at different numbers take from it."""

from api.streams import TAIL, Topic
from core.events.types import SNAPSHOT, Event


def event(seq: int, kind: str = "output.delta") -> Event:
    return Event(seq, kind, b"{}")


def numbers(topic: Topic, cursor: int) -> list[int] | None:
    found = topic.after(cursor)
    return None if found is None else [one.seq for one in found]


def test_readers_take_what_follows_their_own_number() -> None:
    topic = Topic()
    topic.tip = 20
    topic.add([event(21), event(22), event(23)])
    assert [numbers(topic, n) for n in (20, 21, 22, 23)] == [[21, 22, 23], [22, 23], [23], []]
    assert numbers(topic, 19) is None


def test_nobody_reads_across_the_gap_that_a_reader_ahead_made() -> None:
    topic = Topic()
    topic.tip = 25
    topic.add([event(26), event(27)])
    topic.tip = 33
    topic.add([event(34)])
    assert numbers(topic, 25) == [26, 27]
    assert numbers(topic, 27) is None
    assert numbers(topic, 30) is None
    assert numbers(topic, 33) == [34]


def test_a_snapshot_is_for_everyone_it_stands_for() -> None:
    topic = Topic()
    topic.tip = 10
    topic.add([event(11), event(4100, SNAPSHOT), event(4101)])
    assert numbers(topic, 10) == [11, 4100, 4101]
    assert numbers(topic, 500) == [4100, 4101]
    assert numbers(topic, 4100) == [4101]


def test_what_was_said_already_is_not_said_again() -> None:
    topic = Topic()
    topic.add([event(1), event(2), event(2), event(1), event(3)])
    assert numbers(topic, 0) == [1, 2, 3]


def test_a_reader_behind_the_tail_must_read_elsewhere() -> None:
    topic = Topic()
    topic.add([event(n) for n in range(1, TAIL + 10)])
    assert numbers(topic, 5) is None
    assert numbers(topic, TAIL) == list(range(TAIL + 1, TAIL + 10))
