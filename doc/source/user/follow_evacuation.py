# SPDX-License-Identifier: Apache-2.0

"""Waits until a server is back, with openstacksdk: 60 lines to copy from.

python follow_evacuation.py web-1
"""

import sys
import time

import openstack

# 1.2 has the explanation and the time left; an older one is asked without.
VERSION = {'OpenStack-API-Version': 'instance-ha 1.2'}
ENDED = ('succeeded', 'failed', 'superseded')


def newest(compute, server):
    """Give the newest evacuation of a server, None if there was none."""
    path = f'/servers/{server.id}/evacuations'
    answer = compute.get(path, headers=VERSION)
    if answer.status_code == 406:
        answer = compute.get(path)
    # Nova may be away for a moment while a cloud repairs itself.
    if answer.status_code >= 500:
        return {'state': 'unknown', 'phase': 'nova does not answer'}
    openstack.exceptions.raise_from_response(answer)
    found = answer.json()['evacuations']
    return found[0] if found else None


def follow(compute, server, interval=2.0):
    """Print what changes until it has ended; give the last of it."""
    told = None
    while True:
        item = newest(compute, server)
        if item is None:
            print(f'{server.name} was never evacuated')
            return None
        text = f'{item["phase"]} {item.get("progress")} %'
        if item.get('eta_seconds') is not None:
            text += f', about {item["eta_seconds"]} s left'
        if item.get('explanation'):
            text += f': {item["explanation"]}'
        if text != told:
            print(f'{server.name}: {text}', flush=True)
            told = text
        if item['state'] in ENDED:
            return item
        time.sleep(interval)


def main(name):
    cloud = openstack.connect()
    server = cloud.compute.find_server(name, ignore_missing=False)
    item = follow(cloud.compute, server)
    return 0 if item and item['state'] == 'succeeded' else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
