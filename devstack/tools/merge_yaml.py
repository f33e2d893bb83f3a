# SPDX-License-Identifier: Apache-2.0

"""Adds our sources, sinks and definitions to a YAML file of ceilometer.

Ceilometer reads one file of each name, and its own plugin writes that file
anew at each stack.sh. So ours are put in beside the stock ones, and nothing
that was there is lost. Comments are: YAML knows none.
"""

import argparse
import collections.abc
import pathlib
import typing

import yaml

# What a source takes in. What we route ourselves is kept out of the sources
# that take everything, or it would arrive twice.
_TAKEN = ('meters', 'events')

Document = typing.Any


class _Dumper(yaml.SafeDumper):
    """Repeats what stands twice: ceilometer's files are read by people."""

    def ignore_aliases(self, data: typing.Any) -> bool:
        return True


def merge(theirs: Document, ours: Document) -> Document:
    """Return their document with ours in it; merging again adds nothing."""
    if isinstance(theirs, list):
        return theirs + [item for item in ours if item not in theirs]
    merged = dict(theirs)
    for key, items in ours.items():
        known = merged.get(key, [])
        merged[key] = known + [item for item in items if item not in known]
    for source in merged.get('sources', ()):
        for kind in _TAKEN:
            if '*' in source.get(kind, ()):
                source[kind] += [
                    name
                    for name in _kept_out(ours, kind)
                    if name not in source[kind]
                ]
    return merged


def unmerge(theirs: Document, ours: Document) -> Document:
    """Return their document without what a merge has put in."""
    if isinstance(theirs, list):
        return [item for item in theirs if item not in ours]
    left = {
        key: [item for item in items if item not in ours.get(key, ())]
        if isinstance(items, list)
        else items
        for key, items in theirs.items()
    }
    for source in left.get('sources', ()):
        for kind in _TAKEN:
            if '*' in source.get(kind, ()):
                added = set(_kept_out(ours, kind))
                source[kind] = [n for n in source[kind] if n not in added]
    return left


def _kept_out(ours: Document, kind: str) -> collections.abc.Iterator[str]:
    for source in ours.get('sources', ()):
        for name in source.get(kind, ()):
            yield f'!{name}'


def main() -> None:
    """Merge or unmerge files in place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('action', choices=('merge', 'unmerge'))
    parser.add_argument('theirs', type=pathlib.Path)
    parser.add_argument('ours', type=pathlib.Path)
    args = parser.parse_args()
    change = merge if args.action == 'merge' else unmerge
    changed = change(
        yaml.safe_load(args.theirs.read_text()),
        yaml.safe_load(args.ours.read_text()),
    )
    args.theirs.write_text(yaml.dump(changed, Dumper=_Dumper, sort_keys=False))


if __name__ == '__main__':
    main()
