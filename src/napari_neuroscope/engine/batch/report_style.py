"""How the report of a batch looks, and what a click on it does."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --line: light-dark(#ddd, #3a3d42);
  --soft: light-dark(#666, #a5abb3); --head: light-dark(#f6f7f9, #25282c); --bad: light-dark(#b3261e, #ff8a80); }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; padding: 0 1.5rem;
  background: light-dark(#fff, #1b1d20); color: light-dark(#1b1d20, #e6e8ea); }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
small, h2 small { color: var(--soft); font-weight: normal; }
.counts { color: var(--soft); margin: 0 0 1.2rem; } .counts b { color: light-dark(#1b1d20, #e6e8ea); }
b.bad, .counts b.bad { color: var(--bad); }
table { border-collapse: collapse; } th, td { padding: .3rem .7rem; text-align: left; vertical-align: middle; }
tr { border-bottom: 1px solid var(--line); }
.made th { color: var(--soft); font-weight: normal; padding-left: 0; } .made tr { border: 0; }
.made td, .reasons th { overflow-wrap: anywhere; }
.made th, .made td { padding-top: .1rem; padding-bottom: .1rem; vertical-align: top; }
.reasons th { font-weight: 500; } .reasons td { color: var(--bad); } #skipped + .reasons td { color: var(--soft); }
.figures td, .images td[data-v] { text-align: right; font-variant-numeric: tabular-nums; }
.figures th { font-weight: normal; }
.wide { overflow: auto; max-height: 92vh; border: 1px solid var(--line); border-radius: 6px; }
.images thead th { position: sticky; top: 0; background: var(--head); cursor: pointer; font-weight: 500;
  max-width: 8rem; z-index: 1; }
.images tbody th { font-weight: 500; min-width: 9rem; max-width: 16rem; overflow-wrap: anywhere; }
.images td.text { white-space: nowrap; } .figures thead th, .images th.number { text-align: right; }
.images tbody th small { display: block; } .images .notes { max-width: 20rem; color: var(--soft); font-size: 12px; }
.images img { height: 84px; width: 172px; object-fit: contain; display: block; border-radius: 3px; }
thead th[data-way="1"]::after { content: " ▲"; } thead th[data-way="-1"]::after { content: " ▼"; }
pre { background: var(--head); padding: 1rem; border-radius: 6px; overflow-x: auto; }
summary { cursor: pointer; color: var(--soft); margin: .5rem 0; } a { color: light-dark(#0b57d0, #8ab4f8); }
input { font: inherit; padding: .3rem .6rem; border: 1px solid var(--line); border-radius: 6px; min-width: 16rem;
  background: transparent; color: inherit; }
"""

SCRIPT = """
const body = document.querySelector('.images tbody'), heads = [...document.querySelectorAll('.images thead th')];
heads.forEach((head, column) => head.onclick = () => {
  const way = head.dataset.way === '1' ? -1 : 1;
  heads.forEach(other => delete other.dataset.way);
  head.dataset.way = way;
  const key = row => { const cell = row.children[column];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v); };
  const rows = [...body.children].map(row => [key(row), row]);
  rows.sort(([a], [b]) => way * (typeof a === 'number' && typeof b === 'number' ? a - b
    : String(a).localeCompare(String(b), undefined, { numeric: true })));
  body.append(...rows.map(([, row]) => row));
});
document.getElementById('filter').oninput = event => {
  const part = event.target.value.toLowerCase();
  for (const row of body.children) row.hidden = !row.children[1].textContent.toLowerCase().includes(part);
};
"""
