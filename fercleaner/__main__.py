"""`python -m fercleaner`: the command line."""

from fercleaner.cli import main  # type: ignore[import-not-found]  # mypy sees the folder as `cli`

if __name__ == "__main__":
    main()
