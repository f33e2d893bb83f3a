# SPDX-License-Identifier: Apache-2.0
# DevStack plugin of nova-ha-plugins: functions by phase, one dispatch at the
# end. A first version: checked for syntax, not yet run in a DevStack.

_XTRACE_NOVA_HA=$(set +o | grep xtrace)
set +o xtrace

# Phase: install
# --------------

function install_nova_ha {
    setup_develop $NOVA_HA_DIR
}

# Phase: post-config
# ------------------
# Every file of another project is written anew by its own plugin at each
# stack.sh, so ours follows each time.

# Print the names that nova-compute services of this machine give themselves.
function _nova_ha_compute_hosts {
    if ! is_service_enabled n-cpu; then
        return 0
    fi
    if [[ "$VIRT_DRIVER" == 'fake' ]]; then
        local number
        for number in $(seq 1 ${NUMBER_FAKE_NOVA_COMPUTE:-1}); do
            echo "${HOSTNAME}${number}"
        done
    else
        # nova.conf's host where it is set; nova's own default otherwise.
        iniget $NOVA_CONF DEFAULT host | grep . || hostname
    fi
}

# Print the hosts whose heartbeats run as processes of this stack.
function _nova_ha_heartbeats {
    if is_service_enabled nova-ha-heartbeat; then
        _nova_ha_compute_hosts
    fi
}

# Print the directory of the data files in the package.
function _nova_ha_data {
    echo "$NOVA_HA_DIR/ceilometer_pollsters/data"
}

# Add the documents of one of our YAML files to one of the services' files.
# Lists under the same key are joined; nothing that was there is removed.
function _nova_ha_merge_yaml {
    local target=$1
    local ours=$2
    $PYTHON - "$target" "$ours" <<'PYTHON_END'
import sys
import yaml

target, ours = sys.argv[1:]
with open(target) as stream:
    merged = yaml.safe_load(stream)
with open(ours) as stream:
    added = yaml.safe_load(stream)
if isinstance(merged, list):
    merged += [item for item in added if item not in merged]
else:
    for key, items in added.items():
        known = merged.setdefault(key, [])
        known += [item for item in items if item not in known]
    for source in merged.get('sources', ()):
        # gnocchi must not get every heartbeat as a measure.
        meters = source.get('meters', ())
        if '*' in meters and '!hypervisor.heartbeat' not in meters:
            meters.append('!hypervisor.heartbeat')
with open(target, 'w') as stream:
    yaml.safe_dump(merged, stream, sort_keys=False)
PYTHON_END
}

# Write the groups that each host of our plugins reads.
function _nova_ha_plugin_options {
    local conf=$1
    iniset $conf nova_ha_database connection $(database_connection_url nova_ha)
    iniset $conf nova_ha project_id $NOVA_HA_PROJECT_ID
    iniset $conf nova_ha heartbeat_timeout $NOVA_HA_HEARTBEAT_TIMEOUT
    iniset $conf nova_ha reconnect_max 2
}

function _configure_nova_ha_engine {
    sudo install -d -o $STACK_USER $NOVA_HA_CONF_DIR
    rm -f $NOVA_HA_CONF
    touch $NOVA_HA_CONF
    chmod 0600 $NOVA_HA_CONF
    iniset $NOVA_HA_CONF DEFAULT debug $ENABLE_DEBUG_LOG_LEVEL
    _nova_ha_plugin_options $NOVA_HA_CONF
    iniset $NOVA_HA_CONF probe port $NOVA_HA_PROBE_PORT
    iniset $NOVA_HA_CONF fencing map_file $NOVA_HA_CONF_DIR/fencing.yaml
    if [[ -n "$NOVA_HA_FENCING_MAP" ]]; then
        install -m 0600 $NOVA_HA_FENCING_MAP $NOVA_HA_CONF_DIR/fencing.yaml
    fi
    # The service user: admin, because it evacuates and reads trusts.
    create_service_user nova-ha admin
    configure_keystoneauth $NOVA_HA_CONF nova-ha nova
    iniset $NOVA_HA_CONF nova region_name $REGION_NAME
}

function _configure_nova_ha_nova {
    local composite
    _nova_ha_plugin_options $NOVA_CONF
    iniset $NOVA_API_PASTE_INI filter:instance_ha paste.filter_factory \
        nova_ha_plugins.api.middleware:filter_factory
    for composite in openstack_compute_api_v21 \
            openstack_compute_api_v21_legacy_v2_compatible; do
        local line
        line=$(iniget $NOVA_API_PASTE_INI composite:$composite keystone)
        if [[ "$line" != *instance_ha* ]]; then
            # Right before the application, which is the last word.
            iniset $NOVA_API_PASTE_INI composite:$composite keystone \
                "${line% *} instance_ha ${line##* }"
        fi
    done
}

function _configure_nova_ha_ceilometer {
    local data
    data=$(_nova_ha_data)
    _nova_ha_plugin_options $CEILOMETER_CONF
    local name
    for name in pipeline.yaml event_pipeline.yaml event_definitions.yaml; do
        _nova_ha_merge_yaml $CEILOMETER_CONF_DIR/$name $data/$name
    done
    cp $data/polling_ha_central.yaml $CEILOMETER_CONF_DIR/
    sed "s/interval: 2/interval: $NOVA_HA_HEARTBEAT_INTERVAL/" \
        $data/polling_ha.yaml > $CEILOMETER_CONF_DIR/polling_ha.yaml
    local conf=$CEILOMETER_CONF_DIR/ceilometer-ha-central.conf
    rm -f $conf
    touch $conf
    iniset $conf polling cfg_file $CEILOMETER_CONF_DIR/polling_ha_central.yaml
    local host
    for host in $(_nova_ha_compute_hosts); do
        _configure_nova_ha_heartbeat $host
    done
}

# One polling agent per compute service, also where several share a machine.
function _configure_nova_ha_heartbeat {
    local host=$1
    local conf=$CEILOMETER_CONF_DIR/ceilometer-ha-$host.conf
    local state=$DATA_DIR/nova-ha/$host
    rm -f $conf
    touch $conf
    iniset $conf polling cfg_file $CEILOMETER_CONF_DIR/polling_ha.yaml
    iniset $conf nova_ha host $host
    # Goes with reconnect_max.
    iniset $conf oslo_messaging_rabbit rabbit_interval_max 2
    mkdir -p $state
    if [[ "$VIRT_DRIVER" == 'fake' ]]; then
        # Fake hosts share a machine and must not share its identity.
        if [[ ! -e $state/product_uuid ]]; then
            cat /proc/sys/kernel/random/uuid > $state/product_uuid
        fi
    else
        sudo install -o $STACK_USER -m 0400 /sys/class/dmi/id/product_uuid \
            $state/product_uuid
    fi
    iniset $conf nova_ha system_uuid_file $state/product_uuid
}

function _configure_nova_ha_aodh {
    _nova_ha_plugin_options $AODH_CONF
    # By default a new alarm is deaf for a minute.
    iniset $AODH_CONF DEFAULT event_alarm_cache_ttl 0
}

function configure_nova_ha {
    NOVA_HA_PROJECT_ID=$(openstack project show $SERVICE_PROJECT_NAME \
        -f value -c id)
    _configure_nova_ha_engine
    _configure_nova_ha_nova
    _configure_nova_ha_ceilometer
    _configure_nova_ha_aodh
}

function init_nova_ha {
    recreate_database nova_ha
    $(get_python_exec_prefix)/nova-ha-manage --config-file $NOVA_HA_CONF \
        db sync
}

# Phase: extra
# ------------

function start_nova_ha {
    local bin
    bin=$(get_python_exec_prefix)
    run_process nova-ha-watcher "$bin/ceilometer-polling \
        --polling-namespaces ha_central --config-file $CEILOMETER_CONF \
        --config-file $CEILOMETER_CONF_DIR/ceilometer-ha-central.conf"
    local host
    for host in $(_nova_ha_heartbeats); do
        enable_service nova-ha-heartbeat-$host
        run_process nova-ha-heartbeat-$host "$bin/ceilometer-polling \
            --polling-namespaces ha --config-file $CEILOMETER_CONF \
            --config-file $CEILOMETER_CONF_DIR/ceilometer-ha-$host.conf"
    done
    run_process nova-ha-engine "$bin/nova-ha-engine --config-file \
        $NOVA_HA_CONF"
}

# Run an openstack command as the service user of the engine. 'env' is not
# used: everybody may read its arguments, the password among them.
function _nova_ha_openstack {
    (unset OS_CLOUD; OS_PASSWORD="$SERVICE_PASSWORD" openstack \
        --os-auth-type password --os-auth-url $KEYSTONE_SERVICE_URI \
        --os-username nova-ha \
        --os-user-domain-name "$SERVICE_DOMAIN_NAME" \
        --os-project-name $SERVICE_PROJECT_NAME \
        --os-project-domain-name "$SERVICE_DOMAIN_NAME" \
        --os-region-name $REGION_NAME "$@")
}

# The alarm belongs to the project whose id the events carry.
function create_nova_ha_alarm {
    local names
    if [[ "$NOVA_HA_CREATE_ALARM" != 'True' ]]; then
        return 0
    fi
    names=$(_nova_ha_openstack alarm list -f value -c name)
    if grep -qx ha-host-down <<< "$names"; then
        return 0
    fi
    _nova_ha_openstack alarm create --name ha-host-down --type event \
        --event-type compute.host.down --severity critical \
        --repeat-actions True --alarm-action trust+nova-ha://
}

# Phases: unstack, clean
# ----------------------

function stop_nova_ha {
    stop_process nova-ha-engine
    stop_process nova-ha-watcher
    local host
    for host in $(_nova_ha_heartbeats); do
        # Units are stopped only if they count as enabled.
        enable_service nova-ha-heartbeat-$host
        stop_process nova-ha-heartbeat-$host
    done
}

function cleanup_nova_ha {
    sudo rm -rf $NOVA_HA_CONF_DIR $DATA_DIR/nova-ha
    rm -f $CEILOMETER_CONF_DIR/ceilometer-ha-*.conf
    rm -f $CEILOMETER_CONF_DIR/polling_ha.yaml
    rm -f $CEILOMETER_CONF_DIR/polling_ha_central.yaml
}

# Dispatch
# --------

if is_service_enabled nova-ha-engine; then
    if [[ "$1" == 'stack' && "$2" == 'install' ]]; then
        echo_summary 'Installing nova-ha-plugins'
        install_nova_ha
    elif [[ "$1" == 'stack' && "$2" == 'post-config' ]]; then
        echo_summary 'Configuring nova-ha-plugins'
        configure_nova_ha
        init_nova_ha
    elif [[ "$1" == 'stack' && "$2" == 'extra' ]]; then
        echo_summary 'Starting nova-ha-plugins'
        start_nova_ha
        create_nova_ha_alarm
    elif [[ "$1" == 'unstack' ]]; then
        stop_nova_ha
    elif [[ "$1" == 'clean' ]]; then
        cleanup_nova_ha
    fi
fi

$_XTRACE_NOVA_HA
