"""Other wordings of an instruction: which of them is trained, and when."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dexvla.episodes.manifest import build_manifest, find_set, save_manifest
from dexvla.spec import TrainSpec
from dexvla.train import policies
from dexvla.train.data import EpisodeSamples
from dexvla.train.loop import plan
from dexvla.train.policies import PolicyTask
from dexvla.train.prepare import prepare_data
from dexvla.train.pretraining import PretrainTask
from dexvla.train.stages import new_task, read_data

MakeSpec = Callable[..., TrainSpec]
INSTRUCTION = "Transfer the red cube."
WORDINGS = (INSTRUCTION, "Hand over the red block.", "Give the cube to the other arm.")


@pytest.fixture
def worded(demos: Path, tmp_path: Path) -> str:
    """A manifest of the demonstrations, with two more wordings for each."""
    manifest, _ = build_manifest(find_set(str(demos)))
    assert {entry.instruction for entry in manifest.episodes} == {INSTRUCTION}
    episodes = tuple(entry.model_copy(update={"paraphrases": WORDINGS[1:]}) for entry in manifest.episodes)
    save_manifest(tmp_path / "worded.json", manifest.model_copy(update={"episodes": episodes}))
    return str(tmp_path / "worded.json")


def prompts(samples: EpisodeSamples, places: range) -> list[str]:
    tokenizer = samples._processor.tokenizer
    return [str(tokenizer.decode(samples[place, 0]["input_ids"])) for place in places]


def wording_in(prompt: str) -> str:
    (found,) = [text for text in WORDINGS if text in prompt]
    return found


def test_each_sample_draws_one_of_all_wordings(make_spec: MakeSpec, worded: str) -> None:
    spec = make_spec(data=[{"path": worded}])
    samples = PolicyTask(spec, prepare_data(spec)).samples(None)
    assert isinstance(samples, EpisodeSamples)
    drawn = [wording_in(prompt) for prompt in prompts(samples, range(60))]
    counts = Counter(drawn)
    assert all(counts[text] >= 10 for text in WORDINGS), counts
    assert [wording_in(prompt) for prompt in prompts(samples, range(60))] == drawn, "the place decides, nothing else"


def test_switched_off_only_the_instruction_is_trained(make_spec: MakeSpec, worded: str) -> None:
    spec = make_spec(data=[{"path": worded}], use_paraphrases=False)
    samples = PolicyTask(spec, prepare_data(spec)).samples(None)
    assert isinstance(samples, EpisodeSamples)
    assert {wording_in(prompt) for prompt in prompts(samples, range(20))} == {INSTRUCTION}


def test_validation_asks_in_the_words_of_the_instruction(
    make_spec: MakeSpec, worded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(data=[{"path": worded}], validation_fraction=0.4)
    asked: list[EpisodeSamples] = []

    def keep(model: Any, samples: EpisodeSamples, *args: Any, **options: Any) -> dict[str, float]:
        asked.append(samples)
        return {}

    monkeypatch.setattr(policies, "validate", keep)
    PolicyTask(spec, prepare_data(spec)).validate(lambda: pytest.fail("not asked for"))
    (samples,) = asked
    assert {wording_in(prompt) for prompt in prompts(samples, range(20))} == {INSTRUCTION}


def test_stage_1_draws_them_too(make_spec: MakeSpec, worded: str) -> None:
    given = {"init_from": None, "data": [{"path": worded}], "chunk_size": 8, "image_height": 56, "image_width": 84}
    spec = make_spec(stage=1, **given)
    task = new_task(spec, read_data(spec))
    assert isinstance(task, PretrainTask)
    samples = task.samples(None)
    assert len({tuple(samples[place, 0]["ids"]) for place in range(40)}) == len(WORDINGS)


@pytest.mark.parametrize(("drawn", "said"), [(True, "each sample draws one"), (False, "the first is trained")])
def test_it_is_said_before_the_run(make_spec: MakeSpec, worded: str, drawn: bool, said: str) -> None:
    report = plan(make_spec(data=[{"path": worded}], use_paraphrases=drawn))
    (note,) = [note for note in report.notes if "wordings" in note]
    assert said in note
