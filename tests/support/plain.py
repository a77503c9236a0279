"""A generator that writes by `generate` in micro-batches, for tests that count, delay or spoil micro-batches."""

from hf_rare import TransformersGenerator
from hf_rare.generation.engines.plain import PlainEngine


class WatchedEngine(PlainEngine):
    """Hands every micro-batch to `watch(write, jobs, observer)`, which may let `write` write it."""

    def __init__(self, plain: PlainEngine, watch) -> None:
        super().__init__(plain.decoding, plain.packer, plain.is_one_of_many)
        self.watch = watch

    def generate_batch(self, *arguments):
        return self.watch(super().generate_batch, *arguments)


class PlainGenerator(TransformersGenerator):
    """Subclasses look at each micro-batch in `write_batch` before it is written."""

    def make_engine(self):
        return WatchedEngine(self.make_plain_engine(), self.write_batch)

    def write_batch(self, write, jobs, observer):
        """Write a micro-batch."""
        return write(jobs, observer)


def see_micro_batches(monkeypatch, write_batch):
    """Let every generator write by `generate`, and each micro-batch by `write_batch(self, write, jobs, observer)`."""
    monkeypatch.setattr(TransformersGenerator, "make_engine", PlainGenerator.make_engine)
    monkeypatch.setattr(TransformersGenerator, "write_batch", write_batch, raising=False)
