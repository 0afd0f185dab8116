"""Prompts as candidates: one language model, asked in several ways.

`published` is table 1 of "Rethinking Hallucinations: Prompt Multiplicity" (arXiv 2602.00723), in
percent: for six language models and three benchmarks the accuracy over prompt structures, its
standard deviation, and the ambiguity, the share of questions to which the structures give
different answers.

`prompt` is a small table that is made here, so that what lies behind such numbers can be looked at.
No language model is asked: for each question there are four options with a probability each, and
five prompts draw an answer from these, a share of them all the same one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pytest_multiplicity as pm

MODELS = pd.read_csv(Path(__file__).with_name("published.csv")).assign(seed=0)
OPTIONS = np.array(["A", "B", "C", "D"])
PROMPTS = ("plain", "polite", "example first", "options last", "step by step")
QUESTIONS = 600
SURE = 0.45  # share of the questions that no wording changes

published = pm.recorded(MODELS, default={"model": "GPTNeoX-20B"})


def asked() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the questions, and a row for each answer: question, prompt, said."""
    rng = np.random.default_rng(2602)
    right = rng.integers(4, size=QUESTIONS)
    known = rng.beta(0.6, 1.2, size=QUESTIONS)  # how much the model knows of it
    chances = np.full((QUESTIONS, 4), 1.0) * ((1 - known) / 3)[:, None]
    chances[np.arange(QUESTIONS), right] = known
    sure = rng.random(QUESTIONS) < SURE
    first = _draw(chances, rng)
    said = [np.where(sure, first, _draw(chances, rng)) for _ in PROMPTS]
    table = pd.DataFrame(
        {
            "question": np.tile(np.arange(QUESTIONS), len(PROMPTS)),
            "prompt": np.repeat(PROMPTS, QUESTIONS),
            "said": OPTIONS[np.concatenate(said)],
        }
    )
    topic = np.array(["history", "health"])[rng.integers(2, size=QUESTIONS)]
    questions = pd.DataFrame(
        {"question": np.arange(QUESTIONS), "right": OPTIONS[right], "topic": topic}
    )
    return questions, table


def _draw(chances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random((len(chances), 1)) > chances.cumsum(1)).sum(1).clip(max=3)


ASKED, SAID = asked()
prompt = pm.answers(SAID, {"prompt": "plain"}, id="question", predict="said")


@pytest.fixture(scope="session")
def questions():
    texts = [f"question {number}: A, B, C or D?" for number in ASKED["question"]]
    return pm.Data(texts, ASKED["right"], ASKED[["question", "topic"]], name="questions").split(0.5)
