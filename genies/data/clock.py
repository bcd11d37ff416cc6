"""The time that chat templates are given, so that what they write is the same on every day."""

from __future__ import annotations

from datetime import datetime

CHAT_TIME = datetime(2024, 7, 26)
"""Now, to chat templates that write the date, so that a prompt is the same on every day; Llama 3's own default."""
STILL_CLOCK = (
    "{%- macro strftime_now(format) -%}{{ format"
    + "".join(f" | replace('%{code}', '{CHAT_TIME:%{code}}')" for code in "aAbBcdHIjmMpSxXyY")
    + " }}{%- endmacro %}{{ '' }}"
)
"""Put before a chat template, hides the function by which transformers tells it the time.

It ends with an expression, after which, other than after a block, the white space of what follows stays."""
