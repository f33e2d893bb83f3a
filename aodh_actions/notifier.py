# SPDX-License-Identifier: Apache-2.0

"""Aodh's way to us: an alarm action ``trust+nova-ha://...`` becomes a fact.

Nothing is decided here. Whoever may create an alarm may create this one; the
engine looks at the trust behind it and believes only somebody whose roles
satisfy the policy. The scheme exists with ``trust+`` only, because aodh lets
any tenant use a plain one and would not say who it was.
"""

import time
from typing import Any

from aodh import notifier
from oslo_log import log
import tenacity

from aodh_actions import message
from nova_ha_plugins.conf import opts
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.store import api as store_api
from nova_ha_plugins.store import errors

LOG = log.getLogger(__name__)

# aodh runs actions in a pool of threads and never again: waiting a little is
# better than losing the action, waiting long would starve other alarms. The
# engine's own round finds the host in any case.
RETRY_FOR = 10.0
LONGEST_PAUSE = 2.0

# Aodh repeats an alarm as often as every second, and any tenant can make one:
# what is said of the same fact again within this time is said at DEBUG.
SAY_EVERY = 60.0
_REMEMBERED = 1000


class NovaHaNotifier(notifier.AlarmNotifier):
    """Stores an unverified fact per accused host and returns."""

    def __init__(self, conf: Any) -> None:
        super().__init__(conf)
        opts.register_plugin_opts(conf)
        try:
            self._store = store_api.open_store(conf)
        except errors.AWAY as error:
            LOG.error(
                "Alarm action 'trust+nova-ha://' is not loaded, so alarms "
                'that use it do nothing: %s',
                error,
            )
            raise
        # The store was away for longer than anybody may wait: all of aodh's
        # threads would be waiting soon, and other alarms with them.
        self._away = False
        self._said: dict[tuple[str, int], float] = {}
        self._retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(errors.AWAY),
            wait=tenacity.wait_random_exponential(0.1, LONGEST_PAUSE),
            stop=tenacity.stop_after_delay(RETRY_FOR),
            before_sleep=self._warn,
            reraise=True,
        )

    def notify(
        self,
        action: Any,
        alarm_id: str,
        alarm_name: str,
        severity: str,
        previous: str,
        current: str,
        reason: str,
        reason_data: Any,
    ) -> None:
        """Store what the alarm says.

        Never raises for a store that is away: aodh would log a traceback
        that tells an operator nothing and run no retry.
        """
        body = {
            'alarm_id': alarm_id,
            'alarm_name': alarm_name,
            'severity': severity,
            'previous': previous,
            'current': current,
            'reason': reason,
            'reason_data': reason_data,
        }
        for host in self._hosts(body) or ('',):
            self._keep(
                message.make_fact(
                    host,
                    body,
                    channel='notifier',
                    trust_id=action.username or '',
                )
            )

    def _keep(self, fact: facts.Fact) -> None:
        try:
            if self._away:
                self._store.add_fact(fact)
            else:
                self._retry(self._store.add_fact, fact)
        except errors.AWAY as error:
            self._away = True
            self._lost(fact, error)
            return
        self._away = False
        LOG.log(
            self._rarely(fact, log.INFO),
            "Alarm '%s' stored as %s of host '%s', fact %s",
            fact.alarm_name,
            fact.kind,
            fact.host,
            fact.uuid,
        )

    @staticmethod
    def _hosts(body: dict[str, Any]) -> tuple[str, ...]:
        try:
            return message.suspected_hosts(
                body['current'], body['reason_data']
            )
        except message.BadHost as error:
            LOG.error(
                "Alarm '%s' accuses no host: %s. The engine is only woken up",
                message.clean(body['alarm_name']),
                error,
            )
            return ()

    @staticmethod
    def _warn(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        LOG.warning(
            'The store did not take a fact, attempt %d: %s. Trying again '
            'for %.0fs in all',
            state.attempt_number,
            type(error).__name__,
            RETRY_FOR,
        )

    def _rarely(self, fact: facts.Fact, level: int) -> int:
        """Return the level at which something is said of a fact."""
        now = time.monotonic()
        key = fact.uuid, level
        if now - self._said.get(key, -SAY_EVERY) < SAY_EVERY:
            return log.DEBUG
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[key] = now
        return level

    def _lost(self, fact: facts.Fact, error: Exception) -> None:
        LOG.log(
            self._rarely(fact, log.CRITICAL),
            "Alarm '%s' (%s) of host '%s' is lost: the store of "
            '[nova_ha_database] connection did not take it within %.0fs: %s. '
            "The engine's periodic round still finds a silent host, once it "
            'can read the store itself',
            fact.alarm_name,
            fact.kind,
            fact.host or 'none',
            RETRY_FOR,
            type(error).__name__,
        )
