"""wawo/_core/c.pxd is wawo.h once more, in Cython: functions, values of enums, members of structs."""

from __future__ import annotations

import re

from .tree import Rule, Tree

HEADER = "wawo/_core/wawo.h"
MIRROR = "wawo/_core/c.pxd"
# Members that the binding does not need may be missing, but for these: all of them are written or read one by one.
WHOLE = ("_options", "_stats")

C_FUNCTION = re.compile(r"^((?:const |struct |enum )?\w[\w ]*?[ *]+)(wawo_\w+)\(([^{};]*)\);", re.MULTILINE)
PXD_FUNCTION = re.compile(
    r'^    ((?:const )?\w[\w ]*?[ *]+)(wawo_\w+)(?: "(\w+)")?\(([^{}:]*?)\)(?: noexcept)?$', re.MULTILINE
)
C_STRUCT = re.compile(r"^struct (wawo_\w+) \{\n(.*?)^\};", re.MULTILINE | re.DOTALL)
PXD_STRUCT = re.compile(r"^    struct (wawo_\w+):\n(.*?)(?=^    \S|\Z)", re.MULTILINE | re.DOTALL)
C_ENUM = re.compile(r"^enum (wawo_\w+) \{(.*?)\};", re.MULTILINE | re.DOTALL)
PXD_ENUM = re.compile(r"^    enum (wawo_\w+):\n(.*?)(?=^    \S|\Z)", re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"#define (WAWO_\w+)\(X\)\s*\\\n((?:.*\\\n)*.*)")


def plain(code: str) -> str:
    """A declaration without what the two languages write differently."""
    code = re.sub(r"\b(struct|enum|noexcept)\b", " ", code).replace("bint", "bool")
    code = re.sub(r"\s+", " ", code).strip()
    code = re.sub(r"(\w+)\[\w*\](?=,|$)", r"*\1", code) if "[" in code and "(" not in code else code
    return re.sub(r" ?([*(),]) ?", r"\1", code)


def signature(kind: str, parameters: str) -> str:
    given = ",".join(plain(parameter) for parameter in parameters.split(","))
    return f"{plain(kind)} ({'' if given == 'void' else given})"


def declarations(body: str) -> list[str]:
    """The members of a C struct, one by one."""
    found = []
    for statement in re.sub(r"#[^\n]*", "", body).split(";"):
        flat = re.sub(r"\s+", " ", statement).strip()
        head, *more = flat.split(", ") if "(" not in flat else [flat]
        kind = re.sub(r"[*\w\[\]]+$", "", head)
        found += [member(text) for text in [head, *(kind + name for name in more)] if text]
    return found


def member(text: str) -> str:
    text = re.sub(r"\b(struct|enum|noexcept)\b ?", "", text).replace("bint", "bool").replace("wawo_u64", "uint64_t")
    return re.sub(r" : \d+$", "", re.sub(r" ?([*(),]) ?", r"\1", text))


def mirrored(body: str) -> list[str]:
    """The members of a struct in Cython; a line that is indented deeper belongs to the one before."""
    lines = re.sub(r"\n {9,}", " ", body).splitlines()
    return [member(line.split("#")[0].strip()) for line in lines if line.strip() and line.strip() != "pass"]


def expand(text: str) -> str:
    """Tables of X(name, text) inside structs, written out."""
    tables = {name: re.findall(r"X\((\w+)", body) for name, body in TABLE.findall(text)}

    def written(found: re.Match[str]) -> str:
        return "".join(found[1].replace("name", name) + "\n" for name in tables[found[2]])

    return re.sub(r"#define X\(name, text\) ([^\n]*)\n\s*(WAWO_\w+)\(X\)\s*\n#undef X\n", written, text)


def mirror_is_the_header(tree: Tree) -> list[str]:
    header = expand(tree.c_code(HEADER))
    mirror = tree.text(MIRROR).split('cdef extern from "<wawo.h>"', 1)[-1]
    there = {name: signature(kind, given) for kind, name, given in C_FUNCTION.findall(header)}
    here = {real or name: signature(kind, given) for kind, name, real, given in PXD_FUNCTION.findall(mirror)}
    wrong = [
        f"{name}: {there.get(name, 'not')} in wawo.h, {here.get(name, 'not')} in c.pxd"
        for name in sorted({*there, *here})
        if there.get(name) != here.get(name)
    ]
    structs = {name: declarations(body) for name, body in C_STRUCT.findall(header)}
    for name, body in PXD_STRUCT.findall(mirror):
        known, used = structs.get(name, []), mirrored(body)
        seen = known if name.endswith(WHOLE) else [text for text in known if text in used]
        if seen != used:
            wrong.append(f"struct {name}: {used} in c.pxd, {known} in wawo.h")
    enums = {name: re.findall(r"\b(WAWO_\w+)", body) for name, body in C_ENUM.findall(header)}
    for name, body in PXD_ENUM.findall(mirror):
        values = re.findall(r"\b(WAWO_\w+)", body)
        if enums.get(name) != values:
            wrong.append(f"enum {name}: {values} in c.pxd, {enums.get(name)} in wawo.h")
    return wrong if here else [*wrong, "c.pxd declares no function of wawo.h"]


EXTERN = 'cdef extern from "<wawo.h>" nogil:\n'

RULES = {
    "the mirror has the same functions": Rule(
        mirror_is_the_header,
        {
            HEADER: "int wawo_a(struct wawo_b *b, bool c);\nvoid wawo_new(void);\n",
            MIRROR: f"{EXTERN}    int wawo_a(wawo_b *b, int c)\n    void wawo_new()\n",
        },
        "wawo_a: int (wawo_b*b,bool c) in wawo.h, int (wawo_b*b,int c) in c.pxd",
    ),
    "the mirror has the same members": Rule(
        mirror_is_the_header,
        {
            HEADER: "struct wawo_a {\n    int x;\n    int y;\n};\nint wawo_f(void);\n",
            MIRROR: f"{EXTERN}    struct wawo_a:\n        int y\n        int x\n    int wawo_f()\n",
        },
        "struct wawo_a",
    ),
    "the mirror has all options": Rule(
        mirror_is_the_header,
        {
            HEADER: "struct wawo_options {\n    int x;\n    int y;\n};\nint wawo_f(void);\n",
            MIRROR: f"{EXTERN}    struct wawo_options:\n        int x\n    int wawo_f()\n",
        },
        "struct wawo_options",
    ),
    "the mirror has the same values": Rule(
        mirror_is_the_header,
        {
            HEADER: "enum wawo_a {\n    WAWO_X,\n    WAWO_Y\n};\nint wawo_f(void);\n",
            MIRROR: f"{EXTERN}    enum wawo_a:\n        WAWO_X\n    int wawo_f()\n",
        },
        "enum wawo_a",
    ),
}
