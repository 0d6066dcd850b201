"""A RabbitMQ of one's own: on free ports of the loopback interface, in a folder of its own, so that it
meets no other. As a program: broker.py start DIR, broker.py stop DIR; DIR/broker.json says where it is.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

PROGRAMS = "/usr/lib/rabbitmq/bin"
START_SECONDS = 120
USER, PASSWORD = "orders", "order-pass"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_until(condition, seconds, what, every=0.02):
    """Polls; a condition that never holds is an error that says what was waited for."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise TimeoutError(f"gave up after {seconds} s: {what}")
        time.sleep(every)


def answers(port):
    """True when something that speaks AMQP listens there: a port that is open may not yet serve."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


class Broker:
    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.file = os.path.join(self.folder, "broker.json")
        self.process = None
        self.user, self.password = USER, PASSWORD
        if os.path.exists(self.file):
            with open(self.file, encoding="utf-8") as file:
                self.__dict__.update(json.load(file))
        else:
            self.pid = 0
            self.port, self.dist, self.epmd = free_ports(3)

    def environment(self):
        node = f"orders{self.port}@localhost"
        return {
            "PATH": os.environ["PATH"],
            "HOME": self.folder,
            "LC_ALL": "C.UTF-8",
            "RABBITMQ_NODENAME": node,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist),
            "ERL_EPMD_PORT": str(self.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": f"{self.folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{self.folder}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.folder}/enabled_plugins",
            "RABBITMQ_CONF_ENV_FILE": f"{self.folder}/env.conf",
            "RABBITMQ_CONFIG_FILE": f"{self.folder}/rabbitmq",
            "RABBITMQ_PID_FILE": f"{self.folder}/rabbitmq.pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def prepare(self):
        os.makedirs(self.folder, exist_ok=True)
        for name, text in {
            "enabled_plugins": "[].\n",
            "env.conf": "",
            # The first start makes this user; what listens is the loopback interface alone.
            # RabbitMQ 4 takes 16 MiB, earlier ones 128: a test sends what no service keeps.
            "rabbitmq.conf": f"listeners.tcp.default = 127.0.0.1:{self.port}\n"
            "max_message_size = 67108864\n"
            f"default_user = {USER}\ndefault_pass = {PASSWORD}\n"
            "default_user_tags.administrator = true\n"
            "vm_memory_high_watermark.absolute = 2GB\ndisk_free_limit.absolute = 1MB\n",
        }.items():
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write(text)

    def start(self):
        """Starts it, if it does not run, and waits until it serves."""
        if not os.path.exists(f"{self.folder}/rabbitmq.conf"):
            self.prepare()
        with open(f"{self.folder}/output.log", "ab") as output:
            # The port mapper outlives the brokers; it must not be one of this process's children.
            subprocess.run(
                ["epmd", "-daemon", "-address", "127.0.0.1", "-port", str(self.epmd)],
                check=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
            self.process = subprocess.Popen(
                [f"{PROGRAMS}/rabbitmq-server"], env=self.environment(), cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self.pid = self.process.pid
        with open(self.file, "w", encoding="utf-8") as file:
            json.dump({name: getattr(self, name) for name in ("pid", "port", "dist", "epmd")}, file)
        self.wait()

    def wait(self):
        def serves():
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"RabbitMQ ended: see {self.folder}/output.log")
            return answers(self.port)

        wait_until(serves, START_SECONDS, "RabbitMQ to start")

    def kill(self):
        """As a power cut: the whole session, at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if self.process is not None:
            self.process.wait()
        wait_until(lambda: not answers(self.port), 10, "RabbitMQ to be gone")

    def control(self, *arguments, check=True):
        return subprocess.run(
            [f"{PROGRAMS}/rabbitmqctl", "-q", *arguments], env=self.environment(),
            cwd=self.folder, check=check, capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip

    def stop(self):
        """Ends broker and port mapper and removes the folder."""
        if self.pid:
            self.kill()
        subprocess.run(
            ["epmd", "-port", str(self.epmd), "-kill"], check=False, capture_output=True
        )
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, **more):
        """The variables that a program finds it by."""
        return {
            "RABBITMQ_HOST": "127.0.0.1",
            "RABBITMQ_PORT": str(self.port),
            "RABBITMQ_USER": self.user,
            "RABBITMQ_PASSWORD": self.password,
            "RABBITMQ_RETRY_DELAY": "0.2",
            **more,
        }


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        sys.exit("usage: broker.py start|stop DIR")
    broker = Broker(sys.argv[2])
    if sys.argv[1] == "stop":
        broker.stop()
        return
    broker.stop()  # what an earlier run left
    Broker(sys.argv[2]).start()


if __name__ == "__main__":
    main()
