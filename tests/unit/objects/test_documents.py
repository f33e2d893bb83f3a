# SPDX-License-Identifier: Apache-2.0

"""What is stored by one release is read by the next, and by the last."""

import dataclasses
import json
import pathlib
import typing
import unittest
from unittest import mock

import hypothesis
from hypothesis import strategies
from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fields
from oslo_versionedobjects import fixture

from nova_ha_plugins.objects import base
from nova_ha_plugins.objects import documents
from nova_ha_plugins.recovery import facts
from nova_ha_plugins.recovery import incident
from nova_ha_plugins.recovery import views
from nova_ha_plugins.store import values

# NOTE: a hash that differs means that the object changed. Released: raise its
# VERSION, say so above it, extend obj_make_compatible and obj_relationships,
# add a document of the new version to documents/, then change the hash here.
FINGERPRINTS = {
    'HaBeat': '1.0-21d827924d280aa849ce28b2d11c5ca4',
    'HaEvacuation': '1.1-d73bda9526ee2783771593610db641ad',
    'HaFact': '1.1-cc37f0afd031ac81626b85fcc416e1cd',
    'HaFenceRecord': '1.1-51f4b2101edee596471ba3e7b4627bc2',
    'HaHostRecord': '1.0-4aca21d24eb60f6bf4bddaf20d9298c7',
    'HaIncident': '1.2-c812975bcf5cb8acfe6b987de1649a64',
    'HaMove': '1.0-28db52a8158d9e15c7553f1cb5ac912f',
    'HaReading': '1.0-3389830da83cbacb4ad76de46e0756dd',
    'HaServer': '1.1-fc163056ad88a52a72ad2461206e712b',
    'HaTimelineEntry': '1.1-e5d286e23dc75c0bd3d4663867dc18bb',
}

STORED = pathlib.Path(__file__).parent / 'documents'

strategies.register_type_strategy(
    float,
    # Sums with 0.0 are never -0.0, which is equal and looks different.
    strategies.floats(allow_nan=False, allow_infinity=False).map(
        lambda number: number + 0.0
    ),
)


def some_value() -> strategies.SearchStrategy[typing.Any]:
    return strategies.one_of(
        *(strategies.from_type(cls.CORE) for cls in base.registered().values())
    )


class TestObjects(unittest.TestCase):
    def setUp(self):
        super().setUp()
        self.checker = fixture.ObjectVersionChecker(
            {name: [cls] for name, cls in base.registered().items()}
        )

    def test_fingerprints_are_those_that_were_released(self):
        expected, actual = self.checker.test_hashes(FINGERPRINTS)

        self.assertEqual(expected, actual)

    def test_every_version_can_be_written(self):
        self.checker.test_compatibility_routines()

    def test_versions_of_parts_are_declared(self):
        for name, cls in base.registered().items():
            for field, kind in cls.fields.items():
                if isinstance(
                    kind, (fields.ObjectField, fields.ListOfObjectsField)
                ):
                    own, part = cls.obj_relationships[field][-1]
                    newest = base.registered()[kind.objname].VERSION
                    self.assertEqual(cls.VERSION, own, f'{name}.{field}')
                    self.assertEqual(newest, part, f'{name}.{field}')

    def test_object_has_the_fields_of_its_dataclass(self):
        for name, cls in base.registered().items():
            self.assertEqual(
                [field.name for field in dataclasses.fields(cls.CORE)],
                list(cls.fields),
                name,
            )

    def test_names_are_ours_alone(self):
        for name, cls in base.registered().items():
            self.assertTrue(name.startswith('Ha'), name)
            self.assertEqual('nova_ha', cls.OBJ_PROJECT_NAMESPACE)
            self.assertEqual(
                [cls], ovo_base.VersionedObjectRegistry.obj_classes()[name]
            )

    def test_vocabulary_that_is_stored_has_an_object(self):
        stored = {cls.CORE for cls in base.registered().values()}

        self.assertEqual(
            {
                incident.Incident,
                incident.Server,
                incident.FenceRecord,
                incident.Reading,
                incident.Entry,
                incident.Move,
                facts.Fact,
                views.Beat,
                views.Evacuation,
                values.HostRecord,
            },
            stored,
        )


class TestDocuments(unittest.TestCase):
    @hypothesis.settings(deadline=None, max_examples=200)
    @hypothesis.given(some_value())
    def test_value_comes_back_as_it_was(self, value):
        text = documents.dumps(value)

        back = documents.loads(type(value), text)
        self.assertEqual(value, back)
        self.assertEqual(repr(value), repr(back))
        self.assertTrue(text.isascii())

    @hypothesis.settings(deadline=None, max_examples=200)
    @hypothesis.given(some_value())
    def test_shorter_way_writes_what_the_object_would(self, value):
        obj = base.object_of(type(value)).from_core(value)

        self.assertEqual(obj.obj_to_primitive(), base.primitive_of(value))

    def test_documents_of_earlier_releases_are_readable(self):
        found = sorted(STORED.glob('*.json'))
        self.assertTrue(found)
        for path in found:
            name = path.name.partition('-')[0]
            core = base.registered()[name].CORE
            with self.subTest(path.name):
                value = documents.loads(core, path.read_text())
                self.assertEqual(
                    json.loads(path.with_suffix('.expect').read_text()),
                    json.loads(json.dumps(dataclasses.asdict(value))),
                )

    def test_there_is_a_document_of_every_version(self):
        self.assertEqual(
            {
                f'{name}-1.{minor}.json'
                for name, cls in base.registered().items()
                for minor in range(int(cls.VERSION.removeprefix('1.')) + 1)
            },
            {path.name for path in STORED.glob('*.json')},
        )

    def test_document_of_a_newer_release_is_refused_by_name(self):
        primitive = json.loads(documents.dumps(values.HostRecord('cmp-1')))
        primitive['nova_ha_object.version'] = '1.7'

        with self.assertRaisesRegex(
            ValueError, "'HaHostRecord' has version '1.7'.*newer release"
        ):
            documents.loads(values.HostRecord, json.dumps(primitive))

    def test_isolated_host_is_degraded_in_the_words_of_an_older_one(self):
        subject = documents.loads(
            incident.Incident, (STORED / 'HaIncident-1.1.json').read_text()
        )

        older = json.loads(documents.dumps(subject, '1.0'))
        back = documents.loads(incident.Incident, json.dumps(older))

        self.assertEqual('1.0', older['nova_ha_object.version'])
        self.assertNotIn('answered_at', older['nova_ha_object.data'])
        self.assertEqual(
            dataclasses.replace(
                subject, verdict=incident.Verdict.DEGRADED, answered_at=None
            ),
            back,
        )

    def test_older_one_is_never_told_more_than_it_may_act_on(self):
        subject = documents.loads(
            incident.Incident, (STORED / 'HaIncident-1.2.json').read_text()
        )
        fact = documents.loads(
            facts.Fact, (STORED / 'HaFact-1.1.json').read_text()
        )

        older = documents.loads(
            incident.Incident, documents.dumps(subject, '1.1')
        )
        told = documents.loads(facts.Fact, documents.dumps(fact, '1.0'))

        self.assertEqual(incident.Phase.HELD, older.phase)
        self.assertEqual(incident.Verdict.UNKNOWN, older.verdict)
        self.assertEqual(incident.FenceState.VOID, older.fence.state)
        self.assertIsNone(older.fence.evidence_class)
        self.assertEqual(facts.FactState.REJECTED, told.state)

    def test_reader_of_the_first_notifications_gets_what_it_knows(self):
        subject = documents.loads(
            views.Evacuation, (STORED / 'HaEvacuation-1.1.json').read_text()
        )

        older = json.loads(documents.dumps(subject, '1.0'))

        known = set(older['nova_ha_object.data'])
        self.assertEqual('1.0', older['nova_ha_object.version'])
        self.assertLessEqual({'progress', 'eta_seconds'}, known)
        self.assertEqual(
            {
                'ahead',
                'boot_source',
                'eta_p90_seconds',
                'eta_samples',
                'explanation',
                'phase_started_at',
                'size_class',
                'storage',
            },
            {field.name for field in dataclasses.fields(subject)} - known,
        )

    def test_document_of_another_kind_is_refused(self):
        text = documents.dumps(values.HostRecord('cmp-1'))

        with self.assertRaisesRegex(
            ValueError, "holds object 'HaHostRecord', expected 'HaFact'"
        ):
            documents.loads(facts.Fact, text)

    def test_word_that_is_not_in_the_vocabulary_is_refused(self):
        primitive = json.loads(
            documents.dumps(
                incident.Reading('probe', incident.Sign.ALIVE, at=1.0)
            )
        )
        primitive['nova_ha_object.data']['sign'] = 'resurrected'

        with self.assertRaisesRegex(ValueError, 'resurrected'):
            documents.loads(incident.Reading, json.dumps(primitive))


@dataclasses.dataclass(frozen=True)
class Thing:
    """What a later release knows: ``color`` came with version 1.1."""

    name: str
    color: str = 'grey'


class TestLaterRelease(unittest.TestCase):
    """The pattern for the first object that grows a field."""

    def setUp(self):
        super().setUp()
        registry = fixture.VersionedObjectRegistryFixture()
        registry.setUp()
        self.addCleanup(registry.cleanUp)
        known = mock.patch.dict(base._BY_CORE)
        known.start()
        self.addCleanup(known.stop)

        @base.register(Thing)
        class HaTestThing(base.HaObject):
            # Version 1.0: Initial version
            # Version 1.1: Added color
            VERSION = '1.1'
            fields = {
                'name': fields.StringField(),
                'color': fields.StringField(),
            }

            def obj_make_compatible(self, primitive, target_version):
                super().obj_make_compatible(primitive, target_version)
                if target_version == '1.0':
                    primitive.pop('color', None)

    def test_older_document_gets_the_default(self):
        text = json.dumps(
            {
                'nova_ha_object.name': 'HaTestThing',
                'nova_ha_object.namespace': 'nova_ha',
                'nova_ha_object.version': '1.0',
                'nova_ha_object.data': {'name': 'x'},
            }
        )

        self.assertEqual(Thing('x', 'grey'), documents.loads(Thing, text))

    def test_document_is_written_for_an_older_reader(self):
        text = documents.dumps(Thing('x', 'red'), version='1.0')

        primitive = json.loads(text)
        self.assertEqual('1.0', primitive['nova_ha_object.version'])
        self.assertEqual({'name': 'x'}, primitive['nova_ha_object.data'])
