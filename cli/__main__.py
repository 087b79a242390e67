"""The program ``bedrock-spend``; also ``python -m cli``."""

from cli.commands import cli


def main() -> None:
    """Run it."""
    cli(prog_name="bedrock-spend")


if __name__ == "__main__":
    main()
