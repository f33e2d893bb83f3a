# SPDX-License-Identifier: Apache-2.0

"""Where a probe knocks, as an operator writes it."""


def split(address: str, default_port: int) -> tuple[str, int]:
    """Return name and port of 'a', 'a:1', '[a]:1' or a bare IPv6 address.

    :raises ValueError: it is none of these; the text says so.
    """
    name, port = address.strip(), ''
    if name.startswith('['):
        name, _, rest = name[1:].partition(']')
        port = rest.removeprefix(':')
    elif name.count(':') == 1:
        name, _, port = name.partition(':')
    if not name:
        raise ValueError('no address of the host is known')
    if not port:
        return name, default_port
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(
            f"the probe address is wrong: expected 'address:port', "
            f"found '{address}'"
        )
    return name, int(port)
