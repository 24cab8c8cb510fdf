"""The command `muslin`: kubectl and calicoctl habits. Words in, screens out; every decision is made elsewhere."""


def main() -> None:
    raise SystemExit("not built yet")
