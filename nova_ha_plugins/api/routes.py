# SPDX-License-Identifier: Apache-2.0

"""The resources of the extension: path, method, controller, action."""

from nova_ha_plugins.api import brakes
from nova_ha_plugins.api import compat
from nova_ha_plugins.api import evacuations
from nova_ha_plugins.api import incidents
from nova_ha_plugins.api import instance_ha
from nova_ha_plugins.api import progress_report
from nova_ha_plugins.api import summary

_SERVER = '/servers/{server_id}/evacuations'
_HA = '/os-instance-ha'

ROUTES = (
    (_SERVER, 'GET', evacuations.ServerEvacuationsController, 'index'),
    (
        _SERVER + '/{id}',
        'GET',
        evacuations.ServerEvacuationsController,
        'show',
    ),
    (
        _SERVER + '/{id}/progress',
        'PUT',
        progress_report.ProgressReportController,
        'update',
    ),
    ('/os-evacuations', 'GET', evacuations.EvacuationsController, 'index'),
    (
        '/os-evacuations/summary',
        'GET',
        summary.SummaryController,
        'index',
    ),
    (_HA, 'GET', instance_ha.InstanceHAController, 'index'),
    (_HA + '/action', 'POST', instance_ha.InstanceHAController, 'action'),
    (_HA + '/facts/{id}', 'GET', instance_ha.FactsController, 'show'),
    (
        _HA + '/facts/{id}/action',
        'POST',
        instance_ha.FactsController,
        'action',
    ),
    (_HA + '/maintenance', 'GET', brakes.MaintenanceController, 'index'),
    (_HA + '/maintenance', 'POST', brakes.MaintenanceController, 'create'),
    (
        _HA + '/maintenance/{id}',
        'DELETE',
        brakes.MaintenanceController,
        'delete',
    ),
    (_HA + '/pauses', 'GET', brakes.PausesController, 'index'),
    (_HA + '/pauses', 'POST', brakes.PausesController, 'create'),
    (_HA + '/pauses/{id}', 'DELETE', brakes.PausesController, 'delete'),
    (_HA + '/history', 'GET', brakes.HistoryController, 'index'),
    (_HA + '/incidents', 'GET', incidents.IncidentsController, 'index'),
    (_HA + '/incidents/{id}', 'GET', incidents.IncidentsController, 'show'),
    (
        _HA + '/incidents/{id}/action',
        'POST',
        incidents.IncidentsController,
        'action',
    ),
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
