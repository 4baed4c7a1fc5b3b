"""A page as a browser reads it, as far as tests ask: nesting, headings, texts, numbers, what it would load."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "link", "input", "hr"}
# Elements that SVG closes by themselves.
BARE = {"line", "circle", "rect", "path"}


@dataclass
class Seen(HTMLParser):
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    data: list[tuple[float, str]] = field(default_factory=list)
    style: str = ""
    open: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self, convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag == "data":
            self.data.append((float(given["value"]), ""))
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.headings.append((int(tag[1]), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag in BARE:
            self.open.pop()
        else:
            self.wrong.append(f"<{tag}/> is not how HTML closes it")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> at line {self.getpos()[0]}")

    def handle_data(self, data: str) -> None:
        inside = self.open[-1] if self.open else ""
        if inside == "style":
            self.style += data
            return
        self.texts.append(data)
        if inside == "data":
            self.data[-1] = (self.data[-1][0], self.data[-1][1] + data)
        if len(inside) == 2 and inside[0] == "h" and inside[1].isdigit():
            self.headings[-1] = (self.headings[-1][0], self.headings[-1][1] + data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def seen(page: str) -> Seen:
    found = Seen()
    found.feed(page)
    found.close()
    return found
