# SPDX-License-Identifier: Apache-2.0

"""Images are asked for once, in the background."""

import threading
import unittest
from unittest import mock

from nova_ha_plugins.compute import images
from tests.unit.compute import fakes

IMAGE = images.Image(1000, 'qcow2')


class ImagesTest(unittest.TestCase):
    def setUp(self):
        self.now = 0.0
        self.answers = threading.Event()
        self.answers.set()
        self.addCleanup(self.answers.set)
        self.fetch = mock.Mock(spec=[], side_effect=self._fetch)
        self.images = images.Images(self.fetch, clock=lambda: self.now)

    def _fetch(self, context, image_id):
        self.answers.wait(30)
        if context == 'stranger':
            raise PermissionError('403')
        return IMAGE

    def answer(self, image_id='one', context='owner'):
        fakes.wait_for(lambda: self.images.of(image_id, context)[1])
        return self.images.of(image_id, context)

    def test_the_answer_comes_later_and_stays(self):
        self.answers.clear()
        self.assertEqual((None, False), self.images.of('one', 'owner'))
        self.answers.set()

        self.assertEqual((IMAGE, True), self.answer())
        self.now = 1e6
        self.assertEqual((IMAGE, True), self.answer())
        self.fetch.assert_called_once_with('owner', 'one')

    def test_an_answer_that_does_not_come_is_none(self):
        self.answers.clear()
        self.images.of('one', 'owner')
        self.now = 16.0

        self.assertEqual((None, True), self.images.of('one', 'owner'))

    def test_a_failure_is_none_and_asked_again_later(self):
        with self.assertLogs(images.LOG, 'INFO') as logs:
            self.assertEqual((None, True), self.answer(context='stranger'))
        self.assertIn('403', logs.output[0])
        self.now = 61.0
        self.images.of('one', 'owner')

        self.assertEqual((IMAGE, True), self.answer())

    def test_only_a_few_are_asked_for_at_once(self):
        self.answers.clear()
        for number in range(20):
            self.images.of(f'image {number}', 'owner')

        self.assertLessEqual(self.fetch.call_count, 4)
        self.assertEqual((None, True), self.images.of('another', 'owner'))

    def test_only_so_many_are_remembered(self):
        for number in range(300):
            self.answer(f'image {number}')

        self.assertEqual(256, len(self.images._questions))

    def test_no_thread_no_answer(self):
        with mock.patch.object(
            threading.Thread,
            'start',
            autospec=True,
            side_effect=RuntimeError("can't start new thread"),
        ):
            self.images.of('one', 'owner')

        self.assertEqual((None, True), self.images.of('one', 'owner'))

    def test_which_images_are_raw(self):
        self.assertTrue(images.Image(1, 'raw').is_raw)
        self.assertFalse(images.Image(1, 'qcow2').is_raw)
        self.assertFalse(images.Image(1, '').is_raw)
