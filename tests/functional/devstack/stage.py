# SPDX-License-Identifier: Apache-2.0

"""A stage for the plugin: DevStack's own functions, nobody's machine.

The functions are sourced from a checkout of DevStack. What they would do to
the machine is left to commands of ours that come first in PATH: they write
down what they were asked, and do it only below the directory of the stage.
"""

import os
import pathlib
import shutil
import subprocess
import sys

from ceilometer.pipeline import data as pipeline_data

ROOT = pathlib.Path(__file__).parents[3]
PLUGIN = ROOT / 'devstack'
PASSWORD = 'not-to-be-seen'

# What of a checkout is used: never the settings of its owner.
PARTS = ('functions', 'functions-common', 'inc', 'lib', 'stackrc')
# The parts of DevStack that a plugin may rely on.
LIBRARIES = ('apache', 'tls', 'database', 'rpc_backend', 'keystone', 'nova')

# What local.conf says.
LOCALRC = """
DEST={stage}
DATA_DIR={stage}/data
HOST_IP=127.0.0.1
ENABLED_SERVICES=key,mysql,rabbit,n-api,n-cpu,gnocchi-api
ENABLED_SERVICES+=,ceilometer-anotification,aodh-api
VIRT_DRIVER=fake
NUMBER_FAKE_NOVA_COMPUTE=2
DATABASE_PASSWORD={password}
RABBIT_PASSWORD={password}
SERVICE_PASSWORD={password}
ADMIN_PASSWORD={password}
NOVA_HA_DIR={root}
NOVA_HA_CONF_DIR={stage}/etc/nova-ha
{settings}
"""

# What stack.sh and the plugins before ours have done.
PREAMBLE = """
set -o errexit -o pipefail
trap 'echo "failed: $BASH_COMMAND" >&2' ERR
TOP_DIR={stage}/devstack
source $TOP_DIR/stackrc
STACK_USER=$(id -un)
for library in {libraries}; do
    source $TOP_DIR/lib/$library
done
initialize_database_backends
define_database_baseurl
HOSTNAME=stage
PYTHON={python}
SYSTEMD_DIR={stage}/units
SYSTEMCTL='sudo systemctl'
APACHE_CONF_DIR={stage}/etc/apache
NOVA_CONF_DIR={stage}/etc/nova
NOVA_CONF=$NOVA_CONF_DIR/nova.conf
NOVA_API_PASTE_INI=$NOVA_CONF_DIR/api-paste.ini
CEILOMETER_CONF_DIR={stage}/etc/ceilometer
CEILOMETER_CONF=$CEILOMETER_CONF_DIR/ceilometer.conf
AODH_CONF={stage}/etc/aodh/aodh.conf
get_python_exec_prefix() {{ echo {stage}/bin; }}
setup_develop() {{ echo "setup_develop $*" >> {stage}/calls; }}
pip_install() {{ echo "pip_install $*" >> {stage}/calls; }}
echo_summary() {{ :; }}
source {plugin}/settings
"""

COMMANDS = {
    # Does only what stays on the stage.
    'sudo': """
        for word in "$@"; do
            if [[ "$word" == /[a-z]* && "$word" != {stage}/* ]]; then
                [[ "$1" != tee ]] || cat > /dev/null
                exit 0
            fi
        done
        case $1 in
        systemctl|cat|cp|grep|install|ln|mkdir|rm|sed|tee|touch) exec "$@";;
        esac
    """,
    'systemctl': """
        case $1 in
        enable) touch {stage}/enabled-$2;;
        disable) rm {stage}/enabled-$2;;
        is-enabled) [[ -e {stage}/enabled-$2 ]];;
        start) touch {stage}/started-$2;;
        stop) rm {stage}/started-$2;;
        esac
    """,
    'openstack': """
        echo 0123456789abcdef0123456789abcdef
    """,
    'mysql': '',
    'uwsgi': '',
    'a2ensite': '',
    'a2dissite': '',
    'nova-ha-manage': '',
}


def checkout() -> pathlib.Path | None:
    """Return a checkout of DevStack, None where there is none."""
    named = os.environ.get('NOVA_HA_DEVSTACK', '/opt/stack/devstack')
    path = pathlib.Path(named)
    return path if (path / 'functions-common').exists() else None


class Stage:
    """A directory with the files that the services' own plugins leave."""

    def __init__(self, path: pathlib.Path, devstack: pathlib.Path) -> None:
        self.path = path
        self.etc = path / 'etc'
        for name in ('bin', 'units', 'data', 'devstack'):
            (path / name).mkdir()
        for part in PARTS:
            (path / 'devstack' / part).symlink_to(devstack / part)
        for name in ('nova', 'ceilometer', 'aodh', 'apache'):
            (self.etc / name).mkdir(parents=True)
        (path / 'calls').touch()
        for name, body in COMMANDS.items():
            self._add_command(name, body)
        (path / 'bin' / 'oslopolicy-sample-generator').symlink_to(
            pathlib.Path(sys.executable).parent / 'oslopolicy-sample-generator'
        )
        self.set_the_table()

    def set_the_table(self) -> None:
        """Write the files anew, as the services' plugins do each time."""
        shutil.copy(
            pathlib.Path(sys.prefix, 'etc', 'nova', 'api-paste.ini'),
            self.etc / 'nova',
        )
        for path in pathlib.Path(pipeline_data.__path__[0]).glob('*.yaml'):
            shutil.copy(path, self.etc / 'ceilometer')
        for name in ('nova', 'ceilometer', 'aodh'):
            (self.etc / name / f'{name}.conf').write_text(
                '[DEFAULT]\ndebug = True\n\n[database]\nmax_retries = 3\n'
                '\n[oslo_messaging_notifications]\ndriver = messagingv2\n'
            )

    def _add_command(self, name: str, body: str) -> None:
        path = self.path / 'bin' / name
        lines = [
            '#!/bin/bash',
            f'echo "{name} $*" >> {self.path}/calls',
            body.format(stage=self.path),
            'true' if name != 'systemctl' else '',
        ]
        path.write_text('\n'.join(lines))
        path.chmod(0o755)

    def run(
        self, *phases: str, settings: str = ''
    ) -> subprocess.CompletedProcess[str]:
        """Source the plugin for each phase, in one shell as DevStack does."""
        values = {
            'stage': self.path,
            'root': ROOT,
            'plugin': PLUGIN,
            'python': sys.executable,
            'password': PASSWORD,
            'libraries': ' '.join(LIBRARIES),
            'settings': settings,
        }
        localrc = self.path / 'devstack' / '.localrc.auto'
        localrc.write_text(LOCALRC.format(**values))
        script = PREAMBLE.format(**values)
        for phase in phases:
            script += f'source {PLUGIN}/plugin.sh {phase}\n'
        return subprocess.run(
            ['bash'],
            input=script,
            cwd=self.path,
            env={
                'PATH': f'{self.path}/bin:/usr/sbin:/usr/bin:/sbin:/bin',
                'HOME': str(self.path),
                'LANG': 'C.UTF-8',
            },
            capture_output=True,
            text=True,
            timeout=300,
        )

    def calls(self, word: str = '') -> list[str]:
        """Return what was asked of the commands."""
        lines = (self.path / 'calls').read_text().splitlines()
        return [line for line in lines if word in line]

    def units(self, state: str) -> set[str]:
        """Return the units of ours that are 'enabled' or 'started'."""
        return {
            path.name.removeprefix(f'{state}-devstack@').removesuffix(
                '.service'
            )
            for path in self.path.glob(f'{state}-*')
        }

    def files(self) -> dict[str, str]:
        """Return what stands below etc."""
        return {
            str(path.relative_to(self.etc)): path.read_text()
            for path in sorted(self.etc.rglob('*'))
            if path.is_file()
        }
