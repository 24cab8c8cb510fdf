"""A fault reads as one line that says where, what, why and what to write instead."""

from muslin.model.fault import Fault, field


def test_a_fault_in_a_file_begins_with_its_place() -> None:
    """Editors jump to file:line:col."""
    fault = Fault(
        path=("spec", "ingress", 0, "action"), what="'deny' is no action", why="actions begin with a capital",
        mend="write Deny", file="p.yaml", line=7, column=13,
    )

    assert str(fault) == "p.yaml:7:13: 'deny' is no action, actions begin with a capital, write Deny"


def test_a_fault_without_a_file_begins_with_its_field() -> None:
    """Objects that came over the API have no lines."""
    fault = Fault(path=("spec", "order"), what="'ten' is no number", why="order sorts policies", mend="write 10")

    assert str(fault).startswith("spec.order: 'ten'")


def test_label_names_stand_in_brackets() -> None:
    """Their dots and slashes would read as steps."""
    assert field(("metadata", "labels", "a.b/c")) == "metadata.labels[a.b/c]"
    assert field(("spec", "ports", 2)) == "spec.ports[2]"
