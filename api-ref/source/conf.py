# SPDX-License-Identifier: Apache-2.0

"""How the API reference is built: ``sphinx-build -W api-ref/source``."""

extensions = ['openstackdocstheme']

project = 'nova-ha-plugins'
author = 'nova-ha-plugins developers'
copyright = '2026, nova-ha-plugins developers'
root_doc = 'index'
pygments_style = 'native'

openstackdocs_auto_name = False
openstackdocs_auto_version = False
openstackdocs_pdf_link = False
html_theme = 'openstackdocs'
html_theme_options = {'sidebar_mode': 'toc'}
