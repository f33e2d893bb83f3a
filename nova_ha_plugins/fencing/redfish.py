# SPDX-License-Identifier: Apache-2.0

"""Fencing over Redfish: ``ForceOff`` and the ``PowerState`` read back.

sushy brings the connection, its authentication and its errors. Its resource
classes are left aside: they parse every field of a system, and one odd field
that has nothing to do with power would make a host unfenceable.

Options of a host in the map:

``address``
    ``https://bmc[:port]``
``system``
    Path of the one system, such as ``/redfish/v1/Systems/1``.
``username``, ``password_file``
    Both or neither. The file is read at every call.
``auth``
    ``basic`` (default: keeps no state on the device) or ``session``.
``verify``
    ``true`` (default), ``false`` or the path of a CA bundle.
"""

import collections.abc
import contextlib
import io
import json
import time
import typing
import urllib.parse

from oslo_log import log as logging
import requests
from requests import adapters
import sushy
from sushy import auth as sushy_auth
from sushy import connector as sushy_connector
from sushy import exceptions as sushy_exc

from nova_ha_plugins.engine import body
from nova_ha_plugins.engine import doors
from nova_ha_plugins.fencing import base
from nova_ha_plugins.fencing import identity
from nova_ha_plugins import printable
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import views

LOG = logging.getLogger(__name__)

# 'Paused' and whatever a vendor invents are UNKNOWN: neither on nor off.
_POWER = {
    'On': incident.Power.ON,
    'Off': incident.Power.OFF,
    'PoweringOn': incident.Power.CHANGING,
    'PoweringOff': incident.Power.CHANGING,
}

_KEYS = frozenset(
    {'address', 'system', 'username', 'password_file', 'auth', 'verify'}
)
_RESET = '#ComputerSystem.Reset'
_FORCE_OFF = 'ForceOff'

# A system resource is some ten KiB; a device that sends more is not sane.
_MAX_BODY = 4 * 1024 * 1024

# Characters of the device's own words that ours repeat.
_LONGEST = 500

_Document = dict[str, typing.Any]


class _Deadline(adapters.HTTPAdapter):
    """Ends every request, its body included, at one moment.

    Requests go to one address and nowhere else: a device could send the
    engine anywhere with a redirect, and pass another machine's power for its
    own.
    """

    def __init__(self, address: str, ends_at: float) -> None:
        super().__init__(max_retries=0)
        self._address = address
        self._ends_at = ends_at

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, **kwargs: typing.Any
    ) -> requests.Response:
        if _origin(str(request.url)) != self._address:
            raise requests.TooManyRedirects(
                f'it redirects to another address, {request.url}'
            )
        remaining = self._ends_at - time.monotonic()
        if remaining <= 0:
            raise requests.Timeout('no time left for another request')
        kwargs.update(timeout=remaining, stream=True)
        response = super().send(request, **kwargs)
        # A copy that can be read again: requests reads what has been read.
        response.raw = io.BytesIO(
            body.read(response, self._ends_at, _MAX_BODY)
        )
        return response


class _Connector(sushy_connector.Connector):
    """sushy's connector, which by default repeats what failed, without it."""

    def __init__(self, address: str, verify: bool | str, ends_at: float):
        super().__init__(address, verify=verify, server_side_retries=1)
        # Proxies of the environment lead away from the management network.
        self._session.trust_env = False
        for prefix in ('https://', 'http://'):
            self._session.mount(prefix, _Deadline(address, ends_at))

    def _op(
        self, method: str, path: str = '', **kwargs: typing.Any
    ) -> requests.Response:
        kwargs.setdefault('server_side_retries_left', 0)
        return super()._op(method, path, **kwargs)


class RedfishDriver(base.FencingDriver):
    """One system behind one Redfish service."""

    def __init__(
        self, host: str, options: base.Options, call_timeout: float
    ) -> None:
        """Check and keep the options; the device is not contacted."""
        super().__init__(host, options, call_timeout)
        for key in sorted(set(options) - _KEYS):
            hint = " ('password_file' names a file)" * (key == 'password')
            raise base.OptionError(
                key, f'one of {sorted(_KEYS)}{hint}', 'an unknown key'
            )
        self._address = _address(options.get('address'))
        self._system = _system(options.get('system'))
        self._username = _text(options, 'username')
        self._password_file = _text(options, 'password_file')
        if bool(self._username) != bool(self._password_file):
            missing = 'username' if self._password_file else 'password_file'
            raise base.OptionError(
                missing, "'username' and 'password_file' together", 'one only'
            )
        if self._username and self._address.startswith('http:'):
            LOG.warning(
                "Device '%s' of host '%s' gets its password unencrypted; "
                "give it an 'https' address in the fencing map.",
                self.device,
                host,
            )
        self._auth = options.get('auth', 'basic')
        if self._auth not in ('basic', 'session'):
            raise base.OptionError(
                'auth', "'basic' or 'session'", repr(self._auth)
            )
        self._verify = options.get('verify', True)
        if not isinstance(self._verify, bool) and not (
            isinstance(self._verify, str) and self._verify.startswith('/')
        ):
            raise base.OptionError(
                'verify',
                'true, false or the path of a CA bundle',
                repr(self._verify),
            )

    @property
    def device(self) -> str:
        """Address and path of the system."""
        return self._address + self._system

    def power_off(self, system_uuid: str = '') -> None:
        """Send ForceOff; what the device says afterwards is ``read``'s."""
        with self._connection('power off') as connector:
            document = self._get(connector)
            self._check_identity(document, system_uuid)
            target = self._reset_target(document)
            try:
                connector.post(target, data={'ResetType': _FORCE_OFF})
            except sushy_exc.HTTPError as exc:
                if exc.status_code not in (400, 409):
                    raise
                # Most devices refuse to switch off what is off.
                after = self._reading(self._get(connector))
                if after.power != incident.Power.OFF:
                    raise

    def read(self) -> views.PowerReading:
        """Return PowerState and UUID of the system."""
        with self._connection('read the power of') as connector:
            return self._reading(self._get(connector))

    @contextlib.contextmanager
    def _connection(
        self, verb: str
    ) -> collections.abc.Iterator[sushy_connector.Connector]:
        """Give a connection for one call; translate what goes wrong in it."""
        connector = _Connector(
            self._address, self._verify, time.monotonic() + self.call_timeout
        )
        try:
            with self._authenticated(connector):
                yield connector
        except sushy_exc.HTTPError as exc:
            text = self._text(verb, _reason(exc))
            if exc.status_code is not None and 400 <= exc.status_code < 500:
                raise doors.Refused(text, exc.status_code) from exc
            raise doors.Unanswered(text) from exc
        except (
            sushy_exc.SushyError,
            requests.RequestException,
            ValueError,
        ) as exc:
            raise doors.Unanswered(self._text(verb, _reason(exc))) from exc
        finally:
            connector.close()

    @contextlib.contextmanager
    def _authenticated(
        self, connector: sushy_connector.Connector
    ) -> collections.abc.Iterator[None]:
        if not self._username:
            yield
            return
        password = self._password()
        if self._auth == 'basic':
            connector.set_http_basic_auth(self._username, password)
            yield
            return
        session = sushy_auth.SessionAuth(self._username, password)
        # Logs in; the object must live as long as the session.
        root = sushy.Sushy(self._address, auth=session, connector=connector)
        try:
            yield
        finally:
            try:
                session.close()
            except (sushy_exc.SushyError, requests.RequestException) as exc:
                LOG.warning(
                    "Device '%s' of host '%s' kept a session open: %s",
                    self.device,
                    self.host,
                    exc,
                )
                session.reset_session_attrs()
            del root

    def _password(self) -> str:
        try:
            with open(self._password_file, encoding='utf-8') as source:
                return source.read().rstrip('\r\n')
        except (OSError, UnicodeError) as exc:
            raise doors.Refused(
                f"Device '{self.device}' of host '{self.host}' was not asked:"
                f" the password file '{self._password_file}' cannot be read "
                f'({type(exc).__name__}).'
            ) from None

    def _get(self, connector: sushy_connector.Connector) -> _Document:
        document = connector.get(self._system).json()
        if not isinstance(document, dict):
            raise ValueError('the system is not a JSON object')
        return document

    def _reading(self, document: _Document) -> views.PowerReading:
        state, uuid = document.get('PowerState'), document.get('UUID')
        known = state if isinstance(state, str) else ''
        return views.PowerReading(
            power=_POWER.get(known, incident.Power.UNKNOWN),
            system_uuid=identity.normalize(
                uuid if isinstance(uuid, str) else ''
            ),
            raw=json.dumps({'PowerState': state, 'UUID': uuid})[:500],
        )

    def _check_identity(self, document: _Document, expected: str) -> None:
        if not expected:
            return
        why = identity.explain(expected, self._reading(document).system_uuid)
        if why:
            raise doors.Refused(
                f"Device '{self.device}' was not told to power off host "
                f"'{self.host}': {why}. Correct the fencing map."
            )

    def _reset_target(self, document: _Document) -> str:
        try:
            action = document['Actions'][_RESET]
            target = action['target']
            allowed = action.get('ResetType@Redfish.AllowableValues')
        except (AttributeError, KeyError, TypeError):
            target, allowed = None, None
        # A path on this device and nowhere else.
        if (
            not isinstance(target, str)
            or target[:2] in ('', '//')
            or (target[0] != '/')
        ):
            raise doors.Refused(
                self._text('power off', f"it offers no action '{_RESET}'")
            )
        if allowed and _FORCE_OFF not in allowed:
            raise doors.Refused(
                self._text(
                    'power off',
                    f"it does not offer '{_FORCE_OFF}', only {allowed}",
                )
            )
        return target

    def _text(self, verb: str, why: str) -> str:
        return (
            f"Device '{self.device}' did not {verb} host '{self.host}': "
            f'{printable.line(why, _LONGEST)}'
        )


def _reason(exc: Exception) -> str:
    if isinstance(exc, sushy_exc.HTTPError):
        detail = f': {exc.detail}' if exc.detail else ''
        return f'it answered HTTP {exc.status_code}{detail}'.rstrip('.')
    if isinstance(exc, json.JSONDecodeError):
        return 'it sent no readable JSON'
    if isinstance(exc, sushy_exc.ConnectionError):
        exc = _cause(exc)
    if isinstance(exc, requests.Timeout):
        return 'it gave no answer in time'
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return (str(exc).strip() or type(exc).__name__).rstrip('.')


def _cause(exc: BaseException) -> Exception:
    """Return what went wrong first, if the system or requests names it.

    sushy, requests and urllib3 each repeat the address and the sentence of
    the one below; an operator has to find the three words that matter.
    """
    found: BaseException = exc
    below: BaseException | None = exc
    while below is not None:
        if isinstance(below, requests.Timeout | requests.TooManyRedirects):
            found = below
            break
        if isinstance(below, OSError) and below.strerror:
            found = below
        below = below.__cause__ or below.__context__
    return found if isinstance(found, Exception) else Exception(str(found))


def _address(value: object) -> str:
    """Return 'scheme://host[:port]' in one spelling."""
    text = value if isinstance(value, str) else ''
    if '@' in text:  # first: what follows would show the password
        raise base.OptionError(
            'address', 'no user in the URL', "a user ('username' is the key)"
        )
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urllib.parse.urlsplit(''), None
    if (
        parts.scheme not in ('http', 'https')
        or not parts.hostname
        or parts.path.rstrip('/')
        or parts.query
        or parts.fragment
    ):
        raise base.OptionError(
            'address', "'https://host[:port]' without a path", repr(value)
        )
    return _spell(parts.scheme, parts.hostname, port)


def _spell(scheme: str, hostname: str, port: int | None) -> str:
    name = f'[{hostname}]' if ':' in hostname else hostname
    if port == {'http': 80, 'https': 443}[scheme]:
        port = None
    return f'{scheme}://{name}' + (f':{port}' if port else '')


def _origin(url: str) -> str:
    """Return where a URL leads to, in the spelling of an address."""
    parts = urllib.parse.urlsplit(url)
    return _spell(parts.scheme, parts.hostname or '', parts.port)


def _system(value: object) -> str:
    if not isinstance(value, str) or not value.startswith('/'):
        raise base.OptionError(
            'system', "a path such as '/redfish/v1/Systems/1'", repr(value)
        )
    return value.rstrip('/')


def _text(options: base.Options, key: str) -> str:
    value = options.get(key, '')
    if not isinstance(value, str):
        raise base.OptionError(
            key, 'a text', f'a value of type {type(value).__name__}'
        )
    return value
