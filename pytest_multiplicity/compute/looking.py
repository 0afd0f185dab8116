"""What Python does in a step of training isn't done again by a graph: whether that matters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn

from pytest_multiplicity.compute.devices import host_randomness
from pytest_multiplicity.compute.lanes import Lanes
from pytest_multiplicity.compute.outside import changed, outside_of, snapshot
from pytest_multiplicity.errors import MultiplicityError
from pytest_multiplicity.store import fingerprint

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def looking(module: nn.Module, losses: Sequence[object]) -> Callable[[], str | None]:
    """Look at a training before a step; what is returned says, after it, why not to record it.

    Args:
        module: what is trained.
        losses: functions, or names of those that are known.
    """
    losses = [loss for loss in losses if not isinstance(loss, str)]
    drawn, before, known = host_randomness(), snapshot(module), _content(losses)
    places, tensors = dict(outside_of(module)), list(map(id, _tensors(module)))

    def why() -> str | None:
        if any(getattr(part, name, None) for part in module.modules() for name in HOOKS):
            return "the model has hooks"
        if any(map(_hooked, module.parameters())):
            return "parameters of the model have hooks"
        if drawn != host_randomness():
            return "the model or the loss draws random numbers on the host"
        now = dict(outside_of(module))
        moved = [
            place
            for place, value in now.items()
            if isinstance(value, Tensor | Lanes) and value is not places.get(place)
        ]
        other = [place for place in changed(now, before) if not isinstance(now[place], Tensor)]
        for path, name in moved + other:
            return f"the model sets {path}.{name}".replace(" .", " ") + " in each step"
        if tensors != list(map(id, _tensors(module))):
            return "the model replaces parameters or buffers in each step"
        if losses and (known is None or known != _content(losses)):
            return "the loss keeps a state, or shows none"
        return None

    return why


def _tensors(module: nn.Module) -> Iterator[object]:
    """Yield parameters and buffers; of a model of lanes what stands for them."""
    for part in module.modules():
        yield from part._parameters.values()
        yield from part._buffers.values()


def _hooked(parameter: Tensor) -> bool:
    names = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return isinstance(parameter, Tensor) and any(getattr(parameter, name, None) for name in names)


def _content(losses: Sequence[object]) -> str | None:
    try:
        return fingerprint(losses)
    except MultiplicityError:
        return None
