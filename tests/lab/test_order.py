# SPDX-License-Identifier: Apache-2.0

"""What a lab leaves behind, and what two of them are to each other."""

import contextlib
import os
import pathlib
import socket
import tempfile
import threading
import unittest

from lab import lab as labs
from lab import network
from lab import plan as planning
from lab import processes
from tests.lab import bench

_LISTEN = (
    'import socket, time; s = socket.create_server(("10.99.0.1", 5000)); '
    'time.sleep(600)'
)


@unittest.skipIf(os.geteuid(), bench.NEEDS_ROOT)
class OrderTest(unittest.TestCase):
    def make(self) -> planning.Plan:
        """Return a lab of networks only; the test takes it down."""
        holder = tempfile.TemporaryDirectory(prefix='lab-', dir='/var/tmp')
        self.addCleanup(holder.cleanup)
        plan = planning.make(pathlib.Path(holder.name), 1, 0, 'shared')
        self.addCleanup(network.down, plan)
        network.up(plan)
        return plan

    def listen(self, plan: planning.Plan) -> processes.Processes:
        """Start a service on the address of every lab's keystone."""
        running = processes.Processes(plan)
        running.start(
            processes.Service('listener', ('python3', '-c', _LISTEN))
        )
        bench.wait(lambda: self.answers(plan), 'the listener')
        return running

    def answers(self, plan: planning.Plan) -> bool:
        found = []

        def ask() -> None:
            network.enter(plan.namespace)
            with contextlib.suppress(OSError):
                socket.create_connection(('10.99.0.1', 5000), 1).close()
                found.append(True)

        # A thread of its own: this one must stay where it is.
        asking = threading.Thread(target=ask)
        asking.start()
        asking.join()
        return bool(found)

    def test_two_labs_have_the_same_addresses_and_do_not_meet(self):
        one, other = self.make(), self.make()
        self.listen(one)

        self.assertFalse(self.answers(other))
        self.listen(other)
        labs.remove(one.directory, wipe=True)

        self.assertFalse(network.remains(one.namespace))
        self.assertTrue(self.answers(other))

    def test_what_a_crash_left_without_a_record_is_taken_down(self):
        plan = self.make()
        running = self.listen(plan)
        pid = running.pid('listener')
        children = processes.tree(pid)
        # As if the command had been killed between start and record.
        plan.path('run', 'listener.json').unlink()

        labs.remove(plan.directory, wipe=True)

        self.assertEqual([], network.remains(plan.namespace))
        for each in children:
            self.assertIsNone(processes.began(each), each)

    def test_a_recorded_pid_that_belongs_to_somebody_else_is_left_alone(self):
        plan = self.make()
        running = self.listen(plan)
        record = plan.path('run', 'listener.json')
        record.write_text(
            record.read_text().replace('"began": ', '"began": 1')
        )

        self.assertIsNone(running.pid('listener'))
        running.stop('listener')

        self.assertTrue(self.answers(plan))

    def test_nothing_of_a_lab_listens_in_the_machines_own_namespace(self):
        # Not of this process: another story may have entered its lab.
        machine, port = '/proc/1/net/tcp', f'{5000:04X}'
        before = self.listeners(machine)
        plan = self.make()

        running = self.listen(plan)

        # Others of the machine come and go meanwhile.
        self.assertNotIn(port, self.listeners(machine) - before)
        # The question can be answered with no: inside it does listen.
        inside = self.listeners(f'/proc/{running.pid("listener")}/net/tcp')
        self.assertIn(port, inside)

    def listeners(self, table: str) -> set[str]:
        """Return the ports, in hexadecimal, that something listens on."""
        rows = [
            line.split()
            for line in pathlib.Path(table).read_text().splitlines()[1:]
        ]
        return {row[1].partition(':')[2] for row in rows if row[3] == '0A'}


if __name__ == '__main__':
    unittest.main()
