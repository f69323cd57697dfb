"""The base of every spec."""

from pydantic import BaseModel, ConfigDict


class Spec(BaseModel):
    """Frozen, no unknown fields, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
