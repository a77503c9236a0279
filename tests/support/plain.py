"""A generator that writes by `generate` in micro-batches, for tests that count, delay or spoil micro-batches."""

from functools import cached_property

from hf_rare import TransformersGenerator


class PlainGenerator(TransformersGenerator):
    """Subclasses look at each micro-batch in `write_batch` before it is written."""

    @cached_property
    def _engine(self):
        engine = self._make_plain_engine()
        write = engine.generate_batch
        engine.generate_batch = lambda *arguments: self.write_batch(write, *arguments)
        return engine

    def write_batch(self, write, prompts, seeds, observer):
        """Write a micro-batch."""
        return write(prompts, seeds, observer)


def see_micro_batches(monkeypatch, write_batch):
    """Let every generator write by `generate`, and each micro-batch by `write_batch(self, write, prompts, ...)`."""
    monkeypatch.setattr(TransformersGenerator, "_engine", PlainGenerator.__dict__["_engine"])
    monkeypatch.setattr(TransformersGenerator, "write_batch", write_batch, raising=False)
