"""A result of vectors as OpenAI's list of embeddings."""

from typing import Any

from core.jobs import embedding


def whole(
    model: str, result: dict[str, Any], used: dict[str, Any], form: str | None
) -> dict[str, Any]:
    """`form`: base64 as the result has it, anything else as numbers."""
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector if form == "base64" else embedding.floats(vector),
            }
            for index, vector in enumerate(result["vectors"])
        ],
        "model": model,
        "usage": {name: used.get(name, 0) for name in ("prompt_tokens", "total_tokens")},
    }
