"""What all parts of a spec have in common: they are frozen, and know no other fields."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Letters = Annotated[str, Field(max_length=20)]
"""The letters of axes."""


class StrictModel(BaseModel):
    """A part of a spec."""

    # Infinite numbers and NaN are no measure of anything, and can't be written in every file.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
