"""A place in an S3-compatible object store, as an administrator names it. Keys are secrets and never printed."""

import re
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")


class S3Place(BaseModel):
    """url: s3://BUCKET or s3://BUCKET/PREFIX. Without keys those of the machine's own account are used (AWS_*,
    roles)."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str = Field(description="s3://BUCKET/PREFIX")
    endpoint: str | None = Field(None, description="http(s)://HOST:PORT of a server other than Amazon's")
    region: str = "us-east-1"
    key: str | None = Field(None, description="Access key")
    secret: SecretStr | None = Field(None, description="Its secret")

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        parts = urlsplit(value)
        prefix = parts.path.strip("/")
        if parts.scheme != "s3" or not _BUCKET.fullmatch(parts.netloc) or parts.query or parts.fragment:
            raise ValueError("expected s3://BUCKET or s3://BUCKET/PREFIX; keys and servers have settings of their own")
        if any(part in {"", ".", ".."} for part in prefix.split("/")) and prefix:
            raise ValueError("expected a prefix without empty parts, . and ..")
        return f"s3://{parts.netloc}/{prefix}".rstrip("/")

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if not value:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise ValueError("expected http(s)://HOST:PORT; keys have settings of their own")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.key is None) != (self.secret is None):
            raise ValueError("an access key and its secret belong together; set both or neither")
        return self

    def plain(self) -> dict[str, str]:
        """All of it, its secret too: for the environment of our own processes alone."""
        given = self.model_dump(exclude={"secret"}, exclude_none=True)
        return given if self.secret is None else {**given, "secret": self.secret.get_secret_value()}

    @property
    def bucket(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        return urlsplit(self.url).path.strip("/")
