# SPDX-License-Identifier: Apache-2.0

"""How the documentation is built: ``sphinx-build -W doc/source``."""

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
