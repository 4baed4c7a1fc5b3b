"""The peer of figure 6: vLLM's own LLM.generate, all prompts at once, in a process of its own.

Says READY, then answers each wish on a line of its input with a line of numbers.
"""

import json
import sys
import time
from typing import Any

from vllm import LLM, SamplingParams

from core.catalog import tokenizer
from core.config import Settings


def main() -> None:
    settings = Settings(_env_file=None)
    model = LLM(
        model=settings.model,
        dtype=settings.engine_dtype,
        max_num_seqs=settings.engine_max_sequences,
        enforce_eager=settings.engine_eager,
        kv_cache_memory_bytes=settings.engine_kv_cache_mb * 2**20,
        load_format="safetensors",
        generation_config="vllm",
        disable_log_stats=True,
    )
    text = tokenizer.load(settings.model)
    print("READY", flush=True)
    for line in sys.stdin:
        wish: dict[str, Any] = json.loads(line)
        limits = SamplingParams(
            max_tokens=wish["max_tokens"], temperature=0.0, ignore_eos=wish.get("ignore_eos", False)
        )
        began = time.perf_counter()
        prompts = [
            {"prompt_token_ids": tokenizer.prompt_ids(text, {"prompt": p})} for p in wish["prompts"]
        ]
        answers = model.generate(prompts, limits, use_tqdm=False)
        tokens = sum(len(answer.outputs[0].token_ids) for answer in answers)
        print(json.dumps({"tokens": tokens, "seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main()
