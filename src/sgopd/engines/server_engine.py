"""A vLLM server as engine, on this node or another: the teacher that scores, without its weights in this process.

Speaks the OpenAI completions protocol with vLLM's additions (token ids in and out, prompt log-probs). Requests run side by
side and are repeated while the server is busy; responses can be scored while others are still being sampled. Knows no model.
"""

import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from multiprocessing.pool import AsyncResult, ThreadPool
from typing import Any

from sgopd.engines.base import Finished, Rollout, Sampling
from sgopd.errors import UserError

logger = logging.getLogger(__name__)

AT_ONCE = 64  # requests in flight: the server batches them
PATIENCE_S = 600.0  # a request may wait this long for a server that restarts or is busy
TIMEOUT_S = 3600.0  # of one answer; a long rollout takes minutes


class ServerEngine:
    """Engine over a vLLM server. Log-probs are those of temperature 1 (the server's default, raw log-probs)."""

    def __init__(self, url: str, eos_id: int, vocabulary: int, patience_s: float = PATIENCE_S) -> None:
        """url: as ``vllm serve`` prints it with /v1, e.g. http://node7:8000/v1. Raises UserError if nobody answers there."""
        self.url, self.eos_id, self.vocabulary, self.patience_s = url.rstrip("/"), eos_id, vocabulary, patience_s
        [card, *_] = self._ask("/models")["data"]
        self.model, self.max_length = str(card["id"]), int(card["max_model_len"])
        self.pool = ThreadPool(AT_ONCE)  # its threads are daemons: a process that leaves does not wait for the server
        self.begun: dict[tuple[tuple[int, ...], tuple[int, ...]], AsyncResult[list[float]]] = {}
        logger.info("teacher: %s at %s, context %d", self.model, self.url, self.max_length)

    def sample(
        self, prompts: Sequence[list[int]], sampling: Sampling, seeds: Sequence[int], finished: Finished | None = None
    ) -> list[Rollout]:
        """One rollout per (prompt, seed)."""

        def one(place: int) -> Rollout:
            choice = self._complete(
                prompts[place], max_tokens=sampling.max_new_tokens, temperature=sampling.temperature, top_p=sampling.top_p,
                seed=seeds[place], stop_token_ids=[self.eos_id], ignore_eos=True, logprobs=0, return_token_ids=True,
                return_tokens_as_token_ids=True,
            )  # fmt: skip
            ids = [int(token) for token in choice["token_ids"]]
            self._all_real(ids)
            logprobs = [min(float(value), 0.0) for value in choice["logprobs"]["token_logprobs"]]
            rollout = Rollout(ids, logprobs, "stop" if ids[-1] == self.eos_id else "length")
            if finished:
                finished(place, rollout)
            return rollout

        return self.pool.map(one, range(len(prompts)), chunksize=1)

    def begin(self, prompt: list[int], response: list[int]) -> None:
        """Send the response off to be scored; ``score`` fetches the answer. The work is the server's."""
        key = tuple(prompt), tuple(response)
        if key not in self.begun:
            self.begun[key] = self.pool.apply_async(self._score, (prompt, response))

    def score(self, prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> list[list[float]]:
        """Log-probs (nats, temperature 1) of the response tokens; of those begun before, what has been worked out meanwhile."""
        for prompt, response in zip(prompts, responses, strict=True):
            self.begin(prompt, response)
        begun, self.begun = self.begun, {}
        return [begun[tuple(p), tuple(r)].get() for p, r in zip(prompts, responses, strict=True)]

    def _score(self, prompt: list[int], response: list[int]) -> list[float]:
        if not response:
            return []
        choice = self._complete(prompt + response, max_tokens=1, prompt_logprobs=0, temperature=0.0)
        places = choice["prompt_logprobs"][len(prompt) :]
        return [float(place[str(token)]["logprob"]) for place, token in zip(places, response, strict=True)]

    def _complete(self, prompt: list[int], **settings: Any) -> Any:
        wanted = len(prompt) + settings["max_tokens"]
        if wanted > self.max_length:
            raise UserError(
                f"engine.teacher: {self.url} serves {self.max_length} tokens, but {wanted} are needed. Start it with "
                f"--max-model-len {wanted} or more."
            )
        return self._ask("/completions", {"model": self.model, "prompt": prompt, **settings})["choices"][0]

    def _all_real(self, ids: list[int]) -> None:
        """The server cannot be told cheaply never to sample the rows that pad its vocabulary; trained models don't."""
        if max(ids) >= self.vocabulary:
            raise UserError(
                f"{self.url}: {self.model} sampled token {max(ids)}, which is no token (the tokenizer has {self.vocabulary}). "
                "Serve a trained model of the student's family."
            )

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer as JSON. Waits while the server is away or busy; any other refusal is an error with its words."""
        deadline, pause = time.monotonic() + self.patience_s, 0.5
        while True:
            try:
                return _request(self.url + path, body)
            except urllib.error.HTTPError as error:
                text = error.read().decode(errors="replace")[:500]
                if error.code not in (429, 500, 502, 503, 504) or time.monotonic() > deadline:
                    raise UserError(f"{self.url}{path}: the server refused ({error.code}): {text}") from error
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                if time.monotonic() > deadline:
                    raise UserError(
                        f"engine.teacher: no answer from {self.url} ({error}). Start it there: "
                        "vllm serve MODEL --max-model-len N, and name its address with /v1."
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, 15.0)


def _request(url: str, body: dict[str, Any] | None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - http(s) only, see config
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        return json.load(answer)
