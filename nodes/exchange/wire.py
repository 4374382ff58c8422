"""WebSocket frames as a server writes them (RFC 6455, unmasked), made once and written to many sockets."""

import struct

__all__ = ["close_frame", "frame", "payload_of", "ping_frame", "pong_frame", "text_frame"]

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
FINAL = 0x80

_short = struct.Struct("!BB").pack
_medium = struct.Struct("!BBH").pack
_long = struct.Struct("!BBQ").pack


def frame(opcode: int, payload: bytes) -> bytes:
    """One final frame of any size."""
    size = len(payload)
    if size < 126:
        return _short(FINAL | opcode, size) + payload
    if size < 65_536:
        return _medium(FINAL | opcode, 126, size) + payload
    return _long(FINAL | opcode, 127, size) + payload


def text_frame(payload: bytes) -> bytes:
    return frame(TEXT, payload)


def ping_frame(payload: bytes) -> bytes:
    return frame(PING, payload)


def pong_frame(payload: bytes) -> bytes:
    return frame(PONG, payload)


def close_frame(code: int, reason: str) -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason.encode()[:123])


def payload_of(framed: bytes) -> bytes:
    """The payload of a frame made here."""
    size = framed[1]
    return framed[2:] if size < 126 else framed[4:] if size == 126 else framed[10:]
