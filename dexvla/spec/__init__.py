"""Typed, torch-free descriptions of everything that is stored, sent or filled in as a form.

Units stand in the descriptions; forms, command-line flags, validation and stored JSON come from these classes.
All are frozen. Unknown fields are refused, so that a typing mistake is not silently ignored.
"""

from dexvla.spec.base import Spec
from dexvla.spec.complaints import first_error
from dexvla.spec.conversion import ConvertSpec, Layout
from dexvla.spec.data import DatasetManifest, EpisodeEntry, NormStats, Segment, TaskEntry
from dexvla.spec.evaluation import (
    ClosedLoopReport,
    ComparedReasoning,
    EpisodeOutcome,
    EvalSpec,
    OpenLoopDetails,
    OpenLoopEpisode,
    OpenLoopReport,
    Rate,
    SaidReasoning,
)
from dexvla.spec.policy import (
    AUGMENTED_CROP,
    EXPERT_SIZES,
    SCALEDP_SIZES,
    UNET_SIZES,
    ActionKind,
    ActionSpace,
    DiffusionSpec,
    ExpertSpec,
    Fusion,
    Initialisation,
    PolicySpec,
    ScaleDPSpec,
    UNetSpec,
)
from dexvla.spec.presets import PRESETS, with_preset
from dexvla.spec.pretraining import RESNET_SIZES, EmbodimentSpec, PretrainerSpec, ResNetSpec
from dexvla.spec.robots import (
    ALOHA_CAMERAS,
    ALOHA_SIM_CAMERAS,
    ALOHA_SIM_JOINTS,
    FPS_LEAST,
    FPS_MOST,
    AlohaTask,
    CameraSpec,
    PickColourOptions,
    PickLevel,
    PickSplit,
    RecordSpec,
    RenderProfile,
    TaskChoice,
)
from dexvla.spec.training import DataSource, LoraSpec, OptimSpec, PaddedActions, Precision, Schedule, TrainSpec

__all__ = [
    "ALOHA_CAMERAS",
    "ALOHA_SIM_CAMERAS",
    "ALOHA_SIM_JOINTS",
    "AUGMENTED_CROP",
    "EXPERT_SIZES",
    "FPS_LEAST",
    "FPS_MOST",
    "PRESETS",
    "RESNET_SIZES",
    "SCALEDP_SIZES",
    "UNET_SIZES",
    "ActionKind",
    "ActionSpace",
    "AlohaTask",
    "CameraSpec",
    "ClosedLoopReport",
    "ComparedReasoning",
    "ConvertSpec",
    "DataSource",
    "DatasetManifest",
    "DiffusionSpec",
    "EmbodimentSpec",
    "EpisodeEntry",
    "EpisodeOutcome",
    "EvalSpec",
    "ExpertSpec",
    "Fusion",
    "Initialisation",
    "Layout",
    "LoraSpec",
    "NormStats",
    "OpenLoopDetails",
    "OpenLoopEpisode",
    "OpenLoopReport",
    "OptimSpec",
    "PaddedActions",
    "PickColourOptions",
    "PickLevel",
    "PickSplit",
    "PolicySpec",
    "Precision",
    "PretrainerSpec",
    "Rate",
    "RecordSpec",
    "RenderProfile",
    "ResNetSpec",
    "SaidReasoning",
    "ScaleDPSpec",
    "Schedule",
    "Segment",
    "Spec",
    "TaskChoice",
    "TaskEntry",
    "TrainSpec",
    "UNetSpec",
    "first_error",
    "with_preset",
]
