"""Foxglove's messages as protobuf: the few that an episode needs, and reading those of others by their own schema.

Names and numbers of fields are those of foxglove/foxglove-sdk, schemas/proto/foxglove.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from dexvla.formats.base import FormatError
from dexvla.formats.sources import package

LOG_INFO = 2

_STAMP = ".google.protobuf.Timestamp"
# message: field: number, type (a name with a dot in front: a message; optional: may be absent; many: a list)
_MESSAGES: Mapping[str, Mapping[str, tuple[int, str, str]]] = {
    "CompressedImage": {
        "timestamp": (1, _STAMP, ""),
        "data": (2, "bytes", ""),
        "format": (3, "string", ""),
        "frame_id": (4, "string", ""),
    },
    "JointState": {
        "name": (1, "string", ""),
        "position": (2, "double", "optional"),
        "velocity": (3, "double", "optional"),
        "acceleration": (4, "double", "optional"),
        "effort": (5, "double", "optional"),
    },
    "JointStates": {"timestamp": (1, _STAMP, ""), "joints": (2, ".foxglove.JointState", "many")},
    "Log": {
        "timestamp": (1, _STAMP, ""),
        "level": (2, "level", ""),
        "message": (3, "string", ""),
        "name": (4, "string", ""),
        "file": (5, "string", ""),
        "line": (6, "fixed32", ""),
    },
}
_LEVELS = ("UNKNOWN", "DEBUG", "INFO", "WARNING", "ERROR", "FATAL")


@cache
def schema() -> bytes:
    """A FileDescriptorSet of all messages above, as MCAP wants it with each channel."""
    descriptors = package("google.protobuf.descriptor_pb2")
    stamps = package("google.protobuf.timestamp_pb2")
    files = descriptors.FileDescriptorSet()
    stamps.DESCRIPTOR.CopyToProto(files.file.add())
    file = files.file.add(
        name="foxglove/episode.proto",
        package="foxglove",
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )
    kinds = descriptors.FieldDescriptorProto
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, how) in fields.items():
            entry = message.field.add(name=field, number=number)
            entry.label = kinds.LABEL_REPEATED if how == "many" else kinds.LABEL_OPTIONAL
            if kind.startswith("."):
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, kind
            elif kind == "level":
                entry.type, entry.type_name = kinds.TYPE_ENUM, ".foxglove.Log.Level"
            else:
                entry.type = getattr(kinds, f"TYPE_{kind.upper()}")
            if how == "optional":  # proto3 keeps whether it is there in a choice of one
                entry.proto3_optional, entry.oneof_index = True, len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field}")
        if name == "Log":
            levels = message.enum_type.add(name="Level")
            for number, level in enumerate(_LEVELS):
                levels.value.add(name=level, number=number)
    return bytes(files.SerializeToString(deterministic=True))


@cache
def message(name: str) -> Any:
    """The class of one of the messages above, by its name without the package."""
    return message_class(schema(), f"foxglove.{name}")


def message_class(descriptors: bytes, name: str) -> Any:
    """The class of `name` as a FileDescriptorSet has it. Raises FormatError for one that cannot be understood."""
    protobuf = package("google.protobuf")
    package("google.protobuf.message_factory")
    pools, sets = package("google.protobuf.descriptor_pool"), package("google.protobuf.descriptor_pb2")
    try:
        waiting = list(sets.FileDescriptorSet.FromString(descriptors).file)
        pool = pools.DescriptorPool()
        known: set[str] = set()
        while waiting:  # files may stand before those that they build on
            ready = [file for file in waiting if known.issuperset(file.dependency)]
            if not ready:
                raise FormatError(f"the schema of {name} names files that it does not bring along")
            for file in ready:
                pool.Add(file)
                known.add(file.name)
            waiting = [file for file in waiting if file.name not in known]
        return protobuf.message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    except (protobuf.message.DecodeError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"the schema of {name} cannot be understood ({error})") from error


def set_stamp(target: Any, nanoseconds: int) -> None:
    """Write a time since 1970 into a google.protobuf.Timestamp."""
    target.seconds, target.nanos = divmod(nanoseconds, 10**9)
