"""Which Internet addresses are anybody's to ask: what a source's name or redirect leads to must not lie inside one's own network."""

import ipaddress


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public Internet; an IPv6 address that wraps an IPv4 one is judged by what it wraps."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo or (None, None))[1]
        if inner is None and parsed in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast
