"""Remotes over ssh and https, with real servers: sshd and a deploy key, git's own http-backend under
TLS. Hosts and certificates that are not the right ones, and a server that vanishes half-way."""

import ssl
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import flock
from flock import eventually, run, workload

SERVER = flock.ADDRESS["ap"]
SSH_PORT, HTTPS_PORT = 2222, 8443
BACKEND = "/usr/lib/git-core/git-http-backend"


def files(number):
    return {"cluster.yaml": flock.CLUSTER,
            "apps/web/web.yaml": workload("web", ["sleep", "1d"],
                                          env=[{"name": "NUMBER", "value": str(number)}])}


class Backend(BaseHTTPRequestHandler):
    """Git's smart HTTP by CGI. While @half is there, packs end in their middle."""

    protocol_version = "HTTP/1.0"
    root = half = None

    def answer(self):
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        result = subprocess.run([BACKEND], input=self.rfile.read(length), capture_output=True, env={
            "GIT_PROJECT_ROOT": str(self.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
            "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_ADDR": "client",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "PATH": "/usr/bin:/bin",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "HOME": "/nonexistent",
            "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*"})
        head, _, body = result.stdout.partition(b"\r\n\r\n")
        head += b"\r\nContent-Length: %d" % len(body)
        if self.half.exists() and self.command == "POST" and b"PACK" in body:
            body = body[:len(body) // 2]
        self.wfile.write(b"HTTP/1.0 200 OK\r\n" + head + b"\r\n\r\n" + body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def serve(root, certificate, key):
    Backend.root, Backend.half = Path(root), Path(root) / "half"
    server = ThreadingHTTPServer((SERVER, HTTPS_PORT), Backend)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


class Remotes(flock.FlockTest):
    @classmethod
    def prepare(cls):
        cls.folder = cls.flock.folder / "server"
        cls.folder.mkdir(mode=0o755)
        cls.origin = cls.folder / "origin.git"
        cls.half = cls.folder / "half"
        cls.servers = {}
        run("git", "init", "-q", "--bare", "-b", "main", cls.origin)
        cls.make_keys()
        cls.addClassCleanup(lambda: [cls.stop(name) for name in list(cls.servers)])
        cls.flock.write(files(0))
        cls.publish()

    @classmethod
    def make_keys(cls):
        for name in ("host", "stranger", "deploy", "person"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", cls.folder / name)
        for name in ("tls", "other"):
            run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                f"/CN={SERVER}", "-addext", f"subjectAltName=IP:{SERVER}", "-keyout",
                cls.folder / f"{name}.key", "-out", cls.folder / f"{name}.crt")

        def known(name):
            kind, key = (cls.folder / f"{name}.pub").read_text().split()[:2]
            return f"[{SERVER}]:{SSH_PORT} {kind} {key}\n"

        for name in ("host", "stranger"):
            (cls.folder / f"known_{name}").write_text(known(name))
        # A deploy key: it reads this one repository, and nothing else.
        (cls.folder / "authorized_keys").write_text(
            f"restrict,command=\"git-upload-pack '{cls.origin}'\" "
            + (cls.folder / "deploy.pub").read_text() +
            'restrict,command="git-shell -c \\"$SSH_ORIGINAL_COMMAND\\"" '
            + (cls.folder / "person.pub").read_text())
        (cls.folder / "sshd_config").write_text(
            f"Port {SSH_PORT}\nListenAddress {SERVER}\nHostKey {cls.folder}/host\n"
            f"AuthorizedKeysFile {cls.folder}/authorized_keys\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nStrictModes no\nUsePAM no\nPidFile none\n"
            "PermitRootLogin forced-commands-only\n")

    @classmethod
    def publish(cls):
        cls.flock.git("push", "-q", cls.origin, "HEAD:main")
        return cls.flock.git("rev-parse", "HEAD").stdout.strip()

    @classmethod
    def start(cls, name, command, port):
        with open(cls.folder / f"{name}.log", "ab") as log:
            cls.servers[name] = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{cls.flock.prefix}-ap", "--", *map(str, command)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        eventually(lambda: f":{port} " in cls.flock.inside("ap", "ss", "-Hltn").stdout,
                   lambda: (cls.folder / f"{name}.log").read_text())

    @classmethod
    def start_sshd(cls):
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd drops its privileges
        cls.start("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", cls.folder / "sshd_config"], SSH_PORT)

    @classmethod
    def start_https(cls):
        cls.start("https", [sys.executable, __file__, "--serve", cls.folder,
                            cls.folder / "tls.crt", cls.folder / "tls.key"], HTTPS_PORT)

    @classmethod
    def stop(cls, name):
        server = cls.servers.pop(name, None)
        if server is not None:
            server.kill()
            server.wait()

    def ssh(self, known="host", key="deploy"):
        return (f"{{url: 'ssh://root@{SERVER}:{SSH_PORT}{self.origin}', key: {self.folder}/{key}, "
                f"known_hosts: {self.folder}/known_{known}}}")

    def https(self, certificate="tls"):
        return (f"{{url: 'https://{SERVER}:{HTTPS_PORT}/origin.git', "
                f"ca_file: {self.folder}/{certificate}.crt}}")

    def remotes(self, *remotes):
        self.pi1.kill()
        self.pi1.write_config("repository:\n  poll_seconds: 5\n  remotes:\n" +
                              "".join(f"    - {remote}\n" for remote in remotes))
        self.pi1.start()

    def arrives(self, commit):
        for pi in self.flock.pis:
            eventually(lambda pi=pi: pi.commit().get("commit") == commit,
                       lambda pi=pi: f"{pi.headline()}\n{self.pi1.log_tail()}")

    def stays(self, before, *words):
        """The remote is not taken, with a reason; what is applied is whole."""
        eventually(lambda: self.pi1.has_event("warning remote", *words), self.pi1.log_tail)
        for pi in self.flock.pis:
            self.assertEqual(pi.commit()["commit"], before)
            self.assertEqual(pi.ctl("status").status, 0, pi.headline())

    def change(self, number):
        self.flock.write(files(number))
        return self.publish()

    def test_1_ssh_with_a_deploy_key(self):
        self.start_sshd()
        self.remotes(self.ssh())
        self.arrives(self.flock.git("rev-parse", "HEAD").stdout.strip())
        self.arrives(self.change(1))  # by the poll, every 5 s

    def test_1_then_a_push_by_ssh(self):
        """As people push: to a Pi's own repository, whose hooks run in what sshd gives them."""
        self.flock.git("remote", "add", "pi1", f"ssh://root@{SERVER}:{SSH_PORT}{self.pi1.repository}")
        self.flock.git("config", "core.sshCommand", f"ssh -i {self.folder}/person -o IdentitiesOnly=yes "
                       f"-o UserKnownHostsFile={self.folder}/known_host")
        push = ("client", "git", "-C", self.flock.desired, "push", "pi1", "HEAD:main")
        self.flock.write({"apps/x/bad.yaml": "kind: [\n"})
        refused = self.flock.inside(*push, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("apps/x/bad.yaml:", refused.stderr)
        self.flock.git("reset", "-q", "--hard", "HEAD~1")
        self.flock.write(files(11))
        said = self.flock.inside(*push)
        self.arrives(self.flock.git("rev-parse", "HEAD").stdout.strip())
        self.assertIn("remote: ", said.stderr)

    def test_2_not_the_host_that_is_known(self):
        before = self.pi1.commit()["commit"]
        self.remotes(self.ssh(known="stranger"))
        self.change(2)
        self.stays(before, "Host key verification failed")

    def test_3_not_the_key_that_is_allowed(self):
        before = self.pi1.commit()["commit"]
        self.remotes(self.ssh(key="stranger"))
        self.stays(before, "Permission denied")
        self.stop("sshd")

    def test_4_https(self):
        before = self.pi1.commit()["commit"]
        self.start_https()
        self.remotes(self.https(certificate="other"))
        self.stays(before, "certificate")
        self.remotes(self.https())
        self.arrives(self.flock.git("rev-parse", "HEAD").stdout.strip())

    def test_5_a_server_that_vanishes_half_way(self):
        before = self.pi1.commit()["commit"]
        self.half.touch()
        commit = self.change(5)
        eventually(lambda: self.pi1.has_event("warning remote", SERVER), self.pi1.log_tail)
        self.stays(before)
        fsck = run("git", "-C", self.pi1.repository, "fsck", "--full", "--strict", check=False)
        self.assertEqual(fsck.returncode, 0, fsck.stderr)
        # The next one in the list is asked where the first is of no use.
        self.start_sshd()
        self.remotes(self.https(), self.ssh())
        self.arrives(commit)
        # And the first again when it is back.
        self.stop("sshd")
        self.half.unlink()
        self.arrives(self.change(6))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:5])
    else:
        flock.main()
