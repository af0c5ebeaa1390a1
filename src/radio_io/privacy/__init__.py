"""What may leave a header, and in which form: the allow-list, pseudonyms, dates, vocabularies, burned-in text."""
