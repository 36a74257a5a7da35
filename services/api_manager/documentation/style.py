"""How the page at `/docs` looks."""

STYLE = """
:root { --ink: #1c2430; --soft: #5b6675; --line: #e3e7ec; --page: #fff; --side: #f6f8fa;
  --code: #f3f5f8; --link: #0b5fc0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --soft: #9aa5b4; --line: #2c3440; --page: #12161c; --side: #171c24;
    --code: #1d242e; --link: #6cb0ff; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; }
body { margin: 0; display: grid; grid-template-columns: 17rem minmax(0, 1fr); color: var(--ink);
  background: var(--page); font: 15px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.2rem 1rem;
  background: var(--side); border-right: 1px solid var(--line); }
nav a { display: block; padding: .14rem .4rem; color: var(--ink); text-decoration: none;
  border-radius: 4px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
nav a:hover { background: var(--line); }
nav .top { font-weight: 700; font-size: 1.05rem; margin-bottom: .6rem; }
nav .tag { margin-top: .9rem; font-weight: 600; }
nav .operation { font-size: .86rem; color: var(--soft); }
nav .raw { margin-top: .9rem; font-family: ui-monospace, monospace; font-size: .86rem; }
main { padding: 1.6rem 2.4rem 5rem; max-width: 62rem; }
h1 { margin: 0 0 1rem; font-size: 1.9rem; }
h1 small { color: var(--soft); font-size: .9rem; font-weight: 400; }
h2 { margin: 2.6rem 0 .6rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { margin: 0 0 .5rem; font-size: 1.05rem; }
h4 { margin: 1rem 0 .3rem; font-size: .78rem; text-transform: uppercase; letter-spacing: .05em;
  color: var(--soft); }
section { margin: 1.4rem 0; padding: 1rem 1.2rem; border: 1px solid var(--line); border-radius: 8px; }
a { color: var(--link); }
p { margin: .4rem 0; }
code, pre, .path { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
code { padding: .08em .3em; background: var(--code); border-radius: 4px; font-size: .88em; }
pre { margin: .4rem 0; padding: .8rem 1rem; overflow-x: auto; background: var(--code);
  border-radius: 6px; font-size: .83rem; line-height: 1.45; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
td { padding: .34rem .8rem .34rem 0; vertical-align: top; border-top: 1px solid var(--line); }
td:first-child { white-space: nowrap; }
i { color: #c2410c; font-style: normal; font-weight: 700; }
.errors { color: var(--soft); font-size: .85rem; }
b.get, b.post, b.put, b.delete { display: inline-block; min-width: 3.4rem; padding: 0 .35rem;
  border-radius: 4px; color: #fff; font: 700 .68rem/1.5rem ui-monospace, monospace;
  text-align: center; }
nav b { min-width: 2.9rem !important; line-height: 1.15rem !important; font-size: .6rem !important; }
b.get { background: #1d6fb8; } b.post { background: #1f8a4c; }
b.put { background: #a86500; } b.delete { background: #b42334; }
@media (max-width: 50rem) { body { display: block; }
  nav { position: static; height: auto; max-height: 40vh; } main { padding: 1rem; } }
"""
