"""How a run is spread over processes, as far as its need of memory depends on it. Torch-free."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dexvla.errors import UserError
from dexvla.mappings import read_mapping
from dexvla.train.configs import AccelerateConfig, accelerate_file

_OFFLOADED = {"cpu", "nvme"}


@dataclass(frozen=True, kw_only=True)
class Launch:
    """processes: in all; machines: that they stand on. sharded: DeepSpeed ZeRO-2 splits gradients and optimiser over
    them; offload: and keeps them in main memory."""

    processes: int = 1
    machines: int = 1
    sharded: bool = False
    offload: bool = False

    def __post_init__(self) -> None:
        if self.processes < 1 or self.machines < 1 or self.processes % self.machines:
            raise UserError(f"{self.processes} processes do not spread evenly over {self.machines} machines")

    @property
    def here(self) -> int:
        """Processes of a machine."""
        return self.processes // self.machines

    def words(self) -> str:
        count = f"{self.processes} process{'es' if self.processes > 1 else ''}"
        return count + (", ZeRO-2" if self.sharded else "") + (" with offload" if self.offload else "")


def read_launch(config: str | None, processes: int | None) -> Launch:
    """A launch as an accelerate configuration file says it, or one of ours by its name (zero2, zero2-offload).

    processes: of the command line, over that of the file. Raises UserError for a file that is none, and for DeepSpeed
    stages other than 2.
    """
    if config is None:
        return Launch(processes=processes or 1)
    known = {name.value: name for name in AccelerateConfig}
    path = accelerate_file(known[config]) if config in known else Path(config)
    fields = _mapping(path)
    told = {"processes": processes or fields.get("num_processes", 1), "machines": fields.get("num_machines", 1)}
    for name, value in told.items():
        if type(value) is not int:
            raise UserError(f"{path}: num_{name} is {value!r}, expected a number")
    if str(fields.get("distributed_type", "NO")).upper() != "DEEPSPEED":
        return Launch(**told)
    section = fields.get("deepspeed_config") or {}
    if not isinstance(section, dict):
        raise UserError(f"{path}: deepspeed_config is {section!r}, expected its fields")
    stage, device = section.get("zero_stage", 2), section.get("offload_optimizer_device", "none")
    if "deepspeed_config_file" in section:
        inner = _mapping(path.parent / str(section["deepspeed_config_file"])).get("zero_optimization", {})
        stage, device = zero_settings(inner if isinstance(inner, dict) else {})
    if stage != 2:
        raise UserError(f"{path}: asks for ZeRO stage {stage}; runs here take stage 2")
    return Launch(**told, sharded=True, offload=device in _OFFLOADED)


def zero_settings(section: dict[str, Any]) -> tuple[Any, str]:
    """(stage, where the optimiser is kept) of DeepSpeed's section zero_optimization."""
    offload = section.get("offload_optimizer") or {}
    return section.get("stage"), str(offload.get("device", "none"))


def _mapping(path: Path) -> dict[str, Any]:
    return read_mapping(path, "a configuration of accelerate")
