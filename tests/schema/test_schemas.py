#!/usr/bin/env python3
"""The shipped JSON Schemas against agentd's parser: what one accepts the other accepts.

    test_schemas.py COVEY_SCHEMA SCHEMAS_DIR

accepted.yaml and refused.yaml hold documents on which both agree, beyond.yaml those that only agentd
can judge. Besides, every value of every accepted document is replaced by others in turn. A schema
may never refuse what agentd accepts; where it accepts what agentd refuses, agentd's reason must be a
rule that spans several fields or a number hidden in a text (BEYOND).
"""
import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema
import yaml

HERE = pathlib.Path(__file__).resolve().parent
KINDS = ("Cluster", "Workload", "CronWorkload", "VirtualIP", "Route", "K3s", "SealedSecret")

BEYOND = re.compile(
    "|".join(
        (
            r"singleton has at most one",
            r"there is no workload",
            r"a cycle, so none",
            r"stands here for the second time",
            r"is set by agentd",
            r"a name is missing: with several ports",
            r"is used by two ports",
            r"has no port",
            r"which port of the workload",
            r"expected exactly one of httpGet",
            r"only a readinessProbe may have",
            r"everybody on the node can read arguments",
            r"there is no (variable|SealedSecret|VirtualIP|[A-Z][A-Za-z0-9]* \")",
            r"the workload has no file",
            r"expected exactly one of content and source",
            r"there is no file apps/",
            r"takes the same host and path",
            r"octal permissions",
            r"relative path without",
            r"expected base64",
            r"is no reference",
            r"the program's name is empty",
            r'schedule "',
            r"outside the pool",
            r"too long; expected at most",
            r"expected (the IPv4 address|a range of IPv4|a whole number with a unit|cores)",
        )
    )
)

WRONG = ("", "x", "Not OK!", "null", "2", "/x", 0, 1, -1, 7, 257, 70000, 604801, 1.5, True, False,
         None, [], ["x"], [[]], [None], {}, {"name": "x"}, {"x": None}, "x" * 64, "ü", "10.0.0.1")


class Loader(yaml.SafeLoader):
    """YAML 1.2's core schema, which editors use: "no" is a text."""


Loader.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    Loader.add_implicit_resolver("tag:yaml.org,2002:" + tag, re.compile(pattern), first)


def documents(name):
    for text in re.split(r"(?m)^---\n", (HERE / name).read_text()):
        yield text, yaml.load(text, Loader)


def mutants(value, path=()):
    """Copies of the document @value with one thing changed each."""
    root = value

    def changed(change):
        new = copy.deepcopy(root)
        at = new
        for part in here[:-1]:
            at = at[part]
        change(at, here[-1])
        return new

    stack = [()]
    while stack:
        here = stack.pop()
        node = root
        for part in here:
            node = node[part]
        children = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(
            node, list) else ()
        stack.extend(here + (part,) for part in children)
        if not here or here in (("apiVersion",), ("kind",)):
            continue
        for wrong in WRONG:
            yield changed(lambda at, key, wrong=wrong: at.__setitem__(key, wrong))
        yield changed(lambda at, key: at.__delitem__(key))
        if isinstance(node, dict):
            yield changed(lambda at, key: at[key].__setitem__("strange", "x"))
        if isinstance(node, list) and node:
            yield changed(lambda at, key: at[key].extend([at[key][0]] * 130))


def agentd(program, texts):
    """For every (kind, text): None if agentd accepts it, else its reason."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # thousands of small files
    with tempfile.TemporaryDirectory(prefix="covey-schema.", dir=memory) as folder:
        names = []
        for number, (kind, text) in enumerate(texts):
            prefix = "cluster" if kind == "Cluster" else "x"
            path = pathlib.Path(folder) / f"{prefix}{number:06}.yaml"
            path.write_text(text)
            names.append(str(path))
        lines = []
        for begin in range(0, len(names), 500):
            done = subprocess.run([program, "check", *names[begin:begin + 500]], check=True,
                                  capture_output=True, text=True)
            lines += done.stdout.splitlines()
        assert len(lines) == len(names)
        for name, line in zip(names, lines):
            assert line.startswith(name + " ")
            word, _, reason = line[len(name) + 1:].partition(" ")
            yield None if word == "accepted" else reason


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    schemas, failures = {}, []
    for kind in KINDS:
        made = json.loads(subprocess.run([program, "json", kind], check=True, text=True,
                                         capture_output=True).stdout)
        shipped = folder / f"{kind.lower()}.json"
        if not shipped.exists() or json.loads(shipped.read_text()) != made:
            failures.append(f"{shipped} is old: covey-schema json {kind} > {shipped}")
        jsonschema.Draft7Validator.check_schema(made)
        schemas[kind] = jsonschema.Draft7Validator(made)

    tried = []  # kind, text, value, expected of agentd, expected of the schema
    for name, both in (("accepted.yaml", (True, True)), ("refused.yaml", (False, False)),
                       ("beyond.yaml", (False, True))):
        for text, value in documents(name):
            tried.append((value["kind"], text, value, *both))
            if both == (True, True):
                for mutant in mutants(value):
                    tried.append((value["kind"], json.dumps(mutant), mutant, None, None))

    accepted = 0
    for (kind, text, value, wanted, schema_wanted), reason in zip(
            tried, agentd(program, [(t[0], t[1]) for t in tried])):
        error = next(schemas[kind].iter_errors(value), None)
        accepted += reason is None
        said = f"{text.strip()}\n    agentd: {reason or 'accepted'}\n    schema: " + (
            f"{'.'.join(map(str, error.absolute_path))}: {error.message[:120]}"
            if error else "accepted")
        if wanted is not None and (wanted, schema_wanted) != (reason is None, error is None):
            failures.append(f"expected {wanted}, {schema_wanted}: {said}")
        elif reason is None and error is not None:
            failures.append(f"the schema is stricter than agentd: {said}")
        elif reason is not None and error is None and not BEYOND.search(reason):
            failures.append(f"the schema misses a rule: {said}")
    print(f"{len(tried)} documents, {accepted} accepted by agentd, {len(failures)} differences")
    for failure in failures[:20]:
        print(failure)
    return 1 if failures or accepted < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
