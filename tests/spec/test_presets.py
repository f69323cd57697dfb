"""Presets carry the published figures and give way to what is said."""

from typing import Any

import pytest
from pydantic import ValidationError

from dexvla.errors import UserError
from dexvla.spec import PRESETS, TrainSpec, with_preset


def fields(preset: str, stage: int, **more: Any) -> dict[str, Any]:
    given = {"preset": preset, "stage": stage, "data": [{"path": "data"}], "output_dir": "out"}
    return given | ({} if stage == 1 else {"init_from": "base"}) | more


@pytest.mark.parametrize(("preset", "stage"), [(name, stage) for name, stages in PRESETS.items() for stage in stages])
def test_every_preset_is_a_valid_run(preset: str, stage: int) -> None:
    spec = with_preset(fields(preset, stage))
    assert spec.preset == preset
    assert TrainSpec.model_validate_json(spec.model_dump_json()) == spec


def test_the_papers_and_the_scripts_figures() -> None:
    paper, scripts = (with_preset(fields(f"dexvla-2b-scaledp-h{end}", 2)) for end in ("", "-scripts"))
    assert (paper.optim.learning_rate, paper.optim.betas, paper.freeze_vision) == (2e-5, (0.9, 0.95), True)
    assert (scripts.optim.betas, scripts.optim.eps, scripts.freeze_vision) == ((0.9, 0.98), 1e-7, False)
    assert (paper.steps, paper.chunk_size, paper.optim.warmup_ratio, paper.batch_size) == (100_000, 50, 0.01, 12)
    third = with_preset(fields("dexvla-2b-scaledp-l", 3))
    assert (third.steps, third.optim.schedule, third.optim.warmup_ratio) == (80_000, "cosine", 0.001)


def test_small_is_for_two_cores() -> None:
    second, third = (with_preset(fields("small", stage)) for stage in (2, 3))
    assert (second.expert, second.chunk_size, second.image_height, second.image_width) == ("small", 50, 112, 112)
    assert third.expert is third.chunk_size is third.image_height is None, "as in stage 2"
    for spec in (second, third):
        assert (spec.batch_size, spec.noise_draws, spec.ema_decay, spec.augment) == (32, 4, 0.999, False)
        assert (spec.precision, spec.optim.learning_rate, spec.optim.schedule) == ("bf16", 5e-4, "cosine")


def test_what_is_said_wins_field_by_field() -> None:
    spec = with_preset(fields("dexvla-2b-scaledp-h", 2, steps=7, optim={"learning_rate": 1e-3}))
    assert spec.steps == 7
    assert (spec.optim.learning_rate, spec.optim.warmup_ratio) == (1e-3, 0.01)


def test_unknown_presets_and_fields_are_refused() -> None:
    with pytest.raises(UserError, match="unknown preset 'big'; known: tiny"):
        with_preset(fields("big", 2))
    with pytest.raises(ValidationError, match="learnin_rate"):
        with_preset(fields("tiny", 2, optim={"learnin_rate": 1e-3}))
