# SPDX-License-Identifier: Apache-2.0

"""What nova writes into a domain is what our pollsters read from it."""

import unittest
from xml.etree import ElementTree as etree

from nova.virt.libvirt import config

from ceilometer_pollsters import libvirt_child


class MetadataTest(unittest.TestCase):
    def domain(self):
        flavor = config.LibvirtConfigGuestMetaNovaFlavor()
        flavor.name, flavor.id = 'm1.tiny', '42'
        flavor.memory = flavor.disk = flavor.vcpus = 1
        flavor.swap = flavor.ephemeral = 0
        owner = config.LibvirtConfigGuestMetaNovaOwner()
        owner.userid, owner.username = 'u1', 'somebody'
        owner.projectid, owner.projectname = 'p1', 'something'
        meta = config.LibvirtConfigGuestMetaNovaInstance()
        meta.package, meta.name, meta.creationTime = '34', 'web', 0
        meta.flavor, meta.owner = flavor, owner
        channel = config.LibvirtConfigGuestChannel()
        channel.type = 'unix'
        channel.target_name = 'org.qemu.guest_agent.0'
        channel.source_path = '/a/socket'
        guest = config.LibvirtConfigGuest()
        guest.uuid, guest.name = 'a-server', 'instance-00000001'
        guest.memory, guest.os_type, guest.virt_type = 1, 'hvm', 'qemu'
        guest.metadata.append(meta)
        guest.add_device(channel)
        return etree.fromstring(guest.to_xml())

    def test_owner_and_flavor_are_found_where_nova_puts_them(self):
        self.assertEqual(
            {
                'project_id': 'p1',
                'user_id': 'u1',
                'display_name': 'web',
                'flavor_name': 'm1.tiny',
                'flavor_id': '42',
            },
            libvirt_child.of_nova(self.domain()),
        )

    def test_channel_of_the_agent_is_found_by_the_name_that_nova_gives(self):
        self.assertIs(False, libvirt_child.agent_of(self.domain()))
