"""The author of rill's documents: everything a writer writes, and conversations about it."""

import re
from collections.abc import Callable
from random import Random

from core.model.rill_grammar import Bindings, capitalised, with_articles
from core.model.rill_writer import QUESTION, Writer

BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"
# How often each kind of document is written; the conversations are short, so they count more.
MIX: dict[str, float] = {
    "story": 30, "tale": 8, "scene": 7, "walk": 26, "free": 5, "prose": 8, "article": 8, "answers": 5,
    "code": 8, "chat": 45,
}  # fmt: skip


class Author(Writer):
    """A writer who also converses, and who chooses what to write next."""

    def __init__(self, rng: Random) -> None:
        super().__init__(rng)
        self.small_talk = [
            name.removeprefix("ask.")
            for name in self.grammar.lines
            if name.startswith("ask.") and name not in {"ask.recall", "ask.name", "ask.hero"}
        ]
        # What has many answers is practised more often than what has one.
        self.small_talk += 6 * ["unknown"] + 2 * ["capital", "sentiment", "repeat", "who", "hello"]

    def document(self) -> tuple[str, str]:
        """One document: its kind and its text, from the first mark to the last."""
        kind = self.rng.choices(list(MIX), list(MIX.values()))[0]
        if kind == "chat":
            return kind, BOS + self.chat() + EOS
        write: dict[str, Callable[[], str]] = {
            "story": self.story, "tale": self.tale, "scene": self.scene, "walk": self.walk,
            "free": self.free,
            "prose": self.prose, "article": self.article, "answers": self.answers,
            "code": self.code,
        }  # fmt: skip
        return kind, BOS + write[kind]() + EOS

    def chat(self) -> str:
        from_system = self.chance(0.25)
        text = SYSTEM + self.say("system", {}) if from_system else ""
        turns: list[tuple[str, str]] = []
        name = ""
        for _ in range(self.rng.choice([1, 1, 1, 2, 2, 3, 4])):
            if name and self.chance(0.4):
                turns.append((self.say("ask.recall", {}), self.say("say.recall", {"x": name})))
            elif not turns and self.chance(0.08):
                bound = Bindings()
                turns.append((self.say("ask.name", bound), self.say("say.name", bound)))
                name = bound["x"]
            else:
                turns += self.exchange()
        return text + EOS.join(f"{USER}{self.typed(q)}{ASSISTANT}{a}" for q, a in turns)

    def typed(self, text: str) -> str:
        """What a user types: mostly with a mark at its end, sometimes without, or all small."""
        if not re.search(r'[?!."=:]$|\d$', text):
            if QUESTION.match(text) or ", can you" in text:
                text += "?" if self.chance(0.85) else ""
            else:
                text += self.rng.choice([".", "", "", "!"] if len(text) < 12 else [".", "."])
        return text.lower() if self.chance(0.08) and len(text) < 60 else capitalised(text)

    def exchange(self) -> list[tuple[str, str]]:
        draw = self.rng.random()
        if draw < 0.25:
            return self.explained()
        if draw < 0.47:
            return self.told()
        if draw < 0.56:
            return [self.code_answer()]
        if draw < 0.66:
            return [self.sum_or_count()]
        if draw < 0.73:
            question, answer = self.rng.choice(self.trivia)
            return [(question.rstrip("?"), answer)]
        return [self.talk(self.rng.choice(self.small_talk))]

    def talk(self, name: str) -> tuple[str, str]:
        bound = self.cast()
        bound["n"] = str(self.rng.randint(6, 90))
        bound["mood"] = self.rng.choice(["positive", "negative"])
        review = "review_good" if bound["mood"] == "positive" else "review_bad"
        bound["review"] = self.say(review, bound)
        bound["rep"] = self.say("free_s", bound)
        if name == "sentiment" and self.chance(0.3):
            bound["mood"] = capitalised(bound["mood"])
        if name == "unknown":
            del bound["n"]
            if self.chance(0.4):
                bound["u"] = self.nonsense()
        question = self.say(f"ask.{name}", bound)
        return question, self.say(f"say.{name}", bound)

    def nonsense(self) -> str:
        """A word that does not exist, so that the model learns to say that it does not know."""
        syllables = (
            self.rng.choice(
                [
                    "b",
                    "c",
                    "d",
                    "f",
                    "g",
                    "h",
                    "k",
                    "l",
                    "m",
                    "n",
                    "p",
                    "r",
                    "s",
                    "t",
                    "v",
                    "w",
                    "z",
                ]
            )
            + self.rng.choice(["a", "e", "i", "o", "u"])
            + self.rng.choice(["", "n", "r", "l", "s", "m", "x", "ck"])
            for _ in range(self.rng.choice([2, 2, 3]))
        )
        word = "".join(syllables)
        return self.rng.choice([f"a {word}", f"the {word}", word, capitalised(word)])

    def explained(self) -> list[tuple[str, str]]:
        question, answer, topic = self.question()
        turns = [(question, answer)]
        rest = [fact for fact in topic.facts if fact not in answer]
        if rest and self.chance(0.25):
            more = " ".join(rest[: self.rng.choice([1, 2])])
            turns.append((self.say("ask_more", {}), more))
        return turns

    def told_in_full(self, bound: Bindings) -> str:
        return self.say("intro", bound) + "\n\n" + self.plot(bound)

    def told(self) -> list[tuple[str, str]]:
        bound = self.cast()
        draw = self.rng.random()
        if draw < 0.2:
            turns = [(self.say("ask_story", bound), self.tale(bound))]
        elif draw < 0.6:
            answer = self.tale(bound) if self.chance(0.6) else self.told_in_full(bound)
            turns = [(with_articles(self.say("ask_story_hero", bound)), answer)]
        elif draw < 0.8:
            answer = self.story(bound)
            turns = [(self.say("ask_story_plot", bound), answer)]
        elif draw < 0.9:
            first, _, rest = self.story(bound).partition("\n\n")
            return [(self.say("ask_continue", bound) + first, rest)]
        else:
            story = self.told_in_full(bound)
            return [(self.say("ask_read", bound) + story, self.say("say_read", bound))]
        if self.chance(0.2):
            turns.append((self.say("ask.hero", bound), self.say("say.hero", bound)))
        elif self.chance(0.15):
            turns.append((self.say("ask_again", bound), self.tale()))
        return turns

    def sum_or_count(self) -> tuple[str, str]:
        rng = self.rng
        if self.chance(0.2):
            first = rng.choice([1, 1, 1, rng.randint(2, 20)])
            last = first + rng.randint(2, 12)
            question = f"Count from {first} to {last}"
            return question, " ".join(str(n) for n in range(first, last + 1))
        limit = rng.choice([10, 10, 20, 20, 50])
        a, b = rng.randint(0, limit), rng.randint(0, limit)
        match rng.choice(["plus", "plus", "minus", "times"]):
            case "plus":
                word, sign, value = "plus", "+", a + b
            case "minus":
                a, b = max(a, b), min(a, b)
                word, sign, value = "minus", "-", a - b
            case _:
                a, b = a % 11, b % 11
                word, sign, value = "times", "*", a * b
        spoken, written = f"{a} {word} {b}", f"{a} {sign} {b}"
        ask = [f"What is {spoken}", f"How much is {spoken}", f"What is {written}"]
        ask += [written, f"Calculate {written}", f"{written} ="]
        reply = [f"{spoken} is {value}.", f"{written} = {value}", f"The answer is {value}."]
        return rng.choice(ask), rng.choice(reply)
