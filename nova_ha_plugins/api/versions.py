# SPDX-License-Identifier: Apache-2.0

"""The version of our own resources, carried beside nova's microversion.

Numbers of the service type ``compute`` belong to nova. Ours travel in the same
header under a service type of their own:
``OpenStack-API-Version: compute 2.96, instance-ha 1.2``.

1.1 has ends of the arm state, brakes, engines and their history. 1.2 has what
an evacuation is estimated and explained to need, a summary of each host, and
reports of bytes from outside nova. 1.3 has the watchers of heartbeats. That an
attest takes two steps, and that a server is not evacuated twice, holds in
every version: safety has none.
"""

from collections import abc
import typing

import microversion_parse
from webob import exc

SERVICE_TYPE = 'instance-ha'
HEADER = 'OpenStack-API-Version'
MINIMUM = '1.0'
BRAKES = '1.1'
PROGRESS = '1.2'
WATCHERS = '1.3'
MAXIMUM = WATCHERS


class VersionError(Exception):
    """The request asks for a version that is not there.

    :ivar status: 400 for a malformed one, 406 for one out of range.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def negotiate(headers: abc.MutableMapping[str, str]) -> str:
    """Give the version that the answer will have.

    :raises VersionError: if there is no such version.
    """
    asked = microversion_parse.get_version(headers, SERVICE_TYPE)
    if asked is None:
        return MINIMUM
    if asked == 'latest':
        return MAXIMUM
    try:
        version = microversion_parse.parse_version_string(asked)
    except TypeError:
        raise VersionError(
            f"Version '{asked}' of '{SERVICE_TYPE}' is malformed, expected "
            "'major.minor' or 'latest'",
            400,
        ) from None
    low = microversion_parse.parse_version_string(MINIMUM)
    high = microversion_parse.parse_version_string(MAXIMUM)
    if not low <= version <= high:
        raise VersionError(
            f"Version '{asked}' of '{SERVICE_TYPE}' is not supported, "
            f'minimum is {MINIMUM} and maximum is {MAXIMUM}',
            406,
        )
    return asked


def number(version: str) -> typing.Any:
    """Give a version as something that can be compared."""
    return microversion_parse.parse_version_string(version)


def at_least(req: typing.Any, wanted: str) -> bool:
    """Whether the answer to a request has what that version brought."""
    return bool(number(negotiate(req.headers)) >= number(wanted))


def require(req: typing.Any, wanted: str) -> None:
    """Make sure that a request asks for a version that knows the resource.

    :raises webob.exc.HTTPNotFound: it asks for an older one, or for none.
    """
    if not at_least(req, wanted):
        raise exc.HTTPNotFound(
            explanation=(
                f'This resource came with version {wanted} of '
                f"'{SERVICE_TYPE}': ask for it with the header "
                f"'{HEADER}: {SERVICE_TYPE} {wanted}'"
            )
        )
