"""The paper's own study: the published scores of 45 face classifiers (Ganesh, WACV 2024, UTKFace).

The scores are data: nothing is trained, and torch is not imported. Four trustworthy metrics
select, four others are looked at before and after. ``group_*`` are accuracies on a group, ``ood_*``
on other data sets, ``output_noise_*`` and ``input_noise_*`` under noise, ``pgd_*`` under attack.
All were read off the paper's tables and figures (within 0.02 points).

Each family below holds the same 45 models; they differ in the rule that selects.
"""

from __future__ import annotations

import pytest_multiplicity as pm


def published():
    return pm.recorded(
        "utkface_scores.csv",
        default={
            "learning_rate": 0.1,
            "batch_size": 128,
            "augmentation": "Rand",
            "optimizer": "SGD",
            "architecture": "R18",
        },
    )


cells_75, cells_50 = published(), published()
distinct_75, distinct_50 = published(), published()
