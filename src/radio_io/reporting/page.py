"""The frame of a report: one HTML file with its style, no script, nothing from elsewhere.

Comes in: a title and sections of HTML. Goes out: the page. Refuses nothing.
"""

import re
from collections.abc import Sequence
from html import escape

STYLE = """
:root{color-scheme:light dark;--ink:#1a1f24;--paper:#fff;--line:#c9d1d9;--fill:#2f6f9f;--soft:#eef2f6;--bin:#b3470a}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#11161b;--line:#3a444e;--fill:#6cb1e1;--soft:#1b232b;
--bin:#ff9a5c}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;max-width:62rem;
padding:1rem}
h1{font-size:1.6rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem}nav a{color:inherit;white-space:nowrap}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.15rem .5rem;border-bottom:1px solid var(--line);font-weight:normal;vertical-align:top}
thead th{font-weight:600}.number{text-align:right;white-space:nowrap}
.bar{width:40%;min-width:6rem}.bar span{display:block;height:1rem;margin-top:.2rem;background:var(--fill)}
svg{width:100%;max-width:36rem;height:auto}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
.cell{fill:var(--fill)}.bin{fill:none;stroke:var(--bin)}.curve{fill:none;stroke:var(--fill);stroke-width:2}
.advice li{background:var(--soft);padding:.4rem .6rem;margin:.3rem 0;list-style:none}.advice{padding:0}
.pictures{display:flex;flex-wrap:wrap;gap:.5rem}.pictures figure{margin:0}
.pictures img{height:8rem;width:auto;max-width:100%;background:#000;display:block}figcaption{font-size:.8rem}
.hidden{position:absolute;left:-9999px}
@media print{body{max-width:none}nav{display:none}h2{break-after:avoid}table,svg,figure{break-inside:avoid}}
"""
Section = tuple[str, str]
"""Heading and HTML."""


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole page; empty sections are left out."""
    shown = [(name, content) for name, content in sections if content]
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name, _ in shown)
    body = "".join(
        f'<section><h2 id="{_anchor(name)}">{escape(name)}</h2><div class="scroll">{content}</div></section>'
        for name, content in shown
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>'
        f'<body><header><h1>{escape(title)}</h1><p>{escape(lead)}</p></header><nav aria-label="Sections">{links}</nav>'
        f"<main>{body}</main></body></html>\n"
    )


def _anchor(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower())
