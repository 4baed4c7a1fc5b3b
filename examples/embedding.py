"""Order some texts by how close in meaning they are to a question.

python examples/embedding.py http://127.0.0.1:8000 "$(cat .penstock/api_key)" "How deep is the river?" \
    "The water is nine feet deep." "The mill was sold in May."
"""

from __future__ import annotations

import base64
import sys
import uuid
from array import array

import httpx


def main(url: str, key: str, question: str, *texts: str) -> int:
    """Prints the texts, the closest first, with their similarity; 1 is the same meaning."""
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
    ) as client:
        asked, *others = vectors(client, [question, *texts])
    found = {text: closeness(asked, vector) for text, vector in zip(texts, others, strict=True)}
    for text in sorted(texts, key=lambda text: -found[text]):
        sys.stdout.write(f"{found[text]:.2f}  {text}\n")
    return 0


def vectors(client: httpx.Client, texts: list[str]) -> list[array[float]]:
    """One job for all of them: they go through the model together."""
    # With the key a POST that is sent again is the same job.
    made = client.post(
        "/v1/jobs",
        json={"kind": "embedding", "input": texts},
        headers={"Idempotency-Key": str(uuid.uuid4())},
    )
    job = f"/v1/jobs/{made.raise_for_status().json()['id']}"
    with client.stream("GET", f"{job}/stream") as events:
        for _ in events.iter_lines():
            continue
    ended = client.get(job).raise_for_status().json()
    if ended["result"] is None:
        raise SystemExit(f"{ended['state']}: {ended['error']}")
    # Base64 of float32, little-endian.
    return [array("f", base64.b64decode(one)) for one in ended["result"]["vectors"]]


def closeness(one: array[float], other: array[float]) -> float:
    """The cosine: the vectors have length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
