"""What a run will cost in tokens, hours and disk, from its configuration: the verb ``estimate``."""
