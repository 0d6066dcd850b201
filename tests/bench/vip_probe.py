"""Asks addresses for answers from a client's network. Prints "ready", then "answered" when each address has
answered once, and after SIGTERM what came, as one line of JSON.

    vip_probe.py INTERVAL_S ADDRESS[,ADDRESS...] [HOST=MAC...]

Each interval an echo request goes to every address as any program would send it: by the client's own
ARP cache. Another goes to each HOST by its MAC, whatever the cache says: whoever would answer is a
holder in effect, so two hosts that answer are an overlap that no routing table can hide. Times are
seconds of the wall clock."""

import json
import os
import selectors
import signal
import socket
import struct
import sys
import time

ICMP_REQUEST, ICMP_REPLY = 8, 0
ETH_IP = 0x0800
TOKEN = os.getpid() & 0x0FFF  # of the identifier; what remains of its bits says to whom it went


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def echo(identifier, sequence):
    head = struct.pack("!BBHHH", ICMP_REQUEST, 0, 0, identifier, sequence & 0xFFFF)
    return head[:2] + struct.pack("!H", checksum(head)) + head[4:]


def frame(source_mac, target_mac, source, target, payload):
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 0, 0, 64, 1, 0, source, target)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return target_mac + source_mac + struct.pack("!H", ETH_IP) + ip + payload


def interface_of(address):
    """The interface, its MAC and its address, by which @address is reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        own = probe.getsockname()[0]
    for _, name in socket.if_nameindex():
        if name != "lo":
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_IP)) as s:
                s.bind((name, 0))
                return name, s.getsockname()[4], own
    raise SystemExit("no interface")


class Probe:
    def __init__(self, interval, addresses, hosts):
        self.interval = interval
        self.addresses = addresses
        self.hosts = hosts
        name, self.mac, own = interface_of(addresses[0])
        self.own = socket.inet_aton(own)
        self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self.raw.setblocking(False)
        self.packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_IP))
        self.packet.bind((name, ETH_IP))
        self.packet.setblocking(False)
        self.names = {mac: host for host, mac in hosts.items()}
        self.sent = []  # time of each round
        self.answers = []  # [round, time, address's index, host] as a program sees them
        self.direct = []  # [round, host]
        self.silent = set(range(len(addresses)))  # by index: has not answered yet
        self.running = True

    def send_round(self):
        sequence = len(self.sent)
        self.sent.append(time.time())
        for i, address in enumerate(self.addresses):
            try:
                self.raw.sendto(echo(TOKEN << 4, (sequence * len(self.addresses) + i)), (address, 0))
            except OSError:
                pass  # no neighbour, or a full queue: not answered
        for i, mac in enumerate(self.hosts.values()):
            data = echo(TOKEN << 4 | (i + 1), sequence)
            target = socket.inet_aton(self.addresses[0])
            try:
                self.packet.send(frame(self.mac, mac, self.own, target, data))
            except OSError:
                pass

    def receive(self):
        while True:
            try:
                data = self.packet.recv(2048)
            except BlockingIOError:
                return
            except OSError:
                return  # the interface is down
            if len(data) < 42 or data[23] != 1 or data[34] != ICMP_REPLY:
                continue
            identifier, sequence = struct.unpack("!HH", data[38:42])
            host = self.names.get(data[6:12], data[6:12].hex(":"))
            if identifier >> 4 == TOKEN:
                self.take(identifier & 0xF, sequence, host)

    def take(self, direct, sequence, host):
        """The counter is 16 bits wide: the newest round that it fits is meant."""
        width = 1 if direct else len(self.addresses)
        newest = len(self.sent) * width - 1
        number = newest - ((newest - sequence) & 0xFFFF)
        if number < 0:
            return
        if not direct:
            self.answers.append([number // width, round(time.time(), 4), number % width, host])
            if number % width in self.silent:
                self.silent.discard(number % width)
                if not self.silent:
                    print("answered", flush=True)
        elif list(self.hosts)[direct - 1] == host:
            self.direct.append([number, host])

    def run(self):
        selector = selectors.DefaultSelector()
        selector.register(self.packet, selectors.EVENT_READ)
        due = time.monotonic()
        while self.running:
            now = time.monotonic()
            if now >= due:
                self.send_round()
                due = max(due + self.interval, now)
            if selector.select(max(0, due - time.monotonic())):
                self.receive()


def main():
    hosts = dict(word.split("=") for word in sys.argv[3:])
    hosts = {host: bytes.fromhex(mac.replace(":", "")) for host, mac in hosts.items()}
    probe = Probe(float(sys.argv[1]), sys.argv[2].split(","), hosts)

    def end(number, stack):
        probe.running = False

    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    probe.run()
    json.dump({"sent": [round(t, 4) for t in probe.sent], "answers": probe.answers,
               "direct": probe.direct}, sys.stdout)


if __name__ == "__main__":
    main()
