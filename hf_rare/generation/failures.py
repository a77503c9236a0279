"""What fails while a model writes: whether memory ran out, how it is given back, and what a row is told."""


def describe_failure(error: Exception) -> str:
    """Say why a prompt failed that was alone."""
    return "out of memory with this prompt alone" if is_out_of_memory(error) else f"{type(error).__name__}: {error}"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out."""
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or (isinstance(error, Exception) and should_reduce_batch_size(error))


def free_memory() -> None:
    """Free the memory that nothing holds any more."""
    from accelerate.utils.memory import clear_device_cache

    clear_device_cache(garbage_collection=True)
