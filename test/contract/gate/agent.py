"""Sends, sniffs and holds packets inside one network namespace, as told by JSON lines; knows nothing of the gate.

{"id": 1, "do": "send", "to": "10.99.0.1", ...}   -> {"id": 1, "outcome": "sent", "source": "10.8.0.6"}
{"id": 2, "do": "seen"}                           -> {"id": 2, "seen": ["10.99.0.1", ...]}   packets that came in since the last time, port 9
{"id": 3, "do": "bind", "queue": 11}              -> holds what NFQUEUE 11 gets from now on
{"id": 4, "do": "held"}                           -> {"id": 4, "held": 3, "elsewhere": 0}   in all queues that were bound, and in those of others, as the kernel counts
{"id": 5, "do": "verdict", "queue": 11, "accept": true, "mark": 8388608}   for everything held -> {"id": 5, "given": 3}
"""
import errno, json, socket, struct, sys, threading, time

PORT = 9
lock = threading.Lock()
seen, queues = [], {}


def reply(request, **fields):
    with lock:
        sys.stdout.write(json.dumps({'id': request['id'], **fields}) + '\n')
        sys.stdout.flush()


def send(request):
    family = socket.AF_INET6 if ':' in request['to'] else socket.AF_INET
    kind = request.get('kind', 'udp')
    try:
        if kind in ('unreachable', 'discovery'):  # an ICMP error, and a neighbour solicitation, to that address
            protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
            s = socket.socket(family, socket.SOCK_RAW, protocol)
            if kind == 'discovery': s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, request.get('hops', 255))
            types = {'unreachable': 1 if family == socket.AF_INET6 else 3, 'discovery': 135}
            s.sendto(struct.pack('!BBHI', types[kind], 0, 0, 0) + bytes(40), (request['to'], 0))
            return reply(request, outcome='sent')
        s = socket.socket(family, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
        s.settimeout(request.get('timeout', 1))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if 'device' in request: s.setsockopt(socket.SOL_SOCKET, 25, request['device'].encode() + b'\0')
        if 'mark' in request: s.setsockopt(socket.SOL_SOCKET, 36, request['mark'])
        if 'from' in request or 'sport' in request: s.bind((request.get('from', ''), request.get('sport', 0)))
        s.connect((request['to'], request.get('port', PORT)))
        if kind == 'tcp': return reply(request, outcome='connected')
        for _ in range(request.get('count', 1)):
            s.send(b'x')
            if 'pause' in request: time.sleep(request['pause'])
        source = s.getsockname()[0]
        if request.get('answer'):
            try:
                s.recv(1)
                return reply(request, outcome='answered', source=source)
            except TimeoutError:
                pass
        reply(request, outcome='sent', source=source)
    except TimeoutError:
        reply(request, outcome='timeout')
    except OSError as error:
        reply(request, outcome=errno.errorcode[error.errno])


def sniff():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    while True:
        data, (device, protocol, kind, *_rest) = s.recvfrom(2048)
        if kind == 4 or device == 'lo': continue  # PACKET_OUTGOING
        if protocol == 0x0800 and len(data) >= 28:
            head = (data[0] & 15) * 4
            transport, source, destination = data[9], socket.inet_ntop(socket.AF_INET, data[12:16]), socket.inet_ntop(socket.AF_INET, data[16:20])
        elif protocol == 0x86dd and len(data) >= 48:
            head = 40
            transport, source, destination = data[6], socket.inet_ntop(socket.AF_INET6, data[8:24]), socket.inet_ntop(socket.AF_INET6, data[24:40])
        else: continue
        icmp = {1: 3, 58: 1}.get(transport) == data[head]
        # our own solicitations name no target, the kernel's do
        discovery = transport == 58 and data[head] == 135 and data[head + 8:head + 24] == bytes(16)
        if (transport in (6, 17) and struct.unpack('!H', data[head + 2:head + 4])[0] in (PORT, 67, 547)) or icmp or discovery:
            with lock: seen.append(f'{source} > {destination}')


def message(kind, number, *attributes, header=b'', flags=1):
    body = struct.pack('!BBH', 0, 0, number) + b''.join(struct.pack('=HH', 4 + len(value), key) + value + bytes(-len(value) % 4) for key, value in attributes)
    return struct.pack('=IHHII', 16 + len(body), (3 << 8) | kind, flags, 0, 0) + body


def held(wanted):
    with open('/proc/net/netfilter/nfnetlink_queue') as rows:
        return sum(int(row.split()[2]) for row in rows if wanted(int(row.split()[0])))


class Queue:
    """One NFQUEUE by raw netlink (linux/netfilter/nfnetlink_queue.h)."""

    def __init__(self, number):
        self.number, self.ids, self.lock = number, [], threading.Lock()
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self.socket.bind((0, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE: a queue's worth of messages
        for attribute in ((1, struct.pack('!BBH', 1, 0, 0)), (2, struct.pack('!IB', 0, 1))):  # bind; copy meta
            self.socket.send(message(2, number, attribute, flags=5))
            answer = self.socket.recv(4096)
            code = struct.unpack('=i', answer[16:20])[0]
            if code: raise OSError(-code, 'queue')
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            data = self.socket.recv(65536)
            while len(data) >= 16:
                length, kind = struct.unpack('=IH', data[:6])
                if kind == (3 << 8):  # NFQNL_MSG_PACKET: find NFQA_PACKET_HDR
                    at = 20
                    while at < length:
                        size, key = struct.unpack('=HH', data[at:at + 4])
                        if key == 1:
                            with self.lock: self.ids.append(struct.unpack('!I', data[at + 4:at + 8])[0])
                        at += (size + 3) & ~3
                data = data[(length + 3) & ~3:]

    def verdict(self, accept, mark):
        # what the kernel holds is on its way to us
        for _ in range(200):
            if len(self.ids) >= held(lambda number: number == self.number): break
            time.sleep(0.005)
        with self.lock: ids, self.ids = self.ids, []
        for packet in ids:
            attributes = [(2, struct.pack('!II', 1 if accept else 0, packet))] + ([] if mark is None else [(3, struct.pack('!I', mark))])
            self.socket.send(message(1, self.number, *attributes))
        return len(ids)


def handle(request):
    do = request['do']
    if do == 'send': threading.Thread(target=send, args=(request,), daemon=True).start()
    elif do == 'seen':
        with lock: packets, seen[:] = list(seen), []
        reply(request, seen=packets)
    elif do == 'bind':
        queues[request['queue']] = Queue(request['queue'])
        reply(request)
    elif do == 'held': reply(request, held=held(lambda number: number in queues), elsewhere=held(lambda number: number not in queues))
    elif do == 'verdict': reply(request, given=queues[request['queue']].verdict(request['accept'], request.get('mark')))


threading.Thread(target=sniff, daemon=True).start()
for line in sys.stdin:
    handle(json.loads(line))
