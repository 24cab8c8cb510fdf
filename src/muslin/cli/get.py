"""`muslin get`: the server draws the tables (it knows the columns of its kinds), this prints them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from muslin.cli import output, screen
from muslin.cli.connection import connect
from muslin.cli.faults import Misused
from muslin.cli.naming import Kinds, Target, namespace, path_of, scope, targets
from muslin.cli.parsing import Parser, Words
from muslin.client.blocking import JSON, TABLE, Client
from muslin.client.refusal import ApiError

EXAMPLES = """
muslin get gnp                       all global network policies
muslin get np -A -o wide             network policies of all namespaces, more columns
muslin get wep -l app=web -w         workloads with a label, and what changes from now on
muslin get node h1 h2 -o yaml        two objects, whole
muslin get np,gnp -n shop            two kinds
muslin get -f policies/              what is there of the objects in files
"""
Json = dict[str, Any]


def parser() -> Parser:
    made = Parser("get", "Show objects.", usage="KIND[,KIND...] [NAME...] | KIND/NAME... | -f FILE [options]",
                  examples=EXAMPLES)
    made.positional("words", nargs="*", metavar="KIND")
    output.option(made, "table, wide, json, yaml, name, custom-columns=HEAD:.path,... or jsonpath={.path}")
    scope(made)
    made.add_argument("-l", "--selector", metavar="LABELS", default="", help="only with these labels: app=web,tier!=x")
    made.add_argument("--field-selector", metavar="FIELDS", default="", help="only with these fields: metadata.name=x")
    made.add_argument("-w", "--watch", action="store_true", help="then show changes, until interrupted")
    made.add_argument("--watch-only", action="store_true", help="show only changes")
    made.add_argument("-f", "--filename", action="append", default=[], metavar="FILE", help="objects in these files")
    made.add_argument("-R", "--recursive", action="store_true", help="-f DIR: with all directories inside")
    made.add_argument("--no-headers", action="store_true", help="tables without their first line")
    made.add_argument("--export", action="store_true", help="yaml, json: without what belongs to this server only")
    made.add_argument("--show-labels", action="store_true", help="a last column with all labels")
    made.add_argument("--sort-by", default="", metavar="PATH", help="rows by a field: .metadata.creationTimestamp")
    made.add_argument("--ignore-not-found", action="store_true", help="a name that is not there is no error")
    return made


def run(arguments: list[str]) -> int:
    words = parser().read(arguments)
    form = output.form(words.output)
    client = connect(words)
    kinds = Kinds(client)
    wanted = _from_files(kinds, words) if words.filename else targets(kinds, words.words, wholesale=True)
    if words.watch or words.watch_only:
        return _watch(client, wanted, words, form)
    if form in ("table", "wide") or (form == "custom-columns" and ":" not in words.output):
        return _tables(client, wanted, words, wide=form == "wide")
    objects, missing = _objects(client, wanted, words)
    if words.sort_by:
        objects.sort(key=lambda obj: sort_key(words.sort_by, obj))
    objects = [output.portable(obj) for obj in objects] if words.export else objects
    one = len(wanted) == 1 and bool(wanted[0].name)
    if objects or not (missing or one):
        output.show(objects, form, words.output, one=one)
    return _report(missing, words)


def _from_files(kinds: Kinds, words: Words) -> list[Target]:
    from muslin.cli.files import read

    if words.words:
        raise Misused("give either names or -f, not both")
    found = []
    for located in read(words.filename, recursive=words.recursive).objects:
        obj = located.original or located.object
        metadata, group = obj["metadata"], obj["apiVersion"].rpartition("/")[0]
        if not metadata.get("name"):
            raise Misused(f"{located.file}:{located.line}: the object has no name to be found by")
        kind = kinds.find(f"{obj['kind']}.{group}" if group else obj["kind"])
        found.append(Target(kind, metadata["name"], metadata.get("namespace", "")))
    return found


def _query(words: Words) -> dict[str, str]:
    query = {"labelSelector": words.selector, "fieldSelector": words.field_selector}
    return {name: value for name, value in query.items() if value}


def _answers(client: Client, wanted: Sequence[Target], words: Words, accept: str) -> Iterator[tuple[Target, Json]]:
    """Each target with its answer; a Status for a name that is not there."""
    for target in wanted:
        query = {} if target.name else _query(words)
        if words.sort_by and accept == TABLE:
            query["includeObject"] = "Object"
        try:
            yield target, client.get(path_of(target, words), accept=accept, **query)
        except ApiError as error:
            if error.code != 404 or not target.name:
                raise
            yield target, error.status


def _objects(client: Client, wanted: Sequence[Target], words: Words) -> tuple[list[Json], list[Json]]:
    objects: list[Json] = []
    missing: list[Json] = []
    for target, answer in _answers(client, wanted, words, JSON):
        if answer.get("kind") == "Status":
            missing.append(answer)
        elif target.name:
            objects.append(answer)
        else:
            objects += answer.get("items") or []
    return objects, missing


def _tables(client: Client, wanted: Sequence[Target], words: Words, *, wide: bool) -> int:
    """One table a kind; rows of several names of one kind stand in one table."""
    kinds = list(dict.fromkeys(target.kind for target in wanted))
    missing: list[Json] = []
    shown = 0
    for kind in kinds:
        table = Table(wide=wide, words=words, prefix=kind.singular if len(kinds) > 1 else "",
                      with_namespace=kind.namespaced and not namespace(words), only=_chosen_columns(words))
        for _, answer in _answers(client, [t for t in wanted if t.kind == kind], words, TABLE):
            if answer.get("kind") == "Status":
                missing.append(answer)
            else:
                table.add(answer)
        if table.rows:
            if shown:
                print()
            print("\n".join(table.lines()))
            shown += len(table.rows)
    if not shown and not missing:
        where = f" in namespace {namespace(words)}" if namespace(words) and all(k.namespaced for k in kinds) else ""
        screen.note(f"no {' or '.join(kind.plural for kind in kinds)} found{where}")
    return _report(missing, words)


def _chosen_columns(words: Words) -> tuple[str, ...]:
    """`-o custom-columns=NAME,CIDR`: columns of the table by their heads, as calicoctl has it."""
    form, _, heads = words.output.partition("=")
    return tuple(head.strip().upper() for head in heads.split(",")) if form == "custom-columns" else ()


def _report(missing: Sequence[Json], words: Words) -> int:
    if words.ignore_not_found:
        return 0
    for status in missing:
        screen.note(f"error: {status.get('message')}")
    return 1 if missing else 0


def sort_key(path: str, obj: object) -> tuple[int, float, str]:
    """Numbers by their size, then texts; what has no such field comes first."""
    from muslin.cli.jsonpath import values

    found = next(iter(values(path, obj)), None)
    if found is None:
        return 0, 0.0, ""
    return (1, float(found), "") if isinstance(found, int | float) else (2, 0.0, str(found))


class Table:
    """Rows of one kind as the server drew them."""

    def __init__(
        self, *, wide: bool, words: Words, prefix: str, with_namespace: bool, only: Sequence[str] = ()
    ) -> None:
        self.rows: list[list[str]] = []
        self._only = only
        self._wide, self._words, self._prefix, self._with_namespace = wide, words, prefix, with_namespace
        self._shown: list[int] = []
        self._head: list[str] = []
        self._widths: list[int] = []

    def add(self, answer: Json) -> list[list[str]]:
        """The rows that came with it."""
        if definitions := answer.get("columnDefinitions"):
            heads = [each["name"].upper() for each in definitions]
            for head in self._only:
                if head not in heads:
                    raise Misused(f"custom-columns: there is no column {head}: write {', '.join(heads)}, "
                                  "or HEAD:.path, such as NAME:.metadata.name")
            shown = [n for n, each in enumerate(definitions) if self._wide or not each.get("priority")]
            self._shown = [heads.index(head) for head in self._only] or shown
            self._head = [heads[n] for n in self._shown]
            if self._with_namespace:
                self._head.insert(0, "NAMESPACE")
            if self._words.show_labels:
                self._head.append("LABELS")
        given = answer.get("rows") or []
        if self._words.sort_by:
            given = sorted(given, key=lambda row: sort_key(self._words.sort_by, row.get("object")))
        rows = [self._row(row) for row in given]
        self.rows += rows
        return rows

    def lines(self) -> list[str]:
        return self.format(self.rows, head=not self._words.no_headers)

    def format(self, rows: list[list[str]], *, head: bool) -> list[str]:
        """Rows that come later keep at least the widths of those before."""
        every = [self._head, *rows] if head else rows
        fresh = screen.widths_of([self._head, *rows])
        self._widths = [max(old, new) for old, new in zip(self._widths or fresh, fresh, strict=True)]
        return screen.columns(every, self._widths)

    def _row(self, row: Json) -> list[str]:
        metadata = (row.get("object") or {}).get("metadata") or {}
        cells = [screen.cell(row["cells"][n]) for n in self._shown]
        if self._prefix and cells:
            cells[0] = f"{self._prefix}/{cells[0]}"
        if self._with_namespace:
            cells.insert(0, str(metadata.get("namespace", "")))
        if self._words.show_labels:
            labels = metadata.get("labels") or {}
            cells.append(",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>")
        return cells


def _watch(client: Client, wanted: Sequence[Target], words: Words, form: str) -> int:
    kinds = list(dict.fromkeys(target.kind for target in wanted))
    if len(kinds) != 1 or len(wanted) != 1:
        raise Misused("--watch follows one kind, or one name")
    target = wanted[0]
    query = _query(words)
    if target.name:
        path_of(target, words)
        query["fieldSelector"] = f"metadata.name={target.name}"
    path = target.kind.path(namespace(words))
    drawn = form in ("table", "wide")
    accept = TABLE if drawn else JSON
    table = Table(wide=form == "wide", words=words, prefix="",
                  with_namespace=target.kind.namespaced and not namespace(words))
    first = client.get(path, accept=accept, **query)
    if drawn:
        rows = table.add(first)
        if rows and not words.watch_only:
            print("\n".join(table.format(rows, head=not words.no_headers)), flush=True)
    elif not words.watch_only:
        for obj in first.get("items") or []:
            output.show([obj], form, words.output, one=True, flush=True)
    revision = str((first.get("metadata") or {}).get("resourceVersion") or "0")
    for event in client.lines(path, accept=accept, watch="true", resourceVersion=revision, **query):
        obj = event.get("object") or {}
        if event.get("type") == "ERROR" or obj.get("kind") == "Status":
            raise ApiError(obj, int(obj.get("code") or 500))
        if event.get("type") == "BOOKMARK":
            continue
        if drawn:
            print("\n".join(table.format(table.add(obj), head=False)), flush=True)
        else:
            output.show([obj], form, words.output, one=True, flush=True)
    screen.note("the server ended the watch")
    return 0
