"""The peer of figure 14: lm-eval in a process of its own, its model loaded before the clock starts.

Says READY, then answers each wish on a line of its input with what it chose. An option names its backend: hf or vllm.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

TASK = """
task: questions
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{file}"}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc}}]
"""
# As lm-eval's users run it: batches of 32 for hf, vLLM's own for vllm.
ARGUMENTS = {
    "hf": "pretrained={model},dtype=float32,batch_size=32,device=cpu",
    "vllm": (
        "pretrained={model},dtype=float32,batch_size=auto,max_model_len=2048,"
        "enforce_eager=True,kv_cache_memory_bytes=536870912,max_num_seqs=64"
    ),
}


def turn(model: Any, wish: dict[str, Any]) -> dict[str, Any]:
    """The seconds from the file to the scores, and of each item the log likelihoods of its choices."""
    folder = Path(wish["folder"])
    (folder / "questions.yaml").write_text(TASK.format(file=wish["file"]))
    began = time.perf_counter()
    done = simple_evaluate(
        model=model,
        tasks=["questions"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
    )
    seconds = time.perf_counter() - began
    samples = sorted(done["samples"]["questions"], key=lambda one: one["doc_id"])
    numbers = [[float(choice[0][0]) for choice in one["resps"]] for one in samples]
    return {"seconds": seconds, "numbers": numbers}


def main() -> None:
    options = json.loads(sys.argv[1])
    arguments = ARGUMENTS[options["backend"]].format(model=options["model"])
    model = get_model(options["backend"]).create_from_arg_string(arguments)
    print("READY", flush=True)
    for line in sys.stdin:
        print(json.dumps(turn(model, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
