"""Recordings of messages by topic: MCAP of any encoding, ROS 1 bags, ROS 2 bags of SQLite. Read from the front, one
message in memory at a time, and nothing is unpacked whose size was not looked at."""

import bz2
import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

from dexvla.formats import foxglove
from dexvla.formats.base import FormatError
from dexvla.formats.sources import inside, package
from dexvla.mappings import MAX_YAML, read_yaml

LIST = "metadata.yaml"  # of a ROS 2 bag, beside its files
MAX_CHUNK = 2**30  # bytes of a chunk once it is unpacked
_MCAP_MAGIC = b"\x89MCAP0\r\n"


class Bag(ABC):
    """A recording. topics: their message types. unread: topics in an encoding that is not read, with it. metadata,
    attachments: what else is inside, by name. warnings: so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[str, str] = {}
        self.unread: dict[str, str] = {}
        self.metadata: dict[str, Mapping[str, str]] = {}
        self.attachments: dict[str, bytes] = {}
        self.warnings: list[str] = []

    @abstractmethod
    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """(topic, time at which it was recorded in ns, message) in the order of time. Raises FormatError."""


@contextmanager
def open_bag(path: Path, files: list[Path]) -> Iterator[Bag]:
    """The recording at `path`, which consists of `files` of one kind, in order. Raises FormatError."""
    opened: AbstractContextManager[Bag]
    opened = _open_mcap(path, files) if files[0].suffix.lower() == ".mcap" else _open_rosbag(path, files)
    with opened as bag:
        yield bag


def _broken(path: Path, error: BaseException) -> FormatError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return FormatError(f"{path}: cannot be read as a recording ({text}); record or convert it again, or leave it out")


# --- MCAP -------------------------------------------------------------------------------------------------


class _Within:
    """A file from which no more is asked at once than it has: lengths in it are a stranger's, and memory for them would
    be set aside before they are read."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, length: int = -1) -> bytes:
        return self._file.read(min(length, self._size) if length >= 0 else length)


class _Mcap(Bag):
    def __init__(self, path: Path, files: list[Path]) -> None:
        super().__init__(path)
        self._files = files
        self._mcap = package("mcap.reader")
        self._stream = package("mcap.stream_reader")
        self._records = package("mcap.records")
        self._errors = (
            package("mcap.exceptions").McapError,
            package("zstandard").ZstdError,
            struct.error,
            RuntimeError,
            ValueError,
            KeyError,
            OverflowError,  # a length of 2^63 and more
        )
        for file in files:
            self._look(file)

    def _look(self, file: Path) -> None:
        """Topics, metadata and attachments; from the summary, or from the records where a recording has none."""
        with file.open("rb") as plain:
            stream = _Within(plain, file.stat().st_size)
            try:
                reader = self._mcap.SeekingReader(stream, record_size_limit=MAX_CHUNK)
                summary = reader.get_summary()
                indexed = summary is not None and bool(summary.channels)
                if indexed:
                    for channel in summary.channels.values():
                        self._add(channel, summary.schemas.get(channel.schema_id))
                    self.metadata |= {record.name: record.metadata for record in reader.iter_metadata()}
                    self.attachments |= {record.name: record.data for record in reader.iter_attachments()}
            # an end that is cut off or points to nowhere: the records before it may be whole
            except (*self._errors, OSError):
                indexed = False
        if indexed:
            return
        schemas: dict[int, Any] = {}
        for record in self._all(file, told=True):
            if isinstance(record, self._records.Schema):
                schemas[record.id] = record
            elif isinstance(record, self._records.Channel):
                self._add(record, schemas.get(record.schema_id))
            elif isinstance(record, self._records.Metadata):
                self.metadata[record.name] = record.metadata
            elif isinstance(record, self._records.Attachment):
                self.attachments[record.name] = record.data

    def _add(self, channel: Any, schema: Any) -> None:
        if self._decoder(channel, schema, look_only=True) is None:
            self.unread[channel.topic] = channel.message_encoding
        else:
            self.topics[channel.topic] = "" if schema is None else schema.name

    def _all(self, file: Path, *, told: bool = False) -> Iterator[Any]:
        """All records of a file in their order, messages of a chunk sorted by time. Stops where a file that was not
        finished ends, with a warning if `told`."""
        count = 0
        with file.open("rb") as plain:
            stream = _Within(plain, file.stat().st_size)
            try:
                for record in self._stream.StreamReader(stream, emit_chunks=True, record_size_limit=MAX_CHUNK).records:
                    if not isinstance(record, self._records.Chunk):
                        count += 1
                        yield record
                        continue
                    self._check(file, record)
                    parts = self._stream.breakup_chunk(record, validate_crc=True)
                    others = [part for part in parts if not isinstance(part, self._records.Message)]
                    messages = [part for part in parts if isinstance(part, self._records.Message)]
                    count += len(messages)
                    yield from others
                    yield from sorted(messages, key=lambda message: int(message.log_time))
            except FormatError:
                raise
            except self._errors as error:
                if not count:
                    raise _broken(file, error) from error
                if told:
                    self.warnings.append(
                        f"{file.name} is damaged or ends in the middle of a record, as a recorder leaves it that was "
                        "ended: what stands before is read"
                    )

    def _check(self, file: Path, chunk: Any) -> None:
        """Raise FormatError for a chunk that unpacks to more than it may."""
        size = chunk.uncompressed_size
        if chunk.compression == "zstd":
            size = max(size, package("zstandard").frame_content_size(chunk.data))
        elif chunk.compression == "lz4":
            frame = package("lz4.frame")
            said = frame.get_frame_info(chunk.data)["content_size"]
            if not said:
                said = len(frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=MAX_CHUNK + 1))
            size = max(size, said)
        if size > MAX_CHUNK:
            raise FormatError(
                f"{file}: a chunk of {size} bytes once unpacked, at most {MAX_CHUNK} are read at once; write it with "
                "smaller chunks"
            )

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        for file in self._files:
            schemas: dict[int, Any] = {}
            channels: dict[int, Any] = {}
            decoders: dict[int, Callable[[bytes], Any]] = {}
            for record in self._all(file):
                if isinstance(record, self._records.Schema):
                    schemas[record.id] = record
                elif isinstance(record, self._records.Channel):
                    channels[record.id] = record
                elif isinstance(record, self._records.Message):
                    channel = channels.get(record.channel_id)
                    if channel is None or channel.topic not in topics:
                        continue
                    if channel.id not in decoders:
                        decoder = self._decoder(channel, schemas.get(channel.schema_id))
                        if decoder is None:
                            continue
                        decoders[channel.id] = decoder
                    yield channel.topic, record.log_time, _decoded(file, channel.topic, decoders[channel.id], record)

    def _decoder(self, channel: Any, schema: Any, look_only: bool = False) -> Callable[[bytes], Any] | None:
        """What makes an object of a message, or None for an encoding that is not read."""
        encoding = channel.message_encoding
        if encoding == "json":
            return _from_json
        if schema is None or encoding not in ("protobuf", "cdr", "ros1"):
            return None
        if look_only:
            return _from_json
        if encoding == "protobuf":
            made: Callable[[bytes], Any] = foxglove.message_class(schema.data, schema.name).FromString
            return made
        try:
            return _ros_decoder(schema, ros1=encoding == "ros1")
        except Exception as error:  # a grammar's errors, over a text from outside
            raise FormatError(
                f"{self.path}: the type {schema.name} of {channel.topic} cannot be read ({error})"
            ) from error


@contextmanager
def _open_mcap(path: Path, files: list[Path]) -> Iterator[Bag]:
    for file in files:
        with file.open("rb") as stream:
            if stream.read(len(_MCAP_MAGIC)) != _MCAP_MAGIC:
                raise FormatError(f"{file}: does not start like MCAP; expected a recording, leave it out or rename it")
    yield _Mcap(path, files)


def _from_json(data: bytes) -> Any:
    return json.loads(data, object_hook=lambda fields: SimpleNamespace(**fields))


def _ros_decoder(schema: Any, *, ros1: bool) -> Callable[[bytes], Any]:
    types = package("rosbags.typesys")
    names = package("rosbags.typesys.msg")
    name = names.normalize_msgtype(schema.name)
    if schema.data:
        store = types.get_typestore(types.Stores.EMPTY)
        read = types.get_types_from_idl if "idl" in schema.encoding else types.get_types_from_msg
        text = schema.data.decode()
        store.register(read(text) if "idl" in schema.encoding else read(text, name))
    else:
        store = types.get_typestore(types.Stores.ROS1_NOETIC if ros1 else types.Stores.ROS2_HUMBLE)
    one = store.deserialize_ros1 if ros1 else store.deserialize_cdr
    return lambda data: one(data, name)


def _decoded(file: Path, topic: str, decoder: Callable[[bytes], Any], record: Any) -> Any:
    try:
        return decoder(record.data)
    except Exception as error:  # decoders of three libraries, over bytes from outside
        raise FormatError(
            f"{file}: a message of {topic} at {record.log_time} ns cannot be decoded ({error}); leave the file out"
        ) from error


# --- ROS bags ---------------------------------------------------------------------------------------------


class _RosBag(Bag):
    def __init__(self, path: Path, reader: Any) -> None:
        super().__init__(path)
        self._reader = reader
        self.topics = {name: info.msgtype or "" for name, info in reader.topics.items()}

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        wanted = [connection for connection in self._reader.connections if connection.topic in topics]
        if not wanted:
            return
        stream = self._reader.messages(connections=wanted)
        while True:
            try:
                connection, time, data = next(stream)
                message = self._reader.deserialize(data, connection.msgtype)
            except StopIteration:
                return
            except FormatError:
                raise
            except Exception as error:  # SQLite, bz2, lz4 and the decoder, over bytes from outside
                raise _broken(self.path, error) from error
            yield connection.topic, time, message


@contextmanager
def _open_rosbag(path: Path, files: list[Path]) -> Iterator[Bag]:
    highlevel, types, lz4 = package("rosbags.highlevel"), package("rosbags.typesys"), package("lz4.frame")
    first = files[0]
    # a recording in several files is read by its list, which says their order and compression
    place = path if path.is_dir() and (path / LIST).is_file() else first
    if place.is_dir():
        _check_list(path)
    if first.suffix == ".zstd":
        raise FormatError(f"{first}: a compressed database; unpack it first: zstd -d, and correct metadata.yaml")
    reader = highlevel.AnyReader([place], default_typestore=types.get_typestore(types.Stores.ROS2_HUMBLE))
    try:
        reader.open()
    except Exception as error:  # YAML, SQLite and definitions of messages, from outside
        raise _broken(path, error) from error
    try:
        for part in reader.readers:
            if getattr(part, "compression_mode", None):
                raise FormatError(
                    f"{path}: its messages are compressed one by one; unpack them first: ros2 bag convert"
                )
            for position, chunk in getattr(part, "chunks", {}).items():
                bounded = {bz2.decompress: _unpack_bz2, lz4.decompress: _unpack_lz4}.get(chunk.decompressor)
                if bounded is not None:
                    part.chunks[position] = chunk._replace(decompressor=bounded)
        yield _RosBag(path, reader)
    finally:
        reader.close()


def _check_list(folder: Path) -> None:
    """Raise FormatError for a list that names files outside of its folder."""
    path = inside(folder, folder / LIST, named_by=str(folder))
    if path.stat().st_size > MAX_YAML:
        raise FormatError(f"{path}: {path.stat().st_size} bytes, at most {MAX_YAML} of such a list are read")
    try:
        named = read_yaml(path.read_text(encoding="utf-8"))["rosbag2_bagfile_information"]["relative_file_paths"]
        files = [folder / str(name) for name in named]
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(path, error) from error
    for file in files:
        inside(folder, file, named_by=str(path))


def _unpack_bz2(data: bytes) -> bytes:
    return _whole(bz2.BZ2Decompressor().decompress(data, max_length=MAX_CHUNK + 1))


def _unpack_lz4(data: bytes) -> bytes:
    return _whole(package("lz4.frame").LZ4FrameDecompressor().decompress(data, max_length=MAX_CHUNK + 1))


def _whole(data: bytes) -> bytes:
    if len(data) > MAX_CHUNK:
        raise ValueError(f"a chunk of more than {MAX_CHUNK} bytes once unpacked")
    return data
