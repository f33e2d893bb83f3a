# SPDX-License-Identifier: Apache-2.0

"""Holding our answers to their schemas, as nova holds its own.

Nova chooses the schema of an answer by its microversion, which says nothing
about our resources; here our own version chooses. Nova's option ``[api]
response_validation`` says what becomes of an answer that is wrong.
"""

from collections import abc
import functools
import json
import logging
import typing

import jsonschema

from nova_ha_plugins.api import compat
from nova_ha_plugins.api import versions

LOG = logging.getLogger(__name__)

Schema = dict[str, typing.Any]


class WrongAnswerError(Exception):
    """What we were about to answer is not what we promise."""


def schema(
    by_version: abc.Mapping[str, Schema],
) -> abc.Callable[[typing.Any], typing.Any]:
    """Give a decorator that holds a method's answers to these schemas.

    :param by_version: the schemas, by the version of ours that began with it.
    """
    validators = {
        versions.number(version): compat.answer_validator(each)
        for version, each in by_version.items()
    }

    def decorator(method: typing.Any) -> typing.Any:
        @functools.wraps(method)
        def wrapper(
            self: typing.Any, req: typing.Any, *args: typing.Any, **kwargs: str
        ) -> typing.Any:
            answer = method(self, req, *args, **kwargs)
            wanted = compat.CONF.api.response_validation
            if wanted != 'ignore':
                asked = versions.number(versions.negotiate(req.headers))
                newest = max(each for each in validators if each <= asked)
                _check(validators[newest], answer, wanted == 'error')
            return answer

        return wrapper

    return decorator


def _check(
    validator: typing.Any, answer: dict[str, typing.Any], strict: bool
) -> None:
    if not strict:
        # To look at each of a thousand items takes longer than to read them.
        answer = {
            key: value[:1] if isinstance(value, list) else value
            for key, value in answer.items()
        }
    sent = compat.wsgi.JSONDictSerializer().serialize(answer)
    try:
        validator.validate(json.loads(sent))
    except jsonschema.ValidationError as error:
        place = '.'.join(str(step) for step in error.absolute_path)
        text = f"Answer is wrong at '{place}': {error.message}"
        if strict:
            raise WrongAnswerError(text) from error
        LOG.warning('%s', text)
