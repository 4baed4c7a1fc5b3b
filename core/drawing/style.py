"""The style that all pages of ours begin with: system fonts, light and dark, nothing fetched."""

STYLE = """\
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667085; --line: #e4e7ec; --page: #fff; --card: #f8f9fb;
  --one: #1f6feb; --two: #c2570c; --good: #1a7f37; --bad: #c1121f; --wait: #8a6d00 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #98a2b3; --line: #2b313b; --page: #14171c;
  --card: #1b2027; --one: #6cb0ff; --two: #ff9b54; --good: #56c271; --bad: #ff7b7b; --wait: #e5c04b } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
  max-width: 860px; padding: 32px 20px 64px }
h1 { font-size: 22px; margin: 0 0 4px; overflow-wrap: anywhere } h2 { font-size: 16px; margin: 36px 0 10px }
.sub { color: var(--soft); margin: 0 0 20px } .state { font-weight: 600 }
.succeeded { color: var(--good) } .failed, .cancelled, .error { color: var(--bad) }
.paused, .queued, .warn { color: var(--wait) }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px }
.tile b { display: block; font-size: 20px; font-weight: 600; font-variant-numeric: tabular-nums }
.tile span { color: var(--soft); font-size: 13px }
figure { margin: 18px 0 } figcaption { font-weight: 600; margin-bottom: 4px }
small, figcaption small { color: var(--soft); font-weight: 400 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
td, th { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere }
th { color: var(--soft); font-weight: 500 } details { margin-top: 8px } summary { cursor: pointer; color: var(--soft) }
.why { border-left: 4px solid var(--bad); padding: 8px 14px; background: var(--card) }
code { font: 13px ui-monospace, monospace }
"""
