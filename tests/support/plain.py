"""A generator that writes by `generate` in micro-batches, for tests that count, delay or spoil micro-batches."""

from functools import cached_property

from hf_rare import TransformersGenerator


class PlainGenerator(TransformersGenerator):
    @cached_property
    def _engine(self):
        engine = self._make_plain_engine()
        self._real = engine.generate_batch
        engine.generate_batch = lambda *arguments: self._generate_batch(*arguments)
        return engine

    def _generate_batch(self, token_ids, seeds, observer):
        """Write a micro-batch; subclasses look at it first."""
        return self._real(token_ids, seeds, observer)


def see_micro_batches(monkeypatch, generate_batch):
    """Let every generator write by `generate`, and each micro-batch by `generate_batch(self, token_ids, ...)`."""
    monkeypatch.setattr(TransformersGenerator, "_engine", PlainGenerator.__dict__["_engine"])
    monkeypatch.setattr(TransformersGenerator, "_generate_batch", generate_batch, raising=False)
