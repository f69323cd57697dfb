"""What the features of an RLDS episode are called: by us, and by the datasets of others."""

STEPS, OBSERVATION, METADATA = "steps", "steps/observation", "episode_metadata"
OURS = "dexvla"  # of the episode's metadata: what our own export adds, as JSON
# what our own export keeps beside what others read, by name of the step's feature
OWN = {
    "joint_positions": f"{OBSERVATION}/joint_positions",
    "action_sent": f"{STEPS}/action_sent",
    "timestamp": f"{STEPS}/timestamp",
    "host_timestamp": f"{STEPS}/host_timestamp",
    "step_source": f"{STEPS}/step_source",
}
VELOCITY = f"{OBSERVATION}/velocity"
SUBSTEP = f"{STEPS}/substep"
IMAGE_TIME = f"{STEPS}/image_timestamp/"
# the first of which all are there; names as in Open X-Embodiment
STATES = (
    ("state",),
    ("proprio",),
    ("qpos",),
    ("joint_position", "gripper_position"),
    ("joint_states", "gripper_states"),
    ("joint_state", "gripper_state"),
    ("joint_positions",),
    ("joint_pos",),
    ("robot_state",),
    ("robot_obs",),
    ("ee_states", "gripper_states"),
    ("eef_state",),
    ("EEF_state",),
    ("cartesian_position", "gripper_position"),
    ("base_pose_tool_reached", "gripper_closed"),
    ("end_effector_cartesian_pos",),
    ("effector_translation",),
)
ACTION_ORDER = (
    ("world_vector", "rotation_delta", "gripper_closedness_action"),
    ("world_vector", "rotation_delta", "open_gripper"),
    ("joint_position", "gripper_position"),
    ("joint_velocity", "gripper_velocity"),
)
TIMES = ("timestamp", "timestamps", "time", "timestamp_ns")
INSTRUCTIONS = (
    "language_instruction",
    "natural_language_instruction",
    "language_instruction_2",
    "language_instruction_3",
    "structured_language_instruction",
    "instruction",
    "task",
)
SUBSTEPS = ("substep", "subtask", "substep_reasoning", "reasoning")
RATES = ("fps", "control_frequency", "control_freq", "hz")
KEPT_BOOKS = {"is_first", "is_last", "is_terminal", "discount", "reward", "file_path"}
