"""Prints the newest version of glibc whose symbols a program needs, such as 2.17.

The names of versions are in the string table of the dynamic section, so no ELF library is needed.
"""

import re
import sys

with open(sys.argv[1], "rb") as file:
    versions = {tuple(map(int, found.split(b"."))) for found in re.findall(rb"\0GLIBC_(2\.\d+(?:\.\d+)?)(?=\0)", file.read())}
print(".".join(map(str, max(versions, default=(2, 17)))))
