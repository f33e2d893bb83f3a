# SPDX-License-Identifier: Apache-2.0

"""How the documentation is built: ``sphinx-build -W doc/source``."""

import pathlib
import subprocess
import sys
import typing

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent

extensions = [
    'cliff.sphinxext',
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
    'oslo_policy.sphinxext',
    'oslo_policy.sphinxpolicygen',
    'stevedore.sphinxext',
]

project = 'nova-ha-plugins'
author = 'nova-ha-plugins developers'
copyright = '2026, nova-ha-plugins developers'
root_doc = 'index'
exclude_patterns = ['_generated']
pygments_style = 'native'

# The samples are made from the code at each build and never committed.
config_generator_config_file = [
    ('../../etc/nova-ha/config-generator.conf', '_generated/nova-ha'),
]
policy_generator_config_file = [
    ('../../etc/nova-ha/policy-generator.conf', '_generated/nova-ha'),
    (
        '../../etc/nova-ha/policy-generator-nova.conf',
        '_generated/nova',
    ),
]

openstackdocs_auto_name = False
openstackdocs_auto_version = False
openstackdocs_pdf_link = False
html_theme = 'openstackdocs'
html_static_path = ['_static']
html_last_updated_fmt = None


def _write_phases(app: typing.Any) -> None:
    """Walk through the state machine; the page includes what was found."""
    # Its own script with a constant argument.
    table = subprocess.run(  # noqa: S603
        [sys.executable, str(ROOT / 'tools' / 'incident_diagram.py'), 'rst'],
        env={'PYTHONPATH': str(ROOT), 'PYTHONWARNINGS': 'ignore'},
        check=True,
        capture_output=True,
        text=True,
    )
    target = HERE / '_generated' / 'phases.rst'
    target.parent.mkdir(exist_ok=True)
    if not target.exists() or target.read_text() != table.stdout:
        target.write_text(table.stdout)


def setup(app: typing.Any) -> None:
    """Make what is generated before anything is read."""
    app.connect('builder-inited', _write_phases)
