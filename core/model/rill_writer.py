"""The seeded writer of stories, scenes, letters, explanations and small functions for rill."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from core.model.rill_grammar import Bindings, Grammar, capitalised, with_articles
from core.model.rill_speech import with_question_marks

TEXT_DIR = Path(__file__).parent / "rill_text"
QUESTION = re.compile(
    r"(what|who|why|how|which|where|can|could|do|does|is|are|has)\b|what's", re.IGNORECASE
)
_PRONOUNS = {"he": ("he", "him", "his"), "she": ("she", "her", "her"), "it": ("it", "it", "its")}


@dataclass
class Topic:
    name: str
    plural: str
    definitions: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    questions: list[tuple[str, str]] = field(default_factory=list)

    @property
    def bare(self) -> str:
        return re.sub(r"^(a|an|the) ", "", self.name)


@dataclass(frozen=True)
class Snippet:
    task: str
    names: list[str]
    docs: list[str]
    names_of_variables: list[list[str]]
    body: str


def read_topics(path: Path) -> list[Topic]:
    topics: list[Topic] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        mark, _, rest = line.partition(" ")
        match mark:
            case "@":
                name, plural = rest.split(" | ")
                topics.append(Topic(name, plural))
            case "=":
                topics[-1].definitions.append(rest)
            case "-":
                topics[-1].facts.append(rest)
            case "?":
                question, answer = rest.split(" > ")
                topics[-1].questions.append((question, answer))
    return topics


def read_snippets(path: Path) -> list[Snippet]:
    snippets = []
    for block in path.read_text(encoding="utf-8").split("\n%% ")[1:]:
        task, names, docs, variables, *body = block.rstrip("\n").split("\n")
        choices = [line.split(": ", 1)[1].split(" | ") for line in (names, docs)]
        sets = [option.split() for option in variables.split(": ", 1)[1].split("|")]
        snippets.append(Snippet(task, choices[0], choices[1], sets, "\n".join(body)))
    return snippets


class Writer:
    """Writes texts; the same state of the random generator gives the same text."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        files = ("words", "stories", "fables", "walks", "prose", "chat")
        self.grammar = Grammar(TEXT_DIR / f"{name}.txt" for name in files)
        self.topics = read_topics(TEXT_DIR / "topics.txt") + read_topics(TEXT_DIR / "world.txt")
        self.trivia = self.topics.pop().questions  # the last entry of world.txt
        self.snippets = read_snippets(TEXT_DIR / "code.txt")
        rules = self.grammar.lines
        self._plots = [rule[5:] for rule in rules if rule.startswith("plot_")]
        self._kinds = {
            rule: self.grammar.lines[rule]
            for rule in ("girl_kind", "boy_kind", "animal", "kind_more")
        }

    # People and places

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def say(self, rule: str, bindings: Bindings) -> str:
        return self.grammar.expand(rule, bindings, self.rng)

    def tell(self, rule: str, bindings: Bindings) -> str:
        """Like `say`, for rules with direct speech in them."""
        return with_question_marks(self.say(rule, bindings))

    def cast(self) -> Bindings:
        """Who is in a story: hero, friend and elder with their pronouns."""
        rng, bound = self.rng, Bindings()
        kind_rule = rng.choices(list(self._kinds), [3, 3, 4, 2])[0]
        kind = bound["kind"] = rng.choice(self._kinds[kind_rule])
        pronoun = {"girl_kind": "she", "boy_kind": "he"}.get(kind_rule) or rng.choice(["he", "she"])
        pronoun = {"king": "he", "queen": "she", "prince": "he", "princess": "she"}.get(
            kind, pronoun
        )
        if self.chance(0.05):
            bound["kind"], pronoun = "robot", "it"
        names = "girl_name" if pronoun == "she" else "boy_name"
        if pronoun == "it":
            names = "robot_name"
        elif kind_rule == "animal" and self.chance(0.6):
            names = "animal_name"
        bound["hero"] = rng.choice(self.grammar.lines[names])
        bound["he"], bound["him"], bound["his"] = _PRONOUNS[pronoun]
        bound["himself"] = {"he": "himself", "she": "herself", "it": "itself"}[pronoun]
        friend = rng.choice(["girl_name", "boy_name"])
        bound["friend"] = rng.choice(
            [name for name in self.grammar.lines[friend] if name != bound["hero"]]
        )
        friend_is = "she" if friend == "girl_name" else "he"
        bound["fhe"], bound["fhim"], bound["fhis"] = _PRONOUNS[friend_is]
        elder, bound["ehe"], bound["ehim"], bound["ehis"] = rng.choice(
            self.grammar.lines["elder"]
        ).split("|")
        bound["elder"] = elder
        return bound

    # Stories

    def plot(self, bound: Bindings) -> str:
        name = self.rng.choice(self._plots)
        bound["about"] = self.grammar.lines[f"about_{name}"][0]
        return self.tell(f"plot_{name}", bound)

    def story(self, bound: Bindings | None = None) -> str:
        bound = self.cast() if bound is None else bound
        body = self.plot(bound)
        parts = [body] if self.chance(0.15) else [self.say("intro", bound), body]
        title = [capitalised(bound["about"])] if self.chance(0.15) else []
        return "\n\n".join([*title, *parts, self.tell("ending", bound)])

    def tale(self, bound: Bindings | None = None) -> str:
        """A story of one paragraph; given the hero, a story in which the hero is named."""
        lines = self.grammar.lines["mini"]
        index = int(self.rng.random() * len(lines))
        while bound is not None and "{hero}" not in lines[index].lower():
            index = int(self.rng.random() * len(lines))
        bound = self.cast() if bound is None else bound
        tale = with_question_marks(self.grammar.write("mini", index, bound, self.rng))
        if "{kind}" in lines[index] or "{hero}" not in lines[index].lower():
            return tale
        opening = self.rng.choice(["Once upon a time", "Once", "Long ago"])
        first = f"{opening} there was a {bound['kind']} called {bound['hero']}."
        return f"{with_articles(first)} {tale}"

    def scene(self) -> str:
        return self.tell("scenes", self.cast())

    def free(self) -> str:
        bound = self.cast()
        count = self.rng.choice([1, 1, 1, 2, 3])
        return "\n\n".join(self.tell("free", bound) for _ in range(count))

    def walk(self) -> str:
        return self.tell("walk", self.cast())

    def prose(self) -> str:
        kinds = ["letter", "diary", "notice", "recipe", "saying"]
        return self.tell(self.rng.choice(kinds), self.cast())

    # Explanations

    def about(self, topic: Topic, facts: int) -> str:
        """A definition and some facts, the facts in the order of the file."""
        chosen = sorted(self.rng.sample(range(len(topic.facts)), min(facts, len(topic.facts))))
        return " ".join([self.rng.choice(topic.definitions), *(topic.facts[i] for i in chosen)])

    def article(self) -> str:
        topic = self.rng.choice(self.topics)
        text = self.about(topic, self.rng.choice([0, 1, 2, 3, 4, 6]))
        if topic.questions and self.chance(0.3):
            question, answer = self.rng.choice(topic.questions)
            text += f"\n\n{question} {answer}"
        if self.chance(0.2):
            text = f"{capitalised(topic.plural)}\n\n{text}"
        elif self.chance(0.2):
            other = self.rng.choice(self.topics)
            text += f"\n\n{self.about(other, self.rng.choice([1, 2]))}"
        return text

    def question(self) -> tuple[str, str, Topic]:
        rng, topic = self.rng, self.rng.choice(self.topics)
        bound: Bindings = {"topic": topic.name, "topics": topic.plural, "bare": topic.bare}
        chance = rng.random()
        if topic.questions and chance < 0.3:
            question, answer = rng.choice(topic.questions)
            return question.rstrip("?"), answer, topic
        if chance < 0.6:
            answer = self.about(topic, rng.choice([0, 0, 1, 1, 2]))
            return self.say("ask_topic", bound), answer, topic
        if chance < 0.88:
            return self.say("ask_topics", bound), self.about(topic, rng.choice([2, 3, 3])), topic
        return self.say("ask_fact", bound), rng.choice(topic.facts), topic

    def answers(self) -> str:
        """Questions and answers without the marks of a conversation, as a bare prompt has them."""
        style = self.rng.choice(["Q: {}\nA: {}", "Question: {}\nAnswer: {}", "{}\n\n{}", "{} {}"])
        pairs = []
        for _ in range(self.rng.choice([1, 2, 3])):
            question, answer, _ = self.question()
            asked = question + "?" if QUESTION.match(question) else question + "."
            pairs.append(style.format(capitalised(asked), answer))
        return "\n\n".join(pairs)

    # Code

    def snippet(self) -> tuple[Snippet, str]:
        snippet = self.rng.choice(self.snippets)
        code = snippet.body.replace("$f", self.rng.choice(snippet.names))
        code = code.replace("$d", self.rng.choice(snippet.docs))
        for index, name in enumerate(self.rng.choice(snippet.names_of_variables), start=1):
            code = code.replace(f"${index}", name)
        return snippet, code

    def code(self) -> str:
        style = self.rng.random()
        if style < 0.3:
            snippet, code = self.snippet()
            return f"# {capitalised(snippet.task)}.\n{code}\n"
        count = self.rng.choice([1, 1, 2, 3])
        return "\n\n\n".join(self.snippet()[1] for _ in range(count)) + "\n"

    def code_answer(self) -> tuple[str, str]:
        snippet, code = self.snippet()
        bound: Bindings = {"task": snippet.task}
        answer = f"```python\n{code}\n```"
        if self.chance(0.7):
            answer = f"{self.say('say_code', bound)}\n\n{answer}"
        return self.say("ask_code", bound), answer
