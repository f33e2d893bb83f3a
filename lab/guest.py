# SPDX-License-Identifier: Apache-2.0
"""The image of the guests: a kernel and one program that writes a log.

The disk boots itself (isolinux in a hybrid image) and has an area that the
program of :file:`guest_init.c` writes to; :mod:`lab.evidence` reads it.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from lab import plan as planning

# Debian keeps what it has released as long as it is the newest; then the
# newest is as good, see _download_kernel.
KERNEL = 'linux-image-6.1.0-56-cloud-amd64'
KERNEL_VERSION = '6.1.192-2'
KERNEL_NEWEST = 'linux-image-cloud-amd64'
# In the order they must be loaded in.
MODULES = (
    'drivers/virtio/virtio_ring',
    'drivers/virtio/virtio',
    'drivers/virtio/virtio_pci_legacy_dev',
    'drivers/virtio/virtio_pci_modern_dev',
    'drivers/virtio/virtio_pci',
    'drivers/block/virtio_blk',
    # So that the guest hears it when nova stops it.
    'drivers/input/evdev',
    'drivers/acpi/button',
)
MIB = 2**20
SIZE = 64 * MIB
# Where the log is on the disk: behind everything that boots.
SLOT = 4096
AREA = 2 * MIB
AREA_AT = 48 * MIB
MEMORY_MIB = 96

_BOOT = """DEFAULT guest
PROMPT 0
TIMEOUT 0
LABEL guest
  KERNEL /vmlinuz
  INITRD /initrd
  APPEND console=ttyS0 {options}
"""
# An emulated processor feels self-tests and patching of its kernel.
_OPTIONS = (
    'quiet panic=1 mitigations=off no_timer_check nokaslr lpj=4000000 '
    'cryptomgr.notests rcupdate.rcu_expedited=1'
)
_LOADER = '/usr/lib/ISOLINUX/isolinux.bin'
_LOADER_MODULE = '/usr/lib/syslinux/modules/bios/ldlinux.c32'
_BOOT_RECORD = '/usr/lib/ISOLINUX/isohdpfx.bin'


def _run(*argv: str, directory: pathlib.Path) -> str:
    try:
        done = subprocess.run(
            argv, cwd=directory, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise planning.LabError(
            f"'{argv[0]}' is missing, which makes the guest image. "
            "'tools/env --lab' installs what the lab needs."
        ) from None
    if done.returncode:
        raise planning.LabError(
            f"The guest image cannot be made: '{' '.join(argv)}' failed "
            f'with {done.returncode}: {done.stderr.strip()[-500:]}'
        )
    return done.stdout


def image(cache: pathlib.Path) -> pathlib.Path:
    """Return the image of the guests (qcow2), made when it is not cached."""
    source = pathlib.Path(__file__)
    key = hashlib.sha256(source.read_bytes())
    key.update(source.with_name('guest_init.c').read_bytes())
    ready = cache / f'guest-{key.hexdigest()[:12]}.qcow2'
    if ready.exists():
        return ready
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix='guest-') as name:
        made = _build(pathlib.Path(name), _kernel(cache))
        # Somebody else may have been faster; theirs is as good.
        made.replace(ready)
    return ready


def _kernel(cache: pathlib.Path) -> pathlib.Path:
    """Return the directory of the unpacked kernel package, cached."""
    ready = cache / f'{KERNEL}-{KERNEL_VERSION}'
    if ready.exists():
        return ready
    with tempfile.TemporaryDirectory(dir=cache, prefix='kernel-') as name:
        directory = pathlib.Path(name)
        package = _download_kernel(directory)
        unpacked = directory / 'unpacked'
        _run('dpkg-deb', '-x', package, str(unpacked), directory=directory)
        try:
            unpacked.rename(ready)
        except OSError:
            # Somebody else was faster; theirs is as good.
            shutil.rmtree(unpacked)
    return ready


def _download_kernel(directory: pathlib.Path) -> str:
    try:
        _run(
            'apt-get', '--quiet', 'download', f'{KERNEL}={KERNEL_VERSION}',
            directory=directory,
        )  # fmt: skip
    except planning.LabError:
        found = _run(
            'apt-cache', 'depends', '--important', KERNEL_NEWEST,
            directory=directory,
        )  # fmt: skip
        newest = found.partition('Depends:')[2].split()
        if not newest:
            raise
        _run('apt-get', '--quiet', 'download', newest[0], directory=directory)
    return str(next(directory.glob('*.deb')))


def _build(directory: pathlib.Path, kernel: pathlib.Path) -> pathlib.Path:
    program = directory / 'init'
    source = pathlib.Path(__file__).with_name('guest_init.c')
    _run(
        'gcc', '-static', '-Os', '-s', '-Wall', f'-DSLOT={SLOT}',
        f'-DAREA={AREA}', f'-DAREA_AT={AREA_AT}LL', '-o', str(program),
        str(source), directory=directory,
    )  # fmt: skip
    tree = directory / 'tree'
    tree.mkdir()
    shutil.copy(next(kernel.glob('boot/vmlinuz-*')), tree / 'vmlinuz')
    files = {'init': program.read_bytes()}
    drivers = next(kernel.glob('lib/modules/*')) / 'kernel'
    for number, module in enumerate(MODULES):
        path = drivers / f'{module}.ko'
        files[f'modules/{number}-{path.name}'] = path.read_bytes()
    (tree / 'initrd').write_bytes(_archive(files))
    shutil.copy(_LOADER, tree)
    shutil.copy(_LOADER_MODULE, tree)
    (tree / 'isolinux.cfg').write_text(_BOOT.format(options=_OPTIONS))
    raw = directory / 'guest.raw'
    _run(
        'xorriso', '-as', 'mkisofs', '-quiet', '-o', str(raw),
        '-b', 'isolinux.bin', '-c', 'boot.cat', '-no-emul-boot',
        '-boot-load-size', '4', '-boot-info-table',
        '-isohybrid-mbr', _BOOT_RECORD, str(tree), directory=directory,
    )  # fmt: skip
    if raw.stat().st_size > AREA_AT:
        raise planning.LabError(
            f'The guest image has {raw.stat().st_size} bytes, but the log '
            f'begins at {AREA_AT}: raise AREA_AT and SIZE in {__file__}'
        )
    os.truncate(raw, SIZE)
    made = directory / 'guest.qcow2'
    _run(
        'qemu-img', 'convert', '-O', 'qcow2', str(raw), str(made),
        directory=directory,
    )  # fmt: skip
    return made


def _archive(files: dict[str, bytes]) -> bytes:
    """Return files as the archive the kernel unpacks at its start (newc)."""
    entries = [(name, 0o040755, b'') for name in ('dev', 'sys', 'modules')]
    entries += [
        # The console must be there before the program mounts anything.
        ('dev/console', 0o020600, b''),
        *((name, 0o100755, content) for name, content in files.items()),
        ('TRAILER!!!', 0, b''),
    ]
    archive = bytearray()
    for number, (name, mode, content) in enumerate(entries, 1):
        device = (5, 1) if mode == 0o020600 else (0, 0)
        fields = (
            number, mode, 0, 0, 1, 0, len(content), 0, 0, *device,
            len(name) + 1, 0,
        )  # fmt: skip
        archive += b'070701' + b''.join(b'%08X' % field for field in fields)
        for part in (name.encode() + b'\0', content):
            archive += part + b'\0' * (-(len(archive) + len(part)) % 4)
    return bytes(archive)
