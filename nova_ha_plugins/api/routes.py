# SPDX-License-Identifier: Apache-2.0

"""The resources of the extension: path, method, controller, action."""

from nova_ha_plugins.api import compat
from nova_ha_plugins.api import evacuations

ROUTES = (
    (
        '/servers/{server_id}/evacuations',
        'GET',
        evacuations.ServerEvacuationsController,
        'index',
    ),
    (
        '/servers/{server_id}/evacuations/{id}',
        'GET',
        evacuations.ServerEvacuationsController,
        'show',
    ),
    ('/os-evacuations', 'GET', evacuations.EvacuationsController, 'index'),
)


def make_mapper() -> compat.Mapper:
    """Give nova's mapper with our routes, each with and without a project."""
    mapper = compat.Mapper()
    resources = {
        controller: compat.Resource(controller())
        for controller in {route[2] for route in ROUTES}
    }
    for path, method, controller, action in ROUTES:
        mapper.create_route(path, method, resources[controller], action)
    mapper.create_regs([])
    return mapper
