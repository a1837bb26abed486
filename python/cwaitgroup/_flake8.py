"""The classic mistakes with groups, found before the program runs: a plug-in for flake8, in the manner of `go vet`.

It reads one file at a time and knows a group by the call that made it, by a `with` or by an annotation. A name it is
not sure of is left alone: every report is worth reading.
"""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from cwaitgroup import __version__

_FunctionDef = ast.FunctionDef | ast.AsyncFunctionDef
_Function = _FunctionDef | ast.Lambda

MESSAGES = {
    "CWG001": "{name}.add() inside the task that it counts: a wait may return before the task starts;"
    " call add() before the task is started, or start it with {name}.go()",
    "CWG002": "the result of {name}.{method}() is ignored: it is None when the limit leaves no room,"
    " and then the task is lost",
    "CWG003": "{name} is never waited for, so its errors are lost: use `with {name}:`, or call {name}.wait()",
    "CWG004": "{name} is copied, and a copy of a group is refused: share the group itself",
    "CWG005": "{name}.{method}() blocks the event loop: await the group, or call it in a thread",
    "CWG006": "leaving `with {name}` blocks the event loop: write `async with`",
}

_STARTERS = {"go", "try_go", "start", "map", "imap", "submit", "Thread", "to_thread", "run_sync", "run_in_executor"}
_GROUP_STARTERS = {"go", "try_go", "start"}
_COPIERS = {"copy.copy", "copy.deepcopy", "pickle.dumps", "pickle.dump", "copy", "deepcopy"}
_BLOCKING = {"WaitGroup": {"wait"}, "ErrGroup": {"wait", "map"}, "Context": {"wait"}}


class Finding(NamedTuple):
    line: int
    column: int
    text: str
    checker: type["Checker"]


class _Object:
    """A group that a name stands for in one scope."""

    def __init__(self, kind: str, node: ast.AST, *, limited: bool = False, managed: bool = False) -> None:
        self.kind = kind
        self.node = node
        self.limited = limited
        self.managed = managed  # by a `with`, or by the code that passed it in
        self.started = False
        self.waited = False


class _Scope:
    """The names of one function, or of the module."""

    def __init__(self, node: ast.AST, outer: "_Scope | None") -> None:
        self.node = node
        self.outer = outer
        self.objects: dict[str, _Object] = {}
        self.functions: dict[str, _FunctionDef] = {}

    def find(self, name: str) -> _Object | None:
        scope: _Scope | None = self
        while scope:
            if name in scope.objects:
                return scope.objects[name]
            scope = scope.outer
        return None

    def function(self, node: ast.expr) -> _Function | None:
        """The function that an argument stands for, if it is written in this file."""
        if isinstance(node, ast.Lambda):
            return node
        scope: _Scope | None = self
        while scope and isinstance(node, ast.Name):
            if node.id in scope.functions:
                return scope.functions[node.id]
            scope = scope.outer
        return None


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return ""


class _Visitor(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[tuple[ast.AST, str, str]] = []
        self.modules: set[str] = set()  # names of the package
        self.classes: dict[str, str] = {}  # a name, and the class that it stands for
        self.scope = _Scope(ast.Module([], []), None)
        self.awaited: set[int] = set()
        self.started: list[tuple[_Scope, ast.expr]] = []  # what becomes a task, and where

    def report(self, node: ast.AST, code: str, name: str, method: str = "") -> None:
        self.found.append((node, code, MESSAGES[code].format(name=name, method=method)))

    # What the names of this file mean.

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name == "cwaitgroup":
                self.modules.add(alias.asname or alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "cwaitgroup":
            for alias in node.names:
                self.classes[alias.asname or alias.name] = alias.name

    def class_of(self, node: ast.expr | None) -> str | None:
        """`WaitGroup`, `ErrGroup` or `Context`, if `node` names the class."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = self.classes.get(node.value, node.value)
        elif isinstance(node, ast.Name):
            name = self.classes.get(node.id, "")
        elif isinstance(node, ast.Attribute) and _dotted(node.value) in self.modules:
            name = node.attr
        else:
            name = ""
        return name if name in _BLOCKING else None

    def made_by(self, node: ast.expr) -> _Object | None:
        """What `ErrGroup(limit=2)` makes."""
        kind = self.class_of(node.func) if isinstance(node, ast.Call) else None
        if not kind or not isinstance(node, ast.Call):
            return None
        return _Object(kind, node, limited=bool(node.args) or any(k.arg == "limit" for k in node.keywords))

    def object_of(self, node: ast.expr) -> _Object | None:
        return self.scope.find(node.id) if isinstance(node, ast.Name) else self.made_by(node)

    # Scopes.

    def visit_function(self, node: _Function) -> None:
        if not isinstance(node, ast.Lambda):
            self.scope.functions[node.name] = node
        self.scope = _Scope(node, self.scope)
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            kind = self.class_of(argument.annotation)
            if kind:
                self.scope.objects[argument.arg] = _Object(kind, argument, managed=True)
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        for statement in body:
            self.visit(statement)
        self.leave_scope()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = visit_function

    def visit_Module(self, node: ast.Module) -> None:
        self.generic_visit(node)
        for scope, started in self.started:
            function = scope.function(started)  # it may be defined further down
            if function:
                self.check_task(scope, function)
        self.leave_scope()

    def leave_scope(self) -> None:
        for name, made in self.scope.objects.items():
            if made.started and not made.waited and not made.managed:
                self.report(made.node, "CWG003", name)
        self.scope = self.scope.outer or self.scope

    # Where groups come from, and where they go.

    def visit_Assign(self, node: ast.Assign) -> None:
        made = self.made_by(node.value)
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Name):
                if made:
                    self.scope.objects[target.id] = made
                else:
                    self.scope.objects.pop(target.id, None)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        made = self.made_by(node.value) if node.value else None
        if made and isinstance(node.target, ast.Name):
            self.scope.objects[node.target.id] = made

    def visit_with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            managed = self.object_of(item.context_expr)
            if managed:
                managed.managed = True
                if isinstance(node, ast.With) and managed.kind != "Context" and self.in_coroutine():
                    self.report(item.context_expr, "CWG006", ast.unparse(item.context_expr))
                if isinstance(item.optional_vars, ast.Name):
                    self.scope.objects[item.optional_vars.id] = managed
        self.generic_visit(node)

    visit_With = visit_AsyncWith = visit_with

    def visit_Await(self, node: ast.Await) -> None:
        self.awaited.add(id(node.value))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        """A group that is returned, stored, passed on or awaited is somebody else's to wait for."""
        found = self.scope.find(node.id) if isinstance(node.ctx, ast.Load) else None
        if found:
            found.waited = True

    def visit_Attribute(self, node: ast.Attribute) -> None:
        found = self.object_of(node.value)
        if not found:
            self.generic_visit(node)
        elif node.attr in _GROUP_STARTERS | {"add", "map", "imap"}:
            found.started = True
        elif node.attr not in ("done", "cancel", "count", "limit", "name", "running", "pending", "completed"):
            found.waited = True
        if found and node.attr in ("map", "imap"):
            found.waited = True  # it gives the outcome

    # Calls.

    def visit_Expr(self, node: ast.Expr) -> None:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            group = self.object_of(call.func.value)
            never_blocks = call.func.attr == "try_go" or (
                call.func.attr == "start"
                and any(
                    k.arg == "block" and isinstance(k.value, ast.Constant) and not k.value.value for k in call.keywords
                )
            )
            if group and group.kind == "ErrGroup" and never_blocks:
                self.report(call, "CWG002", ast.unparse(call.func.value), call.func.attr)
            elif group and isinstance(call.func.value, ast.Call) and call.func.attr in _GROUP_STARTERS:
                self.report(call, "CWG003", ast.unparse(call.func.value))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = _dotted(node.func)
        method = called.rpartition(".")[2]
        if called in _COPIERS and node.args and self.object_of(node.args[0]):
            self.report(node, "CWG004", ast.unparse(node.args[0]))
        if method == "Process":
            self.check_process(node)
        if method in _STARTERS:
            for argument in [*node.args, *(k.value for k in node.keywords if k.arg in ("target", "fn", "func"))]:
                self.started.append((self.scope, argument))
        if isinstance(node.func, ast.Attribute) and id(node) not in self.awaited:
            self.check_blocking(node, node.func)
        self.generic_visit(node)

    def in_coroutine(self) -> bool:
        return isinstance(self.scope.node, ast.AsyncFunctionDef)

    def check_process(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg == "args" and isinstance(keyword.value, ast.Tuple):
                for argument in keyword.value.elts:
                    if self.object_of(argument):
                        self.report(argument, "CWG004", ast.unparse(argument))

    def check_blocking(self, node: ast.Call, func: ast.Attribute) -> None:
        group = self.object_of(func.value) if self.in_coroutine() else None
        if not group:
            return
        polls = node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
        if (func.attr in _BLOCKING[group.kind] and not polls) or (func.attr == "go" and group.limited):
            self.report(node, "CWG005", ast.unparse(func.value), func.attr)

    def check_task(self, scope: _Scope, function: _Function) -> None:
        """CWG001, in a function that is started as a task."""
        local = {a.arg for a in function.args.args}
        local |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        for node in ast.walk(function):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add"):
                continue
            name = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
            counted = scope.find(name) if name not in local else None
            if counted and counted.kind == "WaitGroup":
                self.report(node, "CWG001", name)


class Checker:
    """What flake8 calls, once a file."""

    name = "cwaitgroup"
    version = __version__

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree

    def run(self) -> Iterator[Finding]:
        visitor = _Visitor()
        visitor.visit(self.tree)
        for node, code, text in dict.fromkeys(visitor.found):
            yield Finding(getattr(node, "lineno", 1), getattr(node, "col_offset", 0), f"{code} {text}", Checker)
