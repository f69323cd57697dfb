"""A real checkpoint as a policy, in this process."""

import json
import shutil

import numpy as np
import pytest
import torch

from dexvla.act.base import PolicyInput, PolicyInputError
from dexvla.act.policy import CheckpointPolicy
from dexvla.checksums import seal
from dexvla.data.images import centre_crop, resize_bilinear
from dexvla.errors import CheckpointError, UserError
from dexvla.model import build_inputs, collate, load_policy
from dexvla.spec import PolicySpec

pytestmark = [pytest.mark.clockless, pytest.mark.slow]

STATE = np.float32([0.1, 1.2, 2.3, 3.0])


def observation(seed=0, *, state=STATE, instruction="Pick up the red cube.", reasoning=None):
    random = np.random.default_rng(seed)
    images = {
        "cam_high": random.integers(0, 256, (120, 160, 3), dtype=np.uint8),
        "cam_left_wrist": random.integers(0, 256, (120, 160, 3), dtype=np.uint8),
    }
    return PolicyInput(images=images, state=state, instruction=instruction, reasoning=reasoning)


@pytest.fixture(scope="module")
def policy(checkpoint):
    return CheckpointPolicy.load(checkpoint, device="cpu", max_new_tokens=8)


def test_metadata_is_the_checkpoints(policy):
    metadata = policy.metadata
    assert metadata.camera_names == ("cam_high", "cam_left_wrist")
    assert (metadata.cameras[0].height, metadata.cameras[0].width) == (56, 84)
    assert (metadata.recorded_cameras[0].height, metadata.recorded_cameras[0].width) == (120, 160)
    assert (metadata.action_dim, metadata.state_dim, metadata.chunk_size) == (3, 4, 6)
    assert (metadata.fps, metadata.robot, metadata.checkpoint) == (50, "aloha_sim", "tiny-step-7")
    assert len(metadata.checkpoint_sha256) == 64


def test_the_chunk_is_what_the_model_predicts_taken_back_to_units(policy, checkpoint):
    """The whole chain once more by hand: order of the cameras, their sizes, both normalisations, the noise."""
    item = observation()
    policy.reset(3)
    chunk = policy.infer(item)
    model = load_policy(checkpoint)
    sample = build_inputs(
        model.processor,
        images=[item.images["cam_high"], item.images["cam_left_wrist"]],
        image_sizes=[(56, 84), (56, 56)],
        instruction=item.instruction,
    )
    sample["states"] = torch.tensor([0.1, 0.2, 0.6, 0.0])
    noise = torch.randn((1, 6, 3), generator=torch.Generator().manual_seed(3))
    prediction = model.predict(collate([sample], model.processor), noise=noise, max_new_tokens=8)
    np.testing.assert_allclose(chunk.normalised, prediction.actions[0].numpy(), atol=1e-5)
    low, high = np.float32([-1, 0, 10]), np.float32([1, 0.5, 30])
    np.testing.assert_allclose(chunk.actions, (chunk.normalised + 1) / 2 * (high - low) + low, atol=1e-5)
    assert chunk.reasoning == prediction.reasoning_text[0]
    assert chunk.actions.shape == (6, 3)
    assert chunk.actions.dtype == chunk.normalised.dtype == np.float32
    assert chunk.infer_ms > 0


def test_a_policy_trained_on_crops_sees_the_middle_of_its_images(checkpoint):
    """Cropped after they are resized, as training crops them; a checkpoint from before the field sees all of them."""
    config = json.loads((checkpoint / "config.json").read_text())["policy"]
    del config["centre_crop"]
    assert PolicySpec.model_validate(config).centre_crop == 1
    model = load_policy(checkpoint)
    item = observation(reasoning="Lift the cube.")
    shown = {}
    cut = model.processor.image_patches.cut
    for part in (1.0, 0.95):
        model.spec = model.spec.model_copy(update={"centre_crop": part})
        model.processor.image_patches.cut = lambda images, part=part: shown.update({part: images}) or cut(images)
        policy = CheckpointPolicy(model, checkpoint="cropped", max_new_tokens=8)
        policy.reset(0)
        shown[part, "actions"] = policy.infer(item).normalised
    sizes = ((56, 84), (56, 56))
    for name, (height, width), whole, crop in zip(item.images, sizes, shown[1.0], shown[0.95], strict=True):
        expected = resize_bilinear(item.images[name], height, width)
        np.testing.assert_array_equal(whole, expected)
        np.testing.assert_array_equal(crop, centre_crop(expected, 0.95))
    assert not np.array_equal(shown[1.0, "actions"], shown[0.95, "actions"])


def test_every_part_of_the_observation_matters(policy):
    def actions(item):
        policy.reset(0)
        return policy.infer(item).normalised

    usual = actions(observation())
    mirrored = observation()
    swapped = PolicyInput(
        images={"cam_high": mirrored.images["cam_left_wrist"], "cam_left_wrist": mirrored.images["cam_high"]},
        state=STATE,
        instruction=mirrored.instruction,
    )
    others = {
        "images": observation(1),
        "swapped cameras": swapped,
        "state": observation(state=STATE + np.float32([0, 0, 0.5, 0])),
        "instruction": observation(instruction="Fold the shirt."),
        "reasoning": observation(reasoning="Lift the cube."),
    }
    for part, item in others.items():
        assert not np.array_equal(actions(item), usual), f"{part} changed nothing"


def test_a_rollout_is_decided_by_its_seed(policy):
    def rollout(which, seed):
        which.reset(seed)
        return np.stack([which.infer(observation(step)).actions for step in range(2)])

    first = rollout(policy, 5)
    np.testing.assert_array_equal(rollout(policy, 5), first)
    assert not np.allclose(rollout(policy, 6), first)
    policy.reset(5)
    step = policy.infer(observation(0)).actions
    np.testing.assert_array_equal(rollout(policy.session(0), 5), first)
    np.testing.assert_array_equal(step, first[0])
    np.testing.assert_array_equal(policy.infer(observation(1)).actions, first[1]), "a session took the policy's noise"


def test_the_order_in_which_cameras_are_given_does_not_matter(policy):
    item = observation()
    turned = PolicyInput(images=dict(reversed(item.images.items())), state=item.state, instruction=item.instruction)
    chunks = []
    for one in (item, turned):
        policy.reset(0)
        chunks.append(policy.infer(one).actions)
    np.testing.assert_array_equal(*chunks)


def test_a_batch_gives_what_one_by_one_gives(policy):
    items = [
        observation(0),
        observation(1, instruction="Put it into the basket, then come back.", reasoning="Reach for the cube."),
        observation(2, state=STATE * 0.5),
    ]
    policy.reset(1)
    single = [policy.infer(item) for item in items]
    policy.reset(1)
    batch = policy.infer_batch(items)
    for one, other in zip(single, batch, strict=True):
        np.testing.assert_allclose(one.normalised, other.normalised, atol=1e-4)
        assert one.reasoning == other.reasoning
    assert batch[1].reasoning == "Reach for the cube."


def test_the_options_reach_the_model(checkpoint, policy):
    few = CheckpointPolicy.load(checkpoint, device="cpu", max_new_tokens=1, inference_steps=2)
    policy.reset(0)
    few.reset(0)
    assert not np.allclose(few.infer(observation()).normalised, policy.infer(observation()).normalised)
    with pytest.raises(UserError, match=r"inference_steps is 101, expected 1 \.\. 100"):
        CheckpointPolicy.load(checkpoint, inference_steps=101)
    with pytest.raises(UserError, match="max_new_tokens is 0"):
        CheckpointPolicy.load(checkpoint, max_new_tokens=0)
    with pytest.raises(UserError, match="dtype is 'int8'"):
        CheckpointPolicy.load(checkpoint, dtype="int8")
    with pytest.raises(UserError, match="device is 'gpu'"):
        CheckpointPolicy.load(checkpoint, device="gpu")
    if torch.cuda.device_count() == 0:
        with pytest.raises(UserError, match="torch sees 0 GPUs"):
            CheckpointPolicy.load(checkpoint, device="cuda")


def test_bfloat16_stays_close_and_finite(checkpoint, policy):
    half = CheckpointPolicy.load(checkpoint, device="cpu", dtype="bfloat16", max_new_tokens=8)
    item = observation(reasoning="Lift the cube.")
    policy.reset(0)
    half.reset(0)
    np.testing.assert_allclose(half.infer(item).normalised, policy.infer(item).normalised, atol=0.1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": np.full(4, np.nan, np.float32)}, "non-finite values at 0, 1, 2, 3"),
        ({"state": np.zeros(14, np.float32)}, r"shape \(14,\), the policy was trained with \(4,\)"),
        ({"instruction": ""}, "expected a sentence"),
        ({"images": {"cam_high": np.zeros((8, 8, 3), np.uint8)}}, "missing: cam_left_wrist"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused(policy, changes, reason):
    item = observation()
    parts = {"images": item.images, "state": item.state, "instruction": item.instruction, **changes}
    with pytest.raises(PolicyInputError, match=reason):
        policy.infer(PolicyInput(**parts))


def test_control_tokens_in_an_instruction_are_refused(policy):
    with pytest.raises(UserError, match="control token"):
        policy.infer(observation(instruction="pick<|im_end|>"))


def test_weights_that_diverged_are_named_and_nothing_is_returned(checkpoint):
    model = load_policy(checkpoint)
    with torch.no_grad():
        model.expert.final_layer.linear.bias[1] = float("nan")
    broken = CheckpointPolicy(model, checkpoint="run-9")
    with pytest.raises(CheckpointError, match="run-9: 18 of 18 predicted values are not numbers"):
        broken.infer(observation(reasoning=""))


def reseal(directory):
    (directory / "manifest.json").unlink()
    seal(directory)


def test_a_checkpoint_that_cannot_act_says_why(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="no such directory"):
        CheckpointPolicy.load(tmp_path / "nothing")
    without = tmp_path / "without"
    shutil.copytree(checkpoint, without)
    (without / "norm_stats.json").unlink()
    reseal(without)
    with pytest.raises(CheckpointError, match=r"norm_stats\.json is missing"):
        CheckpointPolicy.load(without)
    shutil.copy(checkpoint / "norm_stats.json", without)
    reseal(without)
    assert CheckpointPolicy.load(without).metadata.checkpoint_sha256 is not None
    config = json.loads((without / "config.json").read_text())
    config["policy"]["cameras"] = []
    (without / "config.json").write_text(json.dumps(config))
    reseal(without)
    with pytest.raises(CheckpointError, match="does not name its cameras"):
        CheckpointPolicy.load(without)
