"""Errors written for the person who reads them at 2 a.m.; the command line turns them into exit code 2."""


class UserError(Exception):
    """Something the user can put right. The message names what, where (file, key, value) and the way out."""
