"""The tasks of the simulated ALOHA and their options, known without loading it."""

from enum import StrEnum

from pydantic import Field

from dexvla.spec.base import Spec


class AlohaTask(StrEnum):
    TRANSFER_CUBE = "transfer_cube"
    INSERTION = "insertion"
    PICK_COLOUR = "pick_colour"


class PickLevel(StrEnum):
    """Where the cubes of pick_colour lie.

    spots: two, on two fixed spots; jitter: each within three centimetres of its spot; anywhere: two anywhere in the
    right arm's reach, and a third that is never named.
    """

    SPOTS = "spots"
    JITTER = "jitter"
    ANYWHERE = "anywhere"


class PickSplit(StrEnum):
    """Which places and phrasings pick_colour draws from: those kept for training, those held out, or any place with
    the phrasings of training. On two fixed spots there is no place to hold out."""

    ANY = "any"
    TRAINING = "training"
    HELD_OUT = "held_out"


class PickColourOptions(Spec):
    """What is drawn for an episode of pick_colour; other tasks have no such options."""

    level: PickLevel = Field(
        PickLevel.SPOTS,
        title="Cubes",
        description="Where the cubes lie: two spots, within 3 cm of them, or anywhere with a third cube",
        json_schema_extra={
            "labels": {
                "spots": "Two cubes, two spots",
                "jitter": "Two cubes, within 3 cm of their spots",
                "anywhere": "Three cubes, anywhere",
            }
        },
    )
    split: PickSplit = Field(
        PickSplit.ANY,
        title="Places and phrasings",
        description="Those kept for training, those held out (which demonstrations for training never show), or any "
        "place; of two spots only phrasings are held out",
        json_schema_extra={
            "labels": {"any": "Any place", "training": "Those for training", "held_out": "Those held out"},
            "demonstrations": "training",
        },
    )
    swapped: bool = Field(
        False,
        title="Name the other cube",
        description="The same scenes with the other cube meant: a policy that ignores the instruction fails one of "
        "the two",
        json_schema_extra={"said": "the other cube named", "demonstrations": None},
    )
