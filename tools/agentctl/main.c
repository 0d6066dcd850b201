/* agentctl: the command line of Covey. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/agentctl/agentctl.h"

static const struct command commands[] = {
    {"status", "", "the whole flock on one screen",
     "Exit status: 0 all is good, 3 something is degraded, 4 no agent answers.\n\n"
     "  agentctl status\n  agentctl -o json status | jq .headline\n",
     cmd_status},
    {"members", "", "the nodes, whether they answer and how fast", "  agentctl members\n",
     cmd_members},
    {"net", "", "who hears whom, with round-trip time and loss",
     "  agentctl net\n\nEach node measures the paths to it; HEARS is \"no\" where packets of FROM "
     "do "
     "not arrive\nat NODE, although others hear it. OVER is \"tcp\" where datagrams do not come "
     "through, and\nthe agents reach each other by the TCP session that they keep. A record brings "
     "the figures here: news of a "
     "cut "
     "within\nseconds, drifting figures within five minutes.\n",
     cmd_net},
    {"apps", "[NAME]", "workloads: where each instance runs, and why not",
     "  agentctl apps\n  agentctl apps rest-api\n", cmd_apps},
    {"cron", "[NAME]", "what runs by the clock: the next tick, and how the last ones ended",
     "UNKNOWN is a run whose node went down: how it ended nobody knows. It is run again only "
     "where\n"
     "the document says retryLost: true.\n\n  agentctl cron\n  agentctl cron batch-job\n",
     cmd_cron},
    {"vip", "[move ADDRESS NODE]", "virtual addresses: owner, epoch, lease, last move",
     "With move: hands the address (or the VirtualIP of that name) over, wherever it is held, and\n"
     "waits until it is there.\n\n"
     "  agentctl vip\n  agentctl vip move 192.168.1.210 pi2\n  agentctl vip move front pi2\n",
     cmd_vip},
    {"doctor", "", "what is wrong with this machine or its flock, and what to do",
     "Looks at the real things: radio, ARP settings, fence, clock, control groups, disk, voltage, "
     "and\n"
     "asks the agent. As root it sees more. Exit status: 0 all is good, 3 something is not, 4 no "
     "agent\n"
     "answers (the machine was looked at all the same).\n\n"
     "  sudo agentctl doctor\n  agentctl -o json doctor | jq '.items[] | select(.result == "
     "\"bad\")'\n",
     cmd_doctor},
    {"events", "[-f] [-n N]", "what happened, newest last",
     "  agentctl events\n  agentctl events -f      # follow\n  agentctl events -n 10\n",
     cmd_events},
    {"logs", "NAME [-f|-p] [-n N|all] [--since TIME] [--node NODE] [--level LEVEL] [--raw]",
     "log lines of a workload, or of one instance, from all nodes in the order of time",
     "Without -n or --since the last 100. NAME may be a workload that is gone, as long as its logs "
     "are\nkept; earlier runs of an instance come before its present one.\n\n"
     "  -f, --follow     go on as lines are written, over restarts and moves\n"
     "  -p, --previous   of each instance the run that ended last: why it was restarted, say\n"
     "  -n, --tail N     the last N lines (up to 10000), or all\n"
     "  --since TIME     10m, 1h30m, 2d; 2026-01-31T13:37:00Z; \"2026-01-31 13:37\"\n"
     "  --node NODE      only what this node has\n"
     "  --level LEVEL    trace, debug, info, warning, error, fatal: this and graver ones. A line "
     "of JSON\n                   says it in level or severity, others by a word such as ERROR or "
     "[warn];\n                   a line that does not say counts as info\n"
     "  --raw            the lines as they were written, nothing before them\n\n"
     "  agentctl logs rest-api\n  agentctl logs rest-api.0 -n 20\n"
     "  agentctl logs rest-api -f --since 10m --level warning\n"
     "  agentctl -o json logs rest-api | jq -r '.fields.path // .text'\n",
     cmd_logs},
    {"sync", "[--wait]", "apply what the repository's branch stands at, now",
     "With --wait: until every living node has applied it and all is good.\n\n"
     "  agentctl sync\n  agentctl --timeout 60 sync --wait\n",
     cmd_sync},
    {"wait", "CONDITION...", "until conditions hold: healthy, members=N, commit=REV",
     "  agentctl --timeout 30 wait members=2 healthy\n", cmd_wait},
    {"init", "", "make this node the first of a new flock",
     "Creates the cluster key on this node, which admits the others.\n\n  agentctl init\n",
     cmd_init},
    {"token", "create [--ttl TIME] [--uses N] | list | revoke ID",
     "tokens by which other nodes may join",
     "A token names this flock's key and addresses; it is a secret until it is used.\n\n"
     "  agentctl token create\n  agentctl token create --ttl 24h --uses 3\n"
     "  agentctl token list\n  agentctl token revoke 8ea1f4870c31b6d2\n",
     cmd_token},
    {"node", "list | approve FINGERPRINT | revoke NODE", "who is admitted to the flock",
     "A revoked node is a member no more, for ever; the others get a new key epoch within\n"
     "seconds. approve and revoke run on the node that holds the cluster key.\n\n"
     "  agentctl node list\n  agentctl node approve ABCD-EFGH-IJKL-MNOP-QRST\n"
     "  agentctl node revoke pi3\n",
     cmd_node},
    {"keys", "status | rotate", "the keys of the flock's traffic: which node has the newest",
     "status ends with 3 as long as a living node lacks the newest epoch. rotate makes a new\n"
     "one: nothing is interrupted, and who is away gets it when it comes back.\n\n"
     "  agentctl keys status\n  agentctl keys rotate\n",
     cmd_keys},
    {"join", "TOKEN | - | ADDRESS", "join a flock, by a token or by approval",
     "Without a token, at the address of the node that holds the cluster key, it waits until its\n"
     "fingerprint is approved there: agentctl node approve.\n\n"
     "  agentctl join covey1-…\n  ssh pi1 agentctl token create | agentctl join -\n"
     "  agentctl join 192.168.1.11\n",
     cmd_join},
    {"drain", "", "give this node's addresses and workloads to the others", "  agentctl drain\n",
     cmd_drain},
    {"undrain", "", "let this node take part again", "  agentctl undrain\n", cmd_undrain},
    {"diff", "[DIR | REV]", "what a folder, a commit or the branch would change",
     "Without an argument: what the branch has that is not applied. Exit status: 0 nothing, 1 "
     "something,\nmore than 1 an error.\n\n"
     "  agentctl diff .            # a working copy, before it is committed\n"
     "  agentctl diff main~1       # what going back would change\n",
     cmd_diff},
    {"get", "[KIND [NAME]]", "the objects of the desired state that is applied",
     "  agentctl get\n  agentctl get route\n  agentctl -o json get workload rest-api\n", cmd_get},
    {"history", "[-n N]", "the commits that were applied, and those that failed",
     "  agentctl history\n  agentctl history -n 5\n", cmd_history},
    {"push", "REPOSITORY [--node NODE]...",
     "push this working copy's HEAD to the flock, on some nodes first",
     "REPOSITORY: a remote's name or address, as pi1:flock. With --node an empty commit with the\n"
     "trailer \"Canary: NODE\" goes on top: the other nodes apply nothing of it until each of\n"
     "those has shown it ready, also if one is away meanwhile, and never if one gives it up. The\n"
     "trailer works in any commit that is pushed last, as of git commit --trailer. To go on\n"
     "without a node that does not come back, push again with another one, or without any.\n\n"
     "  agentctl push pi1:flock --node pi2\n",
     cmd_push},
    {"rollback", "REV [--key FILE]", "a new commit that goes back to an earlier one",
     "The commit is made on this node, on top of its branch. Where only signed commits are taken, "
     "it "
     "is\nsigned here with the key of an allowed signer.\n\n"
     "  agentctl rollback main~1\n  agentctl rollback 1a2b3c4d5e --key ~/.ssh/id_ed25519\n",
     cmd_rollback},
    {"secret", "seal NAME [KEY] [OPTIONS] | rotate FILE [OPTIONS] | keys",
     "seal values for Git, so that only the flock's nodes can open them",
     "seal prints a SealedSecret for apps/<app>/. KEY's value comes on standard input (asked for\n"
     "without echo on a terminal; one newline at its end is dropped), others from files:\n"
     "  --from-file [KEY=]FILE   a value, byte for byte\n"
     "  --from-env-file FILE     lines KEY=VALUE\n"
     "  --node NODE              only these nodes can open it, and run what names it (repeatable)\n"
     "  --keys FILE              without an agent: what agentctl secret keys printed\n"
     "rotate writes FILE anew, with a new data key, for those of its nodes that are members "
     "still:\n"
     "  --node NODE, --all       for these nodes; for all\n"
     "  --keep-values            only the nodes change: nothing is restarted\n"
     "It asks an agent that can open the secret, and shows no value. After a node was revoked,\n"
     "change the values themselves too: seal them again.\n\n"
     "  agentctl secret seal rabbitmq password > apps/rabbitmq/secret.yaml\n"
     "  pwgen 24 1 | agentctl secret seal db password --node pi1 --node pi2 > apps/db/secret.yaml\n"
     "  agentctl secret seal tls --from-file tls.key --from-file tls.crt > apps/web/tls.yaml\n"
     "  agentctl secret keys > flock.keys && agentctl secret seal db password --keys flock.keys\n"
     "  agentctl secret rotate apps/db/secret.yaml --all\n",
     cmd_secret},
    {"suspend", "APP --reason TEXT [--for TIME | --for ever]",
     "keep an app as it is: commits do not reach it, on no node",
     "What runs goes on and is supervised; edited files of it are left alone. For a day, if --for "
     "says\n"
     "nothing. agentctl apps, the page and the events show it; it survives restarts.\n\n"
     "  agentctl suspend smartbiz --reason \"the database is being moved\" --for 2h\n",
     cmd_suspend},
    {"resume", "APP", "let commits reach a suspended app again; what it missed is applied",
     "  agentctl resume smartbiz\n", cmd_resume},
    {"trust", "[on FILE | off]", "take only commits that allowed signers have signed",
     "FILE: lines of a name and a public key, as ssh-keygen(1) has ALLOWED SIGNERS. It is copied "
     "to "
     "this\nnode, beside the repository, where no commit can change it.\n\n"
     "  echo \"ann@home $(cat ~/.ssh/id_ed25519.pub)\" > signers\n  sudo agentctl trust on "
     "signers\n",
     cmd_trust},
    {"explain", "[KIND[.FIELD]]", "what a field of a document means",
     "  agentctl explain\n  agentctl explain Workload\n"
     "  agentctl explain Workload.spec.readinessProbe\n",
     cmd_explain},
    {"upgrade", "[PROGRAM]", "let the agent become a new agentd; no workload is touched",
     "PROGRAM is the new agentd; without it, what lies where the running one was started from (a\n"
     "package has put a new one there). It must understand the configuration, come up within 30 "
     "s,\n"
     "and live: else the old one is back, with its store, in the same process.\n\n"
     "  agentctl upgrade\n  agentctl upgrade ./build/release/bin/agentd\n",
     cmd_upgrade},
    {"validate", "DIR", "check a desired state without an agent",
     "Prints every error as file:line. Exit status 1 if there is one: fit for a CI job.\n\n"
     "  agentctl validate .\n",
     cmd_validate},
    {"hook", "pre-receive | post-receive", "what Git's hooks of the flock's repository run",
     "Not to be called by hand: Git gives it the pushed references on standard input.\n", cmd_hook},
    {"version", "", "the version of this program", "  agentctl version\n", cmd_version},
};

#define COMMANDS (sizeof commands / sizeof commands[0])

int cmd_version(const struct context *context, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return usage("version", "takes no argument");
    if (context->json)
        printf("{\"apiVersion\": \"covey.dev/v1\", \"kind\": \"Version\", \"version\": \"%s\"}\n",
               COVEY_VERSION);
    else
        printf("agentctl %s\n", COVEY_VERSION);
    return 0;
}

int fail(const struct err *err)
{
    fprintf(stderr, "agentctl: %s\n", err->text);
    return err_exit_status(err->code);
}

int usage(const char *name, const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    size_t size;
    va_list args;

    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = '\0';
    va_end(args);
    size = strlen(text);
    fprintf(stderr, "agentctl %s: %s%s See agentctl help %s\n", name, text,
            size > 0 && text[size - 1] == '?' ? "" : ".", name);
    return 2;
}

void print_json(const json_t *document)
{
    json_dumpf(document, stdout, JSON_INDENT(2));
    putchar('\n');
}

int post(const struct context *context, const char *path, const json_t *body, const char *field)
{
    json_t *document = NULL;
    struct err err;

    if (client_request(context, "POST", path, body, &document, NULL, &err) != ERR_NONE)
        return fail(&err);
    if (context->json && document != NULL)
        print_json(document);
    else if (!context->quiet)
        printf("%s\n", member_string(document, field));
    json_decref(document);
    return 0;
}

int show(const struct context *context, const char *path,
         void (*print)(const struct context *context, const json_t *document))
{
    json_t *document = NULL;
    struct err err;

    if (client_request(context, "GET", path, NULL, &document, NULL, &err) != ERR_NONE)
        return fail(&err);
    if (context->json || print == NULL)
        print_json(document);
    else
        print(context, document);
    json_decref(document);
    return 0;
}

static void help_all(FILE *out)
{
    fprintf(out, "agentctl asks and steers the Covey agent of this machine.\n\n"
                 "usage: agentctl [options] COMMAND [arguments]\n\ncommands:\n");
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].run != cmd_hook)
            fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(out,
            "  help       this text, or more about one command: agentctl help status\n\n"
            "options:\n"
            "  --socket PATH    the agent's control socket (%s; or COVEY_SOCKET)\n"
            "  -o table|json    how to print; every JSON document has a kind\n"
            "  -q               print nothing but errors\n"
            "  --no-color       no colours (also: NO_COLOR, or no terminal)\n"
            "  --timeout N      seconds to wait for an answer or a condition (%d)\n\n"
            "examples:\n"
            "  agentctl status\n"
            "  agentctl logs rest-api\n"
            "  agentctl -o json members | jq -r '.items[].name'\n\n"
            "exit status: 0 good, 1 failed, 2 usage, 3 degraded, 4 unreachable, 5 denied, "
            "6 conflict, 7 timeout\n",
            AGENTCTL_SOCKET, AGENTCTL_TIMEOUT_S);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown(const char *name)
{
    fprintf(stderr, "agentctl: there is no command \"%s\"", name);
    for (size_t i = 0; i < COMMANDS; i++)
        if (strncmp(commands[i].name, name, 2) == 0) {
            fprintf(stderr, "; did you mean \"%s\"?", commands[i].name);
            break;
        }
    fprintf(stderr, "\nSee agentctl help\n");
    return 2;
}

static int help(int argc, char **argv)
{
    const struct command *command;

    if (argc == 0) {
        help_all(stdout);
        return 0;
    }
    command = find_command(argv[0]);
    if (command == NULL)
        return unknown(argv[0]);
    printf("usage: agentctl %s %s\n\n%s.\n%s", command->name, command->arguments, command->summary,
           command->help);
    return 0;
}

/* Reads the options before (and, where a command leaves them, after) the command: *argc and *argv
 * keep the rest. Returns 0, or the exit status. */
static int options(struct context *context, int *argc, char **argv)
{
    int kept = 0;

    for (int i = 1; i < *argc; i++) {
        const char *value = i + 1 < *argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--socket") == 0 && value != NULL) {
            context->socket = argv[++i];
        } else if (strcmp(argv[i], "-o") == 0 && value != NULL &&
                   (strcmp(value, "json") == 0 || strcmp(value, "table") == 0)) {
            context->json = strcmp(argv[++i], "json") == 0;
        } else if (strcmp(argv[i], "-o") == 0) {
            fprintf(stderr, "agentctl: -o wants table or json\n");
            return 2;
        } else if (strcmp(argv[i], "--json") == 0) {
            context->json = true;
        } else if (strcmp(argv[i], "-q") == 0) {
            context->quiet = true;
        } else if (strcmp(argv[i], "--no-color") == 0) {
            context->color = false;
        } else if (strcmp(argv[i], "--timeout") == 0 && value != NULL && atol(value) > 0) {
            context->timeout_s = atol(argv[++i]);
        } else if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            help_all(stdout);
            exit(0);
        } else {
            argv[kept++] = argv[i];
        }
    }
    *argc = kept;
    return 0;
}

int main(int argc, char **argv)
{
    struct context context = {.socket = AGENTCTL_SOCKET, .timeout_s = AGENTCTL_TIMEOUT_S};
    const char *socket = getenv("COVEY_SOCKET");
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    const struct command *command;
    int status;

    /* A pager that was closed ends the output, not the program with a message. */
    signal(SIGPIPE, SIG_DFL);
    if (socket != NULL)
        context.socket = socket;
    context.color = isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0') &&
                    (terminal == NULL || strcmp(terminal, "dumb") != 0);
    status = options(&context, &argc, argv);
    if (status != 0)
        return status;
    if (argc == 0) {
        help_all(stderr);
        return 2;
    }
    if (strcmp(argv[0], "help") == 0)
        return help(argc - 1, argv + 1);
    command = find_command(argv[0]);
    if (command == NULL)
        return unknown(argv[0]);
    status = command->run(&context, argc - 1, argv + 1);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "agentctl: the output cannot be written\n");
        return 1;
    }
    return status;
}
