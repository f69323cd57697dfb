"""An open episode with its labels as data for a writer: everything but the frames."""

from dataclasses import replace

from dexvla.episodes.format import SCENE_ATTRIBUTES, EpisodeData
from dexvla.episodes.lineage import lineage_attributes
from dexvla.episodes.reader import Episode
from dexvla.episodes.segments import per_step
from dexvla.formats.base import ExportEpisode


def carried(labels: ExportEpisode, file: Episode) -> EpisodeData:
    """Motion, times and attributes as the file has them; instruction, substeps and outcome as `labels` say."""
    times = {camera: file.image_timestamp(camera) for camera in file.cameras}
    return EpisodeData(
        action=file.action,
        qpos=file.qpos,
        qvel=file.qvel if file.has_qvel else None,
        images={},
        instruction=labels.instruction,
        paraphrases=labels.paraphrases,
        attributes=replace(file.attributes, success=labels.success),
        substep_reasonings=per_step(labels.substeps) if labels.substeps else None,
        label_source=labels.label_source if labels.substeps else None,
        joint_positions=file.joint_positions,
        action_sent=file.action_sent,
        timestamp=file.timestamp,
        image_timestamp={camera: time for camera, time in times.items() if time is not None} or None,
        host_timestamp=file.host_timestamp,
        step_source=file.step_source,
        marks=file.marks,
        extra_attributes={**own_attributes(file), **lineage_attributes(file.lineage, file.dimension_names)},
    )


def own_attributes(file: Episode) -> dict[str, str | bool | float]:
    """What a file says of its scene, and of mishaps and corrections, as attributes of another one."""
    scene = file.scene_attributes
    listed = {SCENE_ATTRIBUTES: ", ".join(scene)} if scene else {}
    return {**scene, **listed, **file.recovery_attributes}
