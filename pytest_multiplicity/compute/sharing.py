"""What crosses into worker processes: code by value where it can't be imported, arrays by mapping.

Data sets are large and workers many, so the memory of a tensor, or of an array such as a frame's
columns are in, is written to a file once (in memory, where the system has such a place) and every
worker maps it. Writing changes the writer's view only.
"""

from __future__ import annotations

import io
import math
import pickle
import shutil
import sys
import tempfile
import warnings
from collections import ChainMap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Generic, TypeVar

import cloudpickle  # type: ignore[import-untyped]
import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.store import is_project

SMALLEST_SHARED = 1 << 16  # bytes; what is smaller travels in the message
PREFIX, OWNED = "multiplicity-", "owned.lock"
_MEMORY = Path("/dev/shm")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Shared(Generic[T]):
    """A value that several tasks have in common; each gets a copy of its own."""

    value: T

    @cached_property
    def pickled(self) -> bytes:
        """The value as it travels; with the project's code, where that is asked for."""
        return pickled(self.value)


def _reduced(module: ModuleType) -> tuple[Any, ...]:
    """Reduce a module as cloudpickle does; of one that goes with its code, not who loaded it.

    That is, of a test module, pytest itself.
    """
    reduced: tuple[Any, ...] = cloudpickle.Pickler.dispatch_table[ModuleType](module)
    make, (name, *content) = reduced
    if not content:
        return reduced
    (attributes,) = content
    kept = {key: attributes[key] for key in attributes if key not in ("__loader__", "__spec__")}
    return make, (name, kept)


class CodePickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles functions and classes, and modules, with their code where that is asked for."""

    dispatch_table: ClassVar = ChainMap({ModuleType: _reduced}, cloudpickle.Pickler.dispatch_table)


def pickled(value: Any) -> bytes:
    """Pickle a value; see `project_code_by_value`. Raises what its parts raise."""
    buffer = io.BytesIO()
    CodePickler(buffer).dump(value)
    return buffer.getvalue()


class SharedFolder:
    """A folder of shared tensors, and pickles that refer to it; to be closed at the end."""

    def __init__(self) -> None:
        place = _memory_folder()
        _remove_orphans(place)
        self._folder = tempfile.TemporaryDirectory(prefix=PREFIX, dir=place)
        self._owned = FileLock(Path(self._folder.name) / OWNED)
        self._owned.acquire()
        self._files: dict[tuple[int, int], tuple[Path, torch.UntypedStorage]] = {}
        self._values: dict[int, tuple[Path, Shared[Any]]] = {}

    def close(self) -> None:
        """Remove the shared files; who has mapped them keeps them."""
        self._owned.release()
        self._folder.cleanup()

    def dumps(self, value: Any) -> bytes:
        """Pickle a value for a worker.

        Raises:
            UnsharableError: some part of it can't be pickled; the message says which.
        """
        buffer = io.BytesIO()
        with project_code_by_value():
            try:
                _Pickler(self, buffer).dump(value)
            except Exception as error:
                raise UnsharableError(f"{type(error).__name__}: {error}") from error
        return buffer.getvalue()

    def pickle_of(self, shared: Shared[Any]) -> Path:
        """Return the file that has a shared value's pickle, written on first use."""
        if id(shared) not in self._values:
            buffer = io.BytesIO()
            _Pickler(self, buffer).dump(shared.value)
            path = Path(self._folder.name) / f"{len(self._values)}.pickle"
            path.write_bytes(buffer.getvalue())
            self._values[id(shared)] = path, shared  # kept, so that its id isn't used again
        return self._values[id(shared)][0]

    def file_of(self, storage: torch.UntypedStorage) -> Path:
        """Return the file that has a storage's content, written on first use."""
        key = storage.data_ptr(), storage.nbytes()
        if key not in self._files:
            path = Path(self._folder.name) / f"{len(self._files)}.bin"
            content = torch.empty(0, dtype=torch.uint8).set_(storage)
            content.numpy().tofile(path)
            self._files[key] = path, storage  # kept, so that its address isn't used again
        return self._files[key][0]


class UnsharableError(MultiplicityError):
    """Something can't be sent to a worker process."""


class _Pickler(CodePickler):
    def __init__(self, sharing: SharedFolder, buffer: io.BytesIO) -> None:
        super().__init__(buffer)
        self.sharing = sharing

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is Shared:
            return _own_copy, (str(self.sharing.pickle_of(obj)),)
        if type(obj) is Tensor and _is_sharable(obj):
            storage = obj.untyped_storage()
            path = str(self.sharing.file_of(storage))
            place = (obj.storage_offset(), tuple(obj.shape), obj.stride())
            return _mapped, (path, storage.nbytes(), obj.dtype, *place)
        if type(obj) is np.ndarray and _is_plain(obj):
            laid = obj if obj.flags.c_contiguous else obj.T  # as pandas keeps columns
            values = _bytes_of(laid)
            storage = values.untyped_storage()
            path, offset = str(self.sharing.file_of(storage)), values.storage_offset()
            layout = (obj.dtype.str, obj.shape, laid is obj)
            return _mapped_array, (path, storage.nbytes(), offset, *layout)
        return super().reducer_override(obj)


def _is_plain(array: np.ndarray[Any, Any]) -> bool:
    laid = array.flags.c_contiguous or array.flags.f_contiguous
    return laid and array.dtype.kind in "biufcmM" and array.nbytes >= SMALLEST_SHARED


def _bytes_of(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor on an array's memory, which may be read-only: nobody writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(array.reshape(-1).view(np.uint8))


def _mapped_array(
    path: str, size: int, offset: int, dtype: str, shape: tuple[int, ...], rows_first: bool
) -> np.ndarray[Any, Any]:
    count = math.prod(shape) * np.dtype(dtype).itemsize
    values = torch.empty(0, dtype=torch.uint8).set_(_mapping(path, size), offset, (count,), (1,))
    flat = values.numpy().view(dtype)
    return flat.reshape(shape, order="C" if rows_first else "F")


def _is_sharable(tensor: Tensor) -> bool:
    plain = tensor.layout is torch.strided and not tensor.requires_grad and not tensor.is_conj()
    return plain and tensor.device.type == "cpu" and tensor.nbytes >= SMALLEST_SHARED


def _mapped(
    path: str, size: int, dtype: torch.dtype, offset: int, shape: tuple[int, ...], stride: Any
) -> Tensor:
    storage = _mapping(path, size)
    return torch.empty(0, dtype=dtype).set_(storage, offset, shape, stride)


def _own_copy(path: str) -> Shared[Any]:
    """Return a shared value for one task, which may write to it: what is mapped is mapped anew."""
    _mapping.cache_clear()
    return Shared(pickle.loads(Path(path).read_bytes()))


@cache
def _mapping(path: str, size: int) -> torch.UntypedStorage:
    return torch.from_file(path, shared=False, size=size, dtype=torch.uint8).untyped_storage()


def _memory_folder() -> Path:
    """Prefer memory to disk where it is not the 64 MiB that containers give by default."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 1 << 30
    return _MEMORY if roomy else Path(tempfile.gettempdir())


def _remove_orphans(place: Path) -> None:
    """Remove what killed runs left, memory that nobody would give back: their locks are free."""
    for path in place.glob(f"{PREFIX}*/{OWNED}"):
        try:
            with FileLock(path).acquire(blocking=False):
                shutil.rmtree(path.parent, ignore_errors=True)
        except (Timeout, OSError):  # in use, somebody else's, or gone
            continue


@contextmanager
def project_code_by_value(*, far: bool = False) -> Iterator[None]:
    """Have modules that another process can't import, or shouldn't, pickled with their code.

    `far`: that process is on another machine, and has what is installed, nothing of the project.
    """
    modules = [
        sys.modules[name] for name in _local_modules(_loaded(), tuple(map(str, sys.path)), far)
    ]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def hidden() -> list[str]:
    """Return the libraries' modules loaded here that this `sys.path` finds as another file.

    A project's `random.py`, say, in a folder that became part of it since.
    """
    return _hidden(_loaded(), tuple(map(str, sys.path)))


def _loaded() -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return what tells apart which modules are loaded: others may be as many.

    Asked for every task that is sent, so without an object for each of thousands of modules.
    """
    modules = sys.modules.copy()
    return tuple(modules), tuple(map(id, modules.values()))


@lru_cache(maxsize=1)
def _hidden(loaded: object, path: tuple[str, ...]) -> list[str]:
    files = {
        name: module.__file__
        for name, module in list(sys.modules.items())
        if "." not in name and getattr(module, "__file__", None)
    }
    return [
        name
        for name, file in files.items()
        if (name in sys.stdlib_module_names or _is_installed(str(file)))
        and (spec := PathFinder.find_spec(name)) is not None
        and spec.origin != file
    ]


def _is_installed(file: str) -> bool:
    return any(part in ("site-packages", "dist-packages") for part in Path(file).parts)


@lru_cache(maxsize=1)
def _local_modules(loaded: object, path: tuple[str, ...], far: bool) -> list[str]:
    """Return their names. It takes a tenth of a second, so look again only where it changed."""
    modules = list(sys.modules.items())
    return [name for name, module in modules if _is_local(name, module, path, far)]


def _is_local(name: str, module: ModuleType | None, path: tuple[str, ...], far: bool) -> bool:
    file = getattr(module, "__file__", None)
    if file is None or name == "__main__" or not Path(file).is_absolute():
        return False
    if not is_project(name, file):
        return False
    last = name.rpartition(".")[2]
    is_test = last == "conftest" or last.startswith("test_") or last.endswith("_test")
    return far or is_test or not _importable(name, file, path)


@cache
def _importable(name: str, file: str, path: Sequence[str] | None) -> bool:
    """Say whether a new process with this `sys.path` would import this very file by this name."""
    for depth in range(1, name.count(".") + 2):
        spec = PathFinder.find_spec(".".join(name.split(".")[:depth]), path)
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return spec is not None and spec.origin == file
