"""Which arithmetic candidates are trained and evaluated with: a rule, and never a measurement.

The last bits of a result depend on how it is computed: fused or alone, in which memory format, by
whose matrix products, with how many threads. So all of that follows from shapes, from the size of
the declared design and from the class of the machine. What changes no bits is not decided here:
how many lanes side by side, how many processes, in which order.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch
from threadpoolctl import threadpool_info
from torch import Tensor, nn

from pytest_multiplicity.compute.cores import available_cores
from pytest_multiplicity.compute.devices import device_class, is_gpu
from pytest_multiplicity.compute.operations import operations
from pytest_multiplicity.data import kinds

# What stands behind these numbers is in benchmarks/README.md, "Rules and what they rest on".
FEWEST_FUSED = 3  # candidates of one structure: two are as fast in a process each
SMALL_STEP = 100e6  # operations of a candidate's step, up to which dispatch costs more than they do
FUSED_BATCH = 250e6  # operations of a candidate's batch in evaluation, likewise
BATCH = 256  # samples of a batch in evaluation
COMPILED_STEPS = 23_000  # of all candidates of a structure, from which compiling them pays
NARROW = 8  # input channels that a block of oneDNN's AVX2 kernels has
BACKWARD = 3  # operations of a training step for each of a forward pass


@dataclass(frozen=True)
class Arithmetic:
    """How numbers are computed, as far as their last bits depend on it.

    Args:
        fused: several candidates of one structure in the same operations.
        channels_last: images in memory pixel by pixel.
        folded: batch norm is part of the layer before it, in evaluation.
        by_numpy: the products of fused linear layers are numpy's, not torch's.
        compiled: by torch's compiler, on an accelerator.
        threads: how many compute one operation.
        recorded: steps of a training as graphs of a GPU, which have the same bits: so it says
            nothing of how numbers are computed, and is neither compared nor printed.
    """

    fused: bool = False
    channels_last: bool = False
    folded: bool = False
    by_numpy: bool = False
    compiled: bool = False
    threads: int = 1
    recorded: bool = field(default=False, compare=False)

    def __str__(self) -> str:
        parts = ["fused" if self.fused else "plain"]
        parts += ["channels last"] * self.channels_last + ["folded"] * self.folded
        parts += ["numpy's products"] * self.by_numpy + ["compiled"] * self.compiled
        parts += [f"{self.threads} threads"] * (self.threads > 1)
        return ", ".join(parts)

    @property
    def alone(self) -> Arithmetic:
        """The same for one candidate by itself, where fusing turned out to be impossible."""
        return replace(self, fused=False, by_numpy=False)


@dataclass(frozen=True)
class Shape:
    """What a model does to one sample.

    Args:
        flops: floating-point operations of its forward pass; infinite where nothing can count them.
        convolves: whether it has convolutions.
        multiplies: whether it has linear layers.
        images: whether a sample is an image [C, H, W].
        skips_pixels: whether a convolution of single pixels with few channels leaves out some.
        bytes: of its parameters and buffers.
    """

    flops: float
    convolves: bool = False
    multiplies: bool = False
    images: bool = False
    skips_pixels: bool = False
    bytes: int = 0

    @classmethod
    def of(cls, module: nn.Module, samples: kinds.Batch) -> Shape:
        """Look at a module and at some samples on its device; both stay as they are."""
        parts = list(module.modules())
        tensors = (*module.parameters(), *module.buffers())
        return cls(
            flops=operations(module, samples),
            convolves=any(isinstance(part, nn.Conv2d) for part in parts),
            multiplies=any(isinstance(part, nn.Linear) for part in parts),
            images=isinstance(samples, Tensor) and samples.ndim == 4,
            skips_pixels=any(map(_skips_pixels, parts)),
            bytes=sum(tensor.nbytes for tensor in tensors),
        )

    @property
    def channels_last(self) -> bool:
        """Whether images lie in memory pixel by pixel, where that is faster and safe."""
        return self.convolves and self.images and not self.skips_pixels


def _skips_pixels(part: nn.Module) -> bool:
    """Say whether oneDNN writes beyond its memory in this layer's backward pass, channels last.

    So it does on processors whose widest instructions are AVX2, for 1 x 1 convolutions with a
    stride and fewer input channels than a block of its kernels has, from torch 2.14 on: processes
    end with a segmentation fault, or numbers are wrong (uxlfoundation/oneDNN#6035). Which memory
    format must not depend on the machine, or its bits would.
    """
    return (
        isinstance(part, nn.Conv2d)
        and part.kernel_size == (1, 1)
        and part.stride != (1, 1)
        and part.in_channels // part.groups < NARROW
    )


@dataclass(frozen=True)
class MachineClass:
    """What two machines must have in common to compute the same bits; `str` of it is its name.

    Args:
        device: the kind of device: "cpu", "cuda", ...
        name: of the GPU's model, or of the processor and its widest instructions.
        cores: how many a process may use; 0 on an accelerator, where they don't matter.
        versions: of the libraries that multiply.
    """

    device: str
    name: str
    cores: int
    versions: tuple[str, ...]

    def __str__(self) -> str:
        cores = [f"{self.cores} core{'s' * (self.cores > 1)}"] * bool(self.cores)
        return ", ".join([self.name, *cores, *self.versions])

    @property
    def numpy_multiplies_faster(self) -> bool:
        """Whether numpy's products beat torch's: MKL slows down on processors that aren't Intel's.

        torch's wheels come with MKL, which uses half the width of other makers' processors;
        numpy's with OpenBLAS, which uses all of it.
        """
        return (
            self.device == "cpu"
            and "AMD" in self.name
            and any("openblas" in each for each in self.versions)
        )


@cache
def machine_class(device: torch.device) -> MachineClass:
    """Return the class of this machine, as seen from a process that computes on a device."""
    torch_version = f"torch {torch.__version__}"
    if device.type != "cpu":
        return MachineClass(device.type, device_class(device), 0, (torch_version,))
    name = f"{_processor()} {torch.backends.cpu.get_cpu_capability()}"
    numpy = f"numpy {version('numpy')} {_numpy_blas()}".strip()
    return MachineClass("cpu", name, _cores(), (torch_version, numpy))


def of_training(
    shape: Shape,
    *,
    batch_size: int,
    steps: int,
    alike: int,
    declared: int,
    machine: MachineClass,
    precision: str = "fp32",
) -> Arithmetic:
    """Return the arithmetic that candidates of one structure are trained with.

    Args:
        shape: of one of them.
        batch_size: samples in a step.
        steps: of one candidate's training.
        alike: how many candidates of this structure the declared design has.
        declared: how many recipes the declared design has in all.
        machine: the class of the machine.
        precision: the recipe's.
    """
    channels_last = shape.channels_last
    step = BACKWARD * shape.flops * batch_size
    if machine.device != "cpu":
        compiled = is_gpu(machine.device) and shape.convolves and alike * steps >= COMPILED_STEPS
        fused = alike >= FEWEST_FUSED and step <= SMALL_STEP
        compiled = compiled and not fused  # which records by itself what it compiled
        recorded = is_gpu(machine.device) and not compiled
        return Arithmetic(fused, channels_last, compiled=compiled, recorded=recorded)
    if declared < machine.cores and step > SMALL_STEP:
        return Arithmetic(channels_last=channels_last, threads=machine.cores)
    fused = alike >= FEWEST_FUSED and step <= SMALL_STEP
    by_numpy = shape.multiplies and precision != "bf16" and machine.numpy_multiplies_faster
    return Arithmetic(fused, channels_last, by_numpy=fused and by_numpy)


def of_inference(shape: Shape, *, alike: int, machine: MachineClass) -> Arithmetic:
    """Return the arithmetic that models of one structure are evaluated with.

    Args:
        shape: of one of them.
        alike: how many models of this structure the declared design has.
        machine: the class of the machine.
    """
    fused = alike >= FEWEST_FUSED and shape.flops * BATCH <= FUSED_BATCH
    by_numpy = fused and shape.multiplies and machine.numpy_multiplies_faster
    return Arithmetic(fused, shape.channels_last, folded=True, by_numpy=by_numpy)


def _cores() -> int:
    """Return how many cores a process may use; OMP_NUM_THREADS, where a user set it, is a limit."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(available_cores(), int(limit) if limit.isdigit() else available_cores()))


def _processor(path: Path = Path("/proc/cpuinfo")) -> str:
    """Return maker, family and model of the processor; what Python knows where no file says it."""
    try:
        text = path.read_text()
    except OSError:
        return platform.processor() or platform.machine()
    keys = ("model name", "cpu family", "model")
    found = (re.search(rf"^{key}\s*: (.*)$", text, re.MULTILINE) for key in keys)
    name, *numbers = (match[1].strip() if match else "" for match in found)
    return f"{name} {'/'.join(filter(None, numbers))}".strip() or platform.machine()


def _numpy_blas() -> str:
    """Return the library and the kernels that numpy multiplies by: "openblas 0.3.31 Haswell"."""
    libraries = (each for each in threadpool_info() if each["user_api"] == "blas")
    return "; ".join(
        f"{each['internal_api']} {each['version']} {each.get('architecture', '')}".strip()
        for each in libraries
        if "numpy" in each["filepath"]
    )
