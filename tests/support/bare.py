"""A robot's machine, for tests: a process in which nothing of the studio can be imported, as after
`pip install '.[robot]'` without the studio's packages and with the studio's own code hidden."""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

NOT_THERE = ("sqlalchemy", "backend", "fastapi", "celery", "redis", "alembic", "psycopg", "pydantic_settings", "torch")


class _Missing(MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in NOT_THERE:
            raise ModuleNotFoundError(f"No module named {name!r}: a robot's machine has none", name=name)
        return None


def hide_the_studio() -> None:
    """From here on."""
    assert not sys.modules.keys() & set(NOT_THERE)
    sys.meta_path.insert(0, _Missing())


if __name__ == "__main__":  # python -m tests.support.bare robot --studio URL ...
    hide_the_studio()
    from worker.cli import main

    main()
