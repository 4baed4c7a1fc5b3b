"""Stop strings over a stream: however the text is cut into chunks, what leaves is the same."""

from hypothesis import given
from hypothesis import strategies as st

from workers.answering.stops import Stops
from workers.engine import Chunk

# Few letters, so that stop strings and their beginnings are met all the time.
LETTERS = "abc"
_STOPS = st.lists(st.text(LETTERS, min_size=1, max_size=4), max_size=3)
# One entry a token; "" is a token that is only half a character.
_TOKENS = st.lists(st.text(LETTERS, max_size=3), min_size=1, max_size=20)


def _chunks(tokens: list[str], sizes: list[int]) -> list[Chunk]:
    """The tokens in chunks of `sizes`, the rest one by one; token n has the id n."""
    out, at = [], 0
    for size in [*sizes, *([1] * len(tokens))]:
        part = tokens[at : at + size]
        if part:
            out.append(Chunk("".join(part), list(range(at, at + len(part)))))
        at += len(part)
    last = out[-1]
    return [*out[:-1], Chunk(last.text, last.tokens, "length")]


def _fed(stop: list[str], chunks: list[Chunk]) -> list[Chunk]:
    stops, out = Stops(stop), []
    for chunk in chunks:
        out += stops.feed(chunk)
        if out and out[-1].finish is not None:
            break
    return out


@given(stop=_STOPS, tokens=_TOKENS, sizes=st.lists(st.integers(1, 4), max_size=10))
def test_any_chunking_gives_the_whole_text_up_to_the_first_stop(
    stop: list[str], tokens: list[str], sizes: list[int]
) -> None:
    out = _fed(stop, _chunks(tokens, sizes))
    whole = "".join(tokens)
    met = [at for s in stop if (at := whole.find(s)) >= 0]
    said = "".join(c.text for c in out)
    # The first chunk that completes a stop string ends it: then the earliest one in sight is cut at.
    if met:
        assert out[-1].finish == "stop"
        assert whole.startswith(said)
        assert not any(s in said for s in stop)
        assert any(whole.startswith(s, len(said)) for s in stop)
    else:
        assert out[-1].finish == "length"
        assert said == whole
    assert [c.finish for c in out[:-1]] == [None] * (len(out) - 1)


@given(stop=_STOPS, tokens=_TOKENS, sizes=st.lists(st.integers(1, 4), max_size=10))
def test_text_and_tokens_leave_together(
    stop: list[str], tokens: list[str], sizes: list[int]
) -> None:
    out = _fed(stop, _chunks(tokens, sizes))
    ids = [token for chunk in out for token in chunk.tokens]
    assert ids == list(range(len(ids))), "in order, none lost, none twice"
    # What has left before the end is the text of exactly the tokens that left: an attempt can go on there.
    text, seen = "", 0
    for chunk in out[:-1]:
        text, seen = text + chunk.text, seen + len(chunk.tokens)
        assert text == "".join(tokens[:seen])
        assert chunk.text, "a chunk without text would be lost: it leaves with the next one"


@given(tokens=_TOKENS, sizes=st.lists(st.integers(1, 4), max_size=10))
def test_without_stops_nothing_is_held_back_but_half_characters(
    tokens: list[str], sizes: list[int]
) -> None:
    stops, given_, left = Stops([]), "", ""
    for chunk in _chunks(tokens, sizes):
        given_ += chunk.text
        left += "".join(c.text for c in stops.feed(chunk))
        if chunk.text:
            assert left == given_


@given(stop=_STOPS.filter(bool), tokens=_TOKENS)
def test_no_more_is_held_than_may_begin_a_stop(stop: list[str], tokens: list[str]) -> None:
    stops, given_, left = Stops(stop), "", ""
    for chunk in _chunks(tokens, []):
        given_ += chunk.text
        out = stops.feed(chunk)
        left += "".join(c.text for c in out)
        if out and out[-1].finish is not None:
            return
        held = given_.removeprefix(left)
        if chunk.text and held:
            # It is held since its end, at some token's length, begins a stop string.
            assert any(s.startswith(given_[-n:]) for s in stop for n in range(1, len(s)))


@given(stop=_STOPS, tokens=_TOKENS, sizes=st.lists(st.integers(1, 4), max_size=10))
def test_with_a_decoder_the_answer_and_its_tokens_do_not_depend_on_the_chunks(
    stop: list[str], tokens: list[str], sizes: list[int]
) -> None:
    def ended(sizes: list[int]) -> tuple[str, int, str | None]:
        stops = Stops(stop, lambda ids: "".join(tokens[one] for one in ids))
        out: list[Chunk] = []
        for chunk in _chunks(tokens, sizes):
            out += stops.feed(chunk)
            if out and out[-1].finish is not None:
                break
        return "".join(c.text for c in out), sum(len(c.tokens) for c in out), out[-1].finish

    assert ended(sizes) == ended([])


def test_a_text_that_the_decoder_tells_otherwise_leaves_whole() -> None:
    stops = Stops(["zz"], lambda _: "something else")
    assert stops.feed(Chunk(" a b", [1, 2])) == [Chunk(" a b", [1, 2])]
