"""Modules that came ready-made are measured as they came, whoever changes what since."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from support.bench import bench
from torch import nn

import pytest_multiplicity as pm
from pytest_multiplicity.errors import MeasurementError
from pytest_multiplicity.inference.given import apart, is_compiled
from pytest_multiplicity.store import fingerprint

__all__ = ["bench"]


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    )


def zeroed(module):
    for parameter in module.parameters():
        parameter.data.zero_()


def loaded(module):
    module.load_state_dict(network(9).state_dict())


def trained(module):
    module.train().requires_grad_(True)
    module(torch.rand(6, 4)).sum().backward()
    torch.optim.SGD(module.parameters(), lr=1.0).step()


CHANGES = {
    "weights": zeroed,
    "state": loaded,
    "training": trained,
    "mode": lambda module: module.train(),
    "gradients": lambda module: module.requires_grad_(True),
    "hook": lambda module: module.register_forward_hook(lambda *args: args[-1] * 0),
    "buffer": lambda module: module[2].running_var.fill_(100.0),
    "layer": lambda module: module.__setitem__(1, nn.Identity()),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["given", "trained"])
def test_nobodys_changes_reach_what_is_measured(kind, change, bench):
    def made(config):
        if kind == "given":
            return network(config.seed)
        return pm.Recipe(lambda: network(config.seed), bench.train, epochs=1, batch_size=16)

    expected = bench.family(made, vary={}).candidates[0].logits(bench.train)
    candidate = bench.family(made, vary={}).candidates[0]
    candidate.logits(bench.test)
    CHANGES[change](candidate.module)
    assert torch.equal(candidate.logits(bench.train, under=pm.InputNoise(0)), expected)
    torch.testing.assert_close(candidate.module(bench.train.inputs), expected)
    again = candidate.module
    assert not again.training
    assert not any(each.requires_grad for each in again.parameters())


@pytest.mark.parametrize("change", ["mode", "gradients", "hook", "layer"])
def test_nor_do_those_of_who_made_it(change, bench):
    held = [network(seed) for seed in range(2)]
    expected = [copy.deepcopy(each).eval()(bench.test.inputs) for each in held]
    population = bench.family(lambda config: held[config.seed], vary={})
    CHANGES[change](held[0])
    for candidate, answer in zip(population.candidates, expected, strict=True):
        torch.testing.assert_close(candidate.logits(bench.test), answer)
    assert held[1].training
    assert all(each.requires_grad for each in held[1].parameters())


@pytest.mark.parametrize("change", ["weights", "state", "training", "buffer"])
def test_weights_that_their_owner_changes_are_refused(change, bench):
    held = [network(seed) for seed in range(2)]
    population = bench.family(lambda config: held[config.seed], vary={})
    first, second = population.candidates
    first.accuracy(bench.test)
    CHANGES[change](held[0])
    with pytest.raises(MeasurementError, match=r"default-seed0 were changed.*copy\.deepcopy"):
        first.accuracy(bench.train)
    with pytest.raises(MeasurementError, match="default-seed0"):
        second.accuracy(bench.train)


def test_weights_that_are_written_anew_are_no_others(bench):
    held = network()
    candidate = bench.family(lambda config: held, vary={}, seeds=1).candidates[0]
    score = candidate.accuracy(bench.test)
    held.load_state_dict(held.state_dict())
    assert candidate.accuracy(bench.test, under=pm.InputNoise(0)) == score


def test_what_is_measured_shares_its_weights_with_what_was_given():
    module = network()
    module[4].weight = module[1].weight = nn.Parameter(torch.rand(8, 8))  # tied
    own = apart(module, weights=False)
    assert own[1].weight.data_ptr() == module[1].weight.data_ptr()
    assert own[1].weight is own[4].weight
    assert own[1].weight is not module[1].weight
    copied = apart(module, weights=True)
    assert copied[1].weight.data_ptr() != module[1].weight.data_ptr()
    assert copied[1].weight is copied[4].weight


class Locked(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.lock = nn.Linear(4, 2), threading.Lock()

    def forward(self, x):
        with self.lock:
            return self.layer(x.flatten(1))


def test_what_cannot_be_copied_is_measured_all_the_same(bench):
    module = Locked()
    expected = module(bench.test.inputs).detach()
    for candidate in bench.family(lambda config: module).candidates:
        candidate.module.train()
        torch.testing.assert_close(candidate.logits(bench.test), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", [
    "scripted", "scripted while training", "traced", "frozen", "optimised", "exported",
    "part scripted", "symbolically traced", "compiled", "quantized", "weight norm",
    "parametrized", "pruned",
])  # fmt: skip
def test_modules_of_every_make_are_measured_as_they_are(kind, bench):
    def made(config):
        return MAKES[kind](network(config.seed).eval(), bench.test.inputs)

    first = bench.family(made, vary={}).candidates
    for seed, candidate in enumerate(first):
        module = MAKES[kind](network(seed).eval(), bench.test.inputs)
        if kind == "scripted while training":
            module.eval()
        with torch.no_grad():
            expected = module(bench.test.inputs)
        torch.testing.assert_close(candidate.logits(bench.test), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(candidate.module(bench.test.inputs), expected)
    again = bench.family(made, vary={})  # from the store
    for one, other in zip(first, again.candidates, strict=True):
        assert torch.equal(one.logits(bench.test), other.logits(bench.test))
    assert again.models.counts.inferred == 0


def pruned(module, _):
    from torch.nn.utils import prune

    prune.l1_unstructured(module[1], "weight", 0.3)
    return module


def weight_normed(module, _):
    module[1] = nn.utils.weight_norm(module[1])
    return module


def parametrized(module, _):
    nn.utils.parametrizations.weight_norm(module[1])
    return module


def exported(module, inputs):
    sizes = ({0: torch.export.Dim.AUTO},)
    return torch.export.export(module, (inputs[:7],), dynamic_shapes=sizes).module()


MAKES = {
    "scripted": lambda module, _: torch.jit.script(module),
    "scripted while training": lambda module, _: torch.jit.script(module.train()),
    "traced": torch.jit.trace,
    "frozen": lambda module, _: torch.jit.freeze(torch.jit.script(module)),
    "optimised": lambda module, _: torch.jit.optimize_for_inference(torch.jit.script(module)),
    "exported": exported,
    "part scripted": lambda module, _: nn.Sequential(torch.jit.script(module)),
    "symbolically traced": lambda module, _: torch.fx.symbolic_trace(module),
    "compiled": lambda module, _: torch.compile(module, backend="eager"),
    "quantized": lambda module, _: torch.ao.quantization.quantize_dynamic(module, {nn.Linear}),
    "weight norm": weight_normed,
    "parametrized": parametrized,
    "pruned": pruned,
}


def test_what_is_compiled_is_told_from_what_is_not():
    module = network().eval()
    assert not is_compiled(module)
    assert not is_compiled(torch.fx.symbolic_trace(module))


class Trainer:
    """Nobody can tell what it is: it holds a generator."""

    def __init__(self):
        self.steps = (each for each in range(3))


class WithTrainer(nn.Module):
    """As Lightning's modules, which leave their trainer behind when they are copied."""

    def __init__(self):
        super().__init__()
        self.layer, self._trainer = nn.Linear(4, 2), None

    def __getstate__(self):
        return {**vars(self), "_trainer": None}

    def forward(self, x):
        return self.layer(x.flatten(1))


def test_a_module_that_leaves_its_trainer_behind_is_taken_as_it_is(bench):
    module = WithTrainer()
    known = fingerprint(module)
    expected = module(bench.test.inputs)
    module._trainer = Trainer()
    assert fingerprint(module) == known
    candidate = bench.family(lambda config: module, seeds=1, vary={}).candidates[0]
    torch.testing.assert_close(candidate.logits(bench.test), expected.detach())
