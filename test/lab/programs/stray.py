"""stray.py KIND ADDRESS: sends one packet of a kind that begins nothing: rst, fin, or error (ICMP: port unreachable).

The TCP segments have no checksum: they are looked at on the way, not delivered to a program.
"""
import socket, struct, sys

kind, address = sys.argv[1:]
six = ':' in address
family = socket.AF_INET6 if six else socket.AF_INET
if kind == 'error':
    content = struct.pack('!BBHI', 1 if six else 3, 4 if six else 3, 0, 0) + bytes(48)
    if not six: content = content[:2] + struct.pack('!H', 0xffff - 0x0303) + content[4:]
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
else:
    content = struct.pack('!HHIIBBHHH', 40000, 8080, 1, 1, 5 << 4, {'rst': 4, 'fin': 17}[kind], 512, 0, 0)
    protocol = socket.IPPROTO_TCP
socket.socket(family, socket.SOCK_RAW, protocol).sendto(content, (address, 0))
