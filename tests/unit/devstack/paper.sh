# SPDX-License-Identifier: Apache-2.0
# DevStack on paper: the functions that the plugin calls print what they were
# asked for. Variables come from the test, as they would from stackrc.

set -eE

function sudo { "$@"; }
function define_plugin { :; }
function plugin_requires { :; }
function echo_summary { :; }
function setup_develop { echo "setup_develop $*"; }
function recreate_database { echo "recreate_database $*"; }
function create_service_user { echo "create_service_user $*"; }
function configure_keystoneauth { echo "configure_keystoneauth $*"; }
function run_process { echo "run_process $1 $(echo $2)"; }
function stop_process { echo "stop_process $1"; }
function get_python_exec_prefix { echo "$STACK/bin"; }
function database_connection_url { echo "mysql+pymysql://root@db/$1"; }

function enable_service { ENABLED_SERVICES="$ENABLED_SERVICES $*"; }
function is_service_enabled { [[ " $ENABLED_SERVICES " == *" $1 "* ]]; }

function iniget {
    awk -v section="[$2]" -v option="$3" '
        /^\[/ { here = ($0 == section) }
        here && $1 == option { sub(/^[^=]*= */, ""); print }
    ' "$1"
}
function iniset {
    awk -v section="[$2]" -v option="$3" -v value="$4" '
        function put() { print option " = " value; done = 1 }
        /^\[/ { if (here && !done) put(); here = ($0 == section) }
        here && $1 == option { if (!done) put(); next }
        { print }
        END { if (!done) { if (!here) print section; put() } }
    ' "$1" > "$STACK/ini"
    cat "$STACK/ini" > "$1"
}

# Everybody may read the arguments of a program.
function env { echo "A password among arguments: env $*" >&2; return 1; }
function openstack {
    if [[ "$*" == *alarm* && ( -n "$OS_CLOUD" || -z "$OS_PASSWORD" ) ]]; then
        echo 'An alarm that is not made by the service user' >&2
        return 1
    fi
    case "$*" in
        *'project show'*) echo 0123456789abcdef;;
        *'alarm list'*) cat "$STACK/alarms";;
        *) echo "openstack $*"; echo ha-host-down > "$STACK/alarms";;
    esac
}

source $NOVA_HA_DIR/devstack/override-defaults
source $NOVA_HA_DIR/devstack/settings
while [[ $# -gt 0 ]]; do
    phase=$1
    shift
    _run() { source $NOVA_HA_DIR/devstack/plugin.sh "$@"; }
    _run $phase
done
