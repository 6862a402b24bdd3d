"""Copies a wasm module without its DWARF sections: strip-debug.py FROM TO.

Zig's linker driver either keeps everything or drops the `name` section along
with DWARF. Guests need names (backtraces of traps, profiles by function), and
cannot carry half a megabyte of libc's DWARF, which also holds absolute paths.
"""

import sys

MAGIC_AND_VERSION = b"\0asm\x01\0\0\0"
CUSTOM = 0


def leb128(data, position):
    """The unsigned LEB128 number at `position`, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def is_dwarf(data, section_id, start):
    if section_id != CUSTOM:
        return False
    length, start = leb128(data, start)
    return data[start : start + length].startswith(b".debug_")


def strip_debug(data):
    if not data.startswith(MAGIC_AND_VERSION):
        raise ValueError("not a core wasm module")
    kept = bytearray(MAGIC_AND_VERSION)
    position = len(MAGIC_AND_VERSION)
    while position < len(data):
        section = position
        section_id = data[position]
        size, start = leb128(data, position + 1)
        position = start + size
        if not is_dwarf(data, section_id, start):
            kept += data[section:position]
    return bytes(kept)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: strip-debug.py FROM TO")
    with open(sys.argv[1], "rb") as source:
        data = source.read()
    try:
        stripped = strip_debug(data)
    except (ValueError, IndexError) as error:
        sys.exit(f"strip-debug.py: {sys.argv[1]}: {error}")
    with open(sys.argv[2], "wb") as target:
        target.write(stripped)


main()
