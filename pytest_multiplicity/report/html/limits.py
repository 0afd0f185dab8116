"""How much of a run the page shows: what keeps it below 5 MB whatever the run.

The JSON report has everything, and the page says so wherever it leaves something out. Escaped, a
character takes up to five bytes.
"""

from __future__ import annotations

FAMILY_BYTES = 4_300_000
"""Of all families together; those beyond it are only counted. The rest of the page takes less."""
CANDIDATE_BYTES = 1_400_000
"""Of one family's pages of candidates."""
CANDIDATES = 400
SPECS = 60
CELLS = 16_000
"""Cells of a family's sheets, before and after selection together."""
SHEETS = 40
METRIC_COLUMNS = 8
"""Metrics in the table of candidates."""
STRIPS = 48
POINTS = 80
"""Points of one strip."""
STRIP_POINTS = 400
"""Points of the lines over several values that survivors gave one sample."""
AGREEMENT = 80
"""Survivors in the agreement matrix."""
CONFLICTS = 24
"""Samples on which survivors disagree, per data set."""
CONFLICT_SETS = 4
GLYPHS = 50
"""Samples whose models are drawn one by one, per data set."""
GLYPH_SETS = 2
GLYPH_MODELS = 40
"""Drawings of one answer."""
ANSWERS = 6
"""Answers to one sample."""
TRADE_OFFS = 6
"""Metrics that are drawn against the first."""
RESPECTS = 12
"""Columns of a cascade."""
SIDE = 48
"""Pixels of a thumbnail's longer side."""
EPOCHS = 40
"""Points of a training curve."""
CURVES = 4
"""Curves in one candidate's plot."""
ROWS = 50
"""Lines of any other list: gates, warnings, notes, metrics, definitions, versions."""
OPEN = 5
"""Gates that passed and are listed at once; more are folded in, as nobody has to act on them."""
LINES = 8
"""Lines of a gate's message."""
NAME = 80
"""Characters of a name."""
PROSE = 300
"""Characters of a docstring, a message, a definition."""
COMPARISONS = 4
"""Comparisons with incumbents that have columns of their own."""
