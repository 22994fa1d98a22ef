"""The bytes of the protocol: fixed header, zstd frame, columns. docs/wire.md is the format in one page; `codec` is the face."""
