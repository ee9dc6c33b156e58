"""`python -m kswatch`."""

from kswatch.cli import main

if __name__ == "__main__":
    main()
