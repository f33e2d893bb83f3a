# SPDX-License-Identifier: Apache-2.0
"""A whole small cloud on one machine: starts, watches and stops its processes.

Every process of the cloud is started as ``python -m lab.embedded.<name>
--config-json FILE`` (names: keystone, nova_cloud, bmc, telemetry) and reads
the same file, ``<directory>/cloud.json`` (mode 0600; it holds passwords).
Everything binds to 127.0.0.1; the parent has chosen every port and every id
before the first process starts. The fields::

    directory         absolute path of this cloud, a place for anybody's files
    log_dir           stdout and stderr of a process are already redirected
                      to <log_dir>/<name>.log
    region            'RegionOne'
    keystone:         url ('http://127.0.0.1:P/v3'), port, data_dir
    nova:             url ('http://127.0.0.1:P/v2.1'), port,
                      control_url ('http://127.0.0.1:P'), control_port,
                      spawn_seconds, report_interval, service_down_time,
                      heartbeats are real; transport is private to the process
    placement, image: url, port
    telemetry:        control_url, control_port, aodh_url, aodh_port,
                      heartbeat_interval (s, 1.0), watch_interval (s, 1.0),
                      heartbeat_timeout (s, 3.0), warm_up (s, 3.0),
                      settings (dict of anything else that the caller of
                      Cloud(telemetry={...}) wants to hand on)
    bmc:              url ('https://127.0.0.1:P'), port, certificate, key,
                      username, password_file, auth_file
    store_connection  'sqlite:////<directory>/nova-ha.sqlite', the value of
                      [nova_ha_database] connection
    ha_project_id     [nova_ha] project_id: the project whose event alarm
                      fires (id of project 'admin', where the operator is)
    projects          {'admin': id, 'demo': id, 'service': id}
    users             {name: {'password', 'project' (name), 'user_id'}} for
                      admin, demo, alice, nova, placement, aodh, ceilometer,
                      nova-ha; all of domain 'Default' (id 'default')
    hosts             [{'name': 'cmp-1', 'system_uuid', 'system_uuid_file',
                        'boot_id_file', 'probe_port'}, ...]

A host's two files exist before any process starts. nova_cloud writes a fresh
boot id into ``boot_id_file`` on every power on, before it answers; so a
telemetry process that is powered on after nova reads the new one.

A process is ready when ``GET <control_url>/hosts`` (nova, telemetry), its own
root (keystone, bmc) answers 200. It ends on SIGTERM within 3 seconds; else it
is killed. All of a process' threads may be daemons.
"""
