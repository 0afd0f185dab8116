"""The applicants of the German Credit data, as frames for pipelines and as tensors for networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

FILE = Path(__file__).with_name("german.csv")
NUMBERS = ["age", "credit_amount", "duration", "job"]
WORDS = ["sex", "housing", "saving_accounts", "checking_account", "purpose"]
YOUNG = 25


def read() -> tuple[pd.DataFrame, pd.Series, pd.DataFrame]:
    """Return what is known of each applicant, who repaid ("good"), and the groups they are in.

    What isn't known of an account is missing in the frame. ``weight`` is that of reweighing by sex.
    """
    table = pd.read_csv(FILE)
    risk = table.pop("risk").map({0: "bad", 1: "good"})
    groups = pd.DataFrame({"sex": table["sex"], "years": "over 25"})
    groups.loc[table["age"] <= YOUNG, "years"] = "up to 25"
    return table.replace("not_known", np.nan), risk, groups


def halves(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return who is trained on, and who is judged by: 500 each, drawn once."""
    order = np.random.default_rng(0).permutation(count)
    return np.sort(order[: count // 2]), np.sort(order[count // 2 :])


def reweighing(group: pd.Series, target: pd.Series) -> pd.Series:
    """Return weights that make group and target independent (Kamiran and Calders, 2012)."""
    frame = pd.DataFrame({"group": group, "target": target})

    def count(*by: str) -> pd.Series:
        return frame.groupby(list(by))["group"].transform("size")

    return count("group") * count("target") / (len(frame) * count("group", "target"))


def encoded(frame: pd.DataFrame, like: pd.DataFrame) -> dict[str, torch.Tensor]:
    """Return numbers scaled as in `like`, a column for each word there, and who is a man."""
    numbers = np.log1p(frame[NUMBERS].astype(float))
    scale = np.log1p(like[NUMBERS].astype(float))
    columns = [(numbers - scale.mean()) / scale.std()]
    for name in WORDS:
        known = pd.Categorical(frame[name], sorted(like[name].dropna().unique()))
        columns.append(pd.get_dummies(known, dtype=float).set_axis(frame.index))
    rows = np.concatenate([column.to_numpy(np.float32) for column in columns], axis=1)
    male = (frame["sex"] == "male").to_numpy(np.float32)
    return {"x": torch.from_numpy(rows), "male": torch.from_numpy(male)}
