# SPDX-License-Identifier: Apache-2.0

"""How the release notes are built: ``sphinx-build -W releasenotes/source``."""

extensions = ['openstackdocstheme', 'reno.sphinxext']

project = 'nova-ha-plugins release notes'
author = 'nova-ha-plugins developers'
copyright = '2026, nova-ha-plugins developers'
root_doc = 'index'
pygments_style = 'native'

openstackdocs_auto_name = False
openstackdocs_auto_version = False
openstackdocs_pdf_link = False
html_theme = 'openstackdocs'
html_last_updated_fmt = None
