"""Lets vLLM write the jobs of a source: requests are added as room is there, and given back as they end."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from hf_rare.generation.decoding import Decoding
from hf_rare.generation.engines.vllm_process import Output, VLLMProcess
from hf_rare.generation.protocol import Completion, Job, JobSource, Observer
from hf_rare.generation.repetition import RepetitionDetector


class VLLMEngine:
    """Writes by vLLM.

    Args:
        process ([`VLLMProcess`]): vLLM at work; others may write by it too.
        sampling (`Mapping[str, Any]`): the arguments of vLLM's `SamplingParams`, but for the seed.
        decoding ([`Decoding`]): how tokens are read; no model is in it.
    """

    refills = True

    def __init__(self, process: VLLMProcess, sampling: Mapping[str, Any], decoding: Decoding) -> None:
        self.process = process
        self._sampling = sampling
        self._decoding = decoding

    def write(self, source: JobSource, observer: Observer | None = None) -> Iterator[list[tuple[Job, Completion]]]:
        """Write a completion for each job; see [`Generator`].

        Raises:
            GenerationError: vLLM has died or hangs.
        """
        call = self.process.open()
        begun: dict[str, Job] = {}
        written: dict[str, list[int]] = {}
        detectors: dict[str, RepetitionDetector | None] = {}
        may_have_more = True
        try:
            while True:
                room = self.process.places - len(begun)
                if may_have_more and room > 0:
                    jobs = source.take(room)
                    may_have_more = bool(jobs)
                    for job in jobs:
                        name = call.add(job.prompt.token_ids, {**self._sampling, "seed": job.seed})
                        begun[name], written[name], detectors[name] = job, [], self._decoding.make_detector()
                    if jobs and observer is not None:
                        observer.begin(jobs)
                if not begun:
                    return
                ended = []
                for output in call.wait():
                    if output.request_id not in begun:  # it was ended here
                        continue
                    job, token_ids = begun[output.request_id], written[output.request_id]
                    if observer is not None and output.token_ids:
                        is_first = not token_ids
                        observer.add_tokens(len(job.prompt.token_ids) * is_first, len(output.token_ids))
                    token_ids += output.token_ids
                    detector = detectors[output.request_id]
                    is_loop = detector is not None and detector.feed(output.token_ids)
                    if output.finish_reason or output.error or is_loop:
                        ended.append((job, self._read(job, token_ids, output)))
                        for known in (begun, written, detectors):
                            del known[output.request_id]
                    if is_loop and not output.finish_reason:
                        call.drop(output.request_id)
                if ended:
                    yield ended
                    may_have_more = True
        finally:
            call.close()

    def _read(self, job: Job, token_ids: list[int], last: Output) -> Completion:
        prompt_tokens = len(job.prompt.token_ids)
        completion = self._decoding.read(token_ids, prompt_tokens)
        if completion.finish_reason == "repetition":
            return completion
        if last.error or last.finish_reason not in ("stop", "length"):
            error = last.error or f"vLLM has ended it: {last.finish_reason}"
            return Completion("", "error", prompt_tokens, len(token_ids), error)
        if last.finish_reason == "length":  # of max_new_tokens or of the context
            return dataclasses.replace(completion, finish_reason="length")
        return completion
