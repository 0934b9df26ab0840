"""A checked expression as a tree: what the library made of its text, with types and overloads.

The library tells it as the standard message `cel.expr.CheckedExpr`. Its descriptor is made here, of the fields that
are looked at; the tree is what `cost.py` goes over.
"""

from functools import cache
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "cel.expr"
# A message a line: its fields, each `number:name:type`, with `[` for repeated. Types in lower case are protobuf's own;
# a map is a list of its entries.
_MESSAGES = {
    "Constant": "2:bool_value:bool 3:int64_value:int64 4:uint64_value:uint64 5:double_value:double "
    "6:string_value:string 7:bytes_value:bytes",
    "Ident": "1:name:string",
    "Select": "1:operand:Expr 2:field:string 3:test_only:bool",
    "Call": "1:target:Expr 2:function:string 3:args:[Expr",
    "CreateList": "1:elements:[Expr",
    "Entry": "3:map_key:Expr 4:value:Expr",
    "CreateStruct": "1:message_name:string 2:entries:[Entry",
    "Comprehension": "1:iter_var:string 2:iter_range:Expr 3:accu_var:string 4:accu_init:Expr 5:loop_condition:Expr "
    "6:loop_step:Expr 7:result:Expr 8:iter_var2:string",
    "Expr": "2:id:int64 3:const_expr:Constant 4:ident_expr:Ident 5:select_expr:Select 6:call_expr:Call "
    "7:list_expr:CreateList 8:struct_expr:CreateStruct 9:comprehension_expr:Comprehension",
    "ListType": "1:elem_type:Type",
    "MapType": "1:key_type:Type 2:value_type:Type",
    "AbstractType": "1:name:string 2:parameter_types:[Type",
    "Type": "3:primitive:int32 4:wrapper:int32 5:well_known:int32 6:list_type:ListType 7:map_type:MapType "
    "9:message_type:string 10:type_param:string 14:abstract_type:AbstractType",
    "Reference": "1:name:string 3:overload_id:[string",
    "ReferenceEntry": "1:key:int64 2:value:Reference",
    "TypeEntry": "1:key:int64 2:value:Type",
    "CheckedExpr": "2:reference_map:[ReferenceEntry 3:type_map:[TypeEntry 4:expr:Expr",
}
_SCALARS = {
    "bool": _FIELD.TYPE_BOOL, "int64": _FIELD.TYPE_INT64, "uint64": _FIELD.TYPE_UINT64, "double": _FIELD.TYPE_DOUBLE,
    "string": _FIELD.TYPE_STRING, "bytes": _FIELD.TYPE_BYTES, "int32": _FIELD.TYPE_INT32,
}  # fmt: skip


@cache
def _checked_expression() -> Any:
    """The class of the message."""
    file = descriptor_pb2.FileDescriptorProto(name="checked.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for text in fields.split():
            number, field, kind = text.split(":")
            label = _FIELD.LABEL_REPEATED if kind.startswith("[") else _FIELD.LABEL_OPTIONAL
            made = message.field.add(name=field, number=int(number), label=label)
            word = kind.lstrip("[")
            if word in _SCALARS:
                made.type = _SCALARS[word]
            else:
                made.type, made.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{word}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.CheckedExpr"))


class Checked:
    """A checked expression: `root`, and of each of its parts by number the overloads and the type."""

    def __init__(self, serialized: bytes) -> None:
        message = _checked_expression()()
        message.ParseFromString(any_pb2.Any.FromString(serialized).value)
        self.root = message.expr
        self.names = frozenset(entry.value.name for entry in message.reference_map)
        self._overloads = {entry.key: tuple(entry.value.overload_id) for entry in message.reference_map}
        self._types = {entry.key: entry.value for entry in message.type_map}

    def overloads(self, expression: Any) -> tuple[str, ...]:
        return self._overloads.get(expression.id, ())

    def type_of(self, expression: Any) -> Any:
        """The library's message for a type; None where it is not known."""
        return self._types.get(expression.id)


def kind_of(type: Any) -> str:
    """What sort of type: list, map, structure, string, bytes, scalar, optional, parameter, or open."""
    if type is None:
        return "open"
    for field, kind in _KINDS.items():
        if type.HasField(field):
            return kind
    if type.HasField("primitive"):
        return {5: "string", 6: "bytes"}.get(type.primitive, "scalar")
    if type.HasField("well_known"):
        return "scalar" if type.well_known in (2, 3) else "open"
    return "optional" if type.HasField("abstract_type") and type.abstract_type.name == "optional_type" else "open"


_KINDS = {"list_type": "list", "map_type": "map", "message_type": "structure", "type_param": "parameter"}
