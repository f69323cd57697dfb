"""DexVLA: record, check, train, evaluate and serve vision-language-action policies.

Importing this package loads nothing heavy; import the room you need
(`dexvla.episodes`, `dexvla.robots`, `dexvla.model`, `dexvla.train`, `dexvla.act`, `dexvla.evaluate`).
"""

__version__ = "0.1.0"
