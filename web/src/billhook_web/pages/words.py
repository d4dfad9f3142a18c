"""The words of pages: those of :mod:`billhook_web.words`, which mails are written with, too."""

from billhook_web.words import LANGUAGES, N_, Words, catalog_of, words_for

__all__ = ["LANGUAGES", "N_", "Words", "catalog_of", "words_for"]
