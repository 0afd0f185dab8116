"""Batch norm folded into the layer before it: in eval mode, one affine map after another.

Where that is done, a ReLU also comes after the max pooling that it stood before: the same, of fewer
values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from pytest_multiplicity.compute import Unfusable, copied, out_of_memory

_FOLDS: dict[tuple[type[nn.Module], type[nn.Module]], Callable[..., nn.Module]] = {
    (nn.Conv1d, nn.BatchNorm1d): fuse_conv_bn_eval,
    (nn.Conv2d, nn.BatchNorm2d): fuse_conv_bn_eval,
    (nn.Conv3d, nn.BatchNorm3d): fuse_conv_bn_eval,
    (nn.Linear, nn.BatchNorm1d): fuse_linear_bn_eval,
}


def folded(module: nn.Module) -> nn.Module | None:
    """Copy a module in eval mode with its batch norms folded into the layers before them.

    None where there is nothing to fold, or the module's code can't be traced. The copy agrees with
    the module to rounding where the code's flow doesn't depend on values: compare them.
    """
    if not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
        return None
    try:
        traced = fx.symbolic_trace(copied(module))
    except Exception as error:  # user code ran on something that only resembles a tensor
        if out_of_memory(error):
            raise
        return None
    return traced if _fold(traced) else None


def prepared(modules: Sequence[nn.Module], *, folded: bool) -> list[nn.Module]:
    """Return modules as they are before they are put side by side: `folded`, where they are to be.

    Raises:
        Unfusable: there is no batch norm that can be folded.
    """
    return [_folded(each) if folded else each for each in modules]


def _folded(module: nn.Module) -> nn.Module:
    found = folded(module)
    if found is None:
        raise Unfusable("there is no batch norm that can be folded")
    return found


def _fold(traced: fx.GraphModule) -> int:
    """Fold what can be folded in a module's graph, and say how many batch norms that were."""
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    pairs = [pair for node in traced.graph.nodes if (pair := _pair(traced, node, calls))]
    for layer, norm in pairs:
        parts = [traced.get_submodule(str(node.target)) for node in (layer, norm)]
        with torch.no_grad():
            one = _FOLDS[type(parts[0]), type(parts[1])](*parts)
        traced.set_submodule(str(layer.target), one.requires_grad_(False))
        norm.replace_all_uses_with(layer)
        traced.graph.erase_node(norm)
    for node in list(traced.graph.nodes):
        _pool_first(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return len(pairs)


def _pool_first(traced: fx.GraphModule, pool: fx.Node) -> None:
    """Have a ReLU come after the max pooling that alone uses it: the largest value stays so."""
    if not _is(traced, pool, nn.MaxPool2d, nn.MaxPool1d, nn.MaxPool3d) or not pool.args:
        return
    relu = pool.args[0]
    if not isinstance(relu, fx.Node) or not _is(traced, relu, nn.ReLU) or len(relu.users) > 1:
        return
    before = relu.args[0] if relu.args else None
    if not isinstance(before, fx.Node) or len(before.users) > 1:  # who may see it done in place
        return
    if getattr(traced.get_submodule(str(pool.target)), "return_indices", False):
        return
    pool.replace_input_with(relu, before)
    traced.graph.erase_node(relu)
    with traced.graph.inserting_after(pool):
        after = traced.graph.call_module(str(relu.target), (before,))
    pool.replace_all_uses_with(after)
    after.args = (pool,)


def _is(traced: fx.GraphModule, node: fx.Node, *kinds: type[nn.Module]) -> bool:
    if node.op != "call_module":
        return False
    return type(traced.get_submodule(str(node.target))) in kinds


def _pair(
    traced: fx.GraphModule, norm: fx.Node, calls: Counter[object]
) -> tuple[fx.Node, fx.Node] | None:
    """Return a layer and the batch norm that alone uses its outputs, each called once."""
    layer = norm.args[0] if norm.args else None
    if not isinstance(layer, fx.Node) or {layer.op, norm.op} != {"call_module"}:
        return None
    if len(layer.users) > 1 or calls[layer.target] > 1 or calls[norm.target] > 1:
        return None
    parts = [traced.get_submodule(str(node.target)) for node in (layer, norm)]
    if (type(parts[0]), type(parts[1])) not in _FOLDS or parts[1].running_mean is None:
        return None
    return layer, norm
