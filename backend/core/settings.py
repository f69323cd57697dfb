"""How a studio is set up: environment variables (STUDIO_*), read once."""

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backend.core.address import public_address
from backend.core.database_url import plain_database_url
from backend.core.folders import DataFolder
from backend.core.s3_place import S3Place
from dexvla.live import policy_servers


class Settings(BaseSettings):
    """Everything that the machine's administrator decides; nothing here comes from a browser."""

    model_config = SettingsConfigDict(
        env_prefix="STUDIO_",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,  # passwords stand in some of it
    )

    data: Path = Field(Path("data"), description="Folder of everything the studio stores")
    host: str = Field("127.0.0.1", description="Address that the studio listens on")
    port: int = Field(8000, ge=0, le=65535)
    public_url: str | None = Field(
        None,
        description="Address that browsers use, behind a proxy: scheme, host, perhaps a port; goes before the one "
        "set in the page",
    )
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode] = Field(
        (),
        description="Addresses or networks of the proxies in front of the studio, separated by commas; what others say "
        "in X-Forwarded-For and X-Forwarded-Proto is not believed",
    )
    accel_redirect: str | None = Field(
        None,
        description="Where nginx in front serves the data folder to itself (an internal location, /studio-files): it "
        "then sends downloads of whole files itself, see deploy/nginx.conf. Default: the studio sends them",
    )
    database_url: str | None = Field(
        None,
        validation_alias=AliasChoices("database_url", "DATABASE_URL"),
        description="postgresql://USER@HOST/NAME; default: SQLite in the data folder",
    )
    database_password: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("database_password", "DATABASE_PASSWORD"),
        description="The password for DATABASE_URL where that has none; as it is, nothing in it needs encoding",
    )
    redis_url: str | None = Field(
        None,
        validation_alias=AliasChoices("redis_url", "REDIS_URL"),
        description="redis://...; default: a private Valkey in the data folder",
    )
    import_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folders below which episodes may be imported, separated by :"
    )
    model_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (), description="Folders below which base models and pretrained experts are looked for, separated by :"
    )
    robot_address: str | None = Field(
        None,
        pattern=r"^[^\s/]+:[0-9]{1,5}$",
        description="HOST:PORT by which the API reaches a robot host in another container or on another machine; the "
        "host then listens on all its addresses. Default: loopback alone",
    )
    policy_servers: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Policy servers that an operator may let act, HOST:PORT or HOST:* for any port, separated by "
        "commas. Default: none, since the robot host would connect to whatever it is told",
    )
    vision_url: str | None = Field(
        None,
        description="OpenAI-compatible endpoint of a vision-language model that proposes substeps; usually ends in /v1",
    )
    vision_model: str | None = Field(None, description="Its model's name")
    vision_key: SecretStr | None = Field(None, description="Its key; sent to it and to nobody else")
    vision_seconds: float = Field(120.0, gt=0, le=600, description="How long it may take to answer")
    max_upload_mb: int = Field(4096, ge=1, description="Largest episode file that may be uploaded, MiB")
    lease_seconds: float = Field(
        30.0, ge=3, le=3600, description="A worker that was not heard from for so long has lost its job to the next one"
    )
    patience_minutes: dict[str, float] = Field(
        {},
        description="Minutes without a sign of life after which a job is stopped, by its kind, instead of the kind's "
        'own: {"train": 120}',
    )
    store: str | None = Field(
        None,
        description="s3://BUCKET/PREFIX for episodes, checkpoints and exports; default: the data folder. What is in "
        "the data folder already goes there by `studio store move`",
    )
    store_endpoint: str | None = Field(None, description="http(s)://HOST:PORT of an S3 server other than Amazon's")
    store_region: str = Field("us-east-1", description="Its region")
    store_key: str | None = Field(None, description="Access key of the store; default: that of the machine's account")
    store_secret: SecretStr | None = Field(None, description="The key's secret")
    cache_gb: float = Field(
        50.0, gt=0, description="GiB of the store's files that each machine keeps to read; more while jobs need them"
    )
    export_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        (),
        description="Folders that exports may be written into, separated by :; the page knows them by their last part",
    )
    export_targets: Annotated[dict[str, S3Place], NoDecode] = Field(
        {},
        description='Places in S3 that exports may be written to, by name: {"lab": {"url": "s3://BUCKET/PREFIX", '
        '"endpoint": ..., "key": ..., "secret": ...}}',
    )
    export_days: float = Field(
        14.0, gt=0, le=3650, description="Days for which a dataset's exports are kept for download"
    )
    upload_days: float = Field(
        7.0, gt=0, le=3650, description="Days after its last byte for which an upload that was not finished is kept"
    )
    undo_days: float = Field(
        30.0,
        ge=0,
        le=3650,
        description="Days for which edits and deletions of episodes can be undone; their space is freed afterwards",
    )
    job_nice: int = Field(
        15,
        ge=0,
        le=19,
        description="How far jobs give way to everything else on a busy machine; 0 on one that is there for jobs alone",
    )
    page: Path = Field(Path(__file__).parents[2] / "frontend" / "dist", description="The built page")
    log_level: str = "INFO"

    @field_validator("import_roots", "model_roots", "export_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part for part in value.split(":") if part) if isinstance(value, str) else value

    @field_validator("export_roots")
    @classmethod
    def _named_apart(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        names = [root.name for root in value]
        twice = sorted({name for name in names if names.count(name) > 1 or not name})
        if twice:
            raise ValueError(f"folders are told apart by their last part, but two are called {twice[0]!r}; rename one")
        return tuple(root.absolute() for root in value)

    @field_validator("export_targets", mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        """Empty is none, as Compose files have it. Raises ValueError for what is no JSON."""
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value) if value.strip() else {}
        except json.JSONDecodeError as error:
            raise ValueError(f"expected JSON, each place by its name: {error}") from None

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(part for part in value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _origin(cls, value: str | None) -> str | None:
        """Empty is not set, as Compose files have it."""
        return None if not value else public_address(value)

    @field_validator("accel_redirect")
    @classmethod
    def _location(cls, value: str | None) -> str | None:
        """Empty is not set, as Compose files have it."""
        if not value:
            return None
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+/?", value):
            raise ValueError("expected the path of nginx's internal location, as /studio-files")
        return value.rstrip("/")

    @field_validator("policy_servers", mode="before")
    @classmethod
    def _servers(cls, value: object) -> object:
        """Raises ValueError for an entry that is no HOST:PORT."""
        return policy_servers.listed(value) if isinstance(value, (str, list, tuple)) else value

    def allows_policy_server(self, url: str) -> bool:
        """Whether `url` (ws:// or wss://) is one of `policy_servers`. False for what is no address."""
        return policy_servers.allows(self.policy_servers, url)

    @field_validator("vision_url")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.hostname
            or parts.query
            or parts.username
            or parts.fragment
        ):
            raise ValueError("expected http(s)://HOST/PATH; a key belongs into STUDIO_VISION_KEY, not into the address")
        return value.rstrip("/")

    @field_validator(
        *("vision_model", "vision_key", "database_url", "database_password", "redis_url"),
        *("store", "store_endpoint", "store_key", "store_secret"),
    )
    @classmethod
    def _given(cls, value: str | SecretStr | None) -> str | SecretStr | None:
        """Empty is not set, as Compose files have it."""
        return value or None

    @model_validator(mode="after")
    def _store_is_whole(self) -> Self:
        self.store_place  # noqa: B018 (complains here, at the start)
        return self

    @property
    def store_place(self) -> S3Place | None:
        """Raises ValueError for an address that is none."""
        if self.store is None:
            return None
        try:
            return S3Place(
                url=self.store,
                endpoint=self.store_endpoint,
                region=self.store_region,
                key=self.store_key,
                secret=self.store_secret,
            )
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            name = "_".join(["STUDIO_STORE", *(str(part).upper() for part in first["loc"] if part != "url")])
            raise ValueError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from None

    @model_validator(mode="after")
    def _absolute(self) -> Self:
        object.__setattr__(self, "data", self.data.absolute())
        return self

    @model_validator(mode="after")
    def _plain_database_url(self) -> Self:
        if self.database_url is not None:
            secret = None if self.database_password is None else self.database_password.get_secret_value()
            try:
                object.__setattr__(self, "database_url", plain_database_url(self.database_url, secret))
            except ValueError as error:
                raise ValueError(f"DATABASE_URL: {error}") from None
        return self

    @cached_property
    def folder(self) -> DataFolder:
        return DataFolder(self.data)

    def environment(self) -> dict[str, str]:
        """What a process of the same studio needs in its environment to read the same settings."""
        given = {
            "STUDIO_DATA": str(self.data),
            "STUDIO_IMPORT_ROOTS": ":".join(map(str, self.import_roots)),
            "STUDIO_MODEL_ROOTS": ":".join(map(str, self.model_roots)),
            "STUDIO_POLICY_SERVERS": ",".join(self.policy_servers),
            "STUDIO_LEASE_SECONDS": str(self.lease_seconds),
            "STUDIO_JOB_NICE": str(self.job_nice),
            "STUDIO_EXPORT_ROOTS": ":".join(map(str, self.export_roots)),
            "STUDIO_EXPORT_TARGETS": json.dumps({name: target.plain() for name, target in self.export_targets.items()}),
            "STUDIO_EXPORT_DAYS": str(self.export_days),
            "STUDIO_UPLOAD_DAYS": str(self.upload_days),
            "STUDIO_UNDO_DAYS": str(self.undo_days),
            "STUDIO_PATIENCE_MINUTES": json.dumps(self.patience_minutes),
            "STUDIO_STORE": self.store,
            "STUDIO_STORE_ENDPOINT": self.store_endpoint,
            "STUDIO_STORE_REGION": self.store_region,
            "STUDIO_STORE_KEY": self.store_key,
            "STUDIO_STORE_SECRET": None if self.store_secret is None else self.store_secret.get_secret_value(),
            "STUDIO_CACHE_GB": str(self.cache_gb),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def sql_url(self) -> str:
        """SQLAlchemy's URL."""
        return self.database_url or f"sqlite:///{self.folder.database}"

    @property
    def broker_url(self) -> str:
        return self.redis_url or f"redis+socket://{self.folder.broker_socket}"

    @property
    def events_url(self) -> str:
        """The broker as redis-py names it."""
        return self.redis_url or f"unix://{self.folder.broker_socket}"
