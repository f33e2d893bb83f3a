# SPDX-License-Identifier: Apache-2.0

"""What is replayed is what happened; how good the guesses are is printed."""

import contextlib
import dataclasses
import io
import json
import pathlib
import tempfile
import unittest

from benchmarks import eta
from nova_ha_plugins.recovery import estimate
from nova_ha_plugins.recovery import progress
from nova_ha_plugins.recovery.progress import Phase

MIB = 1024**2


def course(number=0, **changes):
    return eta.Course(
        **{
            'uuid': str(number),
            'boot': progress.Boot.IMAGE,
            'created_at': 1000.0,
            'seconds': (
                (Phase.ACCEPTED, 1.0),
                (Phase.CLAIMING, 2.0),
                (Phase.PREPARING, 2.0),
                (Phase.SPAWNING, 20.0),
                (Phase.FINISHING, 2.0),
            ),
            'disk_total': 512 * MIB,
            'copied': 16.0,
            **changes,
        }
    )


class ReplayTest(unittest.TestCase):
    def test_percentage_goes_forward_to_the_end(self):
        one = course()
        percents = [
            progress.assess(eta.facts_at(one, 1000.0 + now / 4)).progress
            for now in range(27 * 4)
        ]

        self.assertEqual(sorted(percents), percents)
        self.assertEqual(
            [0, 10, 14, 40, 90], sorted({0, 10, 14, 40, 90} & set(percents))
        )
        self.assertEqual(
            100, progress.assess(eta.facts_at(one, 1027.0)).progress
        )

    def test_bytes_come_with_a_bend(self):
        one = course(bend=0.25)

        self.assertEqual(
            [0, 64 * MIB, 128 * MIB, 512 * MIB, 512 * MIB],
            [one.copied_at(spent) for spent in (0.0, 4.0, 8.0, 16.0, 19.0)],
        )

    def test_cloud_that_never_changes_is_told_exactly(self):
        book = estimate.Book(
            [
                estimate.Past(
                    estimate.Kind(
                        progress.Boot.IMAGE,
                        progress.Storage.COPY,
                        '512MiB-1GiB',
                    ),
                    course().seconds,
                    copied=16.0,
                )
            ]
            * 5
        )

        _, guesses = eta.replay(course(), book, 27.0)

        # Phases are seen by looks, half a second late at most.
        self.assertEqual(27, len(guesses))
        for guess in guesses:
            self.assertAlmostEqual(guess.left, guess.told.p50, delta=1.01)
            self.assertAlmostEqual(guess.left, guess.mean)

    def test_same_seed_is_the_same_cloud(self):
        one, again = (list(eta.simulated(3, 2)) for _ in range(2))

        self.assertEqual(one, again)
        self.assertNotEqual(one, list(eta.simulated(4, 2)))

    def test_what_a_cloud_recorded_is_replayed(self):
        traces = [
            eta.replay(course(number), estimate.Book([]), 0.0)[0]
            for number in range(12)
        ]
        lines = [json.dumps(dataclasses.asdict(trace)) for trace in traces]

        (wave, rest) = eta.recorded(lines, size=10)

        self.assertEqual((10, 2), (len(wave), len(rest)))
        self.assertEqual(512 * MIB, wave[0].disk_total)
        self.assertAlmostEqual(27.0, wave[0].end - wave[0].created_at)
        with tempfile.TemporaryDirectory() as name:
            path = pathlib.Path(name, 'traces')
            path.write_text('\n'.join(lines * 3))
            told = self.printed('--recorded', str(path))
        self.assertIn('image, copied: ', told)
        self.assertIn('100 % with an estimate', told)

    def test_every_kind_has_its_line(self):
        told = self.printed('--waves', '8')

        self.assertEqual(
            [
                'image, copied',
                'image, in place',
                'volumes',
                'all',
                'image, unmeasured',
            ],
            [line.partition(':')[0] for line in told.splitlines()],
        )

    def printed(self, *arguments):
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            self.assertEqual(0, eta.main(list(arguments)))
        return output.getvalue()


if __name__ == '__main__':
    unittest.main()
