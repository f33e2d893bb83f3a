# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# DevStack plugin of nova-ha-plugins: functions by phase, one dispatch at the
# end. Services of one host carry its name: nova-ha-heartbeat-<host>.

_XTRACE_NOVA_HA=$(set +o | grep xtrace)
set +o xtrace

_NOVA_HA_LOG_LEVELS=ceilometer.polling.manager=WARN,amqp=WARN
_NOVA_HA_LOG_LEVELS+=,oslo_messaging=INFO,urllib3.connectionpool=WARN
_NOVA_HA_LOG_LEVELS+=,stevedore=WARN

# Phase: install
# --------------

function install_nova_ha {
    setup_develop "$NOVA_HA_DIR"
    if _nova_ha_has_fake_hosts; then
        pip_install sushy-tools waitress
    fi
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
        for number in $(seq 1 "${NUMBER_FAKE_NOVA_COMPUTE:-1}"); do
            echo "${HOSTNAME}${number}"
        done
    else
        # nova.conf's host where it is set; nova's own default otherwise.
        iniget "$NOVA_CONF" DEFAULT host | grep . || hostname
    fi
}

# Print the hosts whose heartbeats run as processes of this stack.
function _nova_ha_heartbeats {
    if is_service_enabled nova-ha-heartbeat; then
        _nova_ha_compute_hosts
    fi
}

# Fake hosts share a machine: it is not their BMC, and its kernel not theirs.
function _nova_ha_has_fake_hosts {
    [[ "$VIRT_DRIVER" == 'fake' ]] && is_service_enabled n-cpu &&
        is_service_enabled nova-ha-chassis
}

# Print the hosts that are looked at beside their heartbeats. Fake hosts share
# a machine: what is seen on it is true of none of them.
function _nova_ha_probed {
    if [[ "$VIRT_DRIVER" == 'fake' ]]; then
        return 0
    fi
    if is_service_enabled nova-ha-probes; then
        _nova_ha_heartbeats
    fi
}

# Print the topics of what graphs are made of, beside heartbeats and events.
# The bus would keep for ever what nobody reads.
function _nova_ha_topics {
    if is_service_enabled ceilometer-anotification; then
        echo nova_ha,notifications
    else
        echo nova_ha
    fi
}

# Print the command that stands for what fake hosts lack.
function _nova_ha_fake_hosts {
    echo "$PYTHON $NOVA_HA_DIR/devstack/tools/fake_hosts.py" \
        "--directory $NOVA_HA_DATA_DIR"
}

# Print the directory of the data files in the package.
function _nova_ha_data {
    echo "$NOVA_HA_DIR/ceilometer_pollsters/data"
}

# Add one of our YAML files to one of ceilometer's, or take it out again.
function _nova_ha_yaml {
    local action=$1
    local name=$2
    local ours=$3
    if [[ -e "$CEILOMETER_CONF_DIR/$name" ]]; then
        "${PYTHON:-python3}" "$NOVA_HA_DIR/devstack/tools/merge_yaml.py" \
            "$action" "$CEILOMETER_CONF_DIR/$name" "$ours"
    fi
}

function _nova_ha_has_gnocchi {
    [[ "$NOVA_HA_GNOCCHI" == 'True' ]] && is_service_enabled gnocchi-api
}

# Merge what gnocchi keeps into the stock notification agent's pipeline, or
# take it out. Everything else goes to an agent of our own.
function _nova_ha_graphs {
    _nova_ha_yaml "$1" pipeline.yaml \
        "$(_nova_ha_data)/pipeline_gnocchi_ha.yaml"
}

# Write the groups that each host of our plugins reads.
function _nova_ha_plugin_options {
    local conf=$1
    iniset "$conf" nova_ha_database connection \
        "$(database_connection_url nova_ha)"
    iniset "$conf" nova_ha project_id "$NOVA_HA_PROJECT_ID"
    iniset "$conf" nova_ha heartbeat_timeout "$NOVA_HA_HEARTBEAT_TIMEOUT"
    iniset "$conf" nova_ha reconnect_max 2
}

# Write what our polling agents need beside ceilometer.conf.
function _nova_ha_polling_conf {
    local conf=$1
    local sources=$2
    _nova_ha_new_conf "$conf"
    # Without this each cycle is two lines and more.
    iniset "$conf" DEFAULT default_log_levels "$_NOVA_HA_LOG_LEVELS"
    iniset "$conf" polling cfg_file "$CEILOMETER_CONF_DIR/$sources"
    # Goes with reconnect_max.
    iniset "$conf" oslo_messaging_rabbit rabbit_interval_max 2
}

# Make a configuration file empty, and ours alone.
function _nova_ha_new_conf {
    rm -f "$1"
    (umask 077; touch "$1")
}

# Write the rules of a service, all commented out, where it reads them. What
# an operator has written there stays.
function _nova_ha_policy {
    local namespace=$1
    local file=$2
    if [[ ! -e "$file" ]]; then
        "$(get_python_exec_prefix)/oslopolicy-sample-generator" \
            --namespace "$namespace" --output-file "$file"
    fi
}

function _configure_nova_ha_engine {
    sudo install -d -o "$STACK_USER" "$NOVA_HA_CONF_DIR" "$NOVA_HA_DATA_DIR"
    _nova_ha_new_conf "$NOVA_HA_CONF"
    iniset "$NOVA_HA_CONF" DEFAULT debug "$ENABLE_DEBUG_LOG_LEVEL"
    _nova_ha_plugin_options "$NOVA_HA_CONF"
    iniset "$NOVA_HA_CONF" engine warm_up "$NOVA_HA_WARM_UP"
    iniset "$NOVA_HA_CONF" progress follow "$NOVA_HA_FOLLOW"
    if [[ "$NOVA_HA_FOLLOW" == 'True' ]]; then
        # Where nova's notifications go, too.
        iniset "$NOVA_HA_CONF" DEFAULT transport_url "$(get_notification_url)"
        # Our own agent makes events of what the engine tells.
        iniset "$NOVA_HA_CONF" oslo_messaging_notifications topics nova_ha
    fi
    iniset "$NOVA_HA_CONF" probe port "$NOVA_HA_PROBE_PORT"
    iniset "$NOVA_HA_CONF" fencing map_file "$NOVA_HA_CONF_DIR/fencing.yaml"
    # The service user: admin, because it evacuates and reads trusts.
    create_service_user "$NOVA_HA_USER" admin
    configure_keystoneauth "$NOVA_HA_CONF" "$NOVA_HA_USER" nova
    iniset "$NOVA_HA_CONF" nova region_name "$REGION_NAME"
    _nova_ha_policy nova-ha.engine "$NOVA_HA_CONF_DIR/policy.yaml"
}

# The map of the operator, or of the fake hosts.
function _configure_nova_ha_fencing {
    local map="$NOVA_HA_CONF_DIR/fencing.yaml"
    local manual=
    if _nova_ha_has_fake_hosts; then
        if [[ "$NOVA_HA_FENCING" == 'manual' ]]; then
            manual=--manual
        elif [[ "$NOVA_HA_FENCING" != 'emulated' ]]; then
            die $LINENO "NOVA_HA_FENCING is '$NOVA_HA_FENCING', expected" \
                "'emulated' or 'manual'"
        fi
        # shellcheck disable=SC2046
        $(_nova_ha_fake_hosts) prepare --map "$map" \
            --address "$NOVA_HA_BMC_ADDRESS" --port "$NOVA_HA_BMC_PORT" \
            $manual $(_nova_ha_compute_hosts)
    fi
    if [[ -n "$NOVA_HA_FENCING_MAP" ]]; then
        install -m 0600 "$NOVA_HA_FENCING_MAP" "$map"
    fi
}

function _configure_nova_ha_webhook {
    if ! is_service_enabled nova-ha-webhook; then
        return 0
    fi
    configure_keystone_authtoken_middleware "$NOVA_HA_CONF" "$NOVA_HA_USER"
    # DevStack appends to what an earlier stack.sh has left.
    sudo rm -f "$(apache_site_config_for nova-ha-webhook)"
    write_uwsgi_config "$NOVA_HA_CONF_DIR/webhook-uwsgi.ini" \
        aodh_actions.wsgi:application "$NOVA_HA_WEBHOOK_PATH" '' \
        nova-ha-webhook
    iniset "$NOVA_HA_CONF_DIR/webhook-uwsgi.ini" uwsgi env \
        "NOVA_HA_CONFIG=$NOVA_HA_CONF"
}

# Take the sampler out of nova's drivers of notifications.
function _nova_ha_sampler_off {
    sed -i '/^driver *= *nova_ha_progress$/d' "$1"
}

function _configure_nova_ha_nova {
    local composite
    local line
    _nova_ha_plugin_options "$NOVA_CONF"
    iniset "$NOVA_API_PASTE_INI" filter:instance_ha paste.filter_factory \
        nova_ha_plugins.api.middleware:filter_factory
    for composite in openstack_compute_api_v21 \
            openstack_compute_api_v21_legacy_v2_compatible; do
        line=$(iniget "$NOVA_API_PASTE_INI" composite:$composite keystone)
        if [[ "$line" != *instance_ha* ]]; then
            # Right before the application, which is the last word.
            iniset "$NOVA_API_PASTE_INI" composite:$composite keystone \
                "${line% *} instance_ha ${line##* }"
        fi
    done
    iniset "$NOVA_CONF" nova_ha_progress guard "$NOVA_HA_GUARD"
    iniset "$NOVA_CONF" nova_ha_progress sample_interval \
        "$NOVA_HA_SAMPLE_INTERVAL"
    _nova_ha_sampler_off "$NOVA_CONF"
    if [[ "$NOVA_HA_SAMPLER" == 'True' ]]; then
        # One more driver: what nova tells the bus stays. nova-compute gets
        # a copy of this file when it is started.
        iniadd "$NOVA_CONF" oslo_messaging_notifications driver \
            nova_ha_progress
    fi
    mkdir -p "$NOVA_CONF_DIR/policy.d"
    _nova_ha_policy nova-ha "$NOVA_CONF_DIR/policy.d/nova-ha.yaml"
}

function _configure_nova_ha_ceilometer {
    local host
    local name
    _nova_ha_plugin_options "$CEILOMETER_CONF"
    if _nova_ha_has_gnocchi; then
        _nova_ha_graphs merge
        cp "$(_nova_ha_data)/gnocchi_resources_ha.yaml" "$CEILOMETER_CONF_DIR/"
    fi
    for name in polling_ha_central polling_ha_host pipeline_ha \
            event_pipeline_ha; do
        cp "$(_nova_ha_data)/$name.yaml" "$CEILOMETER_CONF_DIR/"
    done
    cp "$(_nova_ha_data)/event_definitions.yaml" \
        "$CEILOMETER_CONF_DIR/event_definitions_ha.yaml"
    sed "s/interval: .*/interval: $NOVA_HA_HEARTBEAT_INTERVAL/" \
        "$(_nova_ha_data)/polling_ha.yaml" \
        > "$CEILOMETER_CONF_DIR/polling_ha.yaml"
    _configure_nova_ha_receiver
    _nova_ha_polling_conf "$CEILOMETER_CONF_DIR/ceilometer-ha-central.conf" \
        polling_ha_central.yaml
    iniset "$CEILOMETER_CONF_DIR/ceilometer-ha-central.conf" \
        oslo_messaging_notifications topics "$(_nova_ha_topics)"
    for host in $(_nova_ha_heartbeats); do
        _configure_nova_ha_heartbeat "$host"
    done
    for host in $(_nova_ha_probed); do
        _configure_nova_ha_probes "$host"
    done
}

# The notification agent that hears heartbeats and events, and nothing else.
function _configure_nova_ha_receiver {
    local conf=$CEILOMETER_CONF_DIR/ceilometer-ha-notification.conf
    _nova_ha_new_conf "$conf"
    iniset "$conf" DEFAULT default_log_levels "$_NOVA_HA_LOG_LEVELS"
    iniset "$conf" DEFAULT pipeline_cfg_file \
        "$CEILOMETER_CONF_DIR/pipeline_ha.yaml"
    iniset "$conf" DEFAULT event_pipeline_cfg_file \
        "$CEILOMETER_CONF_DIR/event_pipeline_ha.yaml"
    iniset "$conf" event definitions_cfg_file \
        "$CEILOMETER_CONF_DIR/event_definitions_ha.yaml"
    iniset "$conf" event drop_unmatched_notifications True
    # There is no such directory: no meters are made of notifications here.
    iniset "$conf" meter meter_definitions_dirs \
        "$CEILOMETER_CONF_DIR/meters_ha.d"
    # Our agents send to the first, the engine to the second.
    iniset_multiline "$conf" notification notification_control_exchanges \
        ceilometer nova
    iniset "$conf" oslo_messaging_notifications topics nova_ha
    iniset "$conf" oslo_messaging_rabbit rabbit_interval_max 2
}

# Write what both agents of a host have.
function _nova_ha_host_conf {
    local conf=$1
    local sources=$2
    local host=$3
    _nova_ha_polling_conf "$conf" "$sources"
    iniset "$conf" nova_ha host "$host"
    # Coordinated agents of one machine would poll in turn: one heartbeat for
    # all of them.
    iniset "$conf" DEFAULT host "$host"
    iniset "$conf" coordination backend_url ''
}

# One polling agent per compute service, also where several share a machine.
function _configure_nova_ha_heartbeat {
    local host=$1
    local conf=$CEILOMETER_CONF_DIR/ceilometer-ha-$host.conf
    local state=$NOVA_HA_DATA_DIR/$host
    _nova_ha_host_conf "$conf" polling_ha.yaml "$host"
    iniset "$conf" oslo_messaging_notifications topics nova_ha
    iniset "$conf" nova_ha system_uuid_file "$state/product_uuid"
    if [[ "$VIRT_DRIVER" == 'fake' ]]; then
        # Fake hosts share a machine and must not share its identity.
        iniset "$conf" nova_ha boot_id_file "$state/boot_id"
    else
        mkdir -p "$state"
        sudo install -o "$STACK_USER" -m 0400 \
            /sys/class/dmi/id/product_uuid "$state/product_uuid"
    fi
}

# Beside it a second agent, for everything that can hang.
function _configure_nova_ha_probes {
    local host=$1
    local conf=$CEILOMETER_CONF_DIR/ceilometer-ha-host-$host.conf
    _nova_ha_host_conf "$conf" polling_ha_host.yaml "$host"
    iniset "$conf" oslo_messaging_notifications topics "$(_nova_ha_topics)"
    iniset "$conf" nova_ha_host instances_paths "$NOVA_INSTANCES_PATH"
    sudo install -d -o "$STACK_USER" -m 0700 "$NOVA_INSTANCES_PATH/.nova-ha"
}

function _configure_nova_ha_aodh {
    _nova_ha_plugin_options "$AODH_CONF"
    # By default a new alarm is deaf for a minute.
    iniset "$AODH_CONF" DEFAULT event_alarm_cache_ttl 0
    iniset "$AODH_CONF" evaluator evaluation_interval 5
    # Or one gnocchi that hangs stops every alarm for a minute.
    iniset "$AODH_CONF" service_credentials timeout 2
}

function configure_nova_ha {
    NOVA_HA_PROJECT_ID=$(openstack project show "$SERVICE_PROJECT_NAME" \
        -f value -c id)
    _configure_nova_ha_engine
    _configure_nova_ha_fencing
    _configure_nova_ha_webhook
    _configure_nova_ha_nova
    _configure_nova_ha_ceilometer
    _configure_nova_ha_aodh
}

function init_nova_ha {
    recreate_database nova_ha
    "$(get_python_exec_prefix)/nova-ha-manage" \
        --config-file "$NOVA_HA_CONF" db sync
}

# Phase: extra
# ------------

function _start_nova_ha_host {
    local host=$1
    local conf=$CEILOMETER_CONF_DIR/ceilometer-ha-$host.conf
    if _nova_ha_has_fake_hosts; then
        enable_service "nova-ha-kernel-$host"
        run_process "nova-ha-kernel-$host" \
            "$(_nova_ha_fake_hosts) kernel $host"
    fi
    enable_service "nova-ha-heartbeat-$host"
    run_process "nova-ha-heartbeat-$host" \
        "$(get_python_exec_prefix)/ceilometer-polling \
        --polling-namespaces ha --config-file $CEILOMETER_CONF \
        --config-file $conf"
}

# Start the probes of one host.
function _start_nova_ha_probes {
    local host=$1
    local conf=$CEILOMETER_CONF_DIR/ceilometer-ha-host-$host.conf
    enable_service "nova-ha-probes-$host"
    run_process "nova-ha-probes-$host" \
        "$(get_python_exec_prefix)/ceilometer-polling \
        --polling-namespaces ha_host --config-file $CEILOMETER_CONF \
        --config-file $conf"
}

function start_nova_ha {
    local bin
    local host
    bin=$(get_python_exec_prefix)
    if _nova_ha_has_fake_hosts; then
        run_process nova-ha-chassis "$(_nova_ha_fake_hosts) chassis"
    fi
    # First: the bus keeps what nobody reads.
    run_process nova-ha-receiver "$bin/ceilometer-agent-notification \
        --config-file $CEILOMETER_CONF --config-file \
        $CEILOMETER_CONF_DIR/ceilometer-ha-notification.conf"
    for host in $(_nova_ha_heartbeats); do
        _start_nova_ha_host "$host"
    done
    for host in $(_nova_ha_probed); do
        _start_nova_ha_probes "$host"
    done
    run_process nova-ha-watcher "$bin/ceilometer-polling \
        --polling-namespaces ha_central --config-file $CEILOMETER_CONF \
        --config-file $CEILOMETER_CONF_DIR/ceilometer-ha-central.conf"
    run_process nova-ha-engine \
        "$bin/nova-ha-engine --config-file $NOVA_HA_CONF"
    run_process nova-ha-webhook \
        "$(command -v uwsgi) --ini $NOVA_HA_CONF_DIR/webhook-uwsgi.ini"
}

# Run an openstack command as the service user of the engine. 'env' is not
# used: everybody may read its arguments, the password among them.
function _nova_ha_openstack {
    (unset OS_CLOUD; OS_PASSWORD="$SERVICE_PASSWORD" openstack \
        --os-auth-type password --os-auth-url "$KEYSTONE_SERVICE_URI" \
        --os-username "$NOVA_HA_USER" \
        --os-user-domain-name "$SERVICE_DOMAIN_NAME" \
        --os-project-name "$SERVICE_PROJECT_NAME" \
        --os-project-domain-name "$SERVICE_DOMAIN_NAME" \
        --os-region-name "$REGION_NAME" "$@")
}

# The alarms belong to the project whose id the events carry.
function create_nova_ha_alarms {
    if [[ "$NOVA_HA_CREATE_ALARMS" == 'True' ]]; then
        _nova_ha_openstack ha alarms create \
            --ha-project "$NOVA_HA_PROJECT_ID" \
            --action "$NOVA_HA_ALARM_ACTION" --notify "$NOVA_HA_NOTIFY"
    fi
}

# What gnocchi has to know before the first measure.
function create_nova_ha_meters {
    if _nova_ha_has_gnocchi; then
        _nova_ha_openstack ha meters create
    fi
}

function arm_nova_ha {
    if [[ "$NOVA_HA_ARM" == 'True' ]]; then
        openstack ha arm --reason 'NOVA_HA_ARM of DevStack'
    fi
}

# Phase: unstack
# --------------

function stop_nova_ha {
    local name
    local host
    for host in $(_nova_ha_heartbeats); do
        for name in heartbeat kernel probes; do
            # Units are stopped only if they count as enabled.
            enable_service "nova-ha-$name-$host"
            stop_process "nova-ha-$name-$host"
        done
    done
    for name in webhook engine watcher receiver chassis; do
        stop_process nova-ha-$name
    done
}

# Phase: clean
# ------------
# The database and the service user go with the databases of DevStack.

# Delete an option, and its section where nothing else is in it.
function _nova_ha_delete_option {
    local file=$1
    local section=$2
    local option=$3
    inidelete "$file" "$section" "$option"
    if ! sed -n "/^\[$section\]\$/,/^\[/{/^\[/!p}" "$file" |
            grep -q '[^ ]'; then
        _nova_ha_delete_section "$file" "$section"
    fi
}

# Delete a section and what is in it.
function _nova_ha_delete_section {
    local file=$1
    local section=$2
    sed -i "/^\[$section\]\$/,/^\[/{/^\[$section\]\$/d;/^\[/!d}" "$file"
}

function _cleanup_nova_ha_options {
    local file
    local section
    for file in "$NOVA_CONF" "$CEILOMETER_CONF" "$AODH_CONF"; do
        if [[ -e "$file" ]]; then
            for section in nova_ha nova_ha_database nova_ha_progress; do
                _nova_ha_delete_section "$file" $section
            done
        fi
    done
    if [[ -e "$NOVA_CONF" ]]; then
        _nova_ha_sampler_off "$NOVA_CONF"
    fi
    if [[ -e "$AODH_CONF" ]]; then
        inidelete "$AODH_CONF" DEFAULT event_alarm_cache_ttl
        _nova_ha_delete_option "$AODH_CONF" evaluator evaluation_interval
        _nova_ha_delete_option "$AODH_CONF" service_credentials timeout
    fi
    if [[ -e "$NOVA_API_PASTE_INI" ]]; then
        _nova_ha_delete_section "$NOVA_API_PASTE_INI" filter:instance_ha
        sed -i '/^keystone = /s/ instance_ha / /' "$NOVA_API_PASTE_INI"
    fi
}

function cleanup_nova_ha {
    remove_uwsgi_config "$NOVA_HA_CONF_DIR/webhook-uwsgi.ini" nova-ha-webhook
    sudo rm -f "$(apache_site_config_for nova-ha-webhook)"
    _cleanup_nova_ha_options
    _nova_ha_graphs unmerge
    rm -f "$CEILOMETER_CONF_DIR"/ceilometer-ha-*.conf \
        "$CEILOMETER_CONF_DIR"/polling_ha{,_central,_host}.yaml \
        "$CEILOMETER_CONF_DIR"/{event_,}pipeline_ha.yaml \
        "$CEILOMETER_CONF_DIR/event_definitions_ha.yaml" \
        "$CEILOMETER_CONF_DIR/gnocchi_resources_ha.yaml" \
        "$NOVA_CONF_DIR/policy.d/nova-ha.yaml"
    sudo rm -rf "$NOVA_HA_CONF_DIR" "$NOVA_HA_DATA_DIR" \
        "$NOVA_INSTANCES_PATH/.nova-ha"
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
        create_nova_ha_meters
        start_nova_ha
        create_nova_ha_alarms
        arm_nova_ha
    elif [[ "$1" == 'unstack' ]]; then
        echo_summary 'Stopping nova-ha-plugins'
        stop_nova_ha
    elif [[ "$1" == 'clean' ]]; then
        echo_summary 'Removing nova-ha-plugins'
        cleanup_nova_ha
    fi
fi

$_XTRACE_NOVA_HA
