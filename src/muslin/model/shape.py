"""What a field of a resource is for and what may stand in it, written beside its type.

Three readers must say the same of a field: the validator that refuses a value, the OpenAPI schema that `kubectl
explain` prints, and the person who reads the struct. So the struct is the one home of that fact:

    action: Annotated[str, about("What happens to a packet that matches.", enum=ACTIONS)] = ""
    nets: Annotated[tuple[Net, ...], about("Prefixes of the address.", most=256, unique=True)] = ()

Decoding ignores all of it: a wrong value in the store must still be legible enough to deny, see `calc.cluster`. Only
`model.validation` and `model.schema` read it.
"""

from __future__ import annotations

from typing import Annotated

import msgspec


def about(
    doc: str | None = None, *, form: str | None = None, enum: tuple[str | int, ...] | None = None,
    any_case: bool | None = None, least: int | None = None, most: int | None = None, unique: bool | None = None,
    required: bool | None = None,
) -> msgspec.Meta:
    """The annotation. Nested ones add up: the alias `Net` brings the form, the field brings the words.

    `form` names a check of `model.validation.forms` that the value must pass; `enum` is what may stand here, `any_case`
    if felix reads it in any case; `least` and `most` bound a number, or the length of a list or text; `unique`: no
    value of the list twice; `required`: must be there.
    """
    extra = {
        "form": form, "enum": enum, "any_case": any_case, "least": least, "most": most,
        "unique": unique, "required": required,
    }
    return msgspec.Meta(description=doc, extra={name: value for name, value in extra.items() if value is not None})


Name = Annotated[str, about(form="name", most=253)]
"""A DNS subdomain: the name of another object."""
Selector = Annotated[str, about(form="selector", most=1024)]
Address = Annotated[str, about(form="address")]
Address4 = Annotated[str, about(form="address4")]
Address6 = Annotated[str, about(form="address6")]
Net = Annotated[str, about(form="net")]
"""A prefix without host bits, or one address."""
Net4 = Annotated[str, about(form="net4")]
Net6 = Annotated[str, about(form="net6")]
Cidr = Annotated[str, about(form="cidr")]
"""A prefix, host bits allowed, or one address."""
Cidr4 = Annotated[str, about(form="cidr4")]
Cidr6 = Annotated[str, about(form="cidr6")]
Mac = Annotated[str, about(form="mac")]
Interface = Annotated[str, about(form="interface")]
Duration = Annotated[str, about(form="duration")]
"""`90s`, `1m30s`: never a bare number."""
Regex = Annotated[str, about(form="regex")]
Port = Annotated[int | str, about(form="port")]
"""80, "8000:9000", or the name of an endpoint's port."""
NumericPort = Annotated[int | str, about(form="numeric_port")]
Protocol = Annotated[int | str, about(form="protocol")]
ASNumber = Annotated[int | str, about(form="as_number")]
CommunityValue = Annotated[str, about(form="community")]
DSCP = Annotated[int | str, about(form="dscp")]
Labels = Annotated[dict[str, str], about(form="labels")]
Annotations = Annotated[dict[str, str], about(form="annotations")]
