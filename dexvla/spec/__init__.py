"""Typed, torch-free descriptions of everything that is stored, sent or filled in as a form.

Units stand in the descriptions; forms, command-line flags, validation and stored JSON come from these classes.
All are frozen. Unknown fields are refused, so that a typing mistake is not silently ignored.
"""

from dexvla.spec.base import Spec
from dexvla.spec.data import DatasetManifest, EpisodeEntry, NormStats, Segment, TaskEntry
from dexvla.spec.evaluation import EvalSpec
from dexvla.spec.policy import SCALEDP_SIZES, DiffusionSpec, Fusion, Initialisation, PolicySpec, ScaleDPSpec
from dexvla.spec.presets import PRESETS, with_preset
from dexvla.spec.robots import ALOHA_CAMERAS, AlohaTask, CameraSpec, RecordSpec, RenderProfile
from dexvla.spec.training import DataSource, LoraSpec, OptimSpec, PaddedActions, Precision, Schedule, TrainSpec

__all__ = [
    "ALOHA_CAMERAS",
    "PRESETS",
    "SCALEDP_SIZES",
    "AlohaTask",
    "CameraSpec",
    "DataSource",
    "DatasetManifest",
    "DiffusionSpec",
    "EpisodeEntry",
    "EvalSpec",
    "Fusion",
    "Initialisation",
    "LoraSpec",
    "NormStats",
    "OptimSpec",
    "PaddedActions",
    "PolicySpec",
    "Precision",
    "RecordSpec",
    "RenderProfile",
    "ScaleDPSpec",
    "Schedule",
    "Segment",
    "Spec",
    "TaskEntry",
    "TrainSpec",
    "with_preset",
]
