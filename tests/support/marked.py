"""What a reader's program makes of markdown of ours."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

OURS = re.compile(r"</?(code|br|details|summary)>|<!-- -->")
PLAIN = {
    "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close", "inline", "text",
    "paragraph_open", "paragraph_close", "heading_open", "heading_close", "strong_open",
    "strong_close", "softbreak", "html_block", "html_inline", "blockquote_open", "blockquote_close",
    "table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close",
    "tr_open", "tr_close", "th_open", "th_close", "td_open", "td_close", "em_open", "em_close",
}  # fmt: skip


def tokens(text: str) -> list[Token]:
    parsed = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return [each for token in parsed for each in (token, *(token.children or ()))]
