"""A row of the results: what was measured, beside what, and what was asked of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

from timing import Times

MARK = "RESULT "


@dataclass
class Row:
    """One figure.

    Attributes
    ----------
    kind
        "faster": the peer takes at least `asked` times as long. "cost": it takes at most `asked`
        times what the peer takes. "limit": it takes at most `asked`. "note": nothing is asked.
    """

    what: str
    peer: str
    ours: float
    theirs: float | None
    unit: str
    kind: Literal["faster", "cost", "limit", "note"]
    asked: float | None = None
    spread: str = ""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of_times(
        cls,
        what: str,
        peer: str,
        ours: Times,
        theirs: Times,
        kind: Literal["faster", "cost", "note"],
        asked: float | None,
        *notes: str,
    ) -> Row:
        """Return the row of two sides that took turns: their medians, with the spread noted."""
        row = cls(what, peer, ours.median, theirs.median, "s", kind, asked)
        fastest = cls(what, peer, min(ours.seconds), min(theirs.seconds), "s", kind)
        row.spread = f"ours {ours.spread()}; peer {theirs.spread()}"
        row.notes = [f"ratio of the fastest {fastest.ratio:.3g}", *notes]
        return row

    @classmethod
    def alone(cls, what: str, ours: Times, note: str) -> Row:
        """Return the row of what has no peer here."""
        return cls(what, "", ours.median, None, "s", "note", None, f"ours {ours.spread()}", [note])

    @property
    def ratio(self) -> float | None:
        if self.theirs is None:
            return None
        return self.theirs / self.ours if self.kind == "faster" else self.ours / self.theirs

    @property
    def met(self) -> bool | None:
        if self.asked is None or self.kind == "note":
            return None
        if self.kind == "limit":
            return self.ours <= self.asked
        assert self.ratio is not None
        return self.ratio >= self.asked if self.kind == "faster" else self.ratio <= self.asked

    def cells(self) -> list[str]:
        """Return the row of the table."""

        def number(value: float | None) -> str:
            return "" if value is None else f"{value:.3g} {self.unit}".strip()

        asked = {
            "faster": f"≥ {self.asked} × faster",
            "cost": f"≤ {self.asked} ×",
            "limit": f"≤ {self.asked} {self.unit}".strip(),
            "note": "",
        }[self.kind]
        ratio = "" if self.ratio is None else f"{self.ratio:.3g} ×"
        if self.kind == "faster":
            ratio += " faster"
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return [self.what, self.peer, number(self.ours), number(self.theirs), ratio, asked, met]


def hand_over(*rows: Row) -> None:
    """Print rows for the process that started this one."""
    for row in rows:
        print(MARK + json.dumps(asdict(row)), flush=True)


def taken_from(output: str) -> list[Row]:
    """Return the rows that a process printed."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    return [Row(**json.loads(line[len(MARK) :])) for line in lines]
