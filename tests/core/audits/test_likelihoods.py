"""Which tokens are scored, held against lm-eval's own functions on our tokenizer."""

import pytest

from core.audits.asking import Rolling
from core.audits.likelihoods import Told, bytes_scored, fitted, pieces, prefix, summed, windows
from core.catalog import tokenizer
from core.catalog.tokenizer import Text
from core.config import MODEL_FOLDER
from core.errors import InvalidInput

lm_eval_model = pytest.importorskip("lm_eval.api.model", reason="the extra audits is not installed")
lm_eval_utils = pytest.importorskip("lm_eval.utils", reason="the extra audits is not installed")

LONG = "The ferry left the quay a little after six. Two farmers sat on the bench by the rail."


@pytest.fixture(scope="module")
def text() -> Text:
    return tokenizer.load(str(MODEL_FOLDER))


class Theirs(lm_eval_model.TemplateLM):  # type: ignore[name-defined,misc]
    """lm-eval's own way to cut, over our tokenizer; what it would score is kept."""

    backend = "causal"

    def __init__(self, text: Text) -> None:
        super().__init__()
        self.text = text
        self.asked: list[tuple[list[int], list[int]]] = []

    @property
    def eot_token_id(self) -> int:
        return prefix(self.text)

    def tok_encode(self, string: str, add_special_tokens: bool = True, **_: object) -> list[int]:
        return self.text.encode(string, special=add_special_tokens)

    def _loglikelihood_tokens(self, requests: object, **_: object) -> list[tuple[float, bool]]:
        self.asked = [(given, scored) for _, given, scored in requests]  # type: ignore[attr-defined]
        return [(0.0, True)] * len(self.asked)

    def loglikelihood_rolling(self, *_: object, **__: object) -> list[float]:
        raise NotImplementedError

    def generate_until(self, *_: object, **__: object) -> list[str]:
        raise NotImplementedError


class Asked:
    def __init__(self, *args: str) -> None:
        self.args = args


@pytest.mark.parametrize(
    ("context", "continuation"),
    [
        ("The nurse said that", " she"), ("The nurse said that ", "he"), ("", "A whole sentence."),
        ("Question: why?\nAnswer:", " because of the river"), ("half a wor", "ld of ours"), ("Ends in\n", "a line"),
    ],
)  # fmt: skip
def test_continuations_are_cut_as_lm_eval_cuts_them(
    text: Text, context: str, continuation: str
) -> None:
    theirs = Theirs(text)
    theirs.loglikelihood([Asked(context, continuation)], disable_tqdm=True)
    assert tuple(pieces(text, context, continuation)) == theirs.asked[0]


@pytest.mark.parametrize("window", [3, 7, 1000])
def test_disjoint_windows_are_lm_eval_s(text: Text, window: int) -> None:
    ids = text.encode(LONG, special=False)
    rolling = lm_eval_utils.get_rolling_token_windows(ids, prefix(text), window, 1)
    wanted = [lm_eval_utils.make_disjoint_window(one) for one in rolling]
    found = windows(text, Rolling(LONG, window=window, reading="disjoint"), 2048)
    assert [(given, scored) for given, scored in found] == [tuple(map(list, one)) for one in wanted]


@pytest.mark.parametrize(("window", "stride"), [(8, 3), (8, 8), (0, 0), (5, 2)])
def test_strided_windows_score_each_token_once_with_what_is_before_it(
    text: Text, window: int, stride: int
) -> None:
    ids = text.encode(LONG)
    seen: list[int] = []
    for given, scored in windows(text, Rolling(LONG, window=window, stride=stride), 2048):
        assert given == ids[1 + len(seen) - len(given) : 1 + len(seen)]
        assert len(given) + len(scored) <= (window or 2047)
        seen += scored
    assert seen == ids[1:]
    assert bytes_scored(text, Rolling(LONG)) == len(LONG.encode())


def test_what_is_scored_is_never_cut(text: Text) -> None:
    whole = pieces(text, LONG, " and the end")
    cut = fitted(whole, 10)
    assert cut.scored == whole.scored
    assert cut.given == whole.given[-(9 - len(cut.scored)) :]
    with pytest.raises(InvalidInput, match="the model reads 3"):
        fitted(whole, 4)
    with pytest.raises(InvalidInput, match="empty"):
        pieces(text, "The", "")
    with pytest.raises(InvalidInput, match="no token of its own"):
        pieces(text, "half a wo", "rd")


def test_likelihoods_add_up() -> None:
    told = [Told(-1.0, True), Told(-0.5, False)]
    assert summed(told, 9) == summed(told[::-1], 9)
    assert (summed(told, 9).logprob, summed(told, 9).tokens, summed(told, 9).greedy) == (
        -1.5,
        2,
        False,
    )
