"""A card, read by Hugging Face's own parser: its results are the JSON's."""

from __future__ import annotations

import pytest
from support.carded import MORE, SUITE, read

huggingface_hub = pytest.importorskip("huggingface_hub")


def test_its_results_are_those_of_the_json(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_people=SUITE + MORE)
    result = pytester.runpytest_inprocess(
        "-p", "no:randomly", "--multiplicity-json=report.json", "--multiplicity-card=card.md"
    )
    assert result.ret == 0
    text, report = read(pytester.path)
    card = huggingface_hub.ModelCard(text, ignore_metadata_errors=False)
    (family,) = report["families"]
    pick = next(each for each in family["candidates"] if each["id"] == family["pick"]["id"])
    assert card.data.model_name == f"candidate {pick['id']}"
    told = {each.metric_name: each.metric_value for each in card.data.eval_results}
    assert told == {name: score for name, score in pick["scores"].items() if score is not None}
    assert {each.dataset_type for each in card.data.eval_results} == {"people"}
    assert card.data.tags == ["model-multiplicity"]
    again = huggingface_hub.ModelCard(str(card))  # written and read by their code
    assert again.data.eval_results == card.data.eval_results
