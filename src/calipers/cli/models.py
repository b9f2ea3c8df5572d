"""calipers models."""


def models() -> None:
    """List the model zoo.

    [bold]Example[/]

    calipers models
    """
    from rich.table import Table

    from calipers.cli.output import console
    from calipers.models.zoo import ZOO

    table = Table(box=None, header_style="bold")
    for column, justify in (
        ("name", "left"),
        ("input", "left"),
        ("from, to", "left"),
        ("parameters", "right"),
        ("source", "left"),
    ):
        table.add_column(column, justify=justify, no_wrap=column != "source")  # type: ignore[arg-type]
    for name in ZOO:
        entry = ZOO[name]
        count = "" if entry.parameters is None else f"{entry.parameters:,}"
        shape = "x".join(map(str, entry.input_shape))
        table.add_row(name, shape, f"{entry.takes}, {entry.gives}", count, entry.source)
    console().print(table)
