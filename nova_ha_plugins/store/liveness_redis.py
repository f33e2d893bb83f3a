# SPDX-License-Identifier: Apache-2.0

"""Signs of life in Redis, by the clock of Redis.

Two hashes: what was heard of each host, and what was said of each channel of
a host. Scripts compare and stamp on the server, so that two collectors cannot
overwrite each other, and no clock but its own counts.

A Redis that was restarted may have forgotten everything. Hosts that live are
heard again within seconds, but one that died meanwhile would never be missed.
So every reader remembers what it read last, and tells a Redis that forgot.
"""

from collections.abc import Callable
from collections.abc import Iterable
import logging
import operator
import typing
import uuid

from oslo_config import cfg

from nova_ha_plugins.conf import nova_ha as nova_ha_conf
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import liveness
from nova_ha_plugins.store import values

try:
    import redis
    from redis import backoff
    from redis import retry
except ImportError:
    # An extra of this package; whoever names the backend is told.
    redis = None  # type: ignore[assignment]

LOG = logging.getLogger(__name__)

Asked = typing.ParamSpec('Asked')
Result = typing.TypeVar('Result')

# The hashes, and the mark that is gone when they are.
_BEATS = 'nova-ha:beats'
_HEALTHS = 'nova-ha:healths'
_BIRTH = 'nova-ha:birth'
# Seconds that Redis may take for one answer, unless the URL says otherwise.
_PATIENCE = 2.0
# A script blocks Redis for everybody.
_TOGETHER = 1000
# Between the fields of a row; no field holds it, for it cannot be printed.
_MARK = '\x1f'
# Sequences are compared as texts: a number of Lua has 53 bits.
_DIGITS = 19

# The rule of liveness.follow. A row: when it was stored in microseconds,
# boot, sequence, system uuid, service uuid, past boots.
_HEAR = (
    """
local function split(text)
  local fields = {}
  for field in string.gmatch(text .. '\\31', '([^\\31]*)\\31') do
    fields[#fields + 1] = field
  end
  return fields
end
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000000 + clock[2])
redis.call('SET', KEYS[2], ARGV[1], 'NX')
local count = 0
for i = 2, #ARGV, 5 do
  local host, boot, sequence = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local system, service, past = ARGV[i + 3], ARGV[i + 4], ''
  local alive = true
  local row = redis.call('HGET', KEYS[1], host)
  if row then
    local last = split(row)
    past = last[6]
    if boot == last[2] then
      alive = sequence > last[3]
    elseif string.find(' ' .. past .. ' ', ' ' .. boot .. ' ', 1, true) then
      alive = false
    else
      local boots = {}
      for one in string.gmatch(past, '%S+') do boots[#boots + 1] = one end
      boots[#boots + 1] = last[2]
"""
    f'      if #boots > {liveness.PAST_BOOTS} then table.remove(boots, 1) end'
    """
      past = table.concat(boots, ' ')
    end
    if system == '' then system = last[4] end
    if service == '' then service = last[5] end
  end
  if alive then
    redis.call('HSET', KEYS[1], host, table.concat(
      {now, boot, sequence, system, service, past}, '\\31'))
    count = count + 1
  end
end
return count
"""
)

# A row: when it was stored in microseconds, 1 or 0, value, text.
_NOTE = """
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000000 + clock[2])
for i = 1, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], now .. '\\31' .. ARGV[i + 1])
end
"""

# Rows that are stamped with a time to come are stamped with now.
_MEND = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local rows = redis.call('HGETALL', KEYS[1])
for i = 1, #rows, 2 do
  local at, rest = string.match(rows[i + 1], '^(%d+)(.*)$')
  if tonumber(at) > now + tonumber(ARGV[1]) then
    redis.call('HSET', KEYS[1], rows[i], string.format('%.0f', now) .. rest)
  end
end
"""

# What a reader remembers, where Redis has heard nothing newer.
_RESTORE = """
for i = 2, #ARGV, 2 do
  redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1])
end
redis.call('SET', KEYS[2], ARGV[1], 'NX')
"""


class RedisLiveness(liveness.Liveness):
    """The heartbeats in a hash, one script per batch."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        if redis is None:
            raise values.NotConfigured(
                "liveness_backend 'redis' needs the Python module redis, "
                "which is not installed: expected it by 'pip install "
                "nova-ha-plugins[redis]' or the package python3-redis"
            )
        nova_ha_conf.register_opts(conf)
        url: str = conf[nova_ha_conf.GROUP].liveness_url
        if not url:
            raise values.NotConfigured(
                'Option [nova_ha] liveness_url is not set: name the Redis '
                "of liveness_backend 'redis' in this file"
            )
        try:
            self._redis = _connect(url)
        except ValueError:
            # The reason may quote a part of the password.
            raise values.NotConfigured(
                'Option [nova_ha] liveness_url is no URL of a Redis: expected '
                'redis://:password@host:6379/0, or rediss:// or unix://'
            ) from None
        self._hear = self._redis.register_script(_HEAR)
        self._note = self._redis.register_script(_NOTE)
        self._mend = self._redis.register_script(_MEND)
        self._restore = self._redis.register_script(_RESTORE)
        # What was read last, and which life of Redis it was read from.
        self._rows: dict[bytes, bytes] = {}
        self._birth: bytes | None = None

    def beats(self, heard: Iterable[values.Heard]) -> int:
        """How many of the heartbeats were signs of life, stored together."""
        batch = sorted(heard, key=operator.attrgetter('host', 'sequence'))
        count = 0
        for begin in range(0, len(batch), _TOGETHER):
            arguments = [uuid.uuid4().hex]
            for one in batch[begin : begin + _TOGETHER]:
                arguments += (
                    one.host,
                    one.boot_id,
                    f'{one.sequence:0{_DIGITS}}',
                    one.system_uuid,
                    one.service_uuid,
                )
            count += int(_ask(self._hear, [_BEATS, _BIRTH], arguments))
        return count

    def read(self) -> tuple[views.Beat, ...]:
        """Every host ever heard, in the order of its name."""
        now, birth, rows = self._read(_BEATS)
        if self._rows and birth != self._birth:
            self._remind()
            now, birth, rows = self._read(_BEATS)
        self._rows, self._birth = rows, birth
        if any(_age(row, now) < -liveness.AHEAD for row in rows.values()):
            self._clock_went_back(_BEATS)
        return tuple(
            _beat(host, row, now) for host, row in sorted(rows.items())
        )

    def healths(self, seen: Iterable[values.Health]) -> None:
        """Keep what was said last of each channel of each host."""
        fresh = list(liveness.newest(seen).values())
        for begin in range(0, len(fresh), _TOGETHER):
            arguments: list[str] = []
            for one in fresh[begin : begin + _TOGETHER]:
                arguments += (
                    _MARK.join((one.host, one.channel)),
                    _MARK.join((str(int(one.ok)), repr(one.value), one.text)),
                )
            _ask(self._note, [_HEALTHS], arguments)

    def read_healths(self) -> tuple[views.HostHealth, ...]:
        """What was said last, in the order of host and channel."""
        now, _, rows = self._read(_HEALTHS)
        if any(_age(row, now) < -liveness.AHEAD for row in rows.values()):
            self._clock_went_back(_HEALTHS)
        old = {
            key
            for key, row in rows.items()
            if _age(row, now) >= liveness.HEALTH_KEPT
        }
        if old:
            _ask(self._redis.hdel, _HEALTHS, *old)
        return tuple(
            _health(key, row, now)
            for key, row in sorted(rows.items())
            if key not in old
        )

    def forget(self, host: str) -> None:
        """Drop a host that left the cloud, with its health."""
        self._rows.pop(host.encode(), None)
        begin = f'{host}{_MARK}'.encode()

        def work() -> None:
            keys = typing.cast(list[bytes], self._redis.hkeys(_HEALTHS))
            channels = [key for key in keys if key.startswith(begin)]
            with self._redis.pipeline(transaction=True) as together:
                together.hdel(_BEATS, host)
                if channels:
                    together.hdel(_HEALTHS, *channels)
                together.execute()

        _ask(work)

    def _read(
        self, key: str
    ) -> tuple[float, bytes | None, dict[bytes, bytes]]:
        """The time, the mark of this life of Redis, and a hash."""

        def work() -> typing.Any:
            with self._redis.pipeline(transaction=True) as together:
                together.time()
                together.get(_BIRTH)
                together.hgetall(key)
                return together.execute()

        (seconds, microseconds), birth, rows = _ask(work)
        return seconds + microseconds / 1e6, birth, rows

    def _remind(self) -> None:
        arguments: list[str | bytes] = [uuid.uuid4().hex]
        for host, row in self._rows.items():
            arguments += (host, row)
        _ask(self._restore, [_BEATS, _BIRTH], arguments)
        LOG.warning(
            'Redis of [nova_ha] liveness_url has forgotten its hosts, for '
            'instance in a restart. It was told %d that were read before; '
            'silence counts on',
            len(self._rows),
        )

    def _clock_went_back(self, key: str) -> None:
        """Let silence count from now, instead of from a time to come."""
        _ask(self._mend, [key], [int(liveness.AHEAD * 1e6)])
        LOG.warning(
            'Clock of the Redis of [nova_ha] liveness_url went back: silence '
            'of hosts is counted from now'
        )


def _connect(url: str) -> redis.Redis:
    # One more try for a connection that Redis has closed meanwhile; whoever
    # waits longer makes a watcher that is blind look like one that is busy.
    pool = redis.ConnectionPool.from_url(
        url,
        **{
            'socket_timeout': _PATIENCE,
            'socket_connect_timeout': _PATIENCE,
            'retry': retry.Retry(backoff.NoBackoff(), 1),
        },
    )
    return redis.Redis(connection_pool=pool)


def _ask(
    work: Callable[Asked, Result], *args: Asked.args, **more: Asked.kwargs
) -> Result:
    try:
        return work(*args, **more)
    except redis.RedisError as error:
        raise values.Unreachable(
            'Redis of [nova_ha] liveness_url did not answer as expected: '
            f'{error}'
        ) from error


def _age(row: bytes, now: float) -> float:
    at, _, _ = row.partition(b'\x1f')
    return now - int(at) / 1e6


def _beat(host: bytes, row: bytes, now: float) -> views.Beat:
    at, boot, sequence, system, service, _ = row.decode().split(_MARK)
    return views.Beat(
        host=host.decode(),
        service_uuid=service,
        boot_id=boot,
        sequence=int(sequence),
        system_uuid=system,
        age=max(0.0, now - int(at) / 1e6),
    )


def _health(key: bytes, row: bytes, now: float) -> views.HostHealth:
    host, _, channel = key.decode().partition(_MARK)
    at, ok, value, text = row.decode().split(_MARK, 3)
    return views.HostHealth(
        host=host,
        channel=channel,
        ok=ok == '1',
        value=float(value),
        text=text,
        age=max(0.0, now - int(at) / 1e6),
    )
