# Records what the kernel sends on an NFQUEUE socket, as first inputs of the corpus. Runs in a network namespace of its own:
#   unshare --net python3 record.py FOLDER
import os, socket, struct, subprocess, sys

folder = sys.argv[1]
QUEUE = 3


def attribute(kind, data):
    return struct.pack('=HH', 4 + len(data), kind) + data + bytes(-len(data) % 4)


def message(kind, *attributes, flags=1):
    body = struct.pack('=BBH', 0, 0, socket.htons(QUEUE)) + b''.join(attributes)
    return struct.pack('=IHHII', 16 + len(body), 0x300 | kind, flags, 1, 0) + body


def keep(name, data):
    with open(os.path.join(folder, name), 'wb') as file:
        file.write(b'\0' + data)


def run(command):
    subprocess.run(command.split(), check=True)


run('ip link set lo up')
run(f'iptables -t raw -A OUTPUT -p udp -j NFQUEUE --queue-num {QUEUE}')
run(f'ip6tables -t raw -A OUTPUT -p udp -j NFQUEUE --queue-num {QUEUE}')
run(f'iptables -t raw -A PREROUTING -p udp -j NFQUEUE --queue-num {QUEUE}')
queue = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
queue.bind((0, 0))
queue.settimeout(5)
queue.send(message(2, attribute(1, bytes([1, 0, 0, 0])), attribute(2, struct.pack('>IB', 64, 2)),
                   attribute(4, struct.pack('>I', 12)), attribute(5, struct.pack('>I', 12)), flags=5))
keep('ack', queue.recv(65536))
for name, family, address, size in (('ipv4', socket.AF_INET, '127.0.0.1', 10), ('long', socket.AF_INET, '127.0.0.1', 900), ('ipv6', socket.AF_INET6, '::1', 10)):
    sender = socket.socket(family, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)
    sender.sendto(bytes(size), (address, 9))
    packet = queue.recv(65536)
    keep(name, packet)
    queue.send(message(1, attribute(2, struct.pack('>I', 1) + packet[24:28])))
    if family == socket.AF_INET:
        incoming = queue.recv(65536)
        keep(name + '-in', incoming)
        queue.send(message(1, attribute(2, struct.pack('>I', 1) + incoming[24:28])))
queue.send(message(1, attribute(2, struct.pack('>II', 1, 999))))
keep('refused', queue.recv(65536))
queue.send(message(3, attribute(2, struct.pack('>II', 1, 999))))
keep('refused-batch', queue.recv(65536))
