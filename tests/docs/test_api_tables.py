"""The tables "All calls" of the guides have each public call once, with the parameters that the code has.

That of Lua has every function too: see tests/lua/annotations_spec.lua."""

import inspect
import re

import cwaitgroup
import pytest
from snippets import TOP

PYTHON_TYPES = {
    "g": cwaitgroup.ErrGroup,
    "task": cwaitgroup.Task,
    "wg": cwaitgroup.WaitGroup,
    "ctx": cwaitgroup.Context,
    "q": cwaitgroup.Queue,
}


def table(page):
    """The first column of the tables below "All calls"."""
    text = (TOP / "docs" / page).read_text().partition("\n## All calls\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)


def c_call(name, parameters):
    parameters = re.sub(r"\(\*(\w+)\)\([^()]*\)", r"\1", " ".join(parameters.split()))  # pointers to functions
    names = [re.findall(r"\w+|\.\.\.", parameter)[-1] for parameter in parameters.split(",")]
    return f"{name}({', '.join(names if names != ['void'] else [])})"


def declarations():
    for header in (TOP / "core/include/waitgroup").glob("*.h"):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
        for name, parameters in re.findall(r"\bWG_API\s[^;()]*?\b(wg_\w+)\(([^;]*)\)[^;()]*;", text):
            yield c_call(name, re.sub(r"\)\s*WG_PRINTF\(.*", "", parameters))


def test_c():
    assert sorted(table("c.md")) == sorted(declarations())


def python_parameter(parameter):
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    default = "..." if parameter.default is ... else repr(parameter.default).replace("'", '"')
    return stars + parameter.name + ("" if parameter.default is parameter.empty else f"={default}")


def python_call(prefix, name):
    owner = PYTHON_TYPES[prefix] if prefix else cwaitgroup
    member, shown = getattr(owner, name), f"{prefix}.{name}" if prefix else name
    if not callable(member):
        return shown
    parts, keyword_only = [], False
    for parameter in inspect.signature(member).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind == parameter.VAR_POSITIONAL:
            keyword_only = True
        elif parameter.kind == parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            parts.append("*")
        parts.append(python_parameter(parameter))
    return f"{shown}({', '.join(parts)})"


def public(owner):
    return [name for name in vars(owner) if not name.startswith("_")]


@pytest.mark.parametrize("prefix", PYTHON_TYPES)
def test_python_methods(prefix):
    listed = [call for call in table("python.md") if call.startswith(f"{prefix}.")]
    assert sorted(listed) == sorted(python_call(prefix, name) for name in public(PYTHON_TYPES[prefix]))


def test_python_module():
    listed = [call for call in table("python.md") if not re.match(r"\w+\.", call)]
    calls = [name for name in cwaitgroup.__all__ if name not in ("Task", "__version__")]
    errors = [name for name in calls if isinstance(getattr(cwaitgroup, name), type(OSError))]
    errors = [name for name in errors if issubclass(getattr(cwaitgroup, name), BaseException)]
    assert sorted(listed) == sorted(name if name in errors else python_call(None, name) for name in calls)


def lua_call(shown):
    """A call of the table as the annotations declare it: options are in brackets only in the table."""
    return re.sub(r"\[,? ?|\]", lambda bracket: ", " if "," in bracket[0] else "", shown)


def test_lua_parameters():
    classes = {"w": "waitgroup", "wg": "WaitGroup", "g": "ErrGroup", "ctx": "Context", "task": "Task", "ch": "Channel"}
    annotated = {}
    for owner, name, parameters in re.findall(
        r"^function (\w+)[.:](\w+)\(([^)]*)\)", (TOP / "library/waitgroup.lua").read_text(), re.MULTILINE
    ):
        annotated[owner, name] = parameters
    for call in table("lua.md"):
        prefix, name, parameters = re.fullmatch(r"(\w+)[.:](\w+)\((.*)\)", call).groups()
        assert lua_call(parameters) == annotated[classes[prefix], name], call
