# SPDX-License-Identifier: Apache-2.0

"""What can go wrong with one call on the wire.

A fault is a function that gets the exchange. It may have the call carried out
(``perform``) and may answer the truth, something else, or nothing: whether the
call happened and what the caller hears are two things.
"""

import json
import threading
import time

# For one step of a story; a busy machine needs most of it.
PATIENCE = 120.0


def truth(exchange):
    """Carry the call out and say so."""
    exchange.reply(*exchange.perform())


def refuse(status, message, headers=()):
    """Answer as nova does when it says no; nothing happened."""

    def fault(exchange):
        exchange.reply(*nova_error(status, message, headers))

    return fault


def nova_error(status, message, headers=()):
    """Return an answer as nova.api.openstack.wsgi.Fault makes it."""
    kind = {
        400: 'badRequest',
        403: 'forbidden',
        404: 'itemNotFound',
        409: 'conflictingRequest',
        429: 'overLimit',
        503: 'serviceUnavailable',
    }.get(status, 'computeFault')
    body = {'code': status, 'message': message}
    after = dict(headers).get('Retry-After')
    if status == 429 and after:
        body['retryAfter'] = after
    return status, {kind: body}, headers


def too_many(seconds):
    """Answer 429 with Retry-After; nothing happened."""
    return refuse(429, 'Too many requests.', (('Retry-After', str(seconds)),))


def gateway(status, text):
    """Answer as haproxy does in place of a server; nothing happened."""

    def fault(exchange):
        body = f'<html><body><h1>{status} {text}</h1>\n</body></html>\n'
        exchange.reply_raw(status, body.encode(), 'text/html')

    return fault


TIMED_OUT = gateway(504, 'Gateway Time-out')
BAD_GATEWAY = gateway(502, 'Bad Gateway')
UNAVAILABLE = gateway(503, 'Service Unavailable')


def accepted(fault):
    """Carry the call out, then do what the fault does."""

    def both(exchange):
        exchange.perform()
        fault(exchange)

    return both


def reset(exchange):
    """End the connection without a word; nothing happened."""
    exchange.reset()


def reset_in_body(exchange):
    """Carry the call out, break off in the middle of the answer."""
    status, document, _ = exchange.perform()
    body = json.dumps(document).encode() or b'{"half": '
    exchange.begin(status, len(body) + 100)
    exchange.write(body[: len(body) // 2 + 1])
    exchange.reset()


def truncated(exchange):
    """Carry the call out, answer with half of a JSON document."""
    status, document, _ = exchange.perform()
    body = json.dumps(document).encode()
    exchange.reply_raw(status, body[: len(body) // 2])


def html(exchange):
    """Carry the call out, answer 200 with somebody's web page."""
    exchange.perform()
    exchange.reply_raw(200, b'<html><p>Please log in.</p></html>', 'text/html')


def dribble(seconds):
    """Carry the call out, answer one byte after another."""

    def fault(exchange):
        status, document, _ = exchange.perform()
        body = json.dumps(document).encode().ljust(40)
        exchange.begin(status, len(body))
        for byte in body:
            if exchange.over.wait(seconds / len(body)):
                break
            exchange.write(bytes([byte]))

    return fault


def late(seconds, then=truth):
    """Do nothing for so long, then what the fault does."""

    def fault(exchange):
        exchange.over.wait(seconds)
        then(exchange)

    return fault


def changed(change):
    """Carry the call out, answer what a function makes of the document."""

    def fault(exchange):
        status, document, headers = exchange.perform()
        exchange.reply(status, change(document), headers)

    return fault


def expired(exchange):
    """No token that was given out counts any more, this one included."""
    exchange.cloud.revoke()
    exchange.reply(*exchange.cloud.recorded('unauthorized'))


def after(hook, fault=truth):
    """Carry the call out, run the hook, then do what the fault does."""

    def both(exchange):
        answer = exchange.perform()
        hook()
        exchange.perform = lambda: answer
        fault(exchange)

    return both


def before(hook):
    """Run the hook; the call never arrives."""

    def fault(exchange):
        hook()
        exchange.reset()

    return fault


class Script:
    """Which faults the calls get that still come."""

    def __init__(self):
        self._lock = threading.Lock()
        self._queues = {}
        self._always = {}

    def add(self, kind, subject, *faults):
        """The next calls of a kind about a subject get these, one each."""
        with self._lock:
            self._queues.setdefault((kind, subject), []).extend(faults)

    def always(self, kind, subject, fault):
        """Every call gets this one; None ends it."""
        with self._lock:
            if fault is None:
                self._always.pop((kind, subject), None)
            else:
                self._always[kind, subject] = fault

    def clear(self):
        with self._lock:
            self._queues.clear()
            self._always.clear()

    def take(self, kind, subject):
        """Return the fault of a call that has come."""
        with self._lock:
            for key in ((kind, subject), (kind, ''), ('', '')):
                if self._queues.get(key):
                    return self._queues[key].pop(0)
                if key in self._always:
                    return self._always[key]
        return truth

    def left(self):
        """Return what was scripted and never came."""
        with self._lock:
            return {key: len(one) for key, one in self._queues.items() if one}


def until(what, check):
    """Return the first true answer of a check.

    :param what: completes 'Not within N s: '; may be a function.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            text = what() if callable(what) else what
            raise AssertionError(f'Not within {PATIENCE:.0f} s: {text}')
        time.sleep(0.05)
