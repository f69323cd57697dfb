"""Who may do what: each role may do what the one before may."""

from enum import StrEnum


class Role(StrEnum):
    """viewer: look. annotator: label. operator: datasets, robots, training. admin: people and settings."""

    VIEWER = "viewer"
    ANNOTATOR = "annotator"
    OPERATOR = "operator"
    ADMIN = "admin"

    def allows(self, needed: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)
