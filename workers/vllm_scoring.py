"""How likely a prompt's tokens are, inside vLLM's engine process: those asked for, of all requests of a step at once.

vLLM 0.32's own goes from request to request and scores the whole vocabulary behind every token of a prompt; of a
question with a choice of answers only the answer's few tokens are looked at.

    hidden_NH  what the model made of the N tokens of a step: one row each, which scores the token behind it
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from vllm.v1.outputs import LogprobsTensors

# In a request's extra_args: the place of the first token that is told of.
SCORED_FROM = "penstock_scored_from"
# Scores at once, rows times vocabulary: 64 MiB in float32, and as much again for their logarithms.
AT_ONCE = 2**24


class Scoring:
    """What vLLM's worker is besides its own class: its option `worker_extension_cls`."""

    model_runner: Any

    def score_what_is_asked(self) -> None:
        """Called once, when the model is loaded. `told` stands in for the runner's own method from then on."""
        self.model_runner._get_prompt_logprobs_dict = partial(told, self.model_runner)  # noqa: SLF001 - vLLM has no seam here; its version is pinned


class _Part(NamedTuple):
    """Of one request in this step: `targets`, whose scores stand in `row` and after, go to `place` of `out`."""

    row: int
    targets: list[int]
    out: LogprobsTensors
    place: int


def told(
    runner: Any, hidden_NH: torch.Tensor, scheduled: dict[str, int]
) -> dict[str, LogprobsTensors]:
    """Of each request whose prompt ends with this step: one row for each token from SCORED_FROM on, as vLLM has them.

    Not a number where a row was never computed, since the cache had it. `scheduled`: tokens of each in this step.
    """
    parts: list[_Part] = []
    ended: dict[str, LogprobsTensors] = {}
    for request_id, count in runner.num_prompt_logprobs.items():
        request, size = runner.requests[request_id], scheduled.get(request_id)
        # Preempted in the middle of its prompt.
        if size is None:
            continue
        ids, begin = request.prompt_token_ids, request.num_computed_tokens
        first = max((request.sampling_params.extra_args or {}).get(SCORED_FROM, 0) - 1, 0)
        out = request.in_progress_prompt_logprobs_cpu
        if out is None:
            out = LogprobsTensors.empty_cpu(max(len(ids) - 1 - first, 0), count + 1)
            out.logprobs.fill_(torch.nan)
            request.in_progress_prompt_logprobs_cpu = out
        start, stop = max(begin, first), min(begin + size, len(ids) - 1)
        if start < stop:
            row = runner.query_start_loc.np[runner.input_batch.req_id_to_index[request_id]].item()
            parts.append(_Part(row + start - begin, ids[start + 1 : stop + 1], out, start - first))
        if begin + size >= len(ids):
            ended[request_id] = out
    _fill(runner, hidden_NH, parts)
    for request_id in ended:
        del runner.num_prompt_logprobs[request_id]
        runner.requests[request_id].in_progress_prompt_logprobs_cpu = None
    return ended


def _fill(runner: Any, hidden_NH: torch.Tensor, parts: list[_Part]) -> None:
    if not parts:
        return
    rows = [row for part in parts for row in range(part.row, part.row + len(part.targets))]
    targets = [token for part in parts for token in part.targets]
    most = max(part.out.logprobs.shape[1] for part in parts) - 1
    found = [
        torch.cat(of) for of in zip(*_scored(runner, hidden_NH, rows, targets, most), strict=True)
    ]
    at = 0
    for part in parts:
        size, width = len(part.targets), part.out.logprobs.shape[1]
        to = slice(part.place, part.place + size)
        tokens, logprobs, ranks = (of[at : at + size] for of in found)
        part.out.logprob_token_ids[to] = tokens[:, :width]
        part.out.logprobs[to] = logprobs[:, :width]
        part.out.selected_token_ranks[to] = ranks
        at += size


def _scored(
    runner: Any, hidden_NH: torch.Tensor, rows: list[int], targets: list[int], most: int
) -> Iterator[tuple[torch.Tensor, ...]]:
    """(token ids, log probabilities, ranks), on the CPU, of so many rows as may be held at once."""
    step = max(AT_ONCE // runner.model_config.get_vocab_size(), 1)
    for at in range(0, len(rows), step):
        some = torch.tensor(rows[at : at + step], device=hidden_NH.device)
        wanted = torch.tensor(targets[at : at + step], device=hidden_NH.device)
        scores = runner.sampler.compute_logprobs(runner.model.compute_logits(hidden_NH[some]))
        of = runner.sampler.gather_logprobs(scores, most, wanted)
        # Waits for the device, as vLLM's own does at its end.
        yield of.logprob_token_ids.cpu(), of.logprobs.cpu(), of.selected_token_ranks.cpu()
