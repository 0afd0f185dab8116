"""The examples of docs/incumbent.md run."""

from __future__ import annotations

import re
from pathlib import Path

from support.recorded_suite import run

PAGE = (Path(__file__).parents[2] / "docs/incumbent.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

SUITE = """
import pandas as pd
import pytest
import torch
from torch import nn
import pytest_multiplicity as pm

def people(n, name, seed):
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    x = (torch.rand(n, 4, generator=rng) + 0.6 * y[:, None]) / 1.6
    old = [18 + 7 * i % 67 for i in range(n)]
    frame = pd.DataFrame({"customer": range(n), "age": old, "sex": ["f", "m", "m"] * (n // 3)})
    return pm.Data(x, y, frame.assign(age_group=frame.age >= 50), name=name)

def Net():
    return nn.Linear(4, 2)

@pytest.fixture(scope="session")
def train():
    return people(300, "train", 0)

@pytest.fixture(scope="session")
def held_out():
    return people(1200, "people", 1).split(0.5)

@pm.family(default={"lr": 0.1}, vary={"lr": [0.05]}, seeds=2)
def candidate(config, train):
    return pm.Recipe(Net, train, epochs=20, batch_size=16, lr=config.lr)
"""


def test_examples(pytester):
    pytester.makepyfile(test_page="\n".join([SUITE, *EXAMPLES]))
    code = """
    import torch
    from test_page import Net, people

    torch.manual_seed(0)
    net, data = Net(), people(300, "train", 0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(200):
        loss = torch.nn.functional.cross_entropy(net(data.inputs), data.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(net.state_dict(), "production.pt")
    whole = people(1200, "people", 1)
    said = whole.attributes[["customer"]].assign(says=net(whole.inputs).argmax(1).numpy())
    said.sample(frac=1, random_state=0).to_csv("answers.csv", index=False)
    """
    pytester.makepyfile(make=code)
    pytester.syspathinsert()
    exec(compile((pytester.path / "make.py").read_text(), "make.py", "exec"), {})
    result, report = run(pytester)
    assert "failed" not in result.parseoutcomes(), result.stdout.str()
    assert "errors" not in result.parseoutcomes(), result.stdout.str()
    (family,) = report["families"]
    assert {each["incumbent"] for each in family["comparisons"]} == {"production", "last_year"}
    assert all(gate["outcome"] == "passed" for gate in report["gates"])
    assert sum(each["gap"] is not None for each in family["sheets"]) == 3
