"""Prints the newest version of glibc whose symbols a program needs, such as 2.17.

    glibc.py PROGRAM                   the version
    glibc.py PROGRAM --at-most 2.17    also fails if the program needs a newer one, and names the versions

The names of versions are in the string table of the dynamic section, so no ELF library is needed.
"""

import re
import sys

# The oldest version that is supported: that of manylinux2014.
OLDEST = (2, 17)


def parsed(text):
    return tuple(map(int, text.split(".")))


def needed(program):
    """Returns the versions whose symbols a program needs."""
    with open(program, "rb") as file:
        return {parsed(found.decode()) for found in re.findall(rb"\0GLIBC_(2\.\d+(?:\.\d+)?)(?=\0)", file.read())}


def main():
    program, *rest = sys.argv[1:]
    versions = needed(program)
    if rest[:1] == ["--at-most"]:
        newer = sorted(version for version in versions if version > parsed(rest[1]))
        if newer:
            names = ", ".join("GLIBC_" + ".".join(map(str, version)) for version in newer)
            sys.exit(f"{program}: needs symbols newer than glibc {rest[1]}: {names}")
    print(".".join(map(str, max(versions | {OLDEST}))))


main()
