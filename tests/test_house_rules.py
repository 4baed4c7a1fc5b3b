"""The rules of the house, as far as a program can read them: sizes, seams, comments, links."""

import ast
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_FILE, MAX_FUNCTION, MEDIAN_FILE = 400, 50, 150
ROOMS = ("api", "core", "workers", "infra", "migrations")

# An import inside a function hides a dependency; each one that must be is named here with its reason.
LATE_IMPORTS: dict[str, str] = {}
# Tests wait by asking again, in these alone; what a fake engine or receiver sleeps is its behaviour.
MAY_SLEEP = {
    "tests/waiting.py",
    "tests/reader.py",
    "tests/faults/load.py",
    "tests/fakes/engine.py",
    "tests/fakes/embedder.py",
    "tests/fakes/receiver.py",
    "tests/fakes/rank.py",
    "tests/fakes/trainer.py",
}
# Words that belong to a machine this was written on, not to the project; Kafka's image has its own /opt.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|home/\w+|Users/\w+|opt/(?!kafka)\w+)/")


@cache
def tracked() -> list[Path]:
    """Every file of the repository: tracked, or new and not ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def modules() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def comments(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """The dotted name of every call, and its line."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_no_file_is_too_long() -> None:
    long = {name(p): lines(p) for p in modules() if lines(p) > MAX_FILE}
    assert not long, f"split by noun: {long}"
    ours = sorted(lines(p) for p in modules() if name(p).startswith(ROOMS))
    assert ours[len(ours) // 2] <= MEDIAN_FILE


def test_no_function_is_too_long() -> None:
    long = [
        f"{name(path)}:{node.lineno} {node.name}: {length} lines"
        for path in modules()
        # A migration is a list of statements; a Typer command's parameters are its --help page.
        if not name(path).startswith("migrations/")
        for node in functions(path)
        if (length := (node.end_lineno or 0) - _body(node) + 1) >= MAX_FUNCTION
    ]
    assert not long, "\n".join(long)


def _body(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return node.body[0].lineno if _is_command(node) else node.lineno


def _is_command(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(one).endswith(".command()") for one in node.decorator_list)


def test_every_module_says_what_it_is_for() -> None:
    silent = [name(p) for p in modules() if not ast.get_docstring(tree(p))]
    assert not silent, silent
    # One sentence first; what follows it stands in its own paragraph.
    for path in modules():
        first = (ast.get_docstring(tree(path)) or "").split("\n\n")[0]
        assert first.rstrip().endswith((".", ":", "?", "`", "}")), name(path)


def test_no_docstring_repeats_the_name() -> None:
    def plain(text: str) -> str:
        return re.sub(r"[^a-z]", "", text.lower())

    for path in modules():
        for node in functions(path):
            said = ast.get_docstring(node)
            assert said is None or plain(said) != plain(node.name), f"{name(path)} {node.name}"


def test_nothing_is_imported_inside_a_function() -> None:
    late = {
        f"{name(path)}:{node.name}"
        for path in modules()
        for node in functions(path)
        if any(isinstance(inner, ast.Import | ast.ImportFrom) for inner in ast.walk(node))
    }
    assert late == set(LATE_IMPORTS), "importlib by a setting's name is the composition root's way"


def test_only_one_module_commits() -> None:
    commits = {name(path) for path in modules() for _, call in calls(path) if "commit" in call}
    # Kafka offsets are committed in core/events/bus.py and by those who consume: not a transaction.
    database = {
        name(path)
        for path in modules()
        for _, call in calls(path)
        if re.search(r"(session|connection|conn|db)\.commit$", call)
    }
    assert not database, database
    begins = {
        name(path)
        for path in modules()
        for _, call in calls(path)
        if call in ("session.begin", "AsyncSession") and name(path).startswith(ROOMS)
    }
    assert begins == {"core/db/session.py"}
    assert commits, "the rule looks at something"


def test_seams_have_fakes_and_nothing_is_patched() -> None:
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names]
                assert not any("mock" in (one or "").split(".") for one in names), name(path)


def test_tests_wait_for_conditions_not_for_the_clock() -> None:
    sleeping = {
        f"{name(path)}:{line}"
        for path in modules()
        if name(path).startswith("tests/") and name(path) not in MAY_SLEEP
        for line, call in calls(path)
        if call in ("time.sleep", "asyncio.sleep", "sleep")
        # How long a fault lasts, or its random moment, is the test itself: a comment says so.
        and not (name(path).startswith("tests/faults/") and "#" in _around(path, line))
    }
    assert not sleeping, f"use tests/waiting.py: {sorted(sleeping)}"


def _around(path: Path, number: int) -> str:
    """A line and the one above it."""
    return "\n".join(path.read_text().splitlines()[number - 2 : number])


def test_every_exception_from_a_rule_is_explained() -> None:
    bare = []
    for path in modules():
        text = path.read_text().splitlines()
        for line, comment in comments(path):
            noqa = re.search(r"noqa(:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*)?(.*)", comment)
            if noqa and (noqa[1] is None or len(noqa[3].strip(" -")) < 8):
                bare.append(f"{name(path)}:{line} noqa without a reason")
            if re.search(r"type:\s*ignore(?!\[)", comment):
                bare.append(f"{name(path)}:{line} type: ignore without a code")
            if re.search(r"fmt: off", comment):
                bare.append(f"{name(path)}:{line} {text[line - 1].strip()}")
    assert not bare, "\n".join(bare)


def test_every_ignored_rule_in_the_configuration_is_explained() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    ignores = pyproject.partition("\nignore = [")[2].partition("\n]")[0]
    for line in filter(None, map(str.strip, ignores.splitlines())):
        assert "#" in line, line


def test_the_repository_speaks_of_no_machine() -> None:
    found = []
    for path in tracked():
        if path.suffix in (".safetensors", ".png", ".lock") or path == Path(__file__):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{name(path)}: {hit[0]}" for hit in MACHINE_PATH.finditer(text)]
    assert not found, "\n".join(found)


def test_no_room_is_named_after_nothing() -> None:
    empty_words = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert not {name(p) for p in tracked() if set(p.relative_to(ROOT).parts) & empty_words}
    assert not {name(p) for p in modules() if p.stem in empty_words}


@pytest.mark.parametrize(
    "page", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"]
)
def test_the_front_pages_are_there(page: str) -> None:
    assert (ROOT / page).stat().st_size > 100


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_links_in_the_pages_resolve() -> None:
    broken = []
    for page in (p for p in tracked() if p.suffix == ".md"):
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path) if path else page
            if not file.exists():
                broken.append(f"{name(page)}: {target}")
            elif anchor and file.suffix == ".md":
                headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
                if anchor not in {_anchor(heading) for heading in headings}:
                    broken.append(f"{name(page)}: {target} has no such heading")
    assert not broken, "\n".join(broken)


def test_every_decision_names_what_enforces_it() -> None:
    for page in (ROOT / "docs" / "decisions").glob("*.md"):
        text = page.read_text()
        assert len(text.splitlines()) <= 80, f"{page.name} is more than a page"
        named = re.findall(r"`?((?:tests|bench)/[\w/]+(?:\.py)?)", text)
        assert named or "import contracts" in text, page.name
