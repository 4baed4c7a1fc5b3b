"""BBQ's published rows, and which of a row's answers is the one that the stereotype is about."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from core.audits.suites import records
from core.audits.suites.records import Published

Answers = tuple[str, str, str]
UNKNOWN = "unknown"
# As the authors' BBQ_results_metadata.R has them.
_SAME = dict.fromkeys(("man", "men", "boy", "boys"), "m") | dict.fromkeys(
    ("woman", "women", "girl", "girls"), "f"
)
# (category, example_id) -> the place of the target, None where the authors found none.
Targets = Mapping[tuple[str, int], int | None]


class AnswerInfo(Published):
    ans0: list[str] = Field(max_length=2)
    ans1: list[str] = Field(max_length=2)
    ans2: list[str] = Field(max_length=2)


class Metadata(Published):
    stereotyped_groups: list[str]


class BbqRow(Published):
    """One line of a category's JSONL, as published."""

    example_id: int = Field(description="give each row of a category a whole number of its own")
    question_index: str = Field(
        coerce_numbers_to_str=True, description="give the template's number"
    )
    question_polarity: Literal["neg", "nonneg"] = Field(description='write "neg" or "nonneg"')
    context_condition: Literal["ambig", "disambig"] = Field(
        description='write "ambig" or "disambig"'
    )
    category: str = Field(min_length=1, description='name the category, such as "Age"')
    answer_info: AnswerInfo = Field(
        description='give ans0, ans1 and ans2, each [name, group code], such as ["man", "M"]'
    )
    additional_metadata: Metadata = Field(
        description='give {"stereotyped_groups": [...]}, a list of group codes'
    )
    context: str = Field(min_length=1, description="give the passage that the question is about")
    question: str = Field(min_length=1, description="give the question")
    ans0: str = Field(min_length=1, description="give the first answer")
    ans1: str = Field(min_length=1, description="give the second answer")
    ans2: str = Field(min_length=1, description="give the third answer")
    label: Literal[0, 1, 2] = Field(description="give the place of the right answer: 0, 1 or 2")
    split: Literal["train", "held_out"] | None = Field(
        default=None, description='write "train" or "held_out", or leave it out'
    )

    @property
    def answers(self) -> Answers:
        return (self.ans0, self.ans1, self.ans2)

    @property
    def info(self) -> tuple[tuple[str, str], ...]:
        """(name, group code) of each answer; both empty where the file has nothing (a few published rows)."""
        pairs = (self.answer_info.ans0, self.answer_info.ans1, self.answer_info.ans2)
        return tuple((pair[0] if pair else "", pair[1] if len(pair) > 1 else "") for pair in pairs)

    @property
    def unknown(self) -> int | None:
        """The place of the one answer that stands for "cannot be told"."""
        places = [place for place, (_, code) in enumerate(self.info) if code.lower() == UNKNOWN]
        return places[0] if len(places) == 1 else None


def read(name: str, path: Path) -> Iterator[tuple[records.Place, BbqRow]]:
    seen: set[tuple[str, int]] = set()
    for place, row in records.of_jsonl(name, path, BbqRow):
        if row.unknown is None:
            raise place.wrong(
                "answer_info",
                'must give exactly one answer the code "unknown"',
                'mark the answer that stands for "cannot be told"',
            )
        key = (row.category, row.example_id)
        if key in seen:
            raise place.wrong(
                "example_id",
                f"{row.example_id} is there twice in {row.category!r}",
                "give each row of a category a number of its own",
            )
        seen.add(key)
        yield place, row


class TargetRow(Published):
    category: str
    example_id: int = Field(description="give the row's example_id, a whole number")
    target_loc: str = Field(description='give 0, 1 or 2, or "NA" where there is no target')


def read_targets(name: str, path: Path) -> Targets:
    """The authors' additional_metadata.csv. "Target" is the one whom the stereotype is about, in either polarity
    (nyu-mll/BBQ#11)."""
    targets: dict[tuple[str, int], int | None] = {}
    for place, row in records.of_csv(name, path, TargetRow):
        said = row.target_loc.strip().removesuffix(".0")
        if said not in ("0", "1", "2", "NA", "NaN", "x", ""):
            advice = 'give 0, 1 or 2, or "NA" where there is no target'
            raise place.wrong("target_loc", f"is {records.shown(row.target_loc)}", advice)
        targets[row.category, row.example_id] = int(said) if said.isdigit() else None
    return targets


def target(row: BbqRow, targets: Targets) -> int | None:
    """The answer that names the stereotyped group; None where no one answer alone does.

    The authors' own mapping where it is given. Else by group code, and by the answer's name only where no code fits
    (Nationality, whose codes are regions): "old" in the name "29 year old" would turn 816 of the 3,680 rows of Age
    around.
    """
    key = (row.category, row.example_id)
    if key in targets:
        return targets[key]
    groups = {_code(group) for group in row.additional_metadata.stereotyped_groups}
    people = [place for place in range(3) if place != row.unknown]
    for marks in (_code_marks, _name_marks):
        named = [place for place in people if marks(row, place) & groups]
        if named:
            return named[0] if len(named) == 1 else None
    return None


def _code_marks(row: BbqRow, place: int) -> set[str]:
    code = row.info[place][1]
    # A code of two groups ("F-Black") is about both at once; which of them the stereotype needs, only the authors'
    # file tells.
    return {_code(code)} if "_x_" in row.category else _codes(code)


def _name_marks(row: BbqRow, place: int) -> set[str]:
    name = row.info[place][0]
    return {_code(name)} | {_code(word) for word in name.replace("-", " ").split()}


def _codes(code: str) -> set[str]:
    """A code, and what is left of it without the gender that names carry ("F-Black": "Black")."""
    return {_code(code)} | ({_code(code[2:])} if code[:2] in ("M-", "F-") else set())


def _code(group: str) -> str:
    """A group's spelling in codes: "low SES" and "lowSES" are one, and so are "woman", "girl" and "F"."""
    plain = "".join(char for char in group.casefold() if char.isalnum())
    return "trans" if plain.startswith("trans") else _SAME.get(plain, plain)
