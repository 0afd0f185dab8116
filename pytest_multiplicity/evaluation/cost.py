"""What a spec asks for, as passes through a model: by this the cheaper specs are judged first."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_multiplicity.inference import Asked


@dataclass
class Effort:
    """Passes of one candidate's samples through its model, by the logits they lead to.

    ``asked`` is what was asked for since it was last emptied; ``everybody`` are logits that the
    whole family was measured on. Groups and output noise need no logits of their own.
    """

    asked: dict[str, int] = field(default_factory=dict)
    everybody: set[str] = field(default_factory=set)

    def note(self, asked: Asked) -> None:
        """Something was asked for."""
        self.asked[asked.logits] = asked.passes

    def done(self, asked: Asked) -> None:
        """The whole family was measured."""
        self.everybody.add(asked.logits)
