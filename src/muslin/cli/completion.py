"""`muslin completion`: a few lines for the shell, which ask `muslin complete` what may come next."""

from __future__ import annotations

from muslin.cli.commands import BY_NAME
from muslin.cli.faults import Misused
from muslin.cli.parsing import Parser

EXAMPLES = """
source <(muslin completion bash)          in ~/.bashrc
source <(muslin completion zsh)           in ~/.zshrc, after compinit
"""
BASH = """\
_muslin() {
    local IFS=$'\\n'
    COMPREPLY=($(muslin completion --words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _muslin muslin
"""
ZSH = """\
_muslin() {
    local -a found
    found=(${(f)"$(muslin completion --words -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -a found; else _files; fi
}
compdef _muslin muslin
"""
WITH_KINDS = ("get", "delete", "label", "annotate", "patch")
ACTIONS = {
    "workload": ("add", "rm", "list"), "lab": ("demo", "up", "down", "list", "exec", "test"),
    "ipam": ("show", "check", "release", "configure"), "create": ("namespace", "ippool"), "completion": ("bash", "zsh"),
}
OPTIONS = {"-o": ("table", "wide", "json", "yaml", "name"), "--output": ("table", "wide", "json", "yaml", "name")}


def run(arguments: list[str]) -> int:
    if arguments[:2] == ["--words", "--"]:
        print("\n".join(candidates(arguments[2:])))
        return 0
    parser = Parser("completion", "Completion for a shell.", usage="bash|zsh", examples=EXAMPLES)
    parser.positional("shell", nargs="?", default="", metavar="bash|zsh")
    words = parser.read(arguments)
    if words.shell not in ("bash", "zsh"):
        raise Misused("say for which shell: muslin completion bash, or zsh")
    print(BASH if words.shell == "bash" else ZSH, end="")
    return 0


def candidates(words: list[str]) -> list[str]:
    """What the last word may become. Empty leaves it to the shell, which knows files."""
    *before, last = words or [""]
    if not before:
        return [name for name in BY_NAME if name.startswith(last)]
    if before[-1] in OPTIONS:
        return [form for form in OPTIONS[before[-1]] if form.startswith(last)]
    command, *rest = before
    if command in ACTIONS and not rest:
        return [action for action in ACTIONS[command] if action.startswith(last)]
    if command == "explain" and not rest:
        from muslin.model.kinds import KINDS

        return [kind.singular for kind in KINDS if kind.singular.startswith(last)]
    if command in WITH_KINDS and not last.startswith("-") and before[-1] not in ("-f", "-l", "-p"):
        return _objects(rest, last)
    return []


def _objects(before: list[str], last: str) -> list[str]:
    """Kinds first, then names of objects, as the server has them now; nothing where there is no server."""
    from muslin.cli.connection import connect
    from muslin.cli.naming import Kinds, namespace, scope
    from muslin.errors import MuslinError

    parser = Parser("", "")
    parser.positional("named", nargs="*")
    scope(parser)
    try:
        words = parser.read(before)
        client, named = connect(words), words.named
        kinds = Kinds(client)
        if not named:
            return sorted(kind.singular for kind in kinds.all if kind.singular.startswith(last))
        items = client.get(kinds.find(named[0]).path(namespace(words))).get("items") or []
    except MuslinError:
        return []
    return [name for obj in items if (name := obj["metadata"]["name"]).startswith(last) and name not in named]
