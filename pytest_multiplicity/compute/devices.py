"""All that is known of devices: classes, threads, memory, precision, and random states."""

from __future__ import annotations

import os
import pickle
import random
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import nn

GPU = "cuda"  # the type of devices that torch reaches through CUDA, or through ROCm under its name
KINDS = ("cpu", GPU)  # whose generators, precision and memory are known here
VISIBLE = "CUDA_VISIBLE_DEVICES"
# How allocators, cuBLAS, cuDNN and drivers say it; on a CPU it is a plain error, too:
# pytorch/pytorch#43172
_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|alloc(ation)?_failed", re.IGNORECASE)
# From which on a recording that fails leaves the allocator as it was: pytorch/pytorch#180395
RECORDS = (2, 13)
T = TypeVar("T")


def is_gpu(device: torch.device | str) -> bool:
    """Say whether a device, or a type of devices, is one that torch reaches through CUDA."""
    return torch.device(device).type == GPU


def device_class(device: torch.device) -> str:
    """Return what is the same for devices that compute alike: a GPU's model, else the type."""
    return torch.cuda.get_device_name(device) if is_gpu(device) else device.type


def gpus() -> list[int]:
    """Return the numbers of the GPUs of the first one's model: others would give other bits."""
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [index for index, name in enumerate(names) if name == names[0]]


def others_like(device: torch.device) -> list[torch.device]:
    """Return the GPUs like the first that a process computes on, too, where none was numbered."""
    return [torch.device(GPU, i) for i in gpus()[1:]] if device == torch.device(GPU) else []


def gpu_places(numbers: list[int], visible: str | None = None) -> list[dict[str, str]]:
    """Return for each of the GPUs of these numbers what shows a process that one alone.

    `visible` is `CUDA_VISIBLE_DEVICES`: numbers or names of all GPUs that this process sees.
    """
    visible = os.environ.get(VISIBLE) if visible is None else visible
    count = max(numbers) + 1
    names = [name.strip() for name in visible.split(",")] if visible else map(str, range(count))
    shown = list(islice(names, count))
    return [{VISIBLE: shown[number]} for number in numbers]


def automatic() -> str:
    """Return the type of device that is best here: the GPU where there is one."""
    return GPU if torch.cuda.is_available() else "cpu"


def gpu_of(process: int | None) -> torch.device | None:
    """Return the GPU of one of several processes; None where there are not several of either."""
    if process is None or len(found := gpus()) < 2:
        return None
    return torch.device(GPU, found[process % len(found)])


def gpu_name() -> str:
    """Return the model of the GPU that this process computes on, or that there is none."""
    return device_class(torch.device(GPU)) if torch.cuda.is_available() else "no GPU"


def free_gpu_bytes(device: torch.device) -> int:
    """Return the bytes that are free on a GPU, what torch keeps for later use among them."""
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + max(0, kept)


def let_go() -> None:
    """Give back the memory that torch keeps for later use, after there was too little."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def out_of_memory(error: BaseException | None) -> bool:
    """Say whether an error is one of too little memory, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None


def fetched(*tensors: torch.Tensor) -> list[torch.Tensor]:
    """Return tensors of one device on the CPU; the host waits for all of them at once."""
    device = tensors[0].device
    if not is_gpu(device):
        return [tensor.cpu() for tensor in tensors]
    here = [torch.empty(each.shape, dtype=each.dtype, pin_memory=True) for each in tensors]
    for tensor, place in zip(tensors, here, strict=True):
        place.copy_(tensor, non_blocking=True)
    torch.cuda.synchronize(device)
    return here


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads, torch and numpy."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with numpy_threads(count):
            yield
    finally:
        torch.set_num_threads(before)


def numpy_threads(count: int) -> AbstractContextManager[object]:
    """Have each of numpy's products computed by so many threads, in all threads of Python."""
    limited: AbstractContextManager[object] = _libraries().limit(limits=count, user_api="blas")
    return limited


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """Compute in a recipe's precision, by the same kernels every time.

    On CUDA TF32 is used only where it is asked for, and cuDNN neither tries kernels against each
    other nor takes those whose bits differ from run to run.
    """
    if not is_gpu(device):
        yield
        return
    cudnn, matmul, fast = torch.backends.cudnn, torch.backends.cuda.matmul, name == "tf32"
    settings: list[tuple[Any, str, object]] = [
        # The older names first: reading them fails, in the compiler too, where they disagree with
        # the newer ones, which they set. pytorch/pytorch#166387
        *((where, "allow_tf32", fast) for where in (matmul, cudnn)),
        *(
            (where, "fp32_precision", "tf32" if fast else "ieee")
            for where in (matmul, _part(cudnn, "conv"), _part(cudnn, "rnn"))
        ),
        (cudnn, "deterministic", True),
        (cudnn, "benchmark", False),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some names are the older ones: torch 2.9
        before = [(where, setting, _now(where, setting)) for where, setting, _ in settings]
    try:
        _set(settings)
        yield
    finally:
        _set([each for each in before if each[2] is not None])


def _part(cudnn: Any, name: str) -> Any:
    return getattr(cudnn, name)


def _now(where: Any, setting: str) -> object:
    """Return a setting; None where somebody set it by an older and a newer name that disagree."""
    try:
        return getattr(where, setting)
    except RuntimeError:
        return None


def _set(settings: list[tuple[Any, str, object]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for where, setting, value in settings:
            setattr(where, setting, value)


def compile_mode(device: torch.device) -> str | None:
    """Return how torch compiles best: on a GPU launches are recorded and replayed as graphs."""
    return "reduce-overhead" if is_gpu(device) else None


def steps_at_once(module: nn.Module, device: torch.device) -> bool:
    """Say whether torch's optimizers step all of a module's parameters there in one launch.

    On a GPU they do, but for parameters that are no real floats, and for gradients of embeddings
    that are sparse.
    """
    floats = all(each.is_floating_point() for each in module.parameters() if each.requires_grad)
    sparse = any(getattr(part, "sparse", False) for part in module.modules())
    return is_gpu(device) and floats and not sparse


def records(device: torch.device) -> bool:
    """Say whether what is launched on a device can be recorded, and launched again as one."""
    version = tuple(map(int, torch.__version__.split(".")[:2]))
    return is_gpu(device) and version >= RECORDS


@cache
def side_stream(device: torch.device) -> Any:
    """Return the stream beside a GPU's usual one, on which nothing can be recorded.

    It is one for the whole process: libraries keep working memory for each stream.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def beside(stream: Any) -> Iterator[None]:
    """Compute on a side stream, after what was asked for before, and before what comes after."""
    usual = torch.cuda.current_stream(stream.device)
    stream.wait_stream(usual)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        usual.wait_stream(stream)


def recorded(
    work: Callable[[], T], stream: Any, generators: Sequence[torch.Generator], pool: Any
) -> tuple[Any, T]:
    """Record what some work launches on a side stream, where nothing of it is done.

    Gives a graph, whose `replay` does it, and what the work gave: tensors that each replay writes.

    Args:
        work: what is to be recorded.
        stream: on which the same work was done before: libraries make their handles by stream.
        generators: what it draws from, the device's own aside. As they are seeded when it is
            replayed, so it draws.
        pool: of another graph, whose memory this one may use, too.
    """
    try:
        return _recorded(work, stream, generators, pool)
    except BaseException:
        # Before torch 2.14 generators stay in a recording that failed until one ends well, and
        # nothing can be drawn from them: pytorch/pytorch#171263
        with suppress(RuntimeError):
            _recorded(lambda: torch.zeros(1, device=stream.device), stream, generators, None)
        raise


def _recorded(
    work: Callable[[], T], stream: Any, generators: Sequence[torch.Generator], pool: Any
) -> tuple[Any, T]:
    graph = torch.cuda.CUDAGraph()
    # What other threads do meanwhile is their business. The outer `stream` puts the usual one back
    # where a recording fails: the one inside `graph` doesn't.
    how: dict[str, Any] = {"stream": stream, "capture_error_mode": "thread_local"}
    with torch.cuda.device(stream.device), torch.cuda.stream(stream):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from 2.14 on it isn't needed: pytorch/pytorch#176753
            for generator in generators:
                graph.register_generator_state(generator)
        with torch.cuda.graph(graph, pool, **how):
            given = work()
    return graph, given


@contextmanager
def noting_waits() -> Iterator[list[str]]:
    """Note what the host waits for in here, as far as torch tells."""
    waits: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode(before)
    for each in caught:
        if "called a synchronizing" in str(each.message):
            waits.append(f"{each.filename}:{each.lineno}")
        elif "Synchronization debug mode" not in str(each.message):  # that it is a prototype
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def seed_everything(seed: int) -> None:
    """Seed the global generators that user code draws from. Use inside `preserved_rng`."""
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)  # noqa: NPY002
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # the former would format a stack trace for each kind of accelerator, in milliseconds
        torch.default_generator.manual_seed(seed)


def seed_step(seed: int, device: torch.device) -> None:
    """Seed only what a forward pass draws from, which takes microseconds."""
    torch.default_generator.manual_seed(seed)
    if is_gpu(device):
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Put the global random states of torch (every device in use), numpy and random back after."""
    before = random_states()
    try:
        yield
    finally:
        _restore(*before)


def random_states() -> tuple[list[torch.Tensor], dict[str, object], object]:
    """Return the global random states of torch (every device in use), numpy and random.

    A device that nobody uses is left alone: asking for its state would initialise it, in every
    process (`torch.random.fork_rng` without devices does).
    """
    states = [torch.get_rng_state()]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states += torch.cuda.get_rng_state_all()
    drawn = np.random.get_state(legacy=False)  # noqa: NPY002 - user code may draw from it
    return states, dict(drawn), random.getstate()


def host_randomness() -> tuple[object, ...]:
    """Return the global random states of what draws on the host, to be compared."""
    states, drawn, state = random_states()
    return bytes(states[0].numpy()), pickle.dumps(drawn), state


def _restore(states: list[torch.Tensor], drawn: dict[str, object], state: object) -> None:
    torch.set_rng_state(states[0])
    if states[1:]:
        torch.cuda.set_rng_state_all(states[1:])
    np.random.set_state(drawn)  # noqa: NPY002
    random.setstate(state)  # type: ignore[arg-type]
