"""What this computer's processor does well, how torch is told, and how much memory was used."""

import ctypes
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import psutil
import torch

from letterlib.errors import NO_MEMORY, LetterError


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16: AMX or AVX-512 BF16."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def keep_freed_memory() -> None:
    """Ask glibc to keep the memory of freed tensors instead of returning it to the system.

    Large tensors otherwise come as fresh pages at every step, and clearing these can take longer
    than computing what is written to them. On other systems nothing is changed.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        mallopt, trim_threshold, mmap_max = ctypes.CDLL(None).mallopt, -1, -4
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)


@contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Inside, running out of memory is a LetterError that begins with `what` and names a remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # numpy's and torch's
        reason = " ".join(str(error).split())
        if not isinstance(error, MemoryError) and not NO_MEMORY.search(reason):
            raise
        raise LetterError(
            f"{what}: there is not enough memory "
            f"({'. '.join(reason.split('. ')[:2]).rstrip('.')}); "
            "make its batches smaller (letterlib settings shows their size, --set "
            "tiger.batch_size=... changes TIGER's), close other programs, or choose another "
            "--device"
        ) from error


@contextmanager
def fast_float32() -> Iterator[None]:
    """Inside, torch multiplies float32 with oneDNN where that is faster; products stay float32.

    MKL uses half of each register of an AMD processor with AVX-512. On Zen 5 oneDNN takes half the
    time. On such a processor torch.get_float32_matmul_precision(), which compilers of models ask
    for, is an error inside.
    """
    with _onednn() if _mkl_holds_back() else nullcontext():
        yield


_setting, _before = threading.Lock(), []
"""torch's setting is global: of several threads, the last one out restores it."""


@contextmanager
def _onednn() -> Iterator[None]:
    """torch uses oneDNN if that may round to bfloat16; only a matrix unit then really rounds."""
    matmul = torch.backends.mkldnn.matmul
    with _setting:
        _before.append(matmul.fp32_precision)
        matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        with _setting:
            matmul.fp32_precision = _before.pop()


@cache
def _mkl_holds_back() -> bool:
    """Whether this is an AMD processor with AVX-512 on which oneDNN, when tried, does not round."""
    # torch before 2.11 has no get_capabilities
    name = getattr(torch.cpu, "get_capabilities", dict)().get("cpu_name", "")
    if (
        "AMD" not in name
        or not torch.cpu._is_avx512_supported()
        or torch.cpu._is_amx_tile_supported()
    ):
        return False
    with _onednn():
        return _keeps_float32()


def _keeps_float32() -> bool:
    x = torch.full((64, 64), 1 + 2**-12, device="cpu")  # rounded to bfloat16 it is 1
    return bool((x @ x > 64).all())


def peak_memory_mb() -> int:
    """The most memory this process has held so far, in MiB."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset // 2**20
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)


def peak_gpu_memory_mb(device: str) -> dict[str, int]:
    """The most memory this process has taken of a GPU, in MiB, as an entry of a record; {} on a
    CPU.
    """
    if not device.startswith("cuda"):
        return {}
    return {"peak_gpu_memory_mb": torch.cuda.max_memory_reserved(device) // 2**20}
