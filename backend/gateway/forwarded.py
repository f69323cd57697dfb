"""Whom a request comes from: the connection's other end, or what a proxy that we were told to trust says."""

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Header = tuple[bytes, bytes]

_OF_PROXIES = (b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip")


class Proxies:
    """The proxies in front of the studio, by address or network. None is trusted unless it was named."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)

    def trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(parsed, "ipv4_mapped", None)
        return any(one in network for one in (parsed, mapped) if one is not None for network in self._networks)

    def origin(self, peer: str, scheme: str, headers: list[Header]) -> tuple[str, str]:
        """Address and scheme of whoever asked: the last address of X-Forwarded-For that is no proxy of ours."""
        if not self.trusts(peer):
            return peer, scheme
        chain: list[str] = []
        for name, value in headers:
            if name == b"x-forwarded-for":
                chain += [part.strip() for part in value.decode("latin-1").split(",")]
            elif name == b"x-forwarded-proto":
                said = value.decode("latin-1").rpartition(",")[2].strip().lower()
                scheme = said if said in {"http", "https"} else scheme
        for address in reversed(chain):
            if not _is_address(address):
                return peer, scheme
            if not self.trusts(address):
                return address, scheme
        return (chain[0] if chain else peer), scheme


def rewritten(headers: list[Header], address: str, scheme: str) -> list[Header]:
    """Headers without what anybody said of forwarding, and with what we know of it."""
    kept = [
        (name, value) for name, value in headers if not name.startswith(b"x-forwarded-") and name not in _OF_PROXIES
    ]
    return [*kept, (b"x-forwarded-for", address.encode("latin-1")), (b"x-forwarded-proto", scheme.encode())]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
