#!/usr/bin/env python3
"""agentctl push: what it commits and pushes, and that a push that is refused leaves nothing.

    test_push.py AGENTCTL
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

program = None


class Push(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.bare = pathlib.Path(folder.name, "flock.git")
        self.copy = pathlib.Path(folder.name, "copy")
        self.environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null",
                            "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "test",
                            "GIT_AUTHOR_EMAIL": "test@covey.invalid", "GIT_COMMITTER_NAME": "test",
                            "GIT_COMMITTER_EMAIL": "test@covey.invalid"}
        self.git("init", "-q", "--bare", "-b", "main", self.bare, at=folder.name)
        self.git("init", "-q", "-b", "main", self.copy, at=folder.name)
        (self.copy / "cluster.yaml").write_text("a\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "the change")
        self.change = self.git("rev-parse", "HEAD")

    def git(self, *arguments, at=None):
        return subprocess.run(["git", *arguments], cwd=at or self.copy, env=self.environment,
                              check=True, capture_output=True, text=True).stdout.strip()

    def push(self, *arguments):
        return subprocess.run([program, "--socket", "/nonexistent/agent.sock", "push", *arguments],
                              cwd=self.copy, env=self.environment, capture_output=True, text=True,
                              timeout=60)

    def test_nodes_go_first_by_a_trailer(self):
        result = self.push(str(self.bare), "--node", "pi1", "--node", "pi2")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.git("log", "-1", "--format=%s|%(trailers:key=Canary,valueonly)", "main",
                                  at=self.bare), "On pi1, pi2 first|pi1, pi2")
        self.assertEqual(self.git("rev-parse", "main^", at=self.bare), self.change)
        self.assertEqual(self.git("diff", "--stat", "main^", "main", at=self.bare), "")

    def test_without_a_node_it_is_a_push(self):
        self.git("remote", "add", "flock", str(self.bare))
        self.assertEqual(self.push("flock").returncode, 0)
        self.assertEqual(self.git("rev-parse", "main", at=self.bare), self.change)

    def test_a_push_that_is_refused_leaves_nothing(self):
        hook = self.bare / "hooks" / "pre-receive"
        hook.write_text("#!/bin/sh\necho 'cluster.yaml:1: this is no document' >&2\nexit 1\n")
        hook.chmod(0o755)
        (self.copy / "staged").write_text("b\n")
        self.git("add", "staged")
        result = self.push(str(self.bare), "--node", "pi1")
        self.assertEqual(result.returncode, 1)
        self.assertIn("cluster.yaml:1: this is no document", result.stderr)
        self.assertEqual(self.git("rev-parse", "HEAD"), self.change)
        # What was staged is neither pushed as part of the empty commit nor lost.
        self.assertEqual(self.git("status", "--porcelain"), "A  staged")

    def test_wrong_arguments(self):
        for arguments, said in (((), "needs the repository"), ((".", "--node"), "does not understand"),
                                ((".", "--node", "not/a/name"), "is no name of a node"),
                                ((".", "--node", "pi1,pi2"), "is no name of a node"),
                                ((".", "other"), "does not understand")):
            result = self.push(*arguments)
            self.assertEqual(result.returncode, 2, arguments)
            self.assertIn(said, result.stderr)
        self.assertEqual(self.git("rev-parse", "HEAD"), self.change)


if __name__ == "__main__":
    program = os.path.abspath(sys.argv.pop(1))
    unittest.main()
