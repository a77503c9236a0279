"""Private names of torch: whether this process can use CUDA."""


def is_in_bad_fork() -> bool:
    """Tell whether this process is a fork of one that has used CUDA: `torch.cuda._is_in_bad_fork`, as of torch 2.13.0.

    torch says so too where there is no GPU, as soon as the parent has asked for one; then nothing is bad about it.
    Where the name is gone, torch itself raises later, with a message that does not know of `map`.
    """
    import torch

    return bool(getattr(torch.cuda, "_is_in_bad_fork", lambda: False)()) and torch.cuda.device_count() > 0
