from tests.support.team import team

__all__ = ["team"]
