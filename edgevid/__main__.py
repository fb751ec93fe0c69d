"""`python -m edgevid`: the same as the command `edgevid`."""

from edgevid.cli import main

if __name__ == "__main__":
    main()
