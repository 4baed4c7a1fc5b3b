"""Text to token ids and back, and chat messages to text, without torch: used before 202 and by workers."""

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import orjson
from huggingface_hub import snapshot_download
from jinja2 import meta
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from core.catalog import marks
from core.catalog.pieces import Pieces
from core.errors import InvalidInput, Refused


def folder(source: str, *, weights: bool = False) -> Path:
    """The local folder of a model; the small files of a hub model, or with `weights` all of it, are fetched once.

    Raises Refused for a path that is not there.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    # A hub id is a name, or owner/name; anything else was meant as a folder.
    if source.startswith(("/", ".", "~")) or source.count("/") > 1:
        raise Refused(f"PENSTOCK_MODEL={source}: there is no such folder")
    wanted = ["*.json", "*.jinja", "tokenizer*", *(["*.safetensors"] if weights else [])]
    return Path(snapshot_download(source, allow_patterns=wanted))


class Text:
    """A model's tokenizer and chat template."""

    def __init__(self, source: str) -> None:
        place = folder(source)
        if not (place / "tokenizer.json").is_file():
            raise Refused(f"{source} has no tokenizer.json; use a model with a fast tokenizer")
        self._tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
        # Sentence encoders ship theirs set to cut and to pad: 128 tokens whatever the text.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        config: dict[str, Any] = {}
        if (place / "tokenizer_config.json").is_file():
            config = orjson.loads((place / "tokenizer_config.json").read_bytes())
        template = config.get("chat_template")
        if (place / "chat_template.jinja").is_file():
            template = (place / "chat_template.jinja").read_text()
        self._marks = {
            name: token["content"] if isinstance(token, dict) else token
            for name in ("bos_token", "eos_token")
            if (token := config.get(name))
        }
        # The model's own template is foreign code: it runs in jinja's sandbox.
        sandbox = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[marks.Generation]
        )
        sandbox.globals["raise_exception"] = _refuse
        self._template = sandbox.from_string(template) if isinstance(template, str) else None
        asks = isinstance(template, str) and meta.find_undeclared_variables(sandbox.parse(template))
        self.takes_tools = "tools" in (asks or ())
        # Whether it says itself what is the assistant's: {% generation %}.
        self.marks_answers = isinstance(template, str) and "endgeneration" in template
        # With the tokens that were added to it; an id beyond is nobody's.
        self.size = int(self._tokenizer.get_vocab_size(with_added_tokens=True))
        self._pieces = Pieces(self._tokenizer)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        """Token ids; `special`: with the marks the model expects around a bare prompt."""
        return list(self._tokenizer.encode(text, add_special_tokens=special).ids)

    def decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids))

    def piece(self, token: int) -> bytes:
        """The bytes of one token, which may be half a character."""
        return self._pieces.of(token)

    def chat(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None
    ) -> list[int]:
        """Token ids of a conversation up to where the assistant speaks next.

        Raises InvalidInput when the model has no chat template or its template refuses the messages.
        """
        return self.encode(marks.without(self.render(messages, tools)), special=False)

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        *,
        ask: bool = True,
    ) -> str:
        """A conversation as text with core/catalog/marks.py's marks, `ask`: up to where the assistant speaks next.

        Raises InvalidInput, as `chat` does.
        """
        if self._template is None:
            raise InvalidInput("This model has no chat template; send prompt", param="messages")
        try:
            return self._template.render(
                messages=messages, tools=tools, add_generation_prompt=ask, **self._marks
            )
        except Exception as error:
            # Foreign code may raise anything; nothing of ours runs in there.
            raise InvalidInput(
                f"The model's chat template refuses these messages: {error}", param="messages"
            ) from error

    def located(self, text: str, *, special: bool) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids, and of each the characters [begin, end) that it stands for."""
        encoded = self._tokenizer.encode(text, add_special_tokens=special)
        return list(encoded.ids), list(encoded.offsets)

    @property
    def chats(self) -> bool:
        """Whether it has a chat template."""
        return self._template is not None

    @property
    def start(self) -> int | None:
        """The token that begins a text."""
        mark = self._marks.get("bos_token")
        return None if mark is None else self._tokenizer.token_to_id(mark)

    @property
    def end(self) -> int | None:
        """The token that ends a text."""
        mark = self._marks.get("eos_token")
        return None if mark is None else self._tokenizer.token_to_id(mark)

    @cached_property
    def special(self) -> frozenset[int]:
        """Tokens that are marks and no text, such as the end of a turn."""
        return frozenset(
            i for i, t in self._tokenizer.get_added_tokens_decoder().items() if t.special
        )


def _refuse(message: str) -> None:
    raise TemplateError(message)


@lru_cache(maxsize=8)
def load(source: str) -> Text:
    """The tokenizer of a model, read once a process."""
    return Text(source)


def prompt_ids(text: Text, spec: dict[str, Any]) -> list[int]:
    """Token ids of an inference spec's prompt or messages."""
    if spec.get("messages") is not None:
        return text.chat(spec["messages"], spec.get("tools"))
    prompt = spec["prompt"]
    return text.encode(prompt) if isinstance(prompt, str) else list(prompt)
